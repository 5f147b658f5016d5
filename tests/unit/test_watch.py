"""What a check decides, by the ledger and by what it sees; and when the next one comes."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from node_remediation.cluster import NodeState
from node_remediation.model import Alarm, Case, Check, Ending, NodeKey, Outcome, Report
from node_remediation.record import NodeRecord, Stage, Watch
from node_remediation.settings import LONGEST_DELAY, MOST_ROUNDS, Settings, SettingsError
from node_remediation.watch import (
    NOTHING,
    Needs,
    Seen,
    after_judgement,
    current,
    decide,
    ended,
    healthy_end,
    needs,
    next_check,
    opened,
    rounds,
)
from tests.unit.fakes import NOW, case, ending, instance_id

KEY = NodeKey("ml-a", instance_id(1))
MINUTE = timedelta(minutes=1)
ALARM = Alarm("hyperpod-xid")
RUNNING, FAILING = Seen(node=NodeState("Running")), Seen(node=NodeState("Failure", "no lights"))
GONE = Seen(gone=True)


def at(minutes: float) -> datetime:
    """Minutes from the reboot."""
    return NOW + minutes * MINUTE


def watch(stage: Stage = Stage.REBOOTED, **more: Any) -> Watch:
    """Of a reboot at NOW that m-0 asked for a minute before; its first check was sent."""
    first: dict[str, Any] = {"checks": 1, "next_at": at(15)}
    return Watch("m-0", stage, NOW, at(45), at(-1), **first | more)


def record(of: Watch | None, **more: Any) -> NodeRecord:
    """Rebooted at NOW and reported unhealthy before."""
    known: dict[str, Any] = {"reboots": (NOW,), "unhealthy_at": at(-1), "watch": of}
    return NodeRecord(KEY, 3, **known | more)


def check(round: int = 1, *, of: str | None = "m-0", owner: str = "m-c", **more: Any) -> Case:  # noqa: A002
    """The check of the watch in one of its rounds."""
    return case(message_id=owner, time=at(-1), check=Check(of, round, at(15 * round)), **more)


def decided(of: Case, known: NodeRecord, seen: Seen = NOTHING, minutes: float = 15, **limits: Any) -> Ending | Case:
    return decide(of, known, seen, Settings(**limits), at(minutes))


def outcome(of: Case, known: NodeRecord, seen: Seen = NOTHING, minutes: float = 15, **limits: Any) -> str:
    """The outcome that a check comes to, or that it is to be judged."""
    found = decided(of, known, seen, minutes, **limits)
    return found.outcome.value if isinstance(found, Ending) else "judged"


# -- decide


@pytest.mark.parametrize(
    ("known", "seen", "before", "last"),
    [
        ({}, RUNNING, "waiting", "recovered"),
        ({}, FAILING, "waiting", "not_recovered"),
        ({}, GONE, "superseded", "superseded"),
        ({}, Seen(trouble="AccessDeniedException: no"), "waiting", "not_recovered"),
        ({"unhealthy_at": at(5)}, RUNNING, "waiting", "not_recovered"),
        ({"unhealthy_at": at(5)}, GONE, "superseded", "superseded"),
        ({"unhealthy_at": at(5), "healthy_at": at(6)}, RUNNING, "waiting", "recovered"),
        ({"unhealthy_at": at(6), "healthy_at": at(5)}, RUNNING, "waiting", "not_recovered"),
    ],
)
def test_only_proof_ends_a_reboots_watch_before_its_time_out(
    known: dict[str, Any], seen: Seen, before: str, last: str
) -> None:
    """Then the status decides, but a report since says more than a status."""
    for minutes, round_, expected in ((15, 1, before), (44.9, 3, before), (45, 3, last), (60, 3, last), (20, 10, last)):
        limits = {
            "cooldown": timedelta(hours=2),
            "max_reboots_window": timedelta(hours=2),
            "budget_window": timedelta(hours=2),
        }
        assert outcome(check(round_), record(watch(), **known), seen, minutes, **limits) == expected


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("minutes", [15, 45])
def test_sign_of_health_since_ends_every_watch(stage: Stage, minutes: float) -> None:
    """Whatever else is seen; with the time that it took from the report."""
    for seen in (NOTHING, RUNNING, FAILING, GONE):
        found = decided(check(), record(watch(stage, well_at=at(9)), healthy_at=at(9)), seen, minutes)
        assert isinstance(found, Ending)
        assert (found.outcome, found.took) == (Outcome.RECOVERED, 10 * MINUTE)
        assert "reported healthy at 2026-11-23 02:23:07 UTC" in found.reason


def test_sign_of_health_counts_to_the_second_from_the_reboot() -> None:
    """Events have times in whole seconds: one of the same second may look older."""
    precise = replace(watch(), since=NOW + timedelta(milliseconds=900))
    for well_at, expected in ((NOW, "recovered"), (NOW - timedelta(seconds=1), "waiting")):
        known = record(replace(precise, well_at=well_at), healthy_at=well_at)
        assert outcome(check(), known, RUNNING) == expected


def test_sign_of_health_is_none_once_the_node_is_unhealthy_again() -> None:
    """By a report that is later than it."""
    for unhealthy, expected in ((8, "recovered"), (9, "recovered"), (10, "waiting")):
        known = record(watch(well_at=at(9)), healthy_at=at(9), unhealthy_at=at(unhealthy))
        assert outcome(check(), known) == expected


def test_alarm_that_is_ok_says_since_when_the_node_is_well() -> None:
    """But never since before the reboot; of one series of an alarm nobody knows since when: it is now."""
    of = check(alarm=ALARM)
    for ok_at, took in ((at(7), 8 * MINUTE), (at(-5), MINUTE), (None, 16 * MINUTE)):
        found = decided(of, record(watch(alarm=ALARM.name)), Seen(alarm="OK", alarm_at=ok_at))
        assert isinstance(found, Ending)
        assert (found.outcome, found.took) == (Outcome.RECOVERED, took)
        assert found.reason == "alarm hyperpod-xid is OK"


@pytest.mark.parametrize("state", ["INSUFFICIENT_DATA", None])
def test_alarm_that_says_nothing_leaves_the_status_to_decide(state: str | None) -> None:
    """Its data are gone with the node's agent, or it was deleted."""
    for seen, expected in ((RUNNING, "recovered"), (FAILING, "not_recovered")):
        known = record(watch(alarm=ALARM.name))
        assert outcome(check(3, alarm=ALARM), known, replace(seen, alarm=state), 45) == expected


def test_node_that_is_ill_after_its_cooldown_is_judged_as_of_its_latest_report() -> None:
    """A new attempt, bound by what HyperPod has advised meanwhile."""
    known = record(watch(), unhealthy_at=at(20), advised="Replace")
    assert outcome(check(2), known, RUNNING, 29.9) == "waiting"
    found = decided(check(2, attempt=2), known, RUNNING, 30)
    assert isinstance(found, Case)
    assert isinstance(found.reading, Report)
    assert (found.trigger.time, found.reading.attempt, found.reading.repair_action) == (at(20), 3, "Replace")
    assert (found.check, found.owner) == (Check("m-0", 2, at(30)), "m-c")


def test_node_whose_alarm_stays_is_judged_as_of_now() -> None:
    """No event comes of an alarm that does not change."""
    found = decided(check(2, alarm=ALARM), record(watch(alarm=ALARM.name)), replace(RUNNING, alarm="ALARM"), 30)
    assert isinstance(found, Case)
    assert found.trigger.time == at(30)


@pytest.mark.parametrize(("round_", "expected"), [(7, "judged"), (8, "waiting")])
def test_node_is_judged_again_only_if_the_rounds_would_see_its_next_reboot_to_the_end(
    round_: int, expected: str
) -> None:
    """By default that takes three; and no chain is longer than ten."""
    known = record(watch(checks=round_), unhealthy_at=at(20))
    assert outcome(check(round_), known, RUNNING, 31) == expected


def test_node_that_is_ill_at_the_last_round_ends() -> None:
    """At once, though the time-out is not over."""
    assert outcome(check(10), record(watch(checks=10), unhealthy_at=at(20)), RUNNING, 31) == "not_recovered"


def test_repair_is_never_judged_by_its_check() -> None:
    """Ill or not: it is left to HyperPod, and at the time-out to a person, even if it runs."""
    known = record(watch(Stage.REPAIRING), reboots=(), unhealthy_at=at(20))
    for seen in (NOTHING, RUNNING):
        assert outcome(check(2), known, seen, 40) == "waiting"
        assert outcome(check(3), known, seen, 45) == "not_recovered"


def test_retry_is_judged_when_it_is_due_unless_the_node_is_well_or_gone() -> None:
    """As of its report, or of a later one."""
    retry = watch(Stage.RETRYING)
    found = decided(check(), record(retry, reboots=()), RUNNING)
    assert isinstance(found, Case)
    assert found.trigger.time == at(-1)
    assert outcome(check(), record(retry, reboots=()), GONE) == "superseded"
    assert outcome(check(), record(replace(retry, well_at=at(1)), reboots=(), healthy_at=at(1))) == "recovered"


@pytest.mark.parametrize("told", [True, False])
def test_good_ends_are_quiet_where_people_know_of_nothing(told: bool) -> None:
    """A node that did not come back is never quiet."""
    known = record(watch(told=told))
    for seen, loud in ((RUNNING, told), (GONE, told), (FAILING, True)):
        found = decided(check(3), known, seen, 45)
        assert isinstance(found, Ending)
        assert (found.quiet is False) is loud


@pytest.mark.parametrize(
    "known",
    [
        None,
        watch(checks=2),
        replace(watch(), id="m-9"),
        watch(end=Outcome.RECOVERED, ended_by="m-9"),
    ],
)
def test_check_of_what_is_over_or_taken_over_finds_nothing_to_do(known: Watch | None) -> None:
    """No watch, a later check, another watch, or an end that another message decided: nothing is asked or told."""
    for minutes in (15, 45):
        assert outcome(check(), record(known), FAILING, minutes) == "waiting"
        assert needs(check(), record(known), Settings(), at(minutes)) == Needs()


@pytest.mark.parametrize("end", [Outcome.RECOVERED, Outcome.NOT_RECOVERED, Outcome.SUPERSEDED])
def test_end_that_an_earlier_delivery_decided_stands(end: Outcome) -> None:
    """Whatever is seen now: the redelivery reports it, in the same words."""
    known = record(watch(end=end, ended_by="m-c", reason="as decided"), unhealthy_at=at(14))
    for seen in (RUNNING, FAILING, GONE):
        found = decided(check(), known, seen, 60)
        assert isinstance(found, Ending)
        assert (found.outcome, found.reason) == (end, "as decided")
        assert found.code == ("NotRecovered" if end is Outcome.NOT_RECOVERED else None)
        assert found.quiet is (end is not Outcome.NOT_RECOVERED)


def test_end_of_not_recovered_says_what_was_seen() -> None:
    """Status, message, alarm, and both latest reports."""
    known = record(watch(alarm=ALARM.name), unhealthy_at=at(5), healthy_at=at(10))
    seen = replace(FAILING, alarm="INSUFFICIENT_DATA", trouble="Throttled: slow")
    found = decided(check(3, alarm=ALARM), known, seen, 45.5)
    assert isinstance(found, Ending)
    assert (found.outcome, found.code) == (Outcome.NOT_RECOVERED, "NotRecovered")
    assert found.reason == (
        "it did not come back within 2730s: status Failure (no lights), alarm hyperpod-xid INSUFFICIENT_DATA, last "
        "reported unhealthy at 2026-11-23 02:19:07 UTC, healthy at 2026-11-23 02:24:07 UTC, could not be asked: "
        "Throttled: slow"
    )


# -- needs


@pytest.mark.parametrize(
    ("stage", "alarm", "known", "minutes", "expected"),
    [
        (Stage.REBOOTED, None, {}, 15, Needs()),
        (Stage.REBOOTED, None, {}, 30, Needs()),
        (Stage.REBOOTED, None, {}, 45, Needs(node=True)),
        (Stage.REBOOTED, None, {"unhealthy_at": at(5)}, 29, Needs()),
        (Stage.REBOOTED, None, {"unhealthy_at": at(5)}, 30, Needs(node=True)),
        (Stage.REBOOTED, "a", {}, 15, Needs(alarm=True)),
        (Stage.REBOOTED, "a", {}, 30, Needs(alarm=True, node=True)),
        (Stage.REPAIRING, "a", {}, 15, Needs()),
        (Stage.REPAIRING, "a", {}, 45, Needs(node=True)),
        (Stage.RETRYING, None, {}, 2, Needs(node=True)),
        (Stage.RETRYING, "a", {}, 2, Needs(alarm=True, node=True)),
    ],
)
def test_check_asks_only_what_could_decide_it(
    stage: Stage, alarm: str | None, known: dict[str, Any], minutes: float, expected: Needs
) -> None:
    """Each question is a call, of every node, every round."""
    assert needs(check(), record(watch(stage, alarm=alarm), **known), Settings(), at(minutes)) == expected


def test_check_of_a_node_that_is_well_asks_nothing() -> None:
    """The ledger knows."""
    known = record(watch(alarm="a", well_at=at(5)), healthy_at=at(5))
    assert needs(check(), known, Settings(), at(45)) == Needs()


def test_report_that_is_no_check_asks_nothing() -> None:
    """It is judged."""
    assert needs(case(alarm=ALARM), record(watch()), Settings(), at(45)) == Needs()


def test_check_of_a_muted_alarm_asks_the_alarm() -> None:
    """It has no watch; one that names no alarm has nothing to ask."""
    assert needs(check(of=None, alarm=ALARM), record(None), Settings(), at(15)) == Needs(alarm=True)
    assert needs(check(of=None), record(None), Settings(), at(15)) == Needs()


# -- a muted alarm


@pytest.mark.parametrize(
    ("seen", "expected", "words"),
    [
        (Seen(alarm="OK"), "cleared", "is OK"),
        (Seen(alarm="INSUFFICIENT_DATA"), "ignored", "is INSUFFICIENT_DATA"),
        (Seen(), "ignored", "is gone"),
        (Seen(trouble="AccessDeniedException: no"), "ignored", "is AccessDeniedException: no"),
    ],
)
def test_muted_alarm_that_is_not_in_alarm_any_more_reboots_nothing(seen: Seen, expected: str, words: str) -> None:
    """A report that was muted stands only if the alarm does."""
    found = decided(check(of=None, alarm=ALARM), record(None), seen)
    assert isinstance(found, Ending)
    assert found.outcome.value == expected
    assert words in found.reason


def test_muted_alarm_that_is_still_in_alarm_is_judged_as_of_now() -> None:
    """As if it had gone off when the window ended."""
    found = decided(check(of=None, alarm=ALARM), record(None), Seen(alarm="ALARM"), 40)
    assert isinstance(found, Case)
    assert found.trigger.time == at(40)


# -- after_judgement


def test_guards_no_is_nothing_yet_until_the_time_out() -> None:
    """Then the node is given up, with what was seen and the guard's reason."""
    refused = ending(check(2), Outcome.REFUSED, "RebootLimitReached", "2 of 2 reboots")
    known = record(watch(told=True), unhealthy_at=at(20))
    waiting = after_judgement(refused, known, RUNNING, at(31))
    assert (waiting.outcome, waiting.code) == (Outcome.WAITING, None)
    assert waiting.reason == "not rebooted again: RebootLimitReached: 2 of 2 reboots"
    given_up = after_judgement(refused, known, RUNNING, at(45))
    assert (given_up.outcome, given_up.code) == (Outcome.NOT_RECOVERED, "NotRecovered")
    assert given_up.reason.endswith("; not rebooted again: RebootLimitReached: 2 of 2 reboots")


def test_guards_no_to_a_retry_is_the_retrys_outcome() -> None:
    """People were told that it would be tried: they are told why it is not."""
    refused = ending(check(), Outcome.REFUSED, "Paused")
    assert after_judgement(refused, record(watch(Stage.RETRYING)), RUNNING, at(2)) == refused


def test_guards_no_to_a_report_or_a_muted_alarm_is_its_outcome() -> None:
    """Only a watched reboot has an end to wait for."""
    for of in (case(), check(of=None)):
        refused = ending(of, Outcome.REFUSED, "Paused")
        assert after_judgement(refused, record(watch()), NOTHING, at(60)) == refused


def test_guards_no_to_a_check_that_was_taken_over_is_nothing() -> None:
    """Another invocation went on meanwhile."""
    refused = ending(check(), Outcome.REFUSED, "Paused")
    for known in (None, watch(checks=2), watch(end=Outcome.RECOVERED, ended_by="m-9")):
        found = after_judgement(refused, record(known), NOTHING, at(60))
        assert (found.outcome, found.code) == (Outcome.WAITING, None)


# -- healthy_end


WELL = case(message_id="m-h", time=at(9), healthy=True)


def test_report_of_health_ends_the_watch_that_heeds_it() -> None:
    """With the time that it took."""
    found = healthy_end(WELL, record(watch(well_at=at(9), told=True), healthy_at=at(9)))
    assert found
    assert (found.case, found.outcome, found.took, found.quiet) == (WELL, Outcome.RECOVERED, 10 * MINUTE, False)


@pytest.mark.parametrize(
    "known",
    [
        record(None, healthy_at=at(9)),
        record(watch(alarm="a"), healthy_at=at(9)),
        record(watch(well_at=at(-1)), healthy_at=at(-1)),
        record(watch(well_at=at(9)), healthy_at=at(9), unhealthy_at=at(10)),
        record(watch(well_at=at(9), end=Outcome.NOT_RECOVERED, ended_by="m-9"), healthy_at=at(9)),
    ],
)
def test_report_of_health_that_proves_nothing_ends_nothing(known: NodeRecord) -> None:
    """No watch, an alarm's, one from before the reboot, an older one than the latest report, or one that is over."""
    assert healthy_end(WELL, known) is None


def test_report_of_illness_ends_nothing() -> None:
    """Though a sign of health is known."""
    assert healthy_end(case(), record(watch(well_at=at(9)), healthy_at=at(9))) is None


def test_report_of_health_whose_end_was_decided_reports_it_again() -> None:
    """It was killed after it wrote that down."""
    of = record(watch(well_at=at(9)), healthy_at=at(9))
    first = healthy_end(WELL, of)
    assert first
    again = healthy_end(WELL, ended(of, first))
    assert again
    assert (again.outcome, again.reason, again.quiet) == (first.outcome, first.reason, first.quiet)


# -- opened


def test_watch_of_a_second_reboot_knows_what_people_know_and_since_when_it_is_ill() -> None:
    """Recovery is one story, however many reboots it took."""
    known = record(watch(told=True), unhealthy_at=at(20))
    new = opened(Stage.REBOOTED, check(2), known, since=at(30), now=at(30), settings=Settings())
    assert (new.id, new.since, new.until, new.reported_at, new.told) == ("m-c", at(30), at(75), at(-1), True)
    assert (new.checks, new.tries, new.end) == (0, 0, None)


def test_watch_after_one_that_is_over_begins_anew() -> None:
    """What was told then is told."""
    for over in (watch(told=True, end=Outcome.RECOVERED), replace(watch(told=True), until=at(20))):
        fresh = case(time=at(20))
        new = opened(Stage.REBOOTED, fresh, record(over), since=at(21), now=at(21), settings=Settings())
        assert (new.reported_at, new.told) == (at(20), False)


def test_watch_counts_a_sign_of_health_that_came_first() -> None:
    """The Healthy report was quicker than the answer; but for an alarm it is none."""
    known = record(None, healthy_at=at(1))
    for alarm, well_at in ((None, at(1)), (ALARM, None)):
        of = case(alarm=alarm)
        assert opened(Stage.REBOOTED, of, known, since=NOW, now=at(2), settings=Settings()).well_at == well_at
    assert opened(Stage.REBOOTED, case(), known, since=at(2), now=at(2), settings=Settings()).well_at is None


# -- next_check

# A round that is wasted shows only where the others are full: near multiples of the longest delay.
full_rounds = st.builds(lambda rounds, more: max(1, 900 * rounds + more), st.integers(0, 9), st.integers(-2, 2))
durations = st.one_of(full_rounds, st.integers(1, 9_000)).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def valid_settings(draw: st.DrawFn) -> Settings:
    """All that could shape a chain, where the settings take it."""
    after = draw(durations)
    after, timeout = sorted((after, draw(durations | st.just(after + 9 * LONGEST_DELAY))))
    cooldown = draw(st.integers(1, 3_600)) if draw(st.booleans()) else 1
    try:
        return Settings(verify_after=after, verify_timeout=timeout, cooldown=timedelta(seconds=cooldown))
    except SettingsError:
        assume(False)
        raise


def chain(of: Case, began: datetime, settings: Settings, reboots: tuple[datetime, ...], late: float) -> list[datetime]:
    """The times of all checks of a watch that nothing ends, each delivered `late` seconds after it is due."""
    known = record(None, reboots=reboots)
    left = opened(Stage.REBOOTED, of, known, since=began, now=began, settings=settings)
    now, times = began, []
    while now < left.until:
        following = next_check(of, left, known, settings, now)
        assert following, "no round is left, and the time-out is not reached"
        assert following.next_at
        delay = (following.next_at - now) / timedelta(seconds=1)
        assert delay == int(delay)
        assert 1 <= delay <= LONGEST_DELAY / timedelta(seconds=1)
        assert following.next_at < left.until + timedelta(seconds=1)
        assert following.checks == rounds(of) + 1 <= MOST_ROUNDS
        left, now = following, following.next_at + timedelta(seconds=late)
        of = check(following.checks, of=left.id)
        times.append(now)
    return times


@given(valid_settings(), st.integers(0, 999), st.sampled_from([0, 0.3, 7, 130]))
def test_chain_of_every_reboot_reaches_its_time_out_in_ten_rounds(
    settings: Settings, fraction: int, late: float
) -> None:
    """Over all valid settings: whole seconds within 1 to 900, the first at `verify_after`, never past the time-out."""
    began = NOW + timedelta(milliseconds=fraction)
    times = chain(case(), began, settings, (began,), late)
    assert len(times) <= MOST_ROUNDS
    assert times[-1] >= began + settings.verify_timeout


@given(valid_settings(), st.data())
def test_chain_of_a_second_reboot_reaches_its_time_out_in_the_rounds_that_are_left(
    settings: Settings, data: st.DataObject
) -> None:
    """A check reboots again only if these are enough."""
    done = (
        data.draw(st.integers(1, MOST_ROUNDS - settings.rounds_to_verify))
        if settings.rounds_to_verify < MOST_ROUNDS
        else 0
    )
    of = check(done) if done else case()
    times = chain(of, NOW, settings, (NOW,), 0)
    assert done + len(times) <= MOST_ROUNDS
    assert times[-1] >= NOW + settings.verify_timeout


def test_first_check_comes_after_verify_after_then_as_often_as_that() -> None:
    """By default at 15, 30 and 45 minutes."""
    assert chain(case(), NOW, Settings(), (NOW,), 0) == [at(15), at(30), at(45)]


def test_check_is_moved_to_the_end_of_the_cooldown() -> None:
    """A node that is still ill waits no longer than it must."""
    settings = Settings(cooldown=20 * MINUTE)
    assert chain(case(), NOW, settings, (NOW,), 0) == [at(15), at(20), at(35), at(45)]


def test_chain_without_a_round_left_has_no_next_check() -> None:
    """Ten messages of this function to itself, never more."""
    assert next_check(check(10), watch(), record(watch()), Settings(), at(20)) is None
    last = next_check(check(9), watch(), record(watch()), Settings(), at(20))
    assert last
    assert last.checks == 10


def test_retry_comes_when_it_was_promised() -> None:
    """Not as often as checks do."""
    retry = watch(Stage.RETRYING, next_at=at(2))
    following = next_check(case(), retry, record(retry), Settings(), NOW)
    assert following
    assert (following.next_at, following.checks) == (at(2), 1)


def test_check_is_its_watchs_own_until_a_later_one_is_sent() -> None:
    """By the watch's ID and the round."""
    known = record(watch(checks=2))
    assert current(check(2), known) == known.watch
    assert current(check(3), known) == known.watch
    assert current(check(1), known) is None
    assert current(check(2, of="m-9"), known) is None
    assert current(case(), known) is None
    assert current(check(2), record(None)) is None
