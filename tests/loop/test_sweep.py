"""The sweep: what is due is carried on with, whenever it comes, and it never raises."""

from typing import Any

import pytest

from node_remediation.aws.errors import LookupFailedError
from node_remediation.policy import incidents
from node_remediation.remediate import Effect
from tests.fakes import DENIED, THROTTLED
from tests.loop.outside import Takes, throttled
from tests.loop.world import HOUR, MINUTE, SECOND, Trouble, World, Write


def test_idle_sweep_writes_nothing_and_says_its_numbers() -> None:
    """One line, of how late it is and how old the oldest unsent entry."""
    world = World()
    world.sweep()
    assert (world.ledger.writes, world.outside.sweeps) == ([], [(0.0, 0.0)])


def test_sweep_over_two_minutes_old_returns_at_once() -> None:
    """The rule's delivery was late; the next one is on its way."""
    world = World()
    world.unhealthy(world.node())
    world.deliver(Trouble(kill=Effect.CALL))
    world.skips(10 * MINUTE)
    world.sweep(sent=world.now - 2 * MINUTE - SECOND)
    assert (world.codes, world.outside.sweeps) == ([], [])
    world.sweep(sent=world.now - MINUTE)
    assert world.codes == ["OutcomeUnknown"]


@pytest.mark.parametrize("error", [THROTTLED, DENIED])
@pytest.mark.parametrize("where", ["index", "items", "cluster"])
def test_sweep_that_cannot_read_the_ledger_raises_nothing(error: Any, where: str) -> None:
    """It says so in the log; the next sweep tries again."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver(Trouble(kill=Effect.CALL))
    world.skips(2 * MINUTE)
    name = {"index": "due", "items": "load_raw", "cluster": "load"}[where]
    real = getattr(world.ledger, name)

    def fails(*_: Any, **__: Any) -> Any:
        raise LookupFailedError(error)

    setattr(world.ledger, name, fails)
    world.sweep()
    assert world.outside.errors
    setattr(world.ledger, name, real)
    world.sweep()
    assert world.codes == ["OutcomeUnknown"]


def test_one_shard_that_cannot_be_read_holds_up_no_other() -> None:
    """Nodes in the other shards are carried on with."""
    world = World()
    for number in range(1, 7):
        world.unhealthy(world.node(number))
    world.deliver(Trouble(kill=Effect.CALL))
    world.skips(2 * MINUTE)
    real, asked = world.ledger.due, []

    def fails_once(shard: int, *args: Any, **named: Any) -> Any:
        asked.append(shard)
        found = real(shard, *args, **named)
        if found and len({*asked}) == len(asked) and not fails_once.failed:  # type: ignore[attr-defined]
            fails_once.failed = True  # type: ignore[attr-defined]
            raise LookupFailedError(THROTTLED)
        return found

    fails_once.failed = False  # type: ignore[attr-defined]
    world.ledger.due = fails_once  # type: ignore[method-assign]
    world.sweep()
    assert 0 < len(world.codes) < 6
    world.sweep()
    assert world.codes == ["OutcomeUnknown"] * 6


def test_sweep_starts_nothing_with_too_little_time() -> None:
    """Under 25 seconds left, what is due stays due."""
    world = World()
    world.unhealthy(world.node())
    world.deliver(Trouble(kill=Effect.CALL))
    world.skips(2 * MINUTE)
    world.sweep(Trouble(seconds=24))
    assert world.codes == []


def test_overlapping_sweeps_do_each_thing_once() -> None:
    """A second one comes before each write of the first."""
    for number in (1, 2, 3):
        world = World()
        node = world.node()
        world.alarm(node, "ALARM")
        world.deliver(Trouble(kill=Effect.RECORD))
        world.skips(31 * MINUTE)
        world.sweep(Trouble(writes={number: Write.RIVAL}, rival=world.sweep))
        world.passes(20 * MINUTE)
        assert world.reboots.count(node.instance) == 2
        assert len({letter.id for letter in world.letters}) == len(world.letters) == 1


def test_sweep_takes_what_is_due_in_its_order() -> None:
    """Entries to send, leases that ended, judgements, looks."""
    world = World()
    lost, sick, waits, looked = (world.node(number) for number in range(1, 5))
    world.unhealthy(looked)
    world.deliver()
    world.until("02:28:00")
    world.sagemaker.down["describe_cluster"] = throttled()
    world.remediator = world._build()
    world.unhealthy(waits)
    world.deliver()
    world.sagemaker.down.clear()
    world.unhealthy(lost)
    world.deliver(Trouble(kill=Effect.RECORD))
    sick.answers = ["Denied"]
    world.unhealthy(sick)
    world.deliver(Trouble(letters=Takes.NONE))
    world.skips(2 * MINUTE)
    before = len(world.changes)
    world.sweep()
    assert [letter.node for letter in world.letters] == [sick.instance, lost.instance]
    assert [change.node for change in world.changes[before:]] == [lost.instance, waits.instance]


def test_item_that_raises_is_put_off_up_to_an_hour_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long each time."""
    world = World()
    bad, good = world.node(1), world.node(2)
    for node in (bad, good):
        world.unhealthy(node)
    world.deliver(Trouble(kill=Effect.CALL))
    real = incidents.lapse

    def lapse(draft: Any) -> None:
        if draft.record.key.id == bad.instance:
            raise ZeroDivisionError
        real(draft)

    monkeypatch.setattr(incidents, "lapse", lapse)
    world.skips(2 * MINUTE)
    waits = []
    for _ in range(8):
        world.sweep()
        due = world.record(bad).due
        assert due
        waits.append((due - world.now) // MINUTE)
        world.skips(due - world.now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [letter.node for letter in world.letters] == [good.instance]
    monkeypatch.undo()
    world.sweep()
    assert len(world.letters) == 2


def test_sweeps_that_never_come_leave_reboots_to_the_messages() -> None:
    """Without sweeps no node is looked at; the next one catches up."""
    world = World()
    world.sweeps = None
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(5 * HOUR)
    assert (len(world.reboots), world.ends) == (1, [])
    world.sweep()
    assert len(world.reboots) == 2
    assert world.outside.sweeps[0][0] == pytest.approx((5 * HOUR - 15 * MINUTE).total_seconds())


def test_sweep_says_how_old_the_oldest_unsent_entry_is() -> None:
    """From when it was put into the outbox."""
    world = World()
    world.mode.value = "paused"
    world.unhealthy(world.node())
    world.deliver(Trouble(topic=Takes.NONE))
    world.skips(10 * MINUTE)
    world.sweep()
    assert world.outside.sweeps[-1][1] == 600


def test_unsent_entry_is_tried_again_longer_each_time() -> None:
    """30 seconds, a minute, and so on up to a quarter of an hour."""
    world = World()
    world.mode.value = "paused"
    world.outside.topic_takes = Takes.NONE
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    dues = []
    for _ in range(7):
        due = world.record(node).due
        assert due
        dues.append((due - world.now) // SECOND)
        world.skips(due - world.now)
        world.sweep()
    assert dues == [30, 60, 120, 240, 480, 900, 900]
