"""The mode by cluster and instance group, with an end: what it holds back, and how its end is told."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from node_remediation.remediate import Effect
from node_remediation.settings import Settings
from tests.loop.outside import FakeCluster, Notice, Slot, Takes, throttled
from tests.loop.world import DAY, HOUR, MINUTE, SECOND, START, A, B, Trouble, World, Write

END = START + 10 * MINUTE


def until(end: datetime = END, word: str = "paused") -> str:
    return f"{word} until {end:%Y-%m-%dT%H:%M:%SZ}"


def with_mode(entries: dict[str, str], *clusters: FakeCluster) -> World:
    """Return a world with two clusters and a mode by cluster and group."""
    world = World(None, *(clusters or (FakeCluster(A), FakeCluster(B))))
    world.mode.value = json.dumps(entries)
    return world


def refused(world: World, node: Slot) -> str:
    """Report a node, which is refused; returns why."""
    world.unhealthy(node)
    assert world.deliver() == ["refused Paused"]
    return world.outside.results[-1][1].reason


def resumed(world: World) -> list[Notice]:
    return [notice for notice in world.notices if notice.list == "Resumed"]


# -- where it holds


def test_pause_of_one_cluster_leaves_the_other_alone() -> None:
    """Its nodes are refused, with the entry and its end; requests are, too."""
    world = with_mode({A: until()})
    reason = "the mode of ml-a is paused: nothing is rebooted until 2026-11-23 02:24:03 UTC"
    assert refused(world, world.node(1)) == reason
    world.unhealthy(world.node(1, B))
    world.request(world.node(2).instance)
    assert sorted(world.deliver()) == ["rebooted", "refused Paused"]
    assert world.reboots == [world.node(1, B).instance]


def test_pause_of_an_instance_group_leaves_the_others_alone() -> None:
    """It binds requests and redriven letters, too."""
    world = with_mode({"ml-a/gpu": "paused"})
    gpu, other = world.node(1), world.node(2)
    gpu.group = "gpu"
    assert refused(world, gpu) == "the mode of ml-a/gpu is paused: nothing is rebooted until an operator resumes"
    world.unhealthy(other)
    assert world.deliver() == ["rebooted"]
    world.request(gpu.instance)
    world.redrive(world.letters[0])
    assert world.deliver() == ["refused Paused"] * 2
    assert world.reboots == [other.instance]


def test_group_that_is_active_is_rebooted_where_the_setting_is_paused() -> None:
    """Nothing is refused before the node's group is known."""
    world = with_mode({"ml-a/workers": "active", "ml-a/gpu": "observe"})
    world.mode.default = "paused"
    world.node(2).group, world.node(3).group = "gpu", "login"
    for number in (1, 2, 3):
        world.unhealthy(world.node(number))
    world.unhealthy(world.node(1, B))
    assert sorted(world.deliver()) == ["observed", "rebooted", "refused Paused", "refused Paused"]
    assert world.reboots == [world.node(1).instance]


@pytest.mark.parametrize("ask", [World.unhealthy, lambda world, node: world.request(node.instance)])
def test_node_of_an_unknown_group_is_not_rebooted_while_groups_have_modes(ask: Callable[[World, Slot], str]) -> None:
    """It may be in the group that is paused. Once its group is known, it is rebooted."""
    world = with_mode({"ml-a/gpu": "paused"}, FakeCluster(A, continuous=False))
    node = world.node()
    world.sagemaker.down["describe_cluster_node"] = throttled()
    ask(world, node)
    world.deliver()
    world.passes(2 * MINUTE)
    assert world.reboots == []
    world.sagemaker.down.clear()
    world.passes(5 * MINUTE)
    assert world.reboots == [node.instance]


def test_node_that_is_in_no_list_is_not_rebooted_while_groups_have_modes() -> None:
    """A request for it is answered after its last receive."""
    world = with_mode({"ml-a/gpu": "observe"}, FakeCluster(A, continuous=False))
    node = world.node()
    node.listed = False
    world.request(node.instance)
    world.passes(HOUR)
    assert (world.reboots, world.codes) == ([], ["NodeNotResolved"])


def test_group_is_asked_for_only_where_it_decides() -> None:
    """Not in another cluster, and not while all of this one is paused."""
    world = with_mode({"ml-b/gpu": "observe"}, *(FakeCluster(name, continuous=False) for name in (A, B)))
    world.unhealthy(world.node(1))
    assert world.deliver() == ["rebooted"]
    world.mode.value = json.dumps({A: "paused", "ml-*/gpu": "observe"})
    world.skips(2 * MINUTE)
    refused(world, world.node(2))
    assert "describe_cluster_node" not in world.sagemaker.asked
    world.unhealthy(world.node(1, B))
    assert (world.deliver(), world.sagemaker.asked["describe_cluster_node"]) == (["rebooted"], 1)


def test_observed_group_spends_what_observe_has() -> None:
    """The other groups' nodes are judged by their own spending alone."""
    world = World(Settings(budget_min_nodes=1, budget_percent=1), FakeCluster(A, 3))
    world.mode.value = json.dumps({"ml-a/gpu-*": "observe"})
    for number in (1, 2):
        world.node(number).group = "gpu-8"
        world.unhealthy(world.node(number))
    assert world.deliver() == ["observed", "refused ClusterBudgetExceeded"]
    world.unhealthy(world.node(3))
    assert world.deliver() == ["rebooted"]
    reasons = [result.reason for _, result in world.outside.results]
    assert reasons[0] == "all guards said yes; the mode of ml-a/gpu-* is observe, so nothing was rebooted"


def test_text_that_cannot_be_understood_pauses_everything_and_says_why() -> None:
    """Whoever is woken sees what to mend; once it is mended, a request is served at once."""
    world = with_mode({B: "pausd"})
    assert refused(world, world.node()).startswith(
        'everything is paused, because the mode parameter cannot be understood: entry "ml-b" takes active, observe or '
    )
    world.mode.value = json.dumps({B: "paused"})
    world.request(world.node().instance)
    assert world.deliver() == ["rebooted"]


def test_request_reads_the_mode_again_only_if_its_own_cluster_may_be_paused() -> None:
    """A redrive of many letters asks no more often than it must."""
    world = with_mode({B: "paused"})
    for number, cluster in ((1, A), (2, A), (1, B), (2, B)):
        world.request(world.node(number, cluster).instance, cluster=cluster)
        world.deliver()
    assert (world.mode.asked, world.outcomes) == (3, ["rebooted"] * 2 + ["refused Paused"] * 2)


# -- its end


def test_node_that_was_refused_in_a_pause_is_rebooted_after_its_end_which_is_told() -> None:
    """To the second, although the mode is remembered."""
    world = with_mode({A: until()})
    node = world.node()
    world.until(END - SECOND)
    refused(world, node)
    world.skips(SECOND)
    world.redrive(world.letters[0])
    assert (world.deliver(), world.reboots) == (["rebooted"], [node.instance])
    world.passes(2 * MINUTE)
    (notice,) = resumed(world)
    assert (notice.at - END < MINUTE, notice.cluster) == (True, A)
    assert notice.entry == {
        "Pattern": A,
        "Mode": "paused",
        "Until": "2026-11-23T02:24:03Z",
        "Message": "active again since 2026-11-23 02:24:03 UTC, when the entry (paused) ended",
    }


def test_pause_of_everything_has_an_end_too() -> None:
    """As the whole text of the parameter."""
    world = World()
    world.mode.value = until()
    refused(world, world.node())
    world.until(END + MINUTE)
    world.unhealthy(world.node(2))
    assert world.deliver() == ["rebooted"]
    assert [(notice.entry["Pattern"], notice.cluster) for notice in resumed(world)] == [("*", "*")]


def test_end_is_told_once_by_all_sweeps_of_a_day() -> None:
    """Each end by itself; an entry without one is never told."""
    world = with_mode({A: until(), B: until(END + MINUTE, "observe"), "ml-c": "paused"})
    for minute in range(0, 25 * 60, 20):
        world.later(minute * MINUTE, world.sweep)
    world.passes(2 * DAY)
    assert [notice.entry["Pattern"] for notice in resumed(world)] == [A, B]
    assert all(notice.message.endswith("; where another entry matches, that counts") for notice in resumed(world))
    assert len(world.ledger.writes) == 4  # each is kept, and marked as sent


@pytest.mark.parametrize(("missing", "told"), [(HOUR, 1), (23 * HOUR, 1), (25 * HOUR, 0)])
def test_end_that_sweeps_missed_is_told_within_a_day(missing: timedelta, told: int) -> None:
    """Later it is no news."""
    world = with_mode({A: until()})
    world.skips(10 * MINUTE + missing)
    world.sweep()
    world.sweep()
    assert len(resumed(world)) == told


def test_end_that_was_put_off_is_told_when_it_comes() -> None:
    """The function still remembers the earlier one."""
    world = with_mode({A: until()})
    world.skips(10 * MINUTE - 30 * SECOND)
    world.sweep()
    world.mode.value = json.dumps({A: until(END + HOUR)})
    world.skips(45 * SECOND)
    world.sweep()
    assert resumed(world) == []
    world.passes(2 * HOUR)
    assert [notice.entry["Until"] for notice in resumed(world)] == ["2026-11-23T03:24:03Z"]


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(writes={1: Write.KILLED_BEFORE}),
        Trouble(writes={1: Write.KILLED_AFTER}),
        Trouble(kill=Effect.NOTICES),
        Trouble(topic=Takes.NONE),
        Trouble(writes={1: Write.DOWN}),
        Trouble(writes={1: Write.REFUSED}),
    ],
)
def test_end_that_a_sweep_could_not_tell_is_told_once_by_a_later_one(trouble: Trouble) -> None:
    """What cannot be kept is not sent: each sweep would tell it again."""
    world = with_mode({A: until()})
    world.skips(11 * MINUTE)
    world.sweep(trouble)
    assert resumed(world) == []
    for _ in range(5):
        world.skips(MINUTE)
        world.sweep()
    assert (len(resumed(world)), world.next_due()) == (1, None)


@pytest.mark.parametrize("number", [1, 2])
def test_overlapping_sweeps_tell_an_end_once(number: int) -> None:
    """The one that keeps it first tells it."""
    world = with_mode({A: until()})
    world.skips(11 * MINUTE)
    world.sweep(Trouble(writes={number: Write.RIVAL}, rival=world.sweep))
    world.passes(HOUR)
    assert len(resumed(world)) == 1


def test_sweep_carries_on_with_what_is_due_while_the_mode_cannot_be_read() -> None:
    """It says so in the log."""
    world = World()
    world.unhealthy(world.node())
    world.deliver(Trouble(kill=Effect.CALL))
    world.skips(2 * MINUTE)
    world.mode.down = True
    world.sweep()
    assert world.codes == ["OutcomeUnknown"]
    assert any("the ends of modes" in error for error in world.outside.errors)


def test_sweep_without_time_asks_for_no_mode() -> None:
    """A call may take ten seconds."""
    world = with_mode({A: until()})
    world.skips(11 * MINUTE)
    world.sweep(Trouble(seconds=24))
    assert (world.mode.asked, world.outside.sweeps) == (0, [(0.0, 0.0)])
