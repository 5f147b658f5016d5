"""Publishes notifications to the topic."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from node_remediation.aws.errors import MayCall
from node_remediation.aws.queues import send_all
from node_remediation.outbox.notifications import MOST_BYTES, Notification

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient


class Topic(Protocol):
    """Tells people, chats and automation."""

    def publish(self, notifications: Sequence[Notification], *, may_call: MayCall = lambda: True) -> dict[int, str]:
        """Publish notifications. Return the positions of those that may not have arrived, with the reason."""


class SnsTopic:
    """A topic over SNS."""

    def __init__(self, client: "SNSClient", *, topic_arn: str) -> None:
        self._client = client
        self._topic_arn = topic_arn

    def publish(self, notifications: Sequence[Notification], *, may_call: MayCall = lambda: True) -> dict[int, str]:
        def send(positions: Sequence[int]) -> Mapping[str, Any]:
            entries: Any = [_entry(str(position), notifications[position]) for position in positions]
            return self._client.publish_batch(TopicArn=self._topic_arn, PublishBatchRequestEntries=entries)

        sizes = [notification.size for notification in notifications]
        missed = send_all(sizes, MOST_BYTES, send, may_call=may_call)
        return {position: f"topic: {why}" for position, why in missed.items()}


def _entry(id_: str, notification: Notification) -> dict[str, Any]:
    return {
        "Id": id_,
        "Subject": notification.subject,
        "Message": notification.message,
        "MessageStructure": "json",
        "MessageAttributes": notification.attributes,
    }
