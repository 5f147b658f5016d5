"""The two examples of the design page, to the second."""

from node_remediation.policy.record import State
from node_remediation.remediate import Effect
from tests.loop.world import Trouble, World


def test_node_recovers_when_the_last_source_that_complained_has_taken_it_back() -> None:
    """Two sources complain, one before the reboot and one after; each takes back its own complaint only."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    assert world.deliver() == ["rebooted"]
    assert (world.reboots, world.due(node)) == ([node.instance], "02:29:03")

    world.until("02:16:10")
    world.alarm(node, "ALARM", name="hyperpod-reboot-gpu")
    assert world.deliver() == ["duplicate"]

    world.until("02:20:40")
    world.alarm(node, "OK", name="hyperpod-reboot-gpu")
    assert world.deliver() == ["cleared"]
    assert world.ends == []

    world.until("02:29:03")
    assert (world.incident(node).state, world.due(node)) == (State.REBOOTED, "02:44:03")

    world.until("02:31:15")
    world.healthy(node)
    assert world.deliver() == ["cleared"]
    assert (world.ends, world.due(node)) == (["recovered"], None)
    assert (world.letters, world.notices) == ([], [])


def test_letter_of_a_killed_invocation_is_sent_again_with_its_id_and_then_told() -> None:
    """The process died between the letter and the topic; the sweep finds both entries unsent."""
    world = World()
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    world.deliver(Trouble(kill=Effect.NOTICES))
    assert (world.codes, world.told) == (["InstanceIdInUse"], [])
    assert world.due(node) == "02:15:08"

    world.until("02:15:08")
    assert [letter.id for letter in world.letters] == [world.letters[0].id] * 2
    assert world.told == ["Failed InstanceIdInUse"]
    assert (world.due(node), world.known_budget("ml-a").spends) == (None, ())
