"""Holds what must have become of each node against what was read. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from local.demo.looking import ENDS_AFTER_REBOOT, Readings

_MOST_PER_CALL = 25
# The outcomes of a report about a node that is, or was, being rebooted for another report.
_JOINED = {"duplicate", "cleared"}


@dataclass(frozen=True, slots=True)
class Fate:
    """Describes what must become of a node that is reported.

    `words` are the log's, in their order, with others between them. `lists` are those of the topic that name the node;
    then a mail does too. `letter`: it is visible in the dead-letter queue, with `code`. `quoted`: the code and the
    message that people get are those of SageMaker's answer.
    """

    words: tuple[str, ...]
    reboots: int = 0
    lists: tuple[str, ...] = ()
    code: str | None = None
    letter: bool = False
    quoted: bool = False


REBOOTED = Fate(("rebooted", "recovered"), reboots=1)
LEFT_ALONE = Fate(("deferred",))
STAYS_SICK = Fate(("rebooted", "rebooted", "not_recovered"), 2, ("Failed",), "NotRecovered", letter=True)
SAYS_NOTHING = Fate(("rebooted", "unverified"), 1, ("Failed", "Unverified"), "OutcomeUnknown", letter=True)
IS_REPLACED = Fate(("rebooted", "superseded"), reboots=1)
IS_REPAIRED = Fate(("repairing", "recovered"))
STAYS_IN_REPAIR = Fate(("repairing", "not_recovered"), 0, ("Failed",), "NotRecovered", letter=True)
IS_APPROVED = Fate(("proposed", "rebooted", "recovered"), 1, ("Proposed",))
IS_VETOED = Fate(("proposed", "refused"), 0, ("Proposed", "Refused"), "Vetoed", letter=True)
IS_TRIED_AGAIN = Fate(("retrying", "rebooted", "recovered"), 1, ("Failed", "Retrying", "Recovered"))


def failed(code: str, *, topic: str = "Failed", again: bool = False) -> Fate:
    """Return the fate of a node that SageMaker does not reboot; failed again, its letter is invisible for a while."""
    return Fate(("failed",), lists=(topic,), code=code, letter=not again, quoted=True)


def refused(code: str, *, again: bool = False) -> Fate:
    """Return the fate of a node that a guard refuses; people hear of the same refusal once per cooldown."""
    return Fate(("refused",), lists=() if again else ("Refused",), code=code, letter=not again)


@dataclass(frozen=True, slots=True)
class Expected:
    """Names a node by the ID that is reported, with the fates that it may have: one of them it must have."""

    node: str
    fates: tuple[Fate, ...]

    def problems(self, seen: Readings) -> list[str]:
        """Return everything about the node that is not, or not yet, as it must be."""
        return min((list(_problems(self.node, fate, seen)) for fate in self.fates), key=len)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Holds one line of the verdict, with what is missing or wrong; nothing of that is a pass."""

    claim: str
    problems: Sequence[str] = ()


def _problems(node: str, fate: Fate, seen: Readings) -> Iterator[str]:
    starts = len(seen.started(node))
    if starts != fate.reboots:
        yield f"{node} was rebooted {starts} times, not {fate.reboots}"
    if not fate.quoted and not fate.reboots and any(node in call.asked for call in seen.calls):
        yield f"{node}: SageMaker was asked to reboot it"
    yield from _told_problems(node, fate, seen)
    yield from _log_problems(node, fate, seen)
    if fate.words[-1] == "recovered" and node not in seen.well:
        yield f"{node} is not healthy again"


def _told_problems(node: str, fate: Fate, seen: Readings) -> Iterator[str]:
    told, letters, answer = seen.told_of(node), seen.letters_of(node), seen.answer(node)
    if fate.quoted and (answer is None or answer.code != fate.code):
        yield f"{node}: SageMaker answered {answer.code if answer else 'nothing'}, not {fate.code}"
    elif fate.quoted and any(entry.reason != answer for entry in told):
        yield f"{node}: the topic does not say what SageMaker said"
    if (lists := tuple(entry.list for entry in told)) != fate.lists:
        yield f"{node}: on the topic as {_listed(lists)}, not as {_listed(fate.lists)}"
    codes, wanted = [letter.reason.code for letter in letters], [fate.code] if fate.letter else []
    if codes != wanted:
        yield f"{node}: in the dead-letter queue with {_listed(codes)}, not with {_listed(wanted)}"
    if any(letter.reason not in [entry.reason for entry in told] for letter in letters):
        yield f"{node}: the letter says what the topic does not"
    if bool(mails := sum(node in mail.text for mail in seen.mails)) != bool(fate.lists):
        yield f"{node} is named in {mails} mails"


def _log_problems(node: str, fate: Fate, seen: Readings) -> Iterator[str]:
    story = seen.story_of(node)
    words = [line["outcome"] or line["state"] for line in story]
    rest = iter(words)
    if not all(word in rest for word in fate.words):
        yield f"{node}: the log tells {_listed(dict.fromkeys(words))}, not {', then '.join(fate.words)}"
    ends = [line["state"] for line in seen.ends_of(node)]
    if ends != [word for word in fate.words if word in ENDS_AFTER_REBOOT]:
        yield f"{node} ended {_listed(ends)}"
    if fate.code and fate.code not in {line["code"] for line in story}:
        yield f"{node}: the log has no line with {fate.code}"


def _listed(words: Iterable[object]) -> str:
    return ", ".join(map(str, words)) or "nothing"


def calls_problems(reboots: Sequence[int], seen: Readings) -> Iterator[str]:
    """Compare reboots and calls with how many nodes each step rebooted; a batch window can cut each group in two."""
    starts = Counter(node for call in seen.calls for node in call.started)
    yield from (f"{node} was rebooted {times} times" for node, times in starts.items() if times > 1)
    if len(starts) != sum(reboots):
        yield f"{len(starts)} nodes were rebooted"
    calls = sum(bool(call.started) for call in seen.calls)
    if calls > (most := sum(2 * -(-group // _MOST_PER_CALL) if group > 1 else group for group in reboots)):
        yield f"that took {calls} calls, where {most} are enough"


def budget_problems(expected: Sequence[Expected], budget: int, seen: Readings) -> Iterator[str]:
    """Compare how many of the nodes were rebooted with the budget."""
    if (rebooted := sum(bool(seen.started(one.node)) for one in expected)) != budget:
        yield f"{rebooted} of {len(expected)} were rebooted, not {budget}"


def storm_problems(node: str, reports: int, seen: Readings) -> Iterator[str]:
    """Check that one of a node's many reports led to a reboot, and that all others joined it."""
    events = seen.events_of(node)
    outcomes = Counter(line["outcome"] for line in seen.reports_of(events))
    if len(events) != reports or outcomes.total() != reports:
        yield f"{node}: {len(events)} reports, {outcomes.total()} outcomes"
    if outcomes.pop("rebooted", 0) != 1 or outcomes.keys() - _JOINED:
        yield f"{node}: its reports came to {dict(outcomes)}"


def unanswered(seen: Readings) -> Iterator[str]:
    """Yield the events that did not come to exactly one outcome."""
    outcomes = Counter(line["event_id"] for line in seen.reports)
    for event in seen.events:
        if outcomes[event.id] != 1:
            yield f"{event.kind} {event.id} has {outcomes[event.id]} outcomes in the function's log"


def strangers(expected: Sequence[Expected], seen: Readings) -> Iterator[str]:
    """Yield what happened to nodes that nothing should have happened to, and messages about them."""
    known = {one.node for one in expected}
    started = {node for call in seen.calls for node in call.started}
    yield from (f"{node} was rebooted, and should not be" for node in sorted(started - known))
    for place, found in (("in the dead-letter queue", seen.letters), ("on the topic", seen.told)):
        nodes = dict.fromkeys(one.node for one in found)
        yield from (f"{node or 'a message without a node'} is {place}" for node in nodes if node not in known)


def recovery_problems(seen: Readings) -> Iterator[str]:
    """Compare the values of the metric TimeToRecovery with the nodes that recovered."""
    recovered = sum(is_recovery for is_recovery in (line["state"] == "recovered" for line in seen.log))
    if len(seen.recoveries) != recovered:
        yield f"{len(seen.recoveries)} values for {recovered} nodes that recovered"
