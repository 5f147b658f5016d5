"""What the ledger's records become, step by step, and what holds of them over any steps."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.model import NodeKey, Outcome, Result
from node_remediation.record import Book, BudgetRecord, Claim, NodeRecord, Stage, Watch
from node_remediation.settings import LEDGER_RETENTION, Settings
from tests.unit.fakes import NOW, instance_id

KEY = NodeKey("ml-a", instance_id(1))
LEASE = NOW + timedelta(seconds=65)
# Whole milliseconds, as the ledger keeps them, over more than it remembers.
times = st.integers(-10 * 86_400_000, 86_400_000).map(lambda ms: NOW + timedelta(milliseconds=ms))
claims = st.builds(Claim, times, times, st.none() | st.sampled_from(Result), st.none() | st.text(), st.text())
records = st.builds(
    NodeRecord,
    st.just(KEY),
    version=st.integers(0, 9),
    reboots=st.lists(times, max_size=4).map(tuple),
    unhealthy_at=st.none() | times,
    healthy_at=st.none() | times,
    repairing_until=st.none() | times,
    told=st.dictionaries(st.text(max_size=5), times, max_size=3),
    claims=st.dictionaries(st.sampled_from(["x", "y"]), claims),
)
spends = st.dictionaries(st.sampled_from("abcd"), st.tuples(times, st.integers(1, 25)))


def test_claim_counts_as_a_reboot_until_it_is_known_not_to_be_one() -> None:
    """Between the claim and the answer nobody knows."""
    claimed = NodeRecord(KEY).claimed("m-1", at=NOW, lease_until=LEASE)
    assert claimed == NodeRecord(KEY, reboots=(NOW,), claims={"m-1": Claim(NOW, LEASE)})
    for result, reboots in ((Result.REBOOTED, (NOW,)), (Result.UNKNOWN, (NOW,)), (Result.FAILED, ())):
        answered = claimed.answered("m-1", result, code="C", message="words")
        assert answered.reboots == reboots
        assert answered.claims == {"m-1": Claim(NOW, LEASE, result, "C", "words")}
        assert answered.settled("m-1").claims == {"m-1": Claim(NOW, LEASE, result, "C", "words", settled=True)}


@given(records, times, st.sampled_from(["released", "failed"]))
def test_claim_that_came_to_nothing_costs_nothing(record: NodeRecord, at: datetime, how: str) -> None:
    """Promise 2's other side: what was not rebooted leaves the node's reboots as they were, to the last one."""
    claimed = record.claimed("m-1", at=at, lease_until=LEASE)
    assert len(claimed.reboots) == len(record.reboots) + 1
    after = claimed.released("m-1") if how == "released" else claimed.answered("m-1", Result.FAILED, code="C")
    assert sorted(after.reboots) == sorted(record.reboots)
    assert {owner: claim for owner, claim in after.claims.items() if owner != "m-1"} == record.claims
    assert ("m-1" in after.claims) is (how == "failed")


@given(records, times, st.sampled_from([Result.REBOOTED, Result.UNKNOWN]))
def test_claim_that_may_have_rebooted_keeps_counting(record: NodeRecord, at: datetime, result: Result) -> None:
    """A lost answer is no reason to try again."""
    after = record.claimed("m-1", at=at, lease_until=LEASE).answered("m-1", result).settled("m-1")
    assert sorted(after.reboots) == sorted((*record.reboots, at))


def test_answer_that_comes_after_the_claim_was_given_up_counts() -> None:
    """Told as unknown by another report, then answered after all: what SageMaker said is what is true."""
    lost = NodeRecord(KEY).claimed("m-1", at=NOW, lease_until=LEASE).answered("m-1", Result.UNKNOWN).settled("m-1")
    assert lost.answered("m-1", Result.FAILED, code="InstanceIdInUse").reboots == ()
    assert lost.answered("m-1", Result.REBOOTED).reboots == (NOW,)
    assert lost.answered("m-1", Result.REBOOTED).claims["m-1"].settled


def test_claims_of_two_reports_do_not_touch_each_other() -> None:
    """Released, answered or settled: the other's stays."""
    other = Claim(NOW - timedelta(hours=2), NOW - timedelta(hours=2), Result.REBOOTED)
    both = NodeRecord(KEY, claims={"other": other}).claimed("m-1", at=NOW, lease_until=LEASE)
    for after in (both.released("m-1"), both.answered("m-1", Result.FAILED), both.settled("m-1")):
        assert after.claims["other"] == other


@given(records, times, times)
def test_latest_report_of_its_kind_is_what_is_known(record: NodeRecord, first: datetime, second: datetime) -> None:
    """In whatever order they come, and a kind says nothing about the other."""
    for healthy in (True, False):
        one = record.seen(healthy=healthy, time=first).seen(healthy=healthy, time=second)
        other = record.seen(healthy=healthy, time=second).seen(healthy=healthy, time=first)
        assert one == other
        known = one.healthy_at if healthy else one.unhealthy_at
        before = record.healthy_at if healthy else record.unhealthy_at
        assert known == max(first, second, before or first)
        assert (one.unhealthy_at if healthy else one.healthy_at) == (
            record.unhealthy_at if healthy else record.healthy_at
        )


@pytest.mark.parametrize(
    ("stage", "waits_for", "reported_by", "heeded"),
    [
        (Stage.REBOOTED, None, None, True),
        (Stage.REBOOTED, None, "a", True),
        (Stage.REBOOTED, "a", "a", True),
        (Stage.REBOOTED, "a", "b", False),
        (Stage.REBOOTED, "a", None, False),
        (Stage.REPAIRING, "a", None, True),
        (Stage.RETRYING, "a", "b", True),
    ],
)
def test_sign_of_health_is_noted_by_the_watch_that_heeds_it(
    stage: Stage, waits_for: str | None, reported_by: str | None, heeded: bool
) -> None:
    """What an alarm asked for, the alarm must answer; the node is healthy at that time whoever says so."""
    watch = Watch("m-0", stage, NOW, LEASE, NOW, alarm=waits_for)
    for times in ((LEASE, NOW), (NOW, LEASE)):
        after = NodeRecord(KEY, watch=watch)
        for time in times:
            after = after.seen(healthy=True, time=time, alarm=reported_by)
        assert after.healthy_at == LEASE
        assert after.watch == replace(watch, well_at=LEASE if heeded else None)


def test_advice_binds_until_the_node_is_well_or_rebooted() -> None:
    """The latest that was named; a report that names none does not take it back."""
    advised = (
        NodeRecord(KEY).seen(healthy=False, time=NOW, advised="Reboot").seen(healthy=False, time=NOW, advised="Replace")
    )
    assert advised.seen(healthy=False, time=LEASE).advised == "Replace"
    assert advised.seen(healthy=True, time=LEASE).advised is None
    assert advised.claimed("m-1", at=LEASE, lease_until=LEASE).advised is None


@pytest.mark.parametrize(("minutes", "open_"), [(44.9, True), (45, False)])
def test_watch_is_open_until_its_time_out_unless_it_has_ended(minutes: float, open_: bool) -> None:
    """After that nothing may rely on its checks, which may have been lost."""
    watch = Watch("m-0", Stage.REBOOTED, NOW, NOW + timedelta(minutes=45), NOW)
    now = NOW + timedelta(minutes=minutes)
    assert watch.is_open(now) is open_
    assert not replace(watch, end=Outcome.SUPERSEDED).is_open(now)


def test_repair_lasts_as_long_as_the_longest_word_of_it() -> None:
    """A second report never shortens it."""
    record = NodeRecord(KEY).repairing(LEASE).repairing(NOW)
    assert record.repairing_until == LEASE


def test_code_that_is_told_again_counts_from_then() -> None:
    """And the other codes stay."""
    assert NodeRecord(KEY).telling("A", NOW).telling("B", NOW).telling("A", LEASE).told == {"A": LEASE, "B": NOW}


@given(records)
def test_pruning_keeps_everything_within_the_windows(record: NodeRecord) -> None:
    """No guard can look further back than the longest window that the settings take: what it needs is there."""
    pruned = record.pruned(NOW)
    oldest = NOW - LEDGER_RETENTION
    assert pruned.reboots == tuple(at for at in record.reboots if at > oldest)
    assert pruned.told == {code: at for code, at in record.told.items() if at > oldest}
    assert (pruned.key, pruned.version, pruned.unhealthy_at, pruned.healthy_at, pruned.repairing_until) == (
        record.key,
        record.version,
        record.unhealthy_at,
        record.healthy_at,
        record.repairing_until,
    )
    assert pruned.pruned(NOW) == pruned
    for owner, claim in record.claims.items():
        assert (owner in pruned.claims) is (claim.lease_until > oldest)


def test_longest_windows_of_the_settings_are_remembered() -> None:
    """A setting that the ledger would cut short is refused by the settings; these are the longest that are not."""
    settings = Settings(max_reboots_window=LEDGER_RETENTION, budget_window=LEDGER_RETENTION)
    inside = NOW - settings.max_reboots_window + timedelta(milliseconds=1)
    assert NodeRecord(KEY, reboots=(inside,)).pruned(NOW).reboots == (inside,)
    budget = BudgetRecord("ml-a", spends={"c": (inside, 3)}).pruned(NOW)
    assert budget.spent(now=NOW, window=settings.budget_window) == 3


def test_settled_claim_is_forgotten_an_hour_after_its_lease() -> None:
    """Its message cannot come again by then; one that nobody reported is kept as long as the ledger keeps anything."""
    settled = NodeRecord(KEY).claimed("m-1", at=NOW, lease_until=LEASE).answered("m-1", Result.REBOOTED).settled("m-1")
    open_ = NodeRecord(KEY).claimed("m-1", at=NOW, lease_until=LEASE)
    hour = timedelta(hours=1)
    assert settled.pruned(LEASE + hour - timedelta(seconds=1)).claims == settled.claims
    assert settled.pruned(LEASE + hour).claims == {}
    assert settled.pruned(LEASE + hour).reboots == (NOW,)
    assert open_.pruned(LEASE + LEDGER_RETENTION - timedelta(seconds=1)).claims == open_.claims
    assert open_.pruned(LEASE + LEDGER_RETENTION).claims == {}


@given(spends, st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 30))))
def test_refunds_never_make_more_budget_than_was_spent(
    spent: dict[str, tuple[datetime, int]], refunds: Sequence[tuple[str, int]]
) -> None:
    """However often an answer is recorded: no call is below nothing, and other calls are not touched."""
    record = BudgetRecord("ml-a", spends=spent)
    for call, nodes in refunds:
        after = record.refunded(call, nodes)
        assert all(count > 0 for _, count in after.spends.values())
        assert {c: s for c, s in after.spends.items() if c != call} == {
            c: s for c, s in record.spends.items() if c != call
        }
        left = after.spends.get(call, (NOW, 0))[1]
        assert left == max(0, record.spends.get(call, (NOW, 0))[1] - nodes)
        record = after


@given(spends, times, st.integers(1, 25))
def test_charge_refunded_whole_costs_nothing(spent: dict[str, tuple[datetime, int]], at: datetime, nodes: int) -> None:
    """A call none of whose nodes was rebooted leaves the budget as it was."""
    record = BudgetRecord("ml-a", spends=spent)
    charged = record.charged("new", at=at, nodes=nodes)
    window = timedelta(days=400)
    assert charged.spent(now=NOW, window=window) == record.spent(now=NOW, window=window) + nodes
    assert charged.refunded("new", nodes) == record


@given(spends, st.timedeltas(timedelta(minutes=1), LEDGER_RETENTION))
def test_pruning_changes_no_budget(spent: dict[str, tuple[datetime, int]], window: timedelta) -> None:
    """What is spent in a window is the same before and after, and is the sum of its calls."""
    record = BudgetRecord("ml-a", spends=spent)
    assert record.spent(now=NOW, window=window) == sum(n for at, n in spent.values() if at > NOW - window)
    assert record.pruned(NOW).spent(now=NOW, window=window) == record.spent(now=NOW, window=window)
    assert all(at > NOW - LEDGER_RETENTION for at, _ in record.pruned(NOW).spends.values())


def test_book_has_a_blank_record_for_what_was_never_written() -> None:
    """Version 0: the first write must find nothing there."""
    book = Book()
    assert (book.node(KEY), book.budget("ml-a")) == (NodeRecord(KEY), BudgetRecord("ml-a"))
    written = (NodeRecord(KEY, healthy_at=NOW).written(), BudgetRecord("ml-a").charged("c", at=NOW, nodes=1).written())
    book.put(*written)
    assert (book.node(KEY), book.budget("ml-a")) == written
    assert [record.version for record in written] == [1, 1]
