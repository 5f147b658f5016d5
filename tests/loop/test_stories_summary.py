"""Stories of the daily summary and the canary."""

import json
from dataclasses import replace
from datetime import timedelta

from node_remediation.settings import CANARY_DETAIL_TYPE, Settings
from tests.loop.outside import Takes
from tests.loop.world import DAY, HOUR, MINUTE, START, Trouble, World, Write

DAILY = Settings(daily_summary="08:00")
EIGHT = START.replace(hour=8, minute=0, second=30)


def canary(world: World) -> None:
    """Let the stack's daily event arrive."""
    world.post(
        {"source": "hyperpod.node-remediation", "detail-type": CANARY_DETAIL_TYPE, "time": world.now.isoformat()}
    )
    world.deliver()


def at_eight(world: World, *, days: int = 0) -> None:
    world.passes(EIGHT + days * DAY - world.now)
    world.sweep()


def summary(world: World) -> dict[str, object]:
    """Return the one summary that was sent."""
    (notice,) = [each for each in world.notices if each.list == "DailySummary"]
    return dict(notice.entry)


def lines(world: World) -> list[str]:
    return list(map(str, json.loads(json.dumps(summary(world)["Lines"]))))


def test_day_without_reports_is_quiet_because_healthy() -> None:
    """The canary shows that a report would have arrived."""
    world = World(DAILY)
    canary(world)
    at_eight(world)
    assert (summary(world)["InShort"], summary(world)["Incidents"]) == ("quiet because healthy", 0)
    assert lines(world) == [
        "No node was reported in these 24 hours.",
        "The canary came through at 2026-11-23 02:14 UTC: rule, queue, function and ledger work.",
    ]
    (mail,) = {notice.mail for notice in world.notices}
    assert "DAILY SUMMARY: quiet because healthy" in mail
    assert "HyperPod, all clusters" in mail


def test_summary_tells_what_was_done_what_came_of_it_and_what_is_open() -> None:
    """With the numbers that machines read."""
    world = World(replace(DAILY, budget_percent=100))
    well, sick, advised = (world.node(number) for number in (1, 2, 3))
    for node in (well, sick):
        world.unhealthy(node)
    world.unhealthy(advised, repair="Replace")
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(well)
    world.deliver()
    world.passes(EIGHT - world.now - 10 * MINUTE)
    late = world.node(4)
    world.unhealthy(late)
    world.deliver()
    at_eight(world)
    told = summary(world)
    assert told["InShort"] == "4 reported, 1 recovered, 1 open, 1 not helped"
    names = ("Incidents", "Rebooted", "Recovered", "Unverified", "Refused", "Open", "MeanSecondsToRecovery")
    assert [told[name] for name in names] == [4, 3, 1, 1, 1, 1, 300]
    assert lines(world)[:4] == [
        "Incidents: 4 of ml-a.",
        "Nodes: 3 rebooted, 1 recovered, 1 unverified, mean time to recovery 5 min 0 s.",
        "Refused: 1 ReplacementAdvised.",
        f"Open: {late.instance} of ml-a, rebooted since 2026-11-23 07:50 UTC",
    ]


def test_summary_is_sent_once_a_day_and_counts_its_own_day_alone() -> None:
    """However many sweeps there are, and whichever function makes them."""
    world = World(DAILY)
    canary(world)
    world.unhealthy(world.node())
    world.deliver()
    at_eight(world)
    world.sweep()
    world.remediator = world._build()
    world.sweep()
    assert summary(world)["Incidents"] == 1
    world.notices.clear()
    at_eight(world, days=1)
    assert summary(world)["Incidents"] == 0


def test_summary_that_could_not_be_made_or_sent_comes_with_a_later_sweep() -> None:
    """The ledger was down, then the topic."""
    world = World(DAILY)
    world.passes(EIGHT - world.now)
    world.sweep(Trouble(ledger_down=True))
    world.sweep(Trouble(writes={1: Write.DOWN}))
    assert world.notices == []
    world.sweep(Trouble(topic=Takes.NONE))
    assert world.notices == []
    world.passes(10 * MINUTE)
    assert summary(world)["Until"] == "2026-11-23T08:00:00Z"


def test_no_summary_comes_at_another_time_or_without_the_setting() -> None:
    """A function that was down for hours does not tell of the day at noon."""
    early, late, without = World(DAILY), World(DAILY), World()
    early.sweep()
    late.passes(EIGHT + 2 * HOUR - late.now)
    late.sweep()
    at_eight(without)
    assert (early.notices, late.notices, without.notices) == ([], [], [])


def test_late_canary_and_a_mode_that_is_not_active_are_told_first() -> None:
    """A quiet day proves nothing then."""
    world = World(DAILY)
    canary(world)
    at_eight(world, days=1)
    assert summary(world)["InShort"] == "no canary came through, look at the alarms"
    assert "over 26 hours ago" in lines(world)[1]
    paused = World(DAILY)
    canary(paused)
    paused.mode.value = "paused"
    at_eight(paused)
    assert summary(paused)["InShort"] == "quiet, but not active"
    assert lines(paused)[-1] == "Mode of *: paused"


def test_canary_is_written_down_before_it_counts() -> None:
    """It reports no node, and comes again while the ledger cannot be written."""
    world = World()
    world.post({"source": "hyperpod.node-remediation", "detail-type": CANARY_DETAIL_TYPE})
    world.deliver(Trouble(writes={1: Write.DOWN}))
    assert (world.outside.canaries, world.outcomes) == ([], [])
    world.passes(timedelta(minutes=2))
    assert len(world.outside.canaries) == 1
    assert (world.outcomes, world.reboots, world.told, world.letters) == (["ignored"], [], [], [])
