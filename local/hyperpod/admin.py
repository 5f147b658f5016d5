"""Serves the admin API under /_local/hyperpod/: makes clusters, breaks nodes, scripts answers, shows the calls.

POST   clusters      {"name", "nodes" | "groups", ...}: plans.read_cluster; its description
GET    clusters[/NAME], DELETE clusters[/NAME]
POST   nodes/break   {"cluster"?, "node", "reason"?, "repair_action"?, "recommendation"?, "event"?,
                     "reboot"?: how reboots of it end, endings.read_reboot; "stays_sick"? is short for one such end,
                     "repair"?: what HyperPod itself does about it, endings.read_repair}
POST   nodes/heal    {"cluster"?, "node", "event"?}; nothing more of what was asked for it will happen
POST   nodes/replace {"cluster"?, "node", ...}: another instance takes its place, endings.read_replacement
POST   nodes/set     {"cluster"?, "node", ...}: scripting.script
GET    calls         {"calls": [calls.Call], "counts": {OPERATION: number}}; DELETE calls forgets them
GET    reboots       [world.Reboot]
POST   reset         forgets everything
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict

from local.hyperpod.ending import RECOVERY, Repair
from local.hyperpod.endings import read_repair, read_replacement
from local.hyperpod.errors import AdminError
from local.hyperpod.fields import Fields, read_fields
from local.hyperpod.health import DOCUMENTED_REASON, HEALTHY, Health, recommendation_for
from local.hyperpod.plans import describe, describe_node, read_cluster
from local.hyperpod.scripting import read_reboot_of, script
from local.hyperpod.simulator import Simulator
from local.hyperpod.world import Cluster, Node

_PREFIX = "/_local/hyperpod/"


class Admin:
    """Routes requests to what they change in a Simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._routes: Mapping[tuple[str, str], Callable[[str, Fields], object]] = {
            ("POST", "clusters"): lambda _name, fields: self._create(fields),
            ("GET", "clusters"): lambda _name, _fields: [describe(c) for c in simulator.world.clusters.values()],
            ("GET", "clusters/*"): lambda name, _fields: describe(self._cluster(name)),
            ("DELETE", "clusters"): lambda _name, _fields: self._delete(list(simulator.world.clusters)),
            ("DELETE", "clusters/*"): lambda name, _fields: self._delete([self._cluster(name).name]),
            ("POST", "nodes/break"): lambda _name, fields: self._break(fields),
            ("POST", "nodes/heal"): lambda _name, fields: self._heal(fields),
            ("POST", "nodes/replace"): lambda _name, fields: self._replace(fields),
            ("POST", "nodes/set"): lambda _name, fields: self._set(fields),
            ("GET", "calls"): lambda _name, _fields: simulator.log.as_json(),
            ("DELETE", "calls"): lambda _name, _fields: simulator.log.clear(),
            ("GET", "reboots"): lambda _name, _fields: [asdict(reboot) for reboot in simulator.world.reboots],
            ("POST", "reset"): lambda _name, _fields: simulator.reset(),
        }

    def serve(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Answer with a status and a JSON value; an error's value is {"error": one line}."""
        self._simulator.tick()
        route, name = _route(path)
        try:
            action = self._routes.get((method, route))
            if action is None:
                raise AdminError(404, f"no such request: {method} {path}")  # noqa: TRY301 -- answered like any other
            answer = action(name, read_fields(body, route))
        except AdminError as error:
            return error.status, {"error": error.message}
        return 200, {} if answer is None else answer

    def _create(self, fields: Fields) -> object:
        plan, simulator = read_cluster(fields), self._simulator
        if plan.name in simulator.world.clusters:
            raise AdminError(409, f"clusters: there is already a cluster {plan.name!r}")
        return describe(simulator.world.create(plan, simulator.scope(), simulator.clock()))

    def _delete(self, names: list[str]) -> object:
        for name in names:
            del self._simulator.world.clusters[name]
        return {"deleted": names}

    def _break(self, fields: Fields) -> object:
        cluster, node = self._node(fields)
        action = fields.take_or_null("repair_action", str, "None")
        health = Health(
            "Unhealthy",
            fields.take_or_null("reason", str, DOCUMENTED_REASON),
            action,
            fields.take_or_null("recommendation", str, recommendation_for(action)),
        )
        repair = _repair(cluster, node, action, fields)
        return self._change_health(cluster, node, health, fields, repair=repair)

    def _heal(self, fields: Fields) -> object:
        cluster, node = self._node(fields)
        return self._change_health(cluster, node, HEALTHY, fields)

    def _change_health(
        self, cluster: Cluster, node: Node, health: Health, fields: Fields, *, repair: Repair | None = None
    ) -> object:
        event = fields.take("event", bool, default=True)
        changes = {"ending": RECOVERY} if health is HEALTHY else read_reboot_of(node, fields)
        fields.done()
        self._simulator.repairer.cancel(node)
        for attribute, value in (changes | {"health": health}).items():
            setattr(node, attribute, value)
        if repair:
            self._simulator.repairer.plan(cluster, node, repair)
        if event:
            self._simulator.tell(cluster, node, health)
        return describe_node(node) | {"cluster": cluster.name}

    def _replace(self, fields: Fields) -> object:
        cluster, node = self._node(fields)
        ending = read_replacement(fields)
        fields.done()
        if node.gone:
            raise AdminError(409, f"nodes/replace: {node.instance_id} is gone")
        self._simulator.repairer.cancel(node)
        self._simulator.mender.end(cluster, node, ending)
        return describe_node(node) | {"cluster": cluster.name}

    def _set(self, fields: Fields) -> object:
        cluster, node = self._node(fields)
        script(node, fields, self._simulator.clock())
        return describe_node(node) | {"cluster": cluster.name}

    def _cluster(self, name: str) -> Cluster:
        cluster = self._simulator.world.find(name)
        if cluster is None:
            raise AdminError(404, f"no cluster {name!r}")
        return cluster

    def _node(self, fields: Fields) -> tuple[Cluster, Node]:
        """Return the node that the fields name by either ID, with or without its cluster."""
        world, id_ = self._simulator.world, fields.take("node", str)
        cluster = fields.take_or_null("cluster", str)
        clusters = [self._cluster(cluster)] if cluster else world.clusters.values()
        found = world.nodes_called(id_, clusters)
        if not found:
            raise AdminError(404, f"no node {id_!r}" + (f" in cluster {cluster!r}" if cluster else ""))
        return found[0]


def _repair(cluster: Cluster, node: Node, action: str | None, fields: Fields) -> Repair | None:
    """Return HyperPod's own repair that is asked for, if the cluster has such repairs."""
    if "repair" not in fields:
        return None
    repair = read_repair(fields.take_any("repair"))
    if (recovery := cluster.plan.node_recovery) != "Automatic":
        raise AdminError(400, f"repair: HyperPod repairs nothing in {cluster.name!r}: its node_recovery is {recovery}")
    if action in (None, "None"):
        raise AdminError(400, "repair: takes a repair_action other than None, such as Reboot or Replace")
    if node.reboot:
        raise AdminError(409, f"repair: {node.instance_id} is rebooting")
    return repair


def _route(path: str) -> tuple[str, str]:
    """Return the route of a path, and the name at its end if it is about one cluster."""
    route = path.removeprefix(_PREFIX).strip("/")
    first, _, name = route.partition("/")
    return ("clusters/*", name) if first == "clusters" and name else (route, "")
