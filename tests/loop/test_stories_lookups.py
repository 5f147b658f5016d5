"""Look-ups: a report's cluster, its node's instance, a composite alarm's nodes."""

from collections.abc import Mapping
from typing import Any

import pytest

from node_remediation.settings import Settings
from tests.loop.outside import FakeCluster, error
from tests.loop.world import HOUR, MINUTE, A, B, World

TWO = (FakeCluster(A), FakeCluster(B))


@pytest.mark.parametrize(
    ("tags", "settings", "cluster"),
    [
        ({"hyperpod:cluster": B}, Settings(default_cluster=A), B),
        ({}, Settings(default_cluster=B), B),
        ({"team": "ml"}, Settings(clusters=(B,)), B),
    ],
)
def test_cluster_of_an_alarm_is_its_tag_the_default_or_the_only_one(
    tags: Mapping[str, str], settings: Settings, cluster: str
) -> None:
    """In this order, where its dimensions name none."""
    world = World(settings, *TWO)
    node = world.node(1, cluster)
    world.alarm(node, "ALARM", cluster={}, tags=tags)
    assert (world.deliver(), world.reboots) == (["rebooted"], [node.instance])


def test_tag_of_a_cluster_elsewhere_is_refused() -> None:
    """Its name may be one of ours."""
    world = World(None, *TWO)
    arn = FakeCluster(A).arn.replace("111122223333", "999999999999")
    world.alarm(world.node(), "ALARM", cluster={}, tags={"hyperpod:cluster": arn})
    assert (world.deliver(), world.reboots) == (["refused ForeignEvent"], [])


@pytest.mark.parametrize(("state", "outcome"), [("OK", "cleared"), ("ALARM", "deferred")])
def test_alarm_without_a_cluster_that_asks_for_nothing_is_no_trouble(state: str, outcome: str) -> None:
    """OK, or muted."""
    world = World(None, *TWO)
    world.alarm(world.node(), state, cluster={}, muted_until=world.now + HOUR)
    assert [each.split()[0] for each in world.deliver()] == [outcome]
    assert world.letters == []


def test_hyperpod_name_wins_over_one_that_may_be_an_eks_clusters() -> None:
    """An alarm's dimensions may have both."""
    world = World(None, FakeCluster(A, eks="shared"), FakeCluster(B))
    node = world.node(1, B)
    world.alarm(node, "ALARM", cluster={"HyperPodClusterName": B, "ClusterName": "shared"})
    assert (world.deliver(), world.reboots) == (["rebooted"], [node.instance])


def test_health_event_needs_no_lookup_of_its_cluster() -> None:
    """HyperPod's own events name HyperPod clusters."""
    world = World()
    world.healthy(world.node())
    world.deliver()
    assert world.sagemaker.asked == {}


def test_nested_composites_lead_to_the_metric_alarms_below() -> None:
    """A composite of composites; a circle ends."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", unheard=True)
    world.composite("hyperpod-reboot-inner", "ALARM", ["hyperpod-reboot-gpu"])
    world.composite("hyperpod-reboot-outer", "ALARM", ["hyperpod-reboot-inner"])
    world.cloudwatch.alarms["hyperpod-reboot-inner"].children += ("hyperpod-reboot-outer",)
    assert sorted(world.deliver()) == ["duplicate", "rebooted"]
    assert world.reboots == [node.instance]


def test_composite_of_two_nodes_reboots_both() -> None:
    """One event, two reports, each with its outcome."""
    world = World()
    for number in (1, 2):
        world.alarm(world.node(number), "ALARM", name=f"hyperpod-reboot-{number}", unheard=True)
    world.composite("hyperpod-reboot-any", "ALARM", ["hyperpod-reboot-1", "hyperpod-reboot-2"])
    assert world.deliver() == ["rebooted", "rebooted"]


def test_child_of_two_composites_is_reported_once() -> None:
    """Two roads to one alarm are one node."""
    world = World()
    world.alarm(world.node(), "ALARM", unheard=True)
    for name in ("hyperpod-reboot-a", "hyperpod-reboot-b"):
        world.composite(name, "ALARM", ["hyperpod-reboot-gpu"])
    world.queue.clear()
    world.composite("hyperpod-reboot-top", "ALARM", ["hyperpod-reboot-a", "hyperpod-reboot-b"])
    assert world.deliver() == ["rebooted"]


def test_alarm_with_an_arns_part_in_its_name_is_found() -> None:
    """A name may hold almost anything."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", name="gpu:alarm:xid", unheard=True)
    world.composite("hyperpod-reboot-any", "ALARM", ["gpu:alarm:xid"])
    assert (world.deliver(), world.reboots) == (["rebooted"], [node.instance])


def test_composite_of_alarms_without_a_node_is_refused_with_one_letter() -> None:
    """Each child has its outcome; the message goes to the dead-letter queue once, or a redrive would double it."""
    world = World()
    node = world.node()
    for number in (1, 2):
        name = f"hyperpod-reboot-{number}"
        world.alarm(node, "ALARM", name=name, unheard=True)
        world.cloudwatch.alarms[name].dimensions = {"HyperPodClusterName": A}
    world.composite("hyperpod-reboot-any", "ALARM", ["hyperpod-reboot-1", "hyperpod-reboot-2"])
    assert world.deliver() == ["refused NodeNotResolved"] * 2
    assert (world.codes, len(world.told)) == (["NodeNotResolved"], 2)


@pytest.mark.parametrize(("state", "outcome"), [("ALARM", "refused"), ("OK", "ignored")])
def test_composite_whose_alarms_are_gone_names_no_node(state: str, outcome: str) -> None:
    """In ALARM, a person should know."""
    world = World()
    world.alarm(world.node(), "ALARM", unheard=True)
    world.composite("hyperpod-reboot-any", state, ["hyperpod-reboot-gpu"])
    del world.cloudwatch.alarms["hyperpod-reboot-gpu"]
    assert world.deliver() == [f"{outcome} NodeNotResolved"]


def test_suppressed_composite_is_deferred_without_a_lookup() -> None:
    """Nothing says until when."""
    world = World()
    world.alarm(world.node(), "ALARM", unheard=True)
    world.composite("hyperpod-reboot-any", "ALARM", ["hyperpod-reboot-gpu"], suppressed=True)
    assert (world.deliver(), world.cloudwatch.asked) == (["deferred"], {})


def test_logical_id_is_resolved_each_time_and_the_call_uses_what_was_reported() -> None:
    """The record is the instance's; the call has the logical ID."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", logical=True)
    assert world.deliver() == ["rebooted"]
    assert world.sagemaker_calls()[0][1] == (node.logical,)
    assert world.incident(node).node.id == node.logical
    world.passes(MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["duplicate"]


def test_alarms_of_many_nodes_are_asked_in_one_call() -> None:
    """A hundred names at a time."""
    world = World(Settings(budget_percent=100), nodes=30)
    for number in range(1, 31):
        world.alarm(world.node(number), "ALARM", name=f"hyperpod-reboot-{number}")
    world.deliver()
    world.until("02:29:03")
    assert world.cloudwatch.asked == {"describe_alarms": 1}


def test_look_up_of_a_cluster_that_is_not_allowed_is_not_made() -> None:
    """The settings say enough."""
    world = World(Settings(clusters=("ml-z",)))
    world.alarm(world.node(), "ALARM", logical=True)
    assert world.deliver() == ["refused ClusterNotAllowed"]
    assert "describe_cluster_node" not in world.sagemaker.asked


def test_logical_id_of_a_cluster_without_logical_ids_is_left_to_the_api() -> None:
    """DescribeClusterNode does not take it; the reboot call's answer is reported."""
    world = World(None, FakeCluster(A, continuous=False))
    world.sagemaker.down["describe_cluster_node"] = error("ValidationException", 400, "no logical IDs here")
    world.request("no-such-node")
    assert world.deliver() == ["failed InstanceIdNotFound"]


def test_fact_of_a_node_that_may_not_be_had_fails_the_node() -> None:
    """A logical ID that may not be looked up is no key."""
    world = World()
    world.sagemaker.down["describe_cluster_node"] = error("AccessDeniedException", 403)
    world.request(world.node().logical)
    assert (world.deliver(), world.reboots) == (["failed AccessDeniedException"], [])


def test_series_of_a_redriven_letter_is_found_by_its_node() -> None:
    """A letter names the alarm, not the series: the node's own series answers for it."""
    world = World()
    node, other = world.node(1), world.node(2)
    node.answers = ["Denied"]
    for each in (node, other):
        world.alarm(each, "ALARM", series=True)
    world.deliver()
    world.passes(HOUR)
    world.redrive(world.letters[0])
    assert world.deliver() == ["rebooted"]
    world.alarm(node, "OK", series=True, unheard=True)
    world.passes(16 * MINUTE)
    assert world.record(node).incident is None


def unexpected(**_: Any) -> dict[str, Any]:
    return {"ClusterName": A, "InstanceGroups": [{}, {"CurrentCount": "many"}, None], "NodeRecovery": None}


def test_cluster_described_in_an_unexpected_way_is_judged_carefully() -> None:
    """A group without a name, a count that is no number: the least budget, and recovery taken as automatic."""
    world = World()
    world.sagemaker.describe_cluster = unexpected  # type: ignore[method-assign]
    world.unhealthy(world.node(1))
    world.unhealthy(world.node(2), repair="Reboot")
    assert sorted(world.deliver()) == ["deferred", "rebooted"]
