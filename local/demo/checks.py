"""Holds what must have become of each node against what was read. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from local.demo.ends import End, end_problems
from local.demo.readings import DEFERRED, DUPLICATE, RECOVERED, REFUSED, Readings, Refusal

_MOST_PER_CALL = 25


class Fate(Enum):
    """Names what can become of a node that was reported."""

    REBOOTED = "rebooted once, and no one is told"
    FAILED = "not rebooted; in the dead-letter queue and on the topic, in the API's words"
    FAILED_AGAIN = "not rebooted; on the topic, and later in the dead-letter queue"
    LEFT_ALONE = "deferred: no call, no message, only log lines"
    REFUSED = "no call; in the dead-letter queue and on the topic, in the function's words"
    REFUSED_AGAIN = "no call; later in the dead-letter queue"
    BUDGETED = "rebooted, or refused as the budget is spent"
    FOLLOWED = "followed until it is known how the incident ended"


@dataclass(frozen=True, slots=True)
class Expected:
    """Describes the fate of a node, by the ID that is reported; `code` is that of one that failed or was refused.

    `instance` is the node's instance ID where HyperPod has such a node, to see whether it is well again. `end` says
    more of one that is followed.
    """

    node: str
    fate: Fate
    code: str | None = None
    instance: str | None = None
    end: End | None = None

    @property
    def may_reboot(self) -> bool:
        return self.end.reboots > 0 if self.end else self.fate in _MAY_REBOOT

    @property
    def may_be_reported(self) -> bool:
        return bool(self.end.lists) if self.end else self.fate in _MAY_BE_REPORTED


@dataclass(frozen=True, slots=True)
class Verdict:
    """Holds one line of the summary, with what is missing or wrong; nothing of that is a pass."""

    claim: str
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.problems


def problems(expected: Sequence[Expected], readings: Readings) -> list[str]:
    """Return everything about these nodes' fates that is not, or not yet, as it must be."""
    return [problem for one in expected for problem in _CHECKS[one.fate](one, readings)]


def of_fate(expected: Sequence[Expected], fate: Fate) -> list[Expected]:
    return [one for one in expected if one.fate is fate]


def verdict(claim: str, fate: Fate, expected: Sequence[Expected], readings: Readings) -> Verdict:
    """Say whether each node with this fate met it."""
    return Verdict(claim, tuple(problems(of_fate(expected, fate), readings)))


def most_calls(groups: Sequence[int]) -> int:
    """Return how many calls so many nodes, reported by group, may take: a batch window can cut each group in two."""
    return sum(2 * -(-group // _MOST_PER_CALL) if group > 1 else group for group in groups)


def unanswered(readings: Readings) -> Iterator[str]:
    """Yield the events that did not come to exactly one outcome."""
    outcomes = Counter(line.event_id for line in readings.outcomes)
    for event in readings.events:
        if outcomes[event.id] != 1:
            yield f"{event.detail_type} {event.id} has {outcomes[event.id]} outcomes in the function's log"


def strangers(expected: Sequence[Expected], readings: Readings) -> Iterator[str]:
    """Yield what happened to nodes that nothing should have happened to, and messages about them."""
    reboots = {one.node for one in expected if one.may_reboot}
    reported = {one.node for one in expected if one.may_be_reported}
    started = {node for call in readings.calls for node in call.started}
    yield from (f"{node} was rebooted, and should not be" for node in sorted(started - reboots))
    for place, nodes in (
        ("in the dead-letter queue", Counter(letter.node for letter in readings.letters)),
        ("on the topic", Counter(told.node for told in readings.told)),
    ):
        yield from (f"{node or 'a message without a node'} is {place}" for node in nodes if node not in reported)


def not_well(expected: Sequence[Expected], readings: Readings) -> Iterator[str]:
    """Yield the rebooted nodes that are not healthy again, or of which HyperPod or the function has not said so."""
    for one in expected:
        if one.end or not one.instance or not readings.started(one.node):
            continue
        if one.instance not in readings.well or not readings.said_well(one.instance):
            yield f"{one.node} is not healthy again"
        if [line.state for line in readings.ends_of(one.node)] != [RECOVERED]:
            yield f"{one.node}: the function's log does not say once that it has recovered"


def _rebooted(one: Expected, readings: Readings) -> Iterator[str]:
    starts = len(readings.started(one.node))
    if starts != 1:
        yield f"{one.node} was rebooted {starts} times, not once" if starts else f"{one.node} was not rebooted"


def _failed(one: Expected, readings: Readings) -> Iterator[str]:
    said = readings.refusal(one.node)
    if said is None:
        yield f"{one.node}: SageMaker was not asked to reboot it"
        return
    if said.code != one.code:
        yield f"{one.node}: SageMaker answered {said.code}, not {one.code}"
    yield from _not_reported(one, readings, said)


def _refused(one: Expected, readings: Readings) -> Iterator[str]:
    yield from _asked(one, readings)
    letters = readings.letters_of(one.node)
    if not letters:
        yield f"{one.node}: nothing in the dead-letter queue says that it was refused"
        return
    if (letters[0].kind, letters[0].refusal.code) != (REFUSED, one.code):
        yield f"{one.node}: {letters[0].kind} with {letters[0].refusal.code}, not refused with {one.code}"
    yield from _not_reported(one, readings, letters[0].refusal)


def _refused_again(one: Expected, readings: Readings) -> Iterator[str]:
    """Look at the log: people hear of the same refusal once per cooldown, which may not be over."""
    yield from _asked(one, readings)
    codes = [line.code for line in readings.outcomes_of_node(one.node) if line.outcome == REFUSED]
    if codes != [one.code]:
        yield f"{one.node}: the function's log does not say once that it was refused with {one.code}"
    yield from _visible(one, readings)


def _failed_again(one: Expected, readings: Readings) -> Iterator[str]:
    said = readings.refusal(one.node)
    if said is None or said.code != one.code:
        yield f"{one.node}: SageMaker did not answer with {one.code} once more"
    if [told.refusal for told in readings.told_of(one.node)] != [said]:
        yield f"{one.node}: not once on the topic with what was said"
    yield from _visible(one, readings)


def _visible(one: Expected, readings: Readings) -> Iterator[str]:
    if readings.letters_of(one.node):
        yield f"{one.node}: in the dead-letter queue already, where a move task that still runs would find it"


def _budgeted(one: Expected, readings: Readings) -> Iterator[str]:
    started = readings.started(one.node)
    yield from _rebooted(one, readings) if started else _refused(one, readings)
    if started and (readings.letters_of(one.node) or readings.told_of(one.node)):
        yield f"{one.node} was rebooted and reported as well"


def _not_reported(one: Expected, readings: Readings, said: Refusal) -> Iterator[str]:
    """Yield where a refusal is missing, is there more than once, or reads otherwise."""
    for place, found in (
        ("in the dead-letter queue", [letter.refusal for letter in readings.letters_of(one.node)]),
        ("on the topic", [told.refusal for told in readings.told_of(one.node)]),
    ):
        if found != [said]:
            yield f"{one.node}: {len(found)} messages {place}, where one must have what was said"


def _asked(one: Expected, readings: Readings) -> Iterator[str]:
    if any(one.node in call.asked for call in readings.calls):
        yield f"{one.node}: SageMaker was asked to reboot it"


def _left_alone(one: Expected, readings: Readings) -> Iterator[str]:
    yield from _asked(one, readings)
    outcomes = {line.outcome for line in readings.outcomes_of_node(one.node)}
    if outcomes not in ({DEFERRED}, {DEFERRED, DUPLICATE}):
        yield f"{one.node}: the function's log does not say that it was deferred, and that only"


def _followed(one: Expected, readings: Readings) -> Iterator[str]:
    return end_problems(one.node, one.end, readings) if one.end else iter(())


_CHECKS = {
    Fate.REBOOTED: _rebooted,
    Fate.FAILED: _failed,
    Fate.FAILED_AGAIN: _failed_again,
    Fate.LEFT_ALONE: _left_alone,
    Fate.REFUSED: _refused,
    Fate.REFUSED_AGAIN: _refused_again,
    Fate.BUDGETED: _budgeted,
    Fate.FOLLOWED: _followed,
}
_MAY_REBOOT = (Fate.REBOOTED, Fate.BUDGETED)
_MAY_BE_REPORTED = (Fate.FAILED, Fate.FAILED_AGAIN, Fate.REFUSED, Fate.REFUSED_AGAIN, Fate.BUDGETED)
