"""Which failed tries are made again, which check an outcome asks for, and what the ledger then remembers."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation import codes, events
from node_remediation.deadletter import Origin
from node_remediation.followup import FollowUp, check_event, follow_up, is_in_reach, is_told, retried, settled
from node_remediation.model import (
    ENDS,
    Alarm,
    Case,
    Check,
    Ending,
    IdKind,
    Node,
    NodeKey,
    Outcome,
    Postponed,
    Report,
    Result,
    Settled,
    Trigger,
)
from node_remediation.record import Claim, NodeRecord, Stage, Watch
from node_remediation.settings import LONGEST_DELAY, MOST_ROUNDS, Settings
from tests.unit.fakes import NOW, case, ending, instance_id, message

KEY = NodeKey("ml-a", instance_id(1))
MINUTE = timedelta(minutes=1)
RETRYING = Settings(retry_attempts=3)
ORIGIN = Origin("111122223333", "us-west-2")
PASSING = ["InstanceIdInUse", "InternalServerError", "InvalidInstanceStatus"]


def at(minutes: float) -> datetime:
    return NOW + minutes * MINUTE


def watch(stage: Stage = Stage.REBOOTED, **more: Any) -> Watch:
    """Of m-0, with its first check sent."""
    first: dict[str, Any] = {"checks": 1, "next_at": at(15)}
    return Watch("m-0", stage, NOW, at(45), at(-1), **first | more)


def record(of: Watch | None = None, **more: Any) -> NodeRecord:
    return NodeRecord(KEY, 3, watch=of, **more)


def check(round: int = 1, *, owner: str = "m-c", **more: Any) -> Case:  # noqa: A002
    """The check of that watch in one of its rounds."""
    return case(message_id=owner, check=Check("m-0", round, at(15 * round)), **more)


def tried(tries: int, round_: int = 1, settings: Settings = RETRYING, jitter: float = 0.0) -> Ending:
    """A try that fails after so many others."""
    known = record(watch(Stage.RETRYING, tries=tries, checks=round_)) if tries else record()
    of = check(round_) if tries else case()
    return retried(ending(of), known, settings, NOW, jitter)


# -- retried


@pytest.mark.parametrize("code", PASSING)
def test_failure_that_passes_is_tried_again(code: str) -> None:
    """In the API's words still, with the next time."""
    failed = ending(code=code)
    assert retried(failed, record(), RETRYING, NOW, 0.0) == replace(failed, outcome=Outcome.RETRYING, again_at=at(2))


@pytest.mark.parametrize(
    "code",
    [
        *sorted(codes.THROTTLING),
        "InstanceIdNotFound",
        "ValidationException",
        "AccessDeniedException",
        "ResourceNotFound",
        codes.OUTCOME_UNKNOWN,
        codes.DEADLINE_EXCEEDED,
        codes.LEDGER_BUSY,
        codes.UNREADABLE,
        None,
    ],
)
def test_other_failure_is_final(code: str | None) -> None:
    """Above all one whose outcome is unknown: the node may be rebooting."""
    failed = ending(code=code)
    assert retried(failed, record(), RETRYING, NOW, 0.0) == failed


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.FAILED])
def test_outcome_that_is_no_failure_is_not_tried_again(outcome: Outcome) -> None:
    """Whatever its code."""
    over = ending(outcome=outcome)
    assert retried(over, record(), RETRYING, NOW, 0.0) == over


def test_failure_is_final_by_default() -> None:
    """Retries are for who asks for them."""
    assert tried(0, settings=Settings()).outcome is Outcome.FAILED


def test_waits_double_up_to_15_minutes_and_the_tries_end() -> None:
    """2, 4, 8, 15, 15, … minutes; after the last try the failure is final."""
    settings = Settings(retry_attempts=6)
    waits = [tried(tries, tries, settings).again_at for tries in range(6)]
    assert waits == [at(minutes) for minutes in (2, 4, 8, 15, 15, 15)]
    assert tried(6, 6, settings).outcome is Outcome.FAILED


@given(st.integers(0, 2), st.floats(0, 1), st.integers(1, 900))
def test_jitter_makes_a_wait_up_to_a_fifth_shorter_in_whole_seconds(tries: int, jitter: float, delay: int) -> None:
    """Never longer than SQS takes, never none."""
    settings = Settings(retry_attempts=3, retry_delay=timedelta(seconds=delay))
    again_at = tried(tries, tries, settings, jitter).again_at
    assert again_at
    wait = (again_at - NOW) / timedelta(seconds=1)
    full = min(delay * 2**tries, 900)
    assert wait == int(wait)
    assert max(1, full * 0.8 - 1) <= wait <= full


@pytest.mark.parametrize(("round_", "outcome"), [(6, "retrying"), (7, "failed")])
def test_retry_leaves_the_rounds_that_see_its_reboot_to_the_end(round_: int, outcome: str) -> None:
    """The retry is a round, and by default a reboot takes three more: no chain is longer than ten."""
    assert tried(1, round_).outcome.value == outcome


def test_retry_that_a_killed_delivery_noted_keeps_its_time() -> None:
    """People were told it, and the check may be on its way."""
    own = replace(watch(Stage.RETRYING, next_at=at(3), tries=1), id="m-1")
    again = retried(ending(case(message_id="m-1")), record(own), RETRYING, at(1), 0.5)
    assert (again.outcome, again.again_at) == (Outcome.RETRYING, at(3))


# -- follow_up

EVENT_DRIVEN = Alarm("hyperpod-xid", "arn::alarm:hyperpod-xid", by_series=True)


def follow(over: Ending, known: NodeRecord | None, now: datetime = NOW, **limits: Any) -> FollowUp | None:
    return follow_up(over, known, Settings(**limits), now)


@pytest.mark.parametrize("outcome", Outcome)
def test_outcome_of_a_report_is_followed_only_where_something_is_waited_for(outcome: Outcome) -> None:
    """Of a node of which nothing is known: a repair of HyperPod's own, and a retry."""
    over = replace(ending(outcome=outcome, code=None), again_at=at(2))
    found = follow(over, record())
    stage = found.watch.stage if found and found.watch else None
    assert stage == {Outcome.DEFERRED: Stage.REPAIRING, Outcome.RETRYING: Stage.RETRYING}.get(outcome)


def test_reboot_is_followed_by_the_watch_that_its_answer_opened() -> None:
    """With its first check, which is not in the ledger yet."""
    known = record(replace(watch(), id="m-1", checks=0, next_at=None), claims={"m-1": CLAIM}, reboots=(NOW,))
    found = follow(ending(outcome=Outcome.REBOOTED, code=None), known)
    assert found
    assert found.watch == replace(watch(), id="m-1")
    assert found.check == Check("m-1", 1, at(15))
    assert (found.opens, found.delay(NOW)) == (False, 900)


CLAIM = Claim(NOW, at(1), Result.REBOOTED)


def test_reboot_whose_watch_is_over_already_is_not_followed() -> None:
    """It recovered while its message was on its way: there is nothing to look for."""
    for known in (None, replace(watch(), id="m-1", end=Outcome.RECOVERED, ended_by="m-9")):
        found = follow(ending(outcome=Outcome.REBOOTED, code=None), record(known, claims={"m-1": CLAIM}))
        assert found is None


def test_lost_claim_is_followed_in_its_owners_name() -> None:
    """Whoever tells of it: the owner's redelivery finds the watch, and opens no second."""
    lost = Claim(at(-5), at(-4))
    over = ending(case(message_id="m-9"), code="OutcomeUnknown")
    found = follow(over, record(claims={"m-1": lost}))
    assert found
    assert found.watch
    assert (found.watch.id, found.watch.since, found.watch.stage) == ("m-1", at(-5), Stage.REBOOTED)
    assert found.opens


def test_what_was_told_before_is_not_followed_again() -> None:
    """Its check is under way, or has come and gone."""
    known = record(replace(watch(), id="m-1"), claims={"m-1": CLAIM})
    assert follow(replace(ending(outcome=Outcome.REBOOTED, code=None), told=True), known) is None


def test_waiting_check_is_followed_by_the_next_round() -> None:
    """Unless the watch went on without it, or is over."""
    waiting = ending(check(1), Outcome.WAITING, None)
    found = follow(waiting, record(watch()), at(15))
    assert found
    assert (found.check, found.opens) == (Check("m-0", 2, at(30)), False)
    for known in (None, watch(checks=2), replace(watch(), id="m-9"), watch(end=Outcome.RECOVERED, ended_by="m-9")):
        assert follow(waiting, record(known), at(15)) is None


def test_deferral_is_followed_once() -> None:
    """Not beside an open watch, but in the place of one that its own check has come to."""
    deferred = ending(outcome=Outcome.DEFERRED, code=None)
    assert follow(deferred, record(watch())) is None
    assert follow(deferred, record(watch(Stage.REPAIRING))) is None
    late = follow(replace(deferred, case=case(message_id="m-2")), record(watch()), at(46))
    assert late
    assert late.opens
    own = follow(ending(check(), Outcome.DEFERRED, None), record(watch(Stage.RETRYING)))
    assert own
    assert own.watch
    assert (own.watch.stage, own.watch.id, own.check.round) == (Stage.REPAIRING, "m-c", 2)


def test_deferral_by_a_mute_is_no_repair() -> None:
    """HyperPod is at nothing."""
    assert follow(ending(case(muted="muted by arn"), Outcome.DEFERRED, None), record()) is None


@pytest.mark.parametrize(
    ("known", "time", "code", "followed"),
    [
        ({}, at(5), None, True),
        ({}, NOW, None, False),
        ({}, at(-1), None, False),
        ({}, at(5), "RebootLimitReached", False),
        ({"reboots": ()}, at(5), None, False),
        ({"reboots": (at(-60),)}, at(5), None, False),
        ({"watch": watch()}, at(5), None, False),
        ({"watch": replace(watch(), until=at(9))}, at(5), None, True),
        ({"watch": watch(end=Outcome.RECOVERED, ended_by="m-9")}, at(5), None, True),
    ],
)
def test_duplicate_is_followed_where_the_cooldown_hides_that_the_node_is_ill_again(
    known: dict[str, Any], time: datetime, code: str | None, followed: bool
) -> None:
    """Reported after the reboot, within the cooldown, and nothing looks after it; a repeated refusal is not that."""
    over = ending(case(time=time), Outcome.DUPLICATE, code)
    found = follow(over, NodeRecord(KEY, 3, **{"reboots": (NOW,), **known}), at(10))
    assert (found is not None) is followed
    if found:
        assert found.watch
        assert (found.watch.stage, found.watch.since, found.check.due) == (Stage.REBOOTED, NOW, at(25))


@pytest.mark.parametrize("round_", [9, 10])
def test_chain_ends_with_its_tenth_round(round_: int) -> None:
    """A tenth check may be sent, and an eleventh never."""
    found = follow(ending(check(round_), Outcome.WAITING, None), record(watch(checks=round_)), at(20))
    assert (found is not None) is (round_ == 9)


def test_retry_counts_its_tries_and_waits_for_itself() -> None:
    """Its watch is open until its reboot could have been seen to the end."""
    over = replace(ending(check(1), Outcome.RETRYING), again_at=at(8))
    found = follow(over, record(watch(Stage.RETRYING, tries=2)), at(4))
    assert found
    assert found.watch
    assert (found.watch.tries, found.watch.next_at, found.watch.until) == (3, at(8), at(53))
    assert found.check == Check("m-c", 2, at(8), retry=True)
    assert found.delay(at(4)) == 240


@given(st.integers(-10_000, 10_000_000))
def test_delay_is_what_sqs_takes(milliseconds: int) -> None:
    """Whole seconds from 0 to 900, whatever the time."""
    delay = FollowUp(case(), Check("m-0", 1, NOW + timedelta(milliseconds=milliseconds))).delay(NOW)
    assert delay == max(0, min(900, round(milliseconds / 1000)))


# -- a mute window's end


def muted(until: datetime | None, round_: int = 0, **more: Any) -> Case:
    of = Check(None, round_, NOW) if round_ else None
    return case(muted="muted by arn", muted_until=until, alarm=Alarm("a"), check=of, **more)


@pytest.mark.parametrize(
    ("minutes", "round_", "due"),
    [
        (10, 0, 10 + 1 / 60),
        (14.5, 0, 14.5 + 1 / 60),
        (40, 0, 15),
        (149, 0, 15),
        (150, 0, None),
        (10, 9, 10 + 1 / 60),
        (16, 9, None),
        (10, 10, None),
    ],
)
def test_muted_alarm_is_looked_at_again_after_its_window(minutes: float, round_: int, due: float | None) -> None:
    """A second after it, 15 minutes at a time; what ten rounds cannot reach is left alone from the first."""
    found = follow(ending(muted(at(minutes), round_), Outcome.DEFERRED, None), record())
    if due is None:
        assert found is None
        return
    assert found
    assert (found.check.watch, found.check.round, found.until, found.watch) == (None, round_ + 1, at(minutes), None)
    assert found.check.due == at(due)


def test_muted_alarm_that_names_no_node_is_looked_at_again_too() -> None:
    """A composite alarm's nodes are looked up when the window is over."""
    of = Case(message("{}"), Settled(case().trigger, Outcome.DEFERRED, "muted", muted_until=at(10)))
    found = follow_up(Ending(of, Outcome.DEFERRED, "muted"), None, Settings(), NOW)
    assert found
    assert found.until == at(10)


@pytest.mark.parametrize("outcome", [each for each in Outcome if each not in (Outcome.DEFERRED, Outcome.WAITING)])
def test_muted_alarm_with_another_outcome_is_over(outcome: Outcome) -> None:
    """Cleared, or given up: nothing is postponed."""
    assert follow(ending(muted(at(10)), outcome, None), record()) is None


@given(st.integers(0, 10), st.integers(1, 9_500))
def test_mute_window_in_reach_is_reached_within_the_rounds(done: int, seconds: int) -> None:
    """Over all windows: a chain that begins comes to the end of the window."""
    now, until = NOW, NOW + timedelta(seconds=seconds)
    reachable = is_in_reach(until, now, done)
    while now <= until:
        of = muted(until, done) if done else muted(until)
        found = follow(ending(of, Outcome.DEFERRED, None), record(), now)
        if found is None:
            assert not reachable
            return
        done, now = found.check.round, found.check.due
        assert done <= MOST_ROUNDS
        assert found.delay(now - LONGEST_DELAY) <= 900
    assert reachable


# -- check_event

words = st.text(min_size=1, max_size=30).map(str.strip).filter(bool)
times = st.timedeltas(timedelta(days=-4000), timedelta(days=4000)).map(
    lambda delta: (NOW + delta).replace(microsecond=(NOW + delta).microsecond // 1000 * 1000)
)
reports = st.builds(
    Report,
    trigger=st.builds(Trigger, words, words, words, times, st.one_of(st.just(""), words)),
    node=st.builds(Node, st.sampled_from(IdKind), words),
    cluster=words,
    cluster_is_hyperpod=st.just(True),
    instance_id=st.none() | words,
    repair_action=st.none() | words,
    alarm=st.none() | st.builds(Alarm, words, st.none() | words, st.none(), st.booleans()),
    attempt=st.integers(1, 99),
)


@given(reports, st.builds(Check, words, st.integers(1, 10), times, st.booleans()))
def test_check_is_read_back_as_the_report_that_it_follows_up(report: Report, check: Check) -> None:
    """Nothing is looked up again, and nothing that binds a reboot is forgotten."""
    follow = FollowUp(Case(message({}), report), check, watch())
    body = json.dumps(check_event(follow, event_id=UUID(int=1), now=NOW, origin=ORIGIN))
    assert list(events.read(body, message_id="m-2", sent=at(60))) == [replace(report, check=check)]


@given(reports, st.builds(Check, words, st.integers(1, 10), times, st.booleans()))
def test_check_of_a_check_says_the_same(report: Report, check: Check) -> None:
    """Ten rounds later it is the same report."""
    said = Case(message({}), report)
    for _ in range(3):
        body = json.dumps(check_event(FollowUp(said, check, watch()), event_id=UUID(int=1), now=NOW, origin=ORIGIN))
        (found,) = events.read(body, message_id="m-2", sent=NOW)
        assert isinstance(found, Report)
        said = Case(message(body), found)
    assert said.reading == replace(report, check=check)


@given(st.dictionaries(st.text(), st.text()).map(json.dumps), times, st.integers(1, 10))
def test_muted_alarms_check_holds_its_event_as_it_came(body: str, until: datetime, round_: int) -> None:
    """Of whatever it was made of; and the check of that check holds the same, not itself."""
    of = Case(message(body), Settled(case().trigger, Outcome.DEFERRED, "muted", muted_until=until))
    for _ in range(2):
        follow = FollowUp(of, Check(None, round_, NOW), until=until)
        text = json.dumps(check_event(follow, event_id=UUID(int=1), now=NOW, origin=ORIGIN))
        (found,) = events.read(text, message_id="m-2", sent=NOW)
        assert isinstance(found, Postponed)
        assert (found.body, found.until, found.check) == (body, until, Check(None, round_, NOW))
        waiting = Settled(found.trigger, Outcome.WAITING, "still", muted_until=until, postponed=found.body)
        of = Case(message(text), waiting)


# -- settled


def followed(of: Watch, over: Ending, *, opens: bool = False) -> FollowUp:
    return FollowUp(over.case, Check(of.id, of.checks, at(15)), of, opens=opens)


def settle(known: NodeRecord, over: Ending, follow: FollowUp | None = None, **limits: Any) -> Watch | None:
    return settled(known, over, follow, Settings(**limits)).watch


@pytest.mark.parametrize("outcome", sorted(ENDS))
def test_end_that_was_told_is_forgotten(outcome: Outcome) -> None:
    """Nothing is waited for any more; an end that another message decided is its own to tell."""
    over = ending(check(), outcome, None)
    assert settle(record(watch(end=outcome, ended_by="m-c")), over) is None
    others = watch(end=outcome, ended_by="m-9")
    assert settle(record(others), over) == others


def test_check_that_was_sent_is_noted() -> None:
    """So that only it may go on."""
    over = ending(check(1), Outcome.WAITING, None)
    sent = watch(checks=2, next_at=at(30))
    assert settle(record(watch()), over, followed(sent, over)) == sent


def test_check_that_was_sent_changes_nothing_of_what_went_on_meanwhile() -> None:
    """Another invocation ended the watch, sent a later check, or rebooted the node."""
    over = ending(check(1), Outcome.WAITING, None)
    sent = watch(checks=2, next_at=at(30))
    ended = watch(end=Outcome.RECOVERED, ended_by="m-9")
    later = watch(checks=3)
    rebooted = replace(watch(), id="m-9", since=at(14))
    for known in (None, ended, later, rebooted):
        assert settle(record(known), over, followed(sent, over)) == known


def test_new_watch_takes_the_place_of_an_older_one() -> None:
    """Or of one that is over; a younger one stays."""
    over = ending(case(message_id="m-2"), Outcome.DUPLICATE, None)
    new = replace(watch(), id="m-2", since=at(10))
    for known in (None, watch(), watch(end=Outcome.RECOVERED, ended_by="m-9")):
        assert settle(record(known), over, followed(new, over, opens=True)) == new
    younger = replace(watch(), id="m-9", since=at(11))
    assert settle(record(younger), over, followed(new, over, opens=True)) == younger


def test_sign_of_health_that_came_meanwhile_is_kept() -> None:
    """Or the next check would not know of it."""
    over = ending(check(1), Outcome.WAITING, None)
    sent = watch(checks=2, next_at=at(30))
    assert settle(record(watch(well_at=at(7))), over, followed(sent, over)) == replace(sent, well_at=at(7))
    new = replace(watch(), id="m-2", since=at(5))
    opening = followed(new, over, opens=True)
    assert settle(record(healthy_at=at(7)), over, opening) == replace(new, well_at=at(7))
    assert settle(record(healthy_at=at(4)), over, opening) == new


@pytest.mark.parametrize("outcome", Outcome)
def test_people_know_of_a_reboot_once_they_were_told_anything(outcome: Outcome) -> None:
    """Whatever needs them, and a retry; a reboot only if they want to hear of it."""
    if outcome in ENDS:
        return
    told = outcome in (Outcome.FAILED, Outcome.RETRYING, Outcome.REFUSED, Outcome.UNREADABLE)
    over = ending(outcome=outcome, code=None)
    found = settle(record(watch()), over)
    assert found
    assert found.told is told
    assert is_told(over, Settings()) is told
    assert is_told(over, Settings(notify_rebooted=True)) is (told or outcome is Outcome.REBOOTED)


def test_retry_that_was_made_and_came_to_nothing_is_over() -> None:
    """Refused, or failed for good: nothing is waited for; a report beside it changes nothing."""
    retry = watch(Stage.RETRYING)
    for outcome in (Outcome.FAILED, Outcome.REFUSED, Outcome.CLEARED):
        assert settle(record(retry), ending(check(), outcome)) is None
    beside = settle(record(retry), ending(case(message_id="m-9"), Outcome.DUPLICATE, None))
    assert beside == retry
