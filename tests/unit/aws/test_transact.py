"""Optimistic writes: decided again after a conflict, halved after a refusal, and never made twice.

Decisions count: each adds one to its nodes' records and charges the budget for each node.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_remediation.aws.errors import CallError, LookupFailedError
from node_remediation.aws.ledger import MOST_WRITTEN, ConflictError, Transacted, budget_pk, node_pk, transact
from node_remediation.model import NodeKey
from node_remediation.policy.record import Book, Budget, NodeRecord, Record
from tests.fakes import DENIED, LOST, THROTTLED, MemoryLedger, lost, refused

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
Group = tuple[NodeKey, ...]


def key(number: int) -> NodeKey:
    return NodeKey("ml-a", f"i-{number:017x}")


def keys(count: int) -> list[Group]:
    return [(key(number),) for number in range(count)]


@dataclass(frozen=True)
class Decision:
    """The records to write, and the nodes that they count for."""

    records: Sequence[Record]
    nodes: tuple[NodeKey, ...] = ()


@dataclass
class Desk:
    """A ledger and all that a transaction is given; faults are raised by the ledger's hooks."""

    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    decisions: list[Sequence[Group]] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    may_start: Callable[[], bool] = lambda: True

    def decide(self, book: Book, part: Sequence[Group]) -> Decision:
        self.decisions.append(part)
        nodes = [each for group in part for each in group]
        counted = [replace(book.node(each), put_off=book.node(each).put_off + 1) for each in nodes]
        return Decision((*counted, book.budget("ml-a").charged(NOW, len(part))), tuple(nodes))

    def run(
        self,
        nodes: Sequence[Group],
        *,
        book: Book | None = None,
        decide: Callable[[Book, Sequence[Group]], Decision] | None = None,
    ) -> Transacted[Decision]:
        def jitter(least: float, most: float) -> float:
            self.waits.append((least, most))
            return most

        return transact(
            self.ledger,
            nodes=nodes,
            cluster="ml-a",
            book=Book() if book is None else book,
            decide=decide or self.decide,
            clock=lambda: NOW,
            may_start=self.may_start,
            sleep=lambda _: None,
            jitter=jitter,
        )

    def rival(self, *nodes: NodeKey) -> None:
        """Write these nodes and the budget as another invocation does, past the hooks."""
        other = MemoryLedger(items=self.ledger.items)
        book = other.load(nodes, ["ml-a"])
        plan = Desk().decide(book, [(each,) for each in nodes])
        budget = book.budget("ml-a").charged(NOW, max(1, len(nodes)))
        other.save([*plan.records[:-1], budget], now=NOW, token=uuid4().hex)

    @property
    def stored(self) -> Book:
        """The book as it is in the table, past the hooks."""
        return MemoryLedger(items=self.ledger.items).load([key(number) for number in range(300)], ["ml-a"])

    def counts(self, nodes: Iterable[Group]) -> list[int]:
        return [self.stored.node(each).put_off for group in nodes for each in group]

    @property
    def spent(self) -> int:
        return self.stored.budget("ml-a").spent(now=NOW, window=timedelta(hours=1))


def times(count: int, effect: Callable[[], None]) -> Callable[[Sequence[Record]], None]:
    """Return a hook with an effect on the first calls only."""
    left = [effect] * count

    def hook(_: Sequence[Record]) -> None:
        if left:
            left.pop()()

    return hook


def raising(error: Exception) -> Callable[[], None]:
    def effect() -> None:
        raise error

    return effect


def test_decision_is_saved_in_one_transaction() -> None:
    """All nodes and the budget; the book is as the ledger is then."""
    desk = Desk()
    done = desk.run(keys(40))
    (written,) = desk.ledger.writes
    assert len(written) == 41
    assert [plan.nodes for plan in done.plans] == [tuple(key(number) for number in range(40))]
    assert done.failed == {}
    assert done.book == desk.stored
    assert (done.book.node(key(0)).version, desk.spent) == (1, 40)


def test_decision_without_records_writes_nothing() -> None:
    """It is a plan all the same."""
    desk = Desk()
    done = desk.run(keys(2), decide=lambda _book, _part: Decision(()))
    assert done.plans == [Decision(())]
    assert (desk.ledger.writes, done.failed) == ([], {})


def test_no_nodes_are_nothing_to_decide() -> None:
    """Neither a plan nor a write."""
    desk = Desk()
    assert desk.run([]) == Transacted([], Book(), {})
    assert desk.decisions == []


def test_conflict_is_decided_again_with_what_the_other_wrote() -> None:
    """Only what was read can be written over; only the last decision counts."""
    desk = Desk()
    desk.ledger.before_save = times(3, lambda: desk.rival(key(0)))
    done = desk.run(keys(2))
    assert len(done.plans) == 1
    assert len(desk.decisions) == 4
    assert desk.counts(keys(2)) == [4, 1]
    assert desk.spent == 3 + 2
    assert done.book == desk.stored


def test_waits_after_conflicts_double_up_to_a_second_with_full_jitter() -> None:
    """Rivals that met once must not meet again."""
    desk = Desk()
    desk.ledger.before_save = times(7, lambda: desk.rival(key(0)))
    desk.run(keys(1))
    assert desk.waits == [(0, most) for most in (0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0)]


def test_nodes_fail_as_ledger_busy_when_others_always_come_first() -> None:
    """After twelve tries; their neighbours in another part are not touched."""
    desk = Desk()
    desk.ledger.before_save = times(12, lambda: desk.rival(key(0)))
    nodes = keys(MOST_WRITTEN)
    done = desk.run(nodes)
    assert {error.code for error in done.failed.values()} == {"LedgerBusy"}
    assert all(error.passing for error in done.failed.values())
    assert set(done.failed) == {each for group in nodes[:-1] for each in group}
    assert len(desk.decisions) == 12 + 2  # the next part meets the budget that the rivals left
    assert desk.counts(nodes[1:]) == [0] * 98 + [1]


def test_without_time_nothing_is_decided() -> None:
    """The nodes fail for a passing reason: their messages come again."""
    desk = Desk(may_start=lambda: False)
    done = desk.run(keys(2))
    assert {error.code for error in done.failed.values()} == {"DeadlineExceeded"}
    assert all(error.passing for error in done.failed.values())
    assert desk.decisions == []


def test_time_that_runs_out_between_tries_ends_them() -> None:
    """The conflict is the reason."""
    allowed = iter([True, True])
    desk = Desk(may_start=lambda: next(allowed, False))
    desk.ledger.before_save = times(9, lambda: desk.rival(key(0)))
    done = desk.run(keys(1))
    assert done.failed[key(0)].code == "LedgerBusy"
    assert len(desk.decisions) == 2


# -- refusals


@settings(max_examples=40)
@given(count=st.integers(1, 30), data=st.data())
def test_nodes_that_dynamodb_refuses_fail_alone(count: int, data: st.DataObject) -> None:
    """Each other node is saved once, the first given first, and so charged to the budget, which goes with each part."""
    bad = data.draw(st.sets(st.integers(0, count - 1)))
    desk = Desk()

    def before_save(records: Sequence[Record]) -> None:
        if {key(number) for number in bad} & {record.key for record in records if isinstance(record, NodeRecord)}:
            raise refused()

    desk.ledger.before_save = before_save
    done = desk.run(keys(count))
    assert set(done.failed) == {key(number) for number in bad}
    assert all(not error.passing for error in done.failed.values())
    assert desk.counts(keys(count)) == [int(number not in bad) for number in range(count)]
    assert desk.spent == count - len(bad)
    planned = [each for plan in done.plans for each in plan.nodes]
    assert planned == [key(number) for number in range(count) if number not in bad]
    assert all(any(isinstance(record, Budget) for record in written) for written in desk.ledger.writes)
    assert done.book == desk.stored


def test_keys_of_one_node_are_never_parted() -> None:
    """Both records of a node that was known by two IDs are written or refused together."""
    groups: list[Group] = [(key(number), NodeKey("ml-a", f"logical-{number}")) for number in range(4)]
    desk = Desk()

    def before_save(records: Sequence[Record]) -> None:
        if key(2) in {record.key for record in records if isinstance(record, NodeRecord)}:
            raise refused()

    desk.ledger.before_save = before_save
    done = desk.run(groups)
    assert set(done.failed) == set(groups[2])
    assert all(part in (groups, groups[:2], groups[2:], groups[2:3], groups[3:]) for part in desk.decisions)


def test_refused_budget_fails_all_at_once() -> None:
    """Nothing is halved: each part would have to carry it, so no node may be called."""
    desk = Desk()
    desk.ledger.before_save = lambda _: raising(refused(of_budget=True))()
    done = desk.run(keys(30))
    assert set(done.failed) == {each for group in keys(30) for each in group}
    assert (len(desk.decisions), desk.spent) == (1, 0)


@pytest.mark.parametrize("error", [THROTTLED, DENIED])
def test_trouble_that_no_item_causes_fails_the_part_without_halving(error: CallError) -> None:
    """Smaller writes would meet the same."""
    desk = Desk()
    desk.ledger.before_save = times(1, raising(LookupFailedError(error)))
    nodes = keys(MOST_WRITTEN + 20)
    done = desk.run(nodes)
    assert done.failed == {each: error for group in nodes[: MOST_WRITTEN - 1] for each in group}
    assert desk.counts(nodes[MOST_WRITTEN - 1 :]) == [1] * 21
    assert len(desk.decisions) == 2


def test_more_nodes_than_a_transaction_takes_are_written_in_parts() -> None:
    """A hundred items with the budget's; each part's budget has the spends of those before it."""
    desk = Desk()
    groups: list[Group] = [(key(number), key(number + 100)) for number in range(100)]
    done = desk.run(groups)
    assert [len(written) for written in desk.ledger.writes] == [99, 99, 5]
    assert len(done.plans) == 3
    assert desk.counts(groups) == [1] * 200
    assert desk.spent == 100


# -- lost answers


def test_lost_answer_of_a_write_that_was_made_is_found_out() -> None:
    """It counts as saved: the plan is the one that was written, and nothing is decided again."""
    desk = Desk()
    desk.ledger.after_save = times(1, raising(lost()))
    done = desk.run(keys(3))
    assert [plan.nodes for plan in done.plans] == [tuple(key(number) for number in range(3))]
    assert desk.counts(keys(3)) == [1, 1, 1]
    assert (len(desk.decisions), desk.spent) == (1, 3)
    assert done.book == desk.stored


def test_write_that_was_not_made_and_whose_answer_is_lost_is_made_later() -> None:
    """It is the same write, and nothing is decided again."""
    desk = Desk()
    desk.ledger.before_save = times(2, raising(lost()))
    done = desk.run(keys(3))
    assert desk.counts(keys(3)) == [1, 1, 1]
    assert (len(desk.decisions), desk.spent, done.failed) == (1, 3, {})


@pytest.mark.parametrize("trouble", ["a rival", "no reading"])
def test_lost_answer_is_found_out_without_reading(trouble: str) -> None:
    """A rival has written over all of it since, or the ledger cannot be read: the first plan is saved, once."""
    desk = Desk()

    def lose(_: Sequence[Record]) -> None:
        desk.ledger.after_save = lambda _: None
        if trouble == "a rival":
            desk.rival(key(0))
        else:
            desk.ledger.before_load = raising(LookupFailedError(THROTTLED))
        raise lost()

    desk.ledger.after_save = lose
    done = desk.run(keys(1))
    assert (len(done.plans), len(desk.decisions), done.failed) == (1, 1, {})
    assert desk.counts(keys(1)) == [2 if trouble == "a rival" else 1]


def test_write_that_arrives_after_it_was_given_up_is_found_out() -> None:
    """It beats the next decision's: what is saved is the first, whichever of its records is left."""
    sent: list[tuple[str, Sequence[Record]]] = []

    class Late(MemoryLedger):
        def save(self, records: Sequence[Record], *, now: datetime, token: str) -> Sequence[Record]:
            sent.append((token, records))
            if len(sent) <= 2:
                raise (lost(), ConflictError())[len(sent) - 1]
            super().save(sent[0][1], now=now, token=sent[0][0])
            desk.rival()
            return super().save(records, now=now, token=token)

    desk = Desk(Late())
    done = desk.run(keys(2))
    assert desk.counts(keys(2)) == [1, 1]
    assert (len(done.plans), len(desk.decisions), desk.spent) == (1, 2, 3)
    assert done.book == desk.stored


def test_write_whose_answers_are_all_lost_fails_the_part() -> None:
    """Whether it was made is not known then; it was made at most once."""
    desk = Desk()
    desk.ledger.after_save = lambda _: raising(lost())()
    done = desk.run(keys(2))
    assert done.failed == dict.fromkeys([key(0), key(1)], LOST)
    assert (desk.counts(keys(2)), done.plans) == ([1, 1], [])


FAULTS = ("none", "rival", "lost before", "lost after", "lost after, then a rival", "throttled", "refused")


@given(st.integers(1, 5), st.lists(st.sampled_from(FAULTS), max_size=20), st.sets(st.integers(0, 4)))
def test_nothing_is_written_twice_or_reported_wrongly_whatever_happens(
    count: int, faults: list[str], bad: set[int]
) -> None:
    """A saved plan is in the ledger once. What failed is not in it, or, where an answer was lost, once."""
    desk = Desk()
    ahead = iter(faults)
    fault = "none"
    rivals = 0

    def before_save(records: Sequence[Record]) -> None:
        nonlocal fault, rivals
        if {key(number) for number in bad} & {record.key for record in records if isinstance(record, NodeRecord)}:
            raise refused()
        fault = next(ahead, "none")
        if fault == "rival":
            desk.rival()
            rivals += 1
        elif fault in ("lost before", "throttled", "refused"):
            errors = {"lost before": lost(), "throttled": LookupFailedError(THROTTLED), "refused": refused()}
            raise errors[fault]

    def after_save(_: Sequence[Record]) -> None:
        nonlocal rivals
        if fault == "lost after, then a rival":
            desk.rival()
            rivals += 1
        if fault.startswith("lost after"):
            raise lost()

    desk.ledger.before_save, desk.ledger.after_save = before_save, after_save
    done = desk.run(keys(count))
    planned = [each for plan in done.plans for each in plan.nodes]
    assert sorted([*planned, *done.failed]) == [key(number) for number in range(count)]
    assert desk.counts([(each,) for each in planned]) == [1] * len(planned)
    in_doubt = [each for each, error in done.failed.items() if error == LOST]
    assert sum(desk.counts([(each,) for each in done.failed])) in (0, len(in_doubt))
    assert desk.spent == sum(desk.counts(keys(count))) + rivals
    assert done.book.nodes == {each: desk.stored.node(each) for each in planned}


# -- items that cannot be read, and other odd things


def test_item_that_cannot_be_read_fails_its_node_alone() -> None:
    """Nothing is decided about it: it would look like a node that was never rebooted."""
    desk = Desk()
    desk.run(keys(3))
    desk.ledger.items[node_pk(key(1))]["key"] = {"S": "odd"}
    book = desk.ledger.load([key(number) for number in range(3)], ["ml-a"])
    desk.decisions.clear()
    done = desk.run(keys(3), book=book)
    assert set(done.failed) == {key(1)}
    assert not done.failed[key(1)].passing
    assert desk.counts([(key(0),), (key(2),)]) == [2, 2]
    assert (key(1),) not in [group for part in desk.decisions for group in part]


def test_budget_that_cannot_be_read_fails_all() -> None:
    """Without its budget no node of the cluster is claimed."""
    desk = Desk()
    desk.run(keys(3))
    desk.ledger.items[budget_pk("ml-a")]["spends"] = {"S": "odd"}
    book = desk.ledger.load([key(number) for number in range(3)], ["ml-a"])
    desk.decisions.clear()
    assert set(desk.run(keys(3), book=book).failed) == {key(0), key(1), key(2)}
    assert desk.decisions == []


def test_item_that_expired_meanwhile_is_written_as_a_new_one() -> None:
    """Its version is no longer there to be expected."""
    desk = Desk()
    book = desk.run(keys(2)).book
    desk.ledger.expire(NOW + timedelta(days=22))
    done = desk.run(keys(2), book=book)
    assert done.failed == {}
    assert desk.counts(keys(2)) == [1, 1]
    assert desk.stored.node(key(0)).version == 1


def test_fault_in_a_decision_is_the_callers() -> None:
    """It is no trouble of the ledger's, and must not pass for one."""
    desk = Desk()
    with pytest.raises(ZeroDivisionError):
        desk.run(keys(2), decide=lambda _book, _part: Decision([NodeRecord(key(1 // 0))]))


def test_conflict_without_a_rival_is_tried_again() -> None:
    """DynamoDB calls two transactions that meet a conflict, even if neither has changed anything."""
    desk = Desk()
    desk.ledger.before_save = times(2, raising(ConflictError()))
    assert desk.run(keys(2)).failed == {}
    assert desk.counts(keys(2)) == [1, 1]
