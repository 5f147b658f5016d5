"""HyperPod's own words about a reboot, and alerts of Prometheus."""

from datetime import timedelta
from typing import Any

import pytest

from node_remediation.policy.record import State
from node_remediation.remediate import Effect
from node_remediation.settings import Settings
from tests.loop.outside import FakeCluster
from tests.loop.world import HOUR, MINUTE, SECOND, A, Trouble, World

IN_PROGRESS = "Reboot of EC2 Instance i-1 is currently in progress on Cluster ml-a and IG p5"
COMPLETED = "Instance reboot i-1 in Cluster ml-a and IG p5 completed successfully"
FAILED = "Instance reboot i-1 in Cluster ml-a and IG p5 failed"
NOT_SUBMITTED = "Failed to submit reboot request for EC2 Instance i-1 in Cluster ml-a and IG p5"


def rebooted() -> tuple[World, Any]:
    world = World()
    node = world.node()
    world.unhealthy(node)
    assert world.deliver() == ["rebooted"]
    world.passes(10 * SECOND)
    return world, node


@pytest.mark.parametrize("words", [FAILED, NOT_SUBMITTED])
def test_reboot_that_hyperpod_calls_failed_ends_at_once(words: str) -> None:
    """Claim and budget stay spent: the node may have gone down all the same. It is said once."""
    world, node = rebooted()
    id_ = world.reboot_event(node, words)
    assert world.deliver() == ["duplicate"]
    assert world.ends == ["not_recovered"]
    assert words in world.letters[0].event["detail"]["Message"]
    assert world.letters[0].event["detail"]["ErrorCode"] == "NotRecovered"
    world.comes_again(id_)
    assert world.deliver() == ["ignored"]
    assert len(world.letters) == 1
    world.unhealthy(node)
    assert world.deliver() == ["waiting"]
    assert len(world.reboots) == 1


def test_reboot_that_goes_on_is_noted_and_changes_nothing() -> None:
    """A reboot that completed does not prove that the node is well."""
    world, node = rebooted()
    for words in (IN_PROGRESS, COMPLETED):
        world.reboot_event(node, words)
        assert world.deliver() == ["ignored"]
    assert world.incident(node).state is State.REBOOTED
    history = [text for _, text in world.record(node).history]
    assert history[-2:] == [f"HyperPod: {IN_PROGRESS}", f"HyperPod: {COMPLETED}"]
    world.passes(HOUR)
    assert world.ends == ["unverified"]


def test_failure_that_comes_before_the_answer_is_recorded_waits_for_it() -> None:
    """The function was killed between call and record: its message comes again until the lease has ended."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver(Trouble(kill=Effect.RECORD))
    world.passes(SECOND)
    world.reboot_event(node, FAILED)
    world.deliver()
    assert world.incident(node).state is State.CLAIMED
    world.passes(5 * MINUTE)
    assert world.ends == ["not_recovered"]
    assert len(world.reboots) == 1


@pytest.mark.parametrize("case", ["no incident", "an older reboot", "a waiting node"])
def test_failure_of_another_reboot_is_ignored(case: str) -> None:
    """A person's, or the one before."""
    world = World()
    node = world.node()
    late = timedelta(0)
    if case == "an older reboot":
        world.reboot_event(node, FAILED, late=MINUTE)
        world.unhealthy(node)
        world.deliver()
        world.passes(MINUTE)
    elif case == "a waiting node":
        world = World(None, FakeCluster(A, automatic=True))
        node = world.node()
        world.alarm(node, "ALARM")
        assert world.deliver() == ["waiting"]
    if case != "an older reboot":
        world.reboot_event(node, FAILED, late=late)
        assert world.deliver() == ["ignored"]
    assert (world.ends, world.letters) == ([], [])


def test_events_about_a_reboot_make_no_item() -> None:
    """Every reboot of every cluster makes some."""
    world = World()
    world.reboot_event(world.node(), IN_PROGRESS)
    assert world.deliver() == ["ignored"]
    assert world.record(world.node()).version == 0


def test_failure_message_is_quoted_to_people() -> None:
    """DescribeClusterEvent has it where the event does not."""
    world = World()
    world.mode.value = "paused"
    node = world.node()
    world.sagemaker.failure_messages["e-1"] = "GPU 3 fell off the bus"
    world.cluster_event(node, event_id="e-1")
    assert world.deliver() == ["refused Paused"]
    assert "GPU 3 fell off the bus" in world.letters[0].event["detail"]["Trigger"]["Reason"]


def test_alarm_alone_leaves_hyperpod_the_time_to_announce_its_repair() -> None:
    """On an Automatic cluster HyperPod repairs; an alarm names no RepairAction."""
    world = World(None, FakeCluster(A, automatic=True))
    repaired, forgotten = world.node(1), world.node(2)
    for node in (repaired, forgotten):
        world.alarm(node, "ALARM", name=f"hyperpod-reboot-{node.instance}")
    assert world.deliver() == ["waiting", "waiting"]
    world.passes(2 * MINUTE)
    world.unhealthy(repaired, repair="Replace")
    assert world.deliver() == ["deferred"]
    world.passes(2 * MINUTE)
    assert world.reboots == []
    world.passes(2 * MINUTE)
    assert world.reboots == [forgotten.instance]


def test_alarm_that_is_ok_again_within_the_grace_is_cleared() -> None:
    """Nobody is told, and nothing is rebooted."""
    world = World(None, FakeCluster(A, automatic=True))
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(MINUTE)
    world.alarm(node, "OK")
    assert world.deliver() == ["cleared"]
    world.passes(HOUR)
    assert (world.reboots, world.ends, world.notices) == ([], ["cleared"], [])


def test_alert_complains_and_withdraws_by_its_fingerprint() -> None:
    """Alertmanager cannot be asked: what it says next counts."""
    world = World()
    node = world.node()
    world.alert(node)
    assert world.deliver() == ["rebooted"]
    world.passes(MINUTE)
    world.alert(node)
    assert world.deliver() == ["duplicate"]
    world.passes(MINUTE)
    world.alert(node, "resolved")
    assert world.deliver() == ["cleared"]
    assert world.ends == ["recovered"]


def test_alert_that_still_fires_after_the_reboot_stands() -> None:
    """It is sent again, as of then."""
    world = World(Settings(max_reboots_per_node=1))
    node = world.node()
    world.alert(node)
    world.deliver()
    world.passes(10 * MINUTE)
    world.alert(node)
    world.deliver()
    world.passes(HOUR)
    assert world.ends == ["not_recovered"]
    assert "alert hyperpod-reboot-xid: still unhealthy" in world.letters[-1].event["detail"]["Message"]


def test_letter_of_an_alert_is_withdrawn_by_it() -> None:
    """A letter names the alert and its fingerprint."""
    world = World()
    world.mode.value = "paused"
    node = world.node()
    world.alert(node)
    assert world.deliver() == ["refused Paused"]
    world.mode.value = "active"
    world.passes(2 * MINUTE)
    world.alert(node, "resolved")
    world.deliver()
    world.redrive(world.letters[0])
    assert world.deliver() == ["cleared"]
    assert world.reboots == []


@pytest.mark.parametrize("kind", ["alarm", "alert"])
def test_idle_gpu_that_is_not_named_for_a_reboot_is_ignored(kind: str) -> None:
    """By default an alarm or alert reboots nodes because its name says so."""
    world = World()
    if kind == "alarm":
        world.alarm(world.node(), "ALARM", name="hyperpod-gpu-idle")
    else:
        world.alert(world.node(), name="hyperpod-gpu-idle")
    assert (world.deliver(), world.reboots) == (["ignored"], [])
