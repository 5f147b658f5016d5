"""Batches of SQS and SNS: they fit, and each item that was not taken is known."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.aws.queues import send_all

LOST = ReadTimeoutError(endpoint_url="x")


def rejected(code: str = "InvalidMessageContents", status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "SendMessageBatch")


def answer(taken: Sequence[int], failed: Sequence[int] = ()) -> dict[str, Any]:
    entries = [{"Id": str(each), "SenderFault": False, "Code": "InternalError", "Message": "oops"} for each in failed]
    return {"Successful": [{"Id": str(each)} for each in taken], "Failed": entries}


class Service:
    """A service that takes everything, except as `reply` says."""

    def __init__(self, reply: Callable[[Sequence[int]], Mapping[str, Any] | Exception] = answer) -> None:
        self._reply = reply
        self.batches: list[list[int]] = []

    def send(self, positions: Sequence[int]) -> Mapping[str, Any]:
        self.batches.append(list(positions))
        reply = self._reply(positions)
        if isinstance(reply, Exception):
            raise reply
        return reply


@given(st.lists(st.integers(1, 60), max_size=40))
def test_batches_have_each_item_once_and_fit(sizes: list[int]) -> None:
    """In order, at most ten, within the bytes unless one alone is over; none that would have fitted into the last."""
    service = Service()
    assert send_all(sizes, 50, service.send) == {}
    assert [each for batch in service.batches for each in batch] == list(range(len(sizes)))
    for batch in service.batches:
        assert len(batch) == 1 or (len(batch) <= 10 and sum(sizes[each] for each in batch) <= 50)
    for batch, following in zip(service.batches, service.batches[1:], strict=False):
        assert len(batch) == 10 or sum(sizes[each] for each in batch) + sizes[following[0]] > 50


def test_entries_that_were_not_taken_are_sent_again_alone() -> None:
    """Three times in all; what is left is known with the service's words."""
    service = Service(lambda positions: answer([each for each in positions if each != 1], [1]))
    assert send_all([1, 1, 1], 50, service.send) == {1: "InternalError: oops"}
    assert service.batches == [[0, 1, 2], [1], [1]]


@pytest.mark.parametrize("silent", [{}, {"Successful": None, "Failed": None}, {"Failed": [{}]}])
def test_entry_that_the_answer_does_not_name_was_not_taken(silent: dict[str, Any]) -> None:
    """Said twice rather than not at all."""
    service = Service(lambda _: silent)
    assert send_all([1], 50, service.send) == {0: "the answer does not name it"}
    assert len(service.batches) == 3


@given(st.integers(1, 25), st.sets(st.integers(0, 24)))
def test_entry_that_rejects_its_batch_is_found(count: int, bad: set[int]) -> None:
    """Its neighbours are sent alone."""
    service = Service(lambda positions: rejected() if bad & set(positions) else answer(positions))
    missed = send_all([1] * count, 50, service.send)
    assert missed == dict.fromkeys(sorted(bad & set(range(count))), "InvalidMessageContents: words")


@pytest.mark.parametrize("trouble", [LOST, rejected("Throttling"), rejected("InternalError", 500)])
def test_trouble_of_the_service_is_not_sent_again_one_by_one(trouble: Exception) -> None:
    """The client has tried already; the next batch is tried all the same."""
    replies = iter([trouble])
    service = Service(lambda positions: next(replies, None) or answer(positions))
    assert set(send_all([1] * 12, 50, service.send)) == set(range(10))
    assert service.batches == [list(range(10)), [10, 11]]


def test_no_batch_starts_without_time() -> None:
    """What was not sent is known as such: the sweep sends it."""
    allowed = iter([True])
    service = Service()
    missed = send_all([1] * 12, 50, service.send, may_call=lambda: next(allowed, False))
    assert set(missed) == {10, 11}
    assert missed[10].startswith("DeadlineExceeded: ")
