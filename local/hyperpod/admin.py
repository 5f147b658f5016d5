"""Serves the admin API under /_local/hyperpod/: makes clusters, breaks nodes, scripts answers, shows the calls.

POST   clusters      plans.ClusterPlan; its description
GET    clusters[/NAME], DELETE clusters[/NAME]
POST   nodes/break   plans.Breaking
POST   nodes/heal    plans.Healing
POST   nodes/replace plans.Replacing
POST   nodes/set     plans.Scripting
GET    calls         {"calls": [simulator.RebootCall], "counts": {OPERATION: number}}; DELETE calls forgets them
GET    reboots       [world.StartedReboot]
POST   reset         forgets everything
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from local.hyperpod.plans import (
    RECOVERY,
    AdminError,
    Breaking,
    ClusterPlan,
    Healing,
    NodeAsked,
    Repair,
    Replacing,
    Scripting,
    read,
)
from local.hyperpod.simulator import Simulator
from local.hyperpod.world import HEALTHY, Health, SimulatedCluster, SimulatedNode

_PREFIX = "/_local/hyperpod/"


class HyperPodAdmin:
    """Routes requests to what they change in a Simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        clusters = simulator.clusters
        self._routes: Mapping[tuple[str, str], Callable[[str, bytes], object]] = {
            ("POST", "clusters"): lambda _name, body: self._create(read(ClusterPlan, body, "clusters")),
            ("GET", "clusters"): lambda _name, _body: [describe(cluster) for cluster in clusters.by_name.values()],
            ("GET", "clusters/*"): lambda name, _body: describe(self._cluster(name)),
            ("DELETE", "clusters"): lambda _name, _body: self._delete(list(clusters.by_name)),
            ("DELETE", "clusters/*"): lambda name, _body: self._delete([self._cluster(name).name]),
            ("POST", "nodes/break"): lambda _name, body: self._break(read(Breaking, body, "nodes/break")),
            ("POST", "nodes/heal"): lambda _name, body: self._heal(read(Healing, body, "nodes/heal")),
            ("POST", "nodes/replace"): lambda _name, body: self._replace(read(Replacing, body, "nodes/replace")),
            ("POST", "nodes/set"): lambda _name, body: self._set(read(Scripting, body, "nodes/set")),
            ("GET", "calls"): lambda _name, _body: simulator.log.as_json(),
            ("DELETE", "calls"): lambda _name, _body: simulator.log.clear(),
            ("GET", "reboots"): lambda _name, _body: [asdict(reboot) for reboot in clusters.reboots],
            ("POST", "reset"): lambda _name, _body: simulator.reset(),
        }

    def serve(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Answer with a status and a JSON value; an error's value is {"error": one line}."""
        self._simulator.tick()
        route = path.removeprefix(_PREFIX).strip("/")
        first, _, name = route.partition("/")
        action = self._routes.get((method, "clusters/*" if first == "clusters" and name else route))
        if action is None:
            return 404, {"error": f"no such request: {method} {path}"}
        try:
            answer = action(name, body)
        except AdminError as error:
            return error.status, {"error": error.message}
        return 200, {} if answer is None else answer

    def _create(self, plan: ClusterPlan) -> object:
        simulator = self._simulator
        if plan.name in simulator.clusters.by_name:
            raise AdminError(409, f"clusters: there is already a cluster {plan.name!r}")
        return describe(simulator.clusters.create(plan, simulator.account(), simulator.clock()))

    def _delete(self, names: list[str]) -> object:
        for name in names:
            del self._simulator.clusters.by_name[name]
        return {"deleted": names}

    def _break(self, asked: Breaking) -> object:
        cluster, node = self._find(asked)
        if asked.repair:
            _check_repair(cluster, node)
        recommended = asked.recommended(cluster.plan.node_recovery)
        health = Health("Unhealthy", asked.reason, asked.repair_action, recommended)
        node.ending = asked.reboot or node.ending
        return self._change_health(cluster, node, health, event=asked.event, repair=asked.repair)

    def _heal(self, asked: Healing) -> object:
        cluster, node = self._find(asked)
        node.ending = RECOVERY
        return self._change_health(cluster, node, HEALTHY, event=asked.event)

    def _change_health(
        self,
        cluster: SimulatedCluster,
        node: SimulatedNode,
        health: Health,
        *,
        event: bool,
        repair: Repair | None = None,
    ) -> object:
        self._simulator.repairer.cancel(node)
        node.health = health
        if repair:
            self._simulator.repairer.plan(cluster, node, repair)
        if event:
            self._simulator.tell(cluster, node, health)
        return describe_node(node) | {"cluster": cluster.name}

    def _replace(self, asked: Replacing) -> object:
        cluster, node = self._find(asked)
        if node.gone:
            raise AdminError(409, f"nodes/replace: {node.instance_id} is gone")
        self._simulator.repairer.cancel(node)
        self._simulator.mender.end(cluster, node, asked.ending)
        return describe_node(node) | {"cluster": cluster.name}

    def _set(self, asked: Scripting) -> object:
        cluster, node = self._find(asked)
        for attribute, value in asked.changes(self._simulator.clock()).items():
            setattr(node, attribute, value)
        return describe_node(node) | {"cluster": cluster.name}

    def _cluster(self, name: str) -> SimulatedCluster:
        cluster = self._simulator.clusters.find(name)
        if cluster is None:
            raise AdminError(404, f"no cluster {name!r}")
        return cluster

    def _find(self, asked: NodeAsked) -> tuple[SimulatedCluster, SimulatedNode]:
        """Return the node that the request names, and its cluster; one that is gone only if no other has the ID."""
        clusters = [self._cluster(asked.cluster)] if asked.cluster else self._simulator.clusters.by_name.values()
        found = [(cluster, node) for cluster in clusters for node in cluster.nodes if node.is_called(asked.node)]
        if not found:
            raise AdminError(
                404, f"no node {asked.node!r}" + (f" in cluster {asked.cluster!r}" if asked.cluster else "")
            )
        return min(found, key=lambda pair: pair[1].gone)


def _check_repair(cluster: SimulatedCluster, node: SimulatedNode) -> None:
    if (recovery := cluster.plan.node_recovery) != "Automatic":
        raise AdminError(400, f"repair: HyperPod repairs nothing in {cluster.name!r}: its node_recovery is {recovery}")
    if node.reboot:
        raise AdminError(409, f"repair: {node.instance_id} is rebooting")


def describe(cluster: SimulatedCluster) -> dict[str, Any]:
    """Describe a cluster with its nodes and what they were scripted to do."""
    plan = cluster.plan
    return {
        "name": cluster.name,
        "id": cluster.id,
        "arn": cluster.arn,
        "orchestrator": "slurm" if plan.eks is None else {"eks": plan.eks},
        "node_recovery": plan.node_recovery,
        "continuous": plan.continuous,
        "tags": plan.tags,
        "reboot_seconds": plan.reboot_seconds,
        "nodes": [describe_node(node) for node in cluster.nodes],
    }


def describe_node(node: SimulatedNode) -> dict[str, Any]:
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
