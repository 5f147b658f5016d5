"""Sends letters to the dead-letter queue, and lets messages of the intake queue come again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from node_remediation.aws import errors
from node_remediation.aws.errors import CallError, MayCall, Meaning
from node_remediation.model import Message
from node_remediation.outbox.letters import MOST_BYTES, Letter, size

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

_SECONDS_PER_RECEIVE = 30
_MOST_ENTRIES = 10  # of the batch calls of SQS and SNS
# Tries of entries that the answer does not list as successful.
_TRIES = 3

# Sends the items at these positions, which are their entries' IDs, and returns the answer. Raises what a client raises.
Send = Callable[[Sequence[int]], Mapping[str, Any]]


class DeadLetters(Protocol):
    """Takes letters for machines to replay."""

    def send(self, letters: Sequence[Letter], *, may_call: MayCall = lambda: True) -> dict[int, str]:
        """Send letters. Return the positions of those that may not have arrived, with the reason."""


class Intake(Protocol):
    """Has the messages that this invocation was given."""

    def come_again(self, messages: Sequence[Message]) -> str | None:
        """Let each message come again after 30 s times its receives. Return why that failed for some, if it did.

        Such a message comes again at the queue's visibility timeout.
        """


class SqsDeadLetters:
    """Dead letters over SQS."""

    def __init__(self, client: "SQSClient", *, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, letters: Sequence[Letter], *, may_call: MayCall = lambda: True) -> dict[int, str]:
        def send(positions: Sequence[int]) -> Mapping[str, Any]:
            entries: Any = [_entry(str(position), letters[position]) for position in positions]
            return self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)

        missed = send_all([size(letter) for letter in letters], MOST_BYTES, send, may_call=may_call)
        return {position: f"dead-letter queue: {why}" for position, why in missed.items()}


def _entry(id_: str, letter: Letter) -> dict[str, Any]:
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in letter.attributes.items()}
    return {"Id": id_, "MessageBody": letter.body, "DelaySeconds": letter.delay, "MessageAttributes": attributes}


class SqsIntake:
    """The intake queue over SQS."""

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
            except errors.CALL_ERRORS as error:
                trouble = str(errors.read(error))
        return trouble


def send_all(sizes: Sequence[int], most_bytes: int, send: Send, *, may_call: MayCall = lambda: True) -> dict[int, str]:
    """Send items of these sizes, in bytes, in batches that fit. Return why some were not taken, by position.

    No batch starts once `may_call` says no.
    """
    missed: dict[int, str] = {}
    for batch in _batches(sizes, most_bytes):
        missed |= _send_batch(batch, send) if may_call() else dict.fromkeys(batch, str(errors.OUT_OF_TIME))
    return missed


def _batches(sizes: Sequence[int], most_bytes: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for position, each_size in enumerate(sizes):
        if batch and (len(batch) == _MOST_ENTRIES or each_size + sum(sizes[each] for each in batch) > most_bytes):
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def _send_batch(batch: Sequence[int], send: Send) -> dict[int, str]:
    """Send a batch, then what is left of it. If it is rejected as a whole, send each item alone: one is at fault."""
    left = dict.fromkeys(batch, "")
    for _ in range(_TRIES):
        try:
            left = _not_taken(list(left), send(list(left)))
        except errors.CALL_ERRORS as error:
            return _alone(list(left), send, errors.read(error))
        if not left:
            break
    return left


def _alone(batch: Sequence[int], send: Send, error: CallError) -> dict[int, str]:
    if error.meaning is not Meaning.REJECTED or len(batch) == 1:
        return dict.fromkeys(batch, str(error))
    return {position: why for each in batch for position, why in _send_batch([each], send).items()}


def _not_taken(batch: Sequence[int], answer: Mapping[str, Any]) -> dict[int, str]:
    """Return what the answer does not list as successful, even if it does not list it as failed either."""
    taken = {entry.get("Id") for entry in answer.get("Successful") or ()}
    failed = {entry.get("Id"): entry for entry in answer.get("Failed") or ()}
    why = {id_: f"{entry.get('Code')}: {entry.get('Message', '')}" for id_, entry in failed.items()}
    return {each: why.get(str(each), "the answer does not name it") for each in batch if str(each) not in taken}
