"""Looks up what a report does not say by itself, and the facts that a decision needs. One object per invocation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from node_remediation import codes, events
from node_remediation.aws.alarms import Alarms
from node_remediation.aws.errors import CallError, LookupFailedError, Meaning
from node_remediation.aws.hyperpod import PAGE, HyperPod
from node_remediation.aws.mode import Mode
from node_remediation.events.alarm import children_of, find_in_series, read_described, refusal_text
from node_remediation.events.fields import Home, UnreadableEventError
from node_remediation.model import (
    INSTANCE_ID,
    Alarm,
    Case,
    ClusterFacts,
    Composite,
    Failure,
    IdKind,
    Message,
    Node,
    NodeFacts,
    NodeKey,
    NoReport,
    Outcome,
    Report,
    Trigger,
    bounded,
)
from node_remediation.policy.incidents import Needs
from node_remediation.policy.modes import Modes
from node_remediation.policy.record import GONE, Book, Budget, Facts, Missing, NodeRecord
from node_remediation.settings import Settings

CLUSTER_TAG = "hyperpod:cluster"
# Composite alarms of composite alarms: deeper than anyone nests them, and an end to a circle.
_DEEPEST = 5
# Cluster events of one batch that are asked for more than they said: it is for people to read.
_MOST_QUOTED = 20
# From this many nodes of a cluster on they are listed, not described one by one.
_LISTED_FROM = 11


class Stray(NamedTuple):
    """An event that reports no node, or whose cluster nobody can tell."""

    message: Message
    reading: NoReport


class Late(NamedTuple):
    """A report whose node's key is not known for a passing reason: its message comes again."""

    case: Case
    failure: Failure


@dataclass(slots=True)
class Resolved:
    """Holds what the messages of a batch report."""

    cases: list[Case] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Edges:
    """The services that are asked."""

    hyperpod: HyperPod
    alarms: Alarms
    mode: Mode


class Lookups:
    """Asks each thing at most once per invocation; nothing is asked once `may_call` says no.

    `may_resolve` says no earlier: what reports do not say by themselves must leave time for the rest of the batch.
    """

    def __init__(
        self,
        edges: Edges,
        settings: Settings,
        home: Home,
        *,
        may_call: Callable[[], bool],
        may_resolve: Callable[[], bool],
    ) -> None:
        self._edges = edges
        self._settings = settings
        self._home = home
        self._may_call = may_call
        self._may_resolve = may_resolve
        self._quoted = 0
        self._mode: Modes | Missing | None = None
        self._clusters: dict[str, ClusterFacts | Missing] = {}
        self._nodes: dict[NodeKey, NodeFacts | Missing] = {}

    # -- from messages to cases

    def resolve(self, messages: Sequence[Message]) -> Resolved:
        """Read messages into cases. Reports that need no look-up go first, so that no other can make them late."""
        resolved, slow = Resolved(), []
        for message in messages:
            for reading in self._read(message):
                if isinstance(reading, NoReport):
                    resolved.strays.append(Stray(message, reading))
                elif isinstance(reading, Report) and _is_complete(reading):
                    resolved.cases.append(Case(message, reading, NodeKey(reading.cluster or "", reading.node.id)))
                else:
                    slow.append((message, reading))
        for message, reading in slow:
            for report in self._reports(message, reading, resolved):
                self._complete(message, report, resolved)
        return resolved

    def _read(self, message: Message) -> list[Report | Composite | NoReport]:
        try:
            readings = events.read(message.body, message_id=message.id, sent=message.sent, home=self._home)
        except UnreadableEventError as error:
            trigger = Trigger("", "", message.id, message.sent)
            return [NoReport(trigger, Outcome.UNREADABLE, str(error), codes.UNREADABLE)]
        return [self._without_idle(reading) for reading in readings]

    def _without_idle(self, reading: Report | Composite | NoReport) -> Report | Composite | NoReport:
        """Leave out alarms that a topic or a direct action brings although the settings do not name them, and those
        that are muted without a known end: nothing says when to look again."""
        if (
            isinstance(reading, NoReport)
            or reading.alarm is None
            or (isinstance(reading, Report) and reading.on_demand)
        ):
            return reading
        if not self._settings.watches(reading.alarm.name):
            reason = f"alarm {reading.alarm.name} matches none of the setting alarm_name_prefixes"
            return NoReport(reading.trigger, Outcome.IGNORED, reason, alarm=reading.alarm)
        if reading.muted and not reading.muted_until and not reading.healthy:
            report = reading if isinstance(reading, Report) else None
            cluster = report.cluster if report and report.cluster_is_hyperpod else None
            node = report.node if report else None
            return NoReport(
                reading.trigger, Outcome.DEFERRED, reading.muted, cluster=cluster, alarm=reading.alarm, node=node
            )
        return reading

    def _reports(self, message: Message, reading: Report | Composite, resolved: Resolved) -> list[Report]:
        """Return the reports of a composite alarm's children; any other reading is its own."""
        if isinstance(reading, Report):
            return [reading]
        try:
            self._check_time()
            found = self._children(reading, message.sent)
        except LookupFailedError as error:
            self._alarm_unknown(message, reading, error.error, resolved)
            return []
        resolved.strays += [Stray(message, each) for each in found if isinstance(each, NoReport)]
        return [each for each in found if isinstance(each, Report)]

    def _alarm_unknown(self, message: Message, reading: Composite, error: CallError, resolved: Resolved) -> None:
        if error.passing:
            resolved.late.append(Late(nobody(message, reading), Failure(error.code, error.message)))
            return
        outcome = Outcome.CLEARED if reading.healthy else Outcome.FAILED
        outcome = Outcome.DEFERRED if reading.muted else outcome
        stray = NoReport(reading.trigger, outcome, error.message, error.code, alarm=reading.alarm)
        resolved.strays.append(Stray(message, stray))

    def _complete(self, message: Message, report: Report, resolved: Resolved) -> None:
        """Find a report's cluster and its node's key."""
        case = Case(message, report, NodeKey(report.cluster or "", report.node.id))
        try:
            cluster = self._cluster(report)
            if cluster is None or self._home.is_foreign_arn(cluster):
                resolved.strays.append(Stray(message, _without_cluster(report, self._home if cluster else None)))
                return
            case = replace(case, key=NodeKey(cluster, report.node.id))
            case = replace(case, key=self._key(cluster, report.node))
        except LookupFailedError as error:
            failure = Failure(error.error.code, error.error.message)
            if error.error.passing:
                resolved.late.append(Late(case, failure))
                return
            case = replace(case, failure=failure)
        resolved.cases.append(self._with_failure_message(case))

    def _with_failure_message(self, case: Case) -> Case:
        """Add what HyperPod itself says of a failure to the reason that people read; the event need not carry it."""
        report, trigger = case.report, case.report.trigger
        if report.cluster_event is None or self._quoted >= _MOST_QUOTED or not self._may_resolve():
            return case
        self._quoted += 1
        message = self._edges.hyperpod.failure_message(case.key.cluster, report.cluster_event)
        reason = bounded(f"{trigger.reason} ({message})") if message else trigger.reason
        return replace(case, report=replace(report, trigger=replace(trigger, reason=reason)))

    def _cluster(self, report: Report) -> str | None:
        """Return the HyperPod name of a report's cluster; None where nothing names one."""
        if report.cluster and report.cluster_is_hyperpod:
            return report.cluster
        if report.cluster:
            return self._edges.hyperpod.name(report.cluster, may_call=self._may_resolve)
        tagged = self._tagged_cluster(report.alarm)
        if tagged and not self._home.is_foreign_arn(tagged):
            return self._edges.hyperpod.name(tagged, may_call=self._may_resolve)
        return tagged or self._settings.default_cluster or self._settings.only_cluster

    def _tagged_cluster(self, alarm: Alarm | None) -> str | None:
        if alarm is None:
            return None
        if alarm.tags is not None:
            return dict(alarm.tags).get(CLUSTER_TAG)
        if alarm.arn is None:
            return None
        self._check_time()
        return self._edges.alarms.tags(alarm.arn).get(CLUSTER_TAG)

    def _key(self, cluster: str, node: Node) -> NodeKey:
        """Return the node's instance ID as its key; its logical ID where SageMaker knows no instance behind it."""
        if node.kind is IdKind.NODE_ID or not node.well_formed or not self._settings.allows(cluster):
            return NodeKey(cluster, node.id)
        self._check_time()
        facts = self._edges.hyperpod.node(cluster, node, may_call=self._may_resolve)
        key = NodeKey(cluster, facts.instance_id or node.id)
        if facts != GONE:
            self._nodes[key] = facts
        return key

    def _check_time(self) -> None:
        if not self._may_resolve():
            late = CallError(Meaning.NOT_SENT, codes.DEADLINE_EXCEEDED, "there was no time left to look it up")
            raise LookupFailedError(late)

    # -- composite alarms

    def _children(self, composite: Composite, sent: datetime) -> list[Report | NoReport]:
        """Return the reports that a composite alarm makes of its children.

        A child whose own state agrees with the parent's complains or withdraws itself. Where none agrees, as with
        `NOT ALARM(x)`, the children only name the nodes, and the parent complains.
        """
        state = "OK" if composite.healthy else "ALARM"
        alarms = self._metric_alarms(composite.children)
        agreeing = [alarm for alarm in alarms if _state_at(alarm, sent) == state]
        found = [_of_child(composite, alarm, agrees=bool(agreeing)) for alarm in agreeing or alarms]
        if found:
            return found
        reason = f"none of the alarms that set off composite alarm {composite.alarm.name} is a metric alarm"
        outcome, code = Outcome.REFUSED, codes.NODE_NOT_RESOLVED
        if composite.muted or composite.healthy:
            outcome = Outcome.DEFERRED if composite.muted else Outcome.IGNORED
        return [NoReport(composite.trigger, outcome, reason, code, alarm=composite.alarm)]

    def _metric_alarms(self, arns: tuple[str, ...]) -> list[Mapping[str, Any]]:
        """Return the metric alarms behind a composite alarm's children, through composite alarms among them."""
        found: dict[str, Mapping[str, Any]] = {}
        seen: set[str] = set()
        for _ in range(_DEEPEST):
            names = list(dict.fromkeys(arn.split(":alarm:", 1)[-1] for arn in arns if arn not in seen))
            if not names:
                break
            seen.update(arns)
            described = self._edges.alarms.describe(names)
            found |= {alarm["AlarmName"]: alarm for alarm in described if "AlarmRule" not in alarm}
            arns = tuple(
                arn for alarm in described if "AlarmRule" in alarm for arn in children_of(alarm.get("StateReasonData"))
            )
        return list(found.values())

    # -- keys that the budget makes doubtful

    def groups(self, cases: Iterable[Case], book: Book) -> dict[NodeKey, tuple[NodeKey, ...]]:
        """Return by each case's key the keys that its node may have in the ledger, the one to use first.

        While a logical ID of the cluster was claimed within the cooldown, a report by instance ID may be of that node.
        """
        keys = dict.fromkeys(case.key for case in cases if not case.failure)
        doubtful = [key for key in keys if book.budget(key.cluster).logical_ids and self._settings.allows(key.cluster)]
        for cluster in dict.fromkeys(key.cluster for key in doubtful):
            of_cluster = [key for key in doubtful if key.cluster == cluster and not self._logical_id(book.node(key))]
            asked = {key: Node(IdKind.NODE_ID, key.id) for key in of_cluster if INSTANCE_ID.fullmatch(key.id)}
            self._learn_nodes(cluster, {key: node for key, node in asked.items() if key not in self._nodes})
        return {key: self._keys(key, book) for key in doubtful}

    def _logical_id(self, record: NodeRecord) -> str | None:
        return record.logical_id or self._edges.hyperpod.logical_id(*record.key)

    def _keys(self, key: NodeKey, book: Book) -> tuple[NodeKey, ...]:
        logical, budget = self._logical_id(book.node(key)), book.budget(key.cluster)
        if logical and logical in budget.logical_ids and logical != key.id:
            return (key, NodeKey(key.cluster, logical))
        return (key,)

    def group_of_record(self, record: NodeRecord) -> tuple[NodeKey, ...]:
        """Return the keys of a node, its own alone if its instance cannot be looked up now."""
        try:
            return self.keys_of(record)
        except LookupFailedError:
            return (record.key,)

    def keys_of(self, record: NodeRecord) -> tuple[NodeKey, ...]:
        """Return the keys of a node that is kept under its logical ID, once its instance is known.

        Raises LookupFailedError.
        """
        key, node = record.key, record.node
        if node is None or node.kind is not IdKind.LOGICAL_ID or INSTANCE_ID.fullmatch(key.id) or not node.well_formed:
            return (key,)
        found = self._key(key.cluster, node)
        return (key,) if found == key else (found, key)

    # -- facts

    def facts(
        self, cluster: str, records: Mapping[NodeKey, tuple[NodeRecord, Needs]], budget: Budget, now: datetime
    ) -> Facts:
        """Return the facts of one cluster that its nodes' decisions need; what cannot be had is Missing."""
        needs = [each for _, each in records.values()]
        judged, looked_at = any(each.judged for each in needs), any(each.looked_at for each in needs)
        mode = self._ask_mode(cluster, now, fresh=any(each.on_demand for each in needs)) if judged else None
        facts = self._ask_cluster(cluster) if looked_at or (judged and self._settings.allows(cluster)) else None
        by_group = isinstance(mode, Modes) and mode.of_cluster(cluster, now) is None
        by_group = by_group or self._settings.by_group or self._settings.replaces
        grouped = isinstance(facts, ClusterFacts) and (facts.protected_groups or by_group)
        named = (isinstance(facts, ClusterFacts) and facts.continuous) or budget.logical_ids
        asked = {
            key: _asked_as(record)
            for key, (record, each) in records.items()
            if each.looked_at or (each.judged and (grouped or (named and not self._logical_id(record))))
        }
        asked = {key: node for key, node in asked.items() if key not in self._nodes}
        unlisted = [NodeKey(cluster, id_) for id_ in budget.logical_ids if judged and INSTANCE_ID.fullmatch(id_)]
        asked |= {key: Node(IdKind.NODE_ID, key.id) for key in unlisted if key not in self._nodes}
        self._learn_nodes(cluster, asked)
        nodes = {key.id: self._nodes[key] for key in (*records, *unlisted) if key in self._nodes}
        names = {key.id: name for key, (record, _) in records.items() if (name := self._logical_id(record))}
        return Facts(mode=mode, cluster=facts, nodes=nodes, logical_ids=names, alarms=self._alarm_states(records))

    def _ask_mode(self, cluster: str, now: datetime, *, fresh: bool) -> Modes | Missing | None:
        """Ask for the mode; with `fresh`, a pause of the cluster that is remembered is read again."""
        if not self._may_call():
            return None
        try:
            if self._mode is None:
                self._mode = self._edges.mode.get()
            if fresh and isinstance(self._mode, Modes) and self._mode.may_pause(cluster, now):
                self._mode = self._edges.mode.get(fresh=True)
        except LookupFailedError as error:
            self._mode = _missing(error)
        return self._mode

    def _ask_cluster(self, cluster: str) -> ClusterFacts | Missing | None:
        if not self._may_call() and cluster not in self._clusters:
            return None
        if cluster not in self._clusters:
            try:
                self._clusters[cluster] = self._edges.hyperpod.cluster(cluster)
            except LookupFailedError as error:
                self._clusters[cluster] = _missing(error)
        return self._clusters[cluster]

    def _learn_nodes(self, cluster: str, asked: Mapping[NodeKey, Node]) -> None:
        """Ask for nodes one by one, or list the cluster's where they are many, or where that takes no more calls."""
        facts = self._ask_cluster(cluster) if len(asked) > 1 else None
        pages = -(-facts.nodes // PAGE) if isinstance(facts, ClusterFacts) else _LISTED_FROM
        if len(asked) > 1 and len(asked) >= min(pages, _LISTED_FROM) and self._may_call():
            try:
                listed = self._edges.hyperpod.nodes(cluster, may_call=self._may_call)
            except LookupFailedError as error:
                self._nodes |= dict.fromkeys(asked, _missing(error))
                return
            by_id = {id_: each for each in listed for id_ in (each.instance_id, each.logical_id) if id_}
            self._nodes |= {key: by_id.get(node.id, GONE) for key, node in asked.items()}
            return
        for key, node in asked.items():
            if not self._may_call():
                return
            try:
                self._nodes[key] = self._edges.hyperpod.node(cluster, node, may_call=self._may_call)
            except LookupFailedError as error:
                self._nodes[key] = _missing(error)

    def _alarm_states(self, records: Mapping[NodeKey, tuple[NodeRecord, Needs]]) -> dict[str, dict[str, Any]]:
        """Ask for all alarms of all nodes at once: DescribeAlarms takes a hundred names."""
        asked = {
            (key.id, source): (alarm, frozenset(_ids(record)))
            for key, (record, needs) in records.items()
            for source, alarm in needs.alarms.items()
        }
        if not asked or not self._may_call():
            return {}
        places = list(asked)
        states = self._edges.alarms.states({str(place): asked[each] for place, each in enumerate(places)})
        found: dict[str, dict[str, Any]] = {}
        for place, (node, source) in enumerate(places):
            if str(place) in states:
                found.setdefault(node, {})[source] = states[str(place)]
        return found


def nobody(message: Message, reading: Composite | None = None) -> Case:
    """Return the case of a message or a composite alarm whose nodes are not known."""
    trigger = reading.trigger if reading else Trigger("", "", message.id, message.sent)
    report = Report(trigger, Node(IdKind.NODE_ID, ""))
    if reading:
        report = replace(report, alarm=reading.alarm, healthy=reading.healthy, muted=reading.muted)
    return Case(message, report, NodeKey("", ""))


def _is_complete(report: Report) -> bool:
    """Tell whether a report names its cluster and node so that nothing has to be looked up."""
    if report.answer:
        return True  # the ledger knows the incident's node
    known = report.cluster_is_hyperpod and bool(report.cluster) and report.cluster_event is None
    return known and (report.node.kind is IdKind.NODE_ID or not report.node.well_formed)


def _state_at(alarm: Mapping[str, Any], time: datetime) -> str:
    """Return the state that an alarm had then, as far as it is known: one that has changed since had another."""
    changed = alarm.get("StateTransitionedTimestamp")
    has_changed = isinstance(changed, datetime) and changed > time
    return "changed since" if has_changed else str(alarm.get("StateValue"))


def _of_child(composite: Composite, alarm: Mapping[str, Any], *, agrees: bool) -> Report | NoReport:
    name = alarm["AlarmName"]
    trigger = replace(composite.trigger, reason=f"{composite.trigger.reason} (through alarm {name})")
    found = find_in_series(read_described(alarm))
    if isinstance(found, str):
        outcome = Outcome.IGNORED if composite.healthy else Outcome.REFUSED
        outcome = Outcome.DEFERRED if composite.muted else outcome
        return NoReport(trigger, outcome, refusal_text(name, found), found, alarm=composite.alarm)
    node, cluster = found
    return Report(
        trigger=trigger,
        node=node,
        cluster=cluster.name,
        cluster_is_hyperpod=cluster.hyperpod,
        healthy=composite.healthy,
        muted=composite.muted,
        muted_until=composite.muted_until,
        replay=composite.replay,
        alarm=Alarm(name, alarm.get("AlarmArn")) if agrees else composite.alarm,
    )


def _without_cluster(report: Report, home: Home | None) -> NoReport:
    """Return why no cluster here can be acted on; `home` is given where the alarm's tag names one of elsewhere."""
    reason, code = (
        "the report names no cluster, and neither the alarm's tag hyperpod:cluster nor the settings default_cluster "
        "or clusters name one",
        codes.CLUSTER_NOT_RESOLVED,
    )
    if home:
        reason = f"the alarm's tag names a cluster elsewhere; this system acts in {home.account}, {home.region} only"
        code = codes.FOREIGN_EVENT
    outcome = report.outcome_without_node or Outcome.REFUSED
    return NoReport(report.trigger, outcome, reason, code, alarm=report.alarm)


def _missing(error: LookupFailedError) -> Missing:
    return Missing(error.error.code, error.error.message, final=not error.error.passing)


def _asked_as(record: NodeRecord) -> Node:
    """Return the ID to ask for a node by: its logical ID tells whether it still has the same instance."""
    node = record.incident.node if record.incident else record.node
    if node and node.kind is IdKind.LOGICAL_ID:
        return node
    return Node(IdKind.NODE_ID, record.key.id)


def _ids(record: NodeRecord) -> Iterable[str]:
    node = record.incident.node if record.incident else record.node
    return (id_ for id_ in (record.key.id, record.logical_id, node.id if node else None) if id_)
