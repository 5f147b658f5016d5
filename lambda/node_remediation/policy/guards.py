"""The guards: each says no, with code, numbers and reason, or lets a reboot pass. Pure.

A report is judged in this order: muted, mode paused, cluster allowed, withdrawn since, stale, mode of the instance
group paused, HyperPod repairing or perhaps about to, replacement advised, protected, cooldown, attempts, budget,
observe. Muted, withdrawn and stale concern one report or complaint; the others, in GUARDS, concern the node and are
judged once. A replacement has the same guards, less advice and attempts, with a budget of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NamedTuple

from node_remediation import codes
from node_remediation.model import HYPERPOD, INSTANCE_ID, REQUEST, Case, ClusterFacts, IdKind, Node, NodeFacts, Outcome
from node_remediation.policy.draft import Scene
from node_remediation.policy.modes import OBSERVE, PAUSED, ModeEntry, Modes
from node_remediation.policy.record import (
    GONE,
    MOST_ENTRIES,
    REPLACE_WINDOW,
    Budget,
    Complaint,
    Facts,
    Missing,
    NodeRecord,
)
from node_remediation.settings import Override, Settings, in_words

OUTBOX_FULL = Missing(codes.LEDGER_BUSY, f"{MOST_ENTRIES} messages about this node could not be sent yet")
# The release of BatchReplaceClusterNodes (boto3 1.41.1): newer clusters need no update before it.
REPLACE_API_SINCE = datetime(2025, 11, 20, tzinfo=UTC)
_NOT_LOOKED_UP = Missing(codes.DEADLINE_EXCEEDED, "there was no time left to look it up")


class No(NamedTuple):
    """A guard's no: the report's outcome, the code and the reason; `replacing` where it is about a replacement."""

    outcome: Outcome
    code: str | None
    reason: str
    replacing: bool = False


class Wait(NamedTuple):
    """A guard's not yet: the time from which it is judged again."""

    until: datetime
    reason: str


class Ask(NamedTuple):
    """All guards say yes, and somebody must approve."""

    reason: str


class Replace(NamedTuple):
    """All guards say yes, to a replacement."""

    reason: str


class Repairing(NamedTuple):
    """HyperPod repairs the node itself, since the time of the complaint that says so."""

    since: datetime
    reason: str


Verdict = No | Wait | Repairing | Ask | Replace | Missing


@dataclass(frozen=True, slots=True)
class Matter:
    """One node that is to be judged: its record, the complaints that count, and whether a person asked for it.

    `node` is the ID in a person's request. With `escalated`, a reboot did not help, and the node is to be replaced.
    """

    record: NodeRecord
    complaints: Sequence[Complaint]
    budget: Budget
    scene: Scene
    on_demand: bool = False
    node: Node | None = None
    escalated: bool = False

    @property
    def replacing(self) -> bool:
        """Tell whether it is about a replacement, not a reboot."""
        return self.escalated or _action(self) == "replace"

    @property
    def settings(self) -> Settings:
        return self.scene.settings

    @property
    def now(self) -> datetime:
        return self.scene.now

    @property
    def names_claimed(self) -> list[str]:
        """The names of the cluster's nodes that were claimed within the cooldown."""
        oldest = self.now - self.settings.cooldown
        return [name for name, claimed_at in self.budget.logical_ids.items() if claimed_at > oldest]

    @property
    def called_by_instance_id(self) -> bool:
        """Tell whether the reboot call would name the node's instance, and so can reach no other machine."""
        incident, reported = self.record.incident, self.node or self.record.node
        nodes = [node for node in (incident and incident.node, reported) if node]
        return bool(nodes) and all(node.kind is IdKind.NODE_ID for node in nodes)

    @property
    def cluster(self) -> ClusterFacts:
        """The cluster's facts. Only for guards that come after the one that asks for them."""
        assert isinstance(self.scene.facts.cluster, ClusterFacts)  # noqa: S101
        return self.scene.facts.cluster


Guard = Callable[[Matter], Verdict | None]


def judge(matter: Matter) -> Verdict | None:
    """Return the first guard's no; None if all say yes to a reboot."""
    return next((verdict for guard in GUARDS if (verdict := guard(matter))), None)


def refused(code: str, reason: str) -> No:
    return No(Outcome.REFUSED, code, reason)


def withdrawn_since(case: Case, record: NodeRecord) -> No | None:
    """Say no to a report whose own source has said since that the node is well; on a tie, healthy wins."""
    report = case.report
    healthy_at = record.sign(report.source).healthy_at
    if report.alarm and report.alarm.by_series and report.alarm.series is None:
        healthy_at = _all_series_healthy_at(record, report.source)
    if healthy_at is None or healthy_at < report.trigger.time:
        return None
    reason = f"reported unhealthy at {at(report.trigger.time)}, and healthy since, at {at(healthy_at)}"
    return No(Outcome.CLEARED, None, reason)


def _all_series_healthy_at(record: NodeRecord, alarm: str) -> datetime | None:
    """Return when the last series of an alarm took its complaint back, for a letter, which does not name its series."""
    signs = [sign for source, sign in record.signs.items() if source.startswith(f"{alarm}#")]
    taken_back = [each.healthy_at for each in signs if each.healthy_at and each.latest == each.healthy_at]
    return max(taken_back) if taken_back and len(taken_back) == len(signs) else None


def stale(case: Case, scene: Scene) -> No | None:
    """Say no to a replay, and to a message that waited too long in the intake queue, whatever its event's time."""
    if case.report.replay:
        return refused(codes.STALE_REPORT, f"the event comes from the archive replay {case.report.replay}")
    waited = (scene.now - case.message.sent) // timedelta(seconds=1) * timedelta(seconds=1)
    longest = scene.settings.max_report_age
    if waited <= longest:
        return None
    reason = (
        f"the report waited {in_words(waited)} in the intake queue, longer than max_report_age ({in_words(longest)})"
    )
    return refused(codes.STALE_REPORT, reason)


def not_allowed(record: NodeRecord, scene: Scene) -> No | None:
    """Say no to every node while its cluster is paused, and to clusters that the settings do not name."""
    cluster, modes = record.key.cluster, scene.facts.mode
    mode = modes.of_cluster(cluster, scene.now) if isinstance(modes, Modes) else None
    if mode and mode.word == PAUSED:
        return _paused(mode)
    if scene.settings.allows(cluster):
        return None
    allowed = ", ".join(scene.settings.clusters)
    return refused(codes.CLUSTER_NOT_ALLOWED, f"cluster {cluster} matches none of the setting clusters: {allowed}")


def _paused(mode: ModeEntry) -> No:
    if mode.fault:
        return refused(codes.PAUSED, f"everything is paused, because the mode parameter {mode.fault}")
    end = f"until {at(mode.until)}" if mode.until else "until an operator resumes"
    return refused(codes.PAUSED, f"{_named(mode)} is paused: nothing is rebooted {end}")


def _named(mode: ModeEntry) -> str:
    return "the mode" if mode.pattern == "*" else f"the mode of {mode.pattern}"


def _allowed(matter: Matter) -> Verdict | None:
    return not_allowed(matter.record, matter.scene)


def _facts_known(matter: Matter) -> Verdict | None:
    facts = matter.scene.facts
    if not isinstance(facts.mode, Modes):
        return facts.mode or _NOT_LOOKED_UP
    if matter.record.full:
        return OUTBOX_FULL
    incident, node = matter.record.incident, facts.nodes.get(matter.record.key.id)
    by_logical_id = incident is not None and incident.node.id != matter.record.key.id and not matter.on_demand
    if by_logical_id and not isinstance(node, NodeFacts):
        return node or _NOT_LOOKED_UP  # the logical ID may belong to another instance by now
    return None if isinstance(facts.cluster, ClusterFacts) else facts.cluster or _NOT_LOOKED_UP


def _mode_of(matter: Matter) -> ModeEntry | Missing:
    """Return the entry that counts for the node. Its group is asked for only where that decides."""
    modes, cluster = matter.scene.facts.mode, matter.record.key.cluster
    assert isinstance(modes, Modes)  # noqa: S101  a guard before has asked
    if mode := modes.of_cluster(cluster, matter.now):
        return mode
    group = _group_of(matter)
    return group if isinstance(group, Missing) else modes.of(cluster, group, matter.now)


def _group_paused(matter: Matter) -> Verdict | None:
    mode = _mode_of(matter)
    if isinstance(mode, Missing):
        return mode
    return _paused(mode) if mode.word == PAUSED else None


def _observed(matter: Matter) -> ModeEntry | None:
    mode = _mode_of(matter)
    return mode if isinstance(mode, ModeEntry) and mode.word == OBSERVE else None


def _repairing(matter: Matter) -> Verdict | None:
    repair = announced_repair(matter.complaints)
    if repair is None or not matter.cluster.automatic:
        return None
    reason = repair_reason(repair)
    return refused(codes.UNDER_REPAIR, reason) if matter.on_demand else Repairing(repair.made_at, reason)


def _awaiting_hyperpod(matter: Matter) -> Verdict | None:
    """Wait for HyperPod to announce its own repair, where alarms alone complain: they name no RepairAction."""
    until = grace_ends(matter)
    if until is None or until <= matter.now:
        return None
    reason = "only alarms complain, and NodeRecovery is Automatic: HyperPod may be about to repair the node itself"
    return Wait(until, reason)


def grace_ends(matter: Matter) -> datetime | None:
    """Return when automatic_grace is over for a node about which only alarms complain; None for any other."""
    incident, sources = matter.record.incident, [each.source for each in matter.complaints]
    if incident is None or matter.on_demand or not matter.cluster.automatic or {HYPERPOD, REQUEST} & {*sources}:
        return None
    return incident.opened_at + matter.settings.automatic_grace


def repair_reason(repair: Complaint) -> str:
    return f"HyperPod repairs the node itself: RepairAction {repair.repair_action}, NodeRecovery Automatic"


def announced_repair(complaints: Sequence[Complaint]) -> Complaint | None:
    """Return the latest complaint that names a repair action."""
    announced = [each for each in complaints if each.announces_repair]
    return max(announced, key=lambda each: each.made_at, default=None)


def _overridden(matter: Matter) -> Verdict | None:
    """Wait as long as the setting overrides says for a complaint, or say no where it excludes all complaints."""
    chosen = _overrides(matter)
    if chosen is None or isinstance(chosen, Missing):
        return chosen
    if chosen and all(override.action == "none" for _, override in chosen):
        return refused(codes.EXCLUDED, f"the setting overrides excludes complaints like {_quoted(chosen[0][0])}")
    until = ripe_at(matter)
    if until is None or until <= matter.now or matter.on_demand:
        return None
    return Wait(until, "the setting overrides waits for the complaint to stand that long")


def ripe_at(matter: Matter) -> datetime | None:
    """Return when the first complaint has stood as long as the setting overrides says; None if that is not known."""
    chosen = _overrides(matter)
    acting = _acting(chosen) if isinstance(chosen, list) else []
    return min((each.began_at + override.wait for each, override in acting), default=None)


def _acting(chosen: Sequence[tuple[Complaint, Override]]) -> list[tuple[Complaint, Override]]:
    return [(each, override) for each, override in chosen if override.action != "none"]


def _overrides(matter: Matter) -> list[tuple[Complaint, Override]] | Missing | None:
    """Return the entry that counts for each complaint, oldest first; of a person, for what is asked alone."""
    if not matter.settings.overrides:
        return None
    group = _group_of(matter) if matter.settings.by_group else ""
    if isinstance(group, Missing):
        return group
    complaints = matter.complaints[-1:] if matter.on_demand else matter.complaints
    return [(each, _override_for(each, matter, group)) for each in sorted(complaints, key=lambda each: each.began_at)]


def _override_for(complaint: Complaint, matter: Matter, group: str) -> Override:
    """Return the entry that counts for a complaint. A request neither waits nor has to be approved."""
    source, cluster = complaint.source.partition("#")[0], matter.record.key.cluster
    of = {"cluster": cluster, "group": group, "source": source, "reason": complaint.trigger.reason}
    found = next((each for each in matter.settings.overrides if each.matches(**of)), Override())
    return Override() if found.action != "none" and _is_request(complaint, matter) else found


def _is_request(complaint: Complaint, matter: Matter) -> bool:
    """Tell whether a complaint is a person's request that no reboot has answered yet."""
    unanswered = matter.on_demand or all(complaint.made_at > claimed_at for claimed_at in matter.record.reboots)
    return complaint.source == REQUEST and unanswered


def _quoted(complaint: Complaint) -> str:
    return f"{complaint.source.partition('#')[0]}: {complaint.trigger.reason}"


def _group_of(matter: Matter) -> str | Missing:
    """Return the node's instance group; empty for an ID that no node can have."""
    node = matter.scene.facts.nodes.get(matter.record.key.id)
    if not isinstance(node, NodeFacts):
        return node or _NOT_LOOKED_UP
    if node != GONE and node.group is not None:
        return node.group
    if matter.record.node and not matter.record.node.well_formed:
        return ""
    reason = f"SageMaker does not know this node in cluster {matter.record.key.cluster}, so its group is not known"
    return Missing(codes.NODE_NOT_RESOLVED, reason)


def _asked(matter: Matter) -> Verdict | None:
    """Ask for approval where the first complaint whose wait is over says so."""
    incident = matter.record.incident
    if _action(matter) != "ask":
        return None
    if matter.escalated:
        return refused(codes.NOT_APPROVED, "a replacement would have to be approved, and is not proposed")
    if incident and incident.approved and not matter.on_demand:
        return None
    if matter.on_demand:  # a redriven letter: whoever moves a whole queue has not approved each
        return refused(codes.NOT_APPROVED, "the setting overrides asks before such a reboot; a request approves it")
    vetoed_at, cooldown = matter.record.told.get(codes.VETOED), matter.settings.cooldown
    if vetoed_at and vetoed_at + cooldown > matter.now:
        reason = f"vetoed at {at(vetoed_at)}, less than the cooldown of {in_words(cooldown)} ago"
        return refused(codes.VETOED, reason)
    return Ask("all guards said yes; the setting overrides asks first")


def _action(matter: Matter) -> str:
    """Return what the first complaint whose wait is over asks for: reboot, ask or replace."""
    chosen = _overrides(matter)
    acting = _acting(chosen) if isinstance(chosen, list) else []
    if any(_is_request(each, matter) for each, _ in acting):
        return "reboot"
    if not matter.complaints:  # more than are kept complained, and nobody knows what the one that is left was
        return "ask" if any(override.action == "ask" for override in matter.settings.overrides) else "reboot"
    ripe = (each for each in acting if matter.on_demand or each[0].began_at + each[1].wait <= matter.now)
    return next((override.action for _, override in ripe), "reboot")


def _replacing(matter: Matter) -> Verdict | None:
    """Say that the yes is to a replacement; the last guard."""
    return Replace("all guards said yes to a replacement") if matter.replacing else None


def _replacement_advised(matter: Matter) -> Verdict | None:
    """Say no, whoever complains, while HyperPod's advice to replace the node stands: also after its own incident."""
    if matter.settings.on_replacement_advised == "reboot" or matter.replacing:
        return None
    standing = matter.record.standing_advice
    complaints = [*matter.complaints, *([standing] if standing else [])]
    advised = announced_repair([each for each in complaints if each.repair_action != "Reboot"])
    if advised is None:
        return None
    repairs = "does not repair the node itself (NodeRecovery None)"
    if matter.cluster.automatic:
        repairs = f"has not called the node healthy since {at(advised.made_at)} (NodeRecovery Automatic)"
    reason = (
        f"HyperPod advises {advised.repair_action} and {repairs}; the setting on_replacement_advised refuses to reboot "
        "it instead"
    )
    return refused(codes.REPLACEMENT_ADVISED, reason)


def _protected(matter: Matter) -> Verdict | None:
    """Ask for the node's group only in clusters that have protected groups."""
    groups = matter.cluster.protected_groups
    group = _group_of(matter) if groups else ""
    if isinstance(group, Missing):
        return group
    if group not in groups:
        return None
    reason = f"instance group {group} is protected (Slurm controller or login, or protected_instance_groups)"
    return refused(codes.PROTECTED_NODE, reason)


def _replaceable(matter: Matter) -> Verdict | None:
    """Say no to the replacement of a node that HyperPod replaces itself, or whose instance is not known.

    "If you want to invoke this API on an existing cluster, you'll first need to patch the cluster by running the
    UpdateClusterSoftware API" (BatchReplaceClusterNodes). What is not known of that is left to the API.
    """
    if not matter.replacing:
        return None
    key, cluster = matter.record.key, matter.cluster
    if cluster.automatic:
        reason = "the cluster's NodeRecovery is Automatic: HyperPod replaces its nodes itself, and this system does not"
        return refused(codes.NOT_REPLACEABLE, reason)
    if not INSTANCE_ID.fullmatch(key.id):
        return refused(codes.NOT_REPLACEABLE, f"no instance of node {key.id} is known, and only instances are replaced")
    group, node = _group_of(matter), matter.scene.facts.nodes.get(key.id)
    if isinstance(group, Missing):
        return group
    updated = node.updated_at if isinstance(node, NodeFacts) else None
    if updated is None and cluster.created_at and cluster.created_at < REPLACE_API_SINCE:
        reason = (
            f"cluster {key.cluster} is older than BatchReplaceClusterNodes, and SageMaker tells of no software update "
            "since: the API wants UpdateClusterSoftware once"
        )
        return refused(codes.SOFTWARE_UPDATE_REQUIRED, reason)
    return None


def _names_known(matter: Matter) -> Verdict | None:
    """Wait until SageMaker has told a node's other ID, where the same machine may have been rebooted under it."""
    record, names = matter.record, matter.names_claimed
    if record.logical_id or not INSTANCE_ID.fullmatch(record.key.id):
        return _unlisted_known(matter)
    if not (matter.cluster.continuous or names):
        return None
    node = matter.scene.facts.nodes.get(record.key.id, _NOT_LOOKED_UP)
    if isinstance(node, Missing):
        return node
    if node == GONE and not all(map(INSTANCE_ID.fullmatch, names)):
        reason = "SageMaker does not list this instance, and it may be a node that was rebooted under its logical ID"
        return Missing("InstanceIdNotFound", reason)
    return None


def _unlisted_known(matter: Matter) -> Verdict | None:
    """Wait while an instance was rebooted that SageMaker does not list yet: it may be behind this node's logical ID."""
    own = matter.record.logical_id or matter.record.key.id
    if matter.called_by_instance_id:
        return None  # another instance is another machine
    for name in filter(INSTANCE_ID.fullmatch, matter.names_claimed):
        node = matter.scene.facts.nodes.get(name, _NOT_LOOKED_UP)
        listed = isinstance(node, NodeFacts) and node.logical_id not in (None, own)
        if name == matter.record.key.id or listed:
            continue
        reason = f"instance {name}, which was just rebooted, may be this node: SageMaker does not list it as another"
        return node if isinstance(node, Missing) else Missing("InstanceIdNotFound", reason)
    return None


def last_reboot(record: NodeRecord, budget: Budget) -> datetime | None:
    """Return the latest claim of the node, also of one that was made under its logical ID."""
    names = {record.logical_id, record.key.id}
    claims = (*record.reboots, *record.replacements)
    return max((*claims, *(at for name, at in budget.logical_ids.items() if name in names)), default=None)


def _cooling_down(matter: Matter) -> Verdict | None:
    last, cooldown = last_reboot(matter.record, matter.budget), matter.settings.cooldown
    if last is None or last + cooldown <= matter.now or matter.escalated:
        return None  # a replacement follows the reboot that did not help
    done = "replaced" if last in matter.record.replacements else "rebooted"
    reason = f"{done} at {at(last)}, less than the cooldown of {in_words(cooldown)} ago"
    return refused(codes.COOLING_DOWN, reason) if matter.on_demand else Wait(last + cooldown, reason)


def _attempts_used_up(matter: Matter) -> Verdict | None:
    most, window = matter.settings.max_reboots_per_node, matter.settings.max_reboots_window
    reboots = sum(claim > matter.now - window for claim in matter.record.reboots)
    if reboots < most or matter.replacing:
        return None
    reason = f"{reboots} of {most} reboots of the node in {in_words(window)} used, and it is still reported unhealthy"
    return refused(codes.REBOOT_LIMIT_REACHED, reason)


def _budget_spent(matter: Matter) -> Verdict | None:
    if matter.replacing:
        return _replace_budget_spent(matter)
    nodes, window = matter.cluster.nodes, matter.settings.budget_window
    limit = budget_limit(nodes, matter.settings)
    spent = matter.budget.spent(now=matter.now, window=window, observe=_observed(matter) is not None)
    if spent < limit:
        return None
    return refused(
        codes.CLUSTER_BUDGET_EXCEEDED, f"budget {limit} of {nodes} nodes in {in_words(window)}, {spent} spent"
    )


def _replace_budget_spent(matter: Matter) -> Verdict | None:
    limit = matter.settings.replace_budget
    spent = matter.budget.replaced(now=matter.now, observe=_observed(matter) is not None)
    if spent < limit:
        return None
    reason = f"replace_budget is {limit} in {in_words(REPLACE_WINDOW)}, {spent} spent"
    return refused(codes.REPLACE_BUDGET_EXCEEDED, reason)


def budget_used(budget: Budget, facts: Facts, settings: Settings, now: datetime) -> float | None:
    """Return the share of a cluster's budget that is spent, in percent; None while the cluster's size is not known."""
    if not isinstance(facts.cluster, ClusterFacts):
        return None
    mode = facts.mode.of_cluster(budget.cluster, now) if isinstance(facts.mode, Modes) else None
    observe = mode is not None and mode.word == OBSERVE
    spent = budget.spent(now=now, window=settings.budget_window, observe=observe)
    return 100 * spent / budget_limit(facts.cluster.nodes, settings)


def budget_limit(nodes: int, settings: Settings) -> int:
    """Return how many of a cluster's nodes may be rebooted in a budget window."""
    return max(settings.budget_min_nodes, ceil(nodes * settings.budget_percent / 100))


def _observing(matter: Matter) -> Verdict | None:
    mode = _observed(matter)
    if mode is None:
        return None
    done = "replaced" if matter.replacing else "rebooted"
    reason = f"all guards said yes; {_named(mode)} is observe, so nothing was {done}"
    return No(Outcome.OBSERVED, None, reason, matter.replacing)


GUARDS: tuple[Guard, ...] = (
    _allowed,
    _facts_known,
    _group_paused,
    _repairing,
    _awaiting_hyperpod,
    _overridden,
    _replacement_advised,
    _protected,
    _replaceable,
    _names_known,
    _cooling_down,
    _attempts_used_up,
    _budget_spent,
    _observing,
    _asked,
    _replacing,
)


def at(time: datetime) -> str:
    """Return a time as people read it."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
