"""The services around the function, in memory: all of them answer, every reboot ends with the node running.

Every replacement ends with its instance gone.
"""

# ruff: noqa: ARG002  a stand-in takes what the real one takes

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from node_remediation.aws.errors import MayCall
from node_remediation.aws.hyperpod import Answers
from node_remediation.aws.ledger import Candidate, node_pk
from node_remediation.events.fields import mapping, text
from node_remediation.model import (
    Alarm,
    AlarmState,
    Answer,
    CallResult,
    Change,
    ClusterFacts,
    IdKind,
    Message,
    Node,
    NodeFacts,
    NodeKey,
    NoReport,
    Reading,
    Report,
    Result,
)
from node_remediation.outbox.events import BusEvent
from node_remediation.outbox.letters import Letter
from node_remediation.outbox.notifications import Notification
from node_remediation.policy.modes import Modes
from node_remediation.policy.record import GONE, Book, Budget, Missing, NodeRecord, Record
from node_remediation.settings import Settings


@dataclass(slots=True)
class MemoryLedger:
    """A ledger without rivals: every write succeeds."""

    settings: Settings
    _nodes: dict[str, NodeRecord] = field(default_factory=dict)
    _budgets: dict[str, Budget] = field(default_factory=dict)
    _due: dict[str, datetime] = field(default_factory=dict)

    def load(self, keys: Collection[NodeKey], clusters: Collection[str]) -> Book:
        return self.load_raw([*map(node_pk, keys)]).updated(
            *(self._budgets.get(each, Budget(each)) for each in clusters)
        )

    def nodes(self, *, may_call: MayCall) -> list[NodeRecord]:
        return list(self._nodes.values())

    def load_raw(self, pks: Collection[str]) -> Book:
        return Book().updated(*(self._nodes[pk] for pk in pks if pk in self._nodes))

    def save(self, records: Sequence[Record], *, now: datetime, token: str) -> Sequence[Record]:
        return [self._keep(record, now) for record in records]

    def _keep(self, record: Record, now: datetime) -> Record:
        if isinstance(record, Budget):
            window, cooldown = self.settings.budget_window, self.settings.cooldown
            budget = self._budgets[record.cluster] = record.pruned(now, window=window, cooldown=cooldown).written()
            return budget
        pk = node_pk(record.key)
        node = self._nodes[pk] = record.pruned(now).written()
        self._due.pop(pk, None)
        if node.due:
            self._due[pk] = node.due
        return node

    def due(self, shard: int, now: datetime) -> list[Candidate]:
        found = () if shard else sorted((due, pk) for pk, due in self._due.items() if due <= now)
        return [Candidate(pk, due) for due, pk in found]

    def next_due(self) -> datetime | None:
        return min(self._due.values(), default=None)


@dataclass(frozen=True, slots=True)
class MemoryHyperPod:
    """Clusters that are all alike. `by_id` has every node that the events name, by each of its IDs."""

    facts: ClusterFacts
    by_id: Mapping[str, NodeFacts]
    _replaced: set[str] = field(default_factory=set)

    def name(self, given: str, *, may_call: MayCall) -> str:
        return given.rpartition("/")[2]

    def cluster(self, name: str) -> ClusterFacts:
        return self.facts

    def node(self, cluster: str, node: Node, *, may_call: MayCall = lambda: True) -> NodeFacts:
        return GONE if node.id in self._replaced else self.by_id.get(node.id, GONE)

    def nodes(self, cluster: str, *, may_call: MayCall) -> list[NodeFacts]:
        return [facts for id_, facts in self.by_id.items() if id_ not in self._replaced]

    def failure_message(self, cluster: str, event_id: str) -> str | None:
        return None

    def logical_id(self, cluster: str, instance_id: str) -> str | None:
        return self.by_id.get(instance_id, GONE).logical_id

    def reboot(self, cluster: str, nodes: Sequence[Node], *, may_call: MayCall) -> Answers:
        return Answers([_answer(node) for node in nodes], [len(nodes)])

    def replace(self, cluster: str, nodes: Sequence[Node], *, may_call: MayCall) -> Answers:
        self._replaced.update(node.id for node in nodes)
        return self.reboot(cluster, nodes, may_call=may_call)


def _answer(node: Node) -> Answer:
    if node.well_formed:
        return Answer(node, CallResult.STARTED)
    return Answer(node, CallResult.FAILED, "ValidationException", f"{node.id} does not match the API's pattern")


def nodes_of(named: Iterable[str], events: Iterable[Mapping[str, Any]]) -> dict[str, NodeFacts]:
    """Return the nodes that reports name, by each ID, with the group and the other ID that any event gives them.

    A group that no event names is empty: an override that names one does not match.
    """
    found = {}
    for id_ in named:
        of_instance = Node(IdKind.NODE_ID, id_).well_formed
        found[id_] = NodeFacts(id_ if of_instance else None, None if of_instance else id_, "", "Running")
    for event in events:
        details = mapping(mapping(event, "detail"), "EventDetails") or mapping(event, "detail")
        metadata = mapping(mapping(mapping(details, "EventDetails"), "EventMetadata"), "Instance")
        instance, group = text(details, "InstanceId"), text(details, "InstanceGroupName")
        logical = text(details, "NodeLogicalId") or text(metadata, "NodeLogicalId")
        for id_ in found.keys() & {instance or "", logical or ""}:
            facts = found[id_]
            ids = instance or facts.instance_id, logical or facts.logical_id
            found[id_] = NodeFacts(*ids, group or facts.group, facts.status)
    return found


@dataclass(slots=True)
class MemoryAlarms:
    """Alarms and their series, each in the state that its last event said."""

    _states: dict[str, AlarmState] = field(default_factory=dict)
    _described: dict[str, dict[str, Any]] = field(default_factory=dict)

    def hear(self, reading: Reading) -> None:
        """Take in the state that an event gives an alarm, and the node and the cluster that the alarm names."""
        alarm = reading.alarm
        if alarm is None:
            return
        state = AlarmState("INSUFFICIENT_DATA", reading.trigger.time)
        if not isinstance(reading, NoReport):
            state = state._replace(state="OK" if reading.healthy else "ALARM")
        self._states[alarm.source] = state
        if isinstance(reading, Report):
            cluster = "HyperPodClusterName" if reading.cluster_is_hyperpod else "ClusterName"
            named = {"InstanceId" if reading.node.kind is IdKind.NODE_ID else "NodeLogicalId": reading.node.id}
            named |= {cluster: reading.cluster} if reading.cluster else {}
            self._described[alarm.name] = {
                "AlarmName": alarm.name,
                "AlarmArn": alarm.arn,
                "StateValue": state.state,
                "StateTransitionedTimestamp": state.since,
                "Dimensions": [{"Name": name, "Value": value} for name, value in named.items()],
            }

    def describe(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        return [self._described[name] for name in names if name in self._described]

    def tags(self, arn: str) -> Mapping[str, str]:
        return {}

    def states(
        self, alarms: Mapping[str, tuple[Alarm, Collection[str]]], *, may_call: MayCall = lambda: True
    ) -> dict[str, AlarmState | Missing]:
        unknown = AlarmState("INSUFFICIENT_DATA")
        return {key: self._states.get(alarm.source, unknown) for key, (alarm, _) in alarms.items()}


@dataclass(frozen=True, slots=True)
class Outside:
    """The mode, the queues, the topic and the telemetry; what they are told goes nowhere but to `recorded`."""

    mode: str
    recorded: Callable[[Sequence[Result], Sequence[Change], Mapping[str, str]], None]
    failed: Callable[[str], None]

    def get(self, *, fresh: bool = False) -> Modes:
        return Modes(self.mode)

    def send(self, letters: Sequence[Letter], *, may_call: MayCall = lambda: True) -> dict[int, str]:
        return {}

    def publish(self, notifications: Sequence[Notification], *, may_call: MayCall = lambda: True) -> dict[int, str]:
        return {}

    def put(self, events: Sequence[BusEvent], *, may_call: MayCall = lambda: True) -> dict[int, str]:
        return {}

    def come_again(self, messages: Sequence[Message]) -> str | None:
        return None

    def record(
        self, results: Sequence[Result], changes: Sequence[Change], *, handed_back: Mapping[str, str], **_: object
    ) -> None:
        self.recorded(results, changes, handed_back)

    def sweep(self, *, lag: float, oldest_unsent: float) -> None: ...

    def canary(self) -> None: ...

    def unrecorded(self, cluster: str, answers: Sequence[Answer]) -> None: ...

    def error(self, text: str, **_: str | None) -> None:
        self.failed(text)
