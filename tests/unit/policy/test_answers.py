"""What the answers to a reboot call, and the sending of entries, make of the records."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.model import Answer, CallResult, Failure, IdKind, Node, NodeKey, Outcome
from node_remediation.policy.answers import gathered, notices_of, put_off, record_answers, record_sent
from node_remediation.policy.draft import Claim, Plan
from node_remediation.policy.record import Book, Budget, NodeRecord, State
from node_remediation.settings import Settings
from tests.unit.policy.makers import (
    LOGICAL,
    LOGICAL_KEY,
    MINUTE,
    NOW,
    SECOND,
    SETTINGS,
    ago,
    budget_of,
    case,
    complaint,
    entry,
    hence,
    incident,
    incident_of,
    instance,
    key,
    node_of,
    outcomes,
    record,
    said,
    scene,
)

BUSY = ("InstanceIdInUse", "The node is busy.")
RETRYING = replace(SETTINGS, retry_attempts=2, retry_delay=2 * MINUTE)
REPORT = case(ago(1))
ANSWERED = hence(0.5)


def claimed(number: int = 1, **more: Any) -> NodeRecord:
    """Return a node that was claimed just now, and that was rebooted two hours ago."""
    of = incident(State.CLAIMED, complaint(ago(1)), node=instance(number), **more)
    return record(number, incident=of, reboots=(ago(120), NOW), last_claim=NOW)


def answered(
    *answers: Answer,
    of: Sequence[NodeRecord] = (),
    budget: Budget | None = None,
    jitter: float = 0.0,
    settings: Settings = SETTINGS,
    spoken: bool = True,
) -> Plan:
    """Return what answers make of claims: of node 1's, unless others are given."""
    of = of or [claimed()]
    claims = [Claim(each.key, each.incident.node, REPORT if spoken else None) for each in of if each.incident]
    book = Book().updated(*of, budget or Budget("ml-a", spends=((ago(5), 4), (NOW, len(of)))))
    return record_answers(book, claims, answers, scene(now=ANSWERED, settings=settings), jitter=jitter)


def answer(result: CallResult, *failure: str, node: Node | None = None) -> Answer:
    return Answer(node or instance(), result, *failure)


# -- each result


def test_started_reboot_waits_for_signs_of_health() -> None:
    """Silently, unless the settings say otherwise; the claim and its cost stay."""
    plan = answered(answer(CallResult.STARTED))
    of = incident_of(plan)
    assert outcomes(plan) == [("rebooted", None)]
    assert (of.state, of.since, of.due, of.until, of.lease_until) == (State.REBOOTED, NOW, hence(15), hence(45), None)
    assert (of.told, said(plan)) == (False, [])
    assert node_of(plan).reboots == (ago(120), NOW)
    assert [each for each in plan.records if isinstance(each, Budget)] == []
    assert [(each.state, each.seconds, each.counted) for each in plan.changes] == [("rebooted", 60.0, False)]


@pytest.mark.parametrize("result", [CallResult.STARTED, CallResult.UNKNOWN])
def test_node_that_may_be_rebooted_begins_anew(result: CallResult) -> None:
    """Its tries, its waits and what the API said before were answered by the reboot."""
    before = claimed(tries=1, waits=2, lacks_since=ago(1), note="waits", failure=Failure(*BUSY), rebooted_at=ago(99))
    of = incident_of(answered(answer(result), of=[before]))
    assert (of.tries, of.waits, of.lacks_since, of.note, of.failure, of.rebooted_at) == (0, 0, None, "", None, None)


def test_started_reboot_is_on_the_topic_where_the_settings_say_so() -> None:
    """And people who were told are told the end."""
    plan = answered(answer(CallResult.STARTED), settings=replace(SETTINGS, notify_rebooted=True))
    assert (incident_of(plan).told, said(plan)) == (True, [("rebooted", None, False, True)])


def test_node_listed_as_successful_and_as_failed_is_rebooted_and_reported_as_failed() -> None:
    """It is not rebooted again and again; people read the API's entry once."""
    plan = answered(answer(CallResult.STARTED, *BUSY), settings=RETRYING)
    of = incident_of(plan)
    assert outcomes(plan) == [("failed", "InstanceIdInUse")]
    assert (of.state, of.told) == (State.REBOOTED, True)
    assert node_of(plan).reboots == (ago(120), NOW)
    assert said(plan) == [("failed", "InstanceIdInUse", True, True)]


def test_unknown_outcome_counts_as_a_reboot_and_is_announced_as_failed() -> None:
    """The call is never repeated by itself."""
    plan = answered(answer(CallResult.UNKNOWN, "ReadTimeoutError", "no answer"), settings=RETRYING)
    of = incident_of(plan)
    assert outcomes(plan) == [("failed", "OutcomeUnknown")]
    assert (of.state, of.told, of.until) == (State.REBOOTED, True, hence(45))
    assert node_of(plan).reboots == (ago(120), NOW)
    assert said(plan) == [("failed", "OutcomeUnknown", True, True)]
    assert [(each.code, each.seconds) for each in plan.changes] == [("OutcomeUnknown", None)]


def test_failure_gives_claim_and_budget_back_and_ends_the_incident() -> None:
    """The API's entry goes out verbatim; an older report of the node stays a duplicate."""
    plan = answered(answer(CallResult.FAILED, "InstanceIdNotFound", "No such node."))
    node = node_of(plan)
    assert outcomes(plan) == [("failed", "InstanceIdNotFound")]
    assert (node.incident, node.reboots, node.last_claim) == (None, (ago(120),), NOW)
    assert budget_of(plan).spends == ((ago(5), 4),)
    assert [(each.code, each.message, each.letter, each.topic) for each in node.outbox] == [
        ("InstanceIdNotFound", "No such node.", True, True)
    ]


def test_call_that_was_not_made_gives_claim_and_budget_back_and_is_judged_again() -> None:
    """Nothing was done: the node waits as for any fact that could not be had."""
    plan = answered(answer(CallResult.NOT_CALLED, "ThrottlingException", "Rate exceeded"))
    of = incident_of(plan)
    assert outcomes(plan) == [("waiting", "ThrottlingException")]
    assert (of.state, of.due, of.lease_until, of.waits) == (State.OPEN, hence(1), None, 1)
    assert node_of(plan).reboots == (ago(120),)
    assert budget_of(plan).spends == ((ago(5), 4),)
    assert said(plan) == []


def test_call_that_was_not_made_for_max_report_age_fails_the_node() -> None:
    """With the code that kept it from being made, or with what the API said before."""
    late = claimed(lacks_since=ago(60))
    plan = answered(answer(CallResult.NOT_CALLED, "ThrottlingException", "Rate exceeded"), of=[late])
    assert outcomes(plan) == [("failed", "ThrottlingException")]
    retried = claimed(failure=Failure(*BUSY), tries=1)
    plan = answered(answer(CallResult.NOT_CALLED, "ThrottlingException", "Rate exceeded"), of=[retried])
    assert incident_of(plan).state is State.RETRYING


# -- retries


@pytest.mark.parametrize(("tries", "jitter", "seconds"), [(0, 0.0, 120), (1, 0.0, 240), (0, 1.0, 96), (1, 0.5, 216)])
def test_failed_try_is_made_again_after_a_wait_that_doubles(tries: int, jitter: float, seconds: int) -> None:
    """On the topic at once, in the DLQ when the tries end; up to a fifth earlier, as a rack must not come at once."""
    plan = answered(answer(CallResult.FAILED, *BUSY), of=[claimed(tries=tries)], jitter=jitter, settings=RETRYING)
    of, again_at = incident_of(plan), ANSWERED + seconds * SECOND
    assert outcomes(plan) == [("retrying", "InstanceIdInUse")]
    assert (of.state, of.since, of.due, of.lease_until) == (State.RETRYING, ANSWERED, again_at, None)
    assert (of.tries, of.told, of.failure) == (tries + 1, True, Failure(*BUSY))
    assert [(each.state, each.code, each.reason) for each in plan.changes] == [("retrying", *BUSY)]
    assert said(plan) == [("retrying", "InstanceIdInUse", False, True)]
    assert node_of(plan).outbox[0].again_at == again_at
    assert node_of(plan).reboots == (ago(120),)


def test_second_failed_try_is_counted_in_the_entry_of_the_first_while_that_is_unsent() -> None:
    """The outbox has a bound, and people read one line."""
    tried = node_of(answered(answer(CallResult.FAILED, *BUSY), settings=RETRYING))
    again = replace(claimed(tries=1), outbox=tried.outbox)
    plan = answered(answer(CallResult.FAILED, *BUSY), of=[again], settings=RETRYING)
    assert [(each.id, each.times) for each in node_of(plan).outbox] == [(tried.outbox[0].id, 2)]
    assert plan.fresh == {tried.outbox[0].id, node_of(plan).events[-1].id}
    assert tried.outbox[0].times == 1
    other = replace(again, outbox=(replace(tried.outbox[0], code="AnotherCode"),))
    plan = answered(answer(CallResult.FAILED, *BUSY), of=[other], settings=RETRYING)
    assert [each.times for each in node_of(plan).outbox] == [1, 1]


@given(st.integers(0, 8), st.floats(0, 1), st.integers(1, 900))
def test_wait_before_a_retry_has_its_bounds(tries: int, jitter: float, delay: int) -> None:
    """At least a second, at most 15 minutes, and whole seconds, whatever the settings."""
    settings = replace(SETTINGS, retry_attempts=9, retry_delay=delay * SECOND)
    plan = answered(answer(CallResult.FAILED, *BUSY), of=[claimed(tries=tries)], jitter=jitter, settings=settings)
    wait = incident_of(plan).due - ANSWERED
    most = min(delay * SECOND * 2**tries, 15 * MINUTE)
    assert max(SECOND, most * 0.8 - SECOND) <= wait <= most
    assert wait.microseconds == 0


@pytest.mark.parametrize(
    ("code", "tries", "attempts", "retried"),
    [
        ("InstanceIdInUse", 1, 2, True),
        ("InvalidInstanceStatus", 0, 1, True),
        ("InternalServerError", 0, 1, True),
        ("InstanceIdInUse", 2, 2, False),
        ("InstanceIdInUse", 0, 0, False),
        ("InstanceIdNotFound", 0, 9, False),
        ("ValidationException", 0, 9, False),
        ("ThrottlingException", 0, 9, False),
    ],
)
def test_failure_is_tried_again_for_passing_codes_as_often_as_the_settings_say(
    code: str, tries: int, attempts: int, retried: bool
) -> None:
    """Codes of a node's own failure; when the tries end it is a failure like any other."""
    settings = replace(SETTINGS, retry_attempts=attempts)
    plan = answered(answer(CallResult.FAILED, code, "words"), of=[claimed(tries=tries)], settings=settings)
    assert outcomes(plan) == [("retrying" if retried else "failed", code)]
    assert said(plan) == [("retrying", code, False, True) if retried else ("failed", code, True, True)]


# -- a second reboot


def second() -> NodeRecord:
    """Return a node that was claimed again 31 minutes after its first reboot."""
    of = incident(State.CLAIMED, complaint(ago(1)), rebooted_at=ago(31), until=hence(99), told=False)
    return record(incident=of, reboots=(ago(31), NOW), last_claim=NOW)


def test_failed_second_reboot_returns_to_the_first() -> None:
    """It is not judged again; what the API said is quoted at the time-out."""
    plan = answered(answer(CallResult.FAILED, *BUSY), of=[second()], settings=RETRYING)
    of = incident_of(plan)
    assert (of.state, of.since, of.until, of.due) == (State.REBOOTED, ago(31), hence(14), hence(14))
    assert (of.failure, of.told, of.rebooted_at, of.lease_until) == (Failure(*BUSY), True, None, None)
    assert of.note == "a second reboot failed: InstanceIdInUse: The node is busy."
    assert node_of(plan).reboots == (ago(31),)
    assert said(plan) == [("failed", "InstanceIdInUse", True, True)]
    assert outcomes(plan) == [("failed", "InstanceIdInUse")]


def test_second_reboot_that_was_not_called_returns_to_the_first_and_is_judged_again() -> None:
    """Nobody has to know."""
    plan = answered(answer(CallResult.NOT_CALLED, "ThrottlingException", "Rate exceeded"), of=[second()])
    of = incident_of(plan)
    assert (of.state, of.since, of.failure, of.told) == (State.REBOOTED, ago(31), None, False)
    assert outcomes(plan) == [("waiting", "ThrottlingException")]
    assert said(plan) == []


def test_second_reboot_that_started_runs_from_its_own_claim() -> None:
    """The cooldown and the time-out begin anew."""
    of = incident_of(answered(answer(CallResult.STARTED), of=[second()]))
    assert (of.since, of.until, of.rebooted_at) == (NOW, hence(45), None)


# -- several claims


def test_answers_are_each_nodes_own() -> None:
    """One failure never changes what happens to its neighbours, and gives back one node of the budget."""
    plan = answered(
        answer(CallResult.FAILED, *BUSY, node=instance(2)),
        answer(CallResult.STARTED),
        answer(CallResult.FAILED, *BUSY, node=instance(3)),
        of=[claimed(1), claimed(2), claimed(3)],
    )
    assert [outcome for outcome, _ in outcomes(plan)] == ["rebooted", "failed", "failed"]
    assert budget_of(plan).spends == ((ago(5), 4), (NOW, 1))
    assert {n: node_of(plan, n).reboots for n in (1, 2, 3)} == {1: (ago(120), NOW), 2: (ago(120),), 3: (ago(120),)}


def test_failure_of_a_node_that_was_not_asked_for_is_reported() -> None:
    """Verbatim, with what set off the call; by the first node that still has its incident."""
    odd = Node(IdKind.NODE_ID, "i-unasked")
    ended = replace(claimed(2), incident=None)
    book = Book().updated(claimed(), ended)
    claims = [Claim(key(2), instance(2), None), Claim(key(), instance(), None)]
    answers = [answer(CallResult.FAILED, *BUSY, node=odd), answer(CallResult.STARTED)]
    plan = record_answers(book, claims, answers, scene(), jitter=0)
    (told,) = [each for node in plan.records if isinstance(node, NodeRecord) for each in node.outbox]
    assert (told.node, told.code, told.message, told.letter, told.topic) == (odd, *BUSY, True, True)
    assert told.trigger == complaint(ago(1)).trigger


@pytest.mark.parametrize("of", [record(incident=incident(State.REBOOTED)), record()])
def test_answer_that_comes_after_the_lease_changes_nothing(of: NodeRecord) -> None:
    """Its outcome was announced as unknown by then; the report is answered with that."""
    claims = [Claim(key(), instance(), REPORT)]
    plan = record_answers(Book().updated(of), claims, [answer(CallResult.FAILED, *BUSY)], scene(), jitter=0)
    assert (plan.records, plan.changes) == ((), ())
    assert outcomes(plan) == [("failed", "OutcomeUnknown")]


def test_claim_without_a_report_is_answered_by_no_result() -> None:
    """It was the clock's: the incident's change is what is counted."""
    plan = answered(answer(CallResult.FAILED, *BUSY), spoken=False)
    assert plan.results == ()
    assert [(each.state, each.code, each.counted) for each in plan.changes] == [("failed", "InstanceIdInUse", True)]


# -- logical IDs


@pytest.mark.parametrize("of", [record(logical_id=LOGICAL.id), record(key=LOGICAL_KEY, node=LOGICAL)])
@pytest.mark.parametrize(
    ("result", "left"), [(CallResult.FAILED, {"x": NOW}), (CallResult.STARTED, {"x": NOW, LOGICAL.id: NOW})]
)
def test_claim_that_is_given_back_takes_its_logical_id_with_it(
    of: NodeRecord, result: CallResult, left: dict[str, datetime]
) -> None:
    """A neighbour's that was claimed at the same time stays."""
    node = of.node or instance()
    before = replace(of, incident=incident(State.CLAIMED, node=node), reboots=(NOW,))
    budget = Budget("ml-a", spends=((NOW, 2),), logical_ids={LOGICAL.id: NOW, "x": NOW})
    book = Book().updated(before, budget)
    plan = record_answers(
        book, [Claim(of.key, node, None)], [answer(result, "Code", "words", node=node)], scene(), jitter=0
    )
    after = [each for each in plan.records if isinstance(each, Budget)] or [budget]
    assert after[0].logical_ids == left


# -- said meanwhile


@pytest.mark.parametrize("result", list(CallResult))
@pytest.mark.parametrize(
    "of",
    [
        claimed(repair_at=hence(0.1)),
        replace(claimed(), incident=incident(State.CLAIMED, complaint(ago(1), withdrawn_at=hence(0.1)))),
    ],
)
def test_repair_or_withdrawal_during_the_call_is_looked_at_by_the_next_sweep(
    of: NodeRecord, result: CallResult
) -> None:
    """A claim hears only the answer; what else was said must not wait for verify_after."""
    plan = answered(answer(result, *BUSY), of=[of], settings=RETRYING)
    if result is CallResult.STARTED:
        plan = answered(answer(result), of=[of])
    assert incident_of(plan).due == ANSWERED


# -- sending


def test_entries_that_were_sent_leave_the_outbox() -> None:
    """Each half by itself; what another invocation added meanwhile stays."""
    before = record(outbox=tuple(entry(id_) for id_ in ("both", "letter", "none", "new")))
    tried = {
        "both": entry("both", letter=False, topic=False),
        "letter": entry("letter", letter=False),
        "none": entry("none"),
    }
    plan = record_sent(Book().updated(before), {key(): tried}, scene(), [key()])
    assert [(each.id, each.letter, each.topic, each.sends, each.due) for each in node_of(plan).outbox] == [
        ("letter", False, True, 1, NOW + 30 * SECOND),
        ("none", True, True, 1, NOW + 30 * SECOND),
        ("new", True, True, 0, NOW),
    ]


def test_half_that_another_invocation_sent_stays_sent() -> None:
    """Two send the same entry: the letter is not sent a third time."""
    before = record(outbox=(entry(letter=False),))
    plan = record_sent(Book().updated(before), {key(): {"entry-1": entry()}}, scene(), [key()])
    assert [(each.letter, each.topic) for each in node_of(plan).outbox] == [(False, True)]


@pytest.mark.parametrize(("sends", "seconds"), [(0, 30), (1, 60), (4, 480), (5, 900), (50, 900)])
def test_entry_that_cannot_be_sent_is_tried_less_and_less_often(sends: int, seconds: int) -> None:
    """Up to every 15 minutes, for ever."""
    of = entry(sends=sends)
    plan = record_sent(Book().updated(record(outbox=(of,))), {key(): {of.id: of}}, scene(), [key()])
    (after,) = node_of(plan).outbox
    assert (after.sends, after.due) == (sends + 1, NOW + seconds * SECOND)


def test_record_of_which_nothing_was_tried_is_not_written() -> None:
    """A write less."""
    book = Book().updated(record(outbox=(entry(),)), record(2))
    assert record_sent(book, {}, scene(), [key(), key(2), NodeKey("ml-a", "x")]).records == ()


def test_notice_that_waits_for_its_bursts_end_is_no_failed_try() -> None:
    """It is due then; whose letter is unsent is tried again as ever."""
    before = record(outbox=(entry("held", letter=False), entry("down")))
    plan = record_sent(
        Book().updated(before), {key(): {each.id: each for each in before.outbox}}, scene(), [key()],
        held={"held": hence(1), "down": hence(9)},
    )  # fmt: skip
    assert [(each.id, each.letter, each.topic, each.sends, each.due) for each in node_of(plan).outbox] == [
        ("held", False, True, 0, hence(1)),
        ("down", True, True, 1, NOW + 30 * SECOND),
    ]


def test_nodes_that_were_told_of_are_in_their_clusters_own_record() -> None:
    """With the time, in the write that marks their entries as sent."""
    of_cluster = notices_of("ml-a")
    before = NodeRecord(of_cluster, version=3, told={"i-old": ago(1)})
    book = Book().updated(before, record(outbox=(entry(),)))
    sent = {key(): {"entry-1": entry(letter=False, topic=False)}}
    plan = record_sent(book, sent, scene(), [key(), of_cluster], told={of_cluster: {key().id}})
    assert [(each.key, dict(each.told)) for each in plan.records if isinstance(each, NodeRecord)] == [
        (key(), {}),
        (of_cluster, {"i-old": ago(1), key().id: NOW}),
    ]


def waits(*, told: int, minutes: float = 0.5, new: int = 1, settings: Settings = SETTINGS, **more: Any) -> list[float]:
    """Return how many seconds the notices of new nodes wait, with others told of some minutes ago."""
    record_ = NodeRecord(notices_of("ml-a"), told={f"i-{n}": ago(minutes) for n in range(told)})
    entries = {key(n): [entry(f"entry-{n}", **more)] for n in range(1, new + 1)}
    return [(until - NOW).total_seconds() for until in gathered(entries, record_, settings, NOW).values()]


def test_notices_of_a_burst_wait_for_the_same_end_of_a_window() -> None:
    """It is 02:14:07; each waits until 02:15:00. With four told, the fifth waits; the first five never do."""
    assert waits(told=4, new=3) == [53.0] * 3
    assert waits(told=0, new=5) == []
    assert waits(told=3, new=1) == []
    assert waits(told=4, new=1, at=ago(0.1)) == [53.0]


def test_notice_does_not_wait_once_its_window_is_over() -> None:
    """Nor where nothing was told for a window, nor if it was turned off; what was told long ago does not count."""
    assert waits(told=20, at=ago(1)) == []
    assert waits(told=20, minutes=1) == []
    assert waits(told=20, minutes=11, settings=replace(SETTINGS, burst_window=hence(10) - NOW)) == []
    assert waits(told=20, settings=replace(SETTINGS, burst_window=NOW - NOW)) == []


def test_proposal_never_waits() -> None:
    """Somebody must answer it; what else is said of the node waits."""
    assert waits(told=20, outcome=Outcome.PROPOSED) == []


@pytest.mark.parametrize(("times", "minutes"), [(0, 1), (1, 2), (5, 32), (6, 60), (60, 60)])
def test_record_that_raises_is_put_off_up_to_an_hour(times: int, minutes: int) -> None:
    """Twice as long each time; nothing else of it changes."""
    before = record(put_off=times, incident=incident())
    after = put_off(before, scene())
    assert (after.put_off, after.put_off_until, after.due) == (times + 1, hence(minutes), hence(minutes))
    assert replace(after, put_off=times, put_off_until=None) == before
