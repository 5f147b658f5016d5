"""Reads what happened, from outside; nothing here knows what should have happened."""

from collections.abc import Iterator, Mapping
from typing import Any

from local.aws import LocalAws
from local.demo.readings import (
    Call,
    Event,
    Letter,
    Mail,
    Readings,
    Told,
    read_log,
    read_recoveries,
    read_told,
)

_HELD_SECONDS = 20  # longer than one look at the dead-letter queue takes
_DEPTHS = ("", "NotVisible", "Delayed")


class Watch:
    """Looks at the simulator, the queues, the mail and the function's log; what its own queues bring it keeps."""

    def __init__(self, aws: LocalAws, outputs: Mapping[str, str], *, topic_queue: str, bus_queue: str) -> None:
        self._aws = aws
        self._sqs = aws.client("sqs")
        self._logs = aws.client("logs")
        self._outputs = outputs
        self._topic_queue = topic_queue
        self._bus_queue = bus_queue
        self._told: list[Told] = []
        self._events: list[Event] = []

    def look(self) -> Readings:
        """Return everything as of now."""
        for message in self._drain(self._bus_queue):
            self._events.append(Event.read(message["Body"], int(message["Attributes"]["SentTimestamp"]) / 1000))
        intake = self._depths(self._outputs["IntakeQueueUrl"])  # first: what became of what left it shows below
        calls = self._aws.admin("GET", "/_local/hyperpod/calls")["calls"]
        letters = self._dead_letters()
        for message in self._drain(self._topic_queue):
            self._told += read_told(message["Body"])
        messages = self._log()
        return Readings(
            events=tuple(self._events),
            calls=tuple(Call.read(call) for call in calls),
            letters=tuple(letters),
            told=tuple(self._told),
            mails=tuple(Mail(mail["to"], mail["subject"], mail["message"]) for mail in self._aws.mail()),
            log=tuple(read_log(messages)),
            recoveries=tuple(read_recoveries(messages)),
            well=frozenset(self._well()),
            waiting=sum(intake.values()),
            delayed=self._depths(self._outputs["DeadLetterQueueUrl"])["Delayed"],
        )

    def _receive(self, url: str) -> Iterator[list[Mapping[str, Any]]]:
        while messages := self._sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=_HELD_SECONDS,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        ).get("Messages"):
            yield messages

    def _drain(self, url: str) -> list[Mapping[str, Any]]:
        """Take everything out of a queue of our own, and return it."""
        taken = []
        for messages in self._receive(url):
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
            self._sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            taken += messages
        return taken

    def _dead_letters(self) -> list[Letter]:
        """Return the letters, each put back as visible as it was: they are not ours to take."""
        url = self._outputs["DeadLetterQueueUrl"]
        held = [message for messages in self._receive(url) for message in messages]
        for message in held:
            self._sqs.change_message_visibility(
                QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        return [Letter.read(message) for message in held]

    def _depths(self, url: str) -> dict[str, int]:
        names = {kind: f"ApproximateNumberOfMessages{kind}" for kind in _DEPTHS}
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names.values()))
        return {kind: int(answer["Attributes"][name]) for kind, name in names.items()}

    def _log(self) -> list[str]:
        logs = self._logs
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        pages = (logs.get_paginator("filter_log_events").paginate(logGroupName=group) for group in groups)
        return [event["message"] for group in pages for page in group for event in page["events"]]

    def _well(self) -> Iterator[str]:
        for cluster in self._aws.admin("GET", "/_local/hyperpod/clusters"):
            for node in cluster["nodes"]:
                if node["healthy"] and not node["rebooting"]:
                    yield node["instance_id"]
