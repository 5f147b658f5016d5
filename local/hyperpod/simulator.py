"""Simulates HyperPod: what a request changes, what time changes, and what is put on the bus."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from local.hyperpod import describing
from local.hyperpod.contract import ApiError, check_answer, check_request
from local.hyperpod.rebooting import Rebooter
from local.hyperpod.repairing import Mender, Repairer
from local.hyperpod.schedule import Clock, Schedule, Wake
from local.hyperpod.world import AccountRegion, Health, SimulatedCluster, SimulatedClusters, SimulatedNode, cluster_arn

PutEvent = Callable[[Mapping[str, object]], None]
Reply = tuple[int, dict[str, str], bytes]

DETAIL_TYPE = "SageMaker HyperPod Cluster Node Health Event"
_UNKNOWN_CLUSTER_ID = "0" * 12
_REBOOT, _REPLACE = "BatchRebootClusterNodes", "BatchReplaceClusterNodes"


@dataclass(frozen=True, slots=True)
class RebootCall:
    """Holds a BatchRebootClusterNodes request and either its `answer` or its `error` (code and message).

    `cluster` and the IDs are what the request said; `time` in seconds since 1970; `principal` an IAM ARN if known.
    """

    time: float
    cluster: Any
    node_ids: Any
    logical_ids: Any
    principal: str | None
    answer: Mapping[str, Any] | None = None
    error: Mapping[str, str] | None = None


class CallLog:
    """Keeps every BatchRebootClusterNodes call in order, and the number of calls of each operation."""

    def __init__(self) -> None:
        self.reboots: list[RebootCall] = []
        self.counts: Counter[str] = Counter()

    def clear(self) -> None:
        self.reboots.clear()
        self.counts.clear()

    def as_json(self) -> dict[str, Any]:
        return {"calls": [asdict(call) for call in self.reboots], "counts": dict(self.counts)}


class Simulator:
    """Serves requests against clusters; every collaborator that a test replaces is a parameter."""

    def __init__(self, *, clock: Clock, account: Callable[[], AccountRegion], wake: Wake | None = None) -> None:
        self.clock = clock
        self.account = account
        self.clusters = SimulatedClusters()
        self.log = CallLog()
        self._schedule = Schedule(clock, wake)
        self._put_event: PutEvent | None = None
        self.mender = Mender(self._schedule, self._tell_later)
        self.repairer = Repairer(self._schedule, self.mender)
        self._rebooter = Rebooter(self._schedule, self.mender, self.clusters.reboots)

    def reset(self) -> None:
        """Forget everything but the bus."""
        self.clusters.clear()
        self._schedule.clear()
        self.log.clear()

    def install(self, put_event: PutEvent) -> None:
        self._put_event = put_event

    def tick(self) -> None:
        """Carry out what fell due since the last look."""
        self._schedule.run_due()

    def arn(self, name_or_arn: str) -> str:
        """Return the ARN of a cluster, for an unknown one an ARN that no cluster has: IAM is asked all the same."""
        cluster = self.clusters.find(name_or_arn)
        return cluster.arn if cluster else cluster_arn(self.account(), _UNKNOWN_CLUSTER_ID)

    def tell(self, cluster: SimulatedCluster, node: SimulatedNode, health: Health) -> None:
        """Put the node's health event on the bus."""
        if self._put_event:
            self._put_event(_health_event(cluster, node, health, self.clock()))

    def serve(self, operation: str, body: bytes, principal: str | None = None) -> Reply:
        """Answer one request of AWS's JSON 1.1 protocol."""
        self.tick()
        self.log.counts[operation] += 1
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
        operations: Mapping[str, Callable[[SimulatedClusters, Mapping[str, Any]], dict[str, Any]]] = {
            "DescribeCluster": describing.describe_cluster,
            "DescribeClusterNode": partial(describing.describe_cluster_node, now=self.clock()),
            "ListClusterNodes": describing.list_cluster_nodes,
            "ListClusters": describing.list_clusters,
            _REBOOT: lambda clusters, asked: self._rebooter.reboot(clusters.get(asked["ClusterName"]), asked),
            _REPLACE: lambda clusters, asked: self._rebooter.replace(clusters.get(asked["ClusterName"]), asked),
        }
        if operation not in operations:
            raise ApiError("UnknownOperationException", f"The simulated HyperPod does not serve {operation!r}")
        check_request(operation, request)
        answer = operations[operation](self.clusters, request)
        check_answer(operation, answer)
        return answer

    def _tell_later(self, cluster: SimulatedCluster, node: SimulatedNode, health: Health) -> None:
        if self.clusters.find(cluster.arn) is cluster:  # not deleted meanwhile
            self.tell(cluster, node, health)

    def _log(self, operation: str, request: Any, principal: str | None, **outcome: Mapping[str, Any]) -> None:
        if operation == _REBOOT:
            asked = request if isinstance(request, dict) else {}
            cluster, node_ids, logical_ids = (asked.get(k) for k in ("ClusterName", "NodeIds", "NodeLogicalIds"))
            self.log.reboots.append(RebootCall(self.clock(), cluster, node_ids, logical_ids, principal, **outcome))


def _health_event(cluster: SimulatedCluster, node: SimulatedNode, health: Health, now: float) -> Mapping[str, object]:
    """Return the PutEvents entry of the event, as samples/node-health.documented.json has it."""
    detail = {
        "ClusterName": cluster.name,
        "ClusterArn": cluster.arn,
        "InstanceId": node.instance_id,
        "Tags": cluster.plan.tags,
        "HealthSummary": {
            "HealthStatus": health.status,
            "HealthStatusReason": health.reason,
            "RepairAction": health.repair_action,
            "Recommendation": health.recommendation,
        },
    }
    return {
        "Source": "aws.sagemaker",
        "DetailType": DETAIL_TYPE,
        "Resources": [cluster.arn],
        "Detail": json.dumps(detail),
        "Time": int(now),
    }


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
