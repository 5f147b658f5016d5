"""Answers the Describe and List operations."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, TypeVar

from local.hyperpod.contract import not_found, validation
from local.hyperpod.plans import GroupPlan
from local.hyperpod.world import SimulatedCluster, SimulatedClusters, SimulatedNode

_Item = TypeVar("_Item")
# Small, so that a client that forgets to page finds out on a cluster of eleven nodes.
_DEFAULT_PAGE = 10
_SERVED = {"ClusterName", "IncludeNodeLogicalIds", "MaxResults", "NextToken"}


def describe_cluster(clusters: SimulatedClusters, request: Mapping[str, Any]) -> dict[str, Any]:
    cluster = clusters.get(request["ClusterName"])
    groups = cluster.plan.instance_groups
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


def list_clusters(clusters: SimulatedClusters, request: Mapping[str, Any]) -> dict[str, Any]:
    listed, more = _page(list(clusters.by_name.values()), request)
    summaries = [
        {"ClusterArn": c.arn, "ClusterName": c.name, "CreationTime": c.created, "ClusterStatus": "InService"}
        for c in listed
    ]
    return {"ClusterSummaries": summaries, **more}


def list_cluster_nodes(clusters: SimulatedClusters, request: Mapping[str, Any]) -> dict[str, Any]:
    cluster = clusters.get(request["ClusterName"])
    nodes, more = _page(list(cluster.present()), request)
    logical = bool(request.get("IncludeNodeLogicalIds"))
    return {"ClusterNodeSummaries": [_node(node, logical=logical) for node in nodes], **more}


def describe_cluster_node(clusters: SimulatedClusters, request: Mapping[str, Any], *, now: float) -> dict[str, Any]:
    cluster = clusters.get(request["ClusterName"])
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


def _node(node: SimulatedNode, *, logical: bool) -> dict[str, Any]:
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


def _group(cluster: SimulatedCluster, group: GroupPlan) -> dict[str, Any]:
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


def _orchestrator(cluster: SimulatedCluster) -> dict[str, Any]:
    if cluster.plan.eks is None:
        return {"Slurm": {"SlurmConfigStrategy": "Managed"}}
    account = cluster.account
    return {"Eks": {"ClusterArn": f"arn:aws:eks:{account.region}:{account.id}:cluster/{cluster.plan.eks}"}}


def _page(items: list[_Item], request: Mapping[str, Any]) -> tuple[list[_Item], dict[str, str]]:
    """Return a page of a List answer, in the order of creation, and the NextToken field if there are more.

    Raises a ValidationException for a token that no answer carried, and for filters and orders: none is simulated.
    """
    if unserved := request.keys() - _SERVED:
        raise validation(f"The simulated HyperPod does not serve {', '.join(sorted(unserved))}")
    start = _read_token(request.get("NextToken"))
    end = start + int(request.get("MaxResults", _DEFAULT_PAGE))
    return items[start:end], {"NextToken": _token(end)} if end < len(items) else {}


def _token(start: int) -> str:
    return base64.b64encode(f"start:{start}".encode()).decode()


def _read_token(token: str | None) -> int:
    if token is None:
        return 0
    try:
        word, _, start = base64.b64decode(token, validate=True).decode().partition(":")
        if word == "start" and start.isdecimal():
            return int(start)
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise validation("The NextToken is not valid")
