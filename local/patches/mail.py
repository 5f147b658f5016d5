"""Gap: what an e-mail subscriber gets is a line in the log. Kept here, so that tests and people can read it.

Touches: `sns._fanout`, `sns._topic_by_arn_any_scope`, `sns._resolve_message_for_protocol`,
`sns._matches_filter_policy`.
"""

import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from ministack.services import sns

_PROTOCOL = "email"
_DEFAULT_SUBJECT = "AWS Notification Message"
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class SentMail:
    """Holds an e-mail; `time` is in seconds since 1970."""

    to: str
    topic_arn: str
    subject: str
    message: str
    time: float


_sent: deque[SentMail] = deque(maxlen=_KEPT)


def apply() -> None:
    """Keep every e-mail; subscriptions count as confirmed at once."""
    fan_out = sns._fanout

    def fan_out_with_mail(  # noqa: PLR0917  # the emulator's signature
        topic_arn: str,
        message_id: str,
        message: str,
        subject: str,
        message_structure: str = "",
        message_attributes: dict[str, Any] | None = None,
        **fifo: Any,
    ) -> None:
        fan_out(topic_arn, message_id, message, subject, message_structure, message_attributes, **fifo)
        topic = sns._topic_by_arn_any_scope(topic_arn) or {}
        for subscription in topic.get("subscriptions", []):
            if subscription.get("protocol") != _PROTOCOL or not subscription.get("confirmed"):
                continue
            text = sns._resolve_message_for_protocol(message, message_structure, _PROTOCOL)
            attributes = message_attributes or {}
            if sns._matches_filter_policy(subscription, attributes, text):
                to = subscription["endpoint"]
                _sent.append(SentMail(to, topic_arn, subject or _DEFAULT_SUBJECT, text, time.time()))

    sns._fanout = fan_out_with_mail


def sent() -> list[dict[str, Any]]:
    """Return all e-mails since the start or the last `clear`, the oldest first."""
    return [asdict(mail) for mail in _sent]


def clear() -> None:
    """Forget what was sent."""
    _sent.clear()
