"""Ends reboots as they were scripted, and repairs nodes as HyperPod does by itself."""

from collections.abc import Callable

from local.hyperpod.plans import Ending, Repair
from local.hyperpod.schedule import Schedule
from local.hyperpod.world import HEALTHY, Health, SimulatedCluster, SimulatedNode

Tell = Callable[[SimulatedCluster, SimulatedNode, Health], None]
REBOOTING = ("Pending", "Instance is rebooting")


def seconds_of(cluster: SimulatedCluster, ending: Ending) -> float:
    """Return how long a reboot or repair with this ending takes."""
    return cluster.plan.reboot_seconds if ending.seconds is None else ending.seconds


class Mender:
    """Leaves a node as its ending says; `tell` puts a node's health on the bus."""

    def __init__(self, schedule: Schedule, tell: Tell) -> None:
        self._schedule = schedule
        self._tell = tell

    def end(self, cluster: SimulatedCluster, node: SimulatedNode, ending: Ending) -> None:
        """End a reboot or repair. A node that is gone stays gone, and one that was well sends no event."""
        if node.gone:
            node.stand("Running")
        elif ending.ends == "stuck":
            node.stand(ending.status or node.status, ending.message if ending.status else node.message, stuck=True)
        elif ending.ends == "replaced":
            self._replace(cluster, node, ending)
        else:
            health = node.health if ending.ends == "stays_sick" else HEALTHY
            self._run(cluster, node, health, says_so=ending.tells and not node.healthy)

    def _replace(self, cluster: SimulatedCluster, node: SimulatedNode, ending: Ending) -> None:
        new, says_so = cluster.replace(node, self._schedule.now()), ending.tells and not node.healthy
        node.described_until = self._schedule.now() + ending.lag_seconds
        if not ending.pending_seconds:
            self._run(cluster, new, HEALTHY, says_so=says_so)
            return
        new.stand("Pending", "Instance is starting")
        self._schedule.after(ending.pending_seconds, lambda: self._run(cluster, new, HEALTHY, says_so=says_so))

    def _run(self, cluster: SimulatedCluster, node: SimulatedNode, health: Health, *, says_so: bool) -> None:
        node.stand("Running")
        node.health = health
        if says_so:
            self._tell(cluster, node, health)


class Repairer:
    """Repairs nodes as HyperPod does by itself where NodeRecovery is Automatic."""

    def __init__(self, schedule: Schedule, mender: Mender) -> None:
        self._schedule = schedule
        self._mender = mender

    def plan(self, cluster: SimulatedCluster, node: SimulatedNode, repair: Repair) -> None:
        """Plan a repair. The node is in use until it ends; a stuck one never does."""

        def begin() -> None:
            if repair.ends == "stuck":
                self._mender.end(cluster, node, repair)
                return
            replaced = repair.ends == "replaced"
            node.stand(*(("ShuttingDown", "Instance is being replaced") if replaced else REBOOTING))
            self._later(seconds_of(cluster, repair), node, repair, finish)

        def finish() -> None:
            node.repair = None
            self._mender.end(cluster, node, repair)

        node.repair = repair
        self._later(repair.after_seconds, node, repair, begin)

    def cancel(self, node: SimulatedNode) -> None:
        """Take back what was going to happen, and what the repair or getting stuck did to the status."""
        if node.repair or node.stuck:
            node.stand("Running")
        node.repair = None

    def _later(self, seconds: float, node: SimulatedNode, repair: Repair, step: Callable[[], None]) -> None:
        def due() -> None:
            if node.repair is repair:  # not taken back meanwhile
                step()

        self._schedule.after(seconds, due)
