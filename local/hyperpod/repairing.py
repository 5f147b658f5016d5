"""Ends reboots as they were scripted, and repairs nodes as HyperPod does by itself."""

from collections.abc import Callable

from local.hyperpod.ending import REPLACED, STAYS_SICK, STUCK, Ending, Repair
from local.hyperpod.health import HEALTHY, Health
from local.hyperpod.schedule import Schedule
from local.hyperpod.world import Cluster, Node

Tell = Callable[[Cluster, Node, Health], None]


def seconds_of(cluster: Cluster, node: Node) -> float:
    """Return how long the node takes to reboot."""
    return cluster.plan.reboot_seconds if node.reboot_seconds is None else node.reboot_seconds


class Mender:
    """Leaves a node as its ending says; `tell` puts a node's health on the bus."""

    def __init__(self, schedule: Schedule, tell: Tell) -> None:
        self._schedule = schedule
        self._tell = tell

    def end(self, cluster: Cluster, node: Node, ending: Ending) -> None:
        """End a reboot or repair. A node that is gone stays gone, and one that was well sends no event."""
        if node.gone:
            node.stand("Running")
        elif ending.kind == STUCK:
            node.stand(ending.status or node.status, ending.message if ending.status else node.message, stuck=True)
        elif ending.kind == REPLACED:
            self._replace(cluster, node, ending)
        else:
            health = node.health if ending.kind == STAYS_SICK else HEALTHY
            self._run(cluster, node, health, says_so=ending.says_so and not node.healthy)

    def _replace(self, cluster: Cluster, node: Node, ending: Ending) -> None:
        new, says_so = cluster.replace(node, self._schedule.now()), ending.says_so and not node.healthy
        node.described_until = self._schedule.now() + ending.lag_seconds
        if not ending.pending_seconds:
            self._run(cluster, new, HEALTHY, says_so=says_so)
            return
        new.stand("Pending", "Instance is starting")
        due = self._schedule.now() + ending.pending_seconds
        self._schedule.at(due, lambda: self._run(cluster, new, HEALTHY, says_so=says_so))

    def _run(self, cluster: Cluster, node: Node, health: Health, *, says_so: bool) -> None:
        node.stand("Running")
        node.health = health
        if says_so:
            self._tell(cluster, node, health)


class Repairer:
    """Repairs nodes as HyperPod does by itself where NodeRecovery is Automatic."""

    def __init__(self, schedule: Schedule, mender: Mender) -> None:
        self._schedule = schedule
        self._mender = mender

    def plan(self, cluster: Cluster, node: Node, repair: Repair) -> None:
        """Plan a repair. The node is in use until it ends; a stuck one never does."""
        node.repair = repair
        self._later(repair.after_seconds, cluster, node, repair, self._begin)

    def cancel(self, node: Node) -> None:
        """Take back what was going to happen, and what the repair or getting stuck did to the status."""
        if node.repair or node.stuck:
            node.stand("Running")
        node.repair = None

    def _begin(self, cluster: Cluster, node: Node, repair: Repair) -> None:
        if repair.ending.kind == STUCK:
            self._mender.end(cluster, node, repair.ending)
            return
        if repair.ending.kind == REPLACED:
            node.stand("ShuttingDown", "Instance is being replaced")
        else:
            node.stand("Pending", "Instance is rebooting")
        seconds = seconds_of(cluster, node) if repair.seconds is None else repair.seconds
        self._later(seconds, cluster, node, repair, self._finish)

    def _finish(self, cluster: Cluster, node: Node, repair: Repair) -> None:
        node.repair = None
        self._mender.end(cluster, node, repair.ending)

    def _later(
        self,
        seconds: float,
        cluster: Cluster,
        node: Node,
        repair: Repair,
        step: Callable[[Cluster, Node, Repair], None],
    ) -> None:
        def due() -> None:
            if node.repair is repair:  # not taken back meanwhile
                step(cluster, node, repair)

        self._schedule.at(self._schedule.now() + seconds, due)
