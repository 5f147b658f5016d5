"""The world around the function as the state machine has it: the API, the queue's troubles, rival invocations.

Nothing here reads the ledger's contents: what was done to whom is counted by what the API did.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from node_remediation.awserrors import CallError, Meaning
from node_remediation.lookup import LookupFailedError
from node_remediation.model import NodeKey
from node_remediation.record import Book, NodeRecord, Record
from node_remediation.steps import Step
from tests.unit.fakes import FakeLedger


class KilledError(Exception):
    """The function's process is gone."""


class CallFault(Enum):
    """What may become of a whole call of BatchRebootClusterNodes."""

    THROTTLED = "turned away"
    UNREACHABLE = "never sent"
    DENIED = "rejected"
    ANSWER_LOST = "carried out, the answer lost"
    REQUEST_LOST = "not carried out, and nobody can tell"
    BROKEN = "answered with a 5xx"


@dataclass(frozen=True)
class Trouble:
    """What goes wrong during one delivery; nothing, unless told."""

    crash: Step | None = None
    calls: tuple[CallFault, ...] = ()
    letters_down: bool = False
    topic_down: bool = False
    ledger_down: Step | None = None
    rival_at_save: int | None = None


@dataclass(frozen=True)
class Reboot:
    """A reboot that was started, or may have been."""

    at: datetime
    key: NodeKey


@dataclass
class HyperPod:
    """What lasts: `codes` has the answer of nodes that fail, `poison` the nodes that spoil a whole call."""

    key_of: Callable[[str, str], NodeKey]
    codes: dict[NodeKey, str] = field(default_factory=dict)
    poison: set[NodeKey] = field(default_factory=set)
    reboots: list[Reboot] = field(default_factory=list)


@dataclass
class FakeApi:
    """BatchRebootClusterNodes as one delivery meets it; what nobody can tell counts as started: it may have been."""

    hyperpod: HyperPod
    faults: list[CallFault]
    now: datetime
    asked: set[NodeKey] = field(default_factory=set)
    started: set[NodeKey] = field(default_factory=set)

    def batch_reboot_cluster_nodes(
        self,
        *,
        ClusterName: str,  # noqa: N803  boto3's names
        NodeIds: Sequence[str] = (),  # noqa: N803
        NodeLogicalIds: Sequence[str] = (),  # noqa: N803
    ) -> dict[str, Any]:
        keys = {id_: self.hyperpod.key_of(ClusterName, id_) for id_ in (*NodeIds, *NodeLogicalIds)}
        self.asked |= set(keys.values())
        fault = self.faults.pop(0) if self.faults else None
        if fault in _REFUSALS:
            raise _REFUSALS[fault]
        spoilt = [id_ for id_, key in keys.items() if key in self.hyperpod.poison]
        if spoilt:
            raise _error("ValidationException", 400, f"{spoilt[0]} does not belong here")
        started = [key for key in keys.values() if fault or key not in self.hyperpod.codes]
        self.started |= set(started)
        self.hyperpod.reboots += [Reboot(self.now, key) for key in started]
        if fault:
            raise _UNKNOWNS[fault]
        return {
            "Successful": [id_ for id_ in NodeIds if keys[id_] in started],
            "Failed": self._failures("NodeId", NodeIds, keys),
            "SuccessfulNodeLogicalIds": [id_ for id_ in NodeLogicalIds if keys[id_] in started],
            "FailedNodeLogicalIds": self._failures("NodeLogicalId", NodeLogicalIds, keys),
        }

    def _failures(self, kind: str, ids: Sequence[str], keys: Mapping[str, NodeKey]) -> list[dict[str, str]]:
        codes = {id_: self.hyperpod.codes.get(keys[id_]) for id_ in ids}
        return [{kind: id_, "ErrorCode": code, "Message": f"{id_} says no"} for id_, code in codes.items() if code]


def _error(code: str, status: int, message: str = "") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "BatchRebootClusterNodes")


_REFUSALS: dict[CallFault | None, Exception] = {
    CallFault.THROTTLED: _error("ThrottlingException", 400),
    CallFault.UNREACHABLE: EndpointConnectionError(endpoint_url="https://sagemaker"),
    CallFault.DENIED: _error("AccessDeniedException", 400),
}
_UNKNOWNS: dict[CallFault, Exception] = {
    CallFault.ANSWER_LOST: ReadTimeoutError(endpoint_url="https://sagemaker"),
    CallFault.REQUEST_LOST: ReadTimeoutError(endpoint_url="https://sagemaker"),
    CallFault.BROKEN: _error("InternalFailure", 500),
}


@dataclass
class _Turn:
    """The nodes that were claimed together, and when."""

    at: datetime
    keys: set[NodeKey]


@dataclass
class WatchedLedger:
    """The ledger as one delivery sees it: it may be down, and a rival may come just before a write.

    It sees what is claimed and whether the answer was written down, and keeps in `counted` what must count as rebooted:
    an answer that nobody wrote down is one that nobody knows.
    """

    inner: FakeLedger
    trouble: Trouble
    api: FakeApi
    rival: Callable[[], None]
    counted: list[Reboot]
    step: Step | None = None
    _turn: _Turn | None = None
    _saves: int = 0

    def on_step(self, step: Step) -> None:
        self.step = step
        if step is Step.CALL:
            self.api.started, self.api.asked = set(), set()
        elif step is not Step.RECORD:
            self.close()
        if step is self.trouble.crash:
            raise KilledError

    def load(self, nodes: Collection[NodeKey], clusters: Collection[str]) -> Book:
        self._fail_if_down()
        return self.inner.load(nodes, clusters)

    def save(self, records: Sequence[Record], *, now: datetime) -> bool:
        self._fail_if_down()
        self._saves += 1
        if self._saves == self.trouble.rival_at_save:
            self.rival()
        saved = self.inner.save(records, now=now)
        if saved and self.step is Step.CLAIM:
            self._turn = _Turn(now, {record.key for record in records if isinstance(record, NodeRecord)})
        elif saved and self.step is Step.RECORD and self._turn:
            assert self.api.asked <= self._turn.keys, "a node was called for that nobody had claimed"
            self._turn.keys &= self.api.started
        return saved

    def close(self) -> None:
        """What is still claimed now counts as rebooted."""
        if self._turn:
            self.counted += [Reboot(self._turn.at, key) for key in sorted(self._turn.keys, key=lambda key: key.id)]
        self._turn = None

    def _fail_if_down(self) -> None:
        if self.trouble.ledger_down is not None and self.trouble.ledger_down is self.step:
            raise LookupFailedError(CallError(Meaning.UNKNOWN, "InternalServerError", "the ledger is down"))
