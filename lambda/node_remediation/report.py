"""The edge to machines and people: the dead-letter queue first, then the topic."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

from node_remediation.deadletter import DeadLetter, Origin, Redrive, dead_letter, is_reported
from node_remediation.model import Ending, Outcome
from node_remediation.sending import send_all

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient
    from types_boto3_sqs import SQSClient

    from node_remediation.notification import Notification

# SQS takes 1 MiB a batch, SNS 262,144 bytes, attributes included.
_MOST_SQS_BYTES = 1_048_576
_MOST_SNS_BYTES = 262_144
_ATTRIBUTE_BYTES = 2_048  # more than the attributes of one entry come to


class Reporter(Protocol):
    """Tells people and machines how cases ended."""

    def send_letters(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        """Put what somebody must see to into the dead-letter queue; returns what did not get there, and why."""

    def publish(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        """Tell the topic of what people are to know; returns what did not get there, and why."""


class Destinations(NamedTuple):
    """Where reports go, and the queue that a redrive puts dead letters back on."""

    dead_letter_url: str
    topic_arn: str
    redrive: Redrive
    origin: Origin


class QueueAndTopicReporter:
    """Reporter over SQS and SNS. The dead-letter queue comes first: only what it has is published."""

    def __init__(
        self,
        *,
        sqs: Callable[[], "SQSClient"],
        sns: Callable[[], "SNSClient"],
        destinations: Destinations,
        notify_rebooted: bool,
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._sqs = sqs
        self._sns = sns
        self._to = destinations
        self._notify_rebooted = notify_rebooted
        self._clock = clock
        self._new_id = new_id

    def send_letters(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        by_letter: dict[tuple[str, str], tuple[DeadLetter, list[Ending]]] = {}
        for ending in filter(is_reported, endings):
            letter = dead_letter(ending, letter_id=self._new_id(), now=self._clock(), origin=self._to.origin)
            if len(letter.body) > _MOST_SQS_BYTES - _ATTRIBUTE_BYTES:
                letter = replace(letter, body=ending.case.message.body)  # which was not too long to come in
            # A message that goes in as it came goes in once, however many of its nodes there are to report.
            by_letter.setdefault((ending.case.message.id, letter.body), (letter, []))[1].append(ending)
        groups = list(by_letter.values())
        sizes = [len(letter.body.encode()) + _ATTRIBUTE_BYTES for letter, _ in groups]
        missed = send_all(groups, sizes, _MOST_SQS_BYTES, self._send_batch)
        return {ending: f"dead-letter queue: {why}" for (_, ending_group), why in missed for ending in ending_group}

    def _send_batch(self, groups: Sequence[tuple[DeadLetter, list[Ending]]]) -> Mapping[str, Any]:
        entries: list[Any] = [
            {
                "Id": str(index),
                "MessageBody": letter.body,
                "DelaySeconds": letter.delay,
                "MessageAttributes": {key: _string(value) for key, value in letter.attributes.items()},
            }
            for index, (letter, _) in enumerate(groups)
        ]
        return self._sqs().send_message_batch(QueueUrl=self._to.dead_letter_url, Entries=entries)

    def publish(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        by_cluster: dict[str | None, list[Ending]] = {}
        for ending in filter(self._is_published, endings):
            by_cluster.setdefault(ending.case.cluster, []).append(ending)
        parts = [part for cluster_endings in by_cluster.values() for part in self._notifications(cluster_endings)]
        sizes = [notification.size + _ATTRIBUTE_BYTES for notification, _ in parts]
        missed = send_all(parts, sizes, _MOST_SNS_BYTES, self._publish_batch)
        return {ending: f"topic: {why}" for (_, part_endings), why in missed for ending in part_endings}

    def _is_published(self, ending: Ending) -> bool:
        if ending.outcome is Outcome.REBOOTED:
            return self._notify_rebooted
        if ending.outcome in (Outcome.RECOVERED, Outcome.SUPERSEDED):
            return not ending.quiet
        return is_reported(ending) or ending.outcome in (Outcome.OBSERVED, Outcome.RETRYING)

    def _notifications(self, endings: Sequence[Ending]) -> list[tuple["Notification", Sequence[Ending]]]:
        # Texts for people are loaded once there is something to tell them, which on most nights there is not.
        from node_remediation.mail import Frame  # noqa: PLC0415
        from node_remediation.notification import notify  # noqa: PLC0415

        return notify(endings, Frame(self._clock(), self._to.origin, self._to.redrive))

    def _publish_batch(self, parts: Sequence[tuple["Notification", Sequence[Ending]]]) -> Mapping[str, Any]:
        entries: list[Any] = [
            {
                "Id": str(index),
                "Subject": notification.subject,
                "Message": notification.message,
                "MessageStructure": "json",
                "MessageAttributes": _attributes(notification),
            }
            for index, (notification, _) in enumerate(parts)
        ]
        return self._sns().publish_batch(TopicArn=self._to.topic_arn, PublishBatchRequestEntries=entries)


def _attributes(notification: "Notification") -> dict[str, dict[str, str]]:
    attributes = {"ClusterName": _string(notification.cluster), "Kind": _string(notification.kind)}
    if notification.error_codes:
        codes = json.dumps(list(notification.error_codes))
        attributes["ErrorCodes"] = {"DataType": "String.Array", "StringValue": codes}
    return attributes


def _string(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}
