"""Makes events as AWS sends them, about a simulated cluster's nodes, from the documented samples."""

import copy
import json
import re
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from local.aws import ACCOUNT

REGION = "us-east-1"
_SAMPLES = Path(__file__).parents[1] / "samples"
_ARN_OF_ELSEWHERE = re.compile(r"(arn:aws:[a-z0-9-]+):[a-z0-9-]+:\d{10,12}:")
_HOME = {"account": ACCOUNT, "accountId": ACCOUNT, "region": REGION}
_serial = count()


def sample(name: str) -> dict[str, Any]:
    """Return a documented payload of this account and region, with a time of its own close to now, and not muted."""
    text = (_SAMPLES / f"{name}.documented.json").read_text()
    event: dict[str, Any] = json.loads(_ARN_OF_ELSEWHERE.sub(rf"\1:{REGION}:{ACCOUNT}:", text))
    event |= {key: own for key, own in _HOME.items() if key in event}
    event["time"] = unique_time()
    detail = event.get("detail", event.get("alarmData", {}))
    detail.pop("muteDetail", None)
    state = detail.get("state", {})
    state.pop("actionsSuppressedBy", None)
    if state:
        state["timestamp"] = event["time"]
    return event


def unique_time() -> str:
    """Return a time within the last hours that no other event of this run has, to the second as EventBridge's are."""
    time = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=next(_serial))
    return time.isoformat().replace("+00:00", "Z")


def now() -> str:
    """Return the time as EventBridge and CloudWatch write it, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def arn_of_alarm(name: str) -> str:
    return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"


def health(cluster: str, node: str | None, status: str = "Unhealthy", **summary: Any) -> dict[str, Any]:
    """Return HyperPod's own event about a node."""
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


def alarm(
    dimensions: dict[str, str] | None, *, name: str = "hyperpod-reboot-xid", state: str = "ALARM"
) -> dict[str, Any]:
    event = sample("alarm-single-metric")
    _name(event, name)
    event["detail"]["state"]["value"] = state
    metric = event["detail"]["configuration"]["metrics"][0]["metricStat"]["metric"]
    metric["dimensions"] = dimensions or {}
    return event


def _name(event: dict[str, Any], alarm_name: str) -> None:
    event["resources"] = [arn_of_alarm(alarm_name)]
    event["detail"]["alarmName"] = alarm_name


def contributor(cluster: str, node: str, *, name: str = "hyperpod-reboot-by-node") -> dict[str, Any]:
    """Return one series of an alarm that goes into ALARM."""
    event = sample("alarm-contributor")
    _name(event, name)
    event["detail"]["alarmContributor"]["attributes"] = {"ClusterName": cluster, "InstanceId": node}
    return event


def metric_math(*dimensions: dict[str, str]) -> dict[str, Any]:
    event = sample("alarm-metric-math")
    _name(event, "hyperpod-reboot-sum")
    metrics = event["detail"]["configuration"]["metrics"]
    stat = metrics[1]
    metrics[1:] = [copy.deepcopy(stat) for _ in dimensions]
    for metric, named in zip(metrics[1:], dimensions, strict=True):
        metric["metricStat"]["metric"]["dimensions"] = named
    return event


def sns_alarm(cluster: str, node: str, *, name: str = "hyperpod-reboot-sns") -> dict[str, Any]:
    """Return an alarm's message to a topic ("Notifying users on alarm changes", CloudWatch User Guide)."""
    return {
        "AlarmName": name,
        "AWSAccountId": ACCOUNT,
        "NewStateValue": "ALARM",
        "NewStateReason": "Threshold Crossed",
        "StateChangeTime": unique_time(),
        "Region": "US East (N. Virginia)",
        "AlarmArn": arn_of_alarm(name),
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
    """Return an operator's request; its ID is the event ID in the log."""
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
