"""Reads HyperPod's own events: node health, and cluster events that say that an instance is unhealthy.

Shapes: tests/samples/node-health.documented.json and tests/samples/cluster-event-*.documented.json.
"""

import re
from collections.abc import Mapping
from typing import Any

from node_remediation import codes
from node_remediation.events.fields import Envelope, find_cluster, find_node, is_arn, mapping, text, whole_text
from node_remediation.model import Node, NoReport, Outcome, Progress, Report, Trigger, bounded

# Not in the catalogue ("HyperPod cluster events reference", SageMaker developer guide), but seen.
_UNHEALTHY_INSTANCE = re.compile(r"\bis unhealthy\b", re.IGNORECASE)
# As the catalogue words them, under "Instance reboot" and "Instance operation (generic)".
_REBOOTS = (
    (re.compile(r"Reboot of EC2 Instance .* is currently in progress", re.IGNORECASE), Progress.IN_PROGRESS),
    (re.compile(r"Failed to submit reboot request for EC2 Instance ", re.IGNORECASE), Progress.FAILED),
    (re.compile(r"Instance reboot .* completed successfully", re.IGNORECASE), Progress.COMPLETED),
    (re.compile(r"Instance reboot .* failed", re.IGNORECASE), Progress.FAILED),
)
_REPAIR_ACTION = re.compile(r"Repair action:\s*([A-Za-z]+)", re.IGNORECASE)


def read_node_health(envelope: Envelope) -> list[Report | NoReport]:
    """Read a `SageMaker HyperPod Cluster Node Health Event`: Unhealthy reports, Healthy clears, the rest is ignored."""
    detail = envelope.object_detail()
    summary = mapping(detail, "HealthSummary")
    times = detail.get("EventTime"), summary.get("EventTime")
    trigger = envelope.trigger(text(summary, "HealthStatusReason") or "", *times)
    status = text(summary, "HealthStatus")
    if status not in ("Unhealthy", "Healthy"):
        reason = bounded(f"health status {status or 'unknown'}")
        return [NoReport(trigger, Outcome.IGNORED, reason, cluster=find_cluster(detail).name)]
    return [
        _report(
            envelope,
            trigger,
            detail,
            find_node(detail),
            healthy=status == "Healthy",
            repair_action=text(summary, "RepairAction"),
            recommendation=text(summary, "Recommendation"),
        )
    ]


def read_cluster_event(envelope: Envelope) -> list[Report | NoReport]:
    """Read a `SageMaker HyperPod Cluster Event` about an instance.

    Its Description says that the instance is unhealthy, or what becomes of its reboot.
    """
    event = mapping(envelope.object_detail(), "EventDetails")
    description = whole_text(event, "Description") or ""
    unhealthy = _UNHEALTHY_INSTANCE.search(description) is not None
    progress = next((progress for words, progress in _REBOOTS if words.match(description)), None)
    failed = unhealthy or progress is Progress.FAILED
    instance = mapping(mapping(mapping(event, "EventDetails"), "EventMetadata"), "Instance")
    failure = text(instance, "FailureMessage")
    trigger = envelope.trigger(f"{description} ({failure})" if failure else description, event.get("EventTime"))
    node = find_node(event) or find_node(instance)
    if text(event, "ResourceType") != "Instance" or not (unhealthy or (progress and node)):
        reason = "the event is neither about an unhealthy instance nor about a reboot"
        return [NoReport(trigger, Outcome.IGNORED, reason, cluster=find_cluster(event).name)]
    action = _REPAIR_ACTION.search(description)
    said = {
        "repair_action": bounded(action[1]) if action and unhealthy else None,
        "progress": None if unhealthy else progress,
        "cluster_event": text(event, "EventId") if failed and not failure else None,
    }
    return [_report(envelope, trigger, event, node, **said)]


def _report(
    envelope: Envelope, trigger: Trigger, fields: Mapping[str, Any], node: Node | None, **said: Any
) -> Report | NoReport:
    cluster = find_cluster(fields).name
    if node is None:
        reason = "the event names no node"
        if said.get("healthy"):
            return NoReport(trigger, Outcome.IGNORED, reason, cluster=cluster)
        return NoReport(trigger, Outcome.REFUSED, reason, codes.NODE_NOT_RESOLVED, cluster)
    named = bool(cluster) and not is_arn(cluster)
    return Report(trigger, node, cluster, cluster_is_hyperpod=named, replay=envelope.replay, **said)
