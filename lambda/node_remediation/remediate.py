"""The loop, in order: read, load, decide, save, call, record, save, announce, mark sent. Nothing else orchestrates.

Messages and the clock run the same loop: messages bring reports, a sweep brings what is due.
"""

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeVar

from node_remediation import codes
from node_remediation.aws.bus import Bus
from node_remediation.aws.errors import CallError, LookupFailedError
from node_remediation.aws.ledger import Ledger, Transacted, transact
from node_remediation.aws.queues import DeadLetters, Intake
from node_remediation.aws.telemetry import Telemetry
from node_remediation.aws.topic import Topic
from node_remediation.events.fields import Home
from node_remediation.lookups import Edges, Late, Lookups, Resolved, Stray, nobody
from node_remediation.model import Alarm, Case, Change, Failure, Message, NodeKey, Outcome, Result, bounded
from node_remediation.outbox.events import state_event
from node_remediation.outbox.letters import letter, raw_letter
from node_remediation.outbox.mail import Frame, Places
from node_remediation.outbox.notifications import notify
from node_remediation.policy.answers import gathered, notices_of, put_off, record_answers, record_sent
from node_remediation.policy.draft import REDRIVEN_DELAY, Claim, Plan, Scene, entry_of, entry_of_end, result_of
from node_remediation.policy.guards import budget_used
from node_remediation.policy.incidents import Group, decide, needs_of, oldest_complaint
from node_remediation.policy.record import Book, Entry, Facts, Missing, NodeRecord, State, StateEvent, derived_id
from node_remediation.policy.summary import CANARY, summary_id, summary_of
from node_remediation.settings import MAX_RECEIVES, SHARDS, Settings

# No call starts with less than this left: one may take 10 s, and queue, topic and ledger want their share.
RESERVE = 25.0  # seconds
# Look-ups that tell whom a report is about stop with less than this left: the rest of the batch wants its time.
_RESOLVE_RESERVE = 40.0  # seconds
# Sending stops with less than this left: the sweep sends the rest.
_SEND_RESERVE = 5.0  # seconds
# A claim's lease ends this much after the function's deadline, as two machines' clocks may differ.
_LEASE_MARGIN = timedelta(seconds=5)
# Nodes of one cluster that are decided and written together, for two reboot calls. If fewer, invocations that write one
# cluster's budget meet more often; if more, one that dies leaves more nodes claimed that were not called.
NODES_PER_WRITE = 50
_NODES_PER_READ = 100
_OLDEST_SWEEP = timedelta(minutes=2)
# The end of a mode that passed longer ago is not told: it is no news.
_OLDEST_END = timedelta(days=1)
# A daily summary that could not be made for so long is left out.
_SUMMARY_LATE = timedelta(hours=1)
# The beginning of a message that cannot be read, by which a person recognises it.
_EXCERPT = 300  # characters

Item = TypeVar("Item")


class Effect(StrEnum):
    """Everything that the loop does to the world, in order. Between any two effects the function may be killed."""

    SAVE = "save decisions"
    CALL = "call"
    RECORD = "record answers"
    LETTERS = "send letters"
    NOTICES = "publish notices"
    EVENTS = "put state events"
    MARK_SENT = "mark sent"
    ACKNOWLEDGE = "acknowledge"


@dataclass(frozen=True, slots=True)
class Handling:
    """Says how a batch ended: the outcome of each report, and the messages that come again, with why."""

    results: tuple[Result, ...]
    handed_back: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Services:
    """The services that the loop uses, beside those that it asks for facts."""

    ledger: Ledger
    letters: DeadLetters
    topic: Topic
    intake: Intake
    telemetry: Telemetry
    edges: Edges
    bus: Bus


class _Loose(NamedTuple):
    """The answer to a report that has no node's record, and what is to be said of it, if anything."""

    result: Result
    entry: Entry | None = None


@dataclass(slots=True)
class _Run:
    """One invocation on its way: what it knows, what it has written, and what it still has to send.

    `fresh` has the IDs of outbox entries and state events that this invocation sends, `held` until when notices of a
    burst wait. `united` has the keys of proposed nodes that have several, by the one to use. `unkept` are entries that
    could not be kept in the ledger, each with the result of its report, if it has one; `loose` are answers to reports
    without a node's record.
    """

    seconds_left: Callable[[], float]
    lookups: Lookups
    book: Book = field(default_factory=Book)
    fresh: set[str] = field(default_factory=set)
    held: Mapping[str, datetime] = field(default_factory=dict)
    united: dict[NodeKey, Group] = field(default_factory=dict)
    unkept: list[tuple[Entry, Result | None]] = field(default_factory=list)
    loose: list[_Loose] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    nodes_per_call: list[tuple[str, int]] = field(default_factory=list)
    budget_used: dict[str, float] = field(default_factory=dict)
    handed_back: dict[str, str] = field(default_factory=dict)

    def may_call(self) -> bool:
        return self.seconds_left() > RESERVE

    def may_send(self) -> bool:
        return self.seconds_left() > _SEND_RESERVE

    def take(self, plan: Plan) -> None:
        """Take in what a saved plan says; its records are in the book already."""
        self.results += plan.results
        self.changes += plan.changes
        self.fresh |= plan.fresh

    def hand_back(self, message: Message, code: str, reason: str) -> None:
        self.handed_back[message.id] = f"{code}: {reason}"

    def answer_later(self, result: Result, why: str) -> None:
        """Let a message come again whose answer reached nobody; after its last receive the queue sets it aside."""
        if result.message.receives >= MAX_RECEIVES and not result.message.direct:
            self.results.append(result)
        self.hand_back(result.message, "NotSent", why)


class Remediator:
    """Runs the loop for a batch of messages, or for what is due."""

    def __init__(
        self,
        *,
        settings: Settings,
        services: Services,
        home: Home,
        places: Places,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        jitter: Callable[[], float] = random.random,
        on_effect: Callable[[Effect], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._to = services
        self._home = home
        self._places = places
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._on_effect = on_effect
        self._summed_up: datetime | None = None  # the end of the last day that was summed up

    # -- the two ways in

    def handle(self, messages: Sequence[Message], *, seconds_left: Callable[[], float]) -> Handling:
        """Bring the reports in the messages into the ledger and as far as they go now.

        A message is handed back only while its node's key is unknown for a passing reason, or the ledger cannot be
        written. `seconds_left` counts down to the function's deadline.
        """
        run = self._run(seconds_left)
        resolved = self._resolve(run, messages)
        self._answer_late(run, resolved.late)
        for cluster, groups, cases in self._load(run, resolved.cases):
            self._remediate(run, cluster, groups, cases)
        run.loose += [self._of_stray(each) for each in resolved.strays if self._kept_if_canary(run, each)]
        self._answer_loose(run)
        self._announce(run)
        return self._finish(run, messages)

    def _resolve(self, run: _Run, messages: Sequence[Message]) -> Resolved:
        """Read messages into cases. One of which reading raises comes again, and leaves the others as they are."""
        try:
            return run.lookups.resolve(messages)
        except Exception as fault:  # noqa: BLE001  a fault of ours about one message must not become its neighbours'
            if len(messages) > 1:
                parts = [self._resolve(run, [message]) for message in messages]
                return Resolved(
                    cases=[case for part in parts for case in part.cases],
                    strays=[stray for part in parts for stray in part.strays],
                    late=[late for part in parts for late in part.late],
                )
            self._to.telemetry.error(f"reading message {messages[0].id} raised {type(fault).__name__}: {fault}")
            return Resolved(late=[Late(nobody(messages[0]), Failure(type(fault).__name__, str(fault)))])

    def sweep(self, sent: datetime, *, seconds_left: Callable[[], float]) -> None:
        """Carry on with what is due: entries to send, leases that ended, judgements, looks after a reboot.

        Never raises: what went wrong is logged, and the next sweep finds it again.
        """
        if self._now() - sent > _OLDEST_SWEEP:
            return
        try:
            self._sweep(self._run(seconds_left))
        except Exception as fault:  # noqa: BLE001  a sweep that raised would be a second alarm for what is logged
            self._to.telemetry.error(f"the sweep stopped: {type(fault).__name__}: {fault}")

    def _sweep(self, run: _Run) -> None:
        now = self._now()
        due = self._due(run, now)
        lag = max(((now - record.due).total_seconds() for record in due if record.due), default=0.0)
        unsent = [entry.at for record in due for entry in record.outbox if entry.unsent]
        unsent += [event.at for record in due for event in record.events]
        for of_kind in _by_kind(due, now):
            for cluster in _shuffled({record.key.cluster for record in of_kind}):
                records = [record for record in of_kind if record.key.cluster == cluster]
                if run.may_call():
                    self._carry_on(run, cluster, records)
            self._announce(run)
        self._to.telemetry.sweep(lag=lag, oldest_unsent=(now - min(unsent, default=now)).total_seconds())
        self._finish(run, ())
        self._tell_ended_modes(run)
        self._tell_of_the_day(run)

    def _tell_of_the_day(self, run: _Run) -> None:
        """Send the daily summary, once, in the hour after its time."""
        now, time = self._now(), self._settings.daily_summary
        if time is None or not run.may_call():
            return
        hour, minute = map(int, time.split(":"))
        until = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if not until <= now < until + _SUMMARY_LATE or self._summed_up == until:
            return
        key = NodeKey("", summary_id(until))
        try:
            if not self._to.ledger.load([key], ()).node(key).version:
                records, modes = self._to.ledger.nodes(may_call=run.may_call), self._to.edges.mode.get()
                if not self._save_entry(run, summary_of(records, modes, until, now)):
                    return  # the next sweep tries again
                self._announce(run)
        except LookupFailedError as error:
            self._to.telemetry.error(f"the daily summary could not be made: {error}")
        else:
            self._summed_up = until

    def _tell_ended_modes(self, run: _Run) -> None:
        """Tell people, once, of each entry of the mode parameter whose end has passed.

        A remembered mode is read again before: its end may have been put off since.
        """
        new: list[Entry] = []
        for fresh in (False, True):
            if not run.may_call():
                return
            try:
                modes, now = self._to.edges.mode.get(fresh=fresh), self._now()
                entries = [entry_of_end(ended, modes, now) for ended in modes.ended(now - _OLDEST_END, now)]
                known = self._to.ledger.load([NodeKey("", entry.id) for entry in entries], ()) if entries else Book()
            except LookupFailedError as error:
                self._to.telemetry.error(f"the ends of modes could not be looked up: {error}")
                return
            new = [entry for entry in entries if not known.node(NodeKey("", entry.id)).version]
            if not new:
                return
        for entry in new:
            self._save_entry(run, entry)  # one that cannot be saved is told by the next sweep
        self._announce(run)

    def _run(self, seconds_left: Callable[[], float]) -> _Run:
        def may_call() -> bool:
            return seconds_left() > RESERVE

        def may_resolve() -> bool:
            return seconds_left() > _RESOLVE_RESERVE

        lookups = Lookups(self._to.edges, self._settings, self._home, may_call=may_call, may_resolve=may_resolve)
        return _Run(seconds_left, lookups)

    def _now(self) -> datetime:
        """Return the time to the millisecond, as the ledger keeps it."""
        now = self._clock()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def _finish(self, run: _Run, messages: Sequence[Message]) -> Handling:
        back = [message for message in messages if message.id in run.handed_back and not message.direct]
        trouble = self._to.intake.come_again(back) if back else None
        self._to.telemetry.record(
            run.results,
            run.changes,
            nodes_per_call=run.nodes_per_call,
            budget_used=run.budget_used,
            handed_back=run.handed_back,
            now=self._now(),
            trouble=trouble,
        )
        self._on_effect(Effect.ACKNOWLEDGE)
        return Handling(tuple(run.results), run.handed_back)

    # -- load

    def _load(
        self, run: _Run, cases: Sequence[Case]
    ) -> Iterator[tuple[str, list[Group], Mapping[NodeKey, Sequence[Case]]]]:
        """Load what the ledger knows of the cases' nodes; yields each cluster with its nodes and their cases.

        The clusters are in no order: invocations that came to the same ones at once do not meet at each of them.
        """
        try:
            cases = self._of_proposals(run, cases)
            run.book = self._to.ledger.load({case.key for case in cases}, {case.key.cluster for case in cases})
            groups = self._groups(run, cases)
            others = {key for group in groups for key in group[1:]}
            if others:
                run.book = run.book.updated(*self._to.ledger.load(others, ()).nodes.values())
        except LookupFailedError as error:
            self._answer_late(run, [Late(case, _failure(error.error)) for case in cases])
            return
        for cluster in _shuffled({group[0].cluster for group in groups}):
            of_cluster = {group: found for group, found in groups.items() if group[0].cluster == cluster}
            yield cluster, list(of_cluster), {group[0]: found for group, found in of_cluster.items()}

    def _of_proposals(self, run: _Run, cases: Sequence[Case]) -> list[Case]:
        """Return the cases, with the key of its node for each answer to a proposal, which names its incident alone."""
        answers = {case.key for case in cases if case.report.answer}
        known = self._to.ledger.load(answers, ()).nodes if answers else {}
        found = []
        for case in cases:
            record = known.get(case.key) if case.report.answer else None
            if not case.report.answer:
                found.append(case)
            elif record and record.proposal_of:
                found += self._of_proposal(run, case, record.proposal_of)
            else:
                reason = f"no proposal of incident {case.report.incident} is known"
                run.loose.append(_Loose(result_of(case, Outcome.IGNORED, reason)))
        return found

    def _of_proposal(self, run: _Run, case: Case, key: NodeKey) -> list[Case]:
        """Return an answer's case with the key that its node has now; none if that cannot be looked up yet."""
        try:
            group = run.lookups.keys_of(self._to.ledger.load([key], ()).node(key))
        except LookupFailedError as error:
            self._answer_late(run, [Late(case, _failure(error.error))], final=not error.error.passing)
            return []
        if len(group) > 1:
            run.united[group[0]] = group
        return [replace(case, key=group[0])]

    def _groups(self, run: _Run, cases: Sequence[Case]) -> dict[Group, list[Case]]:
        """Return the cases by the keys of their nodes."""
        groups = run.lookups.groups(cases, run.book) | run.united
        first = {other: group[0] for group in groups.values() for other in group[1:]}
        found: dict[NodeKey, list[Case]] = {}
        for case in cases:
            found.setdefault(first.get(case.key, case.key), []).append(case)
        return {groups.get(key, (key,)): of_node for key, of_node in found.items()}

    def _due(self, run: _Run, now: datetime) -> list[NodeRecord]:
        """Return the records that are due. The index only names candidates: each is read again, consistently."""
        candidates: list[str] = []
        for shard in range(SHARDS):
            try:
                candidates += [each.pk for each in self._to.ledger.due(shard, now)]
            except LookupFailedError as error:
                self._to.telemetry.error(f"shard {shard} of the index could not be read: {error}")
        due: list[NodeRecord] = []
        for part in _parts(_shuffled(candidates), _NODES_PER_READ):
            if run.may_call():
                book = self._to.ledger.load_raw(part)
                due += book.nodes.values()
                for name, why in book.unreadable.items():
                    self._to.telemetry.error(f"an item of the ledger cannot be read: {why}", item=str(name))
        return [record for record in due if record.due and record.due <= now]

    def _carry_on(self, run: _Run, cluster: str, records: Sequence[NodeRecord]) -> None:
        groups = [run.lookups.group_of_record(record) for record in records]
        others = {group[0] for group in groups if len(group) > 1}
        try:
            loaded = self._to.ledger.load(others, [cluster])
        except LookupFailedError as error:
            self._to.telemetry.error(f"the ledger could not be read: {error}", cluster=cluster)
            return
        run.book = run.book.updated(*records, *loaded.nodes.values(), *loaded.budgets.values())
        self._remediate(run, cluster, list(dict.fromkeys(groups)), {})

    # -- decide, save, call, record, save

    def _remediate(
        self, run: _Run, cluster: str, groups: Sequence[Group], cases: Mapping[NodeKey, Sequence[Case]]
    ) -> None:
        """Decide about nodes of one cluster, oldest complaint first, in parts that are written together.

        Nodes that cannot be rebooted now, such as those just rebooted, go with the last part: one write less.
        """
        now, needs = self._now(), {}
        for group in groups:
            record = self._main(run, group)
            needs[group[0]] = (record, needs_of(record, cases.get(group[0], ()), self._settings, now))
        try:
            facts = run.lookups.facts(cluster, needs, run.book.budget(cluster), now)
        except Exception as fault:  # noqa: BLE001  a fault of ours about one cluster must not become another's
            self._to.telemetry.error(f"a look-up raised {type(fault).__name__}: {fault}", cluster=cluster)
            facts = Facts(mode=Missing(type(fault).__name__, str(fault)))
        oldest_first = sorted(groups, key=lambda group: oldest_complaint(run.book, group, cases))
        judged = [group for group in oldest_first if needs[group[0]][1].judged]
        others = [group for group in oldest_first if not needs[group[0]][1].judged]
        *parts, last = [*_parts(judged, NODES_PER_WRITE)] or [[]]
        for part in (*parts, [*last, *others]):
            if cases or run.may_call():  # nodes that nobody reported stay due, and the next sweep finds them
                self._remediate_part(run, cluster, part, cases, facts)
        used = budget_used(run.book.budget(cluster), facts, self._settings, now)
        if used is not None:
            run.budget_used[cluster] = used

    def _main(self, run: _Run, group: Group) -> NodeRecord:
        """Return the record that says most of a node: under its key, or under the one it had before."""
        records = [run.book.node(key) for key in group]
        return next((record for record in records if record.incident), records[0])

    def _remediate_part(
        self,
        run: _Run,
        cluster: str,
        groups: Sequence[Group],
        cases: Mapping[NodeKey, Sequence[Case]],
        facts: Facts,
    ) -> None:
        def plan(book: Book, part: Sequence[Group]) -> Plan:
            return decide(book, part, cases, self._scene(run, facts))

        self._on_effect(Effect.SAVE)
        try:
            done = self._transact(run, cluster, groups, plan)
        except Exception as fault:  # noqa: BLE001  a fault of ours about one node must not become its neighbours'
            if len(groups) > 1:
                for group in groups:
                    self._remediate_part(run, cluster, [group], cases, facts)
            else:
                self._set_aside(run, groups[0], cases.get(groups[0][0], ()), fault)
            return
        for key, error in done.failed.items():
            late = [Late(case, _failure(error)) for case in cases.get(key, ())]
            self._answer_late(run, late, final=not error.passing)
        claims = [claim for each in done.plans for claim in each.claims]
        for replacing in (False, True):
            if of_kind := [claim for claim in claims if claim.replacing is replacing]:
                self._call(run, cluster, of_kind, facts)

    def _transact(
        self, run: _Run, cluster: str, groups: Sequence[Group], plan: Callable[[Book, Sequence[Group]], Plan]
    ) -> Transacted[Plan]:
        done = transact(
            self._to.ledger,
            nodes=groups,
            cluster=cluster,
            book=run.book,
            decide=plan,
            clock=self._now,
            sleep=self._sleep,
            may_start=run.may_send,
        )
        run.book = done.book
        for each in done.plans:
            run.take(each)
            self._answer_late(run, [Late(back.case, Failure(back.code, back.reason)) for back in each.handed_back])
        return done

    def _scene(self, run: _Run, facts: Facts) -> Scene:
        """Return the circumstances of a decision now. Without time for a call, nothing is judged."""
        now = self._now()
        lease = now + timedelta(seconds=max(run.seconds_left(), 0)) + _LEASE_MARGIN
        return Scene(self._settings, now, lease, facts if run.may_call() else Facts())

    def _set_aside(self, run: _Run, group: Group, cases: Sequence[Case], error: Exception) -> None:
        """Keep a fault of ours to the node that it concerns: its messages come again, the sweep puts it off."""
        self._to.telemetry.error(f"a decision raised {type(error).__name__}: {error}", cluster=group[0].cluster)
        self._answer_late(run, [Late(case, Failure(type(error).__name__, str(error))) for case in cases])
        if not cases:

            def plan(book: Book, part: Sequence[Group]) -> Plan:
                return Plan(records=(put_off(book.node(part[0][-1]), self._scene(run, Facts())),))

            self._transact(run, group[0].cluster, [group], plan)

    def _call(self, run: _Run, cluster: str, claims: Sequence[Claim], facts: Facts) -> None:
        """Reboot or replace claimed nodes and write the answers down."""
        self._on_effect(Effect.CALL)
        hyperpod = self._to.edges.hyperpod
        call = hyperpod.replace if claims[0].replacing else hyperpod.reboot
        called = call(cluster, [claim.node for claim in claims], may_call=run.may_call)
        run.nodes_per_call += [(cluster, nodes) for nodes in called.nodes_per_call]
        jitter = self._jitter()
        strangers = {answer.node for answer in called.answers} - {claim.node for claim in claims}

        def plan(book: Book, part: Sequence[Group]) -> Plan:
            keys = {group[0] for group in part}
            of_part = [claim for claim in claims if claim.key in keys]
            # Failures of nodes that nobody asked for go with the first claim, however the claims are cut.
            others = {claim.node for claim in claims if claim.key not in keys}
            others |= strangers if claims[0].key not in keys else set()
            answers = [answer for answer in called.answers if answer.node not in others]
            return record_answers(book, of_part, answers, self._scene(run, facts), jitter=jitter)

        self._on_effect(Effect.RECORD)
        before = run.book
        done = self._transact(run, cluster, [(claim.key,) for claim in claims], plan)
        if done.failed:
            lost = [(key,) for key in done.failed]
            self._to.telemetry.unrecorded(cluster, called.answers)
            self._announce_unkept(run, plan(before, lost))

    def _announce_unkept(self, run: _Run, plan: Plan) -> None:
        """Announce an answer that cannot be saved from memory. The ledger's incident goes on, as if it were unknown."""
        run.results += plan.results
        records = [record for record in plan.records if isinstance(record, NodeRecord)]
        for entry in (entry for record in records for entry in record.outbox if entry.id in plan.fresh):
            self._keep(run, entry, None)

    # -- reports without a node's record

    def _answer_late(self, run: _Run, late: Iterable[Late], *, final: bool = False) -> None:
        """Hand messages back; at the last permitted receive, or after a final no, report what is known as failed."""
        for case, failure in late:
            message, report = case.message, case.report
            if not final and (message.direct or message.receives < MAX_RECEIVES):
                run.hand_back(message, failure.code, failure.message)
            elif outcome := report.outcome_without_node:
                run.results.append(result_of(case, outcome, failure.message, failure.code))
            else:
                result = result_of(case, Outcome.FAILED, failure.message, failure.code)
                named = report.node.id and case.key.cluster
                entry = entry_of(case, failure, self._now()) if named else self._entry_of_stray(result, report.alarm)
                run.loose.append(_Loose(result, entry))

    def _of_stray(self, stray: Stray) -> _Loose:
        message, reading = stray
        outcome, code = reading.outcome, reading.code
        result = Result(message, reading.trigger, outcome, reading.reason, code, reading.cluster, reading.node)
        return _Loose(result, self._entry_of_stray(result, reading.alarm) if outcome in _TOLD else None)

    def _kept_if_canary(self, run: _Run, stray: Stray) -> bool:
        """Write down that the stack's own daily event came through. One that cannot be written comes again."""
        if not stray.reading.canary:
            return True

        def plan(book: Book, part: Sequence[Group]) -> Plan:
            return Plan(records=(book.node(part[0][0]).noted(self._now(), "came through"),))

        if failed := self._transact(run, "", [(CANARY,)], plan).failed:
            run.hand_back(stray.message, failed[CANARY].code, failed[CANARY].message)
        else:
            self._to.telemetry.canary()
        return not failed

    def _entry_of_stray(self, result: Result, alarm: Alarm | None) -> Entry:
        """Return what is said of an event that names no node or no cluster."""
        return Entry(
            id=derived_id(result.message.id, result.trigger.event_id, result.outcome, result.code, result.reason),
            incident=None,
            outcome=result.outcome,
            cluster=result.cluster,
            node=None,
            code=result.code,
            message=result.reason,
            trigger=result.trigger,
            at=self._now(),
            due=self._now(),
            letter=True,
            topic=True,
            alarm=alarm,
            delay=REDRIVEN_DELAY if result.message.redriven else 0,
            message_id=result.message.id,
            excerpt=bounded(result.message.body, _EXCERPT) if result.outcome is Outcome.UNREADABLE else "",
        )

    def _answer_loose(self, run: _Run) -> None:
        """Answer reports that have no node's record; a small record of their own keeps what is to be said of them.

        What names no node goes to the dead-letter queue first, as it came: a body is not kept. Without that letter its
        message comes again; after its last receive the queue itself moves it there.
        """
        missed = self._send_raw(run)
        for result, entry in run.loose:
            message = result.message
            if why := entry and not entry.node and missed.get(message.id):
                run.hand_back(message, "LetterNotSent", why)
                if message.direct or message.receives < MAX_RECEIVES:
                    continue
            if entry:
                self._keep(run, entry if entry.node else replace(entry, letter=False), result)
            else:
                run.results.append(result)

    def _send_raw(self, run: _Run) -> Mapping[str, str]:
        """Send one letter for each message that goes in as it came; returns why some were not sent, by message."""
        letters = {
            result.message.id: raw_letter(
                result.message.body,
                cluster=entry.cluster,
                code=entry.code or codes.UNREADABLE,
                kind=entry.outcome,
                delay=entry.delay,
            )
            for result, entry in reversed(run.loose)
            if entry and not entry.node
        }
        if not letters:
            return {}
        if not run.may_send():
            return dict.fromkeys(letters, "there was no time left")
        self._on_effect(Effect.LETTERS)
        missed, ids = self._to.letters.send(list(letters.values()), may_call=run.may_send), list(letters)
        return {ids[place]: why for place, why in missed.items()}

    def _keep(self, run: _Run, entry: Entry, result: Result | None) -> None:
        """Keep an entry in a record of its own, so that it is sent sooner or later; else it is sent from memory."""
        if not self._save_entry(run, entry):
            run.unkept.append((entry, result))
        elif result:
            run.results.append(result)

    def _save_entry(self, run: _Run, entry: Entry) -> bool:
        """Save an entry in a record of its own, to be sent by this invocation, or else by the sweep."""
        entry = replace(entry, due=self._now() + timedelta(seconds=max(run.seconds_left(), 0)) + _LEASE_MARGIN)

        def plan(book: Book, part: Sequence[Group]) -> Plan:
            record = book.node(part[0][0])
            if record.version:
                return Plan()  # an earlier delivery has kept it
            return Plan(records=(replace(record, outbox=(entry,)),), fresh=frozenset({entry.id}))

        return not self._transact(run, "", [(NodeKey("", entry.id),)], plan).failed

    # -- announce, mark sent

    def _announce(self, run: _Run) -> None:
        """Send what is new, and write down what was sent.

        Letters come first, then on the topic what has its letter, then state events.
        """
        kept = [
            (record.key, entry)
            for record in run.book.nodes.values()
            for entry in record.outbox
            if entry.id in run.fresh
        ]
        entries = [entry for _, entry in kept] + [entry for entry, _ in run.unkept]
        events = [
            (record, event) for record in run.book.nodes.values() for event in record.events if event.id in run.fresh
        ]
        if not entries and not events:
            return
        run.held = self._held(run, kept)
        sent = self._send_apart(run, entries) if run.may_send() else {entry.id: entry for entry in entries}
        for entry, result in run.unkept:
            if result and sent[entry.id].unsent:
                run.answer_later(result, "its notice could be neither kept nor sent")
            elif result:
                run.results.append(result)
        put = self._put_events(run, events)
        run.fresh.clear()
        run.unkept.clear()
        self._mark_sent(run, kept, sent, {record.key for record, _ in events}, put)

    def _put_events(self, run: _Run, events: Sequence[tuple[NodeRecord, StateEvent]]) -> Mapping[str, bool]:
        """Put state events on the bus; returns which of them it took, by ID."""
        missed: Mapping[int, str] = {}
        if events and run.may_send():
            self._on_effect(Effect.EVENTS)
            bodies = [state_event(event, record) for record, event in events]
            missed = self._to.bus.put(bodies, may_call=run.may_send)
            self._log_missed("state events", missed)
        elif events:
            missed = dict.fromkeys(range(len(events)), "there was no time left")
        return {event.id: place not in missed for place, (_, event) in enumerate(events)}

    def _held(self, run: _Run, kept: Sequence[tuple[NodeKey, Entry]]) -> dict[str, datetime]:
        """Return until when notices wait that are gathered with others of a burst. Without the ledger, none waits."""
        clusters: dict[str, dict[NodeKey, list[Entry]]] = {}
        for key, entry in kept:
            if key.cluster and entry.topic and self._settings.burst_window:
                clusters.setdefault(key.cluster, {}).setdefault(key, []).append(entry)
        try:
            known = self._to.ledger.load([notices_of(cluster) for cluster in clusters], ()) if clusters else Book()
        except LookupFailedError:
            return {}
        held, now = dict[str, datetime](), self._now()
        for cluster, of_cluster in clusters.items():
            told = known.node(notices_of(cluster))
            if told.key not in known.unreadable:
                run.book = run.book.updated(told)
                held |= gathered(of_cluster, told, self._settings, now)
        return held

    def _send_apart(self, run: _Run, entries: Sequence[Entry]) -> dict[str, Entry]:
        """Send entries. One of which no letter or mail can be made stays unsent, and leaves the others as they are."""
        try:
            return self._send(run, entries)
        except Exception as fault:  # noqa: BLE001  a fault of ours about one entry must not become its neighbours'
            if len(entries) > 1:
                return {id_: sent for entry in entries for id_, sent in self._send_apart(run, [entry]).items()}
            self._to.telemetry.error(f"entry {entries[0].id} cannot be sent: {type(fault).__name__}: {fault}")
            return {entries[0].id: entries[0]}

    def _send(self, run: _Run, entries: Sequence[Entry]) -> dict[str, Entry]:
        """Send entries; returns each as it is now, with what of it is still unsent."""
        now, state = self._now(), {entry.id: entry for entry in entries}
        letters = [entry for entry in entries if entry.letter]
        if letters:
            self._on_effect(Effect.LETTERS)
            bodies = [letter(entry, now=now, home=self._home) for entry in letters]
            missed = self._to.letters.send(bodies, may_call=run.may_send)
            for place, entry in enumerate(letters):
                if place not in missed:
                    state[entry.id] = replace(entry, letter=False)
            self._log_missed("letters", missed)
        unknown = self._keep_proposals(run, entries)
        waiting = unknown | set(run.held)
        notices = [entry for entry in state.values() if entry.topic and not entry.letter and entry.id not in waiting]
        frame = Frame(now, self._home, self._places)
        parts = notify(notices, frame, {name: budget.spends for name, budget in run.book.budgets.items()})
        if parts:
            self._on_effect(Effect.NOTICES)
            missed = self._to.topic.publish([each for each, _ in parts], may_call=run.may_send)
            for place, (_, told) in enumerate(parts):
                if place not in missed:
                    state |= {entry.id: replace(state[entry.id], topic=False) for entry in told}
            self._log_missed("notices", missed)
        return state

    def _keep_proposals(self, run: _Run, entries: Sequence[Entry]) -> set[str]:
        """Keep whose incidents are proposed, so that an answer finds its node; returns the entries that must wait."""
        proposed = {NodeKey("", entry.incident or ""): entry for entry in entries if entry.outcome is Outcome.PROPOSED}
        if not proposed:
            return set()

        def plan(book: Book, part: Sequence[Group]) -> Plan:
            new = [key for (key,) in part if not book.node(key).version]
            of = {key: NodeKey(proposed[key].cluster or "", self._key_of(run, proposed[key])) for key in new}
            return Plan(records=tuple(replace(book.node(key), proposal_of=of[key]) for key in new))

        failed = self._transact(run, "", [(key,) for key in proposed], plan).failed
        return {proposed[key].id for key in failed}

    def _key_of(self, run: _Run, entry: Entry) -> str:
        """Return the ID in the key of an entry's record."""
        keys = (key.id for key, record in run.book.nodes.items() if any(each.id == entry.id for each in record.outbox))
        return next(keys, entry.node.id if entry.node else "")

    def _log_missed(self, what: str, missed: Mapping[int, str]) -> None:
        if missed:
            self._to.telemetry.error(
                f"{len(missed)} {what} could not be sent; the sweep tries again", why=next(iter(missed.values()))
            )

    def _mark_sent(
        self,
        run: _Run,
        kept: Sequence[tuple[NodeKey, Entry]],
        sent: Mapping[str, Entry],
        changed: Collection[NodeKey],
        put: Mapping[str, bool],
    ) -> None:
        by_key: dict[NodeKey, dict[str, Entry]] = {key: {} for key in changed}
        for key, entry in kept:
            by_key.setdefault(key, {})[entry.id] = sent[entry.id]

        told: dict[NodeKey, set[str]] = {}
        for key, entry in kept:
            of_cluster = notices_of(key.cluster)
            if of_cluster in run.book.nodes and entry.topic and not sent[entry.id].topic:
                told.setdefault(of_cluster, set()).add(key.id)

        def plan(book: Book, part: Sequence[Group]) -> Plan:
            scene, keys = self._scene(run, Facts()), [group[0] for group in part]
            return record_sent(book, by_key, scene, keys, put=put, held=run.held, told=told)

        if by_key:
            self._on_effect(Effect.MARK_SENT)
        for cluster in sorted({key.cluster for key in by_key}):
            keys = [(key,) for key in (*by_key, *told) if key.cluster == cluster]
            for part in _parts(keys, NODES_PER_WRITE):
                self._transact(run, cluster, part, plan)


_TOLD = (Outcome.REFUSED, Outcome.FAILED, Outcome.UNREADABLE)


def _failure(error: CallError) -> Failure:
    return Failure(error.code, error.message)


def _shuffled(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda _: random.random())  # noqa: S311  no cryptography


def _parts(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _by_kind(records: Sequence[NodeRecord], now: datetime) -> list[list[NodeRecord]]:
    """Return due records by what is due: entries to send, leases that ended, judgements, looks after a reboot."""
    kinds: list[list[NodeRecord]] = [[], [], [], []]
    for record in records:
        incident = record.incident
        if any(entry.unsent and entry.due <= now for entry in record.outbox) or incident is None:
            kinds[0].append(record)
        elif incident.state is State.CLAIMED:
            kinds[1].append(record)
        elif incident.state in (State.OPEN, State.RETRYING):
            kinds[2].append(record)
        else:
            kinds[3].append(record)
    return kinds
