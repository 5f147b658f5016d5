"""Holds what exists in the simulation: clusters, their nodes and the nodes' health, and the reboots started."""

import hashlib
import itertools
import math
import string
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from local.hyperpod.contract import not_found
from local.hyperpod.plans import RECOVERY, ClusterPlan, Ending, GroupPlan, Repair, ScriptedFailure

_ID_CHARACTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class AccountRegion:
    """Names the account and region that new ARNs are made for."""

    id: str
    region: str


@dataclass(frozen=True, slots=True)
class Health:
    """Holds an event's HealthSummary; every field but the status may be null."""

    status: str
    reason: str | None
    repair_action: str | None
    recommendation: str | None


# AWS does not document the other fields of a healthy node's event.
HEALTHY = Health("Healthy", None, None, None)


@dataclass(slots=True)
class StartedReboot:
    """Records a reboot that the API accepted; times in seconds since 1970, `finished` None while it lasts."""

    cluster: str
    node: str
    logical_id: str | None
    started: float
    finished: float | None = None


@dataclass(slots=True)
class SimulatedNode:
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
    reboot: StartedReboot | None = None

    @property
    def healthy(self) -> bool:
        return self.health is HEALTHY

    def is_called(self, id_: str) -> bool:
        return id_ in (self.instance_id, self.logical_id)

    def stand(self, status: str, message: str = "", *, stuck: bool = False) -> None:
        """Take on a status, with what DescribeClusterNode says along with it."""
        self.status, self.message, self.stuck = status, message, stuck


@dataclass(frozen=True, slots=True)
class SimulatedCluster:
    """Holds a cluster; its nodes change, it does not."""

    plan: ClusterPlan
    id: str
    account: AccountRegion
    created: float
    nodes: list[SimulatedNode]

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def arn(self) -> str:
        return cluster_arn(self.account, self.id)

    def present(self) -> Iterator[SimulatedNode]:
        """Yield the nodes that are not gone."""
        return (node for node in self.nodes if not node.gone)

    def described(self, now: float) -> Iterator[SimulatedNode]:
        """Yield the nodes that DescribeClusterNode knows; those that are gone and still described come first."""
        yield from (node for node in self.nodes if node.gone and now < node.described_until)
        yield from self.present()

    def replace(self, node: SimulatedNode, now: float) -> SimulatedNode:
        """Put a new instance in the node's place, under its logical ID; the old one is gone."""
        digest = _digest(f"{self.id}/{node.instance_id}")
        host = f"ip-10-2-{digest[-2]}-{digest[-1]}.internal"
        new = SimulatedNode(_instance_id(digest), node.logical_id, node.group, now, host)
        node.gone, node.replaced_by = True, new.instance_id
        self.nodes.insert(self.nodes.index(node) + 1, new)
        return new


class SimulatedClusters:
    """Holds every cluster by name, in the order of creation, and every reboot."""

    def __init__(self) -> None:
        self.by_name: dict[str, SimulatedCluster] = {}
        self.reboots: list[StartedReboot] = []
        self._created = itertools.count(1)

    def create(self, plan: ClusterPlan, account: AccountRegion, now: float) -> SimulatedCluster:
        """Add a cluster. IDs follow from names and the order of creation: a repeated run shows the same ones."""
        seed = f"{plan.name}/{next(self._created)}"
        letters = (_ID_CHARACTERS[byte % len(_ID_CHARACTERS)] for byte in _digest(seed))
        id_ = "".join(itertools.islice(letters, 12))
        self.by_name[plan.name] = SimulatedCluster(plan, id_, account, now, list(_nodes(plan, seed, now)))
        return self.by_name[plan.name]

    def clear(self) -> None:
        """Forget everything."""
        self.by_name.clear()
        self.reboots.clear()
        self._created = itertools.count(1)

    def get(self, name_or_arn: str) -> SimulatedCluster:
        """Return a cluster by name or ARN. Raises ResourceNotFound."""
        found = self.find(name_or_arn)
        if found is None:
            raise not_found(f"Cluster '{name_or_arn}' does not exist")
        return found

    def find(self, name_or_arn: str) -> SimulatedCluster | None:
        return next((c for c in self.by_name.values() if name_or_arn in (c.name, c.arn)), None)


def cluster_arn(account: AccountRegion, id_: str) -> str:
    return f"arn:aws:sagemaker:{account.region}:{account.id}:cluster/{id_}"


def _nodes(plan: ClusterPlan, seed: str, now: float) -> Iterator[SimulatedNode]:
    groups = (group for group in plan.instance_groups for _ in range(group.count))
    for number, group in enumerate(groups, start=1):
        digest = _digest(f"{seed}/{number}")
        logical_id = str(uuid.UUID(bytes=digest[16:], version=4)) if plan.continuous else None
        host = f"ip-10-1-{number // 250}-{number % 250 + 1}.internal"
        yield SimulatedNode(_instance_id(digest), logical_id, group, now, host)


def _digest(seed: str) -> bytes:
    return hashlib.sha256(seed.encode()).digest()


def _instance_id(digest: bytes) -> str:
    return f"i-0{digest.hex()[:16]}"
