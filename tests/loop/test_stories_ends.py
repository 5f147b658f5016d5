"""The ends of incidents, and the people who are told of them."""

from datetime import timedelta

import pytest

from node_remediation.model import Outcome
from node_remediation.settings import Settings
from tests.loop.outside import CallFault, FakeCluster, denied, throttled
from tests.loop.world import HOUR, MINUTE, START, A, World

TOLD = Settings(notify_rebooted=True)


def test_recovery_is_told_where_people_were_told_of_the_reboot() -> None:
    """Else it is quiet, as the reboot was."""
    for settings, told in ((Settings(), []), (TOLD, ["Rebooted", "Recovered"])):
        world = World(settings)
        node = world.node()
        world.unhealthy(node)
        world.deliver()
        world.passes(5 * MINUTE)
        world.healthy(node)
        world.deliver()
        assert (world.ends, world.told) == (["recovered"], told)


def test_recovery_of_a_node_whose_outcome_was_unknown_is_told() -> None:
    """People read that it may be rebooting; now they read that it is well."""
    world = World()
    node = world.node()
    world.sagemaker.faults = [CallFault.ANSWER_LOST]
    world.unhealthy(node)
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(node)
    world.deliver()
    assert world.told == ["Failed OutcomeUnknown", "Recovered"]


def test_recovery_says_how_long_the_node_was_sick() -> None:
    """From the first complaint to the last withdrawal."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.skips(MINUTE)
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(node)
    world.skips(30 * MINUTE)
    world.deliver()
    (recovered,) = (change for change in world.changes if change.state == Outcome.RECOVERED)
    assert recovered.seconds == 360


def test_recovery_by_its_last_source_only() -> None:
    """Two sources complained; one of them has not spoken since."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.alarm(node, "ALARM")
    world.deliver()
    world.alarm(node, "INSUFFICIENT_DATA", unheard=True)
    world.passes(5 * MINUTE)
    world.healthy(node)
    world.deliver()
    assert world.ends == []
    world.alarm(node, "OK")
    world.deliver()
    assert world.ends == ["recovered"]


@pytest.mark.parametrize("how", ["replaced", "gone", "cluster gone"])
def test_node_that_is_no_longer_there_is_superseded(how: str) -> None:
    """Another instance, none, or no cluster at all: nothing is left to wait for, and nothing is called again."""
    world = World(TOLD)
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    if how == "replaced":
        world.is_replaced(node)
    elif how == "gone":
        world.leaves(node)
    else:
        world.sagemaker.clusters.clear()
    world.passes(HOUR)
    assert (world.ends, world.told) == (["superseded"], ["Rebooted", "Superseded"])
    assert len(world.reboots) == 1


def test_node_that_was_replaced_before_its_reboot_is_cleared() -> None:
    """Reported by its logical ID, which has another instance by now: the successor is healthy."""
    world = World()
    node = world.node()
    old = node.instance
    world.sagemaker.down["describe_cluster"] = throttled()
    world.alarm(node, "ALARM", logical=True)
    world.deliver()
    world.is_replaced(node)
    world.sagemaker.down.clear()
    world.passes(5 * MINUTE)
    assert old not in world.reboots
    assert world.reboots == []


def test_sick_node_at_the_time_out_is_not_recovered() -> None:
    """Always told, like a failure: topic, and a letter that a redrive can take."""
    world = World(Settings(max_reboots_per_node=1))
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.until("02:59:03")
    assert (world.ends, world.codes, world.told) == (["not_recovered"], ["NotRecovered"], ["Failed NotRecovered"])
    message = world.notices[0].message
    assert "status Running" in message
    assert "hyperpod-reboot-gpu: still unhealthy" in message


@pytest.mark.parametrize("status", ["Failure", "Pending", "ShuttingDown", "SystemUpdating"])
def test_silent_node_that_does_not_run_at_the_time_out_is_not_recovered(status: str) -> None:
    """Any other status is as bad."""
    world = World()
    node = world.node()
    node.status = status
    world.unhealthy(node)
    world.deliver()
    world.passes(HOUR)
    assert world.ends == ["not_recovered"]
    assert f"status {status}" in world.notices[0].message


@pytest.mark.parametrize(("trouble", "end"), [(throttled(), "unverified"), (denied(), "not_recovered")])
def test_node_whose_status_cannot_be_had_at_the_time_out_is_asked_again(trouble: Exception, end: str) -> None:
    """For as long as a report may be old; what is not known is never called well."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.sagemaker.down["describe_cluster_node"] = trouble
    world.passes(HOUR)
    assert world.ends == []
    if end == "unverified":
        world.sagemaker.down.clear()
    world.passes(HOUR)
    assert world.ends == [end]
    assert end == "unverified" or "status not known: AccessDeniedException" in world.notices[0].message


def test_silent_node_that_runs_at_the_time_out_is_unverified() -> None:
    """No source has said that it is well: told if people know of the reboot, and never called recovered."""
    for settings, told in ((Settings(), []), (TOLD, ["Rebooted", "Unverified"])):
        world = World(settings)
        world.unhealthy(world.node())
        world.deliver()
        world.passes(HOUR)
        assert (world.ends, world.told, world.codes) == (["unverified"], told, [])


def test_guards_no_after_a_reboot_ends_nothing_and_is_quoted_at_the_time_out() -> None:
    """Paused meanwhile: the node is still looked at, and what is told of it says why it was not rebooted again."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.mode.value = "paused"
    world.until("02:59:02")
    assert world.ends == []
    world.passes(MINUTE)
    assert (world.ends, world.codes, world.told) == (["not_recovered"], ["NotRecovered"], ["Failed NotRecovered"])
    assert "Paused" in world.notices[0].message


def test_each_incident_that_was_opened_has_its_end() -> None:
    """A night with several: nothing is left due, and each has one line for its end."""
    world = World()
    for number in range(1, 6):
        world.unhealthy(world.node(number))
    world.deliver()
    world.passes(MINUTE)
    world.healthy(world.node(1))
    world.is_replaced(world.node(2))
    world.node(3).status = "Failure"
    world.passes(2 * HOUR)
    assert sorted(world.ends) == ["not_recovered", "recovered", "superseded", "unverified", "unverified"]
    assert world.next_due() is None


def test_node_that_ended_expires_and_its_signs_with_it() -> None:
    """After 21 days; an item with an incident or something unsent has no expiry."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.ledger.expire(START + timedelta(days=30))
    assert world.record(node).incident
    world.passes(HOUR)
    world.ledger.expire(START + timedelta(days=20))
    assert world.record(node).version
    world.ledger.expire(START + timedelta(days=22))
    assert not world.record(node).version


def test_repair_by_hyperpod_that_puts_in_another_node_is_superseded() -> None:
    """Replaced: quiet, as the repair was."""
    world = World(None, FakeCluster(A, automatic=True))
    node = world.node()
    world.unhealthy(node, repair="Replace")
    world.deliver()
    world.passes(25 * MINUTE)
    world.is_replaced(node)
    world.passes(HOUR)
    assert (world.ends, world.notices) == (["superseded"], [])


def test_repair_in_silence_is_unverified_at_its_time_out() -> None:
    """Status Running after 90 minutes, and no source has spoken."""
    world = World(None, FakeCluster(A, automatic=True))
    world.unhealthy(world.node(), repair="Reboot")
    world.deliver()
    world.passes(90 * MINUTE)
    assert (world.ends, world.notices) == (["unverified"], [])
