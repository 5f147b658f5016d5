"""This system's own messages: requests of operators and scripts, dead letters that were put back, and its checks.

All are EventBridge envelopes with source `hyperpod.node-remediation`; see docs/messages.md.
"""

from collections.abc import Mapping
from typing import Any

from node_remediation import codes
from node_remediation.events.fields import Envelope, UnreadableEventError, kind, mapping, read_time, text
from node_remediation.model import Alarm, Check, IdKind, Node, Outcome, Postponed, Report, Settled, Trigger

SOURCE = "hyperpod.node-remediation"
REQUESTED = "HyperPod Node Reboot Requested"
FAILED = "HyperPod Node Reboot Failed"
CHECK = "HyperPod Node Check"
ALARM_CHECK = "HyperPod Alarm Check"
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
    return [
        Report(
            trigger=_first_trigger(envelope, mapping(detail, "Trigger")),
            node=_node(detail),
            cluster=text(detail, "ClusterName"),
            repair_action=text(detail, "RepairAction"),
            alarm=_alarm(mapping(detail, "Alarm")),
            attempt=_whole(detail, "Attempt") + 1,
            on_demand=True,
        )
    ]


def read_check(envelope: Envelope) -> list[Report]:
    """Read a check of a node: the report that it follows up, once more."""
    detail = envelope.object_detail()
    watch, cluster = text(detail, "Watch"), text(detail, "ClusterName")
    if not watch or not cluster:
        raise UnreadableEventError(f"detail.{'ClusterName' if watch else 'Watch'}: takes a string; it is missing")
    return [
        Report(
            trigger=_first_trigger(envelope, mapping(detail, "Trigger")),
            node=_node(detail),
            cluster=cluster,
            cluster_is_hyperpod=True,
            instance_id=text(detail, "InstanceId"),
            repair_action=text(detail, "RepairAction"),
            alarm=_alarm(mapping(detail, "Alarm")),
            attempt=_whole(detail, "Attempt"),
            check=_check(detail, watch, envelope),
        )
    ]


def read_alarm_check(envelope: Envelope) -> list[Postponed]:
    """Read a check of a muted alarm, whose event it holds as it came."""
    detail = envelope.object_detail()
    body, until = text(detail, "Event"), read_time(detail.get("Until"))
    if not body or until is None:
        raise UnreadableEventError(f"detail.{'Until: takes a time' if body else 'Event: takes a string'}")
    return [Postponed(envelope.trigger(""), _check(detail, None, envelope), until, body)]


def _node(detail: Mapping[str, Any]) -> Node:
    node_id, logical_id = text(detail, "NodeId"), text(detail, "NodeLogicalId")
    if not node_id and not logical_id:
        raise UnreadableEventError("detail: names no node; it takes an ID in NodeId or NodeLogicalId")
    return Node(IdKind.NODE_ID, node_id) if node_id else Node(IdKind.LOGICAL_ID, logical_id or "")


def _whole(detail: Mapping[str, Any], key: str) -> int:
    number = detail.get(key, 1)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise UnreadableEventError(f"detail.{key}: takes a whole number from 1, not {kind(number)}")
    return number


def _check(detail: Mapping[str, Any], watch: str | None, envelope: Envelope) -> Check:
    due = read_time(detail.get("Due")) or envelope.time
    return Check(watch, _whole(detail, "Round"), due, retry=detail.get("Retry") is True)


def _alarm(fields: Mapping[str, Any]) -> Alarm | None:
    name = text(fields, "Name")
    return Alarm(name, text(fields, "Arn"), by_series=fields.get("BySeries") is True) if name else None


def _first_trigger(envelope: Envelope, first: Mapping[str, Any]) -> Trigger:
    """What set off the first attempt; a dead letter that lost it is its own trigger."""
    return Trigger(
        source=text(first, "Source") or envelope.source,
        detail_type=text(first, "DetailType") or envelope.detail_type,
        event_id=text(first, "EventId") or envelope.event_id,
        time=read_time(first.get("Time")) or envelope.time,
        reason=text(first, "Reason") or "",
    )
