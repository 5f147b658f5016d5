"""Reboots and replaces nodes: which may be, and how long it takes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from local.hyperpod.contract import validation
from local.hyperpod.plans import Ending, ScriptedFailure
from local.hyperpod.repairing import REBOOTING, Mender, seconds_of
from local.hyperpod.schedule import Schedule
from local.hyperpod.world import SimulatedCluster, SimulatedNode, StartedReboot

_MOST_NODES = 25
_REBOOTABLE = ("Running", "Failure")
_Start = Callable[[SimulatedCluster, SimulatedNode], None]

# The meanings that the service model documents for BatchRebootClusterNodesError and its logical-ID sibling, and in the
# same words for BatchReplaceClusterNodesError.
MESSAGES = {
    "InstanceIdNotFound": "The instance does not exist in the specified cluster.",
    "InvalidInstanceStatus": "The instance is in a state that does not allow rebooting. "
    "Wait for the instance to finish any ongoing changes before retrying.",
    "InstanceIdInUse": "Another operation is already in progress for this node. "
    "Wait for the operation to complete before retrying.",
    "InternalServerError": "An internal error occurred while processing this node.",
}


class Rebooter:
    """Carries out BatchRebootClusterNodes and BatchReplaceClusterNodes.

    The mender leaves each rebooted node as its ending says, each replaced one gone.
    """

    def __init__(self, schedule: Schedule, mender: Mender, reboots: list[StartedReboot]) -> None:
        self._schedule = schedule
        self._mender = mender
        self._reboots = reboots

    def reboot(self, cluster: SimulatedCluster, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start the reboots that can be started; one node's error never stops the rest.

        Raises a ValidationException for a request that no single node is to blame for.
        """
        return self._carry_out(cluster, request, self._start)

    def replace(self, cluster: SimulatedCluster, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start the replacements that can be started; as `reboot` otherwise."""
        return self._carry_out(cluster, request, self._start_replacement)

    def _carry_out(self, cluster: SimulatedCluster, request: Mapping[str, Any], start: _Start) -> dict[str, Any]:
        node_ids, logical_ids = request.get("NodeIds") or [], request.get("NodeLogicalIds") or []
        _check_as_a_whole(cluster, node_ids, logical_ids)
        started, failed = self._start_each(cluster, node_ids, "NodeId", start)
        answer: dict[str, Any] = {"Failed": failed}
        # The model allows no empty list of successes, so the field is left out.
        if started:
            answer["Successful"] = started
        if logical_ids:
            started, failed = self._start_each(cluster, logical_ids, "NodeLogicalId", start)
            answer["FailedNodeLogicalIds"] = failed
            if started:
                answer["SuccessfulNodeLogicalIds"] = started
        return answer

    def _start_each(
        self, cluster: SimulatedCluster, ids: Iterable[str], key: str, start: _Start
    ) -> tuple[list[str], list[dict[str, str]]]:
        attribute = "instance_id" if key == "NodeId" else "logical_id"
        started, failed = [], []
        for id_ in ids:
            node = next((node for node in cluster.present() if getattr(node, attribute) == id_), None)
            obstacle = self._obstacle(node)
            if obstacle:
                message = MESSAGES[obstacle.code] if obstacle.message is None else obstacle.message
                # The documentation of logical IDs speaks of nodes where that of instance IDs speaks of instances.
                message = message if key == "NodeId" else message.replace("instance", "node")
                failed += [{key: id_, "ErrorCode": obstacle.code, "Message": message}] * obstacle.listed
            if node and (obstacle is None or obstacle.rebooted):
                start(cluster, node)
                started.append(id_)
        return started, failed

    def _obstacle(self, node: SimulatedNode | None) -> ScriptedFailure | None:
        if node is None:
            return ScriptedFailure(code="InstanceIdNotFound")
        if failure := node.failure:
            if failure.times is not None:
                left = failure.times - 1
                node.failure = failure.model_copy(update={"times": left}) if left > 0 else None
            return failure
        if node.reboot or node.repair or self._schedule.now() < node.in_use_until:
            return ScriptedFailure(code="InstanceIdInUse")
        return None if node.status in _REBOOTABLE else ScriptedFailure(code="InvalidInstanceStatus")

    def _start(self, cluster: SimulatedCluster, node: SimulatedNode) -> None:
        node.reboot = StartedReboot(cluster.name, node.instance_id, node.logical_id, self._schedule.now())
        node.stand(*REBOOTING)
        self._reboots.append(node.reboot)
        self._schedule.after(seconds_of(cluster, node.ending), lambda: self._finish(cluster, node))

    def _start_replacement(self, cluster: SimulatedCluster, node: SimulatedNode) -> None:
        ending = Ending(ends="replaced", says_so=False)
        node.in_use_until = self._schedule.now() + cluster.plan.reboot_seconds
        node.stand("ShuttingDown", "Instance is being replaced")
        self._schedule.after(cluster.plan.reboot_seconds, lambda: self._mender.end(cluster, node, ending))

    def _finish(self, cluster: SimulatedCluster, node: SimulatedNode) -> None:
        reboot, node.reboot = node.reboot, None
        # A reboot from which nothing came back has no end.
        if reboot and node.ending.ends != "stuck":
            reboot.finished = self._schedule.now()
        self._mender.end(cluster, node, node.ending)


def _check_as_a_whole(cluster: SimulatedCluster, node_ids: list[str], logical_ids: list[str]) -> None:
    if not node_ids and not logical_ids:
        raise validation("Either NodeIds or NodeLogicalIds must be provided")
    if len(node_ids) + len(logical_ids) > _MOST_NODES:
        raise validation(f"A request takes up to {_MOST_NODES} nodes, not {len(node_ids) + len(logical_ids)}")
    if logical_ids and not cluster.plan.continuous:
        raise validation("NodeLogicalIds is only supported for clusters with NodeProvisioningMode Continuous")
