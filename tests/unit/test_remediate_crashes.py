"""Promises 1 to 3 when the function is killed between any two steps, and when several run at once."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.cluster import Facts
from node_remediation.lookup import LookupFailedError
from node_remediation.model import Ending, Handling, Message, NodeKey, Outcome, Result
from node_remediation.reboot import Answer
from node_remediation.record import Book
from node_remediation.settings import Settings
from node_remediation.steps import Step, unwatched
from tests.unit.fakes import (
    LOST,
    NOW,
    THROTTLED,
    FakeClusters,
    FakeMode,
    FakeRebooter,
    World,
    health_event,
    instance_id,
    message,
    request,
)

HOUR = timedelta(hours=1)
# A batch of one call writes its claim, its answer and, where something was, that it was told.
WRITES = 3
ANSWERS = {
    "rebooted": (Result.REBOOTED, None, "", None),
    "failed": (Result.FAILED, "InstanceIdInUse", " The node is busy.\n", None),
    "lost": (Result.UNKNOWN, "OutcomeUnknown", "no usable answer", LOST),
    "throttled": (Result.NOT_CALLED, "ThrottlingException", "Rate exceeded", THROTTLED),
}
# What is killed here comes again after the topic was told, and before the ledger was.
TOLD_AND_NOT_SETTLED = (Step.SEND_ON, Step.SETTLE)
AFTER_RECORD = (Step.END, Step.DEAD_LETTER, Step.PUBLISH, *TOLD_AND_NOT_SETTLED, Step.ACKNOWLEDGE)


class KilledError(Exception):
    """Stands for SIGKILL: nothing of the function catches it."""


def answering(**kinds: str) -> FakeRebooter:
    """A SageMaker that answers so for nodes `n1`, `n2`, …; it starts every other reboot."""
    by_id = {instance_id(int(name[1:])): ANSWERS[kind] for name, kind in kinds.items()}
    return FakeRebooter(lambda _, node: Answer(node, *by_id[node.id]) if node.id in by_id else None)


def killing(at: Step, times: int = 1) -> Callable[[Step], None]:
    """Killed when about to take a step, the first `times` times."""
    left = iter(range(times))

    def on_step(step: Step) -> None:
        if step is at and next(left, None) is not None:
            raise KilledError(step)

    return on_step


def deliver(world: World, *messages: Message) -> Handling | None:
    """One delivery; None if the function was killed in it."""
    try:
        return world.handle(*messages)
    except KilledError:
        return None


def again(of: Message) -> Message:
    return replace(of, receives=of.receives + 1)


def told(world: World, node: int = 1) -> list[tuple[str, str | None, str]]:
    """What the topic was told of a node."""
    return [
        (each.outcome.value, each.code, each.reason)
        for each in world.reporter.reported
        if each.case.node and each.case.node.id == instance_id(node)
    ]


def spent(world: World) -> int:
    return world.ledger.book.budget("ml-a").spent(now=world.now, window=HOUR)


def reboots(world: World, node: int = 1) -> int:
    return len(world.ledger.book.node(NodeKey("ml-a", instance_id(node))).reboots)


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("kind", ["rebooted", "failed", "lost"])
def test_killed_at_any_step_ends_in_one_outcome_and_no_second_call(step: Step, kind: str) -> None:
    """Before the claim it is as if nothing had been; without a recorded answer it is unknown; with one it is told."""
    world = World(rebooter=answering(n1=kind), on_step=killing(step))
    first = message(health_event())
    assert deliver(world, first) is None
    world.later(seconds=70)
    handling = deliver(world, again(first))
    assert handling
    assert handling.handed_back == {}
    (ending,) = handling.endings
    _, code, reason, _ = ANSWERS[kind]
    if step in (Step.CALL, Step.RECORD):
        assert (ending.outcome, ending.code) == (Outcome.FAILED, "OutcomeUnknown")
    else:
        outcome = Outcome.REBOOTED if kind == "rebooted" else Outcome.FAILED
        assert (ending.outcome, ending.code) == (outcome, code)
        assert not reason or ending.reason == reason
    assert world.rebooter.rebooted == ([] if step is Step.CALL else [instance_id(1)])
    assert set(told(world)) == {(ending.outcome.value, ending.code, ending.reason)}
    # Whatever counts as a reboot of the node counts in the budget, and what SageMaker refused counts nowhere.
    assert reboots(world) == spent(world)
    assert reboots(world) == (0 if kind == "failed" and step not in (Step.CALL, Step.RECORD) else 1)


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("kind", ["rebooted", "failed", "lost"])
def test_what_was_reported_and_settled_is_not_reported_again(step: Step, kind: str) -> None:
    """A third delivery of the message says nothing and calls nothing, whatever became of the first two."""
    settings = Settings(notify_rebooted=True)
    world = World(settings=settings, rebooter=answering(n1=kind), on_step=killing(step))
    first = message(health_event())
    deliver(world, first)
    world.later(seconds=70)
    deliver(world, again(first))
    said, letters, ledger = told(world), len(world.reporter.letters), (reboots(world), spent(world))
    world.later(seconds=70)
    handling = deliver(world, again(again(first)))
    assert handling
    assert handling.handed_back == {}
    assert (told(world), len(world.reporter.letters)) == (said, letters)
    assert (reboots(world), spent(world)) == ledger
    assert len(world.rebooter.calls) <= 1
    assert len(said) == (2 if step in TOLD_AND_NOT_SETTLED else 1)


@pytest.mark.parametrize("step", Step)
def test_reboot_that_nobody_is_told_of_is_not_called_or_counted_again(step: Step) -> None:
    """Its claim is never marked as reported, for there was nothing to report."""
    world = World(on_step=killing(step))
    first = message(health_event())
    deliver(world, first)
    for _ in range(2):
        world.later(seconds=70)
        handling = deliver(world, again(first))
        assert handling
        assert handling.handed_back == {}
    assert len(world.rebooter.calls) == (0 if step is Step.CALL else 1)
    assert (reboots(world), spent(world)) == (1, 1)


@pytest.mark.parametrize("step", [Step.CALL, Step.RECORD])
def test_delivery_while_the_lease_runs_is_handed_back(step: Step) -> None:
    """The first may still be at work: not one word, not one call, until its time is up."""
    world = World(on_step=killing(step))
    first = message(health_event())
    deliver(world, first)
    calls = len(world.rebooter.calls)
    for _ in range(2):
        world.later(seconds=30)
        handling = deliver(world, again(first))
        assert handling
        assert list(handling.handed_back) == ["m-1"]
        assert handling.handed_back["m-1"].startswith("InProgress: ")
    assert (told(world), len(world.rebooter.calls)) == ([], calls)
    world.later(seconds=10)
    deliver(world, again(first))
    assert [code for _, code, _ in told(world)] == ["OutcomeUnknown"]


def test_message_with_an_answer_and_a_call_under_way_is_handed_back_whole() -> None:
    """A request for two nodes, killed in its second call: while that may go on, not even the first is ended."""
    taken: list[Step] = []

    def on_step(step: Step) -> None:
        taken.append(step)
        if taken.count(Step.RECORD) == 2:
            raise KilledError(step)

    world = World(on_step=on_step)
    first = message(request(instance_id(1), logical=["group-1"]))
    deliver(world, first)
    world.on_step = unwatched
    handling = deliver(world, again(first))
    assert handling
    assert list(handling.handed_back) == ["m-1"]
    assert world.reporter.reported == []
    world.later(seconds=70)
    handling = deliver(world, again(again(first)))
    assert handling
    assert [(each.outcome.value, each.code) for each in handling.endings] == [
        ("rebooted", None),
        ("failed", "OutcomeUnknown"),
    ]
    assert world.rebooter.rebooted == [instance_id(1), "group-1"]


@pytest.mark.parametrize("step", AFTER_RECORD)
def test_delivery_after_the_answer_was_recorded_waits_for_no_lease(step: Step) -> None:
    """What is known is told at once."""
    world = World(rebooter=answering(n1="failed"), on_step=killing(step))
    first = message(health_event())
    deliver(world, first)
    deliver(world, again(first))
    assert {code for _, code, _ in told(world)} == {"InstanceIdInUse"}
    assert world.reporter.letters[0].reason == " The node is busy.\n"


@pytest.mark.parametrize("step", Step)
def test_killed_at_the_same_step_each_time_ends_when_it_is_not(step: Step) -> None:
    """Four deliveries are killed and the fifth, the last, is not."""
    world = World(rebooter=answering(n1="failed"), on_step=killing(step, 4))
    delivery = message(health_event())
    for _ in range(4):
        deliver(world, delivery)
        world.later(seconds=70)
        delivery = again(delivery)
    assert delivery.receives == 5
    assert deliver(world, delivery)
    assert {outcome for outcome, *_ in told(world)} == {"failed"}
    assert len(world.rebooter.calls) <= 1


@pytest.mark.parametrize("step", AFTER_RECORD)
@pytest.mark.parametrize("mode", ["paused", "observe"])
def test_refusal_and_observation_are_told_at_least_once(step: Step, mode: str) -> None:
    """They claim nothing, so a redelivery judges again; once that they were told is written, it is a duplicate."""
    world = World(mode=FakeMode(mode), on_step=killing(step))
    first = message(health_event())
    deliver(world, first)
    handling = deliver(world, again(first))
    assert handling
    outcome = {"paused": Outcome.REFUSED, "observe": Outcome.OBSERVED}[mode]
    said = [each for each in world.reporter.reported if each.outcome is outcome]
    assert len(said) == (2 if step in TOLD_AND_NOT_SETTLED else 1)
    assert handling.endings[0].outcome is (Outcome.DUPLICATE if step is Step.ACKNOWLEDGE else outcome)
    assert (world.rebooter.calls, reboots(world), spent(world)) == ([], 0, 0)


def test_answer_is_not_settled_by_a_neighbours_claim() -> None:
    """Its report is on its way, another report of the node claims, and the function is killed: it is still told."""
    answers = iter([ANSWERS["failed"], ANSWERS["rebooted"]])
    world = World(rebooter=FakeRebooter(lambda _, node: Answer(node, *next(answers))))
    first, second = message(health_event(), id="a"), message(health_event(), id="b")
    world.on_step = killing(Step.DEAD_LETTER)
    deliver(world, first)
    world.on_step = killing(Step.CALL)
    deliver(world, again(first), second)
    world.on_step = unwatched
    deliver(world, again(again(first)))
    assert told(world) == [("failed", "InstanceIdInUse", " The node is busy.\n")]


def test_lost_claim_is_told_by_its_owner_if_that_is_there() -> None:
    """One outcome for what happened once: the other report of the node is a duplicate."""
    for order in (1, -1):
        world = World(on_step=killing(Step.RECORD))
        first = message(health_event(), id="a")
        deliver(world, first)
        world.later(minutes=2)
        batch = [again(first), message(health_event(), id="b", sent=world.now)][::order]
        handling = deliver(world, *batch)
        assert handling
        assert {each.case.message.id: (each.outcome.value, each.code) for each in handling.endings} == {
            "a": ("failed", "OutcomeUnknown"),
            "b": ("duplicate", None),
        }


def test_lost_claim_is_told_by_whoever_comes_if_its_owner_does_not() -> None:
    """Once: by the first report of the node; it counts as a reboot, and its owner finds it told."""
    world = World(on_step=killing(Step.RECORD))
    first = message(health_event(), id="a")
    deliver(world, first)
    world.later(minutes=2)
    handling = deliver(world, *(message(health_event(), id=each, sent=world.now) for each in "bc"))
    assert handling
    assert sorted((each.outcome.value, each.code or "") for each in handling.endings) == [
        ("duplicate", ""),
        ("failed", "OutcomeUnknown"),
    ]
    assert len(world.rebooter.calls) == 1
    said = len(told(world))
    owner = deliver(world, again(first))
    assert owner
    assert [(each.code, each.told) for each in owner.endings] == [("OutcomeUnknown", True)]
    assert len(told(world)) == said
    world.later(minutes=31)
    late = deliver(world, message(health_event(time=world.now.isoformat()), id="d", sent=world.now))
    assert late
    assert [each.outcome for each in late.endings] == [Outcome.REBOOTED]


def test_queue_or_topic_down_tells_the_recorded_answer_when_it_is_up() -> None:
    """Promise 3: the answer is kept until both have it, and nothing is called for it again."""
    for broken in ("letters_broken", "broken"):
        world = World(rebooter=answering(n1="failed"))
        setattr(world.reporter, broken, lambda _: True)
        delivery = message(health_event())
        for _ in range(3):
            handling = deliver(world, delivery)
            assert handling
            assert list(handling.handed_back) == ["m-1"]
            delivery = again(delivery)
        setattr(world.reporter, broken, lambda _: False)
        handling = deliver(world, delivery)
        assert handling
        assert handling.handed_back == {}
        assert len(world.rebooter.calls) == 1
        assert world.reporter.letters[-1].reason == " The node is busy.\n"
        assert told(world)[-1] == ("failed", "InstanceIdInUse", " The node is busy.\n")


def test_settling_that_fails_hands_back_what_was_told() -> None:
    """Said twice rather than not at all; at the last receive it is let go, for it is told."""
    for receives, handed_back in ((1, ["m-1"]), (5, [])):
        world = World(mode=FakeMode("paused"))
        world.ledger.before_save = lambda ledger=world.ledger: setattr(ledger, "error", THROTTLED)  # type: ignore[misc]
        handling = deliver(world, message(health_event(), receives=receives))
        assert handling
        assert list(handling.handed_back) == handed_back
        assert [code for _, code, _ in told(world)] == ["Paused"]


@given(
    kinds=st.lists(st.sampled_from(list(ANSWERS)), min_size=1, max_size=5),
    kills=st.lists(st.integers(0, 12), max_size=4),
    joined=st.booleans(),
    waits=st.lists(st.sampled_from([1, 70]), min_size=3, max_size=3),
)
def test_no_kill_loses_a_report_or_repeats_a_call(
    kinds: Sequence[str], kills: Sequence[int], joined: bool, waits: Sequence[int]
) -> None:
    """Killed after any number of steps, delivery after delivery, at any pace: at the fifth receive all is over."""
    world = World(rebooter=answering(**{f"n{n}": kind for n, kind in enumerate(kinds)}))
    events = [health_event(instance_id(n)) for n in range(len(kinds))]
    nodes = [instance_id(n) for n in range(len(kinds))]
    open_ = (
        [message(request(*nodes), id="m")] if joined else [message(event, id=f"m{n}") for n, event in enumerate(events)]
    )
    for receive in range(1, 6):
        steps: Iterator[int] = count()
        limit = kills[receive - 1] if receive <= len(kills) else None

        def on_step(step: Step, steps: Iterator[int] = steps, limit: int | None = limit) -> None:
            if limit is not None and next(steps) >= limit:
                raise KilledError(step)

        world.on_step = on_step
        handling = deliver(world, *open_) if open_ else None
        if handling:
            open_ = [each for each in open_ if each.id in handling.handed_back]
        open_ = [again(each) for each in open_]
        world.later(seconds=waits[receive - 1] if receive < 4 else 70)
    assert open_ == []
    for n, kind in enumerate(kinds):
        said = told(world, n)
        assert said
        assert {outcome for outcome, *_ in said} <= {"rebooted", "failed"}
        assert len({code for _, code, _ in said} - {"InProgress", "OutcomeUnknown"}) <= 1
        calls = world.rebooter.rebooted.count(instance_id(n))
        assert calls <= 1 or kind == "throttled"
        if kind == "rebooted" and calls:
            assert reboots(world, n) == 1
    assert sum(reboots(world, n) for n in range(len(kinds))) == spent(world)


def beside(world: World) -> World:
    """Another invocation of the same function, in the same surroundings."""
    return replace(world)


def meanwhile(world: World, at: int, act: Callable[[], object]) -> None:
    """Before the ledger's write number `at`, counted from 0, somebody else acts, once."""
    writes = count()

    def before_save() -> None:
        if next(writes) == at:
            world.ledger.before_save = lambda: None
            act()

    world.ledger.before_save = before_save


def all_endings(*handlings: Handling | None) -> list[Ending]:
    return [ending for handling in handlings if handling for ending in handling.endings]


@pytest.mark.parametrize("at", range(WRITES - 1))
def test_two_invocations_reboot_one_node_once(at: int) -> None:
    """Whichever of the first's writes the second comes before; each report has its outcome."""
    world = World()
    others: list[Handling] = []
    meanwhile(world, at, lambda: others.append(beside(world).handle(message(health_event(), id="b"))))
    mine = world.handle(message(health_event(), id="a"))
    assert world.rebooter.rebooted == [instance_id(1)]
    assert sorted(each.outcome.value for each in all_endings(mine, *others)) == ["duplicate", "rebooted"]
    assert (reboots(world), spent(world)) == (1, 1)


@pytest.mark.parametrize("at", range(WRITES - 1))
def test_two_invocations_never_both_spend_the_last_of_a_budget(at: int) -> None:
    """Ten nodes, so two reboots: of four reports two are rebooted, and the others are told the numbers."""
    clusters = FakeClusters(facts_of={"ml-a": Facts(nodes=10)})
    world = World(clusters=clusters)
    batches = [[message(health_event(instance_id(n)), id=f"m-{n}") for n in nodes] for nodes in ((1, 2), (3, 4))]
    others: list[Handling] = []
    meanwhile(world, at, lambda: others.append(beside(world).handle(*batches[1])))
    mine = world.handle(*batches[0])
    assert len(world.rebooter.rebooted) == 2
    endings = all_endings(mine, *others)
    assert sorted(each.outcome.value for each in endings) == ["rebooted"] * 2 + ["refused"] * 2
    refused = [each for each in endings if each.outcome is Outcome.REFUSED]
    assert {(each.code, each.reason) for each in refused} == {
        ("ClusterBudgetExceeded", "budget 2 of 10 nodes in 60m, 2 spent")
    }
    assert spent(world) == 2


def test_budget_that_was_spent_for_the_very_node_does_not_refuse_it() -> None:
    """Items are read one by one: another invocation claimed between the reads of the node and of the budget."""
    world = World(clusters=FakeClusters(facts_of={"ml-a": Facts(nodes=1)}), settings=Settings(budget_min_nodes=1))
    beside(world).handle(message(health_event(), id="b"))
    late = world.ledger.load
    reads = count()

    def skewed(nodes: Collection[NodeKey], clusters: Collection[str]) -> Book:
        return late((), clusters) if next(reads) == 0 else late(nodes, clusters)

    world.ledger.load = skewed  # type: ignore[method-assign]
    handling = world.handle(message(health_event(), id="a"))
    assert [(each.outcome.value, each.code) for each in handling.endings] == [("duplicate", None)]


def test_budget_that_is_spent_for_others_refuses_after_a_second_look() -> None:
    """Once, and each further report of the node in the batch is a duplicate of that."""
    world = World(clusters=FakeClusters(facts_of={"ml-a": Facts(nodes=1)}), settings=Settings(budget_min_nodes=1))
    beside(world).handle(message(health_event(instance_id(2)), id="b"))
    handling = world.handle(*(message(health_event(), id=each) for each in ("a", "c")))
    code = "ClusterBudgetExceeded"
    assert [(each.outcome.value, each.code) for each in handling.endings] == [("refused", code), ("duplicate", code)]


@pytest.mark.parametrize("at", range(WRITES))
def test_one_message_in_two_invocations_is_one_outcome(at: int) -> None:
    """SQS may deliver a message twice at once: one works, the other waits or finds it told."""
    world = World(rebooter=answering(n1="failed"))
    first = message(health_event())
    others: list[Handling] = []
    meanwhile(world, at, lambda: others.append(beside(world).handle(again(first))))
    mine = world.handle(first)
    assert world.rebooter.rebooted == [instance_id(1)]
    endings = all_endings(mine, *others)
    assert others
    assert {(each.outcome.value, each.code) for each in endings} == {("failed", "InstanceIdInUse")}
    assert 1 <= len(told(world)) <= 2
    for handling in others:
        assert handling.endings or handling.handed_back["m-1"].startswith("InProgress")
    assert (reboots(world), spent(world)) == (0, 0)


def test_answer_is_recorded_however_often_others_write() -> None:
    """Another invocation fails a node of the same cluster just then: both refunds are made."""
    world = World(rebooter=answering(n1="failed", n2="failed"))
    other = message(health_event(instance_id(2)), id="b")
    meanwhile(world, 1, lambda: beside(world).handle(other))
    world.handle(message(health_event(), id="a"))
    assert (reboots(world, 1), reboots(world, 2), spent(world)) == (0, 0, 0)
    assert [code for n in (1, 2) for _, code, _ in told(world, n)] == ["InstanceIdInUse"] * 2


def test_ledger_that_others_keep_writing_hands_back() -> None:
    """Not judged for ever: the messages come again, and nothing was called."""
    world = World()

    def spend() -> None:
        world.ledger.book.put(world.ledger.book.budget("ml-a").charged("other", at=NOW, nodes=1).written())

    world.ledger.before_save = spend
    handling = world.handle(message(health_event()))
    assert handling.handed_back["m-1"].startswith("LedgerBusy: ")
    assert world.rebooter.calls == []


def test_ledger_that_goes_down_between_two_judgements_hands_back() -> None:
    """Somebody else was first, and then nothing can be read: it is not judged by what was true before."""
    world = World()

    def act() -> None:
        world.ledger.book.put(world.ledger.book.budget("ml-a").charged("other", at=NOW, nodes=1).written())
        world.ledger.load = down  # type: ignore[method-assign]

    def down(nodes: Collection[NodeKey], clusters: Collection[str]) -> Book:
        raise LookupFailedError(THROTTLED)

    meanwhile(world, 0, act)
    handling = world.handle(message(health_event()))
    assert handling.handed_back == {"m-1": "ThrottlingException: Rate exceeded"}
    assert world.rebooter.calls == []
