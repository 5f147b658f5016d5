"""A node that keeps failing for the same reason is told as recurring, even if each of its incidents recovered."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from node_remediation.remediate import Effect
from node_remediation.settings import Override, Settings
from tests.loop.outside import FakeCluster, Slot
from tests.loop.promises import broken_at_the_end
from tests.loop.world import DAY, HOUR, MINUTE, A, Trouble, World

Fails = Callable[[World, Slot], None]


def by_hyperpod(world: World, node: Slot) -> None:
    """A node is reported, is rebooted and recovers; then a day passes."""
    world.unhealthy(node)
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(node)
    world.passes(DAY)


def by_alarm(world: World, node: Slot) -> None:
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(5 * MINUTE)
    world.alarm(node, "OK")
    world.passes(DAY)


def by_series(world: World, node: Slot) -> None:
    world.alarm(node, "ALARM", series=True, name="hyperpod-reboot-fleet")
    world.deliver()
    world.passes(5 * MINUTE)
    world.alarm(node, "OK", series=True, name="hyperpod-reboot-fleet")
    world.passes(DAY)


def recurring(world: World) -> list[tuple[str, list[str]]]:
    """Return reason and history of each time that a node was told as recurring."""
    told = [notice.entry for notice in world.notices if notice.list == "Recurring"]
    return [(entry["Reason"], list(entry["History"])) for entry in told]


@pytest.mark.parametrize(
    ("fails", "reason"),
    [(by_hyperpod, "Xid 79"), (by_alarm, "alarm:hyperpod-reboot-gpu"), (by_series, "alarm:hyperpod-reboot-fleet")],
)
def test_third_incident_is_told_though_each_recovered(fails: Fails, reason: str) -> None:
    """Not the second; the fourth, too. People who heard of the reboot hear how it ends."""
    world = World()
    node = world.node()
    fails(world, node)
    fails(world, node)
    assert world.told == []
    fails(world, node)
    assert world.told == ["Recurring", "Recovered"]
    assert recurring(world) == [
        (
            reason,
            [
                "2026-11-23 UTC: 02:14 reported, 02:14 rebooted, 02:19 recovered",
                "2026-11-24 UTC: 02:19 reported, 02:19 rebooted, 02:24 recovered",
                "2026-11-25 UTC: 02:24 reported, 02:24 rebooted",
            ],
        )
    ]
    fails(world, node)
    assert [lines[0][:10] for _, lines in recurring(world)] == ["2026-11-23", "2026-11-24"]
    assert world.ends == ["recovered"] * 4
    assert not world.letters


def test_incidents_with_other_reasons_do_not_recur() -> None:
    """Two by HyperPod and two by an alarm, in turn."""
    world = World()
    for fails in (by_hyperpod, by_alarm, by_hyperpod, by_alarm):
        fails(world, world.node())
    assert world.told == []


def test_incidents_of_other_nodes_do_not_recur() -> None:
    """Each node is counted for itself."""
    world = World()
    for number in (1, 2, 3):
        by_hyperpod(world, world.node(number))
    assert world.told == []


def test_incident_after_the_window_does_not_recur() -> None:
    """Three in three days, and a window of two."""
    world = World(Settings(recurrence_window=2 * DAY))
    for _ in range(4):
        by_hyperpod(world, world.node())
    assert world.told == []


def test_window_of_a_week_is_kept() -> None:
    """Three incidents in six days, a day of which has none."""
    world = World()
    by_hyperpod(world, world.node())
    world.passes(3 * DAY)
    by_hyperpod(world, world.node())
    by_hyperpod(world, world.node())
    assert len(recurring(world)) == 1


def test_incident_that_was_cleared_before_anything_was_done_does_not_count() -> None:
    """A withdrawn report tells nothing of the node."""
    world = World(Settings(overrides=(Override(wait=10 * MINUTE),)))
    for _ in range(5):
        by_hyperpod(world, world.node())
    assert (world.ends, world.told) == (["cleared"] * 5, [])


def test_request_does_not_recur() -> None:
    """A person reboots a node as often as they like."""
    world = World()
    for _ in range(4):
        world.request(world.node().instance)
        world.passes(DAY)
    assert (len(world.reboots), recurring(world)) == (4, [])


def test_redriven_letter_is_a_part_of_its_incident() -> None:
    """Its complaint is the old one: one incident, tried four times."""
    world = World()
    node = world.node()
    node.answers = ["Denied"] * 4
    world.unhealthy(node)
    world.deliver()
    for _ in range(3):
        world.passes(HOUR)
        world.redrive(world.letters[-1])
        world.deliver()
    assert (world.ends, recurring(world)) == (["failed"] * 4, [])
    (only,) = world.record(node).past
    assert only.story.count("failed (Denied)") == 4


def test_bouncing_alarm_counts_once_a_cooldown() -> None:
    """An hour of it, each four minutes, in mode observe: observed at 0, 32 and 64 minutes, and no third before."""
    world = World()
    world.mode.value = "observe"
    for _ in range(14):
        world.alarm(world.node(), "ALARM")
        world.deliver()
        world.passes(2 * MINUTE)
        world.alarm(world.node(), "OK")
        world.passes(2 * MINUTE)
    assert (world.told, len(world.record(world.node()).past)) == (["Observed"] * 2, 2)
    world.passes(8 * MINUTE)
    world.alarm(world.node(), "ALARM")
    world.deliver()
    assert world.told == ["Observed"] * 3 + ["Recurring"]


def test_third_reboot_in_a_day_is_refused_and_recurring() -> None:
    """Both in one notification; the refusal comes first."""
    world = World()
    for _ in range(3):
        world.unhealthy(world.node())
        world.deliver()
        world.passes(5 * MINUTE)
        world.healthy(world.node())
        world.passes(HOUR)
    assert world.told == ["Refused RebootLimitReached", "Recurring"]
    assert len({notice.number for notice in world.notices}) == 1
    assert recurring(world)[0][1][-1].endswith("reported, 04:24 refused (RebootLimitReached)")
    assert world.codes == ["RebootLimitReached"]


def test_repair_by_hyperpod_counts() -> None:
    """The node is not rebooted, and fails again and again all the same."""
    world = World(None, FakeCluster(A, automatic=True))
    for _ in range(3):
        world.unhealthy(world.node(), repair="Reboot")
        world.deliver()
        world.passes(5 * MINUTE)
        world.healthy(world.node())
        world.passes(DAY)
    assert world.reboots == []
    assert world.told == ["Recurring", "Recovered"]


def test_incidents_of_a_node_under_both_its_ids_are_counted_together() -> None:
    """The logical ID's record is united with the instance's."""
    world = World()
    node = world.node()
    node.listed = False
    world.cluster_event(node, logical=True)
    world.deliver()
    world.passes(DAY)
    node.listed = True
    for _ in range(2):
        world.cluster_event(node, logical=True)
        world.deliver()
        world.passes(DAY)
    pasts = [len(world.record(node).past)]
    assert pasts == [3]


def test_second_report_of_an_incident_is_told_no_second_time() -> None:
    """Nor is a message that comes again, nor a sweep."""
    world = World()
    by_hyperpod(world, world.node())
    by_hyperpod(world, world.node())
    id_ = world.unhealthy(world.node())
    world.deliver()
    world.comes_again(id_)
    world.deliver()
    world.skips(MINUTE)
    world.unhealthy(world.node())
    world.deliver()
    world.sweep()
    world.passes(2 * HOUR)
    assert len(recurring(world)) == 1


@pytest.mark.parametrize("kill", Effect, ids=str)
def test_kill_at_any_effect_tells_it_once_or_again_but_never_not(kill: Effect) -> None:
    """In the invocation in which the third incident begins."""
    world = World()
    by_hyperpod(world, world.node())
    by_hyperpod(world, world.node())
    world.unhealthy(world.node())
    world.deliver(Trouble(kill=kill))
    world.passes(timedelta(hours=3))
    told = recurring(world)
    assert 1 <= len(told) <= 2
    assert len({str(each) for each in told}) == 1
    world.passes(DAY)
    assert not broken_at_the_end(world)
