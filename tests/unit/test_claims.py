"""Claim, call, record: what is written before a call and after it, and what happens when that cannot be written."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from uuid import uuid4

import pytest

from node_remediation.awserrors import CallError
from node_remediation.checks import Checks
from node_remediation.claims import Claimant, Round
from node_remediation.deadletter import Origin
from node_remediation.model import Case, Ending, IdKind, Node, NodeKey, Outcome, Result, TryAgain
from node_remediation.reboot import Answer, Answers
from node_remediation.record import Claim, NodeRecord, Stage, Watch
from node_remediation.settings import Settings
from node_remediation.steps import Step
from node_remediation.together import in_turn
from tests.unit.fakes import DENIED, LOST, NOW, THROTTLED, FakeIntake, FakeLedger, FakeRebooter, case, instance_id

DEFAULTS = Settings()
LEASE = NOW + timedelta(seconds=65)


def node(number: int) -> Node:
    return Node(IdKind.NODE_ID, instance_id(number))


def key(number: int) -> NodeKey:
    return NodeKey("ml-a", instance_id(number))


def sick(numbers: int | Sequence[int], receives: int = 1) -> list[Case]:
    """Reports of the nodes, each in a message of its own."""
    wanted = range(numbers) if isinstance(numbers, int) else numbers
    return [case(node(n), message_id=f"m-{n}", receives=receives) for n in wanted]


@dataclass
class Desk:
    """A claimant between a ledger and a rebooter that both are fakes."""

    ledger: FakeLedger = field(default_factory=FakeLedger)
    rebooter: FakeRebooter = field(default_factory=FakeRebooter)
    intake: FakeIntake = field(default_factory=FakeIntake)
    steps: list[Step] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    may_call: Callable[[], bool] = lambda: True
    settings: Settings = DEFAULTS

    def reboot(self, cases: Sequence[Case], *, is_last: bool = False) -> Round:
        ids = count()
        claimant = Claimant(
            settings=self.settings,
            ledger=self.ledger,
            rebooter=self.rebooter,
            checks=Checks(intake=self.intake, origin=Origin("1" * 12, "us-west-2"), clock=lambda: NOW, new_id=uuid4),
            together=in_turn,
            clock=lambda: NOW,
            new_id=lambda: f"call-{next(ids)}",
            sleep=self.slept.append,
            on_step=self.steps.append,
        )
        book = self.ledger.load([each.key for each in cases if each.key], ["ml-a"])
        return claimant.reboot("ml-a", cases, book, seconds_left=lambda: 60.0, may_call=self.may_call, is_last=is_last)

    def node(self, number: int) -> NodeRecord:
        return self.ledger.book.node(key(number))

    @property
    def spent(self) -> int:
        return self.ledger.book.budget("ml-a").spent(now=NOW, window=timedelta(hours=1))

    def before_save(self, *each: Callable[[], None]) -> None:
        """What happens before the first, second, … write; afterwards nothing does."""
        left = list(each)

        def act() -> None:
            if left:
                left.pop(0)()

        self.ledger.before_save = act

    def somebody_spends(self) -> None:
        """Another invocation writes the cluster's budget."""
        self.ledger.book.put(self.ledger.book.budget("ml-a").charged("other", at=NOW, nodes=1).written())

    def somebody_sees(self) -> None:
        """Another invocation writes node 0."""
        self.ledger.book.put(self.node(0).seen(healthy=True, time=NOW).written())

    def break_ledger(self, error: CallError | None = THROTTLED) -> None:
        self.ledger.error = error


def endings(turn: Round) -> list[tuple[str | None, str, str | None]]:
    """Node, outcome (or that it comes again) and code of each result."""
    return [
        (
            result.case.node.id if result.case.node else None,
            result.outcome.value if isinstance(result, Ending) else "again",
            result.code,
        )
        for result in turn.results
    ]


def test_claim_and_cost_are_written_before_the_call_and_the_answer_after() -> None:
    """Were the function killed in the call, the ledger would know who called and until when to wait."""
    desk = Desk()

    def look(_: str, called: Node) -> None:
        record = desk.ledger.book.node(NodeKey("ml-a", called.id))
        owner = f"m-{int(called.id[2:], 16)}"
        assert record.claims == {owner: Claim(NOW, LEASE)}
        assert record.reboots == (NOW,)
        assert desk.spent == 3

    desk.rebooter.answer = look
    turn = desk.reboot(sick(3))
    assert endings(turn) == [(instance_id(n), "rebooted", None) for n in range(3)]
    assert [desk.node(n).claims[f"m-{n}"].result for n in range(3)] == [Result.REBOOTED] * 3
    assert (desk.spent, turn.nodes_per_call, turn.unclaimed) == (3, [3], [])
    assert desk.steps == [Step.CLAIM, Step.CALL, Step.RECORD]
    assert desk.ledger.saves == 2


def test_each_call_is_claimed_by_itself() -> None:
    """No more than the 25 nodes of a call are held at once."""
    desk = Desk()
    desk.reboot(sick(60))
    assert desk.steps == [Step.CLAIM, Step.CALL, Step.RECORD] * 3
    assert [nodes for _, nodes in desk.ledger.book.budget("ml-a").spends.values()] == [25, 25, 10]


def test_node_that_somebody_else_claimed_first_is_left_unclaimed() -> None:
    """Nothing is called, and nothing of the write is left: the reports are judged again."""
    desk = Desk()
    cases = sick(3)
    desk.before_save(lambda: desk.ledger.book.put(desk.node(1).claimed("x", at=NOW, lease_until=LEASE).written()))
    turn = desk.reboot(cases)
    assert (turn.unclaimed, turn.results, desk.rebooter.calls) == (cases, [], [])
    assert desk.node(0) == NodeRecord(key(0))
    assert desk.spent == 0


def test_budget_that_somebody_else_spent_first_leaves_everything_unclaimed() -> None:
    """Of two that spend the last of it, one reads again; what was called before stays called."""
    desk = Desk()
    cases = sick(60)
    nothing = lambda: None  # noqa: E731
    desk.before_save(nothing, nothing, desk.somebody_spends)
    turn = desk.reboot(cases)
    assert endings(turn) == [(instance_id(n), "rebooted", None) for n in range(25)]
    assert turn.unclaimed == cases[25:]
    assert desk.spent == 26
    assert len(desk.rebooter.calls) == 1


@pytest.mark.parametrize(("error", "what"), [(THROTTLED, "again"), (LOST, "again"), (DENIED, "failed")])
def test_ledger_that_is_down_before_the_claim_lets_nothing_be_called(error: CallError, what: str) -> None:
    """Not even other calls of the cluster; passing trouble comes again, a no fails the nodes in AWS's words."""
    desk = Desk()
    desk.before_save(lambda: desk.break_ledger(error))
    turn = desk.reboot(sick(30))
    assert endings(turn) == [(instance_id(n), what, error.code) for n in range(30)]
    assert desk.rebooter.calls == []
    assert desk.ledger.saves == 0


@pytest.mark.parametrize("result", [Result.REBOOTED, Result.FAILED, Result.UNKNOWN])
def test_answer_that_cannot_be_recorded_comes_again(result: Result) -> None:
    """It is not reported while the ledger does not have it: a redelivery would say something else."""
    desk = Desk()
    desk.rebooter.answer = lambda _, called: Answer(called, result, "C", "words")
    desk.before_save(lambda: None, desk.break_ledger)
    turn = desk.reboot(sick(2))
    assert endings(turn) == [(instance_id(n), "again", "ThrottlingException") for n in range(2)]
    assert len(desk.rebooter.calls) == 1
    assert desk.node(0).claims["m-0"] == Claim(NOW, LEASE)


@pytest.mark.parametrize(
    ("result", "outcome", "code"),
    [(Result.REBOOTED, "rebooted", None), (Result.FAILED, "failed", "C"), (Result.UNKNOWN, "failed", "C")],
)
def test_answer_that_cannot_be_recorded_is_told_at_the_last_receive(
    result: Result, outcome: str, code: str | None
) -> None:
    """There is no next time: people get what SageMaker said."""
    desk = Desk()
    desk.rebooter.answer = lambda _, called: Answer(called, result, "C", "words")
    desk.before_save(lambda: None, desk.break_ledger)
    turn = desk.reboot([*sick([0], receives=5), *sick([1], receives=4)])
    assert endings(turn) == [(instance_id(0), outcome, code), (instance_id(1), "again", "ThrottlingException")]


def test_answer_is_recorded_over_what_others_wrote_meanwhile() -> None:
    """As often as it takes: their writes stay, and the refund is made once."""
    desk = Desk()
    results = {instance_id(0): Result.FAILED, instance_id(1): Result.REBOOTED}
    desk.rebooter.answer = lambda _, called: Answer(called, results[called.id], "C", "words")
    desk.before_save(lambda: None, desk.somebody_spends, desk.somebody_sees, desk.somebody_spends)
    turn = desk.reboot(sick(2))
    assert endings(turn) == [(instance_id(0), "failed", "C"), (instance_id(1), "rebooted", None)]
    assert (desk.node(0).reboots, desk.node(1).reboots) == ((), (NOW,))
    assert desk.node(0).healthy_at == NOW
    assert desk.node(0).claims["m-0"] == Claim(NOW, LEASE, Result.FAILED, "C", "words")
    assert dict(desk.ledger.book.budget("ml-a").spends) == {"call-0": (NOW, 1), "other": (NOW, 1)}
    assert len(desk.slept) == 3


def test_answer_that_others_keep_from_being_recorded_comes_again() -> None:
    """After eight tries it is the ledger that is busy."""
    desk = Desk()
    desk.before_save(lambda: None, *[desk.somebody_sees] * 8)
    assert endings(desk.reboot(sick(1))) == [(instance_id(0), "again", "LedgerBusy")]


def test_ledger_that_is_down_when_the_answer_is_read_again_comes_again() -> None:
    """The first write met somebody else's, and then nothing could be read."""
    desk = Desk()
    desk.before_save(lambda: None, desk.somebody_sees)
    desk.slept = _Then(desk.break_ledger)
    assert endings(desk.reboot(sick(1))) == [(instance_id(0), "again", "ThrottlingException")]
    assert desk.node(0).claims["m-0"].result is None


class _Then(list[float]):
    """A list that does something when it is appended to."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def append(self, value: float) -> None:
        super().append(value)
        self._act()


def test_node_that_was_not_called_gives_claim_and_budget_back() -> None:
    """Throttled: it is as if it had never been claimed, and its message comes again with AWS's code."""
    desk = Desk()
    desk.ledger.book.put(NodeRecord(key(0), 3, reboots=(NOW - timedelta(hours=9),)))
    desk.rebooter.answer = lambda _, called: Answer(
        called, Result.NOT_CALLED, "ThrottlingException", "Rate exceeded", THROTTLED
    )
    turn = desk.reboot(sick(2))
    assert endings(turn) == [(instance_id(n), "again", "ThrottlingException") for n in range(2)]
    assert (desk.node(0).reboots, desk.node(0).claims) == ((NOW - timedelta(hours=9),), {})
    assert (desk.node(1).reboots, desk.node(1).claims) == ((), {})
    assert (desk.spent, dict(desk.ledger.book.budget("ml-a").spends)) == (0, {})


def test_answers_of_one_call_are_each_recorded_for_what_they_are() -> None:
    """Only what was, or may have been, rebooted costs anything."""
    desk = Desk()
    results = [Result.REBOOTED, Result.FAILED, Result.UNKNOWN, Result.NOT_CALLED]
    desk.rebooter.answer = lambda _, called: Answer(called, results[int(called.id[2:], 16)], "C", "words")
    turn = desk.reboot(sick(4))
    assert endings(turn) == [
        (instance_id(0), "rebooted", None),
        (instance_id(1), "failed", "C"),
        (instance_id(2), "failed", "C"),
        (instance_id(3), "again", "C"),
    ]
    assert [len(desk.node(n).reboots) for n in range(4)] == [1, 0, 1, 0]
    assert [[claim.result for claim in desk.node(n).claims.values()] for n in range(4)] == [
        [Result.REBOOTED],
        [Result.FAILED],
        [Result.UNKNOWN],
        [],
    ]
    assert desk.spent == 2


@pytest.mark.parametrize(
    ("result", "cause", "what", "spent"),
    [(Result.UNKNOWN, LOST, "failed", 25), (Result.NOT_CALLED, THROTTLED, "again", 0)],
)
def test_call_without_an_answer_stops_the_clusters_calls(
    result: Result, cause: CallError, what: str, spent: int
) -> None:
    """A lost answer counts; what was not called comes again with the error that kept it from being called."""
    desk = Desk()
    desk.rebooter.answer = lambda _, called: Answer(called, result, "Code", "words", cause)
    turn = desk.reboot(sick(60))
    assert len(desk.rebooter.calls) == 1
    assert [what_ for _, what_, _ in endings(turn)] == [what] * 25 + ["again"] * 35
    rest = turn.results[25:]
    assert {(result.code, result.reason) for result in rest} == {(cause.code, f"not called yet: {cause.message}")}
    assert desk.spent == spent
    assert all(desk.node(n) == NodeRecord(key(n)) for n in range(25, 60))


def test_answer_for_some_nodes_does_not_stop_the_others() -> None:
    """One half of a halved call was lost: SageMaker answers."""
    desk = Desk()
    desk.rebooter.answer = lambda _, called: (
        Answer(called, Result.UNKNOWN, "OutcomeUnknown", "lost", LOST) if called == node(3) else None
    )
    desk.reboot(sick(60))
    assert len(desk.rebooter.calls) == 3


def test_nodes_that_there_is_no_time_for_come_again_unclaimed() -> None:
    """Before the first call, or between two."""
    desk = Desk(may_call=iter([True, True, False]).__next__)
    turn = desk.reboot(sick(30))
    assert [code for *_, code in endings(turn)] == [None] * 25 + ["DeadlineExceeded"] * 5
    assert all(desk.node(n).claims == {} for n in range(25, 30))
    late = Desk(may_call=lambda: False)
    assert endings(late.reboot(sick(2))) == [(instance_id(n), "again", "DeadlineExceeded") for n in range(2)]
    assert late.steps == []


def test_failure_of_a_node_that_was_not_asked_for_goes_with_the_call() -> None:
    """Every entry of Failed reaches people; the nodes that were asked for have their own answers."""
    stranger = Node(IdKind.NODE_ID, instance_id(66))

    @dataclass
    class Chatty(FakeRebooter):
        def reboot(self, cluster: str, nodes: Sequence[Node], *, may_call: Callable[[], bool]) -> Answers:
            known = super().reboot(cluster, nodes, may_call=may_call)
            return Answers([*known.answers, Answer(stranger, Result.FAILED, "C", "who?")], known.nodes_per_call)

    desk = Desk(rebooter=Chatty())
    turn = desk.reboot(sick(2))
    assert endings(turn) == [
        (instance_id(0), "rebooted", None),
        (instance_id(1), "rebooted", None),
        (stranger.id, "failed", "C"),
    ]
    assert desk.spent == 2
    assert key(66) not in desk.ledger.book.nodes


def test_one_id_known_by_two_keys_is_called_once_and_both_reports_end() -> None:
    """SageMaker came to know the instance behind a logical ID between two reports of a batch."""
    logical = Node(IdKind.LOGICAL_ID, "group-1")
    cases = [case(logical, message_id="a"), case(logical, message_id="b", instance_id=instance_id(1))]
    desk = Desk()
    turn = desk.reboot(cases)
    assert desk.rebooter.rebooted == ["group-1"]
    assert sorted(
        (result.case.message.id, result.outcome) for result in turn.results if isinstance(result, Ending)
    ) == [
        ("a", Outcome.REBOOTED),
        ("b", Outcome.DUPLICATE),
    ]
    assert not any(isinstance(result, TryAgain) for result in turn.results)
    assert desk.spent == 1


@pytest.mark.parametrize(
    ("result", "notify", "watched", "told"),
    [
        (Result.REBOOTED, False, True, False),
        (Result.REBOOTED, True, True, True),
        (Result.UNKNOWN, False, True, True),
        (Result.FAILED, False, False, False),
        (Result.NOT_CALLED, False, False, False),
    ],
)
def test_answer_opens_the_watch_of_what_was_or_may_have_been_rebooted(
    result: Result, notify: bool, watched: bool, told: bool
) -> None:
    """In the write that records it, from the claim on, with its first check and what people are about to be told."""
    desk = Desk(settings=Settings(notify_rebooted=notify))
    desk.rebooter.answer = lambda _, called: Answer(called, result, "C", "words")
    desk.reboot(sick(1))
    until = NOW + timedelta(minutes=45)
    due = NOW + timedelta(minutes=15)
    expected = Watch("m-0", Stage.REBOOTED, NOW, until, NOW, checks=1, next_at=due, told=told) if watched else None
    assert desk.node(0).watch == expected


def _answers_of_each_kind(_: str, called: Node) -> Answer:
    result = list(Result)[int(called.id[-1])]
    return Answer(called, result, "C", "words")


def test_first_checks_of_the_last_call_are_sent_beside_its_record() -> None:
    """Of what was or may have been rebooted, and of nothing else; each is the one that the ledger names."""
    desk = Desk()
    desk.rebooter.answer = _answers_of_each_kind
    assert list(Result) == [Result.REBOOTED, Result.FAILED, Result.UNKNOWN, Result.NOT_CALLED]
    turn = desk.reboot(sick(4), is_last=True)
    assert set(turn.sent) == {key(0), key(2)}
    assert [(json.loads(check.body)["detail"]["NodeId"], check.delay) for check in desk.intake.checks] == [
        (instance_id(0), 900),
        (instance_id(2), 900),
    ]
    assert all(desk.node(n).watch == turn.sent[key(n)].watch for n in (0, 2))


def test_only_the_last_of_several_calls_sends_its_checks_by_itself() -> None:
    """The others' go with all that the batch sends at its end."""
    desk = Desk()
    assert set(desk.reboot(sick(30), is_last=True).sent) == {key(n) for n in range(25, 30)}
    assert desk.reboot(sick([40]), is_last=False).sent == {}
    assert len(desk.intake.checks) == 5


def test_check_that_is_not_taken_is_left_to_the_end_of_the_batch() -> None:
    """It is not among those that were sent; the answers are recorded all the same."""
    desk = Desk()
    desk.intake.down = True
    assert desk.reboot(sick(1), is_last=True).sent == {}
    assert desk.node(0).claims["m-0"].result is Result.REBOOTED


def test_answer_that_cannot_be_recorded_comes_again_although_its_check_is_sent() -> None:
    """The check will find no watch, and end."""
    desk = Desk()
    desk.before_save(lambda: None, desk.break_ledger)
    turn = desk.reboot(sick(1), is_last=True)
    assert endings(turn) == [(instance_id(0), "again", "ThrottlingException")]
    assert len(desk.intake.checks) == 1


def test_answer_that_is_no_reboot_leaves_an_earlier_watch_as_it_was() -> None:
    """The reboot before it is still waited for."""
    earlier = Watch("m-9", Stage.REBOOTED, NOW - timedelta(hours=1), NOW + timedelta(minutes=5), NOW)
    for result in (Result.FAILED, Result.NOT_CALLED):
        desk = Desk()
        desk.ledger.book.put(NodeRecord(key(0), 1, watch=earlier))
        desk.rebooter.answer = lambda _, called, result=result: Answer(called, result, "C", "words")  # type: ignore[misc]
        desk.reboot(sick(1))
        assert desk.node(0).watch == earlier
