"""The values that the ledger keeps: their bounds, and what holds of them over any changes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.model import Alarm
from node_remediation.policy.record import (
    HANDLED_FOR,
    MOST_CODES,
    MOST_COMPLAINTS,
    MOST_HISTORY,
    MOST_LOGICAL_IDS,
    MOST_PAST,
    MOST_SOURCES,
    MOST_SPENDS,
    RECURRENCES,
    SIGNS_KEPT_FOR,
    Book,
    Budget,
    NodeRecord,
    Past,
    Sign,
    State,
    derived_id,
)
from node_remediation.settings import LEDGER_RETENTION, Settings
from tests.unit.policy.makers import LOGICAL, MINUTE, NOW, SECOND, ago, complaint, entry, hence, incident, key, record

HOUR = 60 * MINUTE
MOMENT = timedelta(milliseconds=1)
# Whole milliseconds, as the ledger keeps them, over more than it remembers.
times = st.integers(-30 * 86_400_000, 86_400_000).map(lambda ms: NOW + timedelta(milliseconds=ms))
spends = st.dictionaries(times, st.integers(1, 25), max_size=8).map(lambda each: tuple(sorted(each.items())))
budgets = st.builds(
    Budget,
    st.just("ml-a"),
    spends=spends,
    observed=spends,
    logical_ids=st.dictionaries(st.text(max_size=3), times, max_size=4),
)


# -- IDs


def test_derived_id_is_the_same_for_the_same_parts_only() -> None:
    """A decision that is made again has the same IDs; another has others. A lone surrogate is no reason to fail."""
    assert derived_id("a", NOW, None, "\ud800") == derived_id("a", NOW, None, "\ud800")
    assert len({derived_id(*parts) for parts in (("a", "b"), ("ab",), ("b", "a"), ("a", "b", None), ("a", NOW))}) == 5


# -- complaints


@pytest.mark.parametrize(("withdrawn", "stands"), [(None, True), (-1, True), (0, False), (1, False)])
def test_complaint_is_withdrawn_by_a_withdrawal_at_or_after_it(withdrawn: int | None, stands: bool) -> None:
    """On a tie, healthy wins; a withdrawal before it was of an earlier complaint."""
    of = complaint(withdrawn_at=None if withdrawn is None else NOW + withdrawn * MOMENT)
    assert of.withdrawn is not stands
    assert incident(State.OPEN, of).standing == ((of,) if stands else ())


@pytest.mark.parametrize(("action", "announces"), [(None, False), ("None", False), ("Reboot", True), ("Odd", True)])
def test_complaint_announces_a_repair_by_naming_any_action(action: str | None, announces: bool) -> None:
    """HyperPod writes the word None where it does nothing."""
    assert complaint(repair_action=action).announces_repair is announces


def test_standing_complaints_are_the_oldest_first() -> None:
    """A notification quotes the first."""
    old, new, gone = complaint(ago(9)), complaint(ago(1), source="b"), complaint(ago(20), source="c", withdrawn_at=NOW)
    assert incident(State.OPEN, new, gone, old).standing == (old, new)


def test_source_has_one_complaint_and_it_is_the_latest() -> None:
    """In whatever order its reports arrive."""
    first, second = complaint(ago(2)), complaint(ago(1))
    both = (replace(second, first_made_at=first.made_at),)
    assert incident(State.OPEN, first).with_complaint(second).complaints == both
    assert incident(State.OPEN, second).with_complaint(first).complaints == both
    gone = replace(first, withdrawn_at=ago(1.5))
    assert incident(State.OPEN, gone).with_complaint(second).complaints[0].began_at == second.made_at


def test_withdrawal_wins_over_a_complaint_of_the_same_time() -> None:
    """In either order: on a tie, healthy wins."""
    standing, gone = complaint(), complaint(withdrawn_at=NOW)
    assert incident(State.OPEN, standing).with_complaint(gone).standing == ()
    assert incident(State.OPEN, gone).with_complaint(standing).standing == ()


@pytest.mark.parametrize("later", [None, "None"])
@pytest.mark.parametrize("turned", [False, True])
def test_announced_repair_holds_although_the_later_report_does_not_name_it(later: str | None, turned: bool) -> None:
    """A fault comes as two events within a second, and only one of them has the RepairAction."""
    naming, silent = complaint(ago(1), repair_action="Replace"), complaint(NOW, repair_action=later)
    first, second = (silent, naming) if turned else (naming, silent)
    (kept,) = incident(State.OPEN, first).with_complaint(second).complaints
    assert (kept.made_at, kept.repair_action) == (NOW, "Replace")


def test_repair_of_a_withdrawn_complaint_does_not_bind_the_next() -> None:
    """The node was well in between; a new action replaces the old one."""
    old = complaint(ago(9), repair_action="Replace", withdrawn_at=ago(5))
    (kept,) = incident(State.OPEN, old).with_complaint(complaint()).complaints
    assert kept.repair_action is None
    (kept,) = (
        incident(State.OPEN, replace(old, withdrawn_at=None))
        .with_complaint(complaint(repair_action="Reboot"))
        .complaints
    )
    assert kept.repair_action == "Reboot"


def test_oldest_complaint_is_dropped_when_full_and_the_incident_remembers() -> None:
    """It falls silent: such an incident must not end as recovered."""
    full = incident(State.OPEN, *(complaint(ago(n), source=str(n)) for n in range(MOST_COMPLAINTS)))
    more = full.with_complaint(complaint(source="new"))
    assert {each.source for each in more.complaints} == {"new", *map(str, range(MOST_COMPLAINTS - 1))}
    assert (full.dropped, more.dropped) == (False, True)
    assert full.with_complaint(complaint(hence(1), source="3")).dropped is False


def test_withdrawn_complaint_is_dropped_before_older_ones_that_stand() -> None:
    """Without it nothing is lost."""
    full = incident(State.OPEN, *(complaint(ago(n), source=str(n)) for n in range(MOST_COMPLAINTS - 1)))
    full = full.with_complaint(complaint(NOW, source="gone", withdrawn_at=hence(1)))
    more = full.with_complaint(complaint(source="new"))
    assert more.complaint("gone") is None
    assert not more.dropped


@given(st.lists(st.tuples(st.integers(0, 30).map(str), times, st.none() | times), min_size=1, max_size=80))
def test_complaints_keep_their_bound_whatever_comes(reported: list[tuple[str, datetime, datetime | None]]) -> None:
    """At most 20, one for each source, and a dropped one that stood is never forgotten."""
    made = [complaint(at, source=source, withdrawn_at=gone) for source, at, gone in reported]
    of = incident(State.OPEN, made[0])
    for each in made[1:]:
        of = of.with_complaint(each)
    sources = [each.source for each in of.complaints]
    assert len(sources) == len(set(sources)) <= MOST_COMPLAINTS
    assert made[-1].source in sources
    latest = {each.source: each for each in sorted(made, key=lambda each: (each.made_at, each.withdrawn))}
    assert of.dropped or all(each.withdrawn or each.source in sources for each in latest.values())


# -- node records


def test_record_is_due_at_the_first_time_that_matters() -> None:
    """Of its incident and its unsent entries; without either it is not due at all."""
    assert record().due is None
    assert record(outbox=(entry(letter=False, topic=False),)).due is None
    assert record(incident=incident(due=hence(5))).due == hence(5)
    both = record(incident=incident(due=hence(5)), outbox=(entry(due=hence(3)), entry("b", due=hence(4))))
    assert both.due == hence(3)
    assert replace(both, outbox=(entry(due=hence(9)),)).due == hence(5)


def test_record_that_was_put_off_is_not_due_before() -> None:
    """And a time further off stays."""
    off = record(incident=incident(due=hence(5)), put_off_until=hence(8))
    assert off.due == hence(8)
    assert replace(off, put_off_until=hence(2)).due == hence(5)
    assert replace(off, put_off_until=hence(2), outbox=(entry(due=hence(3)),)).due == hence(3)
    assert record(put_off_until=hence(8)).due is None


@given(st.lists(st.tuples(st.booleans(), times), max_size=6))
def test_latest_sign_of_each_kind_is_kept_in_whatever_order(signs: list[tuple[bool, datetime]]) -> None:
    """And a source's signs say nothing about another's."""
    of = record()
    for healthy, at in signs:
        of = of.seen("a", healthy=healthy, at=at)
    well, sick = ([at for healthy, at in signs if healthy is kind] for kind in (True, False))
    assert of.sign("a") == Sign(max(well, default=None), max(sick, default=None))
    assert of.sign("b") == Sign()


@given(
    st.lists(times, max_size=5).map(tuple),
    st.dictionaries(st.text(max_size=3), times, max_size=5),
    st.dictionaries(st.text(max_size=3), st.builds(Sign, st.none() | times, st.none() | times), max_size=5),
)
def test_pruning_keeps_all_that_a_decision_may_look_at(
    reboots: tuple[datetime, ...], at: dict[str, datetime], signs: dict[str, Sign]
) -> None:
    """No guard looks further back than the longest window, no message or letter comes later than its kind can."""
    of = record(reboots=reboots, told=at, handled=at, signs=signs, last_claim=ago(99_999), incident=incident())
    pruned = of.pruned(NOW)
    assert pruned.reboots == tuple(time for time in reboots if time > NOW - LEDGER_RETENTION)
    assert pruned.told == {code: time for code, time in at.items() if time > NOW - LEDGER_RETENTION}
    assert pruned.handled == {id_: time for id_, time in at.items() if time > NOW - HANDLED_FOR}
    from_then = NOW - SIGNS_KEPT_FOR
    recent = {
        source
        for source, sign in signs.items()
        if any(time and time > from_then for time in (sign.healthy_at, sign.unhealthy_at))
    }
    assert pruned.signs == {source: signs[source] for source in recent}
    assert pruned.pruned(NOW) == pruned
    assert replace(pruned, reboots=reboots, told=at, handled=at, signs=signs) == of


def test_advice_to_replace_is_answered_by_a_reboot() -> None:
    """The setting on_replacement_advised was changed for it, and back."""
    advice = record().advised(complaint(ago(9), repair_action="Replace"))
    assert advice.standing_advice
    assert advice.pruned(NOW) == advice
    assert replace(advice, reboots=(ago(10),)).standing_advice
    rebooted = replace(advice, reboots=(ago(9),))
    assert (rebooted.standing_advice, rebooted.pruned(NOW).advice) == (None, None)
    assert advice.pruned(NOW + SIGNS_KEPT_FOR).advice is None


def test_pruning_forgets_what_was_sent_and_the_oldest_beyond_the_bounds() -> None:
    """An item stays under 300 KB."""
    of = record(
        outbox=(entry("sent", letter=False, topic=False), entry("letter", topic=False), entry("topic", letter=False)),
        signs={str(n): Sign(ago(n)) for n in range(MOST_SOURCES + 1)},
        told={str(n): ago(n) for n in range(MOST_CODES + 1)},
    )
    for number in range(MOST_HISTORY + 3):
        of = of.noted(hence(number), str(number))
    pruned = of.pruned(NOW)
    assert [each.id for each in pruned.outbox] == ["letter", "topic"]
    assert pruned.signs.keys() == {str(n) for n in range(MOST_SOURCES)}
    assert pruned.told.keys() == {str(n) for n in range(MOST_CODES)}
    assert [text for _, text in pruned.history] == [str(n) for n in range(3, MOST_HISTORY + 3)]
    assert of.history == pruned.history
    long = replace(of, history=((NOW, "oldest"), *of.history))
    assert long.pruned(NOW).history == of.history


def test_memory_outlasts_the_queues() -> None:
    """A message can come again for 4 days; a letter can wait 14 days in the DLQ and 4 in the intake queue."""
    assert (HANDLED_FOR, SIGNS_KEPT_FOR) == (4 * 24 * HOUR, 21 * 24 * HOUR)


def test_longest_windows_of_the_settings_are_remembered() -> None:
    """A setting that the ledger would cut short is refused by the settings; these are the longest that are not."""
    settings = Settings(max_reboots_window=LEDGER_RETENTION, budget_window=LEDGER_RETENTION)
    inside = NOW - LEDGER_RETENTION + MOMENT
    assert record(reboots=(inside,)).pruned(NOW).reboots == (inside,)
    budget = Budget("ml-a", spends=((inside, 3),)).pruned(NOW, window=settings.budget_window, cooldown=HOUR)
    assert budget.spent(now=NOW, window=settings.budget_window) == 3


# -- budgets


@pytest.mark.parametrize(("at", "counts"), [(NOW - HOUR, 0), (NOW - HOUR + MOMENT, 3), (NOW, 3)])
def test_spend_counts_within_the_window_and_not_at_its_edge(at: datetime, counts: int) -> None:
    """A window of an hour is over after an hour, also for what is kept."""
    budget = Budget("ml-a").charged(at, 3)
    assert budget.spent(now=NOW, window=HOUR) == counts
    assert len(budget.pruned(NOW, window=HOUR, cooldown=HOUR).spends) == bool(counts)


def test_what_was_observed_counts_for_mode_observe_alone() -> None:
    """Mode observe promises what active would do after it; active owes it nothing."""
    budget = Budget("ml-a").charged(NOW, 2).charged(NOW, 3, observe=True)
    assert budget.spent(now=NOW, window=HOUR) == 2
    assert budget.spent(now=NOW, window=HOUR, observe=True) == 5


@given(budgets, times, st.integers(1, 25), st.booleans())
def test_charge_costs_its_nodes_once(budget: Budget, at: datetime, nodes: int, observe: bool) -> None:
    """Whatever the clocks of the machines that charge."""
    window = timedelta(days=400)
    charged = budget.charged(at, nodes, observe=observe)
    for mode in (False, True):
        before, after = (each.spent(now=NOW, window=window, observe=mode) for each in (budget, charged))
        assert after - before == (nodes if mode or not observe else 0)


@given(spends, times, st.integers(1, 9), st.integers(0, 12))
def test_refunds_give_back_one_node_each_and_never_more_than_was_charged(
    spent: tuple[tuple[datetime, int], ...], at: datetime, nodes: int, refunds: int
) -> None:
    """A second machine with a clock behind charges in the middle; other times are not touched."""
    budget = Budget("ml-a", spends=spent)
    for _ in range(nodes):
        budget = budget.charged(at)
    paid = dict(budget.spends)
    for _ in range(refunds):
        budget = budget.refunded(at)
    left = max(0, paid.pop(at) - refunds)
    assert dict(budget.spends) == paid | ({at: left} if left else {})


@given(budgets, st.timedeltas(SECOND, LEDGER_RETENTION), st.timedeltas(SECOND, 24 * HOUR))
def test_pruning_changes_no_budget_and_keeps_the_ids_of_a_cooldown(
    budget: Budget, window: timedelta, cooldown: timedelta
) -> None:
    """What is spent in the window is the same before and after."""
    pruned = budget.pruned(NOW, window=window, cooldown=cooldown)
    for observe in (False, True):
        assert pruned.spent(now=NOW, window=window, observe=observe) == budget.spent(
            now=NOW, window=window, observe=observe
        )
    assert all(at > NOW - window for at, _ in (*pruned.spends, *pruned.observed))
    assert pruned.logical_ids == {id_: at for id_, at in budget.logical_ids.items() if at > NOW - cooldown}


@given(st.integers(1, 4), st.integers(0, 3 * MOST_SPENDS), st.integers(0, 3_600))
def test_spend_that_is_joined_with_later_ones_never_ends_early(step: int, count: int, later: int) -> None:
    """The budget item has a bound, and a long list of spends never makes the budget larger."""
    budget = Budget("ml-a", spends=tuple((NOW + n * step * MOMENT, 1 + n % 3) for n in range(count)))
    pruned = budget.pruned(NOW, window=HOUR, cooldown=HOUR)
    then = NOW + HOUR - 2 * SECOND + later * SECOND / 1_000
    assert len(pruned.spends) <= MOST_SPENDS
    assert pruned.spent(now=NOW, window=HOUR) == budget.spent(now=NOW, window=HOUR)
    assert pruned.spent(now=then, window=HOUR) >= budget.spent(now=then, window=HOUR)


def test_spends_are_not_joined_before_their_bound() -> None:
    """While each has its own time, each can be given back."""
    spends_ = tuple((NOW + n * MOMENT, 1) for n in range(MOST_SPENDS))
    assert Budget("ml-a", spends=spends_).pruned(NOW, window=HOUR, cooldown=HOUR).spends == spends_


def test_latest_logical_ids_are_kept_within_their_bound() -> None:
    """A cluster of thousands that is claimed by logical IDs within one cooldown."""
    ids = {str(n): NOW + n * MOMENT for n in range(MOST_LOGICAL_IDS + 2)}
    pruned = Budget("ml-a", logical_ids=ids).pruned(NOW, window=HOUR, cooldown=HOUR)
    assert pruned.logical_ids.keys() == {str(n) for n in range(2, MOST_LOGICAL_IDS + 2)}


# -- the book


def test_book_has_a_blank_record_for_what_was_never_written() -> None:
    """Version 0: the first write must find nothing there."""
    book = Book()
    assert (book.node(key()), book.budget("ml-a")) == (NodeRecord(key()), Budget("ml-a"))
    assert (book.node(key()).version, book.budget("ml-a").version) == (0, 0)
    changed: Sequence[NodeRecord | Budget] = (
        record(version=0, node=LOGICAL).written(),
        Budget("ml-a").charged(NOW).written(),
    )
    after = book.updated(*changed)
    assert (after.node(key()), after.budget("ml-a")) == tuple(changed)
    assert [each.version for each in changed] == [1, 1]
    assert (after.node(key(2)), after.budget("ml-b")) == (NodeRecord(key(2)), Budget("ml-b"))
    assert book == Book()


def test_record_is_the_same_whichever_write_made_it() -> None:
    """The token of a write is no knowledge of a node, and no reason to write again."""
    assert record() == record(written_by="token")
    assert Budget("ml-a") == Budget("ml-a", written_by="token")


# -- incidents that count

pasts = st.lists(st.tuples(times, st.sampled_from("abcdefgh")), max_size=40).map(
    lambda found: tuple(Past(f"in-{n}", about, at, "story") for n, (at, about) in enumerate(sorted(found)))
)


@given(pasts)
def test_the_latest_incidents_of_each_reason_are_kept(past: tuple[Past, ...]) -> None:
    """At most three of one reason, as many as are told, and twelve in all, in order; none that no window reaches."""
    kept = record(past=past).pruned(NOW).past
    young = [each for each in past if each.at > NOW - LEDGER_RETENTION]
    latest = [each for n, each in enumerate(young) if [one.about for one in young[n:]].count(each.about) <= RECURRENCES]
    assert list(kept) == latest[-MOST_PAST:]


def test_alarm_that_bounces_pushes_no_other_reasons_incidents_out() -> None:
    """Two of a week ago are still there when the third comes."""
    rare = [Past(f"rare-{n}", "Xid 79", ago(9_000 - n), "story") for n in range(2)]
    often = [Past(f"often-{n}", "alarm:flaps", ago(6_000 - n), "story") for n in range(100)]
    kept = record(past=(*rare, *often)).pruned(NOW).past
    assert [each.about for each in kept] == ["Xid 79"] * 2 + ["alarm:flaps"] * 3


def test_reason_of_an_incident_is_that_of_its_first_complaint() -> None:
    """Whoever repeats it or joins; an alarm's series is no part of it, and a person's request is none."""
    by_alarm = complaint(NOW, alarm=Alarm("gpu", series='{"InstanceId": "i-1"}'))
    by_hyperpod = complaint(ago(1))
    asked = complaint(ago(2), source="request")
    assert incident(State.OPEN, by_alarm).about == "alarm:gpu"
    assert incident(State.OPEN, by_alarm, by_hyperpod).about == "Xid 79"
    assert incident(State.OPEN, by_alarm, by_hyperpod, asked).about is None
    assert incident(State.OPEN, by_hyperpod, by_alarm).with_complaint(complaint(hence(1))).about == "Xid 79"
    silent = replace(by_hyperpod, trigger=replace(by_hyperpod.trigger, reason=""))
    assert incident(State.OPEN, silent).about == "hyperpod"
    endless = replace(by_hyperpod, trigger=replace(by_hyperpod.trigger, reason="x" * 5_000))
    assert len(incident(State.OPEN, endless).about or "") == 200
