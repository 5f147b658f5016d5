"""Makes the clusters that the night is about, each for a part of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.aws import LocalAws

CLUSTER = "ml-training"
EKS = f"{CLUSTER}-eks"
REBOOT_SECONDS = 2.0
# What `remediation.budget_percent` lets be rebooted of the smaller cluster before its budget is spent.
BUDGET_PERCENT = 20
_RESEARCH_NODES = 40
BUDGET_NODES = _RESEARCH_NODES * BUDGET_PERCENT // 100


@dataclass(frozen=True, slots=True)
class Node:
    """Names a node by both of its IDs, with its cluster's name and that of its EKS cluster.

    On Slurm there is no EKS cluster, and the logical ID is empty.
    """

    cluster: str
    eks: str | None
    instance_id: str
    logical_id: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """Names a simulated cluster; `about` says for people what matters of it."""

    name: str
    arn: str
    about: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Holds a big one, one whose budget is soon spent, one that HyperPod repairs by itself, one on Slurm."""

    training: Cluster
    research: Cluster
    managed: Cluster
    slurm: Cluster

    @property
    def all(self) -> tuple[Cluster, ...]:
        return (self.training, self.research, self.managed, self.slurm)


def make_clusters(aws: LocalAws) -> Clusters:
    """Make all four. Those on EKS are Continuous, so that their nodes have logical IDs."""
    slurm_groups = [
        {"name": "controller", "count": 1, "slurm_node_type": "Controller"},
        {"name": "workers", "count": 8, "slurm_node_type": "Compute"},
    ]
    return Clusters(
        training=_make(aws, CLUSTER, "EKS, node recovery None", nodes=200),
        research=_make(aws, "ml-research", "EKS, node recovery None", nodes=_RESEARCH_NODES),
        managed=_make(aws, "ml-managed", "EKS, node recovery Automatic", nodes=16, node_recovery="Automatic"),
        slurm=_make(
            aws,
            "ml-slurm",
            "Slurm, one of them the controller, node recovery None",
            groups=slurm_groups,
            orchestrator="slurm",
            continuous=False,
        ),
    )


def _make(aws: LocalAws, name: str, about: str, **plan: object) -> Cluster:
    asked: Mapping[str, object] = {
        "name": name,
        "orchestrator": {"eks": f"{name}-eks"},
        "node_recovery": "None",
        "continuous": True,
        "reboot_seconds": REBOOT_SECONDS,
        **plan,
    }
    made: Mapping[str, Any] = aws.admin("POST", "/_local/hyperpod/clusters", asked)
    eks = None if made["orchestrator"] == "slurm" else made["orchestrator"]["eks"]
    nodes = tuple(Node(name, eks, node["instance_id"], node["logical_id"] or "") for node in made["nodes"])
    return Cluster(name, made["arn"], about, nodes)
