"""The guards: each by itself, with its numbers and words, their order, and what no combination of facts gets past."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_remediation.model import Alarm, AlarmState, Case, ClusterFacts, IdKind, Node, NodeFacts, NodeKey
from node_remediation.policy.draft import Plan, Scene
from node_remediation.policy.guards import GUARDS, Matter, budget_limit, judge, stale, withdrawn_since
from node_remediation.policy.incidents import decide
from node_remediation.policy.modes import Modes, read_modes
from node_remediation.policy.record import GONE, MOST_ENTRIES, Book, Budget, Facts, Missing, NodeRecord, Sign, State
from tests.unit.policy.makers import (
    LOGICAL,
    LOGICAL_KEY,
    MINUTE,
    NOW,
    SECOND,
    SERIES,
    SETTINGS,
    SICK,
    ago,
    case,
    complaint,
    decided,
    entry,
    facts,
    hence,
    incident,
    instance,
    key,
    letter,
    outcomes,
    record,
    request,
    running,
    said,
    scene,
)

THROTTLED = Missing("ThrottlingException", "Rate exceeded")
DENIED = Missing("AccessDeniedException", "not authorized", final=True)
DAY = 24 * 60


@dataclass
class Situation:
    """One report that passes every guard, until something is wrong with it."""

    report: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    cluster: str = "ml-a"
    sent: datetime = NOW
    mode: str = "active"
    automatic: bool = False
    protected: frozenset[str] = frozenset()
    spent: int = 0

    def decide(self, make: Callable[..., Case] = case) -> Plan:
        reported = make(known_as=key(cluster=self.cluster), sent=self.sent, **self.report)
        about = facts({key().id: running()}, mode=self.mode, cluster=ClusterFacts(200, self.automatic, self.protected))
        budget = Budget(self.cluster, spends=((ago(30), self.spent),) if self.spent else ())
        of = record(key=key(cluster=self.cluster), **self.known)
        return decided(reported, of=of, budget=budget, known=about)


@dataclass(frozen=True)
class Wrong:
    """Something that one guard says no to, and its answer: to an event, and to a person's request."""

    cause: Callable[[Situation], None]
    outcome: str
    code: str | None
    reason: str
    asked: tuple[str, str | None] | None = None
    excludes: tuple[str, ...] = ()

    @property
    def to_request(self) -> tuple[str, str | None]:
        return self.asked or (self.outcome, self.code)


def reporting(**fields: Any) -> Callable[[Situation], None]:
    return lambda of: of.report.update(fields)


def setting(**fields: Any) -> Callable[[Situation], None]:
    def change(of: Situation) -> None:
        for name, value in fields.items():
            setattr(of, name, value)

    return change


def rebooted(*at: datetime) -> Callable[[Situation], None]:
    return lambda of: of.known.update(reboots=(*of.known.get("reboots", ()), *at))


def repairing(of: Situation) -> None:
    of.automatic = True
    of.report.update(repair_action="Replace")


# In the order of the design.
WRONGS = {
    "muted": Wrong(reporting(muted="muted by arn:rule"), "deferred", None, "muted by arn:rule", ("rebooted", None)),
    "paused": Wrong(
        setting(mode="paused"),
        "refused",
        "Paused",
        "the mode is paused: nothing is rebooted until an operator resumes",
        excludes=("group_paused", "observing"),
    ),
    "cluster_not_allowed": Wrong(
        setting(cluster="ml-c"),
        "refused",
        "ClusterNotAllowed",
        "cluster ml-c matches none of the setting clusters: ml-a, ml-b",
    ),
    "withdrawn": Wrong(
        lambda of: of.known.update(signs={"hyperpod": Sign(healthy_at=NOW), "request": Sign(healthy_at=NOW)}),
        "cleared",
        None,
        "reported unhealthy at 2026-11-23 02:14:07 UTC, and healthy since, at 2026-11-23 02:14:07 UTC",
    ),
    "stale": Wrong(
        setting(sent=ago(90)),
        "refused",
        "StaleReport",
        "the report waited 90m in the intake queue, longer than max_report_age (60m)",
    ),
    "group_paused": Wrong(
        setting(mode='{"ml-*": "active", "ml-a/work*": "paused until 2026-11-23T06:00Z"}'),
        "refused",
        "Paused",
        "the mode of ml-a/work* is paused: nothing is rebooted until 2026-11-23 06:00:00 UTC",
        excludes=("observing",),
    ),
    "repairing": Wrong(
        repairing,
        "deferred",
        None,
        "HyperPod repairs the node itself: RepairAction Replace, NodeRecovery Automatic",
        ("refused", "UnderRepair"),
    ),
    "replacement_advised": Wrong(
        reporting(repair_action="Replace"),
        "refused",
        "ReplacementAdvised",
        "HyperPod advises Replace and does not repair the node itself (NodeRecovery None); the setting "
        "on_replacement_advised refuses to reboot it instead",
    ),
    "protected": Wrong(
        setting(protected=frozenset({"workers"})),
        "refused",
        "ProtectedNode",
        "instance group workers is protected (Slurm controller or login, or protected_instance_groups)",
    ),
    "cooling_down": Wrong(
        rebooted(ago(10)),
        "waiting",
        None,
        "judged again at 2026-11-23 02:34:07 UTC: rebooted at 2026-11-23 02:04:07 UTC, less than the cooldown of 30m "
        "ago",
        ("refused", "CoolingDown"),
    ),
    "attempts_used_up": Wrong(
        rebooted(ago(240), ago(120)),
        "refused",
        "RebootLimitReached",
        "2 of 2 reboots of the node in 24h used, and it is still reported unhealthy",
    ),
    "budget_spent": Wrong(
        setting(spent=40), "refused", "ClusterBudgetExceeded", "budget 40 of 200 nodes in 60m, 40 spent"
    ),
    "observing": Wrong(
        setting(mode="observe"),
        "observed",
        None,
        "all guards said yes; the mode is observe, so nothing was rebooted",
    ),
}
REFUSALS = [name for name, wrong in WRONGS.items() if wrong.outcome == "refused"]


def situation(*names: str) -> Situation:
    of = Situation()
    for name in names:
        WRONGS[name].cause(of)
    return of


def test_guards_are_in_the_order_of_the_design() -> None:
    """Muted, withdrawn and stale concern a report; these concern the node."""
    names = [guard.__name__.lstrip("_") for guard in GUARDS]
    assert names == [
        "allowed",
        "facts_known",
        *list(WRONGS)[5:7],
        "awaiting_hyperpod",
        "overridden",
        *list(WRONGS)[7:9],
        "replaceable",
        "names_known",
        *list(WRONGS)[9:],
        "asked",
        "replacing",
    ]


@pytest.mark.parametrize("make", [case, request])
def test_report_that_no_guard_says_no_to_claims_its_node(make: Callable[..., Case]) -> None:
    """The report is answered with what the call comes to."""
    plan = Situation().decide(make)
    (claim,) = plan.claims
    assert (claim.key, claim.node, claim.case is not None, plan.results) == (key(), instance(), True, ())


@pytest.mark.parametrize("name", WRONGS)
def test_each_guard_has_its_outcome_its_code_and_its_numbers(name: str) -> None:
    """What people and dashboards read, to the letter."""
    wrong, plan = WRONGS[name], situation(name).decide()
    (result,) = plan.results
    assert (result.outcome, result.code, result.reason) == (wrong.outcome, wrong.code, wrong.reason)
    assert plan.claims == ()
    told = {"refused": [("refused", wrong.code, True, True)], "observed": [("observed", None, False, True)]}
    assert said(plan) == told.get(wrong.outcome, [])


@pytest.mark.parametrize("name", WRONGS)
def test_each_guard_answers_what_a_person_asked_for(name: str) -> None:
    """They wait for an answer: no request is left for later, and a mute holds none back."""
    wrong, plan = WRONGS[name], situation(name).decide(request)
    if wrong.to_request == ("rebooted", None):
        assert len(plan.claims) == 1
        return
    (result,) = plan.results
    assert (result.outcome, result.code) == wrong.to_request
    assert wrong.reason.endswith(result.reason)


@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in combinations(WRONGS, 2) if pair[1] not in WRONGS[pair[0]].excludes]
)
def test_of_two_guards_that_say_no_the_earlier_decides(first: str, second: str) -> None:
    """The whole order, by every pair that can be wrong together."""
    plan = situation(second, first).decide()
    assert outcomes(plan) == [(WRONGS[first].outcome, WRONGS[first].code)]
    assert plan.claims == ()
    if first != "muted":
        assert outcomes(situation(second, first).decide(request)) == [WRONGS[first].to_request]


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_is_told_once_per_code_and_cooldown(name: str) -> None:
    """A flapping node is one mail per code and cooldown; the log line of a duplicate has the code and the reason."""
    wrong = WRONGS[name]
    assert wrong.code
    others = {"AnotherCode": ago(1), "observed": ago(1)}
    for told, outcome in (({}, "refused"), ({wrong.code: ago(29.99)}, "duplicate"), ({wrong.code: ago(30)}, "refused")):
        of = situation(name)
        of.known.update(told=others | told)
        plan = of.decide()
        assert outcomes(plan) == [(outcome, wrong.code)]
        assert said(plan) == ([("refused", wrong.code, True, True)] if outcome == "refused" else [])
        prefix = "" if outcome == "refused" else "notified already within the cooldown: "
        assert plan.results[0].reason == prefix + wrong.reason


@pytest.mark.parametrize("name", [*REFUSALS, "observing"])
@pytest.mark.parametrize("make", [case, request])
def test_what_was_told_is_remembered_with_its_time(name: str, make: Callable[..., Case]) -> None:
    """The cooldown of the next one runs from now; of what was told before, nothing is forgotten."""
    of = situation(name)
    of.known.update(told={"AnotherCode": ago(1)})
    (after,) = [each for each in of.decide(make).records if isinstance(each, NodeRecord)]
    assert after.told == {"AnotherCode": ago(1), WRONGS[name].code or "observed": NOW}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize(("told", "topic"), [(29.99, False), (30, True)])
def test_refused_request_always_has_a_letter_and_the_topic_once_per_cooldown(
    name: str, told: float, topic: bool
) -> None:
    """What a person asked for is never swallowed."""
    of = situation(name)
    of.known.update(told={WRONGS[name].code: ago(told)})
    assert said(of.decide(request)) == [("refused", WRONGS[name].code, True, topic)]


@pytest.mark.parametrize(("told", "outcome"), [(29.99, "duplicate"), (30, "observed")])
def test_observation_is_told_once_per_cooldown(told: float, outcome: str) -> None:
    """On the topic alone, as nothing failed; what a person asked for is answered each time."""
    of = situation("observing")
    of.known.update(told={"observed": ago(told)})
    plan, asked = of.decide(), of.decide(request)
    assert outcomes(plan) == [(outcome, None)]
    assert said(plan) == ([("observed", None, False, True)] if outcome == "observed" else [])
    assert outcomes(asked) == [("observed", None)]
    assert said(asked) == [("observed", None, False, True)]


@pytest.mark.parametrize(
    ("cause", "minded"),
    [
        (rebooted(ago(29.99)), True),
        (rebooted(ago(30)), False),
        (rebooted(ago(500), ago(1), ago(100)), True),
        (rebooted(ago(DAY - 0.01), ago(60)), True),
        (rebooted(ago(DAY), ago(60)), False),
        (setting(sent=ago(60)), False),
        (setting(sent=ago(60) - 0.999 * SECOND), False),
        (setting(sent=ago(60) - SECOND), True),
        (setting(sent=hence(600)), False),
        (setting(spent=39), False),
        (setting(spent=41), True),
        (lambda of: of.known.update(signs={"hyperpod": Sign(healthy_at=ago(0.01))}), False),
        (lambda of: of.known.update(signs={"alarm:hyperpod-reboot-sick": Sign(healthy_at=NOW)}), False),
    ],
)
def test_guard_says_no_up_to_its_limit_and_not_beyond(cause: Callable[[Situation], None], minded: bool) -> None:
    """Windows, ages and counts at their ends."""
    of = Situation()
    cause(of)
    assert (not of.decide().claims) is minded


def test_cooldown_runs_from_the_claim_and_not_from_the_report() -> None:
    """A node that has been reported for hours was still rebooted only when it was claimed."""
    signs = {"hyperpod": Sign(unhealthy_at=ago(1))}
    assert decided(case(), of=record(reboots=(ago(30),), last_claim=ago(30), signs=signs)).claims
    plan = decided(case(), of=record(reboots=(ago(29),), last_claim=ago(29), signs={"hyperpod": Sign(None, ago(99))}))
    assert outcomes(plan) == [("waiting", None)]
    (of,) = [each for each in plan.records if isinstance(each, NodeRecord)]
    assert of.due == hence(1)


def test_claim_under_the_logical_id_counts_for_the_cooldown() -> None:
    """It was made before the instance was known, and is in the budget's item."""
    of, budget = record(logical_id=LOGICAL.id), Budget("ml-a", logical_ids={LOGICAL.id: ago(10)})
    assert outcomes(decided(case(), of=of, budget=budget)) == [("waiting", None)]
    assert decided(case(), of=of, budget=replace(budget, logical_ids={"another": ago(10)})).claims


def test_claim_that_was_given_back_does_not_cool_down() -> None:
    """Only a reboot counts; an older report is a duplicate all the same."""
    of = record(last_claim=ago(1))
    assert decided(case(), of=of).claims
    plan = decided(case(ago(1)), of=of)
    assert outcomes(plan) == [("duplicate", None)]
    assert plan.results[0].reason == "reported before the latest reboot call for the node, at 2026-11-23 02:13:07 UTC"


AUTOMATIC = facts(cluster=ClusterFacts(100, automatic=True))


def test_alarm_alone_waits_for_hyperpod_to_announce_its_repair() -> None:
    """Alarms name no RepairAction; HyperPod's word, a request, and clusters that are not Automatic need no wait."""
    plan = decided(case(ago(2), alarm=SICK), known=AUTOMATIC)
    assert [(each.outcome.value, each.reason) for each in plan.results] == [
        (
            "waiting",
            "judged again at 2026-11-23 02:17:07 UTC: only alarms complain, and NodeRecovery is Automatic: HyperPod "
            "may be about to repair the node itself",
        )
    ]
    assert decided(case(ago(5), alarm=SICK), known=AUTOMATIC).claims
    assert decided(
        case(ago(2), alarm=SICK), known=AUTOMATIC, settings=replace(SETTINGS, automatic_grace=0 * MINUTE)
    ).claims
    for reported in (case(), request(), letter(alarm=SICK)):
        assert decided(reported, known=AUTOMATIC).claims
    assert decided(case(ago(2), alarm=SICK)).claims


@pytest.mark.parametrize(
    ("joins", "outcome"),
    [
        ({}, "claimed"),
        ({"repair_action": "Reboot"}, "deferred"),
        ({"alarm": Alarm("hyperpod-reboot-other")}, "duplicate"),
    ],
)
def test_grace_of_an_alarm_ends_when_hyperpod_speaks(joins: dict[str, Any], outcome: str) -> None:
    """It repairs the node, or only says that it is unhealthy; another alarm says no more than the first."""
    waiting = decided(case(ago(2), alarm=SICK), known=AUTOMATIC).records[0]
    assert isinstance(waiting, NodeRecord)
    known = facts(alarms={SICK.source: AlarmState("ALARM")}, cluster=AUTOMATIC.cluster)
    plan = decided(case(ago(1), **joins), of=waiting, known=known)
    assert ["claimed"] * len(plan.claims) + [each.outcome.value for each in plan.results] == [outcome]


@given(st.integers(-7_200, 7_200), st.integers(-7_200, 7_200), st.integers(-9, 9))
def test_staleness_goes_by_the_time_in_the_queue_alone(sent: int, claimed: int, receives: int) -> None:
    """Whatever time the event claims: a clock in the future makes no report fresh, one in the past none stale."""
    of = case(NOW + claimed * SECOND, sent=NOW + sent * SECOND, receives=receives)
    assert (stale(of, scene()) is not None) is (sent < -3_600)


def test_archive_replay_is_stale_however_fresh() -> None:
    """It was delivered once already."""
    plan = decided(case(replay="tuesday"))
    assert outcomes(plan) == [("refused", "StaleReport")]
    assert plan.results[0].reason == "the event comes from the archive replay tuesday"


@given(st.integers(-3, 3))
def test_report_is_withdrawn_by_its_own_source_at_or_after_its_time(minutes: int) -> None:
    """On a tie, healthy wins; the word of another source counts for nothing."""
    signs = {"hyperpod": Sign(healthy_at=hence(minutes)), "alarm:hyperpod-reboot-sick": Sign(healthy_at=hence(9))}
    assert (withdrawn_since(case(), record(signs=signs)) is not None) is (minutes >= 0)
    assert (withdrawn_since(letter(), record(signs=signs)) is not None) is (minutes >= 0)
    assert withdrawn_since(request(), record(signs=signs)) is None


@pytest.mark.parametrize(
    ("signs", "cleared"),
    [
        ({}, False),
        ({"#a": Sign(healthy_at=NOW)}, True),
        ({"#a": Sign(healthy_at=ago(2))}, False),
        ({"#a": Sign(healthy_at=NOW), "#b": Sign(healthy_at=ago(5))}, True),
        ({"#a": Sign(healthy_at=NOW), "#b": Sign(unhealthy_at=ago(5))}, False),
        ({"#a": Sign(healthy_at=NOW), "#b": Sign(ago(5), ago(3))}, False),
        ({"#a": Sign(healthy_at=NOW), "-other#b": Sign(unhealthy_at=ago(5))}, True),
    ],
)
def test_letter_of_a_series_is_withdrawn_once_every_series_of_its_alarm_is_well(
    signs: dict[str, Sign], cleared: bool
) -> None:
    """A letter does not name its series."""
    of = letter(ago(1), sent=NOW, alarm=replace(SERIES, series=None))
    known = {f"alarm:{SERIES.name}{name}": sign for name, sign in signs.items()}
    assert (withdrawn_since(of, record(signs=known)) is not None) is cleared


@pytest.mark.parametrize(
    ("action", "automatic", "advised", "outcome"),
    [
        *((action, automatic, "refuse", None) for action in (None, "None") for automatic in (True, False)),
        ("Reboot", True, "refuse", ("deferred", None)),
        ("Replace", True, "refuse", ("deferred", None)),
        ("Replace", True, "reboot", ("deferred", None)),
        ("Reboot", False, "refuse", None),
        ("Replace", False, "refuse", ("refused", "ReplacementAdvised")),
        ("Quarantine", False, "refuse", ("refused", "ReplacementAdvised")),
        ("Replace", False, "reboot", None),
        ("Quarantine", False, "reboot", None),
    ],
)
def test_repair_action_decides_by_who_carries_it_out(
    action: str | None, automatic: bool, advised: str, outcome: tuple[str, str | None] | None
) -> None:
    """Left to HyperPod where it repairs; where it only advises, a reboot is done and the rest is for people."""
    advising = replace(SETTINGS, on_replacement_advised=advised)
    plan = decided(case(repair_action=action), known=facts(cluster=ClusterFacts(9, automatic)), settings=advising)
    assert outcomes(plan) == ([outcome] if outcome else [])
    assert bool(plan.claims) is (outcome is None)


@pytest.mark.parametrize(
    ("nodes", "percent", "least", "limit"),
    [
        (200, 20, 2, 40),
        (100, 20, 2, 20),
        (1, 20, 2, 2),
        (0, 20, 2, 2),
        (11, 20, 2, 3),
        (10, 20, 2, 2),
        (7, 100, 1, 7),
        (1_000, 100, 1, 1_000),
    ],
)
def test_budget_is_a_share_of_the_nodes_rounded_up_or_the_least(
    nodes: int, percent: int, least: int, limit: int
) -> None:
    """Large clusters by their size, small ones by the setting."""
    assert budget_limit(nodes, replace(SETTINGS, budget_percent=percent, budget_min_nodes=least)) == limit


@pytest.mark.parametrize("mode", ["active", "observe"])
def test_budget_of_one_decision_serves_the_oldest_reports_of_its_own_cluster(mode: str) -> None:
    """Fifty sick nodes of a hundred, five spent in the window: fifteen more, of those that have waited longest."""
    numbers = range(50)
    cases = {key(n): [case(ago(n * 7 % 50), node=instance(n))] for n in numbers}
    spends = ((ago(60), 99), (ago(59.99), 5))
    book = Book().updated(Budget("ml-a", spends=spends), Budget("ml-b", spends=((ago(1), 99),)))
    about = facts(mode=mode, cluster=ClusterFacts(100, automatic=False))
    plan = decide(book, [(each,) for each in cases], cases, scene(about))
    refused = [each for each in plan.results if each.code]
    served = {claim.key for claim in plan.claims} or {
        each.key for each in plan.records if isinstance(each, NodeRecord) and not any(said.code for said in each.outbox)
    }
    assert served == set(sorted(cases, key=lambda each: cases[each][0].report.trigger.time)[:15])
    assert {each.reason for each in refused} == {"budget 20 of 100 nodes in 60m, 20 spent"}
    assert len(refused) == 35
    (budget,) = [each for each in plan.records if isinstance(each, Budget)]
    assert budget.cluster == "ml-a"
    assert budget.spent(now=NOW, window=60 * MINUTE) == (20 if mode == "active" else 5)


def protected(node: NodeFacts | Missing | None, reported: Node | None = None) -> list[tuple[str, str | None]]:
    """Return the outcome of a report in a cluster with a protected group: none if its node is claimed."""
    named = reported or instance()
    known = facts({named.id: node} if node else {}, cluster=ClusterFacts(9, False, frozenset({"head"})))
    plan = decided(case(node=named), known=known)
    assert bool(plan.claims) is not bool(plan.results)
    return outcomes(plan)


def test_group_is_asked_for_where_some_are_protected() -> None:
    """A node that is in no list is not rebooted until its group is known; an odd ID can be no node's."""
    assert protected(running()) == []
    assert protected(running(group="head")) == [("refused", "ProtectedNode")]
    assert protected(running(group=None)) == protected(GONE) == [("waiting", "NodeNotResolved")]
    assert protected(None) == [("waiting", "DeadlineExceeded")]
    assert protected(THROTTLED) == [("waiting", "ThrottlingException")]
    assert protected(DENIED) == [("failed", "AccessDeniedException")]
    assert protected(GONE, Node(IdKind.NODE_ID, "i-odd")) == []


def test_logical_id_is_not_called_until_its_instance_is_known() -> None:
    """It may belong to a healthy successor by now."""
    of = record(incident=incident(State.RETRYING, node=LOGICAL))
    assert decided(of=of, known=facts({key().id: running()})).claims
    for node, reason in ((None, "DeadlineExceeded"), (THROTTLED, "ThrottlingException")):
        plan = decided(of=of, known=facts({key().id: node} if node else {}))
        assert plan.claims == ()
        assert plan.changes[0].code == reason


CONTINUOUS = ClusterFacts(100, automatic=False, continuous=True)


@pytest.mark.parametrize(
    ("node", "of", "budget", "known", "code"),
    [
        (None, record(), Budget("ml-a"), {}, None),
        (None, record(), Budget("ml-a"), {"cluster": CONTINUOUS}, "DeadlineExceeded"),
        (None, record(), Budget("ml-a", logical_ids={"x": NOW}), {}, "DeadlineExceeded"),
        (THROTTLED, record(), Budget("ml-a"), {"cluster": CONTINUOUS}, "ThrottlingException"),
        (running(), record(), Budget("ml-a"), {"cluster": CONTINUOUS}, None),
        (GONE, record(), Budget("ml-a"), {"cluster": CONTINUOUS}, None),
        (GONE, record(), Budget("ml-a", logical_ids={"x": NOW}), {}, "InstanceIdNotFound"),
        (GONE, record(), Budget("ml-a", logical_ids={instance(2).id: NOW}), {}, None),
        (GONE, record(), Budget("ml-a", logical_ids={"x": ago(30)}), {}, None),
        (None, record(logical_id="y"), Budget("ml-a", logical_ids={"x": NOW}), {"cluster": CONTINUOUS}, None),
    ],
)
def test_logical_id_must_be_known_where_the_machine_may_have_been_claimed_by_it(
    node: NodeFacts | Missing | None, of: NodeRecord, budget: Budget, known: dict[str, Any], code: str | None
) -> None:
    """Else one machine would be rebooted under each of its names."""
    plan = decided(case(), of=of, budget=budget, known=facts({key().id: node} if node else {}, **known))
    assert outcomes(plan) == ([("waiting", code)] if code else [])
    assert bool(plan.claims) is (code is None)


def test_name_that_may_not_be_looked_up_fails_the_node() -> None:
    """No default says that it is another machine."""
    budget = Budget("ml-a", logical_ids={instance(2).id: ago(1), "x": ago(1)})
    by_instance = decided(case(), budget=budget, known=facts({key().id: DENIED}))
    of = record(key=LOGICAL_KEY, node=LOGICAL)
    of_logical = case(node=of.node, known_as=of.key)
    by_logical_id = decided(of_logical, of=of, budget=budget, known=facts({instance(2).id: DENIED}))
    for plan in (by_instance, by_logical_id):
        assert (outcomes(plan), plan.claims) == ([("failed", "AccessDeniedException")], ())


@pytest.mark.parametrize(
    ("claimed", "code"),
    [
        (running(2, logical_id="another"), None),
        (running(2, logical_id=LOGICAL.id), "InstanceIdNotFound"),
        (running(2), "InstanceIdNotFound"),
        (GONE, "InstanceIdNotFound"),
        (None, "DeadlineExceeded"),
        (THROTTLED, "ThrottlingException"),
    ],
)
def test_instance_that_was_just_claimed_must_be_known_to_be_another_machine(
    claimed: NodeFacts | Missing | None, code: str | None
) -> None:
    """It may be behind this node's logical ID, and SageMaker does not list it as such yet."""
    budget = Budget("ml-a", logical_ids={instance(2).id: ago(1), "x": ago(1)})
    known = facts({instance(2).id: claimed} if claimed else {})
    of = record(key=LOGICAL_KEY, node=LOGICAL)
    plan = decided(case(node=of.node, known_as=of.key), of=of, budget=budget, known=known)
    assert outcomes(plan) == ([("waiting", code)] if code else [])
    assert bool(plan.claims) is (code is None)


def test_node_that_is_called_by_its_instance_id_waits_for_no_other_instance() -> None:
    """The call can reach no other machine: one that SageMaker does not list keeps none of its neighbours waiting."""
    budget, known = Budget("ml-a", logical_ids={instance(2).id: ago(1)}), facts({instance(2).id: GONE})
    of = record(logical_id=LOGICAL.id)
    assert decided(case(), of=of, budget=budget, known=known).claims
    assert decided(request(), of=of, budget=budget, known=known).claims


def test_claim_of_the_instance_itself_is_the_cooldowns() -> None:
    """Not a machine that may be another."""
    of, budget = record(logical_id=LOGICAL.id), Budget("ml-a", logical_ids={key().id: ago(1)})
    plan = decided(case(), of=of, budget=budget)
    assert plan.results[0].reason.startswith("judged again at 2026-11-23 02:43:07 UTC: rebooted at")


def test_latest_announced_repair_is_the_one_that_is_waited_for() -> None:
    """Of several that were announced, whichever is first in the record."""
    older, newer = complaint(ago(9), repair_action="Reboot"), complaint(ago(5), source="b", repair_action="Replace")
    for of in ((older, newer), (newer, older)):
        begun = incident(State.OPEN, *of)
        plan = decided(of=record(incident=begun), known=facts(cluster=ClusterFacts(9, automatic=True)))
        (change,) = plan.changes
        assert change.reason == "HyperPod repairs the node itself: RepairAction Replace, NodeRecovery Automatic"


def test_node_with_a_full_outbox_is_not_judged() -> None:
    """What was done to it before could not be said yet, and no more can be."""
    full = tuple(entry(str(n), code=str(n), due=hence(9)) for n in range(MOST_ENTRIES))
    of, paused = record(outbox=full), facts(mode="paused")
    assert outcomes(decided(case(), of=of)) == [("waiting", "LedgerBusy")]
    assert decided(case(), of=record(outbox=full[1:])).claims
    for plan in (decided(request(receives=5), of=of), decided(case(), of=of, known=paused)):
        assert [each.code for each in plan.handed_back] == ["LedgerBusy"]
        assert (plan.results, plan.records) == ((), ())
    assert outcomes(decided(case(), of=replace(of, told={"Paused": NOW}), known=paused)) == [("duplicate", "Paused")]


UNKNOWN = (None, THROTTLED, DENIED)
BY_GROUP = '{"ml-a/head": "paused", "*/other": "observe"}'
times = st.sampled_from([0, 29.99, 30, 45, 59.99, 60, 90, DAY - 0.01, DAY, 2 * DAY]).map(ago)
clusters = st.builds(
    ClusterFacts, st.integers(0, 12), st.booleans(), st.sampled_from([frozenset(), frozenset({"head"})])
)
complaints = st.builds(
    complaint,
    times,
    repair_action=st.sampled_from([None, None, None, "None", "Reboot", "Replace"]),
    source=st.sampled_from("ab"),
)


@pytest.mark.parametrize("automatic", [True, False])
@pytest.mark.parametrize("on_demand", [True, False])
def test_each_fact_that_a_guard_asks_for_must_be_known(automatic: bool, on_demand: bool) -> None:
    """None, a passing error or a final one, in any combination: no default says yes."""
    cluster = ClusterFacts(100, automatic, frozenset({"head"}), continuous=True)
    active = Modes("active")
    for mode, about, node in product((active, *UNKNOWN), (cluster, *UNKNOWN), (running(), *UNKNOWN)):
        known = Facts(mode, about, {key().id: node} if node else {})
        verdict = judge(Matter(record(), [complaint()], Budget("ml-a"), scene(known), on_demand))
        assert (verdict is None) is ((mode, about, node) == (active, cluster, running()))
        assert verdict is None or isinstance(verdict, Missing)


@settings(max_examples=400)
@given(
    mode=st.sampled_from([*["active"] * 12, *[BY_GROUP] * 3, "observe", "paused", *UNKNOWN]),
    cluster=st.one_of(clusters, clusters, clusters, st.sampled_from(UNKNOWN)),
    node=st.sampled_from([running(), running(), running(group="head"), running(group=None), GONE, *UNKNOWN]),
    name=st.sampled_from([*["ml-a"] * 6, "ml-c"]),
    reboots=st.lists(times, max_size=2).map(tuple),
    spends=st.lists(st.tuples(times, st.integers(1, 2)), max_size=3).map(tuple),
    of=st.lists(complaints, min_size=1, max_size=2),
    by_logical_id=st.booleans(),
    on_demand=st.booleans(),
)
def test_all_guards_say_yes_only_with_every_fact_known_and_every_limit_kept(
    *,
    mode: Any,
    cluster: Any,
    node: Any,
    name: str,
    reboots: tuple[datetime, ...],
    spends: tuple[tuple[datetime, int], ...],
    of: list[Any],
    by_logical_id: bool,
    on_demand: bool,
) -> None:
    """Promise 2: a fact that was not obtained says neither yes nor no, whichever it is."""
    known = record(
        key=NodeKey(name, key().id),
        reboots=reboots,
        incident=incident(node=LOGICAL if by_logical_id else instance()),
    )
    modes = read_modes(mode, default="active") if isinstance(mode, str) else mode
    about = Facts(modes, cluster, {key().id: node} if node else {})
    matter = Matter(known, of, Budget(name, spends=spends), Scene(SETTINGS, NOW, hence(1), about), on_demand)
    if judge(matter) is None:
        actions = {each.repair_action for each in of} - {None, "None"}
        assert mode in ("active", BY_GROUP)
        assert mode == "active" or (isinstance(node, NodeFacts) and node.group == "workers")
        assert name == "ml-a"
        assert isinstance(cluster, ClusterFacts)
        assert not (actions if cluster.automatic else actions - {"Reboot"})
        assert not cluster.protected_groups or (isinstance(node, NodeFacts) and node.group == "workers")
        assert isinstance(node, NodeFacts) or on_demand or not by_logical_id
        assert all(at <= ago(30) for at in reboots)
        assert sum(at > ago(DAY) for at in reboots) < SETTINGS.max_reboots_per_node
        assert sum(count for at, count in spends if at > ago(60)) < max(2, -(-cluster.nodes * 20 // 100))
