"""Recovery is proven or not said: many endings after a reboot in which the node is not well, or not known to be."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from node_remediation.settings import Settings
from tests.loop.outside import Slot, denied
from tests.loop.world import HOUR, MINUTE, SECOND, World

HEALTHY_FOR = 2 * MINUTE
Chance = random.Random
Ending = Callable[[World, Slot, Chance], None]


def slurm_is_down(world: World, node: Slot, chance: Chance) -> None:
    """Slurm keeps the node out; SageMaker calls it Running, and HyperPod's agent says nothing."""
    node.status = "Pending"
    world.passes(_minutes(chance, 1, 10))
    node.status = "Running"


def relapses(world: World, node: Slot, chance: Chance) -> None:
    """It is reported well, and falls ill before it has stayed so, as often as it is reported well."""
    for _ in range(chance.randint(1, 3)):
        world.passes(_minutes(chance, 1, 5))
        world.healthy(node, late=timedelta(seconds=chance.choice([0, 0, 30])))
        world.passes(chance.uniform(0.1, 0.9) * HEALTHY_FOR)
        world.unhealthy(node, copies=chance.choice([1, 2]))
        world.deliver()


def runs_with_a_bad_gpu(world: World, node: Slot, chance: Chance) -> None:
    """Its status is Running all the time, and its alarm stays up."""
    world.passes(_minutes(chance, 0, 5))
    world.alarm(node, "ALARM", unheard=chance.random() < 0.5)
    world.deliver()


def another_alarm_is_ok(world: World, node: Slot, chance: Chance) -> None:
    """One that has not complained, which says nothing about what has."""
    for number in range(chance.randint(1, 3)):
        world.passes(_minutes(chance, 0, 5))
        world.alarm(node, "INSUFFICIENT_DATA", name=f"hyperpod-reboot-disk-{number}")
        world.alarm(node, "OK", name=f"hyperpod-reboot-disk-{number}", series=chance.random() < 0.3)
        world.deliver()


def alarm_is_missing(world: World, node: Slot, chance: Chance) -> None:
    """The alarm that complained as well is deleted, or may not be asked; HyperPod says nothing."""
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(_minutes(chance, 0, 5))
    if chance.random() < 0.5:
        world.cloudwatch.alarms.clear()
    else:
        world.cloudwatch.down["describe_alarms"] = denied()


def _minutes(chance: Chance, least: int, most: int) -> timedelta:
    return chance.randint(least * 60, most * 60) * SECOND


ENDINGS = (slurm_is_down, relapses, runs_with_a_bad_gpu, another_alarm_is_ok, alarm_is_missing)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_node_that_is_not_known_to_be_well_is_never_called_recovered(ending: Ending) -> None:
    """200 endings in all, each with other times; every incident ends, and none as recovered."""
    for seed in range(200 // len(ENDINGS)):
        chance = Chance(seed)
        world = World(Settings(max_reboots_per_node=chance.randint(1, 2)), healthy_for=HEALTHY_FOR)
        node = world.node()
        world.unhealthy(node)
        assert world.deliver() == ["rebooted"]
        ending(world, node, chance)
        world.passes(5 * HOUR)
        assert world.ends, seed
        assert "recovered" not in world.ends, (seed, world.lines)
        assert world.next_due() is None, seed


def test_relapse_is_acted_on_after_the_cooldown_however_long_a_node_must_stay_healthy() -> None:
    """It was well for three minutes, and would have recovered a day later."""
    world = World(Settings(), healthy_for=24 * HOUR)
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(2 * MINUTE)
    world.healthy(node)
    world.deliver()
    world.passes(3 * MINUTE)
    world.unhealthy(node)
    world.deliver()
    world.passes(30 * MINUTE)
    assert world.reboots == [node.instance] * 2
