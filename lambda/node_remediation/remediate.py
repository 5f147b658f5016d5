"""The order of the steps: read, resolve, resume, follow, judge, claim, call, record, end, report, send on, settle.

Nothing else knows it.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from node_remediation import codes
from node_remediation.claims import Claimant
from node_remediation.cluster import Clusters, Facts
from node_remediation.followup import FollowUp
from node_remediation.guard import Situation, judge, needs_facts, with_report
from node_remediation.intake import Intake
from node_remediation.ledger import Ledger
from node_remediation.lookup import LookupFailedError
from node_remediation.mode import Mode
from node_remediation.model import (
    Case,
    Ending,
    Handling,
    Message,
    NodeKey,
    Outcome,
    Report,
    Settled,
    TryAgain,
)
from node_remediation.reading import Reader
from node_remediation.record import Book
from node_remediation.report import Reporter
from node_remediation.resolve import Resolver, failed, give_up
from node_remediation.resume import resume
from node_remediation.settings import MAX_RECEIVES, Settings
from node_remediation.settling import Settler
from node_remediation.steps import OnStep, Step, unwatched
from node_remediation.telemetry import Telemetry
from node_remediation.together import Task, Together
from node_remediation.watching import Followed, Watcher

# No call starts with less than this left: one may take 10 s, and the dead-letter queue and the topic want their share.
CALL_RESERVE = 25.0  # seconds
# How often reports are judged again because another invocation claimed first.
_JUDGEMENTS = 12

Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Batch:
    """One batch on its way: what is known so far, and what it came to."""

    seconds_left: Callable[[], float]
    book: Book = field(default_factory=Book)
    mode: str | LookupFailedError | None = None
    described: dict[str, Facts | LookupFailedError] = field(default_factory=dict)
    facts: dict[str, Facts] = field(default_factory=dict)
    results: list[Ending | TryAgain] = field(default_factory=list)
    nodes_per_call: list[tuple[str, int]] = field(default_factory=list)
    lost: set[NodeKey] = field(default_factory=set)
    followed: Followed = field(default_factory=Followed)
    sent: dict[NodeKey, FollowUp] = field(default_factory=dict)

    def may_call(self) -> bool:
        return self.seconds_left() > CALL_RESERVE


class Remediator:
    """Handles batches of messages; what it needs of the world comes in as collaborators."""

    def __init__(
        self,
        *,
        settings: Settings,
        resolver: Resolver,
        clusters: Clusters,
        mode: Mode,
        ledger: Ledger,
        claimant: Claimant,
        watcher: Watcher,
        reporter: Reporter,
        intake: Intake,
        telemetry: Telemetry,
        together: Together,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        on_step: OnStep = unwatched,
    ) -> None:
        self._settings = settings
        self._reader = Reader(settings=settings, resolver=resolver, clock=clock)
        self._clusters = clusters
        self._mode = mode
        self._ledger = ledger
        self._settler = Settler(ledger=ledger, clock=clock, sleep=sleep)
        self._claimant = claimant
        self._watcher = watcher
        self._reporter = reporter
        self._intake = intake
        self._telemetry = telemetry
        self._together = together
        self._clock = clock
        self._sleep = sleep
        self._on_step = on_step

    def handle(self, messages: Sequence[Message], *, seconds_left: Callable[[], float]) -> Handling:
        """Bring every message to its outcomes or hand it back; `seconds_left` counts down to the deadline."""
        batch = _Batch(seconds_left)
        cases = self._look_up(self._read(messages, batch), batch)
        cases = self._follow(self._resume(cases, batch), batch)
        situation = self._learn(cases, batch)
        self._judge_and_reboot(cases, situation, batch)
        self._end(batch)
        handling = self._send_on(self._report(self._sort_out(batch)), situation, batch)
        trouble = self._intake.come_again([message for message in messages if message.id in handling.handed_back])
        self._telemetry.record(handling, nodes_per_call=batch.nodes_per_call, now=self._clock(), trouble=trouble)
        self._on_step(Step.ACKNOWLEDGE)
        return handling

    def _read(self, messages: Sequence[Message], batch: _Batch) -> list[Case]:
        """The reports in the messages, complete; what is over or must wait is among the results."""
        cases = []
        for part in self._reader.read(messages, may_call=batch.may_call):
            if not isinstance(part, Case):
                batch.results.append(part)
            elif isinstance(part.reading, Settled):
                batch.results.append(Ending(part, part.reading.outcome, part.reading.reason, part.reading.code))
            else:
                cases.append(part)
        return cases

    def _look_up(self, cases: list[Case], batch: _Batch) -> list[Case]:
        """What the ledger knows of the nodes, and beside it what their judgement is going to take."""
        loaded: list[Case] = []
        lookups = self._lookups(cases, batch) if batch.may_call() else ()
        self._together([*lookups, lambda: loaded.extend(self._load(cases, batch))])
        return loaded

    def _lookups(self, cases: list[Case], batch: _Batch) -> Iterator[Task]:
        """What is needed whatever the ledger knows, with few exceptions; a check asks once it is to be judged."""
        reports = [case for case in cases if not case.healthy and case.check is None]
        if reports:
            yield partial(self._ask_mode, batch)
        unread = Situation(self._settings, "active", self._clock(), Book())
        for cluster in {_key(case).cluster for case in reports if needs_facts(case, unread)}:
            yield partial(self._describe, cluster, batch)

    def _ask_mode(self, batch: _Batch) -> None:
        batch.mode = _answer(self._mode.get)

    def _describe(self, cluster: str, batch: _Batch) -> None:
        batch.described[cluster] = _answer(partial(self._clusters.facts, cluster))

    def _load(self, cases: list[Case], batch: _Batch) -> list[Case]:
        """What the ledger knows of the nodes, and now also when they were reported."""
        try:
            found = self._ledger.load({_key(case) for case in cases}, {_key(case).cluster for case in cases})
        except LookupFailedError as error:
            batch.results += [failed(case, error) for case in cases]
            return []
        batch.book.put(*found.nodes.values(), *found.budgets.values())
        _note(cases, batch.book)
        return cases

    def _resume(self, cases: Iterable[Case], batch: _Batch) -> list[Case]:
        """What an earlier delivery has called for is not judged again, but carried on with."""
        now, fresh = self._clock(), []
        # Whose own claim is at stake speaks first: then no other report of the node need tell that it was lost.
        for case in sorted(cases, key=lambda case: case.owner not in batch.book.node(_key(case)).claims):
            key, record = _key(case), batch.book.node(_key(case))
            left_over = None if case.healthy else resume(case, record, now)
            if left_over is None or (key in batch.lost and case.owner not in record.claims):
                fresh.append(case)
                continue
            batch.results.append(left_over)
            if left_over.code == codes.OUTCOME_UNKNOWN:
                batch.lost.add(key)
        return fresh

    def _follow(self, cases: list[Case], batch: _Batch) -> list[Case]:
        """What is no check, and the checks that are to be judged; the others are decided."""
        batch.followed = self._watcher.follow(cases, batch.book, may_call=batch.may_call)
        batch.results += batch.followed.results
        return batch.followed.to_judge

    def _learn(self, cases: list[Case], batch: _Batch) -> Situation:
        """The mode and the facts of the clusters whose reports need them; cases without are taken out of `cases`."""
        situation = Situation(self._settings, "active", self._clock(), batch.book, batch.facts)
        asking = [case for case in cases if not case.healthy]
        if asking:
            if batch.mode is None:
                self._ask_mode(batch)
            if isinstance(batch.mode, str):
                situation = replace(situation, mode=batch.mode)
            elif batch.mode:
                self._give_up(asking, cases, batch.mode, batch)
        for cluster in {_key(case).cluster for case in cases if needs_facts(case, situation)}:
            if cluster not in batch.described:
                self._describe(cluster, batch)
            facts = batch.described[cluster]
            if isinstance(facts, Facts):
                batch.facts[cluster] = facts
            else:
                concerned = [case for case in cases if _key(case).cluster == cluster and needs_facts(case, situation)]
                self._give_up(concerned, cases, facts, batch)
        return situation

    def _give_up(self, concerned: Sequence[Case], cases: list[Case], error: LookupFailedError, batch: _Batch) -> None:
        batch.results += [failed(case, error) for case in concerned]
        gone = set(concerned)
        cases[:] = [case for case in cases if case not in gone]

    def _judge_and_reboot(self, cases: list[Case], situation: Situation, batch: _Batch) -> None:
        """Judge, and reboot what may be; where another invocation claimed first, judge again by the new ledger.

        So is once what a budget refuses: items are not read as of one moment, and what was spent may be for this node.
        """
        for tried in range(_JUDGEMENTS):
            plan = judge(cases, situation)
            doubtful = [
                ending for ending in plan.endings if tried == 0 and ending.code == codes.CLUSTER_BUDGET_EXCEEDED
            ]
            sure = [ending for ending in plan.endings if ending not in doubtful]
            batch.results += [self._watcher.judged(ending, batch.book, batch.followed) for ending in sure]
            cases = [ending.case for ending in doubtful]
            for place, cluster in enumerate(clusters := _shuffled(plan.reboots), start=1):
                turn = self._claimant.reboot(
                    cluster,
                    plan.reboots[cluster],
                    batch.book,
                    seconds_left=batch.seconds_left,
                    may_call=batch.may_call,
                    is_last=place == len(clusters),
                )
                batch.results += turn.results
                batch.sent |= turn.sent
                batch.nodes_per_call += [(cluster, nodes) for nodes in turn.nodes_per_call]
                cases += turn.unclaimed
            if not cases:
                return
            self._sleep(random.uniform(0, 0.05 * 2 ** min(tried, 5)))  # noqa: S311  jitter, not cryptography
            cases = self._resume(self._load(cases, batch), batch)
            situation = replace(
                situation, now=self._clock(), planned=set(), refused=_without(situation.refused, doubtful)
            )
        busy = "other invocations kept writing the same cluster's budget"
        batch.results += [TryAgain(case, codes.LEDGER_BUSY, busy) for case in cases]

    def _end(self, batch: _Batch) -> None:
        """Write down how watched nodes ended, before anybody is told."""
        self._on_step(Step.END)
        endings = [result for result in batch.results if isinstance(result, Ending) and result.case.key]
        cleared = [ending.case for ending in endings if ending.outcome is Outcome.CLEARED]
        batch.results = self._watcher.end(batch.results, cleared, batch.book, batch.followed)

    def _sort_out(self, batch: _Batch) -> Handling:
        """What is over, with the failed tries that are made again among it; and what is handed back."""
        handling = sort_out(batch.results)
        endings = tuple(self._watcher.retried(ending, batch.book) for ending in handling.endings)
        return replace(handling, endings=endings)

    def _report(self, handling: Handling) -> Handling:
        """The dead-letter queue first, then the topic; what did not arrive in both comes again with its message."""
        news = [ending for ending in handling.endings if not ending.told]
        self._on_step(Step.DEAD_LETTER)
        missed = self._reporter.send_letters(news)
        self._on_step(Step.PUBLISH)
        missed |= self._reporter.publish([ending for ending in news if ending not in missed])
        return handling.without({ending.case.message.id: why for ending, why in missed.items()})

    def _send_on(self, handling: Handling, situation: Situation, batch: _Batch) -> Handling:
        """The checks that are not sent yet, and only then a note in the ledger; else the message comes again."""
        self._on_step(Step.SEND_ON)
        sent, late = self._watcher.send_on(handling.endings, batch.book, batch.sent)
        self._on_step(Step.SETTLE)
        return self._settler.settle(handling.without(late), situation, sent)


def _shuffled(clusters: Iterable[str]) -> list[str]:
    """In no order: invocations that came to the same clusters at the same time do not meet at each of them."""
    return sorted(clusters, key=lambda _: random.random())  # noqa: S311  no cryptography


def _without(refused: set[tuple[NodeKey, str]], doubtful: Sequence[Ending]) -> set[tuple[NodeKey, str]]:
    return refused - {(_key(ending.case), ending.code or "") for ending in doubtful}


def _answer(ask: Callable[[], Answer]) -> Answer | LookupFailedError:
    try:
        return ask()
    except LookupFailedError as error:
        return error


def _note(cases: Iterable[Case], book: Book) -> None:
    """Let the records know of the reports, so that each is judged knowing of all."""
    for case in cases:
        if isinstance(case.reading, Report) and case.check is None:
            book.note(with_report(book.node(_key(case)), case.reading))


def _key(case: Case) -> NodeKey:
    assert case.key  # noqa: S101  settled cases, which have none, are over
    return case.key


def sort_out(results: Sequence[Ending | TryAgain]) -> Handling:
    """Decide by message: one that is to be tried again goes back whole, unless that would reboot a node again.

    A message with a node that was, or may have been, rebooted stays; so does one at its last permitted receive. What
    is open in these fails with the code that kept it open.
    """
    by_message: dict[str, list[Ending | TryAgain]] = {}
    for result in results:
        by_message.setdefault(result.case.message.id, []).append(result)
    endings: list[Ending] = []
    handed_back: dict[str, str] = {}
    for message_id, parts in by_message.items():
        waiting = [part for part in parts if isinstance(part, TryAgain)]
        if waiting and not _must_end(parts):
            handed_back[message_id] = f"{waiting[0].code}: {waiting[0].reason}"
            continue
        endings += [part if isinstance(part, Ending) else give_up(part.case, part.code, part.reason) for part in parts]
    return Handling(tuple(endings), handed_back)


def _must_end(parts: Sequence[Ending | TryAgain]) -> bool:
    if parts[0].case.message.receives >= MAX_RECEIVES:
        return True
    if any(part.code == codes.IN_PROGRESS for part in parts):
        return False
    return any(
        isinstance(part, Ending) and (part.outcome is Outcome.REBOOTED or part.code == codes.OUTCOME_UNKNOWN)
        for part in parts
    )
