"""HyperPod's own events: node health, and cluster events that say an instance is unhealthy.

Shapes: tests/samples/node-health.documented.json and tests/samples/cluster-event-*.documented.json.
"""

import re

from node_remediation import codes
from node_remediation.events.fields import Envelope, find_cluster, find_node, mapping, report_time, text
from node_remediation.model import Outcome, Report, Settled

# Compiled when they are needed: few events have a text to search.
_UNHEALTHY_INSTANCE = r"\bis unhealthy\b"
_REPAIR_ACTION = r"Repair action:\s*([A-Za-z]+)"


def read_node_health(envelope: Envelope) -> list[Report | Settled]:
    """Read a `SageMaker HyperPod Cluster Node Health Event`: Unhealthy reports, Healthy clears, the rest is ignored."""
    detail = envelope.object_detail()
    summary = mapping(detail, "HealthSummary")
    cluster, node = find_cluster(detail).name, find_node(detail)
    claimed = detail.get("EventTime") or summary.get("EventTime")
    trigger = envelope.trigger(text(summary, "HealthStatusReason") or "", report_time(claimed, envelope.time))
    status = text(summary, "HealthStatus")
    if status not in ("Unhealthy", "Healthy"):
        return [Settled(trigger, Outcome.IGNORED, f"health status {status or 'unknown'}", cluster=cluster)]
    if node is None:
        reason = "the health event names no node"
        return [Settled(trigger, Outcome.REFUSED, reason, codes.NODE_NOT_RESOLVED, cluster)]
    return [
        Report(
            trigger=trigger,
            node=node,
            cluster=cluster,
            cluster_is_hyperpod=True,
            replay=envelope.replay,
            healthy=status == "Healthy",
            repair_action=text(summary, "RepairAction"),
            recommendation=text(summary, "Recommendation"),
        )
    ]


def read_cluster_event(envelope: Envelope) -> list[Report | Settled]:
    """Read a `SageMaker HyperPod Cluster Event`: an Instance event whose Description says that it is unhealthy."""
    event = mapping(envelope.object_detail(), "EventDetails")
    description = text(event, "Description") or ""
    cluster = find_cluster(event).name
    trigger = envelope.trigger(description, report_time(event.get("EventTime"), envelope.time))
    if text(event, "ResourceType") != "Instance" or not re.search(_UNHEALTHY_INSTANCE, description, re.IGNORECASE):
        return [Settled(trigger, Outcome.IGNORED, "no unhealthy instance's event", cluster=cluster)]
    instance = mapping(mapping(mapping(event, "EventDetails"), "EventMetadata"), "Instance")
    node = find_node(event) or find_node(instance)
    if node is None:
        reason = "the cluster event names no node"
        return [Settled(trigger, Outcome.REFUSED, reason, codes.NODE_NOT_RESOLVED, cluster)]
    action = re.search(_REPAIR_ACTION, description, re.IGNORECASE)
    return [
        Report(
            trigger=trigger,
            node=node,
            cluster=cluster,
            cluster_is_hyperpod=True,
            replay=envelope.replay,
            repair_action=action.group(1) if action else None,
        )
    ]
