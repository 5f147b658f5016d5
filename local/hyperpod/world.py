"""Holds what exists in the simulation: clusters, their instance groups and nodes, and the reboots started."""

import hashlib
import itertools
import math
import string
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from local.hyperpod.ending import RECOVERY, Ending, Repair
from local.hyperpod.errors import NodeError, not_found
from local.hyperpod.health import HEALTHY, Health

_ID_CHARACTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Scope:
    """Names the account and region that new ARNs are made for."""

    account: str
    region: str


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """Describes an instance group; `slurm_node_type` is Controller, Login, Compute or None (not a Slurm group)."""

    name: str
    count: int
    instance_type: str = "ml.p5.48xlarge"
    slurm_node_type: str | None = None
    restricted: bool = False


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Describes a cluster; `eks` is the EKS cluster's name, None for Slurm."""

    name: str
    groups: tuple[GroupPlan, ...]
    eks: str | None
    node_recovery: str = "None"
    continuous: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    reboot_seconds: float = 2.0


@dataclass(slots=True)
class Reboot:
    """Records a reboot that the API accepted; times in seconds since 1970, `finished` None while it lasts."""

    cluster: str
    node: str
    logical_id: str | None
    started: float
    finished: float | None = None


@dataclass(slots=True)
class ScriptedFailure:
    """Scripts the error that a node answers instead of a reboot, for `times` more calls (None: until cleared).

    The answer lists it `listed` times. With `rebooted` the node is rebooted and listed as successful as well.
    """

    error: NodeError
    times: int | None = None
    listed: int = 1
    rebooted: bool = False


@dataclass(slots=True)
class Node:
    """Holds a node's state and what it was scripted to do; `in_use_until` in seconds since 1970.

    `message` goes with `status`; `ending` is what a reboot makes of the node, `repair` what HyperPod is about to do or
    does by itself; `replaced_by` is the instance ID of the node that took its place. DescribeClusterNode answers with
    a node that is gone until `described_until`.
    """

    instance_id: str
    logical_id: str | None
    group: GroupPlan
    launched: float
    host: str
    status: str = "Running"
    message: str = ""
    health: Health = HEALTHY
    ending: Ending = RECOVERY
    repair: Repair | None = None
    stuck: bool = False
    gone: bool = False
    replaced_by: str | None = None
    described_until: float = -math.inf
    in_use_until: float = -math.inf
    failure: ScriptedFailure | None = None
    reboot_seconds: float | None = None
    reboot: Reboot | None = None

    @property
    def healthy(self) -> bool:
        return self.health is HEALTHY

    def is_called(self, id_: str) -> bool:
        return id_ in (self.instance_id, self.logical_id)

    def stand(self, status: str, message: str = "", *, stuck: bool = False) -> None:
        """Take on a status, with what DescribeClusterNode says along with it."""
        self.status, self.message, self.stuck = status, message, stuck


@dataclass(frozen=True, slots=True)
class Cluster:
    """Holds a cluster; its nodes change, it does not."""

    plan: ClusterPlan
    id: str
    scope: Scope
    created: float
    nodes: list[Node]

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def arn(self) -> str:
        return cluster_arn(self.scope, self.id)

    def present(self) -> Iterator[Node]:
        """Yield the nodes that are not gone."""
        return (node for node in self.nodes if not node.gone)

    def described(self, now: float) -> Iterator[Node]:
        """Yield the nodes that DescribeClusterNode knows; those that are gone and still described come first."""
        yield from (node for node in self.nodes if node.gone and now < node.described_until)
        yield from self.present()

    def by_instance_id(self, id_: str) -> Node | None:
        return next((node for node in self.present() if node.instance_id == id_), None)

    def by_logical_id(self, id_: str) -> Node | None:
        return next((node for node in self.present() if node.logical_id == id_), None)

    def replace(self, node: Node, now: float) -> Node:
        """Put a new instance in the node's place, under its logical ID; the old one is gone."""
        digest = _digest(f"{self.id}/{node.instance_id}")
        new = Node(
            instance_id=_instance_id(digest),
            logical_id=node.logical_id,
            group=node.group,
            launched=now,
            host=f"ip-10-2-{digest[-2]}-{digest[-1]}.internal",
        )
        node.gone, node.replaced_by = True, new.instance_id
        self.nodes.insert(self.nodes.index(node) + 1, new)
        return new


class World:
    """Holds every cluster by name, in the order of creation, and every reboot."""

    def __init__(self) -> None:
        self.clusters: dict[str, Cluster] = {}
        self.reboots: list[Reboot] = []
        self._created = itertools.count(1)

    def create(self, plan: ClusterPlan, scope: Scope, now: float) -> Cluster:
        """Add a cluster. IDs follow from names and the order of creation: a repeated run shows the same ones."""
        seed = f"{plan.name}/{next(self._created)}"
        letters = (_ID_CHARACTERS[byte % len(_ID_CHARACTERS)] for byte in _digest(seed))
        nodes = list(_nodes(plan, seed, now))
        cluster = Cluster(plan, "".join(itertools.islice(letters, 12)), scope, now, nodes)
        self.clusters[plan.name] = cluster
        return cluster

    def cluster(self, name_or_arn: str) -> Cluster:
        """Return a cluster by name or ARN. Raises ResourceNotFound."""
        found = self.find(name_or_arn)
        if found is None:
            raise not_found(f"Cluster '{name_or_arn}' does not exist")
        return found

    def find(self, name_or_arn: str) -> Cluster | None:
        return next((c for c in self.clusters.values() if name_or_arn in (c.name, c.arn)), None)

    def nodes_called(self, id_: str, clusters: Iterable[Cluster]) -> list[tuple[Cluster, Node]]:
        """Return the nodes with this instance or logical ID, those that are gone last."""
        found = [(cluster, node) for cluster in clusters for node in cluster.nodes if node.is_called(id_)]
        return sorted(found, key=lambda pair: pair[1].gone)


def cluster_arn(scope: Scope, id_: str) -> str:
    return f"arn:aws:sagemaker:{scope.region}:{scope.account}:cluster/{id_}"


def _nodes(plan: ClusterPlan, seed: str, now: float) -> Iterator[Node]:
    numbers = itertools.count(1)
    for group in plan.groups:
        for _ in range(group.count):
            number = next(numbers)
            digest = _digest(f"{seed}/{number}")
            yield Node(
                instance_id=_instance_id(digest),
                logical_id=str(uuid.UUID(bytes=digest[16:], version=4)) if plan.continuous else None,
                group=group,
                launched=now,
                host=f"ip-10-1-{number // 250}-{number % 250 + 1}.internal",
            )


def _digest(seed: str) -> bytes:
    return hashlib.sha256(seed.encode()).digest()


def _instance_id(digest: bytes) -> str:
    return f"i-0{digest.hex()[:16]}"
