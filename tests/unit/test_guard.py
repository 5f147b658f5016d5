"""The judgement: each guard by itself, their order, and what holds over any batch."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.guard import GUARDS, Plan, judge
from node_remediation.model import Case, IdKind, Node, Outcome
from node_remediation.settings import Settings
from tests.unit.fakes import NOW, case, instance_id

BOTH = Settings(clusters=("ml-a", "ml-b"))


def node(number: int) -> Node:
    return Node(IdKind.NODE_ID, instance_id(number))


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def ended(plan: Plan) -> list[tuple[Outcome, str | None]]:
    return [(ending.outcome, ending.code) for ending in plan.endings]


# Each row breaks one guard more than the row below it, so the first that is broken must be the one that speaks.
@pytest.mark.parametrize(
    ("reported", "outcome", "code"),
    [
        (case(cluster=None, muted="muted by arn:rule"), Outcome.DEFERRED, None),
        (case(cluster=None, muted="muted by arn:rule", healthy=True), Outcome.CLEARED, None),
        (case(cluster=None), Outcome.REFUSED, "ClusterNotResolved"),
        (case(cluster="ml-c"), Outcome.REFUSED, "ClusterNotAllowed"),
        (case(time=NOW - minutes(5)), Outcome.CLEARED, None),
        (case(time=NOW + minutes(1)), Outcome.DUPLICATE, None),
    ],
)
def test_first_guard_that_says_no_decides(reported: Case, outcome: Outcome, code: str | None) -> None:
    """The order of the design, beside a node that was healthy at NOW and is planned again since."""
    around = [case(healthy=True), case(time=NOW + minutes(0.5))]
    plan = judge([reported, *around], BOTH)
    (found,) = [ending for ending in plan.endings if ending.case is reported]
    assert (found.outcome, found.code) == (outcome, code)
    assert found.reason


def test_report_that_no_guard_minds_is_planned() -> None:
    """Under its cluster's name."""
    sick = case()
    assert judge([sick], BOTH) == Plan({"ml-a": [sick]}, [])


def test_mute_reason_is_kept() -> None:
    """What muted it is what people look for."""
    assert judge([case(muted="muted by arn:rule")], BOTH).endings[0].reason == "muted by arn:rule"


@pytest.mark.parametrize(("healthy_at", "rebooted"), [(minutes(-1), True), (minutes(0), False), (minutes(1), False)])
def test_node_healthy_at_or_since_its_report_is_left_alone(healthy_at: timedelta, rebooted: bool) -> None:
    """Whichever arrived first; a node that was healthy before is sick now."""
    reports = [case(), case(healthy=True, time=NOW + healthy_at)]
    for batch in (reports, reports[::-1]):
        assert bool(judge(batch, BOTH).reboots) is rebooted


def test_latest_healthy_report_counts() -> None:
    """Of several, in any order."""
    well = [case(healthy=True, time=NOW + minutes(m)) for m in (-1, 1, -2)]
    assert judge([*well, case()], BOTH).reboots == {}


@pytest.mark.parametrize("other", [case(cluster="ml-b", healthy=True), case(node(2), healthy=True)])
def test_health_of_another_node_clears_nothing(other: Case) -> None:
    """A node is known by its cluster and its ID, of its kind."""
    assert judge([case(), other], BOTH).reboots.keys() == {"ml-a"}
    logical = case(Node(IdKind.LOGICAL_ID, instance_id(1)), healthy=True)
    assert judge([case(), logical], BOTH).reboots.keys() == {"ml-a"}


def test_oldest_report_is_first_and_the_others_are_duplicates() -> None:
    """Whatever order the queue delivers in."""
    young, old, other = case(time=NOW), case(time=NOW - minutes(2)), case(node(2), time=NOW - minutes(1))
    plan = judge([young, other, old], BOTH)
    assert plan.reboots == {"ml-a": [old, other]}
    assert [(ending.case, ending.outcome) for ending in plan.endings] == [(young, Outcome.DUPLICATE)]


def test_clusters_are_planned_apart() -> None:
    """The same ID in two clusters is two nodes."""
    plan = judge([case(), case(cluster="ml-b")], BOTH)
    assert {name: len(cases) for name, cases in plan.reboots.items()} == {"ml-a": 1, "ml-b": 1}


def test_guards_are_in_the_order_of_the_design() -> None:
    """Moving one is a change of the design."""
    assert [guard.__name__.lstrip("_") for guard in GUARDS] == [
        "muted",
        "healthy",
        "cluster_known",
        "cluster_allowed",
        "recovered_since",
        "planned_already",
    ]


cases = st.builds(
    case,
    st.integers(0, 4).map(node) | st.integers(0, 2).map(lambda n: Node(IdKind.LOGICAL_ID, f"group-{n}")),
    st.sampled_from(["ml-a", "ml-b", "ml-c", None]),
    healthy=st.sampled_from([False, False, True]),
    muted=st.sampled_from([None, None, "muted"]),
    time=st.integers(-3, 3).map(lambda m: NOW + minutes(m)),
)


@given(st.lists(cases, max_size=40))
def test_each_case_is_planned_or_ended_and_each_node_planned_once(batch: Sequence[Case]) -> None:
    """Promise 1 and promise 2, as far as the judgement goes."""
    plan = judge(batch, BOTH)
    planned = [each for of_cluster in plan.reboots.values() for each in of_cluster]
    assert sorted(map(id, [*planned, *(ending.case for ending in plan.endings)])) == sorted(map(id, batch))
    keys = [(each.cluster, each.node) for each in planned]
    assert len(keys) == len(set(keys))
    assert all(cluster == each.cluster for cluster, of_cluster in plan.reboots.items() for each in of_cluster)
    assert all(BOTH.allows(cluster) for cluster in plan.reboots)
    for of_cluster in plan.reboots.values():
        times = [each.trigger.time for each in of_cluster]
        assert times == sorted(times)


@given(st.lists(cases, max_size=15).flatmap(lambda batch: st.tuples(st.just(batch), st.permutations(batch))))
def test_order_of_arrival_changes_neither_nodes_nor_counts(batches: tuple[Sequence[Case], Sequence[Case]]) -> None:
    """A queue that is not FIFO delivers as it likes."""
    first, second = (judge(batch, BOTH) for batch in batches)
    nodes = [{name: {each.node for each in of} for name, of in plan.reboots.items()} for plan in (first, second)]
    assert nodes[0] == nodes[1]
    assert sorted(map(str, ended(first))) == sorted(map(str, ended(second)))
