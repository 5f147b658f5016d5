"""Turns what Lambda invokes the function with into messages. Pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from node_remediation.model import Message


def is_batch(event: object) -> bool:
    """Whether the event is a batch of an SQS event source mapping; anything else is one event by itself."""
    records = event.get("Records") if isinstance(event, dict) else None
    return isinstance(records, list) and all(
        isinstance(record, dict) and record.get("eventSource") == "aws:sqs" for record in records
    )


def messages_of_batch(event: Mapping[str, Any]) -> list[Message]:
    """The messages of a batch, as an event source mapping delivers it ("Using Lambda with Amazon SQS")."""
    return [_message(record) for record in event["Records"]]


def _message(record: Mapping[str, Any]) -> Message:
    attributes = record["attributes"]
    kind = (record.get("messageAttributes") or {}).get("Kind") or {}
    return Message(
        id=record["messageId"],
        body=record["body"],
        sent=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receives=int(attributes["ApproximateReceiveCount"]),
        receipt_handle=record["receiptHandle"],
        redriven=kind.get("stringValue"),
    )


def message_of_payload(event: object, *, message_id: str, now: datetime) -> Message:
    """A direct invocation's payload as a message that was sent now."""
    return Message(id=message_id, body=json.dumps(event), sent=now)
