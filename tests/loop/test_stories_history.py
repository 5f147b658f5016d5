"""A node's history: what a person reads in the morning, when its incident itself is gone from the record."""

from node_remediation.policy.draft import OPENED
from tests.loop.outside import Slot, Takes
from tests.loop.world import MINUTE, Trouble, World


def _lines(world: World, node: Slot) -> list[str]:
    """Return the history's lines, the incidents' IDs aside."""
    lines = [text for _, text in world.record(node).history]
    return [f"opened: {line.partition(': ')[2]}" if line.startswith(OPENED) else line for line in lines]


def test_history_tells_complaints_claim_with_its_numbers_answer_withdrawals_and_end() -> None:
    """A second source's complaint and each withdrawal have their line; a complaint that is only repeated has none."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    identity = world.incident(node).id
    world.skips(MINUTE)
    world.unhealthy(node)
    world.alarm(node, "ALARM", name="hyperpod-reboot-gpu")
    world.deliver()
    world.skips(MINUTE)
    world.alarm(node, "OK", name="hyperpod-reboot-gpu")
    world.healthy(node)
    world.deliver()
    world.passes(5 * MINUTE)
    assert world.ends == ["recovered"]
    lines = _lines(world, node)
    claim = "claimed for a reboot call: reboot 1 of 2 of the node in 24h, 1 of 20 of the cluster in 60m"
    assert [line.partition(" at 2026")[0] for line in lines[:-1]] == [
        "opened: hyperpod complained",
        claim,
        "rebooted: SageMaker started the reboot",
        "alarm:hyperpod-reboot-gpu complained",
        "alarm:hyperpod-reboot-gpu withdrew its complaint",
        "hyperpod withdrew its complaint",
    ]
    assert lines[-1].startswith("recovered: each source that complained has withdrawn")
    assert world.record(node).history[0][1].startswith(f"{OPENED}{identity}: ")


def test_history_tells_that_a_failure_was_sent_once_both_parts_are() -> None:
    """The letter while the topic is down, the notification when that is over: each has its line once."""
    world = World()
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    world.deliver(Trouble(topic=Takes.NONE))
    assert _lines(world, node)[-1] == "sent: letter, InstanceIdInUse"
    world.passes(5 * MINUTE)
    assert _lines(world, node)[-2:] == ["sent: letter, InstanceIdInUse", "sent: notification, InstanceIdInUse"]


def test_history_tells_of_a_request_that_was_refused_and_has_no_incident_of_its_own() -> None:
    """Else a person who looks for it finds nothing."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    world.request(node.instance)
    assert world.deliver() == ["refused Paused"]
    refused, sent = _lines(world, node)
    assert refused.startswith("request: refused: Paused: ")
    assert sent == "sent: letter and notification, Paused"
