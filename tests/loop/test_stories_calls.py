"""Many nodes cost few calls."""

import pytest

from node_remediation.settings import Settings
from tests.loop.outside import FakeCluster
from tests.loop.world import MINUTE, A, World


def deliver(world: World, numbers: range) -> list[str]:
    for number in numbers:
        world.unhealthy(world.node(number))
    return world.deliver()


def lookups(world: World) -> tuple[int, int]:
    """Return how often nodes were listed, and described."""
    asked = world.sagemaker.asked
    return asked.get("list_cluster_nodes", 0), asked.get("describe_cluster_node", 0)


def test_logical_ids_that_an_answer_gave_are_not_asked_for_again() -> None:
    """An instance keeps its logical ID, and the first list had all."""
    world = World(Settings(budget_percent=100), nodes=40)
    deliver(world, range(1, 21))
    assert lookups(world) == (1, 0)
    world.skips(MINUTE)
    assert deliver(world, range(21, 41)) == ["rebooted"] * 20
    assert lookups(world) == (1, 0)


@pytest.mark.parametrize(("size", "expected"), [(100, (1, 0)), (300, (0, 2))])
def test_nodes_are_listed_where_that_takes_no_more_calls(size: int, expected: tuple[int, int]) -> None:
    """A list has a page for each hundred nodes of the cluster."""
    world = World(None, FakeCluster(A, nodes=size))
    assert deliver(world, range(1, 3)) == ["rebooted"] * 2
    assert lookups(world) == expected


def test_nodes_just_rebooted_are_written_with_those_to_be_rebooted() -> None:
    """One write claims twenty and takes in the reports of twenty others; then answers are recorded, and events sent."""
    world = World(Settings(budget_percent=100), nodes=40)
    deliver(world, range(1, 21))
    world.skips(MINUTE)
    before = len(world.ledger.writes)
    assert sorted(deliver(world, range(1, 41))) == ["duplicate"] * 20 + ["rebooted"] * 20
    assert len(world.ledger.writes) == before + 3


def test_sweep_whose_time_ends_leaves_the_rest_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written of nodes that it did not come to: the next sweep finds them."""
    world = World(Settings(budget_percent=100), nodes=120)
    world.sweeps = None
    deliver(world, range(1, 101))
    world.skips(20 * MINUTE)
    before = len(world.ledger.writes)
    monkeypatch.setattr(world, "_seconds_left", lambda: 60 if len(world.ledger.writes) == before else 20)
    world.sweep()
    [looked_at] = world.ledger.writes[before:]
    monkeypatch.undo()
    world.sweep()
    assert sum(map(len, world.ledger.writes[before:])) == 100
    assert 0 < len(looked_at) < 100
    assert all(world.record(world.node(number)).put_off == 0 for number in range(1, 101))


def test_budget_used_is_recorded_each_time_that_nodes_are_judged() -> None:
    """In percent, with what is given back taken off; a sweep that finds nothing records none."""
    world = World(Settings(budget_percent=10), nodes=40)
    world.node(1).answers = ["InstanceIdInUse"]
    assert sorted(deliver(world, range(1, 4))) == ["failed InstanceIdInUse", "rebooted", "rebooted"]
    assert world.outside.budget_used[-1] == {A: 20}
    world.sweep()
    assert world.outside.budget_used[-1] == {}


def test_budget_used_counts_what_mode_observe_would_have_spent() -> None:
    """As the guard does."""
    world = World(Settings(budget_percent=10), nodes=40)
    world.mode.value = "observe"
    assert deliver(world, range(1, 5)) == ["observed"] * 4
    assert world.outside.budget_used[-1] == {A: 40}
