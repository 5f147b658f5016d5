"""The edge to BatchRebootClusterNodes: one call of up to 25 nodes, and what it means for each of them."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from node_remediation import awserrors, codes
from node_remediation.awserrors import CallError, Meaning
from node_remediation.model import IdKind, Node, Result

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient

# Throttling and failed connections: this many tries, waiting up to 0.5, 1 and 2 s between them.
_TRIES = 4
_FIRST_WAIT = 0.5  # seconds


class Answer(NamedTuple):
    """A node's result with the API's code and message, verbatim; `cause` is the error behind a call without answer."""

    node: Node
    result: Result
    code: str | None = None
    message: str = ""
    cause: CallError | None = None


class Answers(NamedTuple):
    """What rebooting a list of nodes came to: an answer per node, and how many nodes each call carried."""

    answers: Sequence[Answer]
    nodes_per_call: Sequence[int] = ()


class Rebooter(Protocol):
    """Reboots nodes of one cluster."""

    def reboot(self, cluster: str, nodes: Sequence[Node], *, may_call: Callable[[], bool]) -> Answers:
        """Reboot up to 25 nodes of one kind of ID; no call starts once `may_call` says no. Raises nothing of AWS's."""


_Outcome = Mapping[str, Any] | CallError
_Call = Callable[[Sequence[Node]], _Outcome]


class SageMakerRebooter:
    """Rebooter over the SageMaker API.

    The client must not retry by itself: a lost answer that is sent again could reboot a node twice.
    """

    def __init__(
        self, client: "SageMakerClient", *, sleep: Callable[[float], None], jitter: Callable[[], float] = random.random
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._jitter = jitter

    def reboot(self, cluster: str, nodes: Sequence[Node], *, may_call: Callable[[], bool]) -> Answers:
        sizes: list[int] = []

        def call(part: Sequence[Node]) -> _Outcome:
            return self._call(cluster, part, may_call, sizes)

        return Answers(_settle(nodes, call(nodes), call), sizes)

    def _call(self, cluster: str, nodes: Sequence[Node], may_call: Callable[[], bool], sizes: list[int]) -> _Outcome:
        """One call, tried again while that is safe: it was turned away or never sent."""
        failure = CallError(Meaning.NOT_SENT, codes.DEADLINE_EXCEEDED, "the function ran out of time before the call")
        for tried in range(_TRIES):
            if tried:
                self._sleep(_FIRST_WAIT * 2 ** (tried - 1) * (0.5 + self._jitter() / 2))
            if not may_call():
                break
            sizes.append(len(nodes))
            try:
                return self._send(cluster, nodes)
            except awserrors.CALL_ERRORS as error:
                failure = awserrors.read(error)
            if failure.meaning not in (Meaning.THROTTLED, Meaning.NOT_SENT):
                break
        return failure

    def _send(self, cluster: str, nodes: Sequence[Node]) -> Mapping[str, Any]:
        ids = [node.id for node in nodes]
        if nodes[0].kind is IdKind.NODE_ID:
            return self._client.batch_reboot_cluster_nodes(ClusterName=cluster, NodeIds=ids)
        return self._client.batch_reboot_cluster_nodes(ClusterName=cluster, NodeLogicalIds=ids)


def _settle(nodes: Sequence[Node], outcome: _Outcome, call: _Call) -> list[Answer]:
    """Read what a call came to; a call rejected as a whole is halved until the guilty ID is alone."""
    if not isinstance(outcome, CallError):
        return read_answer(nodes, outcome)
    if not _is_rejected(outcome) or len(nodes) == 1:
        return read_error(nodes, outcome)
    middle = len(nodes) // 2
    halves = [(half, call(half)) for half in (nodes[:middle], nodes[middle:])]
    if _is_cluster_fault(nodes, [part for _, part in halves]):
        return read_error(nodes, outcome)
    return [answer for half, part in halves for answer in _settle(half, part, call)]


def _is_rejected(outcome: _Outcome) -> bool:
    return isinstance(outcome, CallError) and outcome.code == "ValidationException"


def _is_cluster_fault(nodes: Sequence[Node], outcomes: Sequence[_Outcome]) -> bool:
    """Both halves rejected in the same words, which name no ID: no node is guilty, so halving on finds nothing."""
    messages = {part.message for part in outcomes if isinstance(part, CallError) and _is_rejected(part)}
    rejected = all(_is_rejected(part) for part in outcomes)
    return rejected and len(messages) == 1 and not any(node.id in message for message in messages for node in nodes)


def read_answer(nodes: Sequence[Node], answer: Mapping[str, Any]) -> list[Answer]:
    """The answer for each node; also one for each failure that the API reports of a node that was not asked for."""
    started = {*answer.get("Successful", ()), *answer.get("SuccessfulNodeLogicalIds", ())}
    failures = [_failure(IdKind.NODE_ID, entry) for entry in answer.get("Failed", ())]
    failures += [_failure(IdKind.LOGICAL_ID, entry) for entry in answer.get("FailedNodeLogicalIds", ())]
    failed = {failure.node for failure in failures}
    unheard = "the answer of BatchRebootClusterNodes names this node neither as successful nor as failed"
    answers: list[Answer] = list(failures)
    for node in nodes:
        if node.id in started and node not in failed:
            answers.append(Answer(node, Result.REBOOTED))
        elif node not in failed:
            answers.append(Answer(node, Result.UNKNOWN, codes.OUTCOME_UNKNOWN, unheard))
    return answers


def _failure(kind: IdKind, entry: Mapping[str, Any]) -> Answer:
    return Answer(
        Node(kind, entry.get(kind, "")), Result.FAILED, entry.get("ErrorCode") or "Unknown", entry.get("Message", "")
    )


def read_error(nodes: Sequence[Node], error: CallError) -> list[Answer]:
    """The answer for each node of a call that failed as a whole."""
    if error.meaning is Meaning.UNKNOWN:
        message = (
            f"no usable answer to BatchRebootClusterNodes ({error.code}: {error.message}); the node may be rebooting"
        )
        return [Answer(node, Result.UNKNOWN, codes.OUTCOME_UNKNOWN, message, error) for node in nodes]
    result = Result.FAILED if error.meaning is Meaning.REJECTED else Result.NOT_CALLED
    cause = error if result is Result.NOT_CALLED else None
    return [Answer(node, result, error.code, error.message, cause) for node in nodes]
