"""The decision about a cluster's nodes: each node's incident after new reports and the passing of time. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from node_remediation import codes
from node_remediation.model import Alarm, Case, Change, NodeFacts, NodeKey, Outcome, Progress
from node_remediation.policy.draft import Draft, Plan, Scene, is_waiting_state, plan_of
from node_remediation.policy.guards import announced_repair
from node_remediation.policy.judging import judge_incident, started
from node_remediation.policy.looking import look
from node_remediation.policy.record import GONE, Book, Complaint, Incident, NodeRecord, Past, Sign, State
from node_remediation.policy.reports import ask, complaint_of, follow, hear, reply, withdraw
from node_remediation.settings import Settings

# The keys of one node: the one that it is known by, then others that it was known by before.
Group = tuple[NodeKey, ...]

LOST_ANSWER = (
    "the function ended before it could record SageMaker's answer to the reboot call; the node may be rebooting"
)
LOST_REPLACEMENT = (
    "the function ended before it could record SageMaker's answer to the replace call; the node may be being replaced"
)


def decide(book: Book, groups: Sequence[Group], cases: Mapping[NodeKey, Sequence[Case]], scene: Scene) -> Plan:
    """Decide about nodes of one cluster, the node with the oldest complaint first, as they share one budget."""
    cluster = groups[0][0].cluster
    budget, drafts, emptied = book.budget(cluster), [], []
    for group in sorted(groups, key=lambda group: oldest_complaint(book, group, cases)):
        record, others = united(book, group, scene.now)
        incidents = [each for key in (group[0], *(other.key for other in others)) if (each := book.node(key).incident)]
        draft = Draft(scene, record, budget, {each.id: each.state for each in incidents})
        _end_joined(draft, incidents)
        _handle(draft, cases.get(group[0], ()))
        budget = draft.budget
        drafts.append(draft)
        emptied += others
    plan = plan_of(drafts, [book.node(group[0]) for group in groups] + [book.budget(cluster)], budget)
    return replace(plan, records=(*plan.records, *emptied))


def _end_joined(draft: Draft, incidents: Iterable[Incident]) -> None:
    """Log the end of an incident that turned out to be of the same node as another."""
    for each in incidents:
        if each.id != draft.incident.id:
            key, reason = draft.record.key, f"the node has another incident: {draft.incident.id}"
            change = Change(each.id, key.cluster, each.node.id, Outcome.DUPLICATE.value, reason, counted=False)
            draft.changes.append(change)
            draft.ended.append((each, change))


def oldest_complaint(book: Book, group: Group, cases: Mapping[NodeKey, Sequence[Case]]) -> datetime:
    """Return when a node was first complained of, in its incident or in new reports; the last of times if never."""
    times = [case.report.trigger.time for case in cases.get(group[0], ()) if case.report.complains]
    times += [record.incident.opened_at for key in group if (record := book.node(key)).incident]
    return min(times, default=datetime.max.replace(tzinfo=UTC))


def united(book: Book, group: Group, now: datetime) -> tuple[NodeRecord, list[NodeRecord]]:
    """Return a node's record with all that its other keys know, and those other records, emptied, if they had any.

    The state that is first in State wins with its incident; of two claims, the later lease. The other's complaints
    join it. A key under which a reboot call is being made stays as it is: the call's answer is written there.
    """
    record, emptied = book.node(group[0]), []
    for key in group[1:]:
        other = book.node(key)
        if other.incident and other.incident.state is State.CLAIMED and not has_lapsed(other.incident, now):
            continue
        empty = NodeRecord(key, version=other.version, node=other.node)
        if other.version and replace(other, history=()) != empty:
            record = _with_other(record, other)
            emptied.append(empty)
    return record, emptied


def _with_other(record: NodeRecord, other: NodeRecord) -> NodeRecord:
    signs = dict(record.signs)
    for source, sign in other.signs.items():
        signs[source] = _later_sign(signs.get(source, Sign()), sign)
    if other.advice:
        record = record.advised(other.advice)
    incident = _one_incident([each for each in (record.incident, other.incident) if each], signs)
    return replace(
        record,
        node=record.node or other.node,
        logical_id=record.logical_id or other.logical_id,
        group=record.group or other.group,
        incident=incident,
        outbox=(*record.outbox, *other.outbox),
        events=(*record.events, *other.events),
        reboots=tuple(sorted({*record.reboots, *other.reboots})),
        replacements=tuple(sorted({*record.replacements, *other.replacements})),
        last_claim=max((each for each in (record.last_claim, other.last_claim) if each), default=None),
        signs=signs,
        told={code: max(record.told.get(code, time), time) for code, time in other.told.items()}
        | {code: time for code, time in record.told.items() if code not in other.told},
        handled={**other.handled, **record.handled},
        history=tuple(sorted((*other.history, *record.history))),
        past=_one_past(record, other, incident),
    )


def _one_past(record: NodeRecord, other: NodeRecord, incident: Incident | None) -> tuple[Past, ...]:
    """Return the incidents that count of both, less one that joins the other's: it is none of its own any more."""
    joined = {each.incident.id for each in (record, other) if each.incident} - {incident.id if incident else ""}
    past = {each.incident: each for each in (*other.past, *record.past) if each.incident not in joined}
    return tuple(sorted(past.values(), key=lambda each: each.at))


def _one_incident(incidents: Sequence[Incident], signs: Mapping[str, Sign]) -> Incident | None:
    """Return the incident that wins, with the other's complaints, less those that their sources have withdrawn."""
    if not incidents:
        return None
    order = list(State)
    incident, *others = sorted(
        incidents, key=lambda each: (order.index(each.state), -(each.lease_until or each.since).timestamp())
    )
    for other in others:
        repair_at = other.since if other.state is State.REPAIRING else other.repair_at
        for complaint in other.complaints:
            incident = incident.with_complaint(complaint)
        incident = replace(
            incident,
            told=incident.told or other.told,
            dropped=incident.dropped or other.dropped,
            repair_at=incident.repair_at or repair_at,
        )
    for complaint in incident.standing:
        healthy_at = signs[complaint.source].healthy_at if complaint.source in signs else None
        if healthy_at and healthy_at >= complaint.made_at:
            incident = incident.with_complaint(replace(complaint, withdrawn_at=healthy_at))
    return incident


def _later_sign(one: Sign, other: Sign) -> Sign:
    def later(first: datetime | None, second: datetime | None) -> datetime | None:
        return max((each for each in (first, second) if each), default=None)

    return Sign(later(one.healthy_at, other.healthy_at), later(one.unhealthy_at, other.unhealthy_at))


def _handle(draft: Draft, cases: Sequence[Case]) -> None:
    """Take in the reports about a node, oldest first, and an ended lease; then judge the node or look at it."""
    if draft.record.put_off:
        draft.record = replace(draft.record, put_off=0, put_off_until=None)
    draft.take_overdue()
    _learn(draft, cases)
    lapse(draft)
    events = [case for case in cases if not case.report.on_demand]
    for case in sorted(events, key=_turns(events)):
        if case.report.progress:
            follow(draft, case)
        elif case.report.answer:
            reply(draft, case)
        else:
            withdraw(draft, case) if case.report.healthy else hear(draft, case)
    for case in cases:
        if case.report.on_demand:
            ask(draft, case)
    advance(draft)
    _drop_old_proposals(draft)


def _turns(cases: Sequence[Case]) -> Callable[[Case], tuple[datetime, bool, bool]]:
    """Return the order of events: by time, healthy after unhealthy. A word about a reboot comes after all health."""
    well_at = [case.report.trigger.time for case in cases if case.report.healthy]

    def turn(case: Case) -> tuple[datetime, bool, bool]:
        time, progress = case.report.trigger.time, case.report.progress is not None
        return max((time, *well_at)) if progress else time, progress, case.report.healthy

    return turn


def _drop_old_proposals(draft: Draft) -> None:
    """Leave a proposal untold that waits for no answer any more; what became of it is told."""
    incident = draft.record.incident
    asked = incident.id if incident and incident.state is State.PROPOSED and not incident.approved else None
    outbox = (each for each in draft.record.outbox if each.outcome is not Outcome.PROPOSED or each.incident == asked)
    draft.record = replace(draft.record, outbox=tuple(outbox))


def _learn(draft: Draft, cases: Sequence[Case]) -> None:
    """Keep the ID that the node was first reported by, and its logical ID and instance group where SageMaker told."""
    record, scene = draft.record, draft.scene
    group = record.group
    facts, logical = scene.facts.nodes.get(record.key.id), scene.facts.logical_ids.get(record.key.id)
    node = record.node or next((case.report.node for case in cases if _is_of_node(case)), None)
    if isinstance(facts, NodeFacts) and facts != GONE:
        logical, group = facts.logical_id or logical, facts.group or group
    draft.record = replace(record, node=node, logical_id=logical or record.logical_id, group=group)


def _is_of_node(case: Case) -> bool:
    return case.report.complains or case.report.healthy


def lapse(draft: Draft) -> None:
    """Count a claim whose lease ended without an answer as a call with unknown outcome, and tell people."""
    incident = draft.record.incident
    if incident is None or incident.state is not State.CLAIMED or not has_lapsed(incident, draft.now):
        return
    lost = LOST_REPLACEMENT if incident.replacing else LOST_ANSWER
    started(draft, lost, code=codes.OUTCOME_UNKNOWN)
    draft.say(Outcome.FAILED, lost, code=codes.OUTCOME_UNKNOWN, letter=True, topic=True)
    draft.look = incident.repair_at is not None or not incident.standing  # reported during the call


def has_lapsed(incident: Incident, now: datetime) -> bool:
    """Tell whether a claim's lease is over."""
    return incident.lease_until is None or incident.lease_until <= now


def advance(draft: Draft) -> None:
    """Judge the incident or look at the node, if a report asks for it or the incident is due."""
    incident = draft.record.incident
    if incident is None or incident.state is State.CLAIMED:
        return
    if draft.speaker is None and not draft.look and incident.due > draft.now:
        return  # nothing new, and its time has not come
    if is_waiting_state(incident.state):
        judge_incident(draft)
    else:
        look(draft)


@dataclass(frozen=True, slots=True)
class Needs:
    """The facts that are needed: mode and cluster to judge, the node's status to look, its alarms by source.

    `on_demand` marks a judgement that a person asked for, or an answer to a proposal: a remembered pause is then read
    again.
    """

    judged: bool = False
    looked_at: bool = False
    on_demand: bool = False
    alarms: Mapping[str, Alarm] = field(default_factory=dict)


def needs_of(record: NodeRecord, cases: Sequence[Case], settings: Settings, now: datetime) -> Needs:
    """Return what to look up before deciding about a node.

    A decision that needs more after all, because the record changed meanwhile, waits for it.
    """
    incident = record.incident
    unhealthy = [case for case in cases if case.report.complains and not case.failure]
    complaints = [complaint_of(case) for case in unhealthy]
    answered = any(case.report.answer for case in cases)
    on_demand = answered or any(case.report.on_demand for case in unhealthy)
    if incident is None or (incident.state is State.CLAIMED and not has_lapsed(incident, now)):
        muted = any(case.report.muted for case in unhealthy)  # the window may be over
        return Needs(judged=bool(unhealthy), on_demand=on_demand, alarms=_alarms_of(complaints) if muted else {})
    after_reboot = not is_waiting_state(incident.state)
    due = incident.due <= now
    withdrawn = after_reboot and any(case.report.healthy for case in cases)
    cooled_down = incident.since + settings.cooldown <= now
    repair = announced_repair(complaints) is not None
    judged = bool(unhealthy) and (not after_reboot or cooled_down or repair or on_demand)
    judged = judged or (withdrawn and cooled_down) or due or answered
    judged = judged or any(case.report.progress is Progress.FAILED for case in cases)
    if not (withdrawn or judged):
        return Needs()
    by_logical_id = incident.node.id != record.key.id  # which may belong to another instance by now
    return Needs(
        judged=judged,
        looked_at=(after_reboot and due) or by_logical_id,
        on_demand=on_demand,
        alarms=_alarms_of([*(incident.complaints if after_reboot else incident.standing), *complaints]),
    )


def _alarms_of(complaints: Sequence[Complaint]) -> dict[str, Alarm]:
    return {each.source: each.alarm for each in complaints if each.alarm and each.alarm.can_be_asked}
