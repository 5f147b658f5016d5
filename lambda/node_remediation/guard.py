"""The judgement: which reports lead to a reboot, and why the others do not. Pure: no clock, no calls.

GUARDS is the order of the guards; each has its outcome, its code and its reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from node_remediation import codes
from node_remediation.model import Case, Ending, Node, Outcome, Report
from node_remediation.settings import Settings

_NodeKey = tuple[str | None, Node]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: the cases to reboot a node for, by cluster, oldest report first; and the cases that are over."""

    reboots: dict[str, list[Case]] = field(default_factory=dict)
    endings: list[Ending] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a report is judged by: the settings, when each node was last reported healthy, what is planned so far."""

    settings: Settings
    healthy_at: dict[_NodeKey, datetime]
    planned: set[_NodeKey] = field(default_factory=set)


def judge(cases: Sequence[Case], settings: Settings) -> Plan:
    """Judge the cases of one batch, all of whose readings are reports, together: each node is rebooted once."""
    plan, situation = Plan(), Situation(settings, _healthy_at(cases))
    for case in sorted(cases, key=lambda case: case.trigger.time):
        endings = (guard(case, _report(case), situation) for guard in GUARDS)
        ending = next((ending for ending in endings if ending), None)
        if ending:
            plan.endings.append(ending)
        else:
            situation.planned.add(_key(case))
            plan.reboots.setdefault(case.cluster or "", []).append(case)
    return plan


def _muted(case: Case, report: Report, _: Situation) -> Ending | None:
    if report.muted and not report.healthy:
        return Ending(case, Outcome.DEFERRED, report.muted)
    return None


def _healthy(case: Case, report: Report, _: Situation) -> Ending | None:
    return Ending(case, Outcome.CLEARED, "the node is reported healthy") if report.healthy else None


def _cluster_known(case: Case, report: Report, _: Situation) -> Ending | None:
    if report.cluster:
        return None
    reason = (
        "the report names no cluster, and neither the alarm's tag hyperpod:cluster nor the settings default_cluster "
        "or clusters name one"
    )
    return Ending(case, Outcome.REFUSED, reason, codes.CLUSTER_NOT_RESOLVED)


def _cluster_allowed(case: Case, report: Report, situation: Situation) -> Ending | None:
    if situation.settings.allows(report.cluster or ""):
        return None
    reason = f"cluster {report.cluster} matches none of the setting clusters: {', '.join(situation.settings.clusters)}"
    return Ending(case, Outcome.REFUSED, reason, codes.CLUSTER_NOT_ALLOWED)


def _recovered_since(case: Case, report: Report, situation: Situation) -> Ending | None:
    healthy_at = situation.healthy_at.get(_key(case))
    if healthy_at is None or healthy_at < report.trigger.time:
        return None
    return Ending(case, Outcome.CLEARED, f"the node was reported healthy since, at {healthy_at.isoformat()}")


def _planned_already(case: Case, _: Report, situation: Situation) -> Ending | None:
    if _key(case) not in situation.planned:
        return None
    return Ending(case, Outcome.DUPLICATE, "the same batch has an earlier report of this node")


GUARDS: tuple[Callable[[Case, Report, Situation], Ending | None], ...] = (
    _muted,
    _healthy,
    _cluster_known,
    _cluster_allowed,
    _recovered_since,
    _planned_already,
)


def _healthy_at(cases: Sequence[Case]) -> dict[_NodeKey, datetime]:
    """When each node was last reported healthy in this batch."""
    healthy: dict[_NodeKey, datetime] = {}
    for case in cases:
        if _report(case).healthy:
            healthy[_key(case)] = max(case.trigger.time, healthy.get(_key(case), case.trigger.time))
    return healthy


def _key(case: Case) -> _NodeKey:
    return case.cluster, _report(case).node


def _report(case: Case) -> Report:
    assert isinstance(case.reading, Report)  # noqa: S101  the caller passes reports only
    return case.reading
