"""The edge to the intake queue: when a message that is handed back comes again, and checks that are sent to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from node_remediation import awserrors
from node_remediation.model import Message
from node_remediation.sending import send_all

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

_MOST_ENTRIES = 10
_SECONDS_PER_RECEIVE = 30
_MOST_BYTES = 1_048_576  # of a batch call, and of a message


class Delayed(NamedTuple):
    """A message of this system to itself, with its delay in seconds (at most 900)."""

    body: str
    delay: int


class Intake(Protocol):
    """The queue that messages are handed back to."""

    def come_again(self, messages: Sequence[Message]) -> str | None:
        """Let each message come again after 30 s times its receive count; returns why that could not be arranged.

        It is a courtesy: what could not be arranged comes again at the queue's visibility timeout.
        """

    def send(self, checks: Sequence[Delayed]) -> dict[int, str]:
        """Send checks to come in after their delays; returns those that were not taken, by position, with why."""


class SqsIntake:
    """Intake over SQS."""

    def __init__(self, client: Callable[[], "SQSClient"], *, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, checks: Sequence[Delayed]) -> dict[int, str]:
        sizes = [len(check.body.encode()) for check in checks]
        missed = send_all(list(enumerate(checks)), sizes, _MOST_BYTES, self._send_batch)
        return {index: f"intake queue: {why}" for (index, _), why in missed}

    def _send_batch(self, checks: Sequence[tuple[int, Delayed]]) -> Mapping[str, Any]:
        entries: list[Any] = [
            {"Id": str(position), "MessageBody": check.body, "DelaySeconds": check.delay}
            for position, (_, check) in enumerate(checks)
        ]
        return self._client().send_message_batch(QueueUrl=self._queue_url, Entries=entries)

    def come_again(self, messages: Sequence[Message]) -> str | None:
        held = [message for message in messages if message.receipt_handle]
        trouble = None
        for start in range(0, len(held), _MOST_ENTRIES):
            entries: list[Any] = [
                {
                    "Id": str(index),
                    "ReceiptHandle": message.receipt_handle,
                    "VisibilityTimeout": _SECONDS_PER_RECEIVE * message.receives,
                }
                for index, message in enumerate(held[start : start + _MOST_ENTRIES])
            ]
            try:
                answer = self._client().change_message_visibility_batch(QueueUrl=self._queue_url, Entries=entries)
                trouble = str(answer["Failed"]) if answer.get("Failed") else trouble
            except awserrors.CALL_ERRORS as error:
                trouble = str(error)
        return trouble
