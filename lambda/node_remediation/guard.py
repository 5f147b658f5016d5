"""The judgement: which reports lead to a reboot, and why the others do not. Pure: no clock, no calls.

GUARDS is the order of the guards; each has its outcome, its code and its reason with the numbers behind it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

from node_remediation import codes
from node_remediation.cluster import Facts
from node_remediation.model import Case, Ending, NodeKey, Outcome, Report
from node_remediation.record import Book, NodeRecord, Stage
from node_remediation.settings import Settings, in_words

_NO_REPAIR = (None, "None")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: the cases to reboot a node for, by cluster, oldest report first; and the cases that are over."""

    reboots: dict[str, list[Case]] = field(default_factory=dict)
    endings: list[Ending] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Situation:
    """What reports are judged by.

    `planned` has the nodes that this batch is going to reboot, `repaired` those that HyperPod repairs, as it says, and
    `refused` those that it refuses, by code.
    """

    settings: Settings
    mode: str
    now: datetime
    book: Book
    facts: Mapping[str, Facts] = field(default_factory=dict)
    planned: set[NodeKey] = field(default_factory=set)
    repaired: set[NodeKey] = field(default_factory=set)
    refused: set[tuple[NodeKey, str]] = field(default_factory=set)

    def record(self, key: NodeKey) -> NodeRecord:
        return self.book.node(key)


class Matter(NamedTuple):
    """One report with what is known of its node."""

    case: Case
    report: Report
    key: NodeKey
    record: NodeRecord

    def ends(self, outcome: Outcome, reason: str, code: str | None = None) -> Ending:
        return Ending(self.case, outcome, reason, code)

    def refused(self, code: str, reason: str) -> Ending:
        return Ending(self.case, Outcome.REFUSED, reason, code)


Guard = Callable[[Matter, Situation], Ending | None]


def judge(cases: Sequence[Case], situation: Situation) -> Plan:
    """Judge cases, all of whose readings are reports, together: each node is rebooted once."""
    plan = Plan()
    matters = [_matter(case, situation) for case in cases]
    situation.repaired.update(matter.key for matter in matters if _is_repaired(matter, situation))
    for case in sorted(cases, key=lambda case: case.trigger.time):
        matter = _matter(case, situation)
        ending = _first(GUARDS, matter, situation)
        if ending is None or ending.outcome is Outcome.OBSERVED:
            situation.planned.add(matter.key)
        if ending is None:
            plan.reboots.setdefault(matter.key.cluster, []).append(case)
        else:
            plan.endings.append(_once(matter, ending, situation))
    return plan


def needs_facts(case: Case, situation: Situation) -> bool:
    """Whether judging a case takes more than what the report, the mode and the settings say."""
    return _first(GUARDS_WITHOUT_FACTS, _matter(case, situation), situation) is None


def _matter(case: Case, situation: Situation) -> Matter:
    assert isinstance(case.reading, Report)  # noqa: S101  the caller passes reports only
    assert case.key  # noqa: S101  which have a key
    return Matter(case, case.reading, case.key, situation.record(case.key))


def _first(guards: Sequence[Guard], matter: Matter, situation: Situation) -> Ending | None:
    return next((ending for guard in guards if (ending := guard(matter, situation))), None)


def _once(matter: Matter, ending: Ending, situation: Situation) -> Ending:
    """People hear of a node that is refused for the same code once a cooldown; what they ask for is always answered."""
    if ending.outcome is not Outcome.REFUSED or matter.report.on_demand or matter.report.check or ending.code is None:
        return ending
    if (matter.key, ending.code) in situation.refused:
        reason = f"refused for {ending.code} in the same batch: {ending.reason}"
        return matter.ends(Outcome.DUPLICATE, reason, ending.code)
    situation.refused.add((matter.key, ending.code))
    told = matter.record.told.get(ending.code)
    if told is None or told <= situation.now - situation.settings.cooldown:
        return ending
    reason = f"refused for {ending.code} already, at {_at(told)}: {ending.reason}"
    return matter.ends(Outcome.DUPLICATE, reason, ending.code)


def _muted(matter: Matter, _: Situation) -> Ending | None:
    muted = matter.report.muted
    return matter.ends(Outcome.DEFERRED, muted) if muted and not matter.report.healthy else None


def _healthy(matter: Matter, _: Situation) -> Ending | None:
    return matter.ends(Outcome.CLEARED, "the node is reported healthy") if matter.report.healthy else None


def _paused(matter: Matter, situation: Situation) -> Ending | None:
    if situation.mode != "paused":
        return None
    return matter.refused(codes.PAUSED, "the mode is paused: nothing is rebooted until an operator resumes")


def _cluster_unknown(matter: Matter, _: Situation) -> Ending | None:
    if matter.report.cluster:
        return None
    reason = (
        "the report names no cluster, and neither the alarm's tag hyperpod:cluster nor the settings default_cluster "
        "or clusters name one"
    )
    return matter.refused(codes.CLUSTER_NOT_RESOLVED, reason)


def _cluster_not_allowed(matter: Matter, situation: Situation) -> Ending | None:
    if situation.settings.allows(matter.key.cluster):
        return None
    allowed = ", ".join(situation.settings.clusters)
    reason = f"cluster {matter.key.cluster} matches none of the setting clusters: {allowed}"
    return matter.refused(codes.CLUSTER_NOT_ALLOWED, reason)


def _recovered_since(matter: Matter, _: Situation) -> Ending | None:
    healthy_at, reported = matter.record.healthy_at, matter.report.trigger.time
    if healthy_at is None or healthy_at < reported:
        return None
    reason = f"reported unhealthy at {_at(reported)}, and healthy since, at {_at(healthy_at)}"
    return matter.ends(Outcome.CLEARED, reason)


def _stale(matter: Matter, situation: Situation) -> Ending | None:
    replay, check = matter.report.replay, matter.report.check
    arrived = max(matter.case.message.sent, check.due) if check else matter.case.message.sent
    waited = timedelta(seconds=(situation.now - arrived) // timedelta(seconds=1))
    most = situation.settings.max_report_age
    if replay:
        return matter.refused(codes.STALE_REPORT, f"the event is from the archive replay {replay}")
    if waited <= most:
        return None
    reason = f"the report waited {in_words(waited)} in the intake queue, longer than max_report_age ({in_words(most)})"
    return matter.refused(codes.STALE_REPORT, reason)


def _repairing(matter: Matter, situation: Situation) -> Ending | None:
    until = matter.record.repairing_until
    if until and until > situation.now:
        return matter.ends(Outcome.DEFERRED, f"HyperPod is repairing the node; left to it until {_at(until)}")
    if starts_repair(matter.report, situation.facts[matter.key.cluster]):
        return matter.ends(Outcome.DEFERRED, f"HyperPod repairs by itself: RepairAction {matter.report.repair_action}")
    if matter.key in situation.repaired:
        return matter.ends(Outcome.DEFERRED, "HyperPod repairs the node by itself, says another report of the batch")
    return None


def _is_repaired(matter: Matter, situation: Situation) -> bool:
    """Whether a report that counts says so: it binds the other reports of the node too, whichever is older."""
    if _first(GUARDS_WITHOUT_FACTS, matter, situation):
        return False
    return starts_repair(matter.report, situation.facts[matter.key.cluster])


def starts_repair(report: Report, facts: Facts) -> bool:
    """Whether a report says that HyperPod itself is going to repair the node."""
    return facts.recovers_by_itself and report.repair_action not in _NO_REPAIR


def _replacement_advised(matter: Matter, situation: Situation) -> Ending | None:
    action = matter.report.repair_action
    if action in (*_NO_REPAIR, "Reboot") or situation.settings.on_replacement_advised == "reboot":
        return None
    return matter.refused(
        codes.REPLACEMENT_ADVISED,
        f"HyperPod advises {action}, which the cluster's NodeRecovery None leaves to people; the setting "
        "on_replacement_advised refuses a reboot instead",
    )


def _protected(matter: Matter, situation: Situation) -> Ending | None:
    if not {matter.key.id, matter.report.node.id} & situation.facts[matter.key.cluster].protected:
        return None
    reason = "the node is in a protected instance group (Slurm controller or login, or protected_instance_groups)"
    return matter.refused(codes.PROTECTED_NODE, reason)


def _cooling_down(matter: Matter, situation: Situation) -> Ending | None:
    if matter.key in situation.planned:
        return matter.ends(Outcome.DUPLICATE, "the same batch has an earlier report of this node")
    last, cooldown = max(matter.record.reboots, default=None), situation.settings.cooldown
    watch = matter.record.watch
    if watch and watch.stage is Stage.RETRYING and watch.is_open(situation.now) and not _is_own(matter):
        return matter.ends(Outcome.DUPLICATE, f"a failed try is made again at {_at(watch.next_at or watch.until)}")
    if any(claim.result is None for claim in matter.record.claims.values()):
        reason = "another report's reboot of the node is under way"
    elif last is None:
        return None
    elif last > situation.now - cooldown:
        reason = f"rebooted at {_at(last)}, less than the cooldown of {in_words(cooldown)} ago"
    elif matter.report.trigger.time <= last and not matter.report.on_demand:
        reason = f"reported before the reboot at {_at(last)}"
    else:
        return None
    if matter.report.on_demand:
        return matter.refused(codes.COOLING_DOWN, reason)
    return matter.ends(Outcome.DUPLICATE, reason)


def _is_own(matter: Matter) -> bool:
    """Whether a report may pass a retry that is due: because it is that retry, or because a person asks."""
    return matter.report.check is not None or matter.report.on_demand


def _attempts_used_up(matter: Matter, situation: Situation) -> Ending | None:
    most, window = situation.settings.max_reboots_per_node, situation.settings.max_reboots_window
    reboots = sum(at > situation.now - window for at in matter.record.reboots)
    if reboots < most:
        return None
    reason = f"{reboots} of {most} reboots of the node in {in_words(window)} used, and it is reported unhealthy again"
    return matter.refused(codes.REBOOT_LIMIT_REACHED, reason)


def _budget_spent(matter: Matter, situation: Situation) -> Ending | None:
    cluster, settings = matter.key.cluster, situation.settings
    nodes, window = situation.facts[cluster].nodes, settings.budget_window
    limit = budget_limit(nodes, settings)
    planned = Counter(key.cluster for key in situation.planned)[cluster]
    spent = situation.book.budget(cluster).spent(now=situation.now, window=window) + planned
    if spent < limit:
        return None
    reason = f"budget {limit} of {nodes} nodes in {in_words(window)}, {spent} spent"
    return matter.refused(codes.CLUSTER_BUDGET_EXCEEDED, reason)


def budget_limit(nodes: int, settings: Settings) -> int:
    """How many of a cluster's nodes may be rebooted in a budget window."""
    return max(settings.budget_min_nodes, ceil(nodes * settings.budget_percent / 100))


def _observing(matter: Matter, situation: Situation) -> Ending | None:
    if situation.mode != "observe":
        return None
    told = matter.record.told.get(Outcome.OBSERVED.value)
    if told and told > situation.now - situation.settings.cooldown and not matter.report.on_demand:
        return matter.ends(Outcome.DUPLICATE, f"observed already, at {_at(told)}")
    return matter.ends(Outcome.OBSERVED, "the mode is observe: all guards said yes, and nothing was done")


GUARDS_WITHOUT_FACTS: tuple[Guard, ...] = (
    _muted,
    _healthy,
    _paused,
    _cluster_unknown,
    _cluster_not_allowed,
    _recovered_since,
    _stale,
)
GUARDS: tuple[Guard, ...] = (
    *GUARDS_WITHOUT_FACTS,
    _repairing,
    _replacement_advised,
    _protected,
    _cooling_down,
    _attempts_used_up,
    _budget_spent,
    _observing,
)


def remember(record: NodeRecord, ending: Ending, situation: Situation) -> NodeRecord:
    """A node's record with what the ending of a report adds to it; its claim, if it made one, is settled."""
    case = ending.case
    matter = _matter(case, situation)
    # What led to a reboot was noted before it, and is over.
    if case.check is None and ending.outcome is not Outcome.REBOOTED:
        record = with_report(record, matter.report)
    facts = situation.facts.get(matter.key.cluster)
    if ending.outcome is Outcome.DEFERRED and facts and starts_repair(matter.report, facts):
        record = record.repairing(situation.now + situation.settings.cooldown)
    if ending.outcome is Outcome.REFUSED and ending.code:
        record = record.telling(ending.code, situation.now)
    if ending.outcome is Outcome.OBSERVED:
        record = record.telling(Outcome.OBSERVED.value, situation.now)
    return record


def with_report(record: NodeRecord, report: Report) -> NodeRecord:
    """A node's record with what a report says of it; that a person asks for a reboot says nothing of its health."""
    if report.on_demand:
        return record
    alarm = report.alarm.name if report.alarm else None
    return record.seen(healthy=report.healthy, time=report.trigger.time, alarm=alarm, advised=report.repair_action)


def _at(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
