"""A decision about one node in the making, and the plan that the decisions of a batch add up to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from node_remediation.model import (
    Alarm,
    AlarmState,
    Case,
    Change,
    ClusterFacts,
    Failure,
    Node,
    NodeKey,
    Outcome,
    Result,
    Trigger,
    bounded,
)
from node_remediation.policy.modes import ModeEntry, Modes
from node_remediation.policy.record import (
    LONGEST_REASON,
    MOST_TOLD_REBOOTS,
    RECURRENCES,
    Budget,
    Entry,
    Facts,
    Incident,
    Missing,
    NodeRecord,
    Past,
    Record,
    State,
    StateEvent,
    derived_id,
)
from node_remediation.settings import Settings

# How long a redriven node's letter stays invisible: a move task that is still running must not chase it.
REDRIVEN_DELAY = 900  # seconds, the most that SQS takes
# The wait before a fact is looked up again, doubling up to the second.
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)
# A line of history that begins so, and goes on with an incident's ID, is the first of that incident's lines.
OPENED = "opened as "


@dataclass(frozen=True, slots=True)
class Scene:
    """The circumstances of a decision: settings, time, facts, and how long this invocation may hold what it claims."""

    settings: Settings
    now: datetime
    lease_until: datetime
    facts: Facts


@dataclass(frozen=True, slots=True)
class Claim:
    """A node that was claimed for a call that reboots it or, with `replacing`, replaces it.

    `case` is the report that is answered with the call's outcome.
    """

    key: NodeKey
    node: Node
    case: Case | None
    replacing: bool = False


@dataclass(frozen=True, slots=True)
class HandedBack:
    """A message that must come again, with why."""

    case: Case
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of a decision: records to write, nodes to reboot, lines to log, and entries to send.

    `fresh` has the IDs of the outbox entries and state events that this invocation sends.
    """

    records: tuple[Record, ...] = ()
    claims: tuple[Claim, ...] = ()
    results: tuple[Result, ...] = ()
    changes: tuple[Change, ...] = ()
    handed_back: tuple[HandedBack, ...] = ()
    fresh: frozenset[str] = frozenset()


@dataclass(slots=True)
class Draft:
    """One node's decision while it is made. Only the draft changes: records and budgets are values.

    `states` has the states of the node's incidents in the ledger, by ID. `speaker` is the report whose outcome is the
    outcome of the node's judgement. `look` asks for a look before its time. `ended` has the incidents that ended, as
    they were before, each with its end.
    """

    scene: Scene
    record: NodeRecord
    budget: Budget
    states: Mapping[str, State]
    speaker: Case | None = None
    opened: bool = False
    look: bool = False
    claim: Claim | None = None
    results: list[Result] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    ended: list[tuple[Incident, Change]] = field(default_factory=list)
    handed_back: list[HandedBack] = field(default_factory=list)
    fresh: set[str] = field(default_factory=set)

    @property
    def now(self) -> datetime:
        return self.scene.now

    @property
    def alarms(self) -> Mapping[str, AlarmState | Missing]:
        """The states of the node's alarms, by the complaint's source."""
        return self.scene.facts.alarms.get(self.record.key.id, {})

    @property
    def incident(self) -> Incident:
        """The node's incident. Only for code that knows that there is one."""
        assert self.record.incident  # noqa: S101
        return self.record.incident

    def keep(self, incident: Incident | None) -> None:
        """Put an incident in place of the record's."""
        self.record = replace(self.record, incident=incident)

    def move(self, incident: Incident, reason: str, *, code: str | None = None, seconds: float | None = None) -> None:
        """Put an incident that changed its state in place of the record's, with a line for log and history."""
        self.keep(incident)
        self._change(incident, incident.state.value, reason, code, seconds, counted=self.speaker is None)
        if incident.state in (State.REBOOTED, State.REPLACED, State.REPAIRING):
            self._remember(incident.state.value, code, incident.since, counts=True)

    def end(self, end: Outcome, reason: str, *, code: str | None = None, seconds: float | None = None) -> None:
        """End the incident, with a line for log and history."""
        self._change(self.incident, end.value, reason, code, seconds, counted=self.speaker is None)
        self.ended.append((self.incident, self.changes[-1]))
        self._remember(end.value, code, self.now, counts=end is not Outcome.CLEARED)
        self.keep(None)

    def _change(
        self, incident: Incident, state: str, reason: str, code: str | None, seconds: float | None, *, counted: bool
    ) -> None:
        key = self.record.key
        change = Change(incident.id, key.cluster, incident.node.id, state, reason, code, seconds, counted)
        self.changes.append(change)
        self.note(f"{state}: {f'{code}: ' if code else ''}{reason}")

    def put_events(self) -> None:
        """Add what the decision changed to the events for the bus: each end, and the state that the incident has now.

        States in between are left out: the ledger never has them.
        """
        incident, changes = self.record.incident, list(self.ended)
        if incident and incident.state is not self.states.get(incident.id):
            of_state = (each for each in self.changes if (each.incident, each.state) == (incident.id, incident.state))
            change = next(of_state, Change(incident.id, "", "", incident.state, incident.note))
            changes.append((incident, change))
        new = [self._event(of, change, ended=number < len(self.ended)) for number, (of, change) in enumerate(changes)]
        self.fresh |= {event.id for event in new}
        self.record = replace(self.record, events=(*self.record.events, *new))

    def _event(self, incident: Incident, change: Change, *, ended: bool) -> StateEvent:
        return StateEvent(
            id=derived_id(incident.id, change.state, self.now),
            incident=incident.id,
            state=change.state,
            previous=self.states.get(incident.id),
            ended=ended,
            node=incident.node,
            opened_at=incident.opened_at,
            at=self.now,
            due=self.scene.lease_until,
            code=change.code,
            reason=bounded(change.reason, LONGEST_REASON),
        )

    def note(self, text: str) -> None:
        """Add a line to the node's history."""
        self.record = self.record.noted(self.now, text)

    def _remember(self, state: str, code: str | None, at: datetime, *, counts: bool) -> None:
        """Count the incident once something was done or decided, and continue its story; tell people of the third.

        It is a part of the one before if it counts less than a cooldown after that, as when an alarm bounces, or if it
        was complained of before that, as in a redriven letter.
        """
        incident, about, past = self.incident, self.incident.about, self.record.past
        last = past[-1] if past else None
        if about is None or not (counts or (last and last.incident == incident.id)):
            return
        same_day = at.date() == (last.at if last and last.incident == incident.id else incident.opened_at).date()
        step = f"{at:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} {state.replace('_', ' ')}"
        coded = f"{step} ({code})" if code else step
        apart = self.scene.settings.cooldown
        if last and (last.incident == incident.id or incident.opened_at <= last.at or at < last.at + apart):
            story = last.story if step in last.story else f"{last.story}, {coded}"
            self.record = replace(self.record, past=(*past[:-1], replace(last, incident=incident.id, story=story)))
            return
        story = f"{incident.opened_at:%Y-%m-%d} UTC: {incident.opened_at:%H:%M} reported, {coded}"
        self.record = replace(self.record, past=(*past, Past(incident.id, about, at, story)))
        since = self.now - self.scene.settings.recurrence_window
        alike = [each.story for each in self.record.past if each.about == about and each.at > since][-RECURRENCES:]
        if len(alike) == RECURRENCES:
            self.say(Outcome.RECURRING, about, topic=True, history=tuple(alike))
            self.changes[-1] = replace(self.changes[-1], recurring=True)
            self.keep(replace(incident, told=True))

    def answer(self, case: Case, outcome: Outcome, reason: str, code: str | None = None) -> None:
        """Give a report its outcome."""
        incident = self.record.incident.id if self.record.incident else None
        if incident is None and self.changes:
            incident = self.changes[-1].incident
        self.results.append(result_of(case, outcome, reason, code, incident))

    def answer_speaker(self, outcome: Outcome, reason: str, code: str | None = None) -> None:
        """Give the report that set off the judgement its outcome."""
        if self.speaker:
            self.answer(self.speaker, outcome, reason, code)
            self.speaker = None

    def hand_back(self, case: Case, code: str, reason: str) -> None:
        """Let a report's message come again."""
        self.handed_back.append(HandedBack(case, code, reason))

    def say(
        self,
        outcome: Outcome,
        message: str,
        *,
        code: str | None = None,
        letter: bool = False,
        topic: bool = False,
        case: Case | None = None,
        again_at: datetime | None = None,
        node: Node | None = None,
        history: tuple[str, ...] = (),
    ) -> None:
        """Add an entry to the outbox, about the node's incident or, with `case`, about a report with its own answer."""
        about = _of_report(case) if case else _of_incident(self.incident)
        incident = self.record.incident.id if self.record.incident and not case else None
        entry = _entry(
            self.record.key, about, incident=incident, outcome=outcome, message=message, code=code, now=self.now
        )
        entry = replace(
            entry,
            id=derived_id(self.record.version, len(self.record.outbox), entry.id, node),
            node=node or entry.node,
            due=self.scene.lease_until,
            letter=letter,
            topic=topic,
            again_at=again_at,
            history=history,
        )
        entry = self._with_circumstances(entry, about_incident=case is None, about_node=node is None)
        outbox, id_ = _with_entry(self.record.outbox, entry)
        self.fresh.add(id_)
        self.record = replace(self.record, outbox=outbox)
        if case:  # what becomes of an incident has its own line
            self.note(f"{case.report.source}: {outcome}: {f'{code}: ' if code else ''}{message}")

    def _with_circumstances(self, entry: Entry, *, about_incident: bool, about_node: bool) -> Entry:
        """Return the entry with what else is known of its node and cluster, for people."""
        cluster, incident = self.scene.facts.cluster, self.record.incident
        if isinstance(cluster, ClusterFacts):
            entry = replace(entry, eks=cluster.eks, automatic=cluster.automatic)
        if not about_node:
            return entry  # it is about a node that has no record
        repairing = about_incident and incident is not None and incident.state is State.REPAIRING
        replacing = about_incident and incident is not None and incident.replacing
        return replace(
            entry,
            reboots=self.record.reboots[-MOST_TOLD_REBOOTS:],
            repair_since=incident.since if incident and repairing else None,
            group=self.record.group,
            replacing=replacing,
        )

    def take_overdue(self) -> None:
        """Take over the entries and events that another invocation should have sent by now."""
        overdue = {entry.id for entry in self.record.outbox if entry.unsent and entry.due <= self.now}
        if overdue:
            leased = (
                replace(entry, due=self.scene.lease_until) if entry.id in overdue else entry
                for entry in self.record.outbox
            )
            self.record = replace(self.record, outbox=tuple(leased))
            self.fresh |= overdue
        if late := {event.id for event in self.record.events if event.due <= self.now}:
            events = (
                replace(each, due=self.scene.lease_until) if each.id in late else each for each in self.record.events
            )
            self.record = replace(self.record, events=tuple(events))
            self.fresh |= late


@dataclass(frozen=True, slots=True)
class _About:
    """The parts of a report, or of an incident's oldest complaint, that an outbox entry quotes."""

    node: Node
    trigger: Trigger
    attempt: int
    repair_action: str | None
    recommendation: str | None
    alarm: Alarm | None
    redriven: bool


def _of_report(case: Case) -> _About:
    report = case.report
    redriven = report.letter_id is not None or case.message.redriven
    return _About(
        report.node,
        report.trigger,
        report.attempt,
        report.repair_action,
        report.recommendation,
        report.alarm,
        redriven,
    )


def _of_incident(incident: Incident) -> _About:
    complaints = incident.standing or tuple(sorted(incident.complaints, key=lambda each: each.made_at))
    first = complaints[0]
    advised = next((each.repair_action for each in reversed(complaints) if each.repair_action), None)
    return _About(
        incident.node, first.trigger, incident.attempt, advised, first.recommendation, first.alarm, incident.redriven
    )


def _entry(
    key: NodeKey,
    about: _About,
    *,
    incident: str | None,
    outcome: Outcome,
    message: str,
    code: str | None,
    now: datetime,
) -> Entry:
    return Entry(
        id=derived_id(key, incident, about.trigger.event_id, outcome, code, now),
        incident=incident,
        outcome=outcome,
        cluster=key.cluster or None,
        node=about.node,
        code=code,
        message=message,
        trigger=about.trigger,
        at=now,
        due=now,
        instance_id=key.id if key.id.startswith("i-") and about.node.id != key.id else None,
        attempt=about.attempt,
        repair_action=about.repair_action,
        recommendation=about.recommendation,
        alarm=about.alarm,
        delay=REDRIVEN_DELAY if about.redriven else 0,
    )


def entry_of(case: Case, failure: Failure, now: datetime) -> Entry:
    """Return the entry, letter and notice, for a report whose node cannot be kept in the ledger."""
    code, message = failure
    about = _of_report(case)
    entry = _entry(case.key, about, incident=None, outcome=Outcome.FAILED, message=message, code=code, now=now)
    # The same ID when its message comes again: it may have arrived although its answer was lost.
    return replace(entry, id=derived_id(case.message.id, about.node), letter=True, topic=True)


def entry_of_end(ended: ModeEntry, modes: Modes, now: datetime) -> Entry:
    """Return the notice that an entry of the mode parameter is past its end; the same whenever that is noticed."""
    since = ended.until or now
    reason = f"{modes.default} again since {since:%Y-%m-%d %H:%M:%S} UTC, when the entry ({ended.word}) ended"
    if any(each.holds(now) for each in modes.entries):
        reason += "; where another entry matches, that counts"
    return Entry(
        id=derived_id("resumed", ended.pattern, ended.word, since),
        incident=None,
        outcome=Outcome.RESUMED,
        cluster=ended.cluster,
        node=None,
        code=None,
        message=reason,
        trigger=Trigger("", "", "", since),
        at=now,
        due=now,
        topic=True,
        mode=ended,
    )


def _with_entry(outbox: tuple[Entry, ...], entry: Entry) -> tuple[tuple[Entry, ...], str]:
    """Return the outbox with an entry, or with one more in the count of an equal one of which nothing was sent.

    Only entries of an incident are equal: a report with its own answer has its own letter.
    """
    alike = (entry.incident, entry.outcome, entry.code, entry.letter, entry.topic, entry.node)
    for place, other in enumerate(outbox if entry.incident else ()):
        if (other.incident, other.outcome, other.code, other.letter, other.topic, other.node) == alike:
            merged = replace(other, times=other.times + 1)
            return (*outbox[:place], merged, *outbox[place + 1 :]), other.id
    return (*outbox, entry), entry.id


def result_of(
    case: Case, outcome: Outcome, reason: str, code: str | None = None, incident: str | None = None
) -> Result:
    """Return the outcome of a report."""
    report = case.report
    return Result(case.message, report.trigger, outcome, reason, code, case.key.cluster or None, report.node, incident)


def plan_of(drafts: Iterable[Draft], before: Iterable[Record], budget: Budget) -> Plan:
    """Return the drafts' results as one plan; only records that changed are written."""
    drafts, known = list(drafts), set_of(before)
    for draft in drafts:
        draft.put_events()
    records: list[Record] = [draft.record for draft in drafts if draft.record != known.get(draft.record.key)]
    if budget != known.get(budget.cluster):
        records.append(budget)
    return Plan(
        records=tuple(records),
        claims=tuple(draft.claim for draft in drafts if draft.claim),
        results=tuple(result for draft in drafts for result in draft.results),
        changes=tuple(change for draft in drafts for change in draft.changes),
        handed_back=tuple(back for draft in drafts for back in draft.handed_back),
        fresh=frozenset(id_ for draft in drafts for id_ in draft.fresh),
    )


def set_of(records: Iterable[Record]) -> dict[NodeKey | str, Record]:
    """Return records by their node's key or their cluster."""
    return {record.key if isinstance(record, NodeRecord) else record.cluster: record for record in records}


def is_waiting_state(state: State) -> bool:
    """Tell whether an incident in this state is judged before a reboot."""
    return state in (State.OPEN, State.PROPOSED, State.RETRYING)
