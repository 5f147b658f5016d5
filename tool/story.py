"""Tells the story of a node from its ledger record, as values that are JSON and that text is made from. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from node_remediation.model import ENDS
from node_remediation.policy.draft import OPENED
from node_remediation.policy.guards import last_reboot
from node_remediation.policy.record import Budget, Complaint, Entry, Incident, NodeRecord, State
from node_remediation.settings import Settings, in_words
from tool.times import iso

View = dict[str, Any]
Line = tuple[datetime, str]

# What an open incident waits for.
WAITS = {
    State.OPEN: "waits to be judged",
    State.PROPOSED: "waits for approve or veto",
    State.CLAIMED: "waits for SageMaker's answer",
    State.RETRYING: "waits to be tried again",
    State.REBOOTED: "waits for signs of health",
    State.REPLACED: "waits for its instance to be gone",
    State.REPAIRING: "waits for HyperPod's own repair",
}


@dataclass(frozen=True, slots=True)
class Chapter:
    """An incident's lines of a node's history. `id` is None for lines from before the first that is kept whole.

    `state` is the incident's state now, or its end; None where the history does not tell.
    """

    id: str | None
    lines: tuple[Line, ...]
    state: str | None
    is_open: bool


def chapters(record: NodeRecord) -> list[Chapter]:
    """Return the node's incidents, as far as its history tells of them, the latest last."""
    parts: list[tuple[str | None, list[Line]]] = []
    for at, text in record.history:
        if text.startswith(OPENED):
            parts.append((text.removeprefix(OPENED).partition(":")[0], []))
        elif not parts:
            parts.append((None, []))
        parts[-1][1].append((at, text))
    current = record.incident
    if current and current.id not in (id_ for id_, _ in parts):  # its beginning is not kept any more
        _, lines = parts.pop() if parts and parts[-1][0] is None else (None, [])
        parts.append((current.id, lines))
    return [_chapter(id_, lines, current) for id_, lines in parts]


def _chapter(id_: str | None, lines: Sequence[Line], current: Incident | None) -> Chapter:
    if current and id_ == current.id:
        return Chapter(id_, tuple(lines), current.state.value, is_open=True)
    ends = [word for _, text in lines if (word := text.partition(":")[0]) in ENDS]
    return Chapter(id_, tuple(lines), ends[-1] if ends else None, is_open=False)


def story(record: NodeRecord, budget: Budget, *, limit: int | None, settings: Settings, now: datetime) -> View:
    """Return all that the ledger tells of a node, and the limits that its next reboot has to keep."""
    return {
        "cluster": record.key.cluster,
        "node": record.key.id,
        "logical_id": record.logical_id,
        "group": record.group,
        "incident": record.incident and _incident(record.incident),
        "limits": _limits(record, budget, limit, settings, now),
        "unsent": [_entry(each) for each in record.outbox if each.unsent],
        "history": [
            {
                "incident": each.id,
                "state": each.state,
                "open": each.is_open,
                "lines": [{"at": iso(at), "text": text} for at, text in each.lines],
            }
            for each in chapters(record)
        ],
    }


def _incident(incident: Incident) -> View:
    return {
        "id": incident.id,
        "state": incident.state.value,
        "waits": WAITS[incident.state],
        "opened_at": iso(incident.opened_at),
        "since": iso(incident.since),
        "next_at": iso(incident.due),
        "until": iso(incident.until),
        "note": incident.note or None,
        "approved": incident.approved,
        "attempt": incident.attempt,
        "complaints": [_complaint(each) for each in incident.complaints],
    }


def _complaint(complaint: Complaint) -> View:
    return {
        "source": complaint.source,
        "began_at": iso(complaint.began_at),
        "last_made_at": iso(complaint.made_at),
        "withdrawn_at": iso(complaint.withdrawn_at) if complaint.withdrawn else None,
        "muted_until": iso(complaint.muted_until),
        "repair_action": complaint.repair_action,
        "reason": complaint.trigger.reason,
    }


def _entry(entry: Entry) -> View:
    return {
        "outcome": entry.outcome.value,
        "code": entry.code,
        "message": entry.message,
        "parts": [part for part, is_unsent in (("letter", entry.letter), ("notification", entry.topic)) if is_unsent],
        "since": iso(entry.at),
        "next_at": iso(entry.due),
        "tries": entry.sends,
    }


def _limits(record: NodeRecord, budget: Budget, limit: int | None, settings: Settings, now: datetime) -> View:
    last = last_reboot(record, budget)
    return {
        "reboots": sum(at > now - settings.max_reboots_window for at in record.reboots),
        "max_reboots": settings.max_reboots_per_node,
        "reboots_window": in_words(settings.max_reboots_window),
        "cooldown_until": iso(last + settings.cooldown) if last and last + settings.cooldown > now else None,
        **budget_view(budget, limit, settings, now),
    }


def budget_view(budget: Budget, limit: int | None, settings: Settings, now: datetime) -> View:
    """Return what is used of a cluster's budget."""
    return {
        "budget_spent": budget.spent(now=now, window=settings.budget_window),
        "budget_limit": limit,
        "budget_window": in_words(settings.budget_window),
    }


def incident_rows(record: NodeRecord) -> Iterator[View]:
    """Return a row for each incident of a node, the open one with what comes next."""
    for each in chapters(record):
        current, times = record.incident if each.is_open else None, [at for at, _ in each.lines]
        if each.id and (current or times):
            times += [current.opened_at, current.since] if current else []
            yield {
                "incident": each.id,
                "cluster": record.key.cluster,
                "node": record.key.id,
                "state": each.state,
                "open": each.is_open,
                "opened_at": iso(min(times)),
                "changed_at": iso(max(times)),
                "next_at": iso(current.due) if current else None,
                "last": telling(each.lines),
            }


def telling(lines: Sequence[Line]) -> str | None:
    """Return the latest line that says what became of the incident; that something was sent does not."""
    texts = [text for _, text in lines if not text.startswith("sent:")]
    return texts[-1] if texts else None
