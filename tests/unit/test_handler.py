"""The entry point: what Lambda gives it and gets back, at each of its three doors."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest

from node_remediation.model import IdKind, Message, Node, Outcome, Result, Trigger
from node_remediation.remediate import Handling
from node_remediation.settings import SWEEP_DETAIL_TYPE, SWEEP_SOURCE
from tests.unit.events.payloads import NODE, NOW, health_event
from tests.unit.events.test_inbox import record

MESSAGE = Message("m-1", "{}", NOW)
REBOOTED = Result(
    MESSAGE,
    Trigger("aws.sagemaker", "event", "e-1", NOW),
    Outcome.REBOOTED,
    "SageMaker started the reboot",
    cluster="ml-a",
    node=Node(IdKind.NODE_ID, NODE),
    incident="in-1",
)
UNREADABLE = Result(MESSAGE, Trigger("", "", "m-1", NOW), Outcome.UNREADABLE, "the body is not JSON", "Unreadable")


@dataclass
class FakeRemediator:
    """Keeps what it is given; `handed_back` come again, the rest came to `results`."""

    results: tuple[Result, ...] = ()
    handed_back: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    sweeps: list[datetime] = field(default_factory=list)
    seconds: float = 0

    def handle(self, messages: Sequence[Message], *, seconds_left: Callable[[], float]) -> Handling:
        self.messages += messages
        self.seconds = seconds_left()
        return Handling(self.results, self.handed_back)

    def sweep(self, sent: datetime, *, seconds_left: Callable[[], float]) -> None:
        self.sweeps.append(sent)
        self.seconds = seconds_left()


class FakeContext:
    """The parts of Lambda's context that the function uses."""

    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 59_500


@pytest.fixture
def remediator(handler: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeRemediator:
    """Stand in for the one that was built at import: the runtime offers no other way in."""
    fake = FakeRemediator()
    monkeypatch.setattr(handler, "remediator", lambda: fake)
    return fake


def test_batch_answers_with_what_comes_again(handler: ModuleType, remediator: FakeRemediator) -> None:
    """Only the messages that are handed back fail, so only these stay in the queue."""
    remediator.handed_back = {"b": "ThrottlingException: Rate exceeded"}
    answer = handler.lambda_handler({"Records": [record(messageId=each) for each in "abc"]}, FakeContext())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "b"}]}
    assert ([each.id for each in remediator.messages], remediator.seconds) == (["a", "b", "c"], 59.5)


def test_batch_that_is_done_with_answers_no_failures(handler: ModuleType, remediator: FakeRemediator) -> None:
    """An empty list tells Lambda to delete all of it."""
    remediator.results = (REBOOTED,)
    assert handler.lambda_handler({"Records": [record()]}, FakeContext()) == {"batchItemFailures": []}


def test_direct_event_answers_with_the_outcomes(handler: ModuleType, remediator: FakeRemediator) -> None:
    """One entry per report, which JSON can carry."""
    remediator.results = (REBOOTED, UNREADABLE)
    answer = handler.lambda_handler(health_event(), FakeContext())
    rebooted = {"incident": "in-1", "cluster": "ml-a", "node": NODE, "outcome": "rebooted", "code": None}
    unreadable = {"incident": None, "cluster": None, "node": None, "outcome": "unreadable", "code": "Unreadable"}
    assert json.loads(json.dumps(answer)) == {
        "reports": [
            rebooted | {"reason": "SageMaker started the reboot"},
            unreadable | {"reason": "the body is not JSON"},
        ]
    }
    (message,) = remediator.messages
    assert (message.id, json.loads(message.body), message.direct) == ("request-1", health_event(), True)


def test_direct_event_that_must_come_again_raises(handler: ModuleType, remediator: FakeRemediator) -> None:
    """Lambda's own retries and dead-letter queue take it from there."""
    remediator.handed_back = {"request-1": "ThrottlingException: Rate exceeded"}
    with pytest.raises(handler.HandBackError, match=r"^ThrottlingException: Rate exceeded$"):
        handler.lambda_handler(health_event(), FakeContext())


def test_sweep_is_neither_a_batch_nor_an_event(handler: ModuleType, remediator: FakeRemediator) -> None:
    """It has the time at which its rule sent it, and answers nothing."""
    event: dict[str, Any] = {"source": SWEEP_SOURCE, "detail-type": SWEEP_DETAIL_TYPE, "time": "2025-12-01T13:42:00Z"}
    assert handler.lambda_handler(event, FakeContext()) == {}
    assert remediator.sweeps == [datetime(2025, 12, 1, 13, 42, tzinfo=UTC)]
    assert (remediator.messages, remediator.seconds) == ([], 59.5)


def test_function_is_built_once_when_it_starts(handler: ModuleType) -> None:
    """While the runtime starts the function it has the processor of a whole core."""
    assert handler.remediator.cache_info().currsize == 1
    assert handler.remediator() is handler.remediator()
