"""What must have become of each node, held against what was read. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from local.demo.readings import Readings

_MOST_PER_CALL = 25
DEFERRED = "deferred"


class Fate(Enum):
    """What can become of a node that was reported."""

    REBOOTED = "rebooted once, and nobody is bothered"
    FAILED = "not rebooted; in the dead-letter queue and on the topic, in the API's words"
    LEFT_ALONE = "deferred: no call, no message, only a log line"


@dataclass(frozen=True, slots=True)
class Expected:
    """A node by the ID that is reported, and its fate; `code` is the error that a failed one must show.

    `instance` is the node's instance ID where HyperPod has such a node, to see whether it is well again.
    """

    node: str
    fate: Fate
    code: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the summary, with what is missing or wrong; nothing of that is a pass."""

    claim: str
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.problems


def problems(expected: Sequence[Expected], readings: Readings) -> list[str]:
    """Everything about these nodes that is not, or not yet, as it must be."""
    found = [problem for one in expected for problem in _CHECKS[one.fate](one, readings)]
    return [*found, *not_well(expected, readings)]


def of_fate(expected: Sequence[Expected], fate: Fate) -> list[Expected]:
    return [one for one in expected if one.fate is fate]


def verdict(claim: str, fate: Fate, expected: Sequence[Expected], readings: Readings) -> Verdict:
    """Whether each node with this fate met it."""
    found = [problem for one in of_fate(expected, fate) for problem in _CHECKS[fate](one, readings)]
    return Verdict(claim, tuple(found))


def most_calls(groups: Sequence[int]) -> int:
    """The calls that so many nodes, reported group by group, may take: a batch window can cut each group in two."""
    return sum(2 * -(-group // _MOST_PER_CALL) if group > 1 else group for group in groups)


def strangers(expected: Sequence[Expected], readings: Readings) -> Iterator[str]:
    """What happened to nodes that nothing should have happened to, and messages about them."""
    reboots = {one.node for one in of_fate(expected, Fate.REBOOTED)}
    failures = {one.node for one in of_fate(expected, Fate.FAILED)}
    started = {node for call in readings.calls for node in call.started}
    yield from (f"{node} was rebooted, and should not be" for node in sorted(started - reboots))
    for place, nodes in (
        ("in the dead-letter queue", Counter(letter.node for letter in readings.letters)),
        ("on the topic", Counter(told.node for told in readings.told)),
    ):
        yield from (f"{node or 'a message without a node'} is {place}" for node in nodes if node not in failures)


def not_well(expected: Sequence[Expected], readings: Readings) -> Iterator[str]:
    """The rebooted nodes that have not come back healthy."""
    for one in of_fate(expected, Fate.REBOOTED):
        if one.instance and readings.started(one.node) and one.instance not in readings.well:
            yield f"{one.node} is not healthy again"


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
    for place, found in (
        ("in the dead-letter queue", [letter.refusal for letter in readings.letters_of(one.node)]),
        ("on the topic", [told.refusal for told in readings.told_of(one.node)]),
    ):
        if found != [said]:
            yield f"{one.node}: {len(found)} messages {place}, where one must have what SageMaker said"


def _left_alone(one: Expected, readings: Readings) -> Iterator[str]:
    if any(one.node in call.asked for call in readings.calls):
        yield f"{one.node}: SageMaker was asked to reboot it"
    if not any(line.node == one.node and line.outcome == DEFERRED for line in readings.log):
        yield f"{one.node}: no log line of the function says that it was deferred"


_CHECKS = {Fate.REBOOTED: _rebooted, Fate.FAILED: _failed, Fate.LEFT_ALONE: _left_alone}
