"""Holds what the night and the redrive must have come to against what was read. Pure."""

from collections import Counter
from collections.abc import Iterator

from local.demo.checks import Fate, Verdict, most_calls, not_well, of_fate, problems, strangers, unanswered, verdict
from local.demo.guarded import STORM_REPORTS
from local.demo.night import Night
from local.demo.readings import Readings
from local.demo.stage import READER

# The outcomes of a report about a node that is, or was, being rebooted for another report.
_JOINED = {"duplicate", "cleared"}


def judge_night(night: Night, seen: Readings) -> list[Verdict]:
    """Return the claims about the night."""
    expected, reboots = night.expected, night.reboots
    calls = [call for call in seen.calls if call.started]
    too_many = [f"{len(calls)} calls rebooted something"] if len(calls) > most_calls(reboots) else []
    failed, refused = of_fate(expected, Fate.FAILED), of_fate(expected, Fate.REFUSED)
    alone = of_fate(expected, Fate.LEFT_ALONE)
    return [
        Verdict(f"{sum(reboots)} nodes were rebooted, each once", tuple(_not_rebooted(night, seen))),
        Verdict(f"that took at most {most_calls(reboots)} calls", tuple(too_many)),
        Verdict(
            "they are all healthy again, and the log says once of each that it recovered",
            tuple(not_well(expected, seen)),
        ),
        verdict(
            f"{len(failed)} could not be: in the DLQ and on the topic, in SageMaker's words",
            Fate.FAILED,
            expected,
            seen,
        ),
        Verdict(
            f"the budget let {night.budget.budget} of {len(night.budget.expected)} nodes be rebooted and refused the "
            f"other {len(night.budget.expected) - night.budget.budget}",
            tuple(_over_budget(night, seen)),
        ),
        Verdict(
            f"{len(refused)} more were refused, {' and '.join(str(one.code) for one in refused)}: in the DLQ and on "
            "the topic",
            tuple(problems(refused, seen)),
        ),
        Verdict(f"{READER} got mail that names all of them", tuple(_not_mailed(night, seen))),
        Verdict(f"one node's {STORM_REPORTS} reports were one reboot and no message", tuple(_not_joined(night, seen))),
        Verdict(
            f"{len(alone)} nodes were left alone: one of a muted alarm, one that HyperPod replaces",
            tuple(problems(alone, seen)),
        ),
        Verdict(f"each of the {len(seen.events)} events came to exactly one outcome", tuple(unanswered(seen))),
        Verdict("nothing happened to any other node", tuple(strangers(expected, seen))),
    ]


def judge_redrive(night: Night, before: Readings, after: Readings) -> list[Verdict]:
    """Return the claims about what became of the letters; `after` has only what was seen since the redrive."""
    groups = night.after_redrive(before)
    expected = [one for group in groups for one in group.expected]
    back = len(of_fate(expected, Fate.FAILED_AGAIN)) + len(of_fate(expected, Fate.REFUSED_AGAIN))
    hidden = [] if after.delayed == back else [f"{after.delayed} letters wait in the dead-letter queue"]
    return [
        *(Verdict(f"redrive: {group.claim}", tuple(problems(group.expected, after))) for group in groups),
        Verdict(
            f"redrive: the {back} letters that are back in the DLQ are invisible for 15 minutes, so that a move task "
            "does not chase them",
            tuple(hidden),
        ),
        Verdict(
            "they are healthy, and nothing else came of it", (*not_well(expected, after), *strangers(expected, after))
        ),
    ]


def _not_rebooted(night: Night, seen: Readings) -> Iterator[str]:
    yield from problems(of_fate(night.expected, Fate.REBOOTED), seen)
    starts = Counter(node for call in seen.calls for node in call.started)
    yield from (f"{node} was rebooted {times} times" for node, times in starts.items() if times > 1)
    if len(starts) != sum(night.reboots):
        yield f"{len(starts)} nodes were rebooted"


def _over_budget(night: Night, seen: Readings) -> Iterator[str]:
    yield from problems(night.budget.expected, seen)
    rebooted = sum(bool(seen.started(one.node)) for one in night.budget.expected)
    if rebooted != night.budget.budget:
        yield f"{rebooted} were rebooted"


def _not_mailed(night: Night, seen: Readings) -> Iterator[str]:
    named = [*of_fate(night.expected, Fate.FAILED), *of_fate(night.expected, Fate.REFUSED)]
    named += [one for one in night.budget.expected if not seen.started(one.node)]
    for one in named:
        if not any(one.node in mail.text for mail in seen.mails):
            yield f"{READER} got no mail that names {one.node}"


def _not_joined(night: Night, seen: Readings) -> Iterator[str]:
    [one] = night.storm.expected
    reports = seen.events_of(one.node)
    outcomes = Counter(line.outcome for line in seen.outcomes_of(reports))
    if len(reports) != STORM_REPORTS or outcomes.total() != len(reports):
        yield f"{one.node}: {len(reports)} reports, {outcomes.total()} outcomes"
    if outcomes.pop("rebooted", 0) != 1 or outcomes.keys() - _JOINED:
        yield f"{one.node}: its reports came to {dict(outcomes)}"
    if seen.letters_of(one.node) or seen.told_of(one.node) or any(one.node in mail.text for mail in seen.mails):
        yield f"{one.node}: people were told of it"
