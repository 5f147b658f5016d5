"""The daily summary: what became of all nodes in 24 hours, from their records in the ledger. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from node_remediation.model import ENDS, NodeKey, Outcome, Trigger, metric_name
from node_remediation.policy.draft import OPENED
from node_remediation.policy.modes import Modes
from node_remediation.policy.record import Entry, NodeRecord, derived_id

# The record that says when the stack's own daily event came through.
CANARY = NodeKey("", "canary")
# The canary is sent every 24 hours. One that is this old is late.
CANARY_LATE = timedelta(hours=26)
_DAY = timedelta(hours=24)
# Of more open incidents or clusters, the rest are counted.
_MOST_SHOWN = 10
# A line of history that tells an end: of an incident, or of a report with its own answer, after the report's source.
_END = re.compile(rf"(?:.*?: )??(?P<end>{'|'.join(sorted(ENDS))}): (?:(?P<code>[A-Za-z][A-Za-z0-9]*): )?")
_TOLD_BY_CODE = (Outcome.REFUSED, Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class _End:
    """An end of an incident or report: its code, and how long the incident took, if it was one."""

    outcome: Outcome
    code: str | None
    took: timedelta | None


def summary_id(until: datetime) -> str:
    """Return the ID of the summary that ends at a time."""
    return derived_id("daily summary", until)


def summary_of(records: Iterable[NodeRecord], modes: Modes, until: datetime, now: datetime) -> Entry:
    """Return the notice that sums up the 24 hours until a time."""
    since, canary_at = until - _DAY, None
    incidents, rebooted, replaced, open_ones = Counter[str](), 0, 0, list[NodeRecord]()
    ends = list[_End]()
    for record in records:
        if record.key == CANARY and record.history:
            canary_at = record.history[-1][0]
        if not record.key.cluster:
            continue
        opened = sum(since <= at < until and text.startswith(OPENED) for at, text in record.history)
        incidents.update({record.key.cluster: opened} if opened else {})
        rebooted += sum(since <= at < until for at in record.reboots)
        replaced += sum(since <= at < until for at in record.replacements)
        ends += _ends(record, since, until)
        open_ones += [record] if record.incident else []
    by_end = Counter(end.outcome for end in ends)
    times = [end.took for end in ends if end.outcome is Outcome.RECOVERED and end.took]
    counts = {
        "Incidents": incidents.total(),
        "Rebooted": rebooted,
        "Replaced": replaced,
        **{metric_name(end): by_end[end] for end in _SHOWN_ENDS},
        "Open": len(open_ones),
        **({"MeanSecondsToRecovery": sum(times, timedelta()) // len(times) // timedelta(seconds=1)} if times else {}),
    }
    lines = [
        *_of_clusters(incidents),
        *_of_ends(counts),
        *(line for outcome in _TOLD_BY_CODE for line in _of_codes(outcome, ends)),
        *_of_open(sorted(open_ones, key=_since)),
        _of_canary(canary_at, now),
        *_of_modes(modes, now),
    ]
    return Entry(
        id=summary_id(until),
        incident=None,
        outcome=Outcome.DAILY_SUMMARY,
        cluster="*",
        node=None,
        code=None,
        message=_in_short(counts, is_late=_is_late(canary_at, now), modes=modes, now=now),
        trigger=Trigger("", "", "", until),
        at=now,
        due=now,
        topic=True,
        history=tuple(lines),
        counts=tuple(counts.items()),
    )


_SHOWN_ENDS = (
    Outcome.RECOVERED,
    Outcome.NOT_RECOVERED,
    Outcome.UNVERIFIED,
    Outcome.SUPERSEDED,
    Outcome.CLEARED,
    Outcome.FAILED,
    Outcome.REFUSED,
    Outcome.OBSERVED,
)


def _ends(record: NodeRecord, since: datetime, until: datetime) -> Iterator[_End]:
    """Yield what ended in the time, from the node's history."""
    opened_at = None
    for at, text in record.history:
        if text.startswith(OPENED):
            opened_at = at
        elif (found := _END.match(text)) and since <= at < until:
            is_incident = found.start("end") == 0
            took = at - opened_at if is_incident and opened_at else None
            yield _End(Outcome(found["end"]), found["code"], took)


def _since(record: NodeRecord) -> datetime:
    assert record.incident  # noqa: S101  only such records are given
    return record.incident.opened_at


def _in_short(counts: dict[str, int], *, is_late: bool, modes: Modes, now: datetime) -> str:
    """Return what fits into a subject."""
    if is_late:
        return "no canary came through, look at the alarms"
    if counts["Incidents"] or counts["Open"]:
        parts = [(counts["Incidents"], "reported"), (counts["Recovered"], "recovered"), (counts["Open"], "open")]
        unhappy = (counts[metric_name(end)] for end in (Outcome.NOT_RECOVERED, Outcome.FAILED, Outcome.REFUSED))
        parts.append((sum(unhappy), "not helped"))
        return ", ".join(f"{count} {what}" for count, what in parts if count or what == "reported")
    if counts["Refused"] or counts["Failed"]:
        return f"{counts['Refused'] + counts['Failed']} reports refused or failed"
    return "quiet, but not active" if _of_modes(modes, now) else "quiet because healthy"


def _of_clusters(incidents: Counter[str]) -> list[str]:
    if not incidents:
        return ["No node was reported in these 24 hours."]
    shown = [f"{count} of {cluster}" for cluster, count in incidents.most_common(_MOST_SHOWN)]
    more = len(incidents) - len(shown)
    return [f"Incidents: {', '.join(shown)}{f', and of {more} clusters more' if more else ''}."]


def _of_ends(counts: dict[str, int]) -> list[str]:
    """Return a line with what was done and what came of it; none if that is nothing."""
    words = {"Rebooted": "rebooted", "Replaced": "replaced"}
    words |= {metric_name(end): end.replace("_", " ") for end in _SHOWN_ENDS if end not in _TOLD_BY_CODE}
    parts = [f"{counts[name]} {word}" for name, word in words.items() if counts[name]]
    if "MeanSecondsToRecovery" in counts:
        minutes, seconds = divmod(counts["MeanSecondsToRecovery"], 60)
        parts.append(f"mean time to recovery {minutes} min {seconds} s")
    return [f"Nodes: {', '.join(parts)}."] if parts else []


def _of_codes(outcome: Outcome, ends: Iterable[_End]) -> list[str]:
    codes = Counter(end.code or "without a code" for end in ends if end.outcome is outcome)
    parts = ", ".join(f"{count} {code}" for code, count in codes.most_common(_MOST_SHOWN))
    return [f"{metric_name(outcome)}: {parts}."] if parts else []


def _of_open(records: list[NodeRecord]) -> list[str]:
    lines = [
        f"Open: {record.key.id} of {record.key.cluster}, {incident.state} since {incident.since:%Y-%m-%d %H:%M} UTC"
        for record in records[:_MOST_SHOWN]
        if (incident := record.incident)
    ]
    more = len(records) - len(lines)
    return [*lines, *([f"And {more} more are open."] if more else [])]


def _is_late(canary_at: datetime | None, now: datetime) -> bool:
    return canary_at is not None and canary_at <= now - CANARY_LATE


def _of_canary(canary_at: datetime | None, now: datetime) -> str:
    if canary_at is None:
        return "No canary has come through yet: the first comes within a day of the deploy."
    came = f"{canary_at:%Y-%m-%d %H:%M} UTC"
    if _is_late(canary_at, now):
        return (
            f"The last canary came through at {came}, over 26 hours ago: reports of sick nodes may not arrive either."
        )
    return f"The canary came through at {came}: rule, queue, function and ledger work."


def _of_modes(modes: Modes, now: datetime) -> list[str]:
    """Return a line for each mode but active, as nodes are not rebooted there."""
    entries = [each for each in modes.entries if each.holds(now) and each.word != "active"]
    lines = [f"Mode of {each.pattern}: {each.word}" for each in entries[:_MOST_SHOWN]]
    everywhere = any(each.pattern == "*" for each in entries)
    return [*lines, *([f"Mode: {modes.default}"] if modes.default != "active" and not everywhere else [])]
