"""What Lambda invokes the function with, made into messages."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from node_remediation.inbox import is_batch, message_of_payload, messages_of_batch
from node_remediation.model import Message
from tests.unit.fakes import NOW, SAMPLES, health_event


def record(**fields: Any) -> dict[str, Any]:
    """A record as an event source mapping delivers it ("Using Lambda with Amazon SQS")."""
    return {
        "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        "body": "Test message.",
        "attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
        "awsRegion": "us-east-2",
    } | fields


def test_record_is_read_whole() -> None:
    """The time it was sent, how often it came, and the handle that it goes back by."""
    assert messages_of_batch({"Records": [record()]}) == [
        Message(
            id="059f36b4-87a3-44ab-83d2-661975830a7d",
            body="Test message.",
            sent=datetime(2018, 12, 17, 21, 37, 29, 183000, UTC),
            receives=3,
            receipt_handle="AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
        )
    ]


@pytest.mark.parametrize(
    ("attributes", "redriven"),
    [
        ({"Kind": {"stringValue": "refused", "dataType": "String"}}, "refused"),
        ({"Other": {"stringValue": "x", "dataType": "String"}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_dead_letter_that_was_put_back_is_known_by_its_kind(attributes: object, redriven: str | None) -> None:
    """A redrive keeps the attributes that we gave it."""
    (found,) = messages_of_batch({"Records": [record(messageAttributes=attributes)]})
    assert found.redriven == redriven


def test_batch_keeps_its_order() -> None:
    """One message per record."""
    records = [record(messageId=str(number)) for number in range(3)]
    assert [each.id for each in messages_of_batch({"Records": records})] == ["0", "1", "2"]


def test_sqs_records_are_a_batch() -> None:
    """Each of them has to be SQS's."""
    assert is_batch({"Records": [record(), record()]})


def test_batch_without_messages_has_none() -> None:
    """Nothing to do is not an event that nobody can read."""
    assert is_batch({"Records": []})
    assert messages_of_batch({"Records": []}) == []


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": None},
        {"Records": "aws:sqs"},
        {"Records": [record(eventSource="aws:s3")]},
        {"Records": [record(), {"EventSource": "aws:sns"}]},
        {"Records": [None]},
        [record()],
        None,
        "text",
        5,
        health_event(),
        *(json.loads(path.read_text()) for path in SAMPLES.glob("*.json")),
    ],
)
def test_anything_else_is_one_event_by_itself(event: object) -> None:
    """Whatever a direct invocation brings is a message that was sent now, for the first time."""
    assert not is_batch(event)
    found = message_of_payload(event, message_id="request-1", now=NOW)
    assert (found.id, json.loads(found.body), found.sent) == ("request-1", event, NOW)
    assert (found.receives, found.receipt_handle, found.redriven) == (1, None, None)
