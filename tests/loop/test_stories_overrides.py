"""The setting overrides: wait, ask first, or nothing; and what answers a proposal."""

import json
from collections.abc import Mapping

import pytest

from node_remediation.policy.record import State
from node_remediation.remediate import Effect
from node_remediation.settings import Override, Settings
from tests.loop.outside import FakeCluster, Slot, Takes, throttled
from tests.loop.world import HOUR, MINUTE, SECOND, A, Trouble, World

WAIT = Override(reason="Xid*", wait=2 * MINUTE)
ASK = Override(action="ask")


def asking(**more: object) -> tuple[World, Slot]:
    """Return a world in which a reboot of the node is proposed."""
    world = World(Settings(overrides=(ASK,), **more))  # type: ignore[arg-type]
    node = world.node()
    world.unhealthy(node)
    assert world.deliver() == ["waiting"]
    assert world.incident(node).state is State.PROPOSED
    return world, node


def proposal(world: World) -> Mapping[str, str]:
    (notice,) = [notice for notice in world.notices if notice.list == "Proposed"]
    return notice.entry


# -- wait


def test_complaint_that_is_withdrawn_within_its_wait_reboots_nothing_and_tells_nobody() -> None:
    """A false burst: 77 nodes of one rack, and all well again."""
    world = World(Settings(overrides=(WAIT,), budget_percent=100), FakeCluster(A), nodes=77)
    nodes = [world.node(number) for number in range(1, 78)]
    for node in nodes:
        world.unhealthy(node)
    assert set(world.deliver()) == {"waiting"}
    world.passes(MINUTE)
    for node in nodes:
        world.healthy(node)
    world.deliver()
    world.passes(HOUR)
    assert (world.reboots, world.notices, world.letters) == ([], [], [])
    assert world.ends == ["cleared"] * 77


def test_complaint_that_stands_for_its_wait_is_acted_on_within_a_sweep() -> None:
    """Said again meanwhile, it is the same complaint; the time counts since it was first made."""
    world = World(Settings(overrides=(WAIT,)))
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["duplicate"]
    world.passes(30 * SECOND)
    assert world.reboots == []
    world.passes(MINUTE + 30 * SECOND)
    assert world.reboots == [node.instance]


def test_request_does_not_wait() -> None:
    """A person has looked."""
    world = World(Settings(overrides=(Override(wait=HOUR),)))
    node = world.node()
    world.request(node.instance)
    assert world.deliver() == ["rebooted"]


def test_withdrawal_counts_by_its_time_however_late_it_arrives() -> None:
    """The node was well within the wait; the word of it comes after, and before the reboot."""
    world = World(Settings(overrides=(WAIT,)))
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    well_at = world.now
    world.passes(30 * SECOND)
    world.healthy(node, at=well_at)
    assert world.deliver() == ["cleared"]
    world.passes(HOUR)
    assert (world.reboots, world.ends) == ([], ["cleared"])


# -- which


@pytest.mark.parametrize(
    ("override", "matched"),
    [
        (Override(source="hyperpod", action="none"), True),
        (Override(source="alarm:hyperpod-*", action="none"), False),
        (Override(reason="*79", action="none"), True),
        (Override(reason="*80", action="none"), False),
        (Override(cluster="ml-*", instance_group="work*", action="none"), True),
        (Override(cluster="ml-b", action="none"), False),
        (Override(instance_group="login", action="none"), False),
    ],
)
def test_override_is_for_the_complaints_that_it_matches(override: Override, matched: bool) -> None:
    """By cluster, group, source and reason."""
    world = World(Settings(overrides=(override,)))
    node = world.node()
    world.unhealthy(node)
    assert world.deliver() == (["refused Excluded"] if matched else ["rebooted"])


def test_first_override_that_matches_wins() -> None:
    """As in a firewall."""
    world = World(Settings(overrides=(Override(reason="Xid*"), Override(action="none"))))
    world.unhealthy(world.node())
    assert world.deliver() == ["rebooted"]


def test_node_whose_group_is_not_known_is_not_rebooted_until_it_is() -> None:
    """Where an override names a group."""
    world = World(Settings(overrides=(Override(instance_group="login", action="none"),)))
    node = world.node()
    world.sagemaker.down["describe_cluster_node"] = throttled()
    world.unhealthy(node)
    assert world.deliver() == ["waiting ThrottlingException"]
    world.sagemaker.down.clear()
    world.passes(MINUTE)
    assert world.reboots == [node.instance]


def test_complaint_that_is_not_excluded_is_acted_on_beside_one_that_is() -> None:
    """Each complaint has its own entry."""
    world = World(Settings(overrides=(Override(source="alarm:*", action="none"),)))
    node = world.node()
    world.alarm(node, "ALARM")
    assert world.deliver() == ["refused Excluded"]
    world.unhealthy(node)
    assert world.deliver() == ["rebooted"]


# -- ask first


def test_approved_proposal_is_rebooted() -> None:
    """Told once, with all that an answer takes; recovery is proven as after any reboot."""
    world, node = asking()
    told = proposal(world)
    assert told["NodeId"] == node.instance
    assert (told["Reason"], told["Expires"]) == ("Xid 79", "2026-11-23T02:29:03Z")
    assert world.letters == []
    world.passes(5 * MINUTE)
    world.answer(told["IncidentId"], "Approved")
    assert (world.deliver(), world.reboots) == (["rebooted"], [node.instance])
    world.passes(MINUTE)
    world.healthy(node)
    world.deliver()
    assert world.ends == ["recovered"]
    assert len([notice for notice in world.notices if notice.list == "Proposed"]) == 1


def test_vetoed_proposal_is_refused_with_who_and_why() -> None:
    """The letter that it leaves is no approval when the queue is redriven; a request is one."""
    world, node = asking()
    world.answer(proposal(world)["IncidentId"], "Vetoed", reason="the run ends in an hour")
    assert world.deliver() == ["refused Vetoed"]
    assert world.letters[0].event["detail"]["Message"] == "vetoed by jo: the run ends in an hour"
    assert world.ends == ["refused"]
    world.redrive(world.letters[0])
    assert world.deliver() == ["refused NotApproved"]
    assert world.reboots == []
    world.request(node.instance)
    assert world.deliver() == ["rebooted"]


@pytest.mark.parametrize(("on_no_answer", "reboots"), [("refuse", 0), ("reboot", 1)])
def test_proposal_that_is_not_answered_in_time_comes_to_what_the_setting_says(on_no_answer: str, reboots: int) -> None:
    """Refused with a letter, or rebooted: then a drain hook that has died bounds nothing for ever."""
    world, _ = asking(on_no_answer=on_no_answer)
    world.passes(14 * MINUTE)
    assert (world.reboots, world.ends) == ([], [])
    world.passes(2 * MINUTE)
    assert len(world.reboots) == reboots
    assert [letter.event["detail"]["ErrorCode"] for letter in world.letters] == ["NotApproved"] * (1 - reboots)


@pytest.mark.parametrize("late", ["after an answer", "after the time", "withdrawn", "foreign"])
def test_answer_that_no_proposal_waits_for_changes_nothing(late: str) -> None:
    """And says so in the log."""
    world, node = asking()
    incident = proposal(world)["IncidentId"]
    if late == "after an answer":
        world.answer(incident, "Vetoed")
    elif late == "after the time":
        world.passes(20 * MINUTE)
    elif late == "withdrawn":
        world.healthy(node)
    world.deliver()
    before = (list(world.reboots), len(world.letters), len(world.notices))
    world.answer("of-another-stack" if late == "foreign" else incident, "Approved")
    assert world.deliver() == ["ignored"]
    assert (list(world.reboots), len(world.letters), len(world.notices)) == before
    assert world.reboots == []


def test_two_answers_at_once_are_one() -> None:
    """The first that is written counts."""
    world, node = asking()
    incident = proposal(world)["IncidentId"]
    world.answer(incident, "Approved", copies=2)
    assert sorted(world.deliver()) == ["ignored", "rebooted"]
    assert world.reboots == [node.instance]


def test_proposal_that_its_source_withdraws_is_over() -> None:
    """Nothing is rebooted, and nothing is refused."""
    world, node = asking()
    world.healthy(node)
    assert world.deliver() == ["cleared"]
    world.passes(HOUR)
    assert (world.reboots, world.ends, world.letters) == ([], ["cleared"], [])


def test_guards_are_judged_when_the_reboot_is_approved() -> None:
    """An operator has paused meanwhile."""
    world, _ = asking()
    incident = proposal(world)["IncidentId"]
    world.mode.value = "paused"
    world.passes(2 * MINUTE)
    world.answer(incident, "Approved")
    assert (world.deliver(), world.reboots) == (["refused Paused"], [])


def test_approval_holds_until_a_missing_fact_is_there() -> None:
    """It is not asked again."""
    world, node = asking()
    incident = proposal(world)["IncidentId"]
    world.passes(10 * MINUTE)
    world.sagemaker.down["describe_cluster"] = throttled()
    world.answer(incident, "Approved")
    assert world.deliver() == ["waiting ThrottlingException"]
    world.sagemaker.down.clear()
    world.passes(2 * MINUTE)
    assert world.reboots == [node.instance]
    assert len([notice for notice in world.notices if notice.list == "Proposed"]) == 1


def test_second_reboot_of_an_incident_is_not_proposed() -> None:
    """The end at the time-out says why there was none."""
    world, node = asking()
    world.answer(proposal(world)["IncidentId"], "Approved")
    world.deliver()
    for _ in range(5):
        world.passes(10 * MINUTE)
        world.unhealthy(node)
        world.deliver()
    assert len(world.reboots) == 1
    assert world.ends[0] == "not_recovered"
    assert "would have to be approved" in world.letters[0].event["detail"]["Message"]


def test_repair_by_hyperpod_ends_a_proposal() -> None:
    """HyperPod has begun to repair the node itself."""
    world = World(Settings(overrides=(ASK,)), FakeCluster(A, automatic=True))
    node = world.node()
    world.unhealthy(node)
    assert world.deliver() == ["waiting"]
    world.passes(MINUTE)
    world.unhealthy(node, repair="Replace")
    assert world.deliver() == ["deferred"]
    world.answer(proposal(world)["IncidentId"], "Approved")
    assert (world.deliver(), world.reboots) == (["ignored"], [])


@pytest.mark.parametrize("effect", list(Effect))
def test_function_that_is_killed_at_a_proposal_loses_and_doubles_nothing(effect: Effect) -> None:
    """The proposal is known before it is told; the sweep tells it."""
    world = World(Settings(overrides=(ASK,)))
    node = world.node()
    world.unhealthy(node)
    world.deliver(Trouble(kill=effect))
    world.passes(5 * MINUTE)
    world.deliver()
    world.passes(2 * MINUTE)
    told = [notice for notice in world.notices if notice.list == "Proposed"]
    assert 1 <= len(told) <= 2
    world.answer(told[0].entry["IncidentId"], "Approved")
    world.deliver()
    assert world.reboots == [node.instance]


def test_proposal_is_told_once_the_topic_is_back() -> None:
    """It waits in the outbox as any notice."""
    world = World(Settings(overrides=(ASK,)))
    node = world.node()
    world.outside.topic_takes = Takes.NONE
    world.unhealthy(node)
    world.deliver()
    world.outside.topic_takes = Takes.ALL
    world.passes(5 * MINUTE)
    world.answer(proposal(world)["IncidentId"], "Approved")
    world.deliver()
    assert world.reboots == [node.instance]


@pytest.mark.parametrize(
    ("detail", "problem"),
    [
        ({}, "detail.IncidentId: takes the ID that the proposal gave; it is missing"),
        ({"IncidentId": 7}, "detail.IncidentId: takes a string, not a number"),
        ({"IncidentId": "x", "By": ["jo"]}, "detail.By: takes a string, not a list"),
    ],
)
def test_answer_that_cannot_be_read_says_which_field(detail: dict[str, object], problem: str) -> None:
    """It is told as any unreadable message."""
    world = World()
    event = {"source": "hyperpod.node-remediation", "detail-type": "HyperPod Node Reboot Approved", "detail": detail}
    world.post(json.dumps(event))
    assert world.deliver() == ["unreadable Unreadable"]
    assert world.notices[0].entry["Message"] == problem
