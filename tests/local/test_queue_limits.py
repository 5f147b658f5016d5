"""Contract of `local.patches.queue_limits`: a message counts with its attributes' names, types and values."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.support import Queue

MakeQueue = Callable[..., Queue]
_MIB = 1_048_576


def _attribute(size: int) -> dict[str, Any]:
    return {"a": {"DataType": "String", "StringValue": "x" * (size - len("a") - len("String"))}}


def test_a_message_over_one_mib_with_its_attributes_is_refused(make_queue: MakeQueue) -> None:
    """By one byte; exactly one MiB is sent."""
    queue, body = make_queue(), "x" * (_MIB - 100)
    queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageAttributes=_attribute(100))
    with pytest.raises(ClientError, match="shorter than 1048576"):
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageAttributes=_attribute(101))
    assert queue.count() == 1


def test_a_batch_over_one_mib_is_refused_as_a_whole(make_queue: MakeQueue) -> None:
    """Attributes of all entries count."""
    queue = make_queue()
    entries = [
        {"Id": str(n), "MessageBody": "x" * (_MIB // 2 - 100), "MessageAttributes": _attribute(101)} for n in range(2)
    ]
    with pytest.raises(ClientError, match="BatchRequestTooLong"):
        queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert queue.count() == 0
