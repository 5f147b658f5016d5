"""State events: what is put on the event bus when an incident's state changes. Pure.

Their JSON schema is docs/incident-state-change.schema.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from node_remediation.outbox.letters import json_text
from node_remediation.policy.record import NodeRecord, StateEvent


@dataclass(frozen=True, slots=True)
class BusEvent:
    """An event for the bus: its time and its detail as JSON."""

    time: datetime
    detail: str


def state_event(event: StateEvent, record: NodeRecord) -> BusEvent:
    """Return the event of a change to a node's incident."""
    instance = record.key.id if record.key.id.startswith("i-") and record.key.id != event.node.id else None
    detail: Mapping[str, object] = {
        "EventId": event.id,
        "IncidentId": event.incident,
        "ClusterName": record.key.cluster,
        event.node.kind.value: event.node.id,
        **({"InstanceId": instance} if instance else {}),
        **({"InstanceGroup": record.group} if record.group else {}),
        "State": event.state,
        "PreviousState": event.previous,
        "Ended": event.ended,
        **({"ErrorCode": event.code} if event.code else {}),
        "Reason": event.reason,
        "OpenedAt": _iso(event.opened_at),
        "ChangedAt": _iso(event.at),
    }
    return BusEvent(event.at, json_text(detail))


def _iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
