"""Claim, call, record: one cluster's planned reboots, each written down before it is called and once it is answered."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import NamedTuple

from node_remediation import codes
from node_remediation.awserrors import CallError, Meaning
from node_remediation.batching import calls_for
from node_remediation.checks import Checks
from node_remediation.followup import FollowUp, check_of
from node_remediation.ledger import Ledger
from node_remediation.lookup import LookupFailedError
from node_remediation.model import Case, Ending, Node, NodeKey, Outcome, Report, Result, TryAgain
from node_remediation.reboot import Answer, Rebooter
from node_remediation.record import Book, NodeRecord, Record, Stage
from node_remediation.resolve import failed
from node_remediation.resume import conclude
from node_remediation.settings import MAX_RECEIVES, Settings
from node_remediation.steps import OnStep, Step
from node_remediation.together import Task, Together
from node_remediation.watch import next_check, opened

# A claim's lease ends this much after the function's deadline: clocks of two functions need not agree to the second.
_LEASE_MARGIN = timedelta(seconds=5)
# How often a write is tried again that others came before.
_RECORD_TRIES = 8


@dataclass(slots=True)
class Round:
    """What became of planned reboots; `unclaimed` were not claimed, because the ledger changed: judge them again.

    `sent` are the first checks of rebooted nodes that are under way already.
    """

    results: list[Ending | TryAgain] = field(default_factory=list)
    nodes_per_call: list[int] = field(default_factory=list)
    unclaimed: list[Case] = field(default_factory=list)
    sent: dict[NodeKey, FollowUp] = field(default_factory=dict)


class _Call(NamedTuple):
    """One call of up to 25 claimed nodes, by the ID that its cost is kept under."""

    id: str
    cluster: str
    cases: tuple[Case, ...]
    at: datetime


class Claimant:
    """Reboots claimed nodes only."""

    def __init__(
        self,
        *,
        settings: Settings,
        ledger: Ledger,
        rebooter: Rebooter,
        checks: Checks,
        together: Together,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        sleep: Callable[[float], None],
        on_step: OnStep,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._rebooter = rebooter
        self._checks = checks
        self._together = together
        self._clock = clock
        self._new_id = new_id
        self._sleep = sleep
        self._on_step = on_step

    def reboot(
        self,
        cluster: str,
        cases: Sequence[Case],
        book: Book,
        *,
        seconds_left: Callable[[], float],
        may_call: Callable[[], bool],
        is_last: bool,
    ) -> Round:
        """Reboot the nodes of `cases`, in as few calls as they fit into; `book` is kept as the ledger is.

        After the last call of a batch nothing else is waited for: the first checks of its nodes are sent meanwhile.
        """
        turn = Round()
        case_of: dict[Node, Case] = {}
        for case in cases:
            # One ID can be known by two keys, where SageMaker came to know its instance within the batch.
            if case.node and case_of.setdefault(case.node, case) is not case:
                turn.results.append(Ending(case, Outcome.DUPLICATE, "the same batch has an earlier report of this ID"))
        left = [[case_of[node] for node in call] for call in calls_for(list(case_of))]
        trouble: CallError | None = None
        while left and not trouble and not turn.unclaimed:
            if not may_call():
                trouble = CallError(Meaning.NOT_SENT, codes.DEADLINE_EXCEEDED, "the function ran out of time")
                break
            try:
                call = self._claim(cluster, left[0], book, seconds_left())
            except LookupFailedError as error:
                turn.results += [failed(case, error) for case in chain(*left)]
                return turn
            if call is None:
                turn.unclaimed = list(chain(*left))
            else:
                left.pop(0)
                trouble = self._call(call, book, may_call, turn, is_last=is_last and not left)
        if trouble:
            # What was not called yet is safe to call later; calling on would only lose more answers.
            why = f"not called yet: {trouble.message}"
            turn.results += [TryAgain(case, trouble.code, why) for case in chain(*left)]
        return turn

    def _claim(self, cluster: str, cases: Sequence[Case], book: Book, seconds_left: float) -> _Call | None:
        """Write down who is going to reboot these nodes, and what it costs; None if somebody else was first."""
        self._on_step(Step.CLAIM)
        now = self._clock()
        call = _Call(self._new_id(), cluster, tuple(cases), now)
        lease = now + timedelta(seconds=seconds_left) + _LEASE_MARGIN
        nodes = [book.node(_key(case)).claimed(case.owner, at=now, lease_until=lease) for case in cases]
        records: list[Record] = [*nodes, book.budget(cluster).charged(call.id, at=now, nodes=len(cases))]
        return call if self._save(records, book) else None

    def _save(self, records: Sequence[Record], book: Book) -> bool:
        if not self._ledger.save(records, now=self._clock()):
            return False
        book.put(*(record.written() for record in records))
        return True

    def _call(
        self, call: _Call, book: Book, may_call: Callable[[], bool], turn: Round, *, is_last: bool
    ) -> CallError | None:
        """Call for claimed nodes and record the answer; returns why no more calls should be made, if so."""
        self._on_step(Step.CALL)
        called = self._rebooter.reboot(call.cluster, [case.node for case in call.cases if case.node], may_call=may_call)
        turn.nodes_per_call += called.nodes_per_call
        unrecorded = self._record_and_send(call, book, called.answers, turn, is_last=is_last)
        for answer in called.answers:
            case = _case_for(answer.node, call.cases)
            if unrecorded and case.message.receives < MAX_RECEIVES:
                turn.results.append(TryAgain(case, unrecorded.code, unrecorded.message))
            else:
                turn.results.append(_conclude(case, answer, call.at))
        causes = [answer.cause for answer in called.answers if answer.cause]
        return causes[0] if len(causes) == len(called.answers) else None

    def _record_and_send(
        self, call: _Call, book: Book, answers: Sequence[Answer], turn: Round, *, is_last: bool
    ) -> CallError | None:
        """Write the answers down; returns why that could not be done. Beside the last one, checks are sent."""
        self._on_step(Step.RECORD)
        answer_of = {answer.node: answer for answer in answers}
        answered = [(case, answer_of[case.node]) for case in call.cases if case.node in answer_of]
        now = self._clock()
        troubles: list[CallError | None] = []
        tasks: list[Task] = [lambda: troubles.append(self._record(call, book, answered, now))]
        if is_last:
            first = self._first_checks(answered, book, now)
            tasks.append(lambda: turn.sent.update(self._send(first)))
        self._together(tasks)
        return troubles[0]

    def _first_checks(self, answered: Sequence[tuple[Case, Answer]], book: Book, now: datetime) -> list[FollowUp]:
        """Those that the watches name which the answers are going to open."""
        opening = [(case, answer) for case, answer in answered if answer.result in (Result.REBOOTED, Result.UNKNOWN)]
        watches = [(case, self._answered(book.node(_key(case)), case, answer, now).watch) for case, answer in opening]
        return [follow for case, watch in watches if watch and (follow := check_of(case, watch))]

    def _send(self, follow_ups: Sequence[FollowUp]) -> dict[NodeKey, FollowUp]:
        """What was sent; the rest is sent once more when the batch sends all that is left."""
        missed = self._checks.send(follow_ups)
        return {_key(follow.case): follow for place, follow in enumerate(follow_ups) if place not in missed}

    def _record(
        self, call: _Call, book: Book, answered: Sequence[tuple[Case, Answer]], now: datetime
    ) -> CallError | None:
        """Write the answers down, and give back what was not rebooted; returns why that could not be done."""
        unspent = sum(answer.result in (Result.FAILED, Result.NOT_CALLED) for _, answer in answered)
        for tried in range(_RECORD_TRIES):
            records: list[Record] = [
                self._answered(book.node(_key(case)), case, answer, now) for case, answer in answered
            ]
            if unspent:
                records.append(book.budget(call.cluster).refunded(call.id, unspent))
            try:
                if self._save(records, book):
                    return None
                self._sleep(random.uniform(0, 0.02 * 2**tried))  # noqa: S311  jitter, not cryptography
                fresh = self._ledger.load([_key(case) for case in call.cases], [call.cluster])
            except LookupFailedError as error:
                return error.error
            book.put(*fresh.nodes.values(), *fresh.budgets.values())
        return CallError(Meaning.THROTTLED, codes.LEDGER_BUSY, "the answer could not be recorded")

    def _answered(self, record: NodeRecord, case: Case, answer: Answer, now: datetime) -> NodeRecord:
        """The node's record with its answer; one that was, or may have been, rebooted is watched from now on.

        The watch names its first check, although that is not sent yet: until it is, the message is not acknowledged,
        and whoever gets it again sends it.
        """
        if answer.result is Result.NOT_CALLED:
            return record.released(case.owner)
        answered = record.answered(case.owner, answer.result, code=answer.code, message=answer.message)
        if answer.result is Result.FAILED:
            return answered
        since = record.claims[case.owner].at
        watch = opened(Stage.REBOOTED, case, record, since=since, now=since, settings=self._settings)
        # A report of health may end the watch before people are told of the reboot, as they are going to be.
        tells = answer.result is Result.UNKNOWN or self._settings.notify_rebooted
        watch = replace(watch, told=watch.told or tells)
        return answered.watching(next_check(case, watch, answered, self._settings, now) or watch)


def _conclude(case: Case, answer: Answer, at: datetime) -> Ending | TryAgain:
    if answer.result is Result.NOT_CALLED:
        return TryAgain(case, answer.code or "", answer.message)
    return conclude(case, answer.result, answer.code, answer.message, at=at)


def _case_for(node: Node, cases: Sequence[Case]) -> Case:
    """The case of an answered node; an answer for a node that was not asked for goes with the call's first."""
    asked = next((case for case in cases if case.node == node), None)
    if asked is not None:
        return asked
    first = cases[0]
    return Case(
        first.message, replace(first.reading, node=node) if isinstance(first.reading, Report) else first.reading
    )


def _key(case: Case) -> NodeKey:
    assert case.key  # noqa: S101  only reports of a node are planned
    return case.key
