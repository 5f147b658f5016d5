"""Many nodes of one cluster fail within minutes: few notifications, and no node is missing."""

from collections.abc import Collection
from datetime import timedelta

import pytest

from node_remediation.aws.errors import LookupFailedError
from node_remediation.model import NodeKey
from node_remediation.policy.answers import notices_of
from node_remediation.policy.record import Book
from node_remediation.remediate import Effect
from node_remediation.settings import Override, Settings
from tests.fakes import LOST
from tests.loop.outside import FakeCluster, Takes
from tests.loop.promises import broken_at_the_end
from tests.loop.world import DAY, HOUR, MINUTE, SECOND, A, B, Trouble, World

MANY = 77


def burst(world: World, nodes: int = MANY, *, first: int = 1, cluster: str = A, apart: timedelta = 2 * SECOND) -> None:
    """Let nodes fail one after another, each in an invocation of its own."""
    for number in range(first, first + nodes):
        world.unhealthy(world.node(number, cluster))
        world.deliver()
        world.passes(apart)


def notifications(world: World, cluster: str = A) -> list[int]:
    """Return how many nodes each notification of a cluster names, in order."""
    numbers = [notice.number for notice in world.notices if notice.cluster == cluster]
    return [numbers.count(number) for number in dict.fromkeys(numbers)]


def paused(settings: Settings | None = None, nodes: int = MANY) -> World:
    """Return a world in which every report is refused."""
    world = World(settings, FakeCluster(A), FakeCluster(B), nodes=nodes)
    world.mode.value = "paused"
    return world


def test_burst_in_many_invocations_is_a_few_notifications_and_misses_no_node() -> None:
    """Letters go at once; of 77 refusals in 154 seconds, four are told one by one and the others each minute."""
    world = paused()
    burst(world)
    assert len(world.letters) == MANY
    world.passes(5 * MINUTE)
    assert notifications(world)[:4] == [1, 1, 1, 1]
    assert len(notifications(world)) <= 4 + 4
    told = [notice.node for notice in world.notices]
    assert sorted(told, key=str) == sorted(world.node(number).instance for number in range(1, MANY + 1))
    assert not broken_at_the_end(world)


def test_burst_beyond_the_budget_says_so_first() -> None:
    """20 quiet reboots, then refusals: each notification counts them."""
    world = World(None, FakeCluster(A), nodes=MANY)
    burst(world)
    world.passes(5 * MINUTE)
    assert len(world.reboots) == 20
    first, last = world.notices[0].mail, world.notices[-1].mail
    assert first.startswith("21 nodes of ml-a in 1 minute: 20 rebooted, 1 refused: ClusterBudgetExceeded\n\n")
    assert ": 20 rebooted, " in last.partition("\n")[0]
    assert sum(notifications(world)) == MANY - 20
    assert len(notifications(world)) <= 4 + 4


def test_notice_waits_no_longer_than_the_window_and_a_sweep() -> None:
    """Each node's letter tells when it was refused."""
    world = paused()
    burst(world)
    world.passes(5 * MINUTE)
    refused_at = {letter.node: letter.at for letter in world.letters}
    waits = [notice.at - refused_at[notice.node] for notice in world.notices]
    assert max(waits) > 30 * SECOND
    assert max(waits) <= world.settings.burst_window + MINUTE


@pytest.mark.parametrize("window", [timedelta(0), MINUTE])
def test_fewer_than_five_nodes_never_wait(window: timedelta) -> None:
    """Four nodes in four invocations, again and again; without a window, as many as there are."""
    world = paused(Settings(burst_window=window))
    for _ in range(3):
        burst(world, 77 if not window else 4)
        assert len(notifications(world)) == len(world.letters)
        world.skips(31 * MINUTE)


def test_slow_trickle_is_told_node_by_node() -> None:
    """One node each four minutes is no burst."""
    world = paused()
    burst(world, 20, apart=4 * MINUTE)
    assert notifications(world) == [1] * 20


def test_burst_is_over_once_nothing_was_told_for_a_window() -> None:
    """The next is told at once."""
    world = paused()
    burst(world, 20)
    world.passes(5 * MINUTE)
    told = len(notifications(world))
    world.unhealthy(world.node(50))
    world.deliver()
    assert len(notifications(world)) == told + 1


def test_burst_of_one_cluster_holds_no_notice_of_another() -> None:
    """Its first four nodes are told at once."""
    world = paused()
    burst(world, 20)
    burst(world, 4, cluster=B)
    assert notifications(world, B) == [1] * 4


def test_proposal_does_not_wait_for_the_end_of_a_burst() -> None:
    """Somebody has to answer it; a refusal of the same moment waits."""
    drill = Override(source="alarm:hyperpod-reboot-drill", action="none")
    ask = Override(source="alarm:*", action="ask")
    world = World(Settings(overrides=(drill, ask)), FakeCluster(A), nodes=MANY)
    for number in range(1, 8):
        world.alarm(world.node(number), "ALARM", name="hyperpod-reboot-drill", series=True)
        world.deliver()
        world.passes(SECOND)
    world.alarm(world.node(20), "ALARM", name="hyperpod-reboot-drill", series=True)
    world.alarm(world.node(21), "ALARM")
    world.deliver()
    assert (world.notices[-1].list, world.notices[-1].at) == ("Proposed", world.now)
    assert world.node(20).instance not in [notice.node for notice in world.notices]
    world.passes(2 * MINUTE)
    assert world.node(20).instance in [notice.node for notice in world.notices]


@pytest.mark.parametrize("kill", Effect, ids=str)
def test_kill_at_any_effect_in_a_burst_loses_no_notice(kill: Effect) -> None:
    """Of the sixth node, which is held; each later one too."""
    world = paused(nodes=12)
    burst(world, 5)
    for number in range(6, 13):
        world.unhealthy(world.node(number))
        world.deliver(Trouble(kill=kill))
        world.passes(SECOND)
    world.passes(HOUR)
    assert {notice.node for notice in world.notices} == {world.node(number).instance for number in range(1, 13)}
    assert not broken_at_the_end(world)


@pytest.mark.parametrize("kill", Effect, ids=str)
def test_kill_of_the_sweep_that_ends_a_window_loses_no_notice(kill: Effect) -> None:
    """The next one carries on."""
    world = paused(nodes=12)
    burst(world, 12)
    world.skips(MINUTE)
    world.sweep(Trouble(kill=kill))
    world.passes(HOUR)
    assert {notice.node for notice in world.notices} == {world.node(number).instance for number in range(1, 13)}
    assert not broken_at_the_end(world)


@pytest.mark.parametrize("down", ["topic", "letters"])
def test_burst_while_topic_or_queue_is_down_is_told_afterwards(down: str) -> None:
    """Nothing is lost, and the topic hears of nothing that has no letter."""
    world = paused()
    if down == "topic":
        world.outside.topic_takes = Takes.NONE
    else:
        world.outside.letters_take = Takes.NONE
    burst(world)
    assert not world.notices
    world.outside.topic_takes = world.outside.letters_take = Takes.ALL
    world.passes(HOUR)
    assert len({notice.node for notice in world.notices}) == MANY
    assert not broken_at_the_end(world)


def test_ledger_that_cannot_be_asked_for_a_burst_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not known holds up no notice."""
    world = paused()
    burst(world, 5)
    real = world.ledger.load

    def load(keys: Collection[NodeKey], clusters: Collection[str]) -> Book:
        if notices_of(A) in keys:
            raise LookupFailedError(LOST)
        return real(keys, clusters)

    monkeypatch.setattr(world.ledger, "load", load)
    world.unhealthy(world.node(6))
    world.deliver()
    monkeypatch.undo()
    assert world.notices[-1].node == world.node(6).instance
    world.passes(DAY)
    assert not broken_at_the_end(world)


def test_quiet_reboots_of_a_burst_write_nothing_for_it() -> None:
    """Three writes each, as ever: decision, answer, and that the event bus was told."""
    world = World(Settings(budget_percent=100), FakeCluster(A), nodes=20)
    burst(world, 20)
    assert len(world.ledger.writes) == 60
    assert world.told == []
