"""Following watched nodes: what is asked, how an end comes into the ledger, and which checks are sent."""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from node_remediation.awserrors import CallError
from node_remediation.checks import Checks
from node_remediation.cluster import NodeState
from node_remediation.deadletter import Origin
from node_remediation.examine import Examiner
from node_remediation.lookup import LookupFailedError
from node_remediation.model import ENDS, Alarm, Case, Check, Ending, IdKind, Node, NodeKey, Outcome, TryAgain
from node_remediation.record import Book, NodeRecord, Stage, Watch
from node_remediation.settings import Settings
from node_remediation.watching import Followed, Result, Watcher
from tests.unit.fakes import (
    DENIED,
    LOST,
    NOW,
    THROTTLED,
    FakeAlarms,
    FakeClusters,
    FakeIntake,
    FakeLedger,
    case,
    ending,
    instance_id,
)

MINUTE = timedelta(minutes=1)


def at(minutes: float) -> datetime:
    return NOW + minutes * MINUTE


TIME_OUT = at(45)


def key(number: int = 1) -> NodeKey:
    return NodeKey("ml-a", instance_id(number))


def node(number: int) -> Node:
    return Node(IdKind.NODE_ID, instance_id(number))


def watch(number: int = 1, **more: Any) -> Watch:
    """Of the reboot that `m-0-N` asked for at NOW, with its third check sent."""
    sent: dict[str, Any] = {"checks": 3, "next_at": at(45)}
    return Watch(f"m-0-{number}", Stage.REBOOTED, NOW, at(45), at(-1), **sent | more)


def check(number: int = 1, owner: str | None = None, **more: Any) -> Case:
    """The third check of a node."""
    return case(
        node(number),
        message_id=owner or f"m-c-{number}",
        time=at(-1),
        check=Check(f"m-0-{number}", 3, at(45)),
        **more,
    )


def healthy(number: int = 1) -> Case:
    return case(node(number), message_id=f"m-h-{number}", time=at(40), healthy=True)


@dataclass
class Desk:
    """A watcher between fakes, at the time-out of all that is watched."""

    clusters: FakeClusters = field(default_factory=FakeClusters)
    alarms: FakeAlarms = field(default_factory=FakeAlarms)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    intake: FakeIntake = field(default_factory=FakeIntake)
    now: datetime = TIME_OUT
    slept: list[float] = field(default_factory=list)
    followed: Followed = field(default_factory=Followed)
    book: Book = field(default_factory=Book)

    @property
    def watcher(self) -> Watcher:
        return Watcher(
            settings=Settings(),
            examiner=Examiner(clusters=self.clusters, alarms=self.alarms),
            ledger=self.ledger,
            checks=Checks(
                intake=self.intake,
                origin=Origin("111122223333", "us-west-2"),
                clock=lambda: self.now,
                new_id=lambda: UUID(int=1),
            ),
            clock=lambda: self.now,
            sleep=self.slept.append,
        )

    def knows(self, *watches: Watch | None, **more: Any) -> None:
        """The ledger has these watches, of node 1, 2, …"""
        for number, of in enumerate(watches, start=1):
            self.ledger.book.put(NodeRecord(key(number), 1, (NOW,), watch=of, **more))

    def follow(self, *cases: Case, may_call: Callable[[], bool] = lambda: True) -> Followed:
        self.book = self.ledger.load([each.key for each in cases if each.key], ())
        self.followed = self.watcher.follow(cases, self.book, may_call=may_call)
        return self.followed

    def end(self, *cases: Case, cleared: Sequence[Case] = ()) -> list[Result]:
        """What checks, and reports of health, come to once that is in the ledger."""
        followed = self.follow(*cases, *cleared)
        return self.watcher.end(followed.results, cleared, self.book, followed)

    def meanwhile(self, *each: Callable[[], None]) -> None:
        """What others do before the first, second, … write."""
        left = list(each)

        def act() -> None:
            if left:
                left.pop(0)()

        self.ledger.before_save = act

    def others(self, number: int = 1, **changes: Any) -> Callable[[], None]:
        """Another invocation writes a node's record."""

        def write() -> None:
            self.ledger.book.put(replace(self.record(number), **changes).written())

        return write

    def record(self, number: int = 1) -> NodeRecord:
        return self.ledger.book.node(key(number))


def said(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Whose result it is, and what; a case that comes again by its code."""
    return [(each.case.owner, each.outcome.value if isinstance(each, Ending) else each.code) for each in results]


# -- follow


def test_only_checks_are_decided() -> None:
    """Everything else goes on to the judgement, in its order."""
    desk = Desk()
    desk.knows(watch(1))
    first, last = case(node(2), message_id="m-2"), case(node(3), message_id="m-3")
    followed = desk.follow(first, check(), last)
    assert followed.to_judge == [first, last]
    assert said(followed.results) == [("m-c-1", "recovered")]


def test_alarms_of_a_batch_are_described_in_one_call() -> None:
    """Each once, and only those that a check needs."""
    desk = Desk()
    desk.knows(*(watch(number, alarm=f"a-{number % 2}") for number in range(1, 5)), watch(5), None)
    checks = [check(number, alarm=Alarm(f"a-{number % 2}")) for number in range(1, 5)]
    desk.follow(*checks, check(5, alarm=Alarm("b")), check(6, alarm=Alarm("c")))
    assert desk.alarms.asked == [["a-0", "a-1"]]


def test_batch_without_a_need_asks_nothing() -> None:
    """Most reports are no checks."""
    desk = Desk()
    desk.follow(case(alarm=Alarm("a")))
    assert (desk.alarms.asked, desk.clusters.nodes_asked) == ([], [])


@pytest.mark.parametrize("error", [THROTTLED, LOST])
def test_alarms_that_cannot_be_had_hold_up_only_the_checks_that_need_one(error: CallError) -> None:
    """One bad thing stays one bad thing."""
    desk = Desk(alarms=FakeAlarms(error=error))
    desk.knows(watch(1, alarm="a"), watch(2))
    followed = desk.follow(check(1, alarm=Alarm("a")), check(2))
    assert said(followed.results) == [("m-c-1", error.code), ("m-c-2", "recovered")]


def test_node_that_cannot_be_had_holds_up_only_its_own_check() -> None:
    """The others are looked at all the same."""

    class Half(FakeClusters):
        def node(self, cluster: str, node: Node) -> NodeState | None:
            self.node_error = THROTTLED if node.id == instance_id(1) else None
            return super().node(cluster, node)

    desk = Desk(clusters=Half())
    desk.knows(watch(1), watch(2))
    assert said(desk.follow(check(1), check(2)).results) == [
        ("m-c-1", "ThrottlingException"),
        ("m-c-2", "recovered"),
    ]


def test_check_that_there_is_no_time_for_comes_again() -> None:
    """Unless it can be decided without a look."""
    desk = Desk()
    desk.knows(watch(1), watch(2, well_at=at(9)))
    followed = desk.follow(check(1), check(2), may_call=lambda: False)
    assert said(followed.results) == [("m-c-1", "DeadlineExceeded"), ("m-c-2", "recovered")]
    assert desk.clusters.nodes_asked == []


# -- end


def test_end_is_in_the_ledger_before_it_is_a_result() -> None:
    """With who is to report it and why."""
    desk = Desk()
    desk.knows(watch(), unhealthy_at=at(-1))
    (result,) = desk.end(check())
    assert isinstance(result, Ending)
    of = desk.record().watch
    assert of
    assert (of.end, of.ended_by, of.reason) == (Outcome.RECOVERED, "m-c-1", result.reason)
    assert desk.ledger.saves == 1


def test_what_is_no_end_is_not_written() -> None:
    """Most checks wait, most reports of health end nothing."""
    desk = Desk(now=at(20))
    desk.knows(watch(), None)
    results = desk.end(check(), cleared=[healthy(2)])
    assert said(results) == [("m-c-1", "waiting")]
    assert desk.ledger.saves == 0


def test_report_of_health_is_an_end_beside_its_own_outcome() -> None:
    """It is cleared like any other, and the watch that it ends has recovered."""
    desk = Desk(now=at(41))
    desk.knows(watch(well_at=at(40)), healthy_at=at(40))
    assert said(desk.end(cleared=[healthy()])) == [("m-h-1", "recovered")]
    assert desk.record().watch == replace(
        watch(well_at=at(40)),
        end=Outcome.RECOVERED,
        ended_by="m-h-1",
        reason="reported healthy at 2026-11-23 02:54:07 UTC",
    )


@pytest.mark.parametrize("ended_by", ["m-9", "m-c-1"])
def test_end_that_another_invocation_wrote_first_is_the_one(ended_by: str) -> None:
    """Another message's is its own to tell; another delivery of this one decided for both."""
    desk = Desk()
    desk.clusters.states[instance_id(1)] = NodeState("Failure")
    desk.knows(watch())
    theirs = watch(end=Outcome.SUPERSEDED, ended_by=ended_by, reason="gone")
    desk.meanwhile(desk.others(watch=theirs))
    (result,) = desk.end(check())
    assert isinstance(result, Ending)
    assert result.outcome is (Outcome.SUPERSEDED if ended_by == "m-c-1" else Outcome.WAITING)
    assert desk.record().watch == theirs


def test_end_is_decided_again_by_what_was_written_first() -> None:
    """The node was reported healthy just then: it has recovered, whatever its status was a moment ago."""
    desk = Desk()
    desk.clusters.states[instance_id(1)] = NodeState("Failure")
    desk.knows(watch())
    desk.meanwhile(desk.others(watch=watch(well_at=at(44)), healthy_at=at(44)))
    (result,) = desk.end(check())
    assert isinstance(result, Ending)
    assert result.outcome is Outcome.RECOVERED
    of = desk.record().watch
    assert of
    assert (of.end, of.well_at) == (Outcome.RECOVERED, at(44))
    assert desk.slept


def test_end_of_a_watch_that_another_took_over_is_none() -> None:
    """The node was rebooted again meanwhile: that reboot has an end of its own."""
    desk = Desk()
    desk.clusters.states[instance_id(1)] = NodeState("Failure")
    desk.knows(watch())
    theirs = replace(watch(), id="m-9", since=at(44))
    desk.meanwhile(desk.others(watch=theirs))
    assert said(desk.end(check())) == [("m-c-1", "waiting")]
    assert desk.record().watch == theirs


def test_end_that_has_become_a_case_for_the_judgement_comes_again() -> None:
    """The node was reported unhealthy just then: it is not said to have recovered."""
    desk = Desk()
    desk.knows(watch())
    desk.meanwhile(desk.others(unhealthy_at=at(44)))
    assert said(desk.end(check())) == [("m-c-1", "LedgerBusy")]
    assert desk.record().watch == watch()


def test_end_that_a_report_of_health_brings_no_more_is_dropped() -> None:
    """A later report says that the node is ill again."""
    desk = Desk(now=at(41))
    desk.knows(watch(well_at=at(40)), healthy_at=at(40))
    desk.meanwhile(desk.others(unhealthy_at=at(41)))
    assert desk.end(cleared=[healthy()]) == []
    assert desk.record().watch == watch(well_at=at(40))


def test_end_that_others_keep_from_being_written_comes_again() -> None:
    """Not for ever: and nobody is told what is not in the ledger."""
    desk = Desk()
    desk.knows(watch())
    desk.meanwhile(*[desk.others(told={"x": NOW})] * 50)
    assert said(desk.end(check())) == [("m-c-1", "LedgerBusy")]
    assert len(desk.slept) < 20
    of = desk.record().watch
    assert of
    assert of.end is None


@pytest.mark.parametrize("order", [1, -1])
def test_two_ends_of_a_node_in_one_batch_are_one(order: int) -> None:
    """A check that was sent twice, and a report of health beside a check: who is first decides."""
    desk = Desk()
    desk.knows(watch(well_at=at(40)), healthy_at=at(40))
    checks = [check(owner="m-c-1"), check(owner="m-c-2")][::order]
    results = desk.end(*checks, cleared=[healthy()])
    ends = [each for each in results if isinstance(each, Ending) and each.outcome in ENDS]
    assert [each.case for each in ends] == [checks[0]]
    assert sorted(outcome for _, outcome in said(results)) == ["recovered", "waiting"]
    of = desk.record().watch
    assert of
    assert of.ended_by == checks[0].owner
    assert desk.ledger.saves == 1


def test_conflict_over_one_node_keeps_the_ends_of_the_others() -> None:
    """They are written together, and each is decided again by itself."""
    desk = Desk()
    desk.knows(*(watch(number) for number in range(1, 4)))
    desk.meanwhile(desk.others(2, watch=watch(2, end=Outcome.RECOVERED, ended_by="m-9")))
    results = desk.end(*(check(number) for number in range(1, 4)))
    assert sorted(said(results)) == [("m-c-1", "recovered"), ("m-c-2", "waiting"), ("m-c-3", "recovered")]
    for number in (1, 3):
        of = desk.record(number).watch
        assert of
        assert of.end is Outcome.RECOVERED


@pytest.mark.parametrize(("error", "outcome"), [(THROTTLED, "ThrottlingException"), (DENIED, "not_recovered")])
def test_end_that_cannot_be_written_is_not_told_as_if_it_were(error: CallError, outcome: str) -> None:
    """It comes again; a ledger that says no for good leaves nobody who knows better than that it did not come back."""
    desk = Desk()
    desk.knows(watch())
    desk.meanwhile(lambda: setattr(desk.ledger, "error", error))
    assert said(desk.end(check())) == [("m-c-1", outcome)]


def test_ledger_that_goes_down_after_a_conflict_hands_back() -> None:
    """What is there now cannot be read, so nothing is decided by it."""
    desk = Desk()
    desk.knows(watch())

    def write_and_fail() -> None:
        desk.others(told={"x": NOW})()
        desk.ledger.load = fail  # type: ignore[method-assign]

    def fail(nodes: Collection[NodeKey], clusters: Collection[str]) -> Book:
        raise LookupFailedError(THROTTLED)

    desk.meanwhile(write_and_fail)
    assert said(desk.end(check())) == [("m-c-1", "ThrottlingException")]


def test_ends_of_more_nodes_than_a_write_takes_are_all_written() -> None:
    """A hundred at a time."""
    desk = Desk()
    desk.knows(*(watch(number) for number in range(1, 251)))
    results = desk.end(*(check(number) for number in range(1, 251)))
    assert {outcome for _, outcome in said(results)} == {"recovered"}
    assert len(results) == 250
    assert desk.ledger.saves == 3


def test_ends_that_were_written_are_known_to_the_rest_of_the_batch() -> None:
    """Or settling would meet a version that it did not write."""
    desk = Desk()
    desk.knows(watch())
    desk.end(check())
    assert desk.book.node(key()) == desk.record()


# -- send_on


def waiting(number: int, **more: Any) -> Ending:
    return ending(check(number, **more), Outcome.WAITING, None)


def test_check_is_sent_once_a_node_with_its_delay() -> None:
    """Two outcomes of a node ask for one; each other node has its own."""
    desk = Desk(now=at(30))
    desk.knows(watch(1), watch(2))
    desk.book = desk.ledger.book
    endings = [waiting(1, owner="m-a"), waiting(1, owner="m-b"), waiting(2), ending(case(node(3)))]
    sent, late = desk.watcher.send_on(endings, desk.book, {})
    assert (set(sent), late) == ({key(1), key(2)}, {})
    assert [each.delay for each in desk.intake.checks] == [900, 900]
    bodies = [json.loads(each.body) for each in desk.intake.checks]
    assert [body["detail"]["NodeId"] for body in bodies] == [instance_id(1), instance_id(2)]
    assert {(body["account"], body["region"], body["detail"]["Round"]) for body in bodies} == {
        ("111122223333", "us-west-2", 4)
    }
    assert sent[key(1)].case is endings[0].case


def test_muted_alarms_are_each_looked_at_again() -> None:
    """They are of no node yet, so nothing makes two of them one."""
    desk = Desk(now=NOW)
    muted = [
        ending(case(message_id=f"m-{number}", muted="arn", muted_until=at(10)), Outcome.DEFERRED, None)
        for number in range(2)
    ]
    sent, late = desk.watcher.send_on(muted, desk.book, {})
    assert (sent, late) == ({}, {})
    assert [each.delay for each in desk.intake.checks] == [601, 601]


def test_nothing_to_send_calls_nobody() -> None:
    """As in most batches."""

    class Deaf(FakeIntake):
        def send(self, checks: Sequence[Any]) -> dict[int, str]:
            raise AssertionError("called for nothing")

    assert Desk(intake=Deaf()).watcher.send_on([ending()], Book(), {}) == ({}, {})


def test_check_that_was_not_taken_makes_its_message_late() -> None:
    """And only that one."""

    class Half(FakeIntake):
        def send(self, checks: Sequence[Any]) -> dict[int, str]:
            return {1: "intake queue: full"}

    desk = Desk(intake=Half(), now=at(30))
    desk.knows(watch(1), watch(2))
    _, late = desk.watcher.send_on([waiting(1), waiting(2)], desk.ledger.book, {})
    assert late == {"m-c-2": "intake queue: full"}


# -- judged, retried


def test_guards_no_to_a_check_is_weighed_by_what_was_seen() -> None:
    """The status that was asked for is in the reason."""
    desk = Desk()
    desk.knows(watch(), unhealthy_at=at(20))
    desk.clusters.states[instance_id(1)] = NodeState("Running", "busy")
    followed = desk.follow(check())
    (to_judge,) = followed.to_judge
    given_up = desk.watcher.judged(ending(to_judge, Outcome.REFUSED, "Paused", "paused"), desk.book, followed)
    assert given_up.outcome is Outcome.NOT_RECOVERED
    assert "status Running (busy)" in given_up.reason


def test_guards_no_to_a_report_stays() -> None:
    """It is no check."""
    refused = ending(outcome=Outcome.REFUSED, code="Paused")
    assert Desk().watcher.judged(refused, Book(), Followed()) is refused


def test_check_at_its_last_receive_that_cannot_look_has_not_recovered_in_the_ledger_either() -> None:
    """Or its node would stay watched with nothing under way."""
    desk = Desk(clusters=FakeClusters(node_error=THROTTLED))
    desk.knows(watch())
    (result,) = desk.end(check(receives=5))
    assert isinstance(result, Ending)
    assert result.outcome is Outcome.NOT_RECOVERED
    of = desk.record().watch
    assert of
    assert (of.end, of.ended_by) == (Outcome.NOT_RECOVERED, "m-c-1")
    (result,) = Desk(clusters=FakeClusters(node_error=THROTTLED), ledger=desk.ledger).end(check(owner="m-x"))
    assert not isinstance(result, TryAgain)
