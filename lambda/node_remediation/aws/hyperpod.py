"""Asks SageMaker about HyperPod clusters and their nodes, and reboots or replaces nodes."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from node_remediation import codes
from node_remediation.aws import errors
from node_remediation.aws.errors import Cache, CallError, LookupFailedError, MayCall, Meaning
from node_remediation.model import LONGEST_API_TEXT, Answer, CallResult, ClusterFacts, IdKind, Node, NodeFacts, bounded
from node_remediation.policy.record import GONE

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient

# "Up to 25 nodes in a single request" (BatchRebootClusterNodes, BatchReplaceClusterNodes): taken as the sum of both
# kinds of ID.
MOST_NODES_PER_CALL = 25

_REMEMBERED_FOR = timedelta(minutes=5)
_NO_REMEMBERED_FOR = timedelta(seconds=30)
PAGE = 100
# DescribeCluster's answers to a name that is no HyperPod cluster's: no such cluster, it does not fit the pattern, or
# IAM allows tagged clusters only.
_NOT_HYPERPOD = frozenset({"ResourceNotFound", "ValidationException", "AccessDeniedException"})
# DescribeClusterNode's answers to a node that the cluster does not have.
_NO_NODE = frozenset({"ResourceNotFound", "ValidationException"})
# To reboot one of these Slurm nodes interrupts the whole cluster.
_PROTECTED_TYPES = frozenset({"Controller", "Login"})
# A call that was throttled or not sent: tries, and the wait before the second, which doubles.
_TRIES = 4
_FIRST_WAIT = 0.5  # seconds


_Operation = Callable[..., Mapping[str, Any]]


class Answers(NamedTuple):
    """An answer per node, and the number of nodes in each call."""

    answers: Sequence[Answer]
    nodes_per_call: Sequence[int] = ()


class HyperPod(Protocol):
    """Knows the HyperPod clusters of this account and region, and reboots or replaces their nodes."""

    def name(self, given: str, *, may_call: MayCall) -> str:
        """Return the name of the cluster with this name, ARN, or EKS cluster. Raises LookupFailedError."""

    def cluster(self, name: str) -> ClusterFacts:
        """Return what a decision needs to know of a cluster. Raises LookupFailedError."""

    def node(self, cluster: str, node: Node, *, may_call: MayCall = lambda: True) -> NodeFacts:
        """Return a node as it is now, GONE if the cluster has no such node. Raises LookupFailedError.

        A node that cannot be described is looked for in the cluster's list, as long as `may_call` says yes.
        """

    def nodes(self, cluster: str, *, may_call: MayCall) -> list[NodeFacts]:
        """Return all nodes of a cluster as they are now. Raises LookupFailedError."""

    def failure_message(self, cluster: str, event_id: str) -> str | None:
        """Return the FailureMessage of an instance's cluster event; None if it has none or cannot be had."""

    def logical_id(self, cluster: str, instance_id: str) -> str | None:
        """Return the logical ID that an answer gave for an instance before: it never has another."""

    def reboot(self, cluster: str, nodes: Sequence[Node], *, may_call: MayCall) -> Answers:
        """Reboot nodes in as few calls as possible; none starts once `may_call` says no. Raises no error of AWS's.

        There may be more answers than nodes: one for each failure of a node that was not asked for.
        """

    def replace(self, cluster: str, nodes: Sequence[Node], *, may_call: MayCall) -> Answers:
        """Replace nodes, which destroys their volumes; as `reboot` otherwise."""


class SageMakerHyperPod:
    """HyperPod over the SageMaker API. What is said of clusters is remembered for some minutes, a node's IDs for good.

    The client must not retry by itself: a call whose answer was lost could be made twice.
    """

    def __init__(
        self,
        client: "SageMakerClient",
        *,
        protects: Callable[[str], bool],
        clock: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._protects = protects
        self._sleep = sleep
        self._jitter = jitter
        self._described: Cache[Mapping[str, Any] | CallError] = Cache(clock)
        self._names: Cache[str | CallError] = Cache(clock)
        # The name and the ARN of the EKS cluster of each HyperPod cluster, by ARN. They never change.
        self._eks: dict[str, tuple[str, ...]] = {}
        self._logical_ids: dict[tuple[str, str], str] = {}

    def name(self, given: str, *, may_call: MayCall) -> str:
        found = self._names.recall(given)
        if found is None:
            try:
                found = str(self._describe(given, may_call)["ClusterName"])
            except LookupFailedError as error:
                if error.error.passing:
                    raise
                behind = self._behind_eks(given, may_call) if error.error.code in _NOT_HYPERPOD else None
                found = behind or error.error
            self._remember(self._names, given, found)
        if isinstance(found, CallError):
            raise LookupFailedError(found)
        return found

    def _remember(self, cache: Cache[Any], name: str, answer: Any) -> None:
        cache.remember(name, answer, _NO_REMEMBERED_FOR if isinstance(answer, CallError) else _REMEMBERED_FOR)

    def _behind_eks(self, eks: str, may_call: MayCall) -> str | None:
        for summary in self._pages(self._client.list_clusters, "ClusterSummaries", may_call):
            arn, name = summary.get("ClusterArn", ""), summary.get("ClusterName", "")
            if eks in (arn, *self._eks_names(arn, name, may_call)):
                return str(name)
        return None

    def _eks_names(self, arn: str, name: str, may_call: MayCall) -> tuple[str, ...]:
        """Return an EKS cluster's name and ARN. A cluster that may not be described is passed over, and asked again."""
        if arn not in self._eks:
            try:
                orchestrator = self._describe(name, may_call).get("Orchestrator") or {}
            except LookupFailedError as error:
                if error.error.passing:
                    raise
                return ()
            eks = (orchestrator.get("Eks") or {}).get("ClusterArn")
            self._eks[arn] = (eks, eks.rpartition("/")[2]) if eks else ()
        return self._eks[arn]

    def cluster(self, name: str) -> ClusterFacts:
        described = self._describe(name, lambda: True)
        groups = [*_objects(described, "InstanceGroups"), *_objects(described, "RestrictedInstanceGroups")]
        counts = [group.get("CurrentCount") for group in groups]
        return ClusterFacts(
            nodes=sum(count for count in counts if isinstance(count, int)),
            # The default is Automatic (CreateCluster, API reference).
            automatic=(described.get("NodeRecovery") or "Automatic") == "Automatic",
            protected_groups=frozenset(_group_name(group) for group in groups if self._is_protected(group)),
            continuous=described.get("NodeProvisioningMode") == "Continuous",
            eks="Eks" in (described.get("Orchestrator") or {}),
            created_at=_time(described.get("CreationTime")),
        )

    def _is_protected(self, group: Mapping[str, Any]) -> bool:
        of_slurm = (group.get("SlurmConfig") or {}).get("NodeType") in _PROTECTED_TYPES
        return of_slurm or self._protects(_group_name(group))

    def node(self, cluster: str, node: Node, *, may_call: MayCall = lambda: True) -> NodeFacts:
        id_: Any = {node.kind.value: node.id}
        try:
            answer = errors.ask(self._client.describe_cluster_node, "NodeDetails", ClusterName=cluster, **id_)
        except LookupFailedError as error:
            if error.error.code not in _NO_NODE:
                raise
            return self._listed(cluster, node, may_call) if node.well_formed else GONE
        facts = self._node_facts(cluster, answer["NodeDetails"])
        return GONE if facts.status == GONE.status else facts

    def _listed(self, cluster: str, node: Node, may_call: MayCall) -> NodeFacts:
        """Return a node that cannot be described, as the cluster's list has it.

        Which error says that a node is gone is not documented: the list, which has all nodes, decides.
        """
        try:
            listed = self.nodes(cluster, may_call=may_call)
        except LookupFailedError as error:
            if error.error.code != "ResourceNotFound":
                raise
            return GONE  # so is its cluster
        return next((each for each in listed if node.id in (each.instance_id, each.logical_id)), GONE)

    def nodes(self, cluster: str, *, may_call: MayCall) -> list[NodeFacts]:
        question = {"ClusterName": cluster, "IncludeNodeLogicalIds": True}
        pages = self._pages(self._client.list_cluster_nodes, "ClusterNodeSummaries", may_call, **question)
        found = [self._node_facts(cluster, each) for each in pages]
        return [facts for facts in found if facts.status != GONE.status]

    def failure_message(self, cluster: str, event_id: str) -> str | None:
        try:
            answer = errors.ask(
                self._client.describe_cluster_event, "EventDetails", ClusterName=cluster, EventId=event_id
            )
        except LookupFailedError:
            return None  # it is for people to read, and nothing waits for it
        metadata = (answer["EventDetails"].get("EventDetails") or {}).get("EventMetadata") or {}
        return (metadata.get("Instance") or {}).get("FailureMessage")

    def _node_facts(self, cluster: str, details: Mapping[str, Any]) -> NodeFacts:
        facts = _node_facts(details)
        if facts.instance_id and facts.logical_id:
            self._logical_ids[cluster, facts.instance_id] = facts.logical_id
        return facts

    def logical_id(self, cluster: str, instance_id: str) -> str | None:
        return self._logical_ids.get((cluster, instance_id))

    def _pages(
        self, operation: Callable[..., Any], field: str, may_call: MayCall, **question: Any
    ) -> Iterator[Mapping[str, Any]]:
        while True:
            if not may_call():
                raise LookupFailedError(errors.OUT_OF_TIME)
            answer = errors.ask(operation, field, MaxResults=PAGE, **question)
            yield from _objects(answer, field)
            if not answer.get("NextToken"):
                return
            question["NextToken"] = answer["NextToken"]

    def _describe(self, name: str, may_call: MayCall) -> Mapping[str, Any]:
        """Return DescribeCluster's answer. That, or a final no, is remembered. Raises LookupFailedError."""
        answer = self._described.recall(name)
        if answer is None:
            if not may_call():
                raise LookupFailedError(errors.OUT_OF_TIME)
            try:
                answer = errors.ask(self._client.describe_cluster, "ClusterName", ClusterName=name)
                self._remember(self._described, answer["ClusterName"], answer)
            except LookupFailedError as error:
                if error.error.passing:
                    raise
                answer = error.error
            self._remember(self._described, name, answer)
        if isinstance(answer, CallError):
            raise LookupFailedError(answer)
        return answer

    def reboot(self, cluster: str, nodes: Sequence[Node], *, may_call: MayCall) -> Answers:
        return self._carry_out(self._client.batch_reboot_cluster_nodes, cluster, nodes, may_call)

    def replace(self, cluster: str, nodes: Sequence[Node], *, may_call: MayCall) -> Answers:
        return self._carry_out(self._client.batch_replace_cluster_nodes, cluster, nodes, may_call)

    def _carry_out(self, operation: _Operation, cluster: str, nodes: Sequence[Node], may_call: MayCall) -> Answers:
        sizes: list[int] = []

        def call(part: Sequence[Node]) -> _Outcome:
            return self._call(operation, cluster, part, may_call, sizes)

        return Answers([answer for part in calls_for(nodes) for answer in _answers(part, call(part), call)], sizes)

    def _call(
        self, operation: _Operation, cluster: str, nodes: Sequence[Node], may_call: MayCall, sizes: list[int]
    ) -> "_Outcome":
        """Make one call, again while that is safe: it was turned away or never sent."""
        failure = errors.OUT_OF_TIME
        for tried in range(_TRIES):
            if tried:
                self._sleep(_FIRST_WAIT * 2 ** (tried - 1) * (0.5 + self._jitter() / 2))
            if not may_call():
                break
            sizes.append(len(nodes))
            try:
                ids: Any = {f"{nodes[0].kind.value}s": [node.id for node in nodes]}
                return operation(ClusterName=cluster, **ids)
            except errors.CALL_ERRORS as error:
                failure = errors.read(error)
            if failure.meaning not in (Meaning.THROTTLED, Meaning.NOT_SENT):
                break
        return failure


def _objects(answer: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    return [each for each in answer.get(field) or () if isinstance(each, Mapping)]


def _group_name(group: Mapping[str, Any]) -> str:
    return str(group.get("InstanceGroupName") or "")


def _node_facts(details: Mapping[str, Any]) -> NodeFacts:
    status = details.get("InstanceStatus") or {}
    return NodeFacts(
        instance_id=details.get("InstanceId"),
        logical_id=details.get("NodeLogicalId"),
        group=details.get("InstanceGroupName"),
        status=status.get("Status") or "unknown",
        message=bounded(status.get("Message") or ""),
        updated_at=_time(details.get("LastSoftwareUpdateTime")),
    )


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


# -- calls and their answers

_Outcome = Mapping[str, Any] | CallError


def calls_for(nodes: Sequence[Node]) -> list[list[Node]]:
    """Split one cluster's nodes into the fewest calls, in order: each kind of ID apart, each odd ID alone.

    An ID that does not match the API's pattern may reject a whole call.
    """
    calls = []
    for kind in IdKind:
        fit = [node for node in nodes if node.kind is kind and node.well_formed]
        calls += [fit[start : start + MOST_NODES_PER_CALL] for start in range(0, len(fit), MOST_NODES_PER_CALL)]
    return calls + [[node] for node in nodes if not node.well_formed]


def _answers(nodes: Sequence[Node], outcome: _Outcome, call: Callable[[Sequence[Node]], _Outcome]) -> list[Answer]:
    """Read a call's outcome. A call that is rejected as a whole is halved until the ID at fault is alone."""
    if not isinstance(outcome, CallError):
        return _read_answer(nodes, outcome)
    if not _is_rejected(outcome) or len(nodes) == 1:
        return _read_error(nodes, outcome)
    middle = len(nodes) // 2
    halves = [(half, call(half)) for half in (nodes[:middle], nodes[middle:])]
    if _is_fault_of_cluster(nodes, [part for _, part in halves]):
        return _read_error(nodes, outcome)
    return [answer for half, part in halves for answer in _answers(half, part, call)]


def _is_rejected(outcome: _Outcome) -> bool:
    return isinstance(outcome, CallError) and outcome.code == "ValidationException"


def _is_fault_of_cluster(nodes: Sequence[Node], outcomes: Sequence[_Outcome]) -> bool:
    """Tell whether both halves were rejected with the same message, which names no ID: halving on finds nothing."""
    messages = {part.message for part in outcomes if isinstance(part, CallError) and _is_rejected(part)}
    rejected = all(_is_rejected(part) for part in outcomes)
    return rejected and len(messages) == 1 and not any(node.id in message for message in messages for node in nodes)


def _read_answer(nodes: Sequence[Node], answer: Mapping[str, Any]) -> list[Answer]:
    """Read the answer for each node, and for each failure of a node that was not asked for.

    A node that is listed as successful and as failed was started, with the failure's code and message.
    """
    started = {id_ for field in ("Successful", "SuccessfulNodeLogicalIds") for id_ in _ids(answer, field)}
    failures: dict[Node, Answer] = {}
    for kind, field in ((IdKind.NODE_ID, "Failed"), (IdKind.LOGICAL_ID, "FailedNodeLogicalIds")):
        for entry in _objects(answer, field):
            node = Node(kind, str(entry.get(kind.value) or ""))
            result = CallResult.STARTED if node in nodes and node.id in started else CallResult.FAILED
            code, message = bounded(str(entry.get("ErrorCode") or "Unknown")), str(entry.get("Message") or "")
            failures.setdefault(node, Answer(node, result, code, bounded(message, LONGEST_API_TEXT)))
    return [*failures.values(), *(_unfailed(node, started) for node in nodes if node not in failures)]


def _ids(answer: Mapping[str, Any], field: str) -> list[str]:
    return [id_ for id_ in answer.get(field) or () if isinstance(id_, str)]


def _unfailed(node: Node, started: set[str]) -> Answer:
    if node.id in started:
        return Answer(node, CallResult.STARTED)
    message = "SageMaker's answer names this node neither as successful nor as failed"
    return Answer(node, CallResult.UNKNOWN, codes.OUTCOME_UNKNOWN, message)


def _read_error(nodes: Sequence[Node], error: CallError) -> list[Answer]:
    """Return the answer for each node of a call that failed as a whole."""
    if error.meaning is Meaning.UNKNOWN:
        message = f"no usable answer from SageMaker ({error}); the call may have been carried out"
        return [Answer(node, CallResult.UNKNOWN, codes.OUTCOME_UNKNOWN, message) for node in nodes]
    result = CallResult.FAILED if error.meaning is Meaning.REJECTED else CallResult.NOT_CALLED
    return [Answer(node, result, error.code, error.message) for node in nodes]
