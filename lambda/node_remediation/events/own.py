"""This system's own messages: reboot requests of operators and scripts, and dead letters that were put back.

Both are EventBridge envelopes with source `hyperpod.node-remediation`; see docs/messages.md.
"""

from collections.abc import Mapping
from typing import Any

from node_remediation import codes
from node_remediation.events.fields import Envelope, UnreadableEventError, kind, mapping, read_time, text
from node_remediation.model import IdKind, Node, Outcome, Report, Settled, Trigger

SOURCE = "hyperpod.node-remediation"
REQUESTED = "HyperPod Node Reboot Requested"
FAILED = "HyperPod Node Reboot Failed"
REFUSED = "HyperPod Node Reboot Refused"


def read_request(envelope: Envelope) -> list[Report | Settled]:
    """Read a request: one report per ID in NodeIds and NodeLogicalIds."""
    detail = envelope.object_detail()
    cluster = text(detail, "ClusterName")
    trigger = envelope.trigger(text(detail, "Reason") or "")
    nodes = [Node(IdKind.NODE_ID, id_) for id_ in _ids(detail, "NodeIds")]
    nodes += [Node(IdKind.LOGICAL_ID, id_) for id_ in _ids(detail, "NodeLogicalIds")]
    if not nodes:
        reason = "the request names no node; it takes IDs in detail.NodeIds or detail.NodeLogicalIds"
        return [Settled(trigger, Outcome.REFUSED, reason, codes.NODE_NOT_RESOLVED, cluster)]
    return [Report(trigger=trigger, node=node, cluster=cluster, on_demand=True) for node in dict.fromkeys(nodes)]


def _ids(detail: Mapping[str, Any], key: str) -> list[str]:
    ids = detail.get(key)
    if ids is None:
        return []
    if not isinstance(ids, list) or not all(isinstance(id_, str) and id_.strip() for id_ in ids):
        raise UnreadableEventError(f"detail.{key}: takes a list of IDs, each a string")
    return [id_.strip() for id_ in ids]


def read_dead_letter(envelope: Envelope) -> list[Report | Settled]:
    """Read a dead letter that was put back: a new attempt at the same node, for the reason of the first."""
    detail = envelope.object_detail()
    node_id, logical_id = text(detail, "NodeId"), text(detail, "NodeLogicalId")
    if not node_id and not logical_id:
        raise UnreadableEventError("detail: names no node; it takes an ID in NodeId or NodeLogicalId")
    node = Node(IdKind.NODE_ID, node_id) if node_id else Node(IdKind.LOGICAL_ID, logical_id or "")
    attempt = detail.get("Attempt", 1)
    if not isinstance(attempt, int) or isinstance(attempt, bool) or attempt < 1:
        raise UnreadableEventError(f"detail.Attempt: takes a whole number from 1, not {kind(attempt)}")
    return [
        Report(
            trigger=_first_trigger(envelope, mapping(detail, "Trigger")),
            node=node,
            cluster=text(detail, "ClusterName"),
            repair_action=text(detail, "RepairAction"),
            attempt=attempt + 1,
            on_demand=True,
        )
    ]


def _first_trigger(envelope: Envelope, first: Mapping[str, Any]) -> Trigger:
    """What set off the first attempt; a dead letter that lost it is its own trigger."""
    return Trigger(
        source=text(first, "Source") or envelope.source,
        detail_type=text(first, "DetailType") or envelope.detail_type,
        event_id=text(first, "EventId") or envelope.event_id,
        time=read_time(first.get("Time")) or envelope.time,
        reason=text(first, "Reason") or "",
    )
