"""The edge to machines and people: the dead-letter queue first, then the topic."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

from node_remediation import awserrors
from node_remediation.deadletter import DeadLetter, Origin, dead_letter, is_reported
from node_remediation.mail import Frame, Redrive
from node_remediation.model import Ending, Outcome
from node_remediation.notification import Notification, notify

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient
    from types_boto3_sqs import SQSClient

# Both batch calls take 10 entries; SQS 1 MiB in all, SNS 262,144 bytes in all, attributes included.
_MOST_ENTRIES = 10
_MOST_SQS_BYTES = 1_048_576
_MOST_SNS_BYTES = 262_144
_ATTRIBUTE_BYTES = 2_048  # more than the attributes of one entry come to
# A batch call can take some entries and not others: those are sent this many times in all.
_TRIES = 3

Item = TypeVar("Item")


class Reporter(Protocol):
    """Tells people and machines how cases ended."""

    def report(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        """Report the endings that anybody is to know of; returns those that did not arrive everywhere, with why."""


@dataclass(frozen=True, slots=True)
class Destinations:
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
        sqs: "SQSClient",
        sns: "SNSClient",
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

    def report(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        missed = self._send_letters([ending for ending in endings if is_reported(ending)])
        told = [ending for ending in endings if ending not in missed and self._is_published(ending)]
        return missed | self._publish(told)

    def _is_published(self, ending: Ending) -> bool:
        return is_reported(ending) or (ending.outcome is Outcome.REBOOTED and self._notify_rebooted)

    def _send_letters(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        by_letter: dict[tuple[str, str], tuple[DeadLetter, list[Ending]]] = {}
        for ending in endings:
            letter = dead_letter(ending, letter_id=self._new_id(), now=self._clock(), origin=self._to.origin)
            # A message that goes in as it came goes in once, however many of its nodes there are to report.
            by_letter.setdefault((ending.case.message.id, letter.body), (letter, []))[1].append(ending)
        groups = list(by_letter.values())
        sizes = [len(letter.body.encode()) + _ATTRIBUTE_BYTES for letter, _ in groups]
        missed = _in_batches(groups, sizes, _MOST_SQS_BYTES, self._send_batch)
        return {ending: f"dead-letter queue: {why}" for (_, ending_group), why in missed for ending in ending_group}

    def _send_batch(self, groups: Sequence[tuple[DeadLetter, list[Ending]]]) -> dict[int, str]:
        entries: list[Any] = [
            {
                "Id": str(index),
                "MessageBody": letter.body,
                "DelaySeconds": letter.delay,
                "MessageAttributes": {key: _string(value) for key, value in letter.attributes.items()},
            }
            for index, (letter, _) in enumerate(groups)
        ]
        return _failed_entries(self._sqs.send_message_batch(QueueUrl=self._to.dead_letter_url, Entries=entries))

    def _publish(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        by_cluster: dict[str | None, list[Ending]] = {}
        for ending in endings:
            by_cluster.setdefault(ending.case.cluster, []).append(ending)
        parts = [part for cluster_endings in by_cluster.values() for part in self._notifications(cluster_endings)]
        sizes = [notification.size + _ATTRIBUTE_BYTES for notification, _ in parts]
        missed = _in_batches(parts, sizes, _MOST_SNS_BYTES, self._publish_batch)
        return {ending: f"topic: {why}" for (_, part_endings), why in missed for ending in part_endings}

    def _notifications(self, endings: Sequence[Ending]) -> list[tuple[Notification, Sequence[Ending]]]:
        return notify(endings, Frame(self._clock(), self._to.origin, self._to.redrive))

    def _publish_batch(self, parts: Sequence[tuple[Notification, Sequence[Ending]]]) -> dict[int, str]:
        entries: list[Any] = [
            {
                "Id": str(index),
                "Subject": notification.subject,
                "Message": notification.message,
                "MessageStructure": "json",
                "MessageAttributes": {
                    "ClusterName": _string(notification.cluster),
                    "Kind": _string(notification.kind),
                    "ErrorCodes": {
                        "DataType": "String.Array",
                        "StringValue": json.dumps(list(notification.error_codes)),
                    },
                },
            }
            for index, (notification, _) in enumerate(parts)
        ]
        return _failed_entries(self._sns.publish_batch(TopicArn=self._to.topic_arn, PublishBatchRequestEntries=entries))


def _string(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def _failed_entries(answer: Any) -> dict[int, str]:
    return {int(entry["Id"]): f"{entry['Code']}: {entry.get('Message', '')}" for entry in answer.get("Failed", ())}


def _in_batches(
    items: Sequence[Item], sizes: Sequence[int], most_bytes: int, send: Callable[[Sequence[Item]], dict[int, str]]
) -> list[tuple[Item, str]]:
    """Send all items in batches that fit; returns those that `send` still refused at the last try, with why."""
    missed: list[tuple[Item, str]] = []
    for batch in _fitting(items, sizes, most_bytes):
        missed += _with_retries(batch, send)
    return missed


def _fitting(items: Sequence[Item], sizes: Sequence[int], most_bytes: int) -> Iterable[list[Item]]:
    batch: list[Item] = []
    room = most_bytes
    for item, size in zip(items, sizes, strict=True):
        if batch and (len(batch) == _MOST_ENTRIES or size > room):
            yield batch
            batch, room = [], most_bytes
        batch.append(item)
        room -= size
    if batch:
        yield batch


def _with_retries(batch: list[Item], send: Callable[[Sequence[Item]], dict[int, str]]) -> list[tuple[Item, str]]:
    failed: dict[int, str] = {}
    for _ in range(_TRIES):
        try:
            failed = send(batch)
        except awserrors.CALL_ERRORS as error:
            read = awserrors.read(error)
            return [(item, f"{read.code}: {read.message}") for item in batch]
        if not failed:
            return []
        batch, failed = [batch[index] for index in failed], dict(enumerate(failed.values()))
    return [(batch[index], why) for index, why in failed.items()]
