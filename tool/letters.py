"""Looks at the dead-letter queue, and puts letters back on the intake queue."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from node_remediation import codes
from node_remediation.aws.queues import send_all
from node_remediation.outbox.letters import MOST_BYTES, size
from node_remediation.outbox.letters import Letter as Sent
from smoke.stack import Stack

_BATCH = 10  # the most letters in a call
# Longer than a look at the queue takes; a letter whose look was cut off is visible again after this.
_HELD_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of the dead-letter queue. One that names no node is there as it came."""

    message: dict[str, Any]
    detail: dict[str, Any]
    attributes: dict[str, str]
    time: str | None

    @property
    def cluster(self) -> str:
        return self.attributes.get("ClusterName", "unknown")

    @property
    def code(self) -> str:
        return self.attributes.get("ErrorCode", "unknown")

    def view(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster,
            "code": self.code,
            "node": self.detail.get("NodeId") or self.detail.get("NodeLogicalId"),
            "time": self.time,
            "incident": self.detail.get("IncidentId"),
            "attempt": self.detail.get("Attempt"),
            "message": self.detail.get("Message"),
        }


def _read(message: dict[str, Any]) -> Letter:
    attributes = {name: each.get("StringValue", "") for name, each in message.get("MessageAttributes", {}).items()}
    try:
        body = json.loads(message["Body"])
    except (ValueError, RecursionError):
        body = None
    body = body if isinstance(body, dict) else {}
    detail: Any = body.get("detail")
    if not isinstance(detail, dict) or "ErrorCode" not in detail:  # as it came
        return Letter(message, {}, attributes, None)
    return Letter(message, detail, attributes, body.get("time"))


# Letters, and the way to say which of them are gone for good.
_Batch = tuple[list[Letter], Callable[[Sequence[Letter]], None]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Says which letters are meant: of one code, of one cluster."""

    code: str | None = None
    cluster: str | None = None

    @property
    def all(self) -> bool:
        return self.code is None and self.cluster is None

    def matches(self, letter: Letter) -> bool:
        return self.code in (None, letter.code) and self.cluster in (None, letter.cluster)


@dataclass(slots=True)
class Redriven:
    """What became of a redrive: the letters that went, and why some did not."""

    sent: list[Letter] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


class DeadLetterQueue:
    """The dead-letter queue of a stack. What is only looked at is visible again afterwards."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._sqs = stack.client("sqs")
        self._url = stack.outputs["DeadLetterQueueUrl"]

    def counts(self) -> dict[str, int]:
        """Return about how many letters are visible, not visible yet, and being looked at or moved."""
        return queue_counts(self._stack, "DeadLetterQueueUrl")

    def look(self, wanted: Wanted, most: int) -> list[Letter]:
        """Return the visible letters that are wanted, among the first `most`."""
        with closing(self._batches(most)) as batches:
            return [each for batch, _ in batches for each in batch if wanted.matches(each)]

    def redrive_all(self) -> None:
        """Let SQS move every letter to the intake queue, also those that become visible meanwhile."""
        outputs = self._stack.outputs
        self._sqs.start_message_move_task(
            SourceArn=outputs["DeadLetterQueueArn"], DestinationArn=outputs["IntakeQueueArn"]
        )

    def redrive(self, wanted: Wanted, most: int) -> Redriven:
        """Send the letters that are wanted to the intake queue, and delete each once it is there.

        Cut off in between, a letter is in both queues: the ledger knows its ID, so it is one attempt.
        """
        done = Redriven()
        with closing(self._batches(most)) as batches:
            for batch, forget in batches:
                letters = [each for each in batch if wanted.matches(each)]
                missed = self._send(letters)
                sent = [each for place, each in enumerate(letters) if place not in missed]
                undeleted = self._delete(sent)
                forget([each for each in sent if each not in undeleted])
                done.sent += sent
                done.missed += [f"{_name(letters[place])} was not sent: {why}" for place, why in missed.items()]
                done.missed += [f"{_name(each)} was sent, and is still in the dead-letter queue" for each in undeleted]
        return done

    def _batches(self, most: int) -> Generator[_Batch, None, None]:
        """Receive letters in batches, each with the way to say which are gone; at the end the rest is visible again."""
        held: dict[str, str] = {}
        seen: set[str] = set()

        def gone(letters: Sequence[Letter]) -> None:
            for each in letters:
                held.pop(each.message["MessageId"], None)

        try:
            while len(seen) < most:
                messages = self._receive(min(_BATCH, most - len(seen)))
                held |= {each["MessageId"]: each["ReceiptHandle"] for each in messages}
                new = [each for each in messages if each["MessageId"] not in seen]
                if not new:
                    break
                seen |= {each["MessageId"] for each in new}
                yield [_read(each) for each in new], gone
        finally:
            self._release(list(held.values()))

    def _receive(self, count: int) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=count,
            WaitTimeSeconds=1,  # asks all of SQS's servers: without, some letters are not seen
            VisibilityTimeout=_HELD_SECONDS,
            MessageAttributeNames=["All"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _release(self, handles: Sequence[str]) -> None:
        for start in range(0, len(handles), _BATCH):
            part = enumerate(handles[start : start + _BATCH])
            entries = [{"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": 0} for n, handle in part]
            self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)

    def _send(self, letters: Sequence[Letter]) -> dict[int, str]:
        """Send letters as they are, attributes included; return why some were not taken, by position."""

        def send(positions: Sequence[int]) -> Any:
            entries = [
                {
                    "Id": str(place),
                    "MessageBody": letters[place].message["Body"],
                    "MessageAttributes": {
                        name: {"DataType": "String", "StringValue": value}
                        for name, value in letters[place].attributes.items()
                    },
                }
                for place in positions
            ]
            return self._sqs.send_message_batch(QueueUrl=self._stack.outputs["IntakeQueueUrl"], Entries=entries)

        return send_all([size(Sent(each.message["Body"], each.attributes)) for each in letters], MOST_BYTES, send)

    def _delete(self, letters: Sequence[Letter]) -> list[Letter]:
        """Delete letters; return those that are still there."""
        if not letters:
            return []
        entries = [
            {"Id": str(place), "ReceiptHandle": each.message["ReceiptHandle"]} for place, each in enumerate(letters)
        ]
        answer = self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
        return [letters[int(each["Id"])] for each in answer.get("Failed", [])]


def queue_counts(stack: Stack, output: str) -> dict[str, int]:
    """Return about how many messages a queue of the stack has."""
    names = {kind: f"ApproximateNumberOfMessages{suffix}" for kind, suffix in _KINDS.items()}
    answer = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs[output], AttributeNames=list(names.values())
    )
    return {kind: int(answer["Attributes"][name]) for kind, name in names.items()}


_KINDS = {"visible": "", "delayed": "Delayed", "in_flight": "NotVisible"}


def groups(letters: Sequence[Letter]) -> list[dict[str, Any]]:
    """Count letters by code and cluster, the most first."""
    counted = Counter((each.code, each.cluster) for each in letters)
    return [
        {
            "code": code,
            "cluster": cluster,
            "letters": count,
            "oldest": min(
                (each.time for each in letters if (each.code, each.cluster) == (code, cluster) and each.time),
                default=None,
            ),
            "retryable": codes.is_retryable(code),
        }
        for (code, cluster), count in counted.most_common()
    ]


def _name(letter: Letter) -> str:
    view = letter.view()
    return f"{view['cluster']}/{view['node'] or 'a message without a node'} ({view['code']})"
