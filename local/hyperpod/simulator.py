"""Simulates HyperPod: what a request changes, what time changes, and what is put on the bus."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from local.hyperpod import describing
from local.hyperpod.calls import Call, CallLog
from local.hyperpod.contract import check_answer, check_request
from local.hyperpod.errors import ApiError
from local.hyperpod.events import health_event
from local.hyperpod.health import Health
from local.hyperpod.rebooting import Rebooter
from local.hyperpod.repairing import Mender, Repairer
from local.hyperpod.schedule import Clock, Schedule, Wake
from local.hyperpod.world import Cluster, Node, Scope, World, cluster_arn

PutEvent = Callable[[Mapping[str, object]], None]
Reply = tuple[int, dict[str, str], bytes]

_UNKNOWN_CLUSTER_ID = "0" * 12
_REBOOT = "BatchRebootClusterNodes"


class Simulator:
    """Serves requests against a World; every collaborator that a test replaces is a parameter."""

    def __init__(self, *, clock: Clock, scope: Callable[[], Scope], wake: Wake | None = None) -> None:
        self.clock = clock
        self.scope = scope
        self.schedule = Schedule(clock, wake)
        self.log = CallLog()
        self._put_event: PutEvent | None = None
        self.reset()

    def reset(self) -> None:
        """Forget everything but the bus."""
        self.world = World()
        self.schedule.clear()
        self.log.clear()
        self.mender = Mender(self.schedule, self._tell_later)
        self.repairer = Repairer(self.schedule, self.mender)
        self._rebooter = Rebooter(self.clock, self.schedule, self.mender, self.world.reboots)

    def install(self, put_event: PutEvent) -> None:
        self._put_event = put_event

    def tick(self) -> None:
        """Carry out what fell due since the last look."""
        self.schedule.run_due()

    def arn(self, name_or_arn: str) -> str:
        """Return the ARN of a cluster, for an unknown one an ARN that no cluster has: IAM is asked all the same."""
        cluster = self.world.find(name_or_arn)
        return cluster.arn if cluster else cluster_arn(self.scope(), _UNKNOWN_CLUSTER_ID)

    def tell(self, cluster: Cluster, node: Node, health: Health) -> None:
        """Put the node's health event on the bus."""
        if self._put_event:
            self._put_event(health_event(cluster, node, health, self.clock()))

    def serve(self, operation: str, body: bytes, principal: str | None = None) -> Reply:
        """Answer one request of AWS's JSON 1.1 protocol."""
        self.tick()
        self.log.count(operation)
        request: Any = None
        try:
            request = _read(body)
            answer = self._perform(operation, request)
        except ApiError as error:
            self._log(operation, request, principal, error={"code": error.code, "message": error.message})
            return _reply(400, {"__type": error.code, _message_key(error): error.message})
        self._log(operation, request, principal, answer=answer)
        return _reply(200, answer)

    def _perform(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        perform = self._operations().get(operation)
        if perform is None:
            raise ApiError("UnknownOperationException", f"The simulated HyperPod does not serve {operation!r}")
        check_request(operation, request)
        answer = perform(self.world, request)
        check_answer(operation, answer)
        return answer

    def _operations(self) -> Mapping[str, Callable[[World, Mapping[str, Any]], dict[str, Any]]]:
        return {
            "DescribeCluster": describing.describe_cluster,
            "DescribeClusterNode": lambda world, request: describing.describe_cluster_node(
                world, request, now=self.clock()
            ),
            "ListClusterNodes": describing.list_cluster_nodes,
            "ListClusters": describing.list_clusters,
            _REBOOT: lambda world, request: self._rebooter.reboot(world.cluster(request["ClusterName"]), request),
        }

    def _tell_later(self, cluster: Cluster, node: Node, health: Health) -> None:
        if self.world.find(cluster.arn) is cluster:  # not deleted meanwhile
            self.tell(cluster, node, health)

    def _log(self, operation: str, request: Any, principal: str | None, **outcome: Mapping[str, Any]) -> None:
        if operation == _REBOOT:
            asked = request if isinstance(request, dict) else {}
            cluster, node_ids, logical_ids = (asked.get(k) for k in ("ClusterName", "NodeIds", "NodeLogicalIds"))
            self.log.add(Call(self.clock(), cluster, node_ids, logical_ids, principal, **outcome))


def _read(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        request = None
    if not isinstance(request, dict):
        raise ApiError("SerializationException", "The request body is not a JSON object")
    # To AWS a null is a field that was not given.
    return {name: value for name, value in request.items() if value is not None}


def _message_key(error: ApiError) -> str:
    # The model declares ResourceNotFound with an upper-case Message; the undeclared errors come in lower case.
    return "Message" if error.code == "ResourceNotFound" else "message"


def _reply(status: int, body: Mapping[str, Any]) -> Reply:
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode()
