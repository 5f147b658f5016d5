"""Events as AWS sends them, about a simulated cluster's nodes; made from the documented samples."""

import copy
import json
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

_SAMPLES = Path(__file__).parents[1] / "samples"
_serial = count()


def sample(name: str) -> dict[str, Any]:
    """A documented payload with a time of its own, close to now, and nothing muted."""
    event: dict[str, Any] = json.loads((_SAMPLES / f"{name}.documented.json").read_text())
    event["time"] = unique_time()
    detail = event.get("detail", event.get("alarmData", {}))
    detail.pop("muteDetail", None)
    state = detail.get("state", {})
    state.pop("actionsSuppressedBy", None)
    if state:
        state["timestamp"] = event["time"]
    return event


def unique_time() -> str:
    """A time within the last hours that no other event of this run has, to the second as EventBridge's are."""
    time = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=next(_serial))
    return time.isoformat().replace("+00:00", "Z")


def health(cluster: str, node: str | None, status: str = "Unhealthy", **summary: Any) -> dict[str, Any]:
    event = sample("node-health")
    event["detail"] |= {"ClusterName": cluster, "InstanceId": node}
    event["detail"]["HealthSummary"] |= {"HealthStatus": status} | summary
    return event


def unhealthy_instance(cluster: str, node: str | None, logical_id: str | None = None) -> dict[str, Any]:
    event = sample("cluster-event-create-failed")
    details = event["detail"]["EventDetails"]
    details |= {
        "ClusterName": cluster,
        "InstanceId": node,
        "EventLevel": "Warn",
        "EventTime": None,
        "Description": f"Instance {node or logical_id} is unhealthy. HyperPod Health Monitoring Agent (HMA) has "
        "detected fault type NvidiaGPUUnhealthy on this node and is unhealthy. Repair action: Reboot.",
    }
    details["EventDetails"]["EventMetadata"]["Instance"] = {"NodeLogicalId": logical_id}
    return event


def alarm(dimensions: dict[str, str] | None, *, name: str = "hyperpod-xid", state: str = "ALARM") -> dict[str, Any]:
    event = sample("alarm-single-metric")
    event["resources"] = [f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}"]
    event["detail"]["alarmName"] = name
    event["detail"]["state"]["value"] = state
    metric = event["detail"]["configuration"]["metrics"][0]["metricStat"]["metric"]
    metric["dimensions"] = dimensions or {}
    return event


def contributor(cluster: str, node: str) -> dict[str, Any]:
    event = sample("alarm-contributor")
    event["detail"]["alarmName"] = "hyperpod-by-node"
    event["detail"]["alarmContributor"]["attributes"] = {"ClusterName": cluster, "InstanceId": node}
    return event


def metric_math(*dimensions: dict[str, str]) -> dict[str, Any]:
    event = sample("alarm-metric-math")
    event["detail"]["alarmName"] = "hyperpod-sum"
    metrics = event["detail"]["configuration"]["metrics"]
    stat = metrics[1]
    metrics[1:] = [copy.deepcopy(stat) for _ in dimensions]
    for metric, named in zip(metrics[1:], dimensions, strict=True):
        metric["metricStat"]["metric"]["dimensions"] = named
    return event


def sns_alarm(cluster: str, node: str, *, name: str = "hyperpod-sns") -> dict[str, Any]:
    """What an alarm publishes to a topic ("Notifying users on alarm changes", CloudWatch User Guide)."""
    return {
        "AlarmName": name,
        "AWSAccountId": "000000000000",
        "NewStateValue": "ALARM",
        "NewStateReason": "Threshold Crossed",
        "StateChangeTime": unique_time(),
        "Region": "US East (N. Virginia)",
        "AlarmArn": f"arn:aws:cloudwatch:us-east-1:000000000000:alarm:{name}",
        "OldStateValue": "OK",
        "Trigger": {
            "MetricName": "hyperpod_node_health_status_unschedulable_pending_reboot",
            "Namespace": "ContainerInsights",
            "Dimensions": [
                {"name": "ClusterName", "value": cluster},
                {"name": "NodeName", "value": f"hyperpod-{node}"},
            ],
        },
    }


def request(cluster: str, *nodes: str, logical_ids: tuple[str, ...] = (), **extra: Any) -> dict[str, Any]:
    """An operator's request; its ID is the event ID in the log."""
    return {
        "version": "1",
        "id": f"request-{next(_serial)}-{cluster}",
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Reboot Requested",
        "time": unique_time(),
        "detail": {
            "ClusterName": cluster,
            "NodeIds": list(nodes),
            "NodeLogicalIds": list(logical_ids),
            "Reason": "drill",
        },
    } | extra
