"""Makes simulated clusters, and what AWS says of their nodes, for the demonstration, the chaos run and the tests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from local.aws import ACCOUNT, PROJECT, LocalAws

_FAULT = "HyperPod Health Monitoring Agent (HMA) has detected fault type NvidiaErrorTerminate on this node"
_REASONS = {
    "ALARM": "Threshold Crossed: 1 datapoint [1.0] was greater than or equal to the threshold (1.0).",
    "OK": "Threshold Crossed: 1 datapoint [0.0] was not greater than or equal to the threshold (1.0).",
}


@dataclass(frozen=True, slots=True)
class SimulatedCluster:
    """Names a simulated cluster and its nodes as they were made; on Slurm `eks` and the logical IDs are empty.

    `repairs`: HyperPod repairs its nodes by itself.
    """

    name: str
    arn: str
    eks: str
    nodes: tuple[str, ...]
    logical_ids: tuple[str, ...]
    continuous: bool = True
    repairs: bool = False

    @classmethod
    def make(cls, aws: LocalAws, name: str, **plan: Any) -> Self:
        """Make a cluster, on EKS unless the plan says otherwise."""
        asked = {"name": name, "orchestrator": {"eks": f"{name}-eks"}} | plan
        made = aws.admin("POST", "/_local/hyperpod/clusters", asked)
        return cls(
            name,
            made["arn"],
            "" if made["orchestrator"] == "slurm" else made["orchestrator"]["eks"],
            tuple(node["instance_id"] for node in made["nodes"]),
            tuple(node["logical_id"] or "" for node in made["nodes"]),
            made["continuous"],
            made["node_recovery"] == "Automatic",
        )

    def dimensions(self, node: str) -> dict[str, str]:
        """Name a node as Container Insights does, by the EKS name only; on Slurm as a team's own alarm would."""
        if self.eks:
            return {"ClusterName": self.eks, "InstanceId": node, "NodeName": f"hyperpod-{node}"}
        return {"HyperPodClusterName": self.name, "InstanceId": node}


def make_hook_queue(aws: LocalAws, topic: str, cluster: str) -> str:
    """Deploy the template of the examples: a queue that hears of a cluster's proposals; return its URL."""
    stacks, name = aws.client("cloudformation"), f"hook-{cluster}"
    values = {"TopicArn": topic, "ClusterName": cluster}
    parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
    template = (PROJECT / "examples/hooks/queue.yaml").read_text()
    stacks.create_stack(StackName=name, TemplateBody=template, Parameters=parameters)
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    [output] = stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    url: str = output["OutputValue"]
    return url


def health_entry(cluster: SimulatedCluster, node: str | None, status: str = "Unhealthy") -> dict[str, Any]:
    """Return a node health event for the bus, besides those that the simulator sends by itself."""
    summary = {"HealthStatus": status, "HealthStatusReason": _FAULT, "RepairAction": "None"}
    detail: dict[str, Any] = {"ClusterName": cluster.name, "ClusterArn": cluster.arn, "InstanceId": node, "Tags": {}}
    kind = "SageMaker HyperPod Cluster Node Health Event"
    return entry("aws.sagemaker", kind, cluster.arn, detail | {"HealthSummary": summary})


def cluster_entry(cluster: SimulatedCluster, node: str | None, logical_id: str | None = None) -> dict[str, Any]:
    """Return a cluster event about an unhealthy instance, by either of its IDs."""
    detail = {
        "ClusterArn": cluster.arn,
        "ClusterName": cluster.name,
        "InstanceId": node,
        "ResourceType": "Instance",
        "EventLevel": "Warn",
        "EventDetails": {"EventMetadata": {"Instance": {"NodeLogicalId": logical_id}} if logical_id else None},
        "Description": f"Instance {node or logical_id} is unhealthy. {_FAULT}. Repair action: None.",
    }
    return entry("aws.sagemaker", "SageMaker HyperPod Cluster Event", cluster.arn, {"EventDetails": detail})


def alarm_entry(
    aws: LocalAws, name: str, detail: Mapping[str, Any], *, kind: str = "CloudWatch Alarm", state: str = "ALARM"
) -> dict[str, Any]:
    """Return the event of an alarm, or of one of its contributors, that came to a state."""
    timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
    told = {"value": state, "reason": _REASONS[state], "timestamp": timestamp}
    arn = f"arn:aws:cloudwatch:{aws.region}:{ACCOUNT}:alarm:{name}"
    return entry("aws.cloudwatch", f"{kind} State Change", arn, {"alarmName": name, "state": told, **detail})


def series_entry(aws: LocalAws, alarm: str, attributes: Mapping[str, str], state: str = "ALARM") -> dict[str, Any]:
    """Return the event of one series of an alarm that came to a state."""
    contributor = {"id": attributes["InstanceId"].removeprefix("i-")[-16:], "attributes": attributes}
    detail = {"alarmContributor": contributor}
    return alarm_entry(aws, alarm, detail, kind="CloudWatch Alarm Contributor", state=state)


def entry(source: str, detail_type: str, resource: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry for the bus."""
    return {"Source": source, "DetailType": detail_type, "Resources": [resource], "Detail": json.dumps(detail)}
