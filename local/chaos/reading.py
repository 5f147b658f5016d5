"""Reads what queues, log, call log and ledger hold into the values that the verdict counts. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from local.chaos.verdict import Item, Key, Letter, Line, Sent, Told

_PLATFORM = ("START ", "END ", "REPORT ", "INIT_")
_FAILURES = ("Failed", "FailedNodeLogicalIds")
_ATTRIBUTES = ("ClusterName", "ErrorCode")
Message = Mapping[str, Any]


def sent_by(body: str, message_id: str) -> list[Sent]:
    """Return what a message brings to the intake queue: nothing if it is an event that the stack's rules pass over."""
    event = _object(body)
    detail, event_id = event.get("detail") or {}, event.get("id", message_id)
    if event.get("source") == "aws.cloudwatch":
        passes = detail["alarmName"].startswith("hyperpod-") and detail["state"]["value"] in ("ALARM", "OK")
        composite = "alarmRule" in detail.get("configuration", {})
        return [Sent(event_id, None if composite else 1)] if passes else []
    nodes = [*detail.get("NodeIds", ()), *detail.get("NodeLogicalIds", ())]
    return [Sent(event_id, len(nodes) or 1)]


def read_stream(messages: Sequence[str]) -> Iterator[Line]:
    """Read one invocation's log lines. What is neither a line of ours nor the platform's is the error of a crash."""
    lines = [message for message in messages if not message.startswith(_PLATFORM)]
    crashed = not all(message.startswith("{") for message in lines)
    for line in lines:
        fields = _object(line)
        if "level" in fields:
            yield Line(fields, crashed)


def read_failed(call: Mapping[str, Any]) -> Iterator[Key]:
    """Read the failures in one answer of BatchRebootClusterNodes."""
    for entries in _FAILURES:
        for entry in (call["answer"] or {}).get(entries, ()):
            yield call["cluster"], _node(entry), entry["ErrorCode"]


def read_letter(message: Message) -> Letter:
    """Read a message of the dead-letter queue; one that names no node is there as it came."""
    event, attributes = _object(message["Body"]), message.get("MessageAttributes") or {}
    cluster, code = (attributes[name]["StringValue"] if name in attributes else None for name in _ATTRIBUTES)
    if event.get("source") != "hyperpod.node-remediation":
        return Letter((None if cluster == "unknown" else cluster, None, code))
    detail = event["detail"]
    key = detail["ClusterName"], _node(detail), code
    return Letter(key, event["id"], detail.get("IncidentId"), detail["Trigger"]["EventId"])


def read_notice(body: str) -> Iterator[Told]:
    """Read the nodes that a message of the topic tells of as failed or refused."""
    notice = _object(_object(body)["Message"])
    retrying = {_node(entry) for entry in notice.get("Retrying", ())}
    for entries in (*_FAILURES, "Refused", "Unreadable"):
        for entry in notice.get(entries, ()):
            node = _node(entry)
            yield Told((notice.get("ClusterName"), node, entry.get("ErrorCode")), node in retrying)


def read_item(item: Mapping[str, Any]) -> Item:
    """Read an item of the ledger in DynamoDB's types."""
    due, incident = item.get("due"), item.get("incident", {}).get("M", {})
    entries = [entry["M"] for entry in item.get("outbox", {}).get("L", ())]
    return Item(
        key=item["pk"]["S"],
        due=float(due["N"]) / 1000 if due else None,
        incident=incident.get("id", {}).get("S"),
        unsent=sum(any(entry.get(part, {}).get("BOOL") for part in ("letter", "topic")) for entry in entries),
    )


def _node(entry: Any) -> str | None:
    return entry.get("NodeId") or entry.get("NodeLogicalId") if isinstance(entry, dict) else entry


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
