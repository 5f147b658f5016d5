"""Contract of `local.patches.queue_limits`, and of SQS limits that stock keeps."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.support import Queue

MakeQueue = Callable[..., Queue]
_MIB = 1_048_576


def _attribute(size: int) -> dict[str, Any]:
    return {"a": {"DataType": "String", "StringValue": "x" * (size - len("a") - len("String"))}}


def test_a_message_of_exactly_one_mib_with_its_attributes_is_sent(make_queue: MakeQueue) -> None:
    """Attributes count with names, types and values."""
    queue = make_queue()
    queue.client.send_message(QueueUrl=queue.url, MessageBody="x" * (_MIB - 100), MessageAttributes=_attribute(100))
    assert queue.count() == 1


def test_a_message_over_one_mib_with_its_attributes_is_refused(make_queue: MakeQueue) -> None:
    """By one byte."""
    queue = make_queue()
    with pytest.raises(ClientError, match="shorter than 1048576"):
        queue.client.send_message(QueueUrl=queue.url, MessageBody="x" * (_MIB - 100), MessageAttributes=_attribute(101))


def test_a_batch_over_one_mib_is_refused_as_a_whole(make_queue: MakeQueue) -> None:
    """Attributes of all entries count."""
    queue = make_queue()
    entries = [
        {"Id": str(n), "MessageBody": "x" * (_MIB // 2 - 100), "MessageAttributes": _attribute(101)} for n in range(2)
    ]
    with pytest.raises(ClientError, match="BatchRequestTooLong"):
        queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert queue.count() == 0


def test_a_batch_of_eleven_is_refused(make_queue: MakeQueue) -> None:
    """(Stock.)"""
    queue = make_queue()
    entries = [{"Id": str(n), "MessageBody": "x"} for n in range(11)]
    with pytest.raises(ClientError, match="TooManyEntriesInBatchRequest"):
        queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries)


def test_an_entrys_delay_is_kept(make_queue: MakeQueue) -> None:
    """Each entry's own. (Stock.)"""
    queue = make_queue()
    sent = time.time()
    queue.send("later", DelaySeconds=2)
    queue.send("now")
    assert [message["Body"] for message in queue.take(2)] == ["now", "later"]
    assert time.time() - sent >= 2
