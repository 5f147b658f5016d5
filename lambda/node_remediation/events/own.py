"""Reads and writes this system's own events: requests of operators and scripts, letters of the DLQ, the sweep's.

All are EventBridge envelopes with source `hyperpod.node-remediation`; see docs/messages.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from node_remediation import codes
from node_remediation.events.fields import (
    Envelope,
    Home,
    UnreadableEventError,
    in_milliseconds,
    kind,
    mapping,
    read_time,
    text,
)
from node_remediation.model import Alarm, Answered, IdKind, Node, NoReport, Origin, Outcome, Report, Trigger, bounded
from node_remediation.policy.record import Entry
from node_remediation.settings import SWEEP_DETAIL_TYPE, SWEEP_SOURCE

SOURCE = "hyperpod.node-remediation"
REQUESTED = "HyperPod Node Reboot Requested"
APPROVED = "HyperPod Node Reboot Approved"
VETOED = "HyperPod Node Reboot Vetoed"
FAILED = "HyperPod Node Reboot Failed"
REFUSED = "HyperPod Node Reboot Refused"

_MOST_ATTEMPTS = 1_000


def read_request(envelope: Envelope) -> list[Report | NoReport]:
    """Read a request: one report per ID in NodeIds and NodeLogicalIds."""
    detail = envelope.object_detail()
    cluster = _optional(detail, "ClusterName")
    # It was made when it was sent, whatever time a copied example gives.
    trigger = replace(envelope, time=None).trigger(text(detail, "Reason") or "")
    nodes = [Node(IdKind.NODE_ID, id_) for id_ in _ids(detail, "NodeIds")]
    nodes += [Node(IdKind.LOGICAL_ID, id_) for id_ in _ids(detail, "NodeLogicalIds")]
    if not nodes:
        reason = "the request names no node; it takes IDs in detail.NodeIds or detail.NodeLogicalIds"
        return [NoReport(trigger, Outcome.REFUSED, reason, codes.NODE_NOT_RESOLVED, cluster)]
    return [Report(trigger, node, cluster, origin=Origin.REQUEST) for node in dict.fromkeys(nodes)]


def _ids(detail: Mapping[str, Any], key: str) -> list[str]:
    ids = detail.get(key)
    if ids is None:
        return []
    if not isinstance(ids, list) or not all(isinstance(id_, str) and id_.strip() for id_ in ids):
        raise UnreadableEventError(f"detail.{key}: takes a list of IDs, each a string")
    return [bounded(id_.strip()) for id_ in ids]


def read_answer(envelope: Envelope) -> list[Report]:
    """Read the answer to a proposed reboot: an approval or a veto of an incident. Its node is looked up by that."""
    detail = envelope.object_detail()
    incident, by = _optional(detail, "IncidentId"), _optional(detail, "By")
    if incident is None:
        raise UnreadableEventError("detail.IncidentId: takes the ID that the proposal gave; it is missing")
    trigger = replace(envelope, time=None).trigger(_optional(detail, "Reason") or "")
    answer = Answered.APPROVED if envelope.detail_type == APPROVED else Answered.VETOED
    node = Node(IdKind.NODE_ID, incident)
    return [Report(trigger, node, "", cluster_is_hyperpod=True, answer=answer, incident=incident, answered_by=by)]


def read_letter(envelope: Envelope) -> list[Report]:
    """Read a letter that came back: a new attempt at the same node, for the reason of the first."""
    detail = envelope.object_detail()
    return [
        Report(
            trigger=_first_trigger(envelope, mapping(detail, "Trigger")),
            node=_node(detail),
            cluster=_optional(detail, "ClusterName"),
            instance_id=_optional(detail, "InstanceId"),
            repair_action=text(detail, "RepairAction"),
            recommendation=text(detail, "Recommendation"),
            alarm=_alarm(mapping(detail, "Alarm")),
            attempt=_attempt(detail.get("Attempt")) + 1,
            origin=Origin.LETTER,
            letter_id=envelope.event_id,
        )
    ]


def read_canary(envelope: Envelope) -> list[NoReport]:
    """Read the stack's own daily event, which shows that reports arrive."""
    return [NoReport(envelope.trigger(""), Outcome.IGNORED, "the canary came through to the ledger", canary=True)]


def _optional(detail: Mapping[str, Any], key: str) -> str | None:
    value = detail.get(key)
    if value is not None and not isinstance(value, str):
        raise UnreadableEventError(f"detail.{key}: takes a string, not {kind(value)}")
    return text(detail, key)


def _node(detail: Mapping[str, Any]) -> Node:
    for each in IdKind:
        id_ = _optional(detail, each)
        if id_:
            return Node(each, id_)
    raise UnreadableEventError("detail: names no node; it takes an ID in NodeId or NodeLogicalId")


def _attempt(number: object) -> int:
    return min(max(number, 1), _MOST_ATTEMPTS) if isinstance(number, int) else 1


def _alarm(fields: Mapping[str, Any]) -> Alarm | None:
    name = text(fields, "Name")
    if name is None:
        return None
    fingerprint, by_series = text(fields, "Fingerprint"), fields.get("BySeries") is True
    return Alarm(name, text(fields, "Arn"), None, by_series, fingerprint, alertmanager=fingerprint is not None)


def _first_trigger(envelope: Envelope, first: Mapping[str, Any]) -> Trigger:
    """Return the event that set off the first attempt; a letter that lost it is its own trigger."""
    time = read_time(first.get("Time")) or read_time(envelope.time) or envelope.sent
    return Trigger(
        source=text(first, "Source") or envelope.source,
        detail_type=text(first, "DetailType") or envelope.detail_type,
        event_id=text(first, "EventId") or envelope.event_id,
        time=min(time, envelope.sent),
        reason=text(first, "Reason") or "",
    )


def letter_event(entry: Entry, *, now: datetime, home: Home) -> dict[str, Any]:
    """Write the letter of an outbox entry that names a node. Put back on the intake queue, it is a new attempt."""
    trigger, alarm = entry.trigger, entry.alarm
    detail = {
        "IncidentId": entry.incident,
        "ClusterName": entry.cluster,
        **({entry.node.kind.value: entry.node.id} if entry.node else {}),
        "InstanceId": entry.instance_id,
        "ErrorCode": entry.code,
        "Message": entry.message,
        "Retryable": codes.is_retryable(entry.code or ""),
        "Attempt": entry.attempt,
        "Action": "replace" if entry.replacing else None,
        "RepairAction": entry.repair_action,
        "Recommendation": entry.recommendation,
        "Alarm": alarm and _alarm_fields(alarm),
        "Trigger": {
            "Source": trigger.source,
            "DetailType": trigger.detail_type,
            "EventId": trigger.event_id,
            "Time": _iso(trigger.time, "milliseconds"),
            "Reason": trigger.reason,
        },
    }
    return {
        "version": "1",
        "id": entry.id,
        "source": SOURCE,
        "detail-type": REFUSED if entry.outcome is Outcome.REFUSED else FAILED,
        "time": _iso(now, "seconds"),
        "account": home.account,
        "region": home.region,
        "resources": [],
        "detail": _known(detail),
    }


def _alarm_fields(alarm: Alarm) -> dict[str, Any]:
    fingerprint = alarm.series if alarm.alertmanager else None
    return _known({"Name": alarm.name, "Arn": alarm.arn, "BySeries": alarm.by_series, "Fingerprint": fingerprint})


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _iso(time: datetime, precision: str) -> str:
    return time.isoformat(timespec=precision).replace("+00:00", "Z")


def read_sweep(event: object, *, now: datetime) -> datetime | None:
    """Return the time of a sweep, `now` if it has none; None if a direct invocation's payload is no sweep."""
    if not isinstance(event, dict):
        return None
    if (event.get("source"), event.get("detail-type")) != (SWEEP_SOURCE, SWEEP_DETAIL_TYPE):
        return None
    return min(read_time(event.get("time")) or now, in_milliseconds(now))
