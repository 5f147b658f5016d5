"""Gathers what happened in a period from the ledger's records, as values that are JSON. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, pairwise
from typing import Any, NamedTuple

from node_remediation import codes
from node_remediation.model import Outcome
from node_remediation.policy.draft import OPENED
from node_remediation.policy.record import Incident, NodeRecord, State
from node_remediation.settings import Settings, in_words
from tool.story import Chapter, chapters, telling
from tool.times import iso

View = dict[str, Any]

# What the page calls a state, in colour and in words. The first of these is the most troubled one.
KINDS = {
    "failing": "failed or not recovered",
    "refused": "refused: not rebooted",
    "asked": "waits for approval",
    "unproven": "not known whether it is well",
    "waiting": "reported, waiting",
    "rebooting": "rebooted, not well yet",
    "repairing": "being replaced or repaired",
    "aside": "instance gone, or only observed",
    "well": "recovered or cleared",
}
NEED_A_PERSON = ("failing", "refused", "asked", "unproven")
KIND_OF: dict[str, str] = {
    State.OPEN: "waiting",
    State.CLAIMED: "waiting",
    State.RETRYING: "waiting",
    State.PROPOSED: "asked",
    State.REBOOTED: "rebooting",
    State.REPLACED: "repairing",
    State.REPAIRING: "repairing",
    Outcome.FAILED: "failing",
    Outcome.NOT_RECOVERED: "failing",
    Outcome.REFUSED: "refused",
    Outcome.UNVERIFIED: "unproven",
    Outcome.OBSERVED: "aside",
    Outcome.SUPERSEDED: "aside",
    Outcome.CLEARED: "well",
    Outcome.RECOVERED: "well",
}
_SENT = "sent: "
# The chart goes on a little after the last change, so that the state after it is seen.
_AFTER = 0.12
_LEAST_AFTER = timedelta(seconds=5)


class Period(NamedTuple):
    """The time that is told of."""

    since: datetime
    until: datetime

    def has(self, at: datetime) -> bool:
        return self.since <= at <= self.until


class _Change(NamedTuple):
    at: datetime
    state: str
    kind: str


def report(
    records: Sequence[NodeRecord], limits: Mapping[str, int | None], *, settings: Settings, period: Period
) -> View:
    """Return what happened in a period; `limits` has how many nodes of each cluster may be rebooted in a window."""
    nodes = [node for record in records if (node := _node(record, period))]
    nodes.sort(key=lambda node: (list(KINDS).index(node["kind"]), -len(node["incidents"]), node["cluster"], node["id"]))
    incidents = [incident for node in nodes for incident in node["incidents"]]
    took = sorted(each["recovered_after"] for each in incidents if each["recovered_after"] is not None)
    return {
        "since": iso(period.since),
        "at": iso(period.until),
        "summary": {
            "incidents": len(incidents),
            "nodes": len(nodes),
            "clusters": len({node["cluster"] for node in nodes}),
            "rebooted": sum(each["rebooted"] for each in incidents),
            "recovered": sum(each["state"] == Outcome.RECOVERED for each in incidents),
            "open": sum(each["open"] for each in incidents),
            "need_a_person": sum(node["kind"] in NEED_A_PERSON for node in nodes),
            "mean_seconds_to_recovery": round(sum(took) / len(took)) if took else None,
            "longest_seconds_to_recovery": took[-1] if took else None,
        },
        "outcomes": _outcomes(incidents),
        "axis": _axis(nodes, period),
        "nodes": nodes,
        "budgets": [_budget(name, records, limit, settings, period) for name, limit in sorted(limits.items())],
        "told": _told(records, period),
    }


def spending_clusters(records: Iterable[NodeRecord], settings: Settings, period: Period) -> set[str]:
    """Return the clusters of which something was rebooted, or refused for the budget, in a period."""
    return {each.key.cluster for each in records if _claims([each], settings, period) or _over_budget(each, period)}


def _node(record: NodeRecord, period: Period) -> View | None:
    """Return what happened to a node; None if that was nothing."""
    found = [each for each in chapters(record) if each.is_open or any(period.has(at) for at, _ in each.lines)]
    changes = _changes(found, record.incident)
    if not record.key.id or not any(each.id for each in found) or not changes:
        return None
    return {
        "id": record.key.id,
        "cluster": record.key.cluster,
        "logical_id": record.logical_id,
        "group": record.group,
        "state": changes[-1].state,
        "kind": changes[-1].kind,
        "last": next(filter(None, (telling(each.lines) for each in reversed(found))), None),
        "unsent": sum(entry.unsent for entry in record.outbox),
        "segments": list(_segments(changes, period)),
        "incidents": [_incident(each) for each in found if each.id],
    }


def _incident(chapter: Chapter) -> View:
    """Return an incident; the time until recovery counts where the history still has its beginning."""
    times, texts = [at for at, _ in chapter.lines], [text for _, text in chapter.lines]
    whole = bool(texts) and texts[0].startswith(OPENED)
    ended = next((at for at, text in chapter.lines if _state_of(text) == Outcome.RECOVERED), None)
    return {
        "id": chapter.id,
        "state": chapter.state,
        "open": chapter.is_open,
        "opened_at": iso(times[0]) if whole else None,
        "rebooted": any(_state_of(text) == State.REBOOTED for text in texts),
        "recovered_after": int((ended - times[0]).total_seconds()) if ended and whole else None,
        "lines": [{"at": iso(at), "text": text} for at, text in chapter.lines],
    }


def _state_of(text: str) -> str | None:
    """Return the state that a line of history tells the beginning of."""
    if text.startswith(OPENED):
        return State.OPEN
    word = text.partition(":")[0]
    return word if word in KIND_OF else None


def _changes(found: Sequence[Chapter], now: Incident | None) -> list[_Change]:
    """Return a node's changes of state in these incidents, the earliest first."""
    changes = []
    for at, text in chain.from_iterable(each.lines for each in found):
        if state := _state_of(text):
            changes.append(_Change(at, state, KIND_OF[state]))
    if now and (not changes or changes[-1].state != now.state):
        changes.append(_Change(now.since, now.state, KIND_OF[now.state]))
    return changes


def _segments(changes: Sequence[_Change], period: Period) -> Iterator[View]:
    """Return the parts of a period in which a node was in one kind of state."""
    ends = [*(later.at for _, later in pairwise(changes)), period.until]
    parts: list[tuple[str, datetime, datetime]] = []
    for change, end in zip(changes, ends, strict=True):
        start = max(change.at, period.since)
        if parts and parts[-1][0] == change.kind:
            parts[-1] = (change.kind, parts[-1][1], end)
        elif end > period.since:
            parts.append((change.kind, start, end))
    for kind, start, end in parts:
        yield {"kind": kind, "from": iso(start), "until": iso(end)}


def _axis(nodes: Sequence[View], period: Period) -> View:
    """Return the part of the period in which something changed, with a little of what came after."""
    starts = [datetime.fromisoformat(each["from"]) for node in nodes for each in node["segments"]]
    if not starts:
        return {"from": iso(period.since), "until": iso(period.until)}
    first, last = min(starts), max(starts)
    is_open = any(incident["open"] for node in nodes for incident in node["incidents"])
    until = period.until if is_open else min(last + max((last - first) * _AFTER, _LEAST_AFTER), period.until)
    return {"from": iso(first), "until": iso(until)}


def _outcomes(incidents: Sequence[View]) -> list[View]:
    """Count incidents by their end, or by the state that they are in; the most troubled first."""
    counted = Counter((each["state"] or "unknown", each["open"]) for each in incidents)
    order = list(KINDS)

    def trouble(key: tuple[str, bool]) -> tuple[int, str]:
        return order.index(KIND_OF.get(key[0], "unproven")), key[0]

    return [
        {"state": state, "kind": KIND_OF.get(state, "unproven"), "open": is_open, "incidents": counted[state, is_open]}
        for state, is_open in sorted(counted, key=trouble)
    ]


def _budget(cluster: str, records: Sequence[NodeRecord], limit: int | None, settings: Settings, period: Period) -> View:
    """Return how much of a cluster's budget was spent at any time of a period, from the claims of its nodes."""
    own = [record for record in records if record.key.cluster == cluster]
    claims, window = _claims(own, settings, period), settings.budget_window
    times = sorted({at for claim in claims for at in (claim, claim + window) if period.has(at)} | {period.since})
    steps = [(at, sum(claim <= at < claim + window for claim in claims)) for at in times]
    peak_at, peak = max(steps, key=lambda step: step[1])
    return {
        "cluster": cluster,
        "limit": limit,
        "window": in_words(window),
        "reboots": sum(map(period.has, claims)),
        "peak": peak,
        "peak_at": iso(peak_at) if peak else None,
        "refused": sum(_over_budget(record, period) for record in own),
        "steps": [[iso(at), spent] for at, spent in steps],
    }


def _claims(records: Iterable[NodeRecord], settings: Settings, period: Period) -> list[datetime]:
    """Return the claims for reboots that counted at some time of a period."""
    oldest = period.since - settings.budget_window
    return sorted(at for record in records for at in record.reboots if oldest < at <= period.until)


def _over_budget(record: NodeRecord, period: Period) -> int:
    """Count the times that the budget kept a node from being rebooted."""
    said = f"{Outcome.REFUSED}: {codes.CLUSTER_BUDGET_EXCEEDED}"
    return sum(text.startswith(said) for at, text in record.history if period.has(at))


def _told(records: Iterable[NodeRecord], period: Period) -> list[View]:
    """Return what people were sent, nodes of which the same was sent in the same second together."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        for at, text in record.history:
            if text.startswith(_SENT) and period.has(at):
                found.setdefault((str(iso(at)), record.key.cluster, text.removeprefix(_SENT)), []).append(record.key.id)
    told = []
    for (time, cluster, text), ids in sorted(found.items()):
        parts, _, about = text.rpartition(", ")
        told.append(
            {"at": time, "cluster": cluster, "parts": parts, "about": about, "nodes": sorted(filter(None, ids))}
        )
    return told
