"""Makes cases, records and scenes, and plays histories: decisions and answers, one after another, on a book."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from node_remediation.model import (
    Alarm,
    AlarmState,
    Answer,
    Case,
    ClusterFacts,
    Failure,
    IdKind,
    Message,
    Node,
    NodeFacts,
    NodeKey,
    Origin,
    Outcome,
    Report,
    Trigger,
)
from node_remediation.policy.answers import record_answers
from node_remediation.policy.draft import Claim, Plan, Scene
from node_remediation.policy.incidents import Group, Needs, decide, needs_of
from node_remediation.policy.modes import Modes, read_modes
from node_remediation.policy.record import Book, Budget, Complaint, Entry, Facts, Incident, Missing, NodeRecord, State
from node_remediation.settings import Settings

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SETTINGS = Settings(clusters=("ml-a", "ml-b"))
SICK = Alarm("hyperpod-reboot-sick")
SERIES = Alarm("hyperpod-reboot-series", by_series=True, series='{"InstanceId": "i-1"}')
HEALTH = "SageMaker HyperPod Cluster Node Health Event"
_numbers = count()


def ago(minutes: float) -> datetime:
    return NOW - minutes * MINUTE


def hence(minutes: float) -> datetime:
    return NOW + minutes * MINUTE


def instance(number: int = 1) -> Node:
    return Node(IdKind.NODE_ID, f"i-{number:017x}")


def key(number: int = 1, cluster: str = "ml-a") -> NodeKey:
    return NodeKey(cluster, instance(number).id)


LOGICAL = Node(IdKind.LOGICAL_ID, "df268d19-f035")
LOGICAL_KEY = NodeKey("ml-a", LOGICAL.id)


def case(
    at: datetime = NOW,
    *,
    node: Node | None = None,
    known_as: NodeKey | None = None,
    sent: datetime | None = None,
    receives: int = 1,
    failure: Failure | None = None,
    id: str | None = None,  # noqa: A002  as in Message
    **report: Any,
) -> Case:
    """Return a case of one report, by HyperPod unless `report` has an alarm or another origin."""
    node, id_ = node or instance(), id or f"m-{next(_numbers)}"
    source = "aws.cloudwatch" if report.get("alarm") else "aws.sagemaker"
    if report.get("origin") is Origin.REQUEST:
        source = "operator"
    trigger = Trigger(source, HEALTH, f"event-{id_}", at, "Xid 79")
    key_ = known_as or NodeKey("ml-a", node.id)
    whole = Report(trigger, node, key_.cluster, cluster_is_hyperpod=True, **report)
    return Case(Message(id_, "{}", sent or max(at, NOW), receives), whole, key_, failure)


def request(at: datetime = NOW, **more: Any) -> Case:
    return case(at, origin=Origin.REQUEST, **more)


def letter(at: datetime = NOW, *, letter_id: str = "letter-1", **more: Any) -> Case:
    return case(at, origin=Origin.LETTER, letter_id=letter_id, **more)


def complaint(at: datetime = NOW, **more: Any) -> Complaint:
    """Return a complaint by HyperPod, or by the alarm in `more`."""
    alarm: Alarm | None = more.get("alarm")
    source = more.pop("source", alarm.source if alarm else "hyperpod")
    return Complaint(source, at, Trigger("aws.sagemaker", HEALTH, "event", at, "Xid 79"), **more)


def incident(state: State = State.OPEN, *complaints: Complaint, **more: Any) -> Incident:
    """Return an incident in a state that began now, with one complaint by HyperPod if none is given."""
    of = complaints or (complaint(),)
    first = min(each.made_at for each in of)
    usual = Incident("incident-1", state, instance(), first, of, NOW, NOW, until=hence(45))
    if state is State.CLAIMED:
        usual = replace(usual, lease_until=hence(1), due=hence(1))
    return replace(usual, **more)


def record(number: int = 1, **more: Any) -> NodeRecord:
    return replace(NodeRecord(key(number), version=1, node=instance(number)), **more)


def entry(id_: str = "entry-1", **more: Any) -> Entry:
    trigger = Trigger("aws.sagemaker", HEALTH, "event", NOW, "Xid 79")
    usual = Entry(id_, "incident-1", Outcome.FAILED, "ml-a", instance(), "Code", "words", trigger, NOW, NOW, True, True)
    return replace(usual, **more)


CLUSTER = ClusterFacts(nodes=100, automatic=False)
FACTS = Facts(mode=Modes("active"), cluster=CLUSTER)


def running(number: int = 1, **more: Any) -> NodeFacts:
    return NodeFacts(instance(number).id, None, "workers", "Running")._replace(**more)


def facts(
    nodes: Mapping[str, NodeFacts | Missing] | None = None,
    alarms: Mapping[str, AlarmState | Missing] | None = None,
    **more: Any,
) -> Facts:
    """Return the facts of a cluster in which nothing stands in the way; `alarms` are node 1's, `mode` may be text."""
    if isinstance(more.get("mode"), str):
        more["mode"] = read_modes(more["mode"], default="active")
    return replace(FACTS, nodes=nodes or {}, alarms={key().id: alarms or {}}, **more)


def scene(known: Facts = FACTS, *, now: datetime = NOW, settings: Settings = SETTINGS) -> Scene:
    return Scene(settings, now, now + 65 * SECOND, known)


def decided(
    *cases: Case,
    of: NodeRecord | None = None,
    budget: Budget | None = None,
    known: Facts = FACTS,
    now: datetime = NOW,
    settings: Settings = SETTINGS,
) -> Plan:
    """Return the decision about node 1, or about the record's node."""
    before = of or NodeRecord(cases[0].key if cases else key())
    book = Book().updated(before, budget or Budget(before.key.cluster))
    return decide(book, [(before.key,)], {before.key: cases}, scene(known, now=now, settings=settings))


def node_of(plan: Plan, number: int = 1) -> NodeRecord:
    """Return what a plan makes of a node's record."""
    (found,) = [each for each in plan.records if isinstance(each, NodeRecord) and each.key == key(number)]
    return found


def incident_of(plan: Plan) -> Incident:
    found = node_of(plan).incident
    assert found
    return found


def budget_of(plan: Plan) -> Budget:
    (found,) = [each for each in plan.records if isinstance(each, Budget)]
    return found


def outcomes(plan: Plan) -> list[tuple[str, str | None]]:
    return [(result.outcome.value, result.code) for result in plan.results]


def said(plan: Plan) -> list[tuple[str, str | None, bool, bool]]:
    """Return the unsent entries of all nodes: outcome, code, whether for the DLQ, whether for the topic."""
    nodes = [each for each in plan.records if isinstance(each, NodeRecord)]
    unsent = [each for node in nodes for each in node.outbox if each.unsent]
    return [(each.outcome.value, each.code, each.letter, each.topic) for each in unsent]


def written(book: Book, plan: Plan, scene_: Scene) -> Book:
    """Return the book after a plan was saved, as the ledger saves it."""
    now, settings = scene_.now, scene_.settings
    return book.updated(
        *(
            (
                each.pruned(now)
                if isinstance(each, NodeRecord)
                else each.pruned(now, window=settings.budget_window, cooldown=settings.cooldown)
            ).written()
            for each in plan.records
        )
    )


def narrowed(known: Facts, needs: Mapping[NodeKey, Needs], budget: Budget) -> Facts:
    """Return the part of the facts that is asked for."""
    named = bool(budget.logical_ids)
    judged = any(each.judged for each in needs.values())
    looked_at = any(each.looked_at for each in needs.values())
    cluster = known.cluster if judged or looked_at else None
    modes = known.mode if isinstance(known.mode, Modes) else Modes("active")
    by_group = any(modes.of_cluster(key.cluster, NOW) is None for key in needs)
    described = isinstance(cluster, ClusterFacts) and bool(cluster.protected_groups or cluster.continuous or by_group)
    nodes = {key.id for key, each in needs.items() if each.looked_at or (each.judged and (described or named))}
    nodes |= set(budget.logical_ids) if judged else set()
    return Facts(
        mode=known.mode if judged else None,
        cluster=cluster,
        nodes={id_: each for id_, each in known.nodes.items() if id_ in nodes},
        alarms={
            key.id: {source: state for source, state in known.alarms.get(key.id, {}).items() if source in each.alarms}
            for key, each in needs.items()
        },
    )


@dataclass
class History:
    """A cluster's book, on which decisions are made with the facts that they ask for."""

    settings: Settings = SETTINGS
    now: datetime = NOW
    book: Book = field(default_factory=Book)
    claims: list[Claim] = field(default_factory=list)

    def plan(self, groups: Sequence[Group], cases: Mapping[NodeKey, Sequence[Case]], known: Facts) -> Plan:
        """Return the decision, which is not yet saved."""
        return decide(self.book, groups, cases, self.scene(groups, cases, known))

    def scene(self, groups: Sequence[Group], cases: Mapping[NodeKey, Sequence[Case]], known: Facts) -> Scene:
        needs = {
            group[0]: needs_of(self.book.node(group[0]), cases.get(group[0], ()), self.settings, self.now)
            for group in groups
        }
        budget = self.book.budget(groups[0][0].cluster)
        return scene(narrowed(known, needs, budget), now=self.now, settings=self.settings)

    def save(self, plan: Plan) -> None:
        self.book = written(self.book, plan, scene(now=self.now, settings=self.settings))
        self.claims += plan.claims

    def answer(self, answers: Sequence[Answer], *, jitter: float = 0.0) -> Plan:
        """Record the answers to all claims."""
        plan = record_answers(
            self.book, self.claims, answers, scene(Facts(), now=self.now, settings=self.settings), jitter=jitter
        )
        self.claims = []
        self.save(plan)
        return plan
