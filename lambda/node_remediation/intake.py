"""The edge to the intake queue: when a message that is handed back comes again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from node_remediation import awserrors
from node_remediation.model import Message

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

_MOST_ENTRIES = 10
_SECONDS_PER_RECEIVE = 30


class Intake(Protocol):
    """The queue that messages are handed back to."""

    def come_again(self, messages: Sequence[Message]) -> str | None:
        """Let each message come again after 30 s times its receive count; returns why that could not be arranged.

        It is a courtesy: what could not be arranged comes again at the queue's visibility timeout.
        """


class SqsIntake:
    """Intake over SQS."""

    def __init__(self, client: "SQSClient", *, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

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
                answer = self._client.change_message_visibility_batch(QueueUrl=self._queue_url, Entries=entries)
                trouble = str(answer["Failed"]) if answer.get("Failed") else trouble
            except awserrors.CALL_ERRORS as error:
                trouble = str(error)
        return trouble
