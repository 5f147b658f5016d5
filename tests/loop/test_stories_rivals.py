"""Several invocations at once, and messages that are delivered more than once."""

import pytest

from node_remediation.settings import Settings
from tests.loop.outside import FakeCluster
from tests.loop.promises import broken_at_the_end
from tests.loop.world import DAY, HOUR, MINUTE, A, Trouble, World, Write


@pytest.mark.parametrize("number", [1, 2, 3])
def test_one_message_in_two_invocations_is_one_reboot(number: int) -> None:
    """SQS delivers at least once, also at once: whichever write the other comes before."""
    for answer in ("started", "Denied"):
        world = World()
        node = world.node()
        node.answers = [answer]
        world.unhealthy(node)
        world.deliver(Trouble(writes={number: Write.RIVAL}, rival=world.twin))
        assert len(world.sagemaker.calls) == 1
        assert len(world.codes) == len({letter.id for letter in world.letters}) == (answer == "Denied")
        world.passes(DAY)
        assert broken_at_the_end(world) == []


@pytest.mark.parametrize("number", [1, 2])
def test_two_invocations_never_both_spend_the_last_of_a_budget(number: int) -> None:
    """Ten nodes, so two reboots: of four reports two are rebooted, and the others are told the numbers."""
    world = World(None, FakeCluster(A, nodes=10))
    first = [world.unhealthy(world.node(n)) for n in (1, 2)]
    second = [world.unhealthy(world.node(n)) for n in (3, 4)]
    world.deliver(Trouble(writes={number: Write.RIVAL}, rival=lambda: world.deliver(only=second)), only=first)
    assert sorted(world.outcomes) == ["rebooted"] * 2 + ["refused ClusterBudgetExceeded"] * 2
    assert len(world.reboots) == 2


def test_answers_of_two_invocations_are_both_recorded() -> None:
    """Another invocation fails a node of the same cluster just then: both refunds are made."""
    world = World()
    one, other = world.node(1), world.node(2)
    one.answers, other.answers = ["Denied"], ["Denied"]
    first, second = world.unhealthy(one), world.unhealthy(other)
    world.deliver(Trouble(writes={2: Write.RIVAL}, rival=lambda: world.deliver(only=[second])), only=[first])
    assert world.known_budget(A).spends == ()
    assert sorted(world.outcomes) == ["failed Denied"] * 2


def test_sign_of_health_that_comes_while_the_answer_is_recorded_is_kept() -> None:
    """The node has recovered, and the answer's own write does not hide it."""
    world = World()
    node = world.node()
    first = world.unhealthy(node)

    def gets_well() -> None:
        world.skips(MINUTE / 60)
        well = world.healthy(node)
        world.deliver(only=[well])

    world.deliver(Trouble(writes={2: Write.RIVAL}, rival=gets_well), only=[first])
    world.passes(MINUTE)
    assert world.ends == ["recovered"]


def test_message_that_comes_again_changes_nothing() -> None:
    """Each kind of it, after each kind of outcome."""
    world = World(Settings(notify_rebooted=True))
    node = world.node(1)
    ids = [
        world.unhealthy(node),
        world.alarm(world.node(2), "ALARM"),
        world.request(world.node(3).instance),
        world.healthy(world.node(4)),
        world.alarm(world.node(5), "ALARM", name="hyperpod-reboot-muted", muted_until=world.now + HOUR),
        world.unhealthy(world.node(6), repair="Replace"),
    ]
    world.deliver()
    before, told = dict(world.ledger.items), list(world.told)
    world.skips(MINUTE)
    for id_ in ids:
        world.comes_again(id_)
    outcomes = world.deliver()
    assert {outcome.split()[0] for outcome in outcomes} == {"duplicate", "cleared", "deferred"}
    assert (world.told, len(world.reboots)) == (told, 3)
    assert world.ledger.items == before


def test_storm_of_reports_of_one_node_is_one_reboot() -> None:
    """Batch after batch, half an hour long; then it is still sick, and rebooted again."""
    world = World()
    node = world.node()
    for _ in range(29):
        for _ in range(3):
            world.unhealthy(node)
            world.alarm(node, "ALARM")
        world.deliver()
        world.passes(MINUTE)
    assert len(world.reboots) == 1
    world.passes(3 * MINUTE)
    assert len(world.reboots) == 2
