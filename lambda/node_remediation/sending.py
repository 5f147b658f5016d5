"""Sends items in SQS and SNS batch calls, which may take some entries of a batch and not others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from node_remediation import awserrors
from node_remediation.awserrors import CallError, Meaning

_MOST_ENTRIES = 10  # of SendMessageBatch and of PublishBatch
# Entries that were not taken are sent this many times in all.
_TRIES = 3

Item = TypeVar("Item")
# Sends items whose entry IDs are their positions, and returns the answer. Raises what a client raises.
Send = Callable[[Sequence[Item]], Mapping[str, Any]]


def send_all(items: Sequence[Item], sizes: Sequence[int], most_bytes: int, send: Send[Item]) -> list[tuple[Item, str]]:
    """Send all items in batches that fit; returns those that were not taken in the end, with why."""
    missed: list[tuple[Item, str]] = []
    for batch in _fitting(items, sizes, most_bytes):
        missed += _send_batch(batch, send)
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


def _send_batch(batch: list[Item], send: Send[Item]) -> list[tuple[Item, str]]:
    """Send a batch, then what is left of it; one that is rejected whole is sent item by item: one of them is guilty."""
    left: list[tuple[Item, str]] = [(item, "") for item in batch]
    for _ in range(_TRIES):
        try:
            left = _not_taken([item for item, _ in left], send)
        except awserrors.CALL_ERRORS as error:
            return _alone([item for item, _ in left], send, awserrors.read(error))
        if not left:
            break
    return left


def _alone(items: list[Item], send: Send[Item], error: CallError) -> list[tuple[Item, str]]:
    if error.meaning is not Meaning.REJECTED or len(items) == 1:
        return [(item, f"{error.code}: {error.message}") for item in items]
    return [missed for item in items for missed in _send_batch([item], send)]


def _not_taken(items: Sequence[Item], send: Send[Item]) -> list[tuple[Item, str]]:
    """What the answer does not list as successful, whether or not it lists it as failed."""
    answer = send(items)
    taken = {entry["Id"] for entry in answer.get("Successful", ())}
    why = {entry["Id"]: f"{entry['Code']}: {entry.get('Message', '')}" for entry in answer.get("Failed", ())}
    unheard = "the answer does not name it"
    return [(item, why.get(str(at), unheard)) for at, item in enumerate(items) if str(at) not in taken]
