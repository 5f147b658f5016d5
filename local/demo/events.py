"""Makes entries for the bus that no part of the local AWS emits by itself, as AWS documents them."""

import json
from datetime import UTC, datetime
from typing import Any

from local.demo.clusters import Cluster, Node
from local.demo.stage import Stage

_NAMESPACE = "ContainerInsights"
_METRIC = "hyperpod_node_health_status_unschedulable_pending_reboot"
_REASONS = {
    "ALARM": "Threshold Crossed: 1 datapoint [1.0] was greater than or equal to the threshold (1.0).",
    "OK": "Threshold Crossed: 1 datapoint [0.0] was not greater than or equal to the threshold (1.0).",
}
_FAULT = "HyperPod Health Monitoring Agent (HMA) has detected fault type NvidiaErrorTerminate on this node."


def health_event(cluster: Cluster, instance_id: str) -> dict[str, Any]:
    """Return a node health event besides those of the simulator: another of a node, or about an ID without a node."""
    summary = {
        "HealthStatus": "Unhealthy",
        "HealthStatusReason": _FAULT,
        "RepairAction": "None",
        "Recommendation": "Please Replace the Faulty Node.",
    }
    detail = {"ClusterName": cluster.name, "ClusterArn": cluster.arn, "InstanceId": instance_id, "Tags": {}}
    return _entry(
        "aws.sagemaker",
        "SageMaker HyperPod Cluster Node Health Event",
        cluster.arn,
        detail | {"HealthSummary": summary},
    )


def cluster_event(cluster: Cluster, logical_id: str) -> dict[str, Any]:
    """Return a cluster event that knows its node by the logical ID only."""
    detail = {
        "EventId": "6f1e2a5c-5c3f-4a51-9d0e-0a8f5e1b7c42",
        "ClusterArn": cluster.arn,
        "ClusterName": cluster.name,
        "InstanceGroupName": "workers",
        "InstanceId": None,
        "ResourceType": "Instance",
        "EventTime": None,
        "EventLevel": "Warn",
        "EventDetails": {"EventMetadata": {"Instance": {"NodeLogicalId": logical_id}}},
        "Description": f"Instance is unhealthy. {_FAULT} Repair action: None.",
    }
    return _entry("aws.sagemaker", "SageMaker HyperPod Cluster Event", cluster.arn, {"EventDetails": detail})


def contributor_event(stage: Stage, alarm: str, node: Node, state: str = "ALARM") -> dict[str, Any]:
    """Return the event of one series of a Metrics Insights alarm that goes into ALARM, or is OK again."""
    contributor = {"id": node.instance_id.removeprefix("i-")[-16:], "attributes": _dimensions(node)}
    detail = {"alarmContributor": contributor, "configuration": _grouped()}
    return _alarm_entry(stage, alarm, detail, "CloudWatch Alarm Contributor", state=state)


def calm_contributor(stage: Stage, alarm: str, node: Node) -> None:
    """Let the node's series be OK once the node is well."""
    stage.watch_metric(node, lambda: stage.aws.put_events(contributor_event(stage, alarm, node, "OK")))


def parent_event(stage: Stage, alarm: str) -> dict[str, Any]:
    """Return what CloudWatch sends beside the contributors' events: the alarm as a whole, which names no node."""
    return _alarm_entry(stage, alarm, {"configuration": _grouped()})


def muted_event(stage: Stage, alarm: str, node: Node) -> dict[str, Any]:
    """Return the event of an alarm that goes off while a mute rule holds: it reaches the bus all the same."""
    arn = f"arn:aws:cloudwatch:{stage.aws.region}:{stage.aws.account}:alarm-mute-rule:maintenance"
    metric = {"metric": {"namespace": _NAMESPACE, "name": _METRIC, "dimensions": _dimensions(node)}, "period": 60}
    configuration = {"metrics": [{"id": "m1", "metricStat": metric | {"stat": "Maximum"}, "returnData": True}]}
    return _alarm_entry(stage, alarm, {"configuration": configuration, "muteDetail": {"mutedByArn": arn}})


def set_off_alarm(stage: Stage, alarm: str, node: Node) -> None:
    """Make an alarm on the node's metric go into ALARM: Container Insights' own, or one that a team on Slurm made."""
    cloudwatch = stage.aws.client("cloudwatch")
    namespace, metric = (_NAMESPACE, _METRIC) if node.eks else ("SlurmHealth", "unhealthy_node")
    cloudwatch.put_metric_alarm(
        AlarmName=alarm,
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in _dimensions(node).items()],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )

    def set_state(state: str) -> None:
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason=_REASONS[state])

    set_state("ALARM")
    stage.watch_metric(node, lambda: set_state("OK"))


def _dimensions(node: Node) -> dict[str, str]:
    # Container Insights knows the cluster by its EKS name only: the function finds the HyperPod cluster behind it.
    if node.eks:
        return {"ClusterName": node.eks, "InstanceId": node.instance_id, "NodeName": f"hyperpod-{node.instance_id}"}
    return {"HyperPodClusterName": node.cluster, "InstanceId": node.instance_id}


def _grouped() -> dict[str, Any]:
    query = f'SELECT MAX({_METRIC}) FROM "{_NAMESPACE}" GROUP BY ClusterName, InstanceId, NodeName'  # noqa: S608 -- Metrics Insights, and no input in it
    return {"metrics": [{"id": "q1", "expression": query, "returnData": True, "period": 60}]}


def _alarm_entry(
    stage: Stage, alarm: str, detail: dict[str, Any], kind: str = "CloudWatch Alarm", *, state: str = "ALARM"
) -> dict[str, Any]:
    arn = f"arn:aws:cloudwatch:{stage.aws.region}:{stage.aws.account}:alarm:{alarm}"
    timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    told = {"value": state, "reason": _REASONS[state], "timestamp": timestamp}
    return _entry("aws.cloudwatch", f"{kind} State Change", arn, {"alarmName": alarm, "state": told} | detail)


def _entry(source: str, detail_type: str, resource: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {"Source": source, "DetailType": detail_type, "Resources": [resource], "Detail": json.dumps(detail)}
