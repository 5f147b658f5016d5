"""Reboots nodes: which may be rebooted, and how long it takes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from local.hyperpod.ending import STUCK
from local.hyperpod.errors import NodeError, validation
from local.hyperpod.repairing import Mender, seconds_of
from local.hyperpod.schedule import Clock, Schedule
from local.hyperpod.world import Cluster, Node, Reboot, ScriptedFailure

_MOST_NODES = 25
_REBOOTABLE = ("Running", "Failure")

# The meanings that the service model documents for BatchRebootClusterNodesError and its logical-ID sibling.
MESSAGES = {
    "InstanceIdNotFound": "The instance does not exist in the specified cluster.",
    "InvalidInstanceStatus": "The instance is in a state that does not allow rebooting. "
    "Wait for the instance to finish any ongoing changes before retrying.",
    "InstanceIdInUse": "Another operation is already in progress for this node. "
    "Wait for the operation to complete before retrying.",
    "InternalServerError": "An internal error occurred while processing this node.",
}


class Rebooter:
    """Carries out BatchRebootClusterNodes; the mender leaves each node as its ending says."""

    def __init__(self, clock: Clock, schedule: Schedule, mender: Mender, reboots: list[Reboot]) -> None:
        self._clock = clock
        self._schedule = schedule
        self._mender = mender
        self._reboots = reboots

    def reboot(self, cluster: Cluster, request: Mapping[str, Any]) -> dict[str, Any]:
        """Start the reboots that can be started; one node's error never stops the rest.

        Raises a ValidationException for a request that no single node is to blame for.
        """
        node_ids, logical_ids = request.get("NodeIds") or [], request.get("NodeLogicalIds") or []
        _check_as_a_whole(cluster, node_ids, logical_ids)
        started, failed = self._reboot_each(cluster, node_ids, cluster.by_instance_id, "NodeId")
        answer: dict[str, Any] = {"Failed": failed}
        # The model allows no empty list of successes, so the field is left out.
        if started:
            answer["Successful"] = started
        if logical_ids:
            started, failed = self._reboot_each(cluster, logical_ids, cluster.by_logical_id, "NodeLogicalId")
            answer["FailedNodeLogicalIds"] = failed
            if started:
                answer["SuccessfulNodeLogicalIds"] = started
        return answer

    def _reboot_each(
        self, cluster: Cluster, ids: Iterable[str], find: Callable[[str], Node | None], key: str
    ) -> tuple[list[str], list[dict[str, str]]]:
        started, failed = [], []
        for id_ in ids:
            node = find(id_)
            obstacle = self._obstacle(node)
            if obstacle:
                error = obstacle.error
                # The documentation of logical IDs speaks of nodes where that of instance IDs speaks of instances.
                message = error.message if key == "NodeId" else error.message.replace("instance", "node")
                failed += [{key: id_, "ErrorCode": error.code, "Message": message}] * obstacle.listed
            if node and (obstacle is None or obstacle.rebooted):
                self._start(cluster, node)
                started.append(id_)
        return started, failed

    def _obstacle(self, node: Node | None) -> ScriptedFailure | None:
        if node is None:
            return _failure("InstanceIdNotFound")
        if node.failure:
            return _scripted(node)
        if node.reboot or node.repair or self._clock() < node.in_use_until:
            return _failure("InstanceIdInUse")
        return None if node.status in _REBOOTABLE else _failure("InvalidInstanceStatus")

    def _start(self, cluster: Cluster, node: Node) -> None:
        now = self._clock()
        node.reboot = Reboot(cluster.name, node.instance_id, node.logical_id, now)
        node.stand("Pending", "Instance is rebooting")
        self._reboots.append(node.reboot)
        self._schedule.at(now + seconds_of(cluster, node), lambda: self._finish(cluster, node))

    def _finish(self, cluster: Cluster, node: Node) -> None:
        reboot, node.reboot = node.reboot, None
        # A reboot from which nothing came back has no end.
        if reboot and node.ending.kind != STUCK:
            reboot.finished = self._clock()
        self._mender.end(cluster, node, node.ending)


def _check_as_a_whole(cluster: Cluster, node_ids: list[str], logical_ids: list[str]) -> None:
    if not node_ids and not logical_ids:
        raise validation("Either NodeIds or NodeLogicalIds must be provided")
    if len(node_ids) + len(logical_ids) > _MOST_NODES:
        raise validation(f"A request takes up to {_MOST_NODES} nodes, not {len(node_ids) + len(logical_ids)}")
    if logical_ids and not cluster.plan.continuous:
        raise validation("NodeLogicalIds is only supported for clusters with NodeProvisioningMode Continuous")


def _scripted(node: Node) -> ScriptedFailure | None:
    failure = node.failure
    if failure is None:
        return None
    if failure.times is not None:
        failure.times -= 1
        if failure.times <= 0:
            node.failure = None
    return failure


def _failure(code: str) -> ScriptedFailure:
    return ScriptedFailure(NodeError(code, MESSAGES[code]))
