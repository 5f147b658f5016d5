"""Defines how an incident must end, and what must be seen on the way, held against what was read. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from local.demo.readings import (
    NOT_RECOVERED,
    REBOOTED,
    RECOVERED,
    REPAIRING,
    RETRYING,
    SUPERSEDED,
    UNVERIFIED,
    Readings,
)

GIVEN_UP, LOST = "NotRecovered", "OutcomeUnknown"


@dataclass(frozen=True, slots=True)
class End:
    """Describes an end in the log's words, after what states (`story`) and after how many reboots it comes.

    `lists` are those of the topic that name the node, in their order; `code` is that of its letter, if it has one.
    """

    state: str
    story: tuple[str, ...]
    reboots: int
    lists: tuple[str, ...] = ()
    code: str | None = None


COMES_BACK = End(RECOVERED, (REBOOTED,), reboots=1)
STAYS_SICK = End(NOT_RECOVERED, (REBOOTED, REBOOTED), reboots=2, lists=("Failed",), code=GIVEN_UP)
SAYS_NOTHING = End(UNVERIFIED, (REBOOTED,), reboots=1, lists=("Failed", "Unverified"), code=LOST)
IS_REPLACED = End(SUPERSEDED, (REBOOTED,), reboots=1)
IS_REPAIRED = End(RECOVERED, (REPAIRING,), reboots=0)
STAYS_IN_REPAIR = End(NOT_RECOVERED, (REPAIRING,), reboots=0, lists=("Failed",), code=GIVEN_UP)
IS_TRIED_AGAIN = End(RECOVERED, (RETRYING, REBOOTED), reboots=1, lists=("Failed", "Retrying", "Recovered"))


def end_problems(node: str, end: End, readings: Readings) -> Iterator[str]:
    """Yield everything about a node's end that is not, or not yet, as it must be."""
    ends = [line.state for line in readings.ends_of(node)]
    if ends != [end.state]:
        yield f"{node}: ended {' and '.join(map(str, ends))}, not {end.state}" if ends else f"{node} has not ended"
    if not _in_order(end.story, [line.state for line in readings.story_of(node)]):
        yield f"{node}: the log does not tell {', then '.join(end.story)}"
    if (starts := len(readings.started(node))) != end.reboots:
        yield f"{node} was rebooted {starts} times, not {end.reboots}"
    yield from _not_told(node, end, readings)


def _not_told(node: str, end: End, readings: Readings) -> Iterator[str]:
    lists = [told.list for told in readings.told_of(node)]
    if lists != list(end.lists):
        yield f"{node}: on the topic as {', '.join(lists) or 'nothing'}, not as {', '.join(end.lists) or 'nothing'}"
    codes = [letter.refusal.code for letter in readings.letters_of(node)]
    if codes != ([end.code] if end.code else []):
        yield f"{node}: in the dead-letter queue with {', '.join(codes) or 'nothing'}, not {end.code or 'nothing'}"
    mails = sum(node in mail.text for mail in readings.mails)
    if bool(mails) != bool(end.lists):
        yield f"{node} is named in {mails} mails"


def _in_order(wanted: tuple[str, ...], told: list[str | None]) -> bool:
    """Tell whether all that is wanted was told in this order, whatever else was."""
    rest = iter(told)
    return all(state in rest for state in wanted)
