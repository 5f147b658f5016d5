"""Answers the Describe and List operations."""

from collections.abc import Mapping
from typing import Any

from local.hyperpod.errors import not_found, validation
from local.hyperpod.pages import page
from local.hyperpod.world import Cluster, GroupPlan, Node, World


def describe_cluster(world: World, request: Mapping[str, Any]) -> dict[str, Any]:
    cluster = world.cluster(request["ClusterName"])
    groups = cluster.plan.groups
    answer = {
        "ClusterArn": cluster.arn,
        "ClusterName": cluster.name,
        "ClusterStatus": "InService",
        "CreationTime": cluster.created,
        "InstanceGroups": [_group(cluster, group) for group in groups if not group.restricted],
        "Orchestrator": _orchestrator(cluster),
        "NodeRecovery": cluster.plan.node_recovery,
    }
    restricted = [_group(cluster, group) for group in groups if group.restricted]
    if restricted:
        answer["RestrictedInstanceGroups"] = restricted
    if cluster.plan.continuous:
        answer["NodeProvisioningMode"] = "Continuous"
    return answer


def list_clusters(world: World, request: Mapping[str, Any]) -> dict[str, Any]:
    wanted = request.get("NameContains", "")
    # No simulated cluster belongs to a training plan.
    found = [c for c in world.clusters.values() if wanted in c.name and "TrainingPlanArn" not in request]
    clusters, more = page(found, request, created=lambda c: c.created, name=lambda c: c.name)
    summaries = [
        {"ClusterArn": c.arn, "ClusterName": c.name, "CreationTime": c.created, "ClusterStatus": "InService"}
        for c in clusters
    ]
    return {"ClusterSummaries": summaries, **more}


def list_cluster_nodes(world: World, request: Mapping[str, Any]) -> dict[str, Any]:
    cluster = world.cluster(request["ClusterName"])
    wanted = request.get("InstanceGroupNameContains", "")
    found = [node for node in cluster.present() if wanted in node.group.name]
    nodes, more = page(found, request, created=lambda n: n.launched, name=lambda n: n.instance_id)
    logical = bool(request.get("IncludeNodeLogicalIds"))
    return {"ClusterNodeSummaries": [_node(node, logical=logical) for node in nodes], **more}


def describe_cluster_node(world: World, request: Mapping[str, Any], *, now: float) -> dict[str, Any]:
    cluster = world.cluster(request["ClusterName"])
    node_id, logical_id = request.get("NodeId"), request.get("NodeLogicalId")
    if (node_id is None) == (logical_id is None):
        raise validation("Specify either NodeId or NodeLogicalId, but not both")
    if logical_id is not None and not cluster.plan.continuous:
        raise validation("NodeLogicalId is only supported for clusters with NodeProvisioningMode Continuous")
    kind, id_ = ("instance_id", node_id) if node_id is not None else ("logical_id", logical_id)
    node = next((node for node in cluster.described(now) if getattr(node, kind) == id_), None)
    if node is None:
        raise not_found(f"Node '{id_}' does not exist in cluster '{cluster.name}'")
    return {"NodeDetails": _node(node, logical=True)}


def _node(node: Node, *, logical: bool) -> dict[str, Any]:
    described = {
        "InstanceGroupName": node.group.name,
        "InstanceId": node.instance_id,
        "InstanceType": node.group.instance_type,
        "LaunchTime": node.launched,
        "InstanceStatus": {"Status": node.status, "Message": node.message},
        "PrivateDnsHostname": node.host,
    }
    if logical and node.logical_id is not None:
        described["NodeLogicalId"] = node.logical_id
    return described


def _group(cluster: Cluster, group: GroupPlan) -> dict[str, Any]:
    described = {
        "InstanceGroupName": group.name,
        "InstanceType": group.instance_type,
        "CurrentCount": sum(node.group == group for node in cluster.present()),
        "TargetCount": group.count,
        "Status": "InService",
        "ThreadsPerCore": 2,
    }
    if group.slurm_node_type:
        described["SlurmConfig"] = {"NodeType": group.slurm_node_type}
    return described


def _orchestrator(cluster: Cluster) -> dict[str, Any]:
    if cluster.plan.eks is None:
        return {"Slurm": {"SlurmConfigStrategy": "Managed"}}
    scope = cluster.scope
    return {"Eks": {"ClusterArn": f"arn:aws:eks:{scope.region}:{scope.account}:cluster/{cluster.plan.eks}"}}
