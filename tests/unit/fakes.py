"""Stand-ins for the edges, and makers of the values that tests are about."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from node_remediation.awserrors import CallError, Meaning
from node_remediation.checks import Checks
from node_remediation.claims import Claimant
from node_remediation.cluster import Facts, NodeState
from node_remediation.deadletter import Origin, is_reported
from node_remediation.examine import Examiner
from node_remediation.intake import Delayed
from node_remediation.lookup import LookupFailedError
from node_remediation.model import (
    Case,
    Ending,
    Handling,
    IdKind,
    Message,
    Node,
    NodeKey,
    Outcome,
    Report,
    Result,
    Settled,
    Trigger,
)
from node_remediation.reboot import Answer, Answers
from node_remediation.record import Book, NodeRecord, Record
from node_remediation.remediate import Remediator
from node_remediation.resolve import Resolver
from node_remediation.settings import Settings
from node_remediation.steps import Step, unwatched
from node_remediation.together import Together, in_turn
from node_remediation.watching import Watcher

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
SAMPLES = Path(__file__).parents[1] / "samples"


def sample(name: str) -> dict[str, Any]:
    """A documented payload, by its file name without `.documented.json`."""
    event: dict[str, Any] = json.loads((SAMPLES / f"{name}.documented.json").read_text())
    return event


def unmuted(event: dict[str, Any]) -> dict[str, Any]:
    """The documented samples show every field at once; a node is only acted on when nothing mutes the alarm."""
    event["detail"].pop("muteDetail", None)
    event["detail"]["state"].pop("actionsSuppressedBy", None)
    return event


def instance_id(number: int) -> str:
    return f"i-{number:017x}"


def health_event(
    node: str = instance_id(1), cluster: str = "ml-a", status: str = "Unhealthy", **extra: Any
) -> dict[str, Any]:
    """A node health event as EventBridge delivers it."""
    return {
        "version": "0",
        "id": extra.pop("id", f"event-{node}"),
        "source": "aws.sagemaker",
        "detail-type": "SageMaker HyperPod Cluster Node Health Event",
        "account": "111122223333",
        "region": "us-west-2",
        "time": extra.pop("time", NOW.isoformat()),
        "resources": [],
        "detail": {
            "ClusterName": cluster,
            "InstanceId": node,
            "HealthSummary": {"HealthStatus": status, "HealthStatusReason": "Xid 79", "RepairAction": "None"},
        },
    } | extra


def request(*nodes: str, cluster: str | None = "ml-a", logical: Iterable[str] = (), **extra: Any) -> dict[str, Any]:
    """An operator's request."""
    return {
        "version": "1",
        "id": "request-1",
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Reboot Requested",
        "time": NOW.isoformat(),
        "detail": {"ClusterName": cluster, "NodeIds": list(nodes), "NodeLogicalIds": list(logical), "Reason": "drill"},
    } | extra


def message(
    body: object,
    *,
    id: str = "m-1",  # noqa: A002
    receives: int = 1,
    redriven: str | None = None,
    sent: datetime = NOW,
) -> Message:
    """A message of the intake queue; a body that is no string is written as JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    return Message(id=id, body=text, sent=sent, receives=receives, receipt_handle=f"handle-{id}", redriven=redriven)


@dataclass
class FakeClusters:
    """HyperPod clusters by EKS name; every other name is HyperPod's own, unless `error` is set."""

    eks: Mapping[str, str] = field(default_factory=dict)
    error: CallError | None = None
    asked: list[str] = field(default_factory=list)
    facts_asked: list[str] = field(default_factory=list)

    facts_of: Mapping[str, Facts] = field(default_factory=dict)
    facts_error: CallError | None = None
    instances: Mapping[str, str] = field(default_factory=dict)

    def hyperpod_name(self, name: str) -> str:
        self.asked.append(name)
        if self.error:
            raise LookupFailedError(self.error)
        return self.eks.get(name, name)

    def facts(self, name: str) -> Facts:
        self.facts_asked.append(name)
        if self.facts_error:
            raise LookupFailedError(self.facts_error)
        return self.facts_of.get(name, Facts(nodes=1_000))

    states: dict[str, NodeState | None] = field(default_factory=dict)
    nodes_asked: list[str] = field(default_factory=list)
    node_error: CallError | None = None

    def instance_id(self, cluster: str, logical_id: str) -> str | None:
        return self.instances.get(logical_id)

    def node(self, cluster: str, node: Node) -> NodeState | None:
        """A node is Running unless `states` has another state of it, or None: it is gone."""
        self.nodes_asked.append(node.id)
        if self.node_error:
            raise LookupFailedError(self.node_error)
        return self.states.get(node.id, NodeState("Running"))


@dataclass
class FakeAlarms:
    """Alarms as DescribeAlarms answers them, and tags by ARN."""

    alarms: Sequence[Mapping[str, Any]] = ()
    tags_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    error: CallError | None = None
    asked: list[object] = field(default_factory=list)
    series: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)

    def contributors(self, name: str) -> list[Mapping[str, str]]:
        self.asked.append(f"contributors of {name}")
        if self.error:
            raise LookupFailedError(self.error)
        return list(self.series.get(name, ()))

    def describe(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        self.asked.append(list(names))
        if self.error:
            raise LookupFailedError(self.error)
        return [alarm for alarm in self.alarms if alarm["AlarmName"] in names]

    def tags(self, arn: str) -> Mapping[str, str]:
        self.asked.append(arn)
        if self.error:
            raise LookupFailedError(self.error)
        return self.tags_of.get(arn, {})


@dataclass
class FakeRebooter:
    """Starts every reboot, unless `answer` says otherwise for a node; keeps what it was asked."""

    answer: Callable[[str, Node], Answer | None] = lambda _cluster, _node: None
    calls: list[tuple[str, tuple[Node, ...]]] = field(default_factory=list)

    def reboot(self, cluster: str, nodes: Sequence[Node], *, may_call: Callable[[], bool]) -> Answers:
        if not may_call():
            return Answers([Answer(node, Result.NOT_CALLED, "DeadlineExceeded", "late") for node in nodes])
        self.calls.append((cluster, tuple(nodes)))
        return Answers([self.answer(cluster, node) or Answer(node, Result.REBOOTED) for node in nodes], [len(nodes)])

    @property
    def rebooted(self) -> list[str]:
        return [node.id for _, nodes in self.calls for node in nodes]


@dataclass
class FakeReporter:
    """Keeps what it is to report; `broken` says what the topic misses, `letters_broken` what the queue misses."""

    broken: Callable[[Ending], bool] = lambda _ending: False
    letters_broken: Callable[[Ending], bool] = lambda _ending: False
    letters: list[Ending] = field(default_factory=list)
    reported: list[Ending] = field(default_factory=list)

    def send_letters(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        missed = {ending: "dead-letter queue: down" for ending in endings if self.letters_broken(ending)}
        self.letters += [ending for ending in endings if ending not in missed and is_reported(ending)]
        return missed

    def publish(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        missed = {ending: "topic: down" for ending in endings if self.broken(ending)}
        self.reported += [ending for ending in endings if ending not in missed]
        return missed


@dataclass
class FakeMode:
    """A mode, or an error instead."""

    mode: str = "active"
    error: CallError | None = None

    def get(self) -> str:
        if self.error:
            raise LookupFailedError(self.error)
        return self.mode


@dataclass
class FakeLedger:
    """A ledger in memory: like the real one, it takes a write only if nobody wrote since the read."""

    book: Book = field(default_factory=Book)
    error: CallError | None = None
    before_save: Callable[[], None] = lambda: None
    saves: int = 0

    def load(self, nodes: Collection[NodeKey], clusters: Collection[str]) -> Book:
        if self.error:
            raise LookupFailedError(self.error)
        book = Book()
        book.put(*(self.book.nodes[key] for key in nodes if key in self.book.nodes))
        book.put(*(self.book.budgets[name] for name in clusters if name in self.book.budgets))
        return book

    def save(self, records: Sequence[Record], *, now: datetime) -> bool:
        self.before_save()
        if self.error:
            raise LookupFailedError(self.error)
        assert 0 < len(records) <= 100
        if any(self._stored(record).version != record.version for record in records):
            return False
        self.saves += 1
        self.book.put(*(record.pruned(now).written() for record in records))
        return True

    def _stored(self, record: Record) -> Record:
        if isinstance(record, NodeRecord):
            return self.book.node(record.key)
        return self.book.budget(record.cluster)


@dataclass
class FakeIntake:
    """Keeps which messages come again, and the checks that were sent with their delays; `down` takes no check."""

    again: list[str] = field(default_factory=list)
    checks: list[Delayed] = field(default_factory=list)
    down: bool = False

    def send(self, checks: Sequence[Delayed]) -> dict[int, str]:
        if self.down:
            return dict.fromkeys(range(len(checks)), "intake queue: down")
        self.checks += checks
        return {}

    def come_again(self, messages: Sequence[Message]) -> str | None:
        self.again += [each.id for each in messages]
        return None


@dataclass
class FakeTelemetry:
    """Keeps what is recorded."""

    handlings: list[Handling] = field(default_factory=list)
    sizes: list[tuple[str, int]] = field(default_factory=list)

    def record(
        self, handling: Handling, *, nodes_per_call: Sequence[tuple[str, int]], now: datetime, trouble: str | None
    ) -> None:
        self.handlings.append(handling)
        self.sizes += nodes_per_call


@dataclass
class World:
    """A Remediator with fakes all round it; `now` is the clock, and stands still unless a test moves it."""

    settings: Settings = field(default_factory=Settings)
    clusters: FakeClusters = field(default_factory=FakeClusters)
    alarms: FakeAlarms = field(default_factory=FakeAlarms)
    mode: FakeMode = field(default_factory=FakeMode)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    rebooter: FakeRebooter = field(default_factory=FakeRebooter)
    reporter: FakeReporter = field(default_factory=FakeReporter)
    intake: FakeIntake = field(default_factory=FakeIntake)
    telemetry: FakeTelemetry = field(default_factory=FakeTelemetry)
    seconds_left: float = 60.0
    now: datetime = NOW + timedelta(seconds=30)
    on_step: Callable[[Step], None] = unwatched
    ids: Iterator[int] = field(default_factory=count)
    jitter: float = 0.0
    together: Together = in_turn

    def handle(self, *messages: Message) -> Handling:
        clock = lambda: self.now  # noqa: E731
        checks = Checks(intake=self.intake, origin=Origin("111122223333", "us-west-2"), clock=clock, new_id=uuid4)
        remediator = Remediator(
            settings=self.settings,
            resolver=Resolver(settings=self.settings, clusters=self.clusters, alarms=self.alarms),
            clusters=self.clusters,
            mode=self.mode,
            ledger=self.ledger,
            claimant=Claimant(
                settings=self.settings,
                ledger=self.ledger,
                rebooter=self.rebooter,
                checks=checks,
                together=self.together,
                clock=clock,
                new_id=lambda: f"call-{next(self.ids)}",
                sleep=lambda _: None,
                on_step=self.on_step,
            ),
            watcher=Watcher(
                settings=self.settings,
                examiner=Examiner(clusters=self.clusters, alarms=self.alarms),
                ledger=self.ledger,
                checks=checks,
                clock=clock,
                sleep=lambda _: None,
                jitter=lambda: self.jitter,
            ),
            reporter=self.reporter,
            intake=self.intake,
            telemetry=self.telemetry,
            together=self.together,
            clock=clock,
            sleep=lambda _: None,
            on_step=self.on_step,
        )
        return remediator.handle(messages, seconds_left=lambda: self.seconds_left)

    def later(self, **duration: float) -> None:
        self.now += timedelta(**duration)


THROTTLED = CallError(Meaning.THROTTLED, "ThrottlingException", "Rate exceeded")
DENIED = CallError(Meaning.REJECTED, "AccessDeniedException", "not authorized")
LOST = CallError(Meaning.UNKNOWN, "ReadTimeoutError", "timed out")
NOT_FOUND = CallError(Meaning.REJECTED, "ResourceNotFound", "Cluster not found")


def case(
    node: Node | None = None,
    cluster: str | None = "ml-a",
    *,
    body: object = "{}",
    message_id: str = "m-1",
    redriven: str | None = None,
    receives: int = 1,
    **extra: Any,
) -> Case:
    """A report of a node (of instance 1, unless given) with the message that it came in."""
    trigger = Trigger(
        "aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event", "event-1", extra.pop("time", NOW), "Xid 79"
    )
    report = Report(trigger=trigger, node=node or Node(IdKind.NODE_ID, instance_id(1)), cluster=cluster, **extra)
    return Case(message(body, id=message_id, redriven=redriven, receives=receives), report)


def settled_case(
    outcome: Outcome = Outcome.UNREADABLE,
    code: str | None = "Unreadable",
    *,
    body: object = "{",
    message_id: str = "m-1",
) -> Case:
    """A case that names no node."""
    trigger = Trigger("", "", message_id, NOW)
    return Case(message(body, id=message_id), Settled(trigger, outcome, "the body is not JSON", code))


def ending(
    of: Case | None = None,
    outcome: Outcome = Outcome.FAILED,
    code: str | None = "InstanceIdInUse",
    reason: str = "The node is busy.",
) -> Ending:
    """How a case ended: failed, unless told otherwise."""
    return Ending(of or case(), outcome, reason, code)
