"""Examine, decide, end, send on: how watched nodes are followed until it is known how they ended."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from node_remediation import codes
from node_remediation.awserrors import CallError
from node_remediation.checks import Checks
from node_remediation.examine import Examiner
from node_remediation.followup import FollowUp, follow_up, may_replace, retried
from node_remediation.ledger import MOST_WRITTEN, Ledger
from node_remediation.lookup import LookupFailedError
from node_remediation.model import ENDS, Case, Ending, NodeKey, Outcome, TryAgain
from node_remediation.record import Book, NodeRecord
from node_remediation.resolve import failed, give_up
from node_remediation.settings import MAX_RECEIVES, Settings
from node_remediation.watch import (
    NOTHING,
    Needs,
    Seen,
    after_judgement,
    decide,
    ended,
    healthy_end,
    is_overtaken,
    needs,
)

_END_TRIES = 8
Result = Ending | TryAgain


@dataclass(slots=True)
class Followed:
    """What the checks of a batch came to: results, and cases that are to be judged; with what was seen for each."""

    results: list[Result] = field(default_factory=list)
    to_judge: list[Case] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)


class Watcher:
    """Follows watched nodes; it alone ends a watch, and always in the ledger before anybody is told."""

    def __init__(
        self,
        *,
        settings: Settings,
        examiner: Examiner,
        ledger: Ledger,
        checks: Checks,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._examiner = examiner
        self._ledger = ledger
        self._checks = checks
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter

    def follow(self, cases: Sequence[Case], book: Book, *, may_call: Callable[[], bool]) -> Followed:
        """Decide what the checks among `cases` come to; every other case is to be judged."""
        followed, now = Followed(), self._clock()
        asking = {case: needs(case, book.node(_key(case)), self._settings, now) for case in cases if case.check}
        names = {case.reading.alarm.name for case, need in asking.items() if need.alarm and case.reading.alarm}
        described: Mapping[str, Mapping[str, Any]] | CallError | LookupFailedError
        try:
            described = self._examiner.describe(sorted(names))
        except LookupFailedError as error:
            described = error
        for case in cases:
            if case not in asking:
                followed.to_judge.append(case)
            elif isinstance(seen := self._look(case, asking[case], described, may_call), TryAgain):
                followed.results.append(seen)
            else:
                followed.seen[case.owner] = seen
                self._decide(case, seen, book, followed)
        return followed

    def _look(
        self,
        case: Case,
        need: Needs,
        described: Mapping[str, Mapping[str, Any]] | CallError | LookupFailedError,
        may_call: Callable[[], bool],
    ) -> Seen | TryAgain:
        if need == Needs():
            return NOTHING
        if isinstance(described, LookupFailedError):
            if need.alarm:
                return TryAgain(case, described.error.code, described.error.message)
            described = {}
        if not may_call():
            return TryAgain(case, codes.DEADLINE_EXCEEDED, "the function ran out of time before it could look")
        try:
            return self._examiner.look(case, need, described)
        except LookupFailedError as error:
            return TryAgain(case, error.error.code, error.error.message)

    def _decide(self, case: Case, seen: Seen, book: Book, followed: Followed) -> None:
        decided = decide(case, book.node(_key(case)), seen, self._settings, self._clock())
        if isinstance(decided, Ending):
            followed.results.append(decided)
        else:
            followed.to_judge.append(decided)

    def judged(self, ending: Ending, book: Book, followed: Followed) -> Ending:
        """What the guards' no means for a check."""
        if ending.case.check is None:
            return ending
        seen = followed.seen.get(ending.case.owner, NOTHING)
        return after_judgement(ending, book.node(_key(ending.case)), seen, self._clock())

    def end(self, results: Sequence[Result], cleared: Sequence[Case], book: Book, followed: Followed) -> list[Result]:
        """The results with the ends that are now in the ledger, those that reports of health brought among them."""
        results = [_given_up(result) for result in results]
        ends = [result for result in results if isinstance(result, Ending) and result.outcome in ENDS]
        others = [result for result in results if result not in ends]
        ends += [end for case in cleared if (end := healthy_end(case, book.node(_key(case))))]
        keys = list(dict.fromkeys(_key(end.case) for end in ends))
        for start in range(0, len(keys), MOST_WRITTEN):
            part = set(keys[start : start + MOST_WRITTEN])
            others += self._end_part([end for end in ends if _key(end.case) in part], book, followed)
        return others

    def _end_part(self, ends: list[Ending], book: Book, followed: Followed) -> list[Result]:
        """Write down how at most 100 nodes ended; where somebody wrote first, decide again by what he wrote."""
        over: list[Result] = []
        for tried in range(_END_TRIES):
            records: dict[NodeKey, NodeRecord] = {}
            standing: list[Ending] = []
            for ending in ends:
                key = _key(ending.case)
                overtaken = is_overtaken(ending.case, book.node(key))  # by a reboot of the same batch
                again = self._again(ending, book, followed) if tried or overtaken or key in records else ending
                record = records.get(key) or book.node(key)
                if again is None or isinstance(again, TryAgain) or again.outcome not in ENDS or record.watch is None:
                    over += [again] if again else []
                elif record.watch.end:
                    over += _after_end(again, by_itself=record.watch.ended_by == again.case.owner)
                else:
                    records[key] = ended(record, again)
                    standing.append(again)
            try:
                if not records or self._ledger.save(list(records.values()), now=self._clock()):
                    book.put(*(record.written() for record in records.values()))
                    return [*over, *standing]
                self._sleep(random.uniform(0, 0.02 * 2**tried))  # noqa: S311  jitter, not cryptography
                book.put(*self._ledger.load(list(records), ()).nodes.values())
            except LookupFailedError as error:
                return [*over, *(failed(end.case, error) for end in standing)]
            ends = standing
        return [*over, *(TryAgain(end.case, codes.LEDGER_BUSY, "how the node ended was not written") for end in ends)]

    def _again(self, ending: Ending, book: Book, followed: Followed) -> Result | None:
        """An end decided once more; None where a report of health brings none any more."""
        case, record = ending.case, book.node(_key(ending.case))
        if case.check is None:
            return healthy_end(case, record)
        decided = decide(case, record, followed.seen.get(case.owner, NOTHING), self._settings, self._clock())
        if isinstance(decided, Ending):
            return decided
        return TryAgain(case, codes.LEDGER_BUSY, "another invocation wrote about the node meanwhile")

    def retried(self, ending: Ending, book: Book) -> Ending:
        """A failed try as one that is made again, if it is to be."""
        if ending.outcome is not Outcome.FAILED or ending.case.key is None:
            return ending
        return retried(ending, book.node(_key(ending.case)), self._settings, self._clock(), self._jitter())

    def send_on(
        self, endings: Sequence[Ending], book: Book, sent: Mapping[NodeKey, FollowUp]
    ) -> tuple[dict[NodeKey, FollowUp], dict[str, str]]:
        """Send the checks that outcomes ask for, one a node, but for those that are `sent` already.

        Returns what was sent, those among it, and the messages whose check was not.
        """
        now, follow_ups = self._clock(), dict[object, FollowUp]()
        for ending in endings:
            key = ending.case.key
            if key and key in sent and sent[key].case is ending.case:
                continue
            record = book.node(key) if key else None
            follow = follow_up(ending, record, self._settings, now)
            if follow is None:
                continue
            if follow.watch is None or record is None:
                follow_ups[ending.case.message.id] = follow
            # What the ledger will not take up must not keep the node's own check from being sent.
            elif may_replace(record.watch, follow.watch, opens=follow.opens):
                follow_ups.setdefault(key, follow)
        sending = list(follow_ups.values())
        late = {sending[index].case.message.id: why for index, why in self._checks.send(sending).items()}
        return {**sent, **{key: follow for key, follow in follow_ups.items() if isinstance(key, NodeKey)}}, late


def _given_up(result: Result) -> Result:
    """A check that does not come again ends its node's watch in the ledger too, unless somebody else has."""
    case = result.case
    if isinstance(result, Ending) or case.check is None or case.message.receives < MAX_RECEIVES:
        return result
    return give_up(case, result.code, result.reason)


def _after_end(ending: Ending, *, by_itself: bool) -> list[Result]:
    """An end that has been decided: it is told by the message that decided it, though it may come twice."""
    if by_itself:
        return [ending]
    waiting = Ending(ending.case, Outcome.WAITING, "another report has ended the watch")
    return [waiting] if ending.case.check else []


def _key(case: Case) -> NodeKey:
    assert case.key  # noqa: S101  only reports of a node are watched
    return case.key
