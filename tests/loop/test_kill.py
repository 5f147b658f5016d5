"""The function is killed before each of its effects and around each of its writes; sweeps never come, twice, late."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from node_remediation.remediate import Effect
from node_remediation.settings import Settings
from tests.loop.outside import CallFault
from tests.loop.promises import broken_at_the_end
from tests.loop.world import HOUR, MINUTE, SECOND, Trouble, World, Write

TOLD = Settings(notify_rebooted=True, retry_attempts=1)


@dataclass(frozen=True)
class Story:
    """The beginning of a story, up to the invocation that is killed: a delivery, or a sweep."""

    begins: Callable[[World], None]
    settings: Settings | None = None
    at_a_sweep: bool = False
    most_reboots: int = 1


def reboot(world: World) -> None:
    world.unhealthy(world.node())


def failure(world: World) -> None:
    world.node().answers = ["Denied"]
    world.unhealthy(world.node())


def lost_answer(world: World) -> None:
    world.sagemaker.faults = [CallFault.ANSWER_LOST]
    world.unhealthy(world.node())


def refusal(world: World) -> None:
    world.mode.value = "paused"
    world.unhealthy(world.node())


def retry(world: World) -> None:
    world.node().answers = ["InstanceIdInUse"]
    world.unhealthy(world.node())


def second_try(world: World) -> None:
    retry(world)
    world.deliver()
    world.skips(3 * MINUTE)


def stray(world: World) -> None:
    world.post({"id": "no event"})


def request(world: World) -> None:
    world.request(world.node().instance)


def redrive(world: World) -> None:
    failure(world)
    world.deliver()
    world.skips(HOUR)
    world.redrive(world.letters[0])


def second_reboot(world: World) -> None:
    world.alarm(world.node(), "ALARM")
    world.deliver()
    world.skips(31 * MINUTE)


def second_reboot_that_fails(world: World) -> None:
    world.node().answers = ["started", "Denied"]
    second_reboot(world)


def recovery(world: World) -> None:
    world.unhealthy(world.node())
    world.deliver()
    world.skips(MINUTE)
    world.healthy(world.node())


def time_out(world: World) -> None:
    world.node().status = "Failure"
    world.unhealthy(world.node())
    world.deliver()
    world.skips(46 * MINUTE)


STORIES = {
    "quiet reboot": Story(reboot),
    "told reboot": Story(reboot, TOLD),
    "failure": Story(failure, most_reboots=0),
    "lost answer": Story(lost_answer),
    "refusal": Story(refusal, most_reboots=0),
    "retry": Story(retry, TOLD),
    "second try": Story(second_try, TOLD, at_a_sweep=True),
    "stray": Story(stray, most_reboots=0),
    "request": Story(request),
    "redriven letter": Story(redrive),
    "second reboot": Story(second_reboot, at_a_sweep=True, most_reboots=2),
    "second reboot that fails": Story(second_reboot_that_fails, at_a_sweep=True),
    "recovery": Story(recovery, TOLD),
    "time-out": Story(time_out, at_a_sweep=True),
}
KILLS = [Trouble(kill=effect) for effect in Effect] + [
    Trouble(writes={number: write}) for number in (1, 2, 3) for write in (Write.KILLED_BEFORE, Write.KILLED_AFTER)
]


def _name(value: object) -> str:
    if isinstance(value, Trouble):
        return value.kill.value if value.kill else str({n: write.name for n, write in value.writes.items()})
    return str(value)


def begun(name: str, trouble: Trouble) -> World:
    """Return the world of a story right after the invocation in which something went wrong."""
    story = STORIES[name]
    world = World(story.settings)
    story.begins(world)
    if story.at_a_sweep:
        world.sweep(trouble)
    else:
        world.deliver(trouble)
    return world


def must_hold(world: World, name: str) -> None:
    """Let all that is left happen, then judge: promises, and no reboot but those of the story."""
    world.passes(24 * HOUR)
    assert broken_at_the_end(world) == []
    assert len(world.reboots) <= STORIES[name].most_reboots


def test_each_effect_is_met_by_some_story() -> None:
    """The kill points are the code's own list: one that is never met could not be killed at."""
    met = {effect for name in STORIES for effect in begun(name, Trouble()).effects}
    assert met == set(Effect)


@pytest.mark.parametrize("trouble", KILLS, ids=_name)
@pytest.mark.parametrize("name", STORIES)
def test_killed_invocation_is_carried_on_with(name: str, trouble: Trouble) -> None:
    """The sweep comes each minute, and the message comes again at its time-out."""
    must_hold(begun(name, trouble), name)


@pytest.mark.parametrize("trouble", KILLS, ids=_name)
@pytest.mark.parametrize("name", STORIES)
def test_killed_invocation_is_carried_on_with_by_its_message_before_the_sweep(name: str, trouble: Trouble) -> None:
    """The redelivery finds what was cut off; sweeps come only an hour later."""
    world = begun(name, trouble)
    world.sweeps = None
    world.passes(HOUR)
    world.sweeps = world.sweep
    must_hold(world, name)


@pytest.mark.parametrize("kill", Effect, ids=str)
@pytest.mark.parametrize("name", STORIES)
def test_invocations_killed_at_the_same_effect_each_time_end_when_they_are_not(name: str, kill: Effect) -> None:
    """Each delivery and each sweep is killed for ten minutes."""
    world = begun(name, Trouble(kill=kill))
    world.trouble = Trouble(kill=kill)
    world.passes(10 * MINUTE)
    world.trouble = Trouble()
    must_hold(world, name)


@pytest.mark.parametrize("how", ["twice", "late", "overlapping", "rare"])
@pytest.mark.parametrize("trouble", KILLS, ids=_name)
@pytest.mark.parametrize("name", ["quiet reboot", "failure", "retry", "second reboot", "time-out"])
def test_sweeps_twice_late_overlapping_or_rare_change_when_but_never_what(
    name: str, trouble: Trouble, how: str
) -> None:
    """Each after a kill."""
    world = begun(name, trouble)

    def twice() -> None:
        world.sweep()
        world.sweep()

    def late() -> None:
        world.sweep(sent=world.now - 110 * SECOND)

    def overlapping() -> None:
        world.sweep(Trouble(writes=dict.fromkeys((1, 2, 3), Write.RIVAL), rival=world.sweep))

    def rare() -> None:
        world.skips(17 * MINUTE)
        world.sweep()

    world.sweeps = {"twice": twice, "late": late, "overlapping": overlapping, "rare": rare}[how]
    must_hold(world, name)
