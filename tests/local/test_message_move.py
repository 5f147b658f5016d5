"""Contract of `local.patches.message_move`: dead-letter queues can be redriven."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.support import Queue, wait_for

MakeQueue = Callable[..., Queue]


@pytest.fixture
def dead(make_queue: MakeQueue) -> Queue:
    """The dead-letter queue of `source`."""
    return make_queue("dead")


@pytest.fixture
def source(make_queue: MakeQueue, dead: Queue) -> Queue:
    """A queue whose messages go to `dead` when they were received twice."""
    queue = make_queue("source")
    queue.set(RedrivePolicy={"deadLetterTargetArn": dead.arn, "maxReceiveCount": 2})
    return queue


def _finished(dead: Queue) -> dict[str, Any]:
    def task() -> dict[str, Any] | None:
        (latest,) = dead.client.list_message_move_tasks(SourceArn=dead.arn)["Results"]
        return latest if latest["Status"] != "RUNNING" else None

    return wait_for("the end of the move", task)


def _die(source: Queue, dead: Queue) -> None:
    for _ in range(2):
        source.take(visibility=0)
    source.client.receive_message(QueueUrl=source.url)
    wait_for("the dead letter", lambda: dead.count() == 1)


def test_a_redriven_message_is_a_new_one(source: Queue, dead: Queue) -> None:
    """New ID and times; body and attributes are kept."""
    attribute = {"Kind": {"DataType": "String", "StringValue": "failed"}}
    dead.send("letter", MessageAttributes=attribute)
    (old,) = dead.take(visibility=0)
    dead.client.start_message_move_task(SourceArn=dead.arn, DestinationArn=source.arn)
    (new,) = source.take()
    assert (new["Body"], new["MessageAttributes"]) == ("letter", attribute)
    assert new["MessageId"] != old["MessageId"]
    assert new["Attributes"]["SentTimestamp"] > old["Attributes"]["SentTimestamp"]
    assert new["Attributes"]["ApproximateReceiveCount"] == "1"
    assert _finished(dead)["Status"] == "COMPLETED"
    assert dead.count() == 0


def test_without_destination_a_moved_message_returns_to_its_source(source: Queue, dead: Queue) -> None:
    """SQS knows where it moved it from."""
    source.send("poison")
    _die(source, dead)
    dead.client.start_message_move_task(SourceArn=dead.arn)
    (message,) = source.take()
    assert message["Body"] == "poison"
    assert "DeadLetterQueueSourceArn" not in message["Attributes"]


def test_without_destination_a_message_sent_to_the_dead_letter_queue_fails_the_move(source: Queue, dead: Queue) -> None:
    """It has no source to return to, and stays."""
    dead.send("ours")
    dead.client.start_message_move_task(SourceArn=dead.arn)
    task = _finished(dead)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert dead.count() == 1


def test_a_queue_that_is_nobodys_dead_letter_queue_cannot_be_moved_from(make_queue: MakeQueue) -> None:
    """The redrive policy of some queue must name it."""
    queue = make_queue()
    with pytest.raises(ClientError, match="Dead Letter Queue"):
        queue.client.start_message_move_task(SourceArn=queue.arn)


def test_a_queue_is_moved_from_once_at_a_time(source: Queue, dead: Queue) -> None:
    """A slow move leaves the time to see it."""
    dead.send("a", "b")
    start = {"SourceArn": dead.arn, "DestinationArn": source.arn, "MaxNumberOfMessagesPerSecond": 1}
    dead.client.start_message_move_task(**start)
    with pytest.raises(ClientError, match="already a task"):
        dead.client.start_message_move_task(**start)
    assert (_finished(dead)["Status"], dead.count()) == ("COMPLETED", 0)
