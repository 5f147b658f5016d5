"""Letters: the messages of the dead-letter queue, one per node, each a valid input of this system. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from node_remediation.events import own
from node_remediation.events.fields import Home
from node_remediation.model import CUT, LONGEST_API_TEXT, Outcome, bounded
from node_remediation.policy.record import Entry

# SQS takes this many bytes per message and per batch call, attributes included.
MOST_BYTES = 1_048_576
# To machines and filters, a node that did not recover is one that failed.
_KINDS: Mapping[str, str] = {Outcome.NOT_RECOVERED: "failed"}
# SQS refuses a whole batch call for one of these characters (SendMessage, API reference).
_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LONGEST_ATTRIBUTE = 256
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message for the dead-letter queue: its body, its string attributes and its delay in seconds."""

    body: str
    attributes: dict[str, str]
    delay: int = 0


def letter(entry: Entry, *, now: datetime, home: Home) -> Letter:
    """Return the letter of an entry that names a node and a cluster."""
    entry = bounded_entry(entry)
    body = json_text(own.letter_event(entry, now=now, home=home))
    return Letter(body, _attributes(entry.cluster, entry.code, entry.outcome), entry.delay)


def raw_letter(body: str, *, cluster: str | None, code: str, kind: str, delay: int = 0) -> Letter:
    """Return the letter of a message that names no node or no cluster, or cannot be read: its body as it came.

    A body that is too long together with the attributes is cut at its end, with a mark.
    """
    raw = Letter(_UNSENDABLE.sub("?", body), _attributes(cluster, code, kind), delay)
    over = size(raw) - MOST_BYTES
    if over <= 0:
        return raw
    encoded = raw.body.encode()
    kept = encoded[: len(encoded) - over - byte_count(CUT)].decode(errors="ignore")
    return replace(raw, body=kept + CUT)


def size(sent: Letter) -> int:
    """Count a letter's bytes as SQS does: the body, and the name, type and value of each attribute."""
    return byte_count(sent.body, *(name + "String" + value for name, value in sent.attributes.items()))


def kind_of(outcome: str) -> str:
    """Return the attribute Kind for an outcome."""
    return _KINDS.get(outcome, str(outcome))


def attribute(value: str | None) -> str:
    """Return a value as an attribute of SQS and SNS can hold it: no illegal character, neither empty nor long."""
    return _UNSENDABLE.sub("?", value or _UNKNOWN)[:_LONGEST_ATTRIBUTE]


def byte_count(*texts: str) -> int:
    """Count the bytes of texts in UTF-8."""
    return sum(len(text.encode()) for text in texts)


def json_text(value: object) -> str:
    """Return a value as JSON, with escapes for what SQS would refuse."""
    return _UNSENDABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def bounded_entry(entry: Entry) -> Entry:
    """Return the entry within the ledger's bounds, where an entry that could not be saved has not been yet."""
    trigger = replace(
        entry.trigger,
        source=bounded(entry.trigger.source),
        detail_type=bounded(entry.trigger.detail_type),
        event_id=bounded(entry.trigger.event_id),
        reason=bounded(entry.trigger.reason),
    )
    alarm = entry.alarm and replace(entry.alarm, name=bounded(entry.alarm.name), arn=_bounded(entry.alarm.arn))
    return replace(
        entry,
        trigger=trigger,
        alarm=alarm,
        node=entry.node and replace(entry.node, id=bounded(entry.node.id)),
        message=bounded(entry.message, LONGEST_API_TEXT),
        cluster=_bounded(entry.cluster),
        code=_bounded(entry.code),
        instance_id=_bounded(entry.instance_id),
        repair_action=_bounded(entry.repair_action),
        recommendation=_bounded(entry.recommendation),
        group=_bounded(entry.group),
        message_id=bounded(entry.message_id),
        excerpt=bounded(entry.excerpt),
    )


def _bounded(text: str | None) -> str | None:
    return None if text is None else bounded(text)


def _attributes(cluster: str | None, code: str | None, outcome: str) -> dict[str, str]:
    return {"ClusterName": attribute(cluster), "ErrorCode": attribute(code), "Kind": kind_of(outcome)}
