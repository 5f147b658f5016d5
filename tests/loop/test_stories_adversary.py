"""Odd but possible events around overrides, proposals, advice and HyperPod's words."""

import pytest

from node_remediation.model import NodeKey
from node_remediation.policy.record import State
from node_remediation.settings import Override, Settings
from tests.loop.outside import CallFault, FakeCluster, Slot, Takes, throttled
from tests.loop.world import HOUR, MINUTE, SECOND, A, World

ASK = Override(action="ask")


def proposals(world: World) -> list[str]:
    """Return the incidents of the proposals that the topic was told, in order."""
    return [notice.entry["IncidentId"] for notice in world.notices if notice.list == "Proposed"]


# -- wait


def test_complaint_with_a_shorter_wait_does_not_wait_for_one_with_a_longer() -> None:
    """An alarm is given six hours, and HyperPod's own word none."""
    world = World(Settings(overrides=(Override(source="alarm:*", wait=6 * HOUR),)))
    node = world.node()
    world.alarm(node, "ALARM")
    assert world.deliver() == ["waiting"]
    world.passes(MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["rebooted"]


def test_alarm_with_a_shorter_wait_does_not_wait_for_hyperpods() -> None:
    """The other way round, and both wait."""
    world = World(Settings(overrides=(Override(source="hyperpod", wait=6 * HOUR), Override(wait=5 * MINUTE))))
    node = world.node()
    world.unhealthy(node)
    assert world.deliver() == ["waiting"]
    world.passes(MINUTE)
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(7 * MINUTE)
    assert world.reboots == [node.instance]


def test_source_that_gives_a_worse_reason_does_not_wait_for_its_first() -> None:
    """Each reason has its own entry."""
    world = World(Settings(overrides=(Override(source="hyperpod", reason="Instance *", wait=6 * HOUR),)))
    node = world.node()
    world.cluster_event(node)
    assert world.deliver() == ["waiting"]
    world.passes(MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["rebooted"]


def test_wait_begins_anew_where_a_withdrawal_between_two_complaints_comes_after_both() -> None:
    """The node was well meanwhile: the second complaint has not stood as long."""
    world = World(Settings(overrides=(Override(wait=10 * MINUTE),)))
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(3 * MINUTE)
    well_at = world.now
    world.passes(2 * MINUTE)
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.healthy(node, at=well_at)
    assert world.deliver() == ["cleared"]
    world.passes(8 * MINUTE)
    assert world.reboots == []
    world.passes(3 * MINUTE)
    assert world.reboots == [node.instance]


# -- a person's request


@pytest.mark.parametrize("override", [ASK, Override(wait=HOUR)])
@pytest.mark.parametrize("trouble", ["turned away", "failed"])
def test_request_that_is_tried_again_is_not_proposed_and_does_not_wait(override: Override, trouble: str) -> None:
    """A person has asked for it; that the first call failed changes nothing."""
    world = World(Settings(overrides=(override,), retry_attempts=2))
    node = world.node()
    if trouble == "failed":
        node.answers = ["InstanceIdInUse"]
    else:
        world.sagemaker.faults = [CallFault.THROTTLED] * 4
    world.request(node.instance)
    world.deliver()
    world.passes(5 * MINUTE)
    assert proposals(world) == []
    assert world.reboots == [node.instance]


def test_request_that_is_tried_again_outweighs_the_complaint_that_it_took_over() -> None:
    """HyperPod's complaint would have to be asked for."""
    world = World(Settings(overrides=(ASK,), retry_attempts=2))
    node = world.node()
    world.unhealthy(node)
    assert world.deliver() == ["waiting"]
    node.answers = ["InstanceIdInUse"]
    world.request(node.instance)
    assert world.deliver() == ["retrying InstanceIdInUse"]
    world.passes(5 * MINUTE)
    assert len(proposals(world)) == 1
    assert world.reboots == [node.instance]


# -- proposals


def test_veto_is_not_undone_by_a_repeated_complaint() -> None:
    """An alert is sent again every few minutes; who vetoed it does not look for another proposal."""
    world = World(Settings(overrides=(ASK,), on_no_answer="reboot"))
    node = world.node()
    world.alert(node)
    assert world.deliver() == ["waiting"]
    world.answer(proposals(world)[0], "Vetoed", reason="the run ends in half an hour")
    assert world.deliver() == ["refused Vetoed"]
    world.passes(5 * MINUTE)
    world.alert(node)
    assert world.deliver() == ["duplicate Vetoed"]
    world.passes(20 * MINUTE)
    assert world.reboots == []
    assert len(proposals(world)) == 1
    world.passes(10 * MINUTE)
    world.alert(node)
    assert world.deliver() == ["waiting"]
    assert len(proposals(world)) == 2


def test_tries_that_end_with_a_veto_leave_the_letter_of_the_failure() -> None:
    """The first complaint was retried and withdrawn; the second would have to be approved."""
    world = World(Settings(overrides=(Override(source="alarm:*", action="ask"),), retry_attempts=2))
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    assert world.deliver() == ["retrying InstanceIdInUse"]
    world.alarm(node, "ALARM")
    world.deliver()
    world.healthy(node)
    world.deliver()
    world.passes(3 * MINUTE)
    assert world.incident(node).state is State.PROPOSED
    world.answer(proposals(world)[0], "Vetoed")
    assert world.deliver() == ["refused Vetoed"]
    assert world.codes == ["InstanceIdInUse"]


def test_node_with_more_complaints_than_are_kept_is_not_rebooted_unasked() -> None:
    """All that are kept are withdrawn; the one that fell silent would have to be asked for, too."""
    world = World(Settings(overrides=(ASK,), automatic_grace=5 * MINUTE), FakeCluster(A, automatic=True))
    node = world.node()
    names = [f"hyperpod-reboot-{number}" for number in range(21)]
    for name in names:
        world.alarm(node, "ALARM", name=name)
        world.deliver()
        world.passes(SECOND)
    for name in names[1:]:
        world.alarm(node, "OK", name=name)
    world.deliver()
    world.passes(10 * MINUTE)
    assert world.reboots == []
    assert len(proposals(world)) == 1


def test_proposal_that_could_not_be_told_in_time_is_not_told_afterwards() -> None:
    """The topic was down: a mail that asks for an answer by a time that is over would lie."""
    world = World(Settings(overrides=(ASK,)))
    world.outside.topic_takes = Takes.NONE
    world.unhealthy(world.node())
    world.deliver()
    world.passes(20 * MINUTE)
    world.outside.topic_takes = Takes.ALL
    world.passes(HOUR)
    assert world.told == ["Refused NotApproved"]


def test_approval_does_not_outlive_a_repair_by_hyperpod() -> None:
    """What people approved was the reboot before it."""
    cluster = FakeCluster(A, automatic=True)
    world = World(Settings(overrides=(ASK,)), cluster)
    node = world.node()
    world.unhealthy(node)
    assert world.deliver() == ["waiting"]
    world.passes(6 * MINUTE)  # what was known of the cluster is forgotten
    world.sagemaker.down["describe_cluster"] = throttled()
    world.answer(proposals(world)[0], "Approved")
    assert world.deliver() == ["waiting ThrottlingException"]
    world.sagemaker.down.clear()
    world.unhealthy(node, repair="Reboot")
    assert world.deliver() == ["deferred"]
    cluster.automatic = False
    world.passes(20 * MINUTE)
    assert world.reboots == []
    assert len(proposals(world)) == 2


def test_answer_to_a_proposal_before_a_repair_by_hyperpod_is_none_to_the_one_after_it() -> None:
    """It was late: the incident is the same, and was proposed again meanwhile."""
    cluster = FakeCluster(A, automatic=True)
    world = World(Settings(overrides=(ASK,)), cluster)
    node = world.node()
    world.unhealthy(node)
    assert world.deliver() == ["waiting"]
    world.passes(MINUTE)
    answer = world.answer(proposals(world)[0], "Approved")
    world.queue[answer].visible_at += 20 * MINUTE
    world.unhealthy(node, repair="Reboot")
    assert world.deliver() == ["deferred"]
    cluster.automatic = False
    world.passes(25 * MINUTE)
    assert (len(proposals(world)), world.outcomes[-1], world.reboots) == (2, "ignored", [])
    world.answer(proposals(world)[1], "Approved")
    assert world.deliver() == ["rebooted"]


@pytest.mark.parametrize(
    ("sent", "waits", "outcome"),
    [(14, 20, "rebooted"), (16, 0, "ignored"), (14, 300, "ignored")],
    ids=["in time", "after the time for it", "in time, and longer in the queue than max_report_age"],
)
def test_approval_counts_by_when_it_was_sent_where_no_sweep_has_ended_the_proposal(
    sent: int, waits: int, outcome: str
) -> None:
    """Sweeps and messages were held up. A proposal that is answered too late is refused."""
    world = World(Settings(overrides=(ASK,)))
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.skips(sent * MINUTE)
    world.answer(proposals(world)[0], "Approved")
    world.skips(waits * MINUTE)
    assert world.deliver() == [outcome]
    world.passes(MINUTE)
    assert world.reboots == ([node.instance] if outcome == "rebooted" else [])


def test_veto_counts_as_long_as_nothing_is_rebooted() -> None:
    """Silence would mean a reboot, and no sweep has come since the time for an answer."""
    world = World(Settings(overrides=(ASK,), on_no_answer="reboot"))
    world.unhealthy(world.node())
    world.deliver()
    world.skips(16 * MINUTE)
    world.answer(proposals(world)[0], "Vetoed")
    assert world.deliver() == ["refused Vetoed"]
    world.passes(HOUR)
    assert world.reboots == []


def test_reboot_that_is_approved_right_after_a_pause_is_not_refused_for_it() -> None:
    """The pause is remembered for a minute; what people answer reads it again, as what they ask for does."""
    world = World(Settings(overrides=(ASK,)))
    node = world.node(1)
    world.unhealthy(node)
    world.deliver()
    world.mode.value = "paused"
    world.passes(2 * MINUTE)
    world.unhealthy(world.node(2))
    assert world.deliver() == ["refused Paused"]
    world.mode.value = "active"
    world.answer(proposals(world)[0], "Approved")
    assert (world.deliver(), world.reboots) == (["rebooted"], [node.instance])


# -- two IDs of one node


def proposed_by_logical_id() -> tuple[World, Slot]:
    """Return a world in which a reboot is proposed of a node whose instance SageMaker told only afterwards."""
    world = World(Settings(overrides=(ASK,)))
    node = world.node()
    node.listed = False
    world.cluster_event(node, logical=True)
    assert world.deliver() == ["waiting"]
    assert world.known(NodeKey(A, node.logical)).incident
    node.listed = True
    world.passes(2 * MINUTE)
    return world, node


def test_approved_node_whose_source_withdrew_under_its_other_id_is_not_rebooted() -> None:
    """It was reported by its logical ID, and well again by its instance ID."""
    world, node = proposed_by_logical_id()
    world.healthy(node)
    assert world.deliver() == ["cleared"]
    world.answer(proposals(world)[0], "Approved")
    world.deliver()
    world.passes(HOUR)
    assert world.reboots == []
    assert world.ends == ["cleared"]


def test_approval_finds_a_node_that_has_another_key_by_now() -> None:
    """Its records were united before the topic took the proposal."""
    world = World(Settings(overrides=(ASK,)))
    node = world.node()
    node.listed = False
    world.outside.topic_takes = Takes.NONE
    world.cluster_event(node, logical=True)
    world.deliver()
    node.listed = True
    world.outside.topic_takes = Takes.ALL
    world.passes(3 * MINUTE)
    assert world.incident(node).state is State.PROPOSED
    world.answer(proposals(world)[0], "Approved")
    assert world.deliver() == ["rebooted"]


def test_answer_waits_while_its_node_cannot_be_looked_up() -> None:
    """It was reported by its logical ID alone."""
    world, node = proposed_by_logical_id()
    world.sagemaker.down["describe_cluster_node"] = throttled()
    world.answer(proposals(world)[0], "Approved")
    assert world.deliver() == []
    world.sagemaker.down.clear()
    world.passes(2 * MINUTE)
    assert world.reboots == [node.instance]


# -- mails


def test_refusal_for_standing_advice_does_not_say_that_nobody_repairs() -> None:
    """HyperPod has announced a replacement on an Automatic cluster, and its repair has timed out."""
    world = World(None, FakeCluster(A, automatic=True))
    node = world.node()
    world.unhealthy(node, repair="Replace")
    assert world.deliver() == ["deferred"]
    world.passes(3 * HOUR)
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(10 * MINUTE)
    assert world.codes[-1] == "ReplacementAdvised"
    assert "NodeRecovery None" not in world.letters[-1].event["detail"]["Message"]
