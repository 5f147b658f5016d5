"""The judgement: each guard by itself, their order, and what holds over any batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.cluster import Facts
from node_remediation.guard import GUARDS, GUARDS_WITHOUT_FACTS, Plan, Situation, judge, needs_facts, remember
from node_remediation.model import Case, Check, Ending, IdKind, Node, NodeKey, Outcome, Result
from node_remediation.record import Book, BudgetRecord, Claim, NodeRecord, Stage, Watch
from node_remediation.settings import Settings
from tests.unit.fakes import NOW, case, ending, instance_id

BOTH = Settings(clusters=("ml-a", "ml-b"))
KEY = NodeKey("ml-a", instance_id(1))


def node(number: int) -> Node:
    return Node(IdKind.NODE_ID, instance_id(number))


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def ago(count: float) -> datetime:
    return NOW - minutes(count)


def situation(
    batch: Sequence[Case],
    *records: NodeRecord,
    settings: Settings = BOTH,
    mode: str = "active",
    facts: Facts | None = None,
    spends: dict[str, tuple[datetime, int]] | None = None,
) -> Situation:
    """What the batch is judged by: the given records know of its reports, and each cluster has the same facts."""
    book = Book()
    book.put(*records, BudgetRecord("ml-a", 1, spends or {}))
    for each in batch:
        assert each.key
        book.put(book.node(each.key).seen(healthy=each.healthy, time=each.trigger.time))
    return Situation(settings, mode, NOW, book, dict.fromkeys(settings.clusters, facts or Facts(nodes=1_000)))


def judged(batch: Sequence[Case], *records: NodeRecord, **given_: Any) -> Plan:
    return judge(batch, situation(batch, *records, **given_))


def ended(plan: Plan) -> list[tuple[Outcome, str | None]]:
    return [(ending.outcome, ending.code) for ending in plan.endings]


@dataclass
class Scene:
    """One report that no guard minds, until something is wrong with it."""

    reported: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    waited: timedelta = field(default=minutes(0))
    mode: str = "active"
    facts: Facts = field(default=Facts(nodes=200))
    spent: int = 0

    def judge(self, **more: Any) -> Ending | None:
        of = case(**{"cluster": "ml-a", **self.reported, **more})
        of = Case(replace(of.message, sent=NOW - self.waited), of.reading)
        assert of.key
        plan = judge(
            [of],
            situation(
                [of],
                NodeRecord(of.key, 1, **self.known),
                mode=self.mode,
                facts=self.facts,
                spends={"earlier": (ago(30), self.spent)},
            ),
        )
        assert bool(plan.reboots) is not bool(plan.endings)
        return plan.endings[0] if plan.endings else None


@dataclass(frozen=True)
class Wrong:
    """Something that one guard minds, what it says of it, and with what else it cannot be wrong together."""

    cause: Callable[[Scene], None]
    outcome: Outcome
    code: str | None
    reason: str
    excludes: tuple[str, ...] = ()


def reporting(**fields: Any) -> Callable[[Scene], None]:
    return lambda scene: scene.reported.update(fields)


def knowing(**fields: Any) -> Callable[[Scene], None]:
    return lambda scene: scene.known.update(fields)


def setting(**fields: Any) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        for name, value in fields.items():
            setattr(scene, name, value)

    return change


def rebooted(*at: datetime) -> Callable[[Scene], None]:
    return lambda scene: scene.known.update(reboots=(*scene.known.get("reboots", ()), *at))


def protecting(scene: Scene) -> None:
    scene.facts = scene.facts._replace(protected=frozenset({instance_id(1)}))


REFUSED, DEFERRED, DUPLICATE, CLEARED = Outcome.REFUSED, Outcome.DEFERRED, Outcome.DUPLICATE, Outcome.CLEARED
# In the order of the design.
WRONGS = {
    "muted": Wrong(reporting(muted="muted by arn:rule"), DEFERRED, None, "muted by arn:rule", ("healthy",)),
    "healthy": Wrong(reporting(healthy=True), CLEARED, None, "the node is reported healthy"),
    "paused": Wrong(
        setting(mode="paused"),
        REFUSED,
        "Paused",
        "the mode is paused: nothing is rebooted until an operator resumes",
        ("observing",),
    ),
    "cluster_unknown": Wrong(
        reporting(cluster=None),
        REFUSED,
        "ClusterNotResolved",
        "the report names no cluster, and neither the alarm's tag hyperpod:cluster nor the settings default_cluster or "
        "clusters name one",
        ("cluster_not_allowed",),
    ),
    "cluster_not_allowed": Wrong(
        reporting(cluster="ml-c"),
        REFUSED,
        "ClusterNotAllowed",
        "cluster ml-c matches none of the setting clusters: ml-a, ml-b",
    ),
    "recovered_since": Wrong(
        knowing(healthy_at=NOW),
        CLEARED,
        None,
        "reported unhealthy at 2026-11-23 02:14:07 UTC, and healthy since, at 2026-11-23 02:14:07 UTC",
    ),
    "stale": Wrong(
        setting(waited=minutes(90)),
        REFUSED,
        "StaleReport",
        "the report waited 90m in the intake queue, longer than max_report_age (60m)",
    ),
    "repairing": Wrong(
        knowing(repairing_until=NOW + minutes(5)),
        DEFERRED,
        None,
        "HyperPod is repairing the node; left to it until 2026-11-23 02:19:07 UTC",
    ),
    "replacement_advised": Wrong(
        reporting(repair_action="Replace"),
        REFUSED,
        "ReplacementAdvised",
        "HyperPod advises Replace, which the cluster's NodeRecovery None leaves to people; the setting "
        "on_replacement_advised refuses a reboot instead",
    ),
    "protected": Wrong(
        protecting,
        REFUSED,
        "ProtectedNode",
        "the node is in a protected instance group (Slurm controller or login, or protected_instance_groups)",
    ),
    "cooling_down": Wrong(
        rebooted(ago(10)),
        DUPLICATE,
        None,
        "rebooted at 2026-11-23 02:04:07 UTC, less than the cooldown of 30m ago",
    ),
    "attempts_used_up": Wrong(
        rebooted(ago(240), ago(120)),
        REFUSED,
        "RebootLimitReached",
        "2 of 2 reboots of the node in 24h used, and it is reported unhealthy again",
    ),
    "budget_spent": Wrong(
        setting(spent=40), REFUSED, "ClusterBudgetExceeded", "budget 40 of 200 nodes in 60m, 40 spent"
    ),
    "observing": Wrong(
        setting(mode="observe"),
        Outcome.OBSERVED,
        None,
        "the mode is observe: all guards said yes, and nothing was done",
    ),
}
REFUSALS = [name for name, wrong in WRONGS.items() if wrong.outcome is REFUSED]


def test_guards_are_in_the_order_of_the_design() -> None:
    """Moving one is a change of the design."""
    assert [guard.__name__.lstrip("_") for guard in GUARDS] == list(WRONGS)


def test_report_that_no_guard_minds_is_planned() -> None:
    """Under its cluster's name."""
    sick = case()
    assert judged([sick]) == Plan({"ml-a": [sick]}, [])
    assert Scene().judge() is None


@pytest.mark.parametrize("name", WRONGS)
def test_each_guard_has_its_outcome_its_code_and_its_numbers(name: str) -> None:
    """What people and dashboards are told, to the letter."""
    scene, wrong = Scene(), WRONGS[name]
    wrong.cause(scene)
    found = scene.judge()
    assert found
    assert (found.outcome, found.code, found.reason) == (wrong.outcome, wrong.code, wrong.reason)


@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in combinations(WRONGS, 2) if pair[1] not in WRONGS[pair[0]].excludes]
)
def test_of_two_guards_that_mind_the_earlier_decides(first: str, second: str) -> None:
    """The whole order, by every pair that can be wrong together."""
    scene = Scene()
    for name in (second, first):
        WRONGS[name].cause(scene)
    found = scene.judge()
    assert found
    assert (found.outcome, found.code) == (WRONGS[first].outcome, WRONGS[first].code)


def test_muted_report_that_a_node_is_well_clears() -> None:
    """A mute holds back actions; that a node is well is none."""
    found = Scene().judge(muted="muted by arn:rule", healthy=True)
    assert found
    assert found.outcome is CLEARED


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_is_told_once_per_code_and_cooldown(name: str) -> None:
    """A flapping node is one mail per code and cooldown; a redrive or a request is always answered."""
    wrong = WRONGS[name]
    assert wrong.code
    for told, outcome in (
        ({}, REFUSED),
        ({wrong.code: ago(29.99)}, DUPLICATE),
        ({wrong.code: ago(30)}, REFUSED),
        ({"AnotherCode": ago(1), "observed": ago(1)}, REFUSED),
    ):
        scene = Scene(known={"told": told})
        wrong.cause(scene)
        found, asked = scene.judge(), scene.judge(on_demand=True)
        assert found
        assert found.outcome is outcome
        assert wrong.reason in found.reason
        assert asked
        assert (asked.outcome, asked.code) == (REFUSED, wrong.code)


def test_repeated_refusal_says_of_what_it_is_the_repetition() -> None:
    """The log line of a duplicate names the code and when people were told."""
    found = Scene(mode="paused", known={"told": {"Paused": ago(10)}}).judge()
    assert found
    assert (found.outcome, found.code) == (DUPLICATE, "Paused")
    assert found.reason.startswith("refused for Paused already, at 2026-11-23 02:04:07 UTC: the mode is paused")


def test_observation_is_told_once_a_cooldown() -> None:
    """A node in mode observe is one mail a cooldown; who asks is answered."""
    told = [(ago(29.99), DUPLICATE), (ago(30), Outcome.OBSERVED)]
    for at, outcome in told:
        scene = Scene(mode="observe", known={"told": {"observed": at}})
        found, asked = scene.judge(), scene.judge(on_demand=True)
        assert found
        assert found.outcome is outcome
        assert asked
        assert asked.outcome is Outcome.OBSERVED


def test_report_from_before_the_last_reboot_is_of_the_same_incident() -> None:
    """However long ago: what it reports, the reboot answered. A redrive or a request asks for another."""
    for time, outcome in ((ago(90), DUPLICATE), (ago(89.9), None)):
        scene = Scene(known={"reboots": (ago(90),)}, reported={"time": time})
        found = scene.judge()
        assert (found.outcome if found else None) is outcome
        assert scene.judge(on_demand=True) is None


def test_node_whose_reboot_is_under_way_is_left_to_it() -> None:
    """A claim without an answer may be a call that is being made, or that was lost."""
    for lease in (ago(-1), ago(50)):
        scene = Scene(known={"claims": {"other": Claim(ago(60), lease)}})
        found, asked = scene.judge(), scene.judge(on_demand=True)
        assert found
        assert found.outcome is DUPLICATE
        assert asked
        assert (asked.outcome, asked.code) == (REFUSED, "CoolingDown")
    answered = Claim(ago(60), ago(50), Result.FAILED, "InstanceIdInUse")
    assert Scene(known={"claims": {"other": answered}}).judge() is None


def test_what_a_person_asked_for_within_the_cooldown_is_refused_not_swallowed() -> None:
    """They wait for an answer."""
    scene = Scene()
    WRONGS["cooling_down"].cause(scene)
    found = scene.judge(on_demand=True)
    assert found
    assert (found.outcome, found.code) == (REFUSED, "CoolingDown")
    assert found.reason == WRONGS["cooling_down"].reason


@pytest.mark.parametrize(
    ("cause", "minded"),
    [
        (rebooted(ago(29.99)), True),
        (rebooted(ago(30)), False),
        (rebooted(ago(500), ago(1), ago(100)), True),
        (rebooted(ago(24 * 60 - 1), ago(60)), True),
        (rebooted(ago(24 * 60), ago(60)), False),
        (knowing(repairing_until=NOW), False),
        (knowing(healthy_at=ago(0.01)), False),
        (setting(waited=minutes(60)), False),
        (setting(waited=timedelta(minutes=60, microseconds=999_999)), False),
        (setting(waited=timedelta(minutes=60, seconds=1)), True),
        (setting(spent=39), False),
        (setting(spent=41), True),
    ],
)
def test_guard_minds_up_to_its_limit_and_not_beyond(cause: Callable[[Scene], None], minded: bool) -> None:
    """Windows, ages and counts at their ends."""
    scene = Scene()
    cause(scene)
    assert (scene.judge() is not None) is minded


def test_mute_reason_is_kept() -> None:
    """What muted it is what people look for."""
    assert judged([case(muted="muted by arn:rule")]).endings[0].reason == "muted by arn:rule"


def test_archive_replay_is_stale_however_fresh() -> None:
    """It was delivered once already."""
    found = Scene().judge(replay="tuesday")
    assert found
    assert (found.code, found.reason) == ("StaleReport", "the event is from the archive replay tuesday")


@pytest.mark.parametrize(("due", "stale"), [(0, False), (60, False), (60.1, True)])
def test_check_waits_from_when_it_was_due(due: float, stale: bool) -> None:
    """It was sent with a delay, however short the age that reports may have."""
    scene = Scene(waited=minutes(75))
    found = scene.judge(check=Check("m-0", 1, ago(due)))
    assert (found is not None) is stale
    if found:
        assert found.code == "StaleReport"


def test_refused_check_is_answered_each_time() -> None:
    """What a reboot comes to is no repetition of what a report came to."""
    scene = Scene(mode="paused", known={"told": {"Paused": ago(10)}})
    found = scene.judge(check=Check("m-0", 1, NOW))
    assert found
    assert (found.outcome, found.code) == (REFUSED, "Paused")


RETRY = Watch("m-0", Stage.RETRYING, ago(5), NOW + minutes(47), ago(5), next_at=NOW + minutes(2))


def test_report_of_a_node_whose_retry_is_due_is_a_duplicate() -> None:
    """That says when; the retry itself, and what a person asks for, goes on."""
    scene = Scene(known={"watch": RETRY})
    found = scene.judge()
    assert found
    assert (found.outcome, found.code) == (DUPLICATE, None)
    assert found.reason == "a failed try is made again at 2026-11-23 02:16:07 UTC"
    assert scene.judge(check=Check("m-0", 1, NOW, retry=True)) is None
    assert scene.judge(on_demand=True) is None


@pytest.mark.parametrize(
    "watch",
    [
        replace(RETRY, until=NOW),
        replace(RETRY, end=Outcome.RECOVERED, ended_by="m-9"),
        replace(RETRY, stage=Stage.REPAIRING),
    ],
)
def test_retry_that_is_over_holds_up_no_report(watch: Watch) -> None:
    """Its check may have been lost: the node must not be left alone for it."""
    assert Scene(known={"watch": watch}).judge() is None


@pytest.mark.parametrize(
    ("action", "by_itself", "advised", "outcome", "code"),
    [
        *((action, by_itself, "refuse", None, None) for action in (None, "None") for by_itself in (True, False)),
        ("Reboot", True, "refuse", DEFERRED, None),
        ("Replace", True, "refuse", DEFERRED, None),
        ("Replace", True, "reboot", DEFERRED, None),
        ("Reboot", False, "refuse", None, None),
        ("Replace", False, "refuse", REFUSED, "ReplacementAdvised"),
        ("Quarantine", False, "refuse", REFUSED, "ReplacementAdvised"),
        ("Replace", False, "reboot", None, None),
        ("Quarantine", False, "reboot", None, None),
    ],
)
def test_what_hyperpod_is_going_to_do_decides(
    action: str | None, by_itself: bool, advised: str, outcome: Outcome | None, code: str | None
) -> None:
    """Left to HyperPod where it repairs; where it only advises, a reboot is a reboot and the rest is for people."""
    settings = replace(BOTH, on_replacement_advised=advised)
    plan = judged([case(repair_action=action)], settings=settings, facts=Facts(9, recovers_by_itself=by_itself))
    assert ended(plan) == ([] if outcome is None else [(outcome, code)])
    assert bool(plan.reboots) is (outcome is None)


@pytest.mark.parametrize("older", ["event", "alarm"])
def test_repair_binds_every_report_of_the_node_in_the_batch(older: str) -> None:
    """An alarm of the same incident must not reboot what HyperPod repairs, whichever of the two is older."""
    event = case(repair_action="Replace", time=ago(2 if older == "event" else 0))
    alarm, neighbour = case(time=ago(1)), case(node(2))
    for batch in ([event, alarm, neighbour], [neighbour, alarm, event]):
        plan = judged(batch, facts=Facts(9, recovers_by_itself=True))
        assert ended(plan) == [(DEFERRED, None)] * 2
        assert plan.reboots == {"ml-a": [neighbour]}


@pytest.mark.parametrize("event", [{"replay": "tuesday"}, {"muted": "muted"}, {"time": ago(9)}])
def test_report_that_does_not_count_binds_nobody(event: dict[str, Any]) -> None:
    """A replayed, muted or outdated word of a repair is none."""
    old, alarm = case(repair_action="Replace", **event), case(time=ago(1))
    plan = judged([old, alarm], NodeRecord(KEY, 1, healthy_at=ago(5)), facts=Facts(9, recovers_by_itself=True))
    assert plan.reboots == {"ml-a": [alarm]}


@pytest.mark.parametrize("protected", [instance_id(1), "group-1"])
def test_node_is_protected_under_both_of_its_ids(protected: str) -> None:
    """Known by its instance, reported by its logical ID: either is enough."""
    reported = case(Node(IdKind.LOGICAL_ID, "group-1"), instance_id=instance_id(1))
    plan = judged([reported], facts=Facts(9, protected=frozenset({protected})))
    assert ended(plan) == [(REFUSED, "ProtectedNode")]


@pytest.mark.parametrize(
    ("nodes", "percent", "least", "limit"),
    [(200, 20, 2, 40), (100, 20, 2, 20), (1, 20, 2, 2), (0, 20, 2, 2), (11, 20, 2, 3), (10, 20, 2, 2), (7, 100, 1, 7)],
)
def test_budget_is_a_share_of_the_nodes_rounded_up_or_the_least(
    nodes: int, percent: int, least: int, limit: int
) -> None:
    """The number that people are told is the number that is planned."""
    settings = replace(BOTH, budget_percent=percent, budget_min_nodes=least)
    plan = judged([case(node(n)) for n in range(50)], settings=settings, facts=Facts(nodes))
    assert len(plan.reboots["ml-a"]) == limit
    assert plan.endings[0].reason == f"budget {limit} of {nodes} nodes in 60m, {limit} spent"


def test_budget_counts_what_was_spent_within_its_window() -> None:
    """Of all calls, together with what this batch plans; and it is its cluster's alone."""
    batch = [*(case(node(n)) for n in range(30)), *(case(node(n), "ml-b") for n in range(30))]
    spends = {"old": (ago(60), 99), "a": (ago(59.99), 10), "b": (ago(1), 25)}
    plan = judged(batch, facts=Facts(200), spends=spends)
    assert {name: len(cases) for name, cases in plan.reboots.items()} == {"ml-a": 5, "ml-b": 30}
    assert {each.reason for each in plan.endings} == {"budget 40 of 200 nodes in 60m, 40 spent"}


def test_budget_serves_the_oldest_reports() -> None:
    """Fifty sick nodes of a hundred: twenty reboots, of those that have waited longest."""
    batch = [case(node(n), time=NOW - timedelta(seconds=(n * 7) % 50)) for n in range(50)]
    plan = judged(batch, facts=Facts(100))
    oldest = sorted(batch, key=lambda each: each.trigger.time)
    assert plan.reboots == {"ml-a": oldest[:20]}
    assert ended(plan) == [(REFUSED, "ClusterBudgetExceeded")] * 30


def test_observing_spends_the_budget_that_active_would() -> None:
    """What would have been refused is refused, so that an operator sees what active would do."""
    plan = judged([case(node(n)) for n in range(30)], facts=Facts(100), mode="observe")
    assert plan.reboots == {}
    assert [outcome for outcome, _ in ended(plan)] == [Outcome.OBSERVED] * 20 + [REFUSED] * 10


@pytest.mark.parametrize(("healthy_at", "sick"), [(minutes(-1), True), (minutes(0), False), (minutes(1), False)])
def test_node_healthy_at_or_since_its_report_is_left_alone(healthy_at: timedelta, sick: bool) -> None:
    """Whichever arrived first; a node that was healthy before is sick now."""
    reports = [case(), case(healthy=True, time=NOW + healthy_at)]
    for batch in (reports, reports[::-1]):
        assert bool(judged(batch).reboots) is sick


def test_latest_healthy_report_counts() -> None:
    """Of several, in any order."""
    well = [case(healthy=True, time=NOW + minutes(m)) for m in (-1, 1, -2)]
    assert judged([*well, case()]).reboots == {}


@pytest.mark.parametrize("other", [case(cluster="ml-b", healthy=True), case(node(2), healthy=True)])
def test_health_of_another_node_clears_nothing(other: Case) -> None:
    """A node is known by its cluster and its ID."""
    assert judged([case(), other]).reboots.keys() == {"ml-a"}


def test_two_ids_of_one_node_are_one_node() -> None:
    """The ledger knows it by its instance: reported by both, it is rebooted once, and its health counts for both."""
    logical = Node(IdKind.LOGICAL_ID, "group-1")
    plan = judged([case(), case(logical, instance_id=instance_id(1))])
    assert (len(plan.reboots["ml-a"]), ended(plan)) == (1, [(DUPLICATE, None)])
    assert judged([case(), case(logical, instance_id=instance_id(1), healthy=True)]).reboots == {}
    unknown = judged([case(), case(logical, healthy=True)])
    assert unknown.reboots.keys() == {"ml-a"}


def test_oldest_report_is_first_and_the_others_are_duplicates() -> None:
    """Whatever order the queue delivers in."""
    young, old, other = case(time=NOW), case(time=ago(2)), case(node(2), time=ago(1))
    plan = judged([young, other, old])
    assert plan.reboots == {"ml-a": [old, other]}
    assert [(ending.case, ending.outcome) for ending in plan.endings] == [(young, DUPLICATE)]


def test_clusters_are_planned_apart() -> None:
    """The same ID in two clusters is two nodes."""
    plan = judged([case(), case(cluster="ml-b")])
    assert {name: len(cases) for name, cases in plan.reboots.items()} == {"ml-a": 1, "ml-b": 1}


@pytest.mark.parametrize("name", WRONGS)
def test_facts_are_needed_only_where_nothing_else_decides(name: str) -> None:
    """A report that is muted, paused, not allowed, outdated or stale asks SageMaker nothing."""
    scene = Scene()
    WRONGS[name].cause(scene)
    of = case(**{"cluster": "ml-a", **scene.reported})
    of = Case(replace(of.message, sent=NOW - scene.waited), of.reading)
    assert of.key
    found = needs_facts(of, situation([of], NodeRecord(of.key, 1, **scene.known), mode=scene.mode))
    assert found is (name not in {guard.__name__.lstrip("_") for guard in GUARDS_WITHOUT_FACTS})


def remembered(of: Case, outcome: Outcome, code: str | None = None, facts: Facts | None = None) -> NodeRecord:
    assert of.key
    return remember(NodeRecord(of.key), ending(of, outcome, code), situation([of], facts=facts))


def test_time_of_a_report_is_remembered_by_its_kind() -> None:
    """Of any outcome: that is what later reports are judged by."""
    assert remembered(case(time=ago(3)), Outcome.FAILED, "C") == NodeRecord(KEY, unhealthy_at=ago(3))
    assert remembered(case(time=ago(3), healthy=True), CLEARED) == NodeRecord(KEY, healthy_at=ago(3))


def test_check_is_not_remembered_as_a_report() -> None:
    """Nobody reported the node when it was looked at."""
    assert remembered(case(check=Check("m-0", 1, NOW)), Outcome.WAITING) == NodeRecord(KEY)


def test_refusals_and_observations_are_remembered_as_told() -> None:
    """From now on; other outcomes, and the repetition of a refusal, are not."""
    assert remembered(case(), REFUSED, "Paused").told == {"Paused": NOW}
    assert remembered(case(), Outcome.OBSERVED).told == {"observed": NOW}
    for outcome in (DUPLICATE, DEFERRED, CLEARED, Outcome.REBOOTED, Outcome.FAILED):
        assert remembered(case(), outcome, "Paused").told == {}


def test_repair_is_remembered_for_a_cooldown() -> None:
    """Only from the report that says so, and only where HyperPod repairs by itself."""
    automatic = Facts(9, recovers_by_itself=True)
    assert remembered(case(repair_action="Replace"), DEFERRED, facts=automatic).repairing_until == NOW + minutes(30)
    assert remembered(case(), DEFERRED, facts=automatic).repairing_until is None
    assert remembered(case(repair_action="Replace"), DEFERRED, facts=Facts(9)).repairing_until is None
    assert remembered(case(repair_action="Replace"), REFUSED, "Paused", automatic).repairing_until is None


cases = st.builds(
    case,
    st.integers(0, 4).map(node) | st.integers(0, 2).map(lambda n: Node(IdKind.LOGICAL_ID, f"group-{n}")),
    st.sampled_from(["ml-a", "ml-b", "ml-c", None]),
    healthy=st.sampled_from([False, False, True]),
    muted=st.sampled_from([None, None, "muted"]),
    repair_action=st.sampled_from([None, None, None, "Replace"]),
    on_demand=st.booleans(),
    time=st.integers(-3, 3).map(lambda m: NOW + minutes(m)),
)
times = st.integers(0, 2_000).map(ago)
records = st.builds(
    NodeRecord,
    st.builds(NodeKey, st.sampled_from(["ml-a", "ml-b"]), st.integers(0, 4).map(instance_id)),
    version=st.just(1),
    reboots=st.lists(times, max_size=3).map(tuple),
    healthy_at=st.none() | times,
    repairing_until=st.none() | times,
    told=st.dictionaries(st.sampled_from(["Paused", "RebootLimitReached", "observed"]), times),
)
worlds = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["active", "active", "observe", "paused"]),
        "facts": st.builds(
            Facts, st.integers(0, 12), st.booleans(), st.frozensets(st.integers(0, 4).map(instance_id), max_size=1)
        ),
        "spends": st.dictionaries(st.sampled_from("abc"), st.tuples(times, st.integers(1, 2))),
    }
)


@given(st.lists(cases, max_size=40), st.lists(records, max_size=6), worlds)
def test_each_case_is_planned_or_ended_and_no_guard_is_passed(
    batch: Sequence[Case], known: Sequence[NodeRecord], world: dict[str, Any]
) -> None:
    """Promise 1 and promise 2, as far as the judgement goes: no node twice, none in its cooldown, none over budget."""
    seen = situation(batch, *known, **world)
    plan = judge(batch, seen)
    planned = [each for of_cluster in plan.reboots.values() for each in of_cluster]
    assert sorted(map(id, [*planned, *(ending.case for ending in plan.endings)])) == sorted(map(id, batch))
    keys = [each.key for each in planned]
    assert len(keys) == len(set(keys))
    assert all(cluster == each.cluster for cluster, of_cluster in plan.reboots.items() for each in of_cluster)
    assert all(BOTH.allows(cluster) for cluster in plan.reboots)
    assert world["mode"] == "active" or not planned
    for cluster, of_cluster in plan.reboots.items():
        reports = [each.trigger.time for each in of_cluster]
        assert reports == sorted(reports)
        recent = [n for at, n in world["spends"].values() if at > ago(60)] if cluster == "ml-a" else []
        assert sum(recent) + len(of_cluster) <= max(2, -(-world["facts"].nodes * 20 // 100))
    for each in planned:
        assert each.key
        record = seen.book.node(each.key)
        assert all(at <= ago(30) for at in record.reboots)
        assert sum(at > ago(24 * 60) for at in record.reboots) < 2
        assert not record.healthy_at or record.healthy_at < each.trigger.time
        assert each.key.id not in world["facts"].protected


@given(st.lists(cases, max_size=15).flatmap(lambda batch: st.tuples(st.just(batch), st.permutations(batch))))
def test_order_of_arrival_changes_neither_nodes_nor_counts(batches: tuple[Sequence[Case], Sequence[Case]]) -> None:
    """A queue that is not FIFO delivers as it likes."""
    first, second = (judged([*batch], facts=Facts(1_000, recovers_by_itself=True)) for batch in batches)
    nodes = [{name: {each.node for each in of} for name, of in plan.reboots.items()} for plan in (first, second)]
    assert nodes[0] == nodes[1]
    assert sorted(map(str, ended(first))) == sorted(map(str, ended(second)))
