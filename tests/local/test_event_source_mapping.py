"""Contract of `local.patches.event_source_mapping`: queues feed functions as on AWS."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.aws import LocalAws
from tests.local.support import Queue, RecordingFunction, wait_for

MakeQueue = Callable[..., Queue]
MakeFunction = Callable[..., RecordingFunction]
Connect = Callable[..., None]


@pytest.fixture
def connect(aws: LocalAws) -> Iterator[Connect]:
    """Makes a queue feed a function, until the end of the test."""
    client = aws.client("lambda")
    made: list[str] = []

    def connect(queue: Queue, function: RecordingFunction, **options: Any) -> None:
        mapping = client.create_event_source_mapping(
            EventSourceArn=queue.arn,
            FunctionName=function.name,
            FunctionResponseTypes=options.pop("FunctionResponseTypes", ["ReportBatchItemFailures"]),
            **options,
        )
        made.append(mapping["UUID"])

    yield connect
    for uuid in made:
        client.delete_event_source_mapping(UUID=uuid)


def _bodies(invocation: dict[str, Any]) -> list[str]:
    return [record["body"] for record in invocation["event"]["Records"]]


def test_a_full_batch_of_more_than_ten_does_not_wait_for_its_window(
    make_queue: MakeQueue, make_function: MakeFunction, connect: Connect
) -> None:
    """The batch size closes the window early."""
    queue, function = make_queue(), make_function("{'batchItemFailures': []}")
    queue.send(*(f"m{i}" for i in range(35)))
    connect(queue, function, BatchSize=35, MaximumBatchingWindowInSeconds=300)
    assert len(_bodies(function.await_invocations(1)[0])) == 35
    wait_for("an empty queue", lambda: queue.count() == 0)


def test_a_batch_waits_for_its_window(make_queue: MakeQueue, make_function: MakeFunction, connect: Connect) -> None:
    """Messages that come within the window share an invocation, which starts when it closes."""
    queue, function = make_queue(), make_function()
    connect(queue, function, BatchSize=100, MaximumBatchingWindowInSeconds=2)
    started = time.time()
    queue.send("first")
    queue.send("second")
    (invocation,) = function.await_invocations(1)
    assert _bodies(invocation) == ["first", "second"]
    assert invocation["at"] - started >= 1.9


def test_a_batch_stays_within_an_invocations_payload(
    make_queue: MakeQueue, make_function: MakeFunction, connect: Connect
) -> None:
    """Eight messages of 1 MB each take two invocations, side by side: either may be seen first."""
    queue, function = make_queue(), make_function()
    for _ in range(8):
        queue.send("x" * 1_000_000)
    connect(queue, function, BatchSize=100, MaximumBatchingWindowInSeconds=1)
    assert sorted(len(_bodies(seen)) for seen in function.await_invocations(2)) == [2, 6]


_FIRST = "event['Records'][0]['messageId']"


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (f"{{'batchItemFailures': [{{'itemIdentifier': {_FIRST}}}]}}", 1),
        ("{'batchItemFailures': []}", 0),
        ("{'batchItemFailures': None}", 0),
        ("{}", 0),
        ("None", 0),
        ("{'batchItemFailures': [{'itemIdentifier': 'unknown'}]}", 3),
        ("{'batchItemFailures': [{'itemIdentifier': ''}]}", 3),
        ("{'batchItemFailures': [{'itemIdentifier': None}]}", 3),
        (f"{{'batchItemFailures': [{{'itemIdentifier': {_FIRST}}}, {{'itemIdentifier': 'unknown'}}]}}", 3),
        (f"{{'batchItemFailures': [{{'item': {_FIRST}}}]}}", 3),
        ("{'batchItemFailures': 'all'}", 3),
        ("'done'", 3),
        ("1 / 0", 3),
    ],
)
def test_what_a_function_reports_as_failed_stays_in_the_queue(
    *, answer: str, left: int, make_queue: MakeQueue, make_function: MakeFunction, connect: Connect, aws: LocalAws
) -> None:
    """Lambda's table of successes, partial and complete failures."""
    queue, function = make_queue(VisibilityTimeout="600"), make_function(answer)
    queue.send("a", "b", "c")
    connect(queue, function, BatchSize=10, MaximumBatchingWindowInSeconds=1)
    function.await_invocations(1)
    _await_result(aws, function)
    assert queue.count() == left


def _await_result(aws: LocalAws, function: RecordingFunction) -> None:
    mappings = aws.client("lambda")
    wait_for(
        "the batch's result",
        lambda: mappings.list_event_source_mappings(FunctionName=function.name)["EventSourceMappings"][0].get(
            "LastProcessingResult"
        ),
    )


def test_without_reports_a_batch_succeeds_as_a_whole(
    make_queue: MakeQueue, make_function: MakeFunction, connect: Connect
) -> None:
    """The answer means nothing unless the mapping says that it does."""
    queue, function = make_queue(), make_function("{'batchItemFailures': [{'itemIdentifier': 'unknown'}]}")
    queue.send("a", "b")
    connect(queue, function, FunctionResponseTypes=[])
    wait_for("an empty queue", lambda: queue.count() == 0)


def test_a_handed_back_message_comes_when_the_function_said(
    make_queue: MakeQueue, make_function: MakeFunction, connect: Connect
) -> None:
    """Not at once, and not at the queue's own time-out."""
    queue, function = make_queue(VisibilityTimeout="600"), make_function("1 / 0")
    function.hold()
    queue.send("again")
    connect(queue, function)
    (first,) = function.await_invocations(1)
    handle = first["event"]["Records"][0]["receiptHandle"]
    handed_back = time.time()
    queue.client.change_message_visibility(QueueUrl=queue.url, ReceiptHandle=handle, VisibilityTimeout=3)
    function.release()
    second = function.await_invocations(2)[1]
    assert 2.9 <= second["at"] - handed_back <= 10
    assert second["event"]["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"


def test_a_message_that_was_received_too_often_goes_to_the_dead_letter_queue(
    make_queue: MakeQueue, make_function: MakeFunction, connect: Connect
) -> None:
    """After maxReceiveCount failures, and saying where it came from."""
    dead = make_queue("dead")
    queue, function = make_queue(VisibilityTimeout="2"), make_function("1 / 0")
    queue.set(RedrivePolicy={"deadLetterTargetArn": dead.arn, "maxReceiveCount": 3})
    queue.send("poison")
    connect(queue, function)
    (message,) = dead.take()
    assert message["Body"] == "poison"
    assert message["Attributes"]["DeadLetterQueueSourceArn"] == queue.arn
    assert len(function.invocations()) == 3


def test_no_message_is_lost_or_doubled_while_others_are_sent(
    make_queue: MakeQueue, make_function: MakeFunction, connect: Connect
) -> None:
    """Sending, receiving and deleting at once change one list of messages."""
    queue, function = make_queue(), make_function()
    connect(queue, function, BatchSize=7, MaximumBatchingWindowInSeconds=0)
    sent = [f"m{i}" for i in range(600)]
    queue.send(*sent)
    wait_for("an empty queue", lambda: queue.count() == 0)
    assert sorted(body for seen in function.invocations() for body in _bodies(seen)) == sorted(sent)
