"""What Lambda invokes the function with, made into messages."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.events import UnreadableEventError, is_batch, message_of_payload, messages_of_batch
from node_remediation.model import Message
from tests.unit.events.payloads import NOW, SAMPLE_NAMES, health_event, read, sample

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def record(**fields: Any) -> dict[str, Any]:
    """Make a record as an event source mapping delivers it ("Using Lambda with Amazon SQS")."""
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


def message(**fields: Any) -> Message:
    (found,) = messages_of_batch({"Records": [record(**fields)]})
    return found


def test_record_is_read_whole() -> None:
    """A message has the time it was sent, the number of its receives and its receipt handle."""
    assert message() == Message(
        id="059f36b4-87a3-44ab-83d2-661975830a7d",
        body="Test message.",
        sent=datetime(2018, 12, 17, 21, 37, 29, 183000, UTC),
        receives=3,
        receipt_handle="AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
    )


@pytest.mark.parametrize(
    ("attributes", "redriven"),
    [
        ({"Kind": {"stringValue": "failed", "dataType": "String"}}, True),
        ({"Kind": {"stringValue": "refused", "dataType": "String"}}, True),
        ({"Kind": {"stringValue": "unreadable", "dataType": "String"}}, True),
        ({"Kind": {"stringValue": "rebooted", "dataType": "String"}}, False),
        ({"Kind": {"stringValue": ["failed"]}}, False),
        ({"Kind": "failed"}, False),
        ({"Other": {"stringValue": "failed", "dataType": "String"}}, False),
        ({}, False),
        (None, False),
    ],
)
def test_letter_that_was_put_back_is_known_by_its_kind(attributes: object, redriven: bool) -> None:
    """A redrive keeps the attributes of a letter."""
    assert message(messageAttributes=attributes).redriven is redriven


def test_batch_keeps_its_order() -> None:
    """There is one message per record."""
    records = [record(messageId=str(number)) for number in range(3)]
    assert [each.id for each in messages_of_batch({"Records": records})] == ["0", "1", "2"]


def test_record_without_its_fields_is_a_message_beside_its_neighbours() -> None:
    """It has no body to read and counts as old; the others are as they came."""
    empty = {"eventSource": "aws:sqs"}
    found = messages_of_batch({"Records": [record(), empty, None, record(messageId="last")]})
    assert [each.id for each in found] == [record()["messageId"], "record-1", "record-2", "last"]
    assert found[1] == Message(id="record-1", body="null", sent=EPOCH)
    with pytest.raises(UnreadableEventError):
        read(found[1].body)


@pytest.mark.parametrize("value", ["soon", "", None, 5, [], "-1", "9" * 30, "9" * 5_000, "1e9", "nan"])
def test_garbled_time_of_a_message_makes_it_old(value: object) -> None:
    """It is reported as stale, as its age is unknown."""
    assert message(attributes={"SentTimestamp": value}).sent == EPOCH


@pytest.mark.parametrize(
    ("value", "receives"), [("5", 5), ("0", 1), ("-3", 1), ("x", 1), (None, 1), ("9" * 30, 1_000), ("9" * 5_000, 1)]
)
def test_number_of_receives_is_clamped(value: object, receives: int) -> None:
    """A count that makes no sense is the first."""
    assert message(attributes={"ApproximateReceiveCount": value}).receives == receives


def test_time_of_a_message_is_at_most_one_that_can_be_added_to() -> None:
    """A garbled one in the year 9999 would overflow where a duration is added."""
    assert message(attributes={"SentTimestamp": "253402300799999"}).sent == datetime(2200, 1, 1, tzinfo=UTC)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
)


@given(st.sampled_from(sorted(record())), values)
def test_any_field_of_a_record_may_be_anything(field: str, value: object) -> None:
    """One garbled record never raises for its batch."""
    event = {"Records": [record(**{field: value}), record(messageId="neighbour")]}
    assert is_batch(event)
    found = messages_of_batch(event)
    assert found[1] == Message(
        "neighbour", "Test message.", message().sent, receives=3, receipt_handle=record()["receiptHandle"]
    )
    assert isinstance(found[0].body, str)
    assert found[0].id


def test_sqs_records_are_a_batch() -> None:
    """One that lost its source does not change what its neighbours are."""
    assert is_batch({"Records": [record(), record()]})
    assert is_batch({"Records": [record(eventSource=None), record()]})


def test_batch_without_messages_has_none() -> None:
    """An empty batch is no unreadable event."""
    assert is_batch({"Records": []})
    assert messages_of_batch({"Records": []}) == []


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"Records": None},
        {"Records": "aws:sqs"},
        {"Records": [record(eventSource="aws:s3")]},
        {"Records": [{"EventSource": "aws:sns"}]},
        {"Records": [None]},
        [record()],
        None,
        "text",
        5,
        health_event(),
        *map(sample, SAMPLE_NAMES),
    ],
)
def test_anything_else_is_one_event_by_itself(event: object) -> None:
    """A direct invocation's payload is a message that was sent now, for the first time, and has no queue."""
    assert not is_batch(event)
    body = json.dumps(event)
    assert message_of_payload(event, message_id="request-1", now=NOW) == Message("request-1", body, NOW, direct=True)


@pytest.mark.parametrize("payload", [{"Attempt": 10**5_000}, {"a": {1, 2}}, {"a": object()}])
def test_payload_that_is_no_json_is_unreadable(payload: object) -> None:
    """It ends like any other body that cannot be parsed."""
    found = message_of_payload(payload, "request-1", NOW)
    with pytest.raises(UnreadableEventError, match=r"^the body is not JSON: "):
        read(found.body)
