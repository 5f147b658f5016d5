"""Reads the clusters that the admin API is asked for, and describes clusters for its answers."""

from typing import Any

from local.hyperpod.contract import operation, values_of, violations
from local.hyperpod.errors import AdminError
from local.hyperpod.fields import Fields
from local.hyperpod.world import Cluster, ClusterPlan, GroupPlan, Node

_DEFAULT_INSTANCE_TYPE = "ml.p5.48xlarge"


def read_cluster(fields: Fields) -> ClusterPlan:
    """Read {"name", "nodes" or "groups", "orchestrator", "node_recovery", "continuous", "tags", "reboot_seconds"}."""
    name = fields.take("name", str)
    plan = ClusterPlan(
        name=name,
        groups=_groups(fields),
        eks=_eks_name(fields, name),
        node_recovery=fields.take_one_of("node_recovery", values_of("ClusterNodeRecovery"), "None"),
        continuous=fields.take("continuous", bool, default=True),
        tags=fields.take("tags", dict, {}),
        reboot_seconds=fields.take_seconds("reboot_seconds", 2.0),
    )
    fields.done()
    _check_names(plan)
    return plan


def _groups(fields: Fields) -> tuple[GroupPlan, ...]:
    if "groups" not in fields:
        return (GroupPlan("workers", _count(fields, "nodes")),)
    groups = tuple(_group(Fields(group, "groups")) for group in fields.take("groups", list))
    if len({group.name for group in groups}) < len(groups):
        raise AdminError(400, "groups: two of them have the same name")
    return groups


def _group(fields: Fields) -> GroupPlan:
    node_types = values_of("ClusterSlurmNodeType")
    group = GroupPlan(
        name=fields.take("name", str),
        count=_count(fields, "count"),
        instance_type=fields.take_one_of("instance_type", values_of("ClusterInstanceType"), _DEFAULT_INSTANCE_TYPE),
        slurm_node_type=fields.take_one_of("slurm_node_type", node_types) if "slurm_node_type" in fields else None,
        restricted=fields.take("restricted", bool, default=False),
    )
    fields.done()
    return group


def _count(fields: Fields, key: str) -> int:
    count = fields.take(key, int)
    if not 0 <= count <= 6758:  # noqa: PLR2004 -- ClusterInstanceCount of the service model
        raise AdminError(400, f"{key}: takes 0 to 6758 nodes")
    return count


def _eks_name(fields: Fields, cluster: str) -> str | None:
    """Return the EKS cluster's name, None for Slurm. Without an orchestrator it is an EKS cluster."""
    if "orchestrator" not in fields:
        return f"{cluster}-eks"
    orchestrator = fields.take_any("orchestrator")
    if orchestrator == "slurm":
        return None
    if not isinstance(orchestrator, dict):
        raise AdminError(400, 'orchestrator: takes {"eks": NAME} or "slurm"')
    eks = Fields(orchestrator, "orchestrator")
    name = eks.take("eks", str)
    eks.done()
    return name


def _check_names(plan: ClusterPlan) -> None:
    """Refuse names that the API would not let one create: it must not have to describe them either."""
    cluster = operation("DescribeCluster").output_shape
    group = operation("ListClusterNodes").input_shape
    if cluster is None or group is None:
        raise AssertionError("both operations have these shapes")
    found = [
        *violations(cluster.members["ClusterName"], plan.name, "name"),
        *(v for g in plan.groups for v in violations(group.members["InstanceGroupNameContains"], g.name, "groups")),
    ]
    if found:
        raise AdminError(400, "; ".join(found))


def describe(cluster: Cluster) -> dict[str, Any]:
    """Describe a cluster with its nodes and what they were scripted to do."""
    plan = cluster.plan
    return {
        "name": cluster.name,
        "id": cluster.id,
        "arn": cluster.arn,
        "orchestrator": "slurm" if plan.eks is None else {"eks": plan.eks},
        "node_recovery": plan.node_recovery,
        "continuous": plan.continuous,
        "tags": dict(plan.tags),
        "reboot_seconds": plan.reboot_seconds,
        "nodes": [describe_node(node) for node in cluster.nodes],
    }


def describe_node(node: Node) -> dict[str, Any]:
    return {
        "instance_id": node.instance_id,
        "logical_id": node.logical_id,
        "group": node.group.name,
        "slurm_node_type": node.group.slurm_node_type,
        "status": node.status,
        "message": node.message,
        "healthy": node.healthy,
        "rebooting": node.reboot is not None,
        "repairing": node.repair is not None,
        "stuck": node.stuck,
        "gone": node.gone,
        "replaced_by": node.replaced_by,
    }
