"""Requests and redriven letters: judged at once, and always answered."""

from datetime import timedelta

import pytest

from node_remediation.policy.record import State
from node_remediation.settings import Settings
from tests.loop.outside import FakeCluster, Takes, throttled
from tests.loop.world import HOUR, MINUTE, SECOND, START, A, Trouble, World


def test_request_reboots_each_node_that_it_names() -> None:
    """By either kind of ID; each has its outcome."""
    world = World()
    one, other = world.node(1), world.node(2)
    world.request(one.instance, other.logical)
    assert world.deliver() == ["rebooted", "rebooted"]
    assert world.reboots == [one.instance, other.instance]


def test_request_takes_over_the_nodes_incident() -> None:
    """A yes: the complaints that were there are in the incident of the reboot."""
    world = World()
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.unhealthy(node)
    world.deliver()
    incident = world.incident(node).id
    world.sagemaker.down.clear()
    world.request(node.instance)
    assert world.deliver() == ["rebooted"]
    assert world.incident(node).id == incident
    assert {each.source for each in world.incident(node).complaints} == {"hyperpod", "request"}


def test_requests_no_is_its_own_and_leaves_the_incident_alone() -> None:
    """Refused in the cooldown: a letter; the node's incident goes on."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    before = world.incident(node)
    world.skips(MINUTE)
    world.request(node.instance)
    assert world.deliver() == ["refused CoolingDown"]
    assert world.incident(node) == before
    assert world.codes == ["CoolingDown"]


def test_each_refused_request_has_a_letter_and_the_topic_hears_of_one() -> None:
    """Also when they come in one batch: who asks is answered, and people read it once a cooldown."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    for _ in range(3):
        world.request(node.instance)
    assert world.deliver() == ["refused Paused"] * 3
    assert (world.codes, world.told) == (["Paused"] * 3, ["Refused Paused"])
    assert len({letter.id for letter in world.letters}) == 3


def test_request_while_the_node_is_claimed_is_cooling_down() -> None:
    """A call is under way."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    from node_remediation.remediate import Effect  # noqa: PLC0415

    world.deliver(Trouble(kill=Effect.CALL))
    world.request(node.instance)
    assert world.deliver() == ["refused CoolingDown"]
    assert world.incident(node).state is State.CLAIMED


def test_request_beside_a_report_speaks_for_the_node() -> None:
    """One reboot; the report is a duplicate of it."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.request(node.instance)
    assert sorted(world.deliver()) == ["duplicate", "rebooted"]
    assert len(world.reboots) == 1


def test_request_is_bound_by_the_advice_of_hyperpod() -> None:
    """Advice to replace refuses the redriven letter too: the letter carries it."""
    world = World()
    node = world.node()
    world.unhealthy(node, repair="Replace")
    assert world.deliver() == ["refused ReplacementAdvised"]
    world.passes(HOUR)
    world.redrive(world.letters[0])
    assert world.deliver() == ["refused ReplacementAdvised"]
    assert world.letters[1].event["detail"]["RepairAction"] == "Replace"


@pytest.mark.parametrize("by", ["an alarm", "a person"])
def test_advice_to_replace_binds_who_complains_next_until_hyperpod_reports_health(by: str) -> None:
    """The incident of the advice has ended with its refusal."""
    world = World()
    node = world.node()
    world.unhealthy(node, repair="Replace")
    world.deliver()
    world.passes(HOUR)
    for outcome in ("refused ReplacementAdvised", "rebooted"):
        world.passes(MINUTE)
        if by == "an alarm":
            world.alarm(node, "ALARM")
        else:
            world.request(node.instance)
        assert world.deliver() == [outcome]
        world.alarm(node, "OK")
        world.healthy(node)
        world.deliver()


def test_request_of_a_healthy_node_is_carried_out() -> None:
    """An earlier sign of health does not answer a person."""
    world = World()
    node = world.node()
    world.healthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.request(node.instance)
    assert world.deliver() == ["rebooted"]


def test_request_is_tried_again_until_the_facts_are_there() -> None:
    """Handed back, as there is nothing in the ledger that could be judged later."""
    world = World()
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    id_ = world.request(node.instance)
    assert (world.deliver(), list(world.queue)) == ([], [id_])
    world.passes(40 * SECOND)
    world.sagemaker.down.clear()
    world.passes(2 * MINUTE)
    assert (world.outcomes, world.reboots) == (["rebooted"], [node.instance])


def test_request_of_two_nodes_of_which_one_must_wait_comes_again_for_that_one() -> None:
    """The other was dealt with, and is not called again."""
    world = World(None, FakeCluster(A, nodes=1_000, protected=("controllers",)))
    one, other = world.node(1), world.node(2)
    real = world.sagemaker.describe_cluster_node

    def throttles_one(**asked: str) -> object:
        if asked.get("NodeId") == other.instance and world.now < START + MINUTE:
            raise throttled()
        return real(**asked)

    world.sagemaker.describe_cluster_node = throttles_one  # type: ignore[assignment, method-assign]
    world.request(one.instance, other.instance)
    assert (world.deliver(), len(world.queue)) == (["rebooted"], 1)
    world.passes(10 * MINUTE)
    assert (world.reboots, world.queue) == ([one.instance, other.instance], {})
    assert world.outcomes.count("rebooted") == 2


def test_redriven_letter_is_a_new_attempt_with_its_number() -> None:
    """From 1; the letter of the next failure says 2."""
    world = World()
    node = world.node()
    node.answers = ["Denied", "Denied"]
    world.unhealthy(node)
    world.deliver()
    world.passes(HOUR)
    world.redrive(world.letters[0])
    assert world.deliver() == ["failed Denied"]
    assert [letter.event["detail"]["Attempt"] for letter in world.letters] == [1, 2]
    assert world.letters[1].event["detail"]["Trigger"] == world.letters[0].event["detail"]["Trigger"]


def test_redriven_letter_of_a_stale_report_is_new() -> None:
    """Only how long it waits itself counts."""
    world = World()
    world.unhealthy(world.node())
    world.skips(2 * HOUR)
    assert world.deliver() == ["refused StaleReport"]
    world.redrive(world.letters[0])
    assert world.deliver() == ["rebooted"]


def test_redriven_letter_within_the_cooldown_is_refused_not_swallowed() -> None:
    """And again the next time."""
    world = World(Settings(retry_attempts=0))
    node = world.node()
    node.answers = ["Denied"]
    world.unhealthy(node)
    world.deliver()
    world.request(node.instance)
    assert world.deliver() == ["rebooted"]
    world.redrive(world.letters[0])
    assert world.deliver() == ["refused CoolingDown"]
    world.passes(HOUR)
    world.redrive(world.letters[1])
    assert world.deliver() == ["rebooted"]


def test_forty_refusals_put_back_together_each_have_an_outcome() -> None:
    """The node is rebooted once."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    for _ in range(40):
        world.request(node.instance)
        world.deliver()
    world.mode.value = "active"
    for letter in world.letters[:40]:
        world.redrive(letter)
    before = len(world.outcomes)
    world.passes(5 * MINUTE)
    assert sorted(world.outcomes[before:]) == ["rebooted", *["refused CoolingDown"] * 39]
    assert (len(world.reboots), world.queue) == (1, {})


def test_hundred_and_first_request_within_four_days_is_refused_as_busy() -> None:
    """The item keeps the IDs of a hundred; after four days there is room again."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    for _ in range(100):
        world.request(node.instance)
        world.deliver()
    world.request(node.instance)
    assert world.deliver() == ["refused LedgerBusy"]
    world.passes(timedelta(days=4))
    world.request(node.instance)
    assert world.deliver() == ["refused Paused"]


def test_requests_while_the_queue_is_down_are_kept_within_bounds_and_all_sent() -> None:
    """Twenty unsent entries, and no more: the others come again, or fail from memory."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    world.outside.letters_take = Takes.NONE
    for _ in range(30):
        world.request(node.instance)
        world.deliver()
    assert len(world.record(node).outbox) <= 20
    world.outside.letters_take = Takes.ALL
    world.passes(2 * HOUR)
    assert (world.queue, world.next_due()) == ({}, None)
    assert world.outcomes.count("refused Paused") == 30
    assert world.aside == []


@pytest.mark.parametrize("replays", ["event", "request"])
def test_archive_replay_is_stale(replays: str) -> None:
    """Whenever it is replayed."""
    import json  # noqa: PLC0415

    world = World()
    node = world.node()
    world.unhealthy(node)
    (queued,) = world.queue.values()
    world.queue.clear()
    world.post(json.loads(queued.message.body) | {"replay-name": "again"})
    assert world.deliver() == ["refused StaleReport"]
