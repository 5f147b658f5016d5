"""What a report does to a node's record: it withdraws, joins, opens an incident, or is answered at once."""

from dataclasses import replace
from typing import Any

import pytest

from node_remediation.model import Alarm, AlarmState, Case, ClusterFacts, Failure
from node_remediation.policy.record import HANDLED_FOR, MOST_HANDLED, Missing, Sign, State
from node_remediation.policy.reports import complaint_of
from tests.unit.policy.makers import (
    LOGICAL,
    MINUTE,
    NOW,
    SECOND,
    SERIES,
    SICK,
    ago,
    budget_of,
    case,
    complaint,
    decided,
    facts,
    hence,
    incident,
    incident_of,
    instance,
    key,
    letter,
    node_of,
    outcomes,
    record,
    request,
    said,
)

THROTTLED = Missing("ThrottlingException", "Rate exceeded")
DENIED = Missing("AccessDeniedException", "not authorized", final=True)
AUTOMATIC = ClusterFacts(100, automatic=True)
FAILURE = Failure("AccessDeniedException", "not authorized")
IN_ALARM = {SICK.source: AlarmState("ALARM")}


# -- withdrawals


@pytest.mark.parametrize(("minutes", "withdrawn"), [(-2, False), (-1, True), (0, True)])
def test_word_of_health_withdraws_the_complaint_of_its_own_source_at_or_before_it(
    minutes: int, withdrawn: bool
) -> None:
    """Nobody's word withdraws another's complaint; on a tie, healthy wins."""
    of = incident(State.OPEN, complaint(ago(1)), complaint(ago(9), alarm=SICK), due=hence(5))
    plan = decided(case(hence(minutes), healthy=True), of=record(incident=of))
    assert outcomes(plan) == [("cleared", None)]
    assert (
        [each.source for each in incident_of(plan).standing] == [SICK.source]
        if withdrawn
        else [SICK.source, "hyperpod"]
    )
    assert incident_of(plan).due == hence(5)
    assert node_of(plan).sign("hyperpod") == Sign(healthy_at=hence(minutes))


@pytest.mark.parametrize(
    ("said_by", "reason"), [(None, "HyperPod reports the node healthy"), (SICK, "alarm hyperpod-reboot-sick is OK")]
)
def test_node_without_incident_keeps_signs_of_health_by_source(said_by: Alarm | None, reason: str) -> None:
    """Events come out of order: an older complaint of the same source asks for nothing."""
    plan = decided(case(healthy=True, alarm=said_by))
    assert (plan.results[0].reason, node_of(plan).due) == (reason, None)
    of = node_of(plan)
    assert outcomes(decided(case(ago(1), alarm=said_by), of=of)) == [("cleared", None)]
    other = SICK if said_by is None else None
    assert decided(case(ago(1), alarm=other), of=of).claims


def test_last_withdrawal_ends_an_incident_that_waits() -> None:
    """Also while it waits for something else; the report that opened it in the same batch is cleared with it."""
    of = incident(State.OPEN, complaint(ago(1)), due=hence(5))
    plan = decided(case(healthy=True), of=record(incident=of))
    assert [each.state for each in plan.changes] == ["cleared"]
    both = decided(case(ago(2)), case(ago(1), healthy=True))
    assert outcomes(both) == [("cleared", None), ("cleared", None)]
    assert both.claims == ()


def test_reports_of_one_batch_are_taken_in_by_their_times() -> None:
    """In whatever order the queue delivers; at the same time, healthy wins."""
    sick, well, again = case(ago(3)), case(ago(2), healthy=True), case(ago(1))
    assert decided(again, well, sick).claims[0].case == again
    assert decided(case(), case(healthy=True)).claims == decided(case(healthy=True), case()).claims == ()


@pytest.mark.parametrize("other", [Alarm("hyperpod-reboot-other"), replace(SICK, series="{}")])
def test_alarm_or_series_withdraws_only_its_own_complaint(other: Alarm) -> None:
    """Each series is a source of its own."""
    of = incident(State.OPEN, complaint(ago(1), alarm=SICK), due=hence(5))
    plan = decided(case(healthy=True, alarm=other), of=record(incident=of))
    assert len(incident_of(plan).standing) == 1


@pytest.mark.parametrize(("said_by", "looks"), [(None, False), (SICK, False), (SERIES, True)])
def test_word_of_health_after_a_reboot_is_a_look_where_it_concerns_the_incident(said_by: Any, looks: bool) -> None:
    """A redriven letter complains for a series that it does not know: any series' word has its alarm asked."""
    of = incident(State.REBOOTED, complaint(ago(9), alarm=replace(SERIES, series=None)), since=ago(5), due=hence(5))
    plan = decided(case(healthy=True, alarm=said_by), of=record(incident=of, reboots=(ago(5),)))
    assert (incident_of(plan).due != hence(5)) is looks


# -- complaints that open or join


def test_first_complaint_opens_an_incident_that_is_judged_at_once() -> None:
    """Its alarm is not asked: it has just spoken."""
    plan = decided(case(ago(2), alarm=replace(SICK, tags=(("a", "b"),)), recommendation="look"))
    of = incident_of(plan)
    assert (of.opened_at, of.attempt, of.tries, of.node, of.redriven) == (ago(2), 1, 0, instance(), False)
    assert [(each.source, each.alarm, each.recommendation) for each in of.complaints] == [(SICK.source, SICK, "look")]
    assert node_of(plan).sign(SICK.source) == Sign(unhealthy_at=ago(2))


@pytest.mark.parametrize("state", list(State))
def test_complaint_of_another_source_joins_the_incident(state: State) -> None:
    """It changes nothing by itself, and counts at the next judgement or look."""
    of = incident(state, complaint(ago(9)), since=ago(5), due=hence(5), lease_until=hence(1))
    plan = decided(case(alarm=SERIES), of=record(incident=of, reboots=(ago(5),)), known=facts(mode="paused"))
    assert outcomes(plan) == [("duplicate", None)]
    assert plan.results[0].reason == f"joined the node's incident, which is {state.value}"
    assert plan.results[0].incident == of.id
    assert incident_of(plan) == of.with_complaint(incident_of(plan).complaints[-1])
    assert incident_of(plan).complaint(SERIES.source)


@pytest.mark.parametrize(
    ("state", "minutes", "claims"), [(State.REBOOTED, 29.99, 0), (State.REBOOTED, 30, 1), (State.REPAIRING, 99, 0)]
)
def test_complaint_after_the_cooldown_of_a_reboot_is_judged_at_once(state: State, minutes: float, claims: int) -> None:
    """Without waiting for the next look; HyperPod's repair is waited for."""
    of = incident(state, complaint(ago(199)), since=ago(minutes), due=hence(5))
    plan = decided(case(), of=record(incident=of, reboots=(ago(minutes),)))
    assert outcomes(plan) == [("duplicate", None)]
    assert len(plan.claims) == claims


@pytest.mark.parametrize("minutes", [-1, 0])
def test_report_that_is_not_later_than_its_source_spoke_before_is_a_duplicate(minutes: int) -> None:
    """The same message again, or an older one: it neither opens nor joins."""
    heard = {"hyperpod": Sign(unhealthy_at=NOW)}
    for known in (record(signs=heard), record(signs=heard, incident=incident(due=hence(5)))):
        plan = decided(case(hence(minutes)), of=known)
        assert outcomes(plan) == [("duplicate", None)]
        assert plan.results[0].reason == "the same source has complained at 2026-11-23 02:14:07 UTC, not before this"
        assert plan.records == ()


@pytest.mark.parametrize(("minutes", "opens"), [(-91, False), (-90, False), (-89.9, True)])
def test_report_that_is_not_later_than_the_last_claim_opens_nothing(minutes: float, opens: bool) -> None:
    """However long ago: that reboot answered it. A person's request asks for another."""
    of = record(reboots=(ago(90),), last_claim=ago(90))
    assert bool(decided(case(hence(minutes)), of=of).claims) is opens
    assert decided(request(hence(minutes)), of=of).claims


def test_repair_that_a_later_report_left_out_is_learned_from_the_earlier() -> None:
    """One fault comes as two events within a second, and HyperPod's own repair must be left alone."""
    signs = {"hyperpod": Sign(unhealthy_at=NOW)}
    of = record(incident=incident(State.OPEN, complaint(), due=hence(5)), signs=signs)
    naming = case(NOW - SECOND, repair_action="Replace")
    plan = decided(naming, of=of, known=facts(cluster=AUTOMATIC))
    assert outcomes(plan) == [("deferred", None)]
    assert incident_of(plan).state is State.REPAIRING
    assert outcomes(decided(naming, of=node_of(plan), known=facts(cluster=AUTOMATIC))) == [("duplicate", None)]
    assert decided(case(), naming, known=facts(cluster=AUTOMATIC)).claims == ()


@pytest.mark.parametrize("state", [State.OPEN, State.RETRYING, State.REBOOTED])
def test_announced_repair_is_acted_on_at_once(state: State) -> None:
    """Whatever the incident waits for; the report is answered with what it came to."""
    of = record(incident=incident(state, complaint(ago(9)), since=ago(5), due=hence(5)), reboots=(ago(5),))
    plan = decided(case(repair_action="Reboot"), of=of, known=facts(cluster=AUTOMATIC))
    assert outcomes(plan) == [("deferred", None)]
    assert (incident_of(plan).state, incident_of(plan).since) == (State.REPAIRING, NOW)


def test_repair_that_is_announced_during_a_call_is_remembered() -> None:
    """The claim hears the answer first."""
    of = record(incident=incident(State.CLAIMED, complaint(ago(1))))
    plan = decided(case(repair_action="Reboot"), of=of, known=facts(cluster=AUTOMATIC))
    assert outcomes(plan) == [("duplicate", None)]
    assert (incident_of(plan).state, incident_of(plan).repair_at) == (State.CLAIMED, NOW)


def test_event_binds_every_complaint_of_its_batch_to_the_repair() -> None:
    """An alarm of the same fault must not reboot what HyperPod repairs, whichever is older."""
    for minutes in (0, 2):
        plan = decided(
            case(ago(minutes), repair_action="Replace"), case(ago(1), alarm=SICK), known=facts(cluster=AUTOMATIC)
        )
        assert sorted(outcomes(plan)) == [("deferred", None), ("duplicate", None)]
        assert plan.claims == ()


# -- mutes


def test_muted_alarm_opens_an_incident_that_waits_for_the_end_of_its_window() -> None:
    """Its alarm is asked then; until then a report of another source is judged by itself."""
    muted = case(ago(1), alarm=SICK, muted="muted by arn:rule", muted_until=hence(9))
    plan = decided(muted)
    assert outcomes(plan) == [("deferred", None)]
    assert (incident_of(plan).due, incident_of(plan).note) == (hence(9), "muted by arn:rule")
    assert node_of(plan).sign(SICK.source) == Sign(unhealthy_at=ago(1))
    assert (
        plan.changes[0].reason
        == "muted by arn:rule; looked at again when the mute window ends, at 2026-11-23 02:23:07 UTC"
    )
    assert outcomes(decided(muted, of=node_of(plan))) == [("deferred", None)]
    assert decided(muted, of=replace(node_of(plan), incident=None)).records == ()
    spoken = case()
    assert decided(spoken, of=node_of(plan), known=facts(alarms=IN_ALARM)).claims[0].case == spoken


def test_window_that_is_over_when_its_report_arrives_is_judged_at_once() -> None:
    """The report is deferred all the same: the alarm has the word."""
    muted = case(ago(9), alarm=SICK, muted="muted", muted_until=ago(1))
    plan = decided(muted, known=facts(alarms=IN_ALARM))
    assert outcomes(plan) == [("deferred", None)]
    assert len(plan.claims) == 1


@pytest.mark.parametrize(
    ("muted", "of"),
    [
        (case(alarm=SICK, muted="suppressed"), record()),
        (case(alarm=SICK, muted="m", muted_until=hence(9), failure=FAILURE), record()),
        (
            case(alarm=SICK, muted="m", muted_until=hence(9), known_as=key(cluster="ml-c")),
            record(key=key(cluster="ml-c")),
        ),
        (case(alarm=SICK, muted="m", muted_until=hence(9)), record(signs={SICK.source: Sign(healthy_at=NOW)})),
        (case(alarm=SICK, muted="m", muted_until=hence(9)), record(signs={SICK.source: Sign(unhealthy_at=NOW)})),
        (case(alarm=SICK, muted="m", muted_until=hence(9)), record(last_claim=NOW)),
    ],
)
def test_muted_report_that_has_nothing_to_wait_for_is_dropped(muted: Case, of: Any) -> None:
    """No known end, no cluster of ours, or old news."""
    plan = decided(muted, of=of)
    assert outcomes(plan) == [("deferred", None)]
    assert plan.records == ()


@pytest.mark.parametrize(
    ("state", "due"), [(State.OPEN, 3), (State.RETRYING, 3), (State.REBOOTED, 5), (State.CLAIMED, 5)]
)
def test_muted_report_joins_an_incident_which_asks_the_alarm_in_time(state: State, due: float) -> None:
    """Before a reboot the end of the window matters, after it the next look."""
    of = record(incident=incident(state, complaint(ago(1)), due=hence(5)))
    plan = decided(case(alarm=SICK, muted="muted", muted_until=hence(3)), of=of)
    assert incident_of(plan).due == hence(due)
    joined = incident_of(plan).complaint(SICK.source)
    assert joined
    assert joined.muted_until == hence(3)


# -- answered at once


def test_report_whose_lookup_aws_denies_is_failed_once() -> None:
    """It cannot be judged; a person must know, and a message that comes again changes nothing."""
    denied = case(failure=FAILURE)
    plan = decided(denied)
    assert outcomes(plan) == [("failed", "AccessDeniedException")]
    assert said(plan) == [("failed", "AccessDeniedException", True, True)]
    again = decided(denied, of=replace(node_of(plan), outbox=()))
    assert outcomes(again) == [("duplicate", None)]
    assert again.records == ()


def test_refused_report_that_comes_again_after_the_cooldown_is_a_duplicate() -> None:
    """Its refusal was told; a new report of the same source is refused anew."""
    well = record(signs={"hyperpod": Sign(healthy_at=NOW)})
    paused = facts(mode="paused")
    old = case(ago(1))
    of = node_of(decided(old, known=paused))
    assert outcomes(decided(old, of=of, known=paused, now=hence(60))) == [("duplicate", None)]
    assert outcomes(decided(old, of=of, now=hence(30))) == [("duplicate", None)]
    assert outcomes(decided(case(hence(59)), of=of, known=paused, now=hence(60))) == [("refused", "Paused")]
    cleared = decided(old, of=well)
    assert outcomes(cleared) == [("cleared", None)]
    assert outcomes(decided(old, of=node_of(cleared), known=paused)) == [("duplicate", None)]
    answered = decided(old, of=record(last_claim=NOW))
    assert outcomes(answered) == [("duplicate", None)]
    later = replace(node_of(answered), incident=incident(State.REBOOTED, complaint(alarm=SICK), due=hence(5)))
    assert decided(old, of=later).records == ()


# -- what a person asks for


def test_request_takes_over_the_incident_of_its_node() -> None:
    """Bound by no wait, mute or retry; the report that waits in the same batch is a duplicate of it."""
    of = incident(State.RETRYING, complaint(ago(9)), due=hence(5), tries=1)
    asked = request()
    plan = decided(asked, of=record(incident=of))
    assert plan.claims[0].case == asked
    assert (incident_of(plan).id, incident_of(plan).state) == (of.id, State.CLAIMED)
    assert {each.source for each in incident_of(plan).complaints} == {"hyperpod", "request"}
    both = decided(asked, case())
    assert both.claims[0].case == asked
    assert outcomes(both) == [("duplicate", None)]


def test_letter_complains_as_its_trigger_did_and_counts_on() -> None:
    """A node that fails again has a letter with the next number."""
    plan = decided(letter(ago(90), sent=NOW, attempt=3))
    assert [(each.source, each.made_at) for each in incident_of(plan).complaints] == [("hyperpod", ago(90))]
    assert (incident_of(plan).attempt, incident_of(plan).redriven) == (3, True)
    assert node_of(plan).handled == {"letter-1": NOW}
    for before, attempt in ((1, 3), (5, 5)):
        of = record(incident=incident(State.OPEN, due=hence(5), attempt=before))
        assert incident_of(decided(letter(attempt=3), of=of)).attempt == attempt


def test_letter_of_what_a_redrive_brought_is_delayed() -> None:
    """A move task must not chase it."""
    plain, paused = request(), facts(mode="paused")
    moved = replace(plain, message=replace(plain.message, redriven=True))
    delays = [node_of(decided(each, known=paused)).outbox[0].delay for each in (letter(), moved, plain)]
    assert delays == [900, 900, 0]
    assert incident_of(decided(moved)).redriven


@pytest.mark.parametrize(
    ("state", "code", "reason"),
    [
        (State.CLAIMED, "CoolingDown", "a reboot call for this node is under way"),
        (State.REPAIRING, "UnderRepair", "HyperPod has been repairing the node since 2026-11-23 02:09:07 UTC"),
    ],
)
def test_request_is_bound_by_claims_and_repairs(state: State, code: str, reason: str) -> None:
    """Its no is its own, and leaves the incident alone."""
    of = incident(state, complaint(ago(9)), since=ago(5), due=hence(5))
    plan = decided(request(), of=record(incident=of))
    assert outcomes(plan) == [("refused", code)]
    assert plan.results[0].reason == reason
    assert incident_of(plan) == of
    assert said(plan) == [("refused", code, True, True)]
    assert node_of(plan).outbox[0].incident is None


@pytest.mark.parametrize(
    ("state", "made", "cluster", "answer"),
    [
        (State.OPEN, 9, AUTOMATIC, ("refused", "UnderRepair")),
        (State.RETRYING, 9, AUTOMATIC, ("refused", "UnderRepair")),
        (State.REBOOTED, 1, AUTOMATIC, ("refused", "UnderRepair")),
        (State.REBOOTED, 99, AUTOMATIC, None),
        (State.REBOOTED, 50, AUTOMATIC, None),
        (State.OPEN, 9, ClusterFacts(100, automatic=False), ("refused", "ReplacementAdvised")),
    ],
)
def test_request_is_bound_by_a_repair_that_hyperpod_announced(
    state: State, made: float, cluster: ClusterFacts, answer: tuple[str, str] | None
) -> None:
    """It binds every complaint about the node, until a reboot has answered it."""
    of = incident(state, complaint(ago(made), repair_action="Replace"), since=ago(50), due=hence(5))
    plan = decided(request(), of=record(incident=of), known=facts(cluster=cluster))
    assert outcomes(plan) == ([answer] if answer else [])
    assert bool(plan.claims) is (answer is None)


@pytest.mark.parametrize(("node", "called"), [(instance(), instance()), (LOGICAL, LOGICAL)])
def test_request_calls_an_id_that_was_resolved_just_now(node: Any, called: Any) -> None:
    """The logical ID that was reported first may belong to another instance by now."""
    of = incident(State.OPEN, node=replace(LOGICAL, id="another-logical-id"), due=hence(5))
    plan = decided(request(node=node, known_as=key()), of=record(incident=of))
    assert plan.claims[0].node == called
    first = incident(State.OPEN, due=hence(5))
    assert decided(request(node=LOGICAL, known_as=key()), of=record(incident=first)).claims[0].node == instance()


@pytest.mark.parametrize(
    ("named", "known", "outcome"),
    [(instance(9).id, key(), "cleared"), (key().id, key(), None), (None, key(), None), (instance(9).id, key(9), None)],
)
def test_letter_of_a_logical_id_spares_the_successor(named: str | None, known: Any, outcome: str | None) -> None:
    """Its instance was replaced: there is nothing left to reboot, and nobody to tell."""
    asked = letter(node=LOGICAL, known_as=known, instance_id=named)
    plan = decided(asked)
    assert outcomes(plan) == ([(outcome, "Superseded")] if outcome else [])
    assert said(plan) == []
    if outcome:
        assert plan.results[0].reason == f"df268d19-f035 was instance {instance(9).id} and is {key().id} now"


@pytest.mark.parametrize("known", [{"mode": None}, {"mode": THROTTLED}, {"cluster": None}, {"cluster": THROTTLED}])
def test_request_whose_facts_are_missing_goes_back_until_its_fifth_receive(known: dict[str, Any]) -> None:
    """It is judged at once or not at all; in the end people read why."""
    code = "ThrottlingException" if THROTTLED in known.values() else "DeadlineExceeded"
    plan = decided(request(receives=4), of=record(), known=facts(**known))
    assert [(back.code, plan.results, plan.records) for back in plan.handed_back] == [(code, (), ())]
    if "mode" in known:
        claimed = decided(request(), of=record(incident=incident(State.CLAIMED)), known=facts(**known))
        assert [back.code for back in claimed.handed_back] == [code]
    last = decided(request(receives=5), known=facts(**known))
    assert (outcomes(last), last.handed_back) == ([("failed", code)], ())
    assert said(last) == [("failed", code, True, True)]
    assert outcomes(decided(request(), known=facts(cluster=DENIED))) == [("failed", "AccessDeniedException")]
    assert outcomes(decided(request(failure=FAILURE))) == [("failed", "AccessDeniedException")]


@pytest.mark.parametrize("make", [request, letter])
@pytest.mark.parametrize("mode", ["active", "paused", "observe"])
def test_request_or_letter_that_was_dealt_with_is_a_duplicate(make: Any, mode: str) -> None:
    """However it ended: a letter by its own ID, in whatever message it comes again."""
    asked = make(id="m-asked")
    of = replace(node_of(decided(asked, known=facts(mode=mode))), outbox=(), events=(), incident=None, reboots=())
    again = replace(asked, message=replace(asked.message, id="m-other")) if make is letter else asked
    plan = decided(again, of=of, now=hence(60 * 24))
    assert outcomes(plan) == [("duplicate", None)]
    assert plan.records == ()
    assert decided(make(id="m-new", **({"letter_id": "letter-2"} if make is letter else {})), of=of).claims


@pytest.mark.parametrize(
    ("count", "age", "code"),
    [(MOST_HANDLED, 1 * MINUTE, "LedgerBusy"), (MOST_HANDLED - 1, 1 * MINUTE, None), (MOST_HANDLED, HANDLED_FOR, None)],
)
def test_requests_beyond_the_bound_of_four_days_are_refused(count: int, age: Any, code: str | None) -> None:
    """A node's record keeps the IDs of a hundred; those that can no longer come again do not count."""
    plan = decided(request(), of=record(handled={str(n): NOW - age for n in range(count)}))
    assert outcomes(plan) == ([("refused", code)] if code else [])


def test_observed_request_is_charged_to_mode_observe() -> None:
    """As any observation."""
    plan = decided(request(), known=facts(mode="observe"))
    assert (budget_of(plan).spends, budget_of(plan).observed) == ((), ((NOW, 1),))


def test_complaint_says_all_that_is_quoted_of_its_report() -> None:
    """Without the alarm's tags, which only served to find the cluster."""
    of = complaint_of(request(ago(1), repair_action="Reboot", recommendation="look", muted_until=hence(1)))
    assert (of.source, of.made_at, of.repair_action, of.recommendation) == ("request", ago(1), "Reboot", "look")
    assert (of.muted_until, of.alarm) == (hence(1), None)
    assert complaint_of(case(alarm=Alarm("a", tags=(("k", "v"),)))).alarm == Alarm("a")


def test_incident_ids_differ_by_report_and_are_the_same_for_the_same() -> None:
    """A decision that is made again after a conflict is the same incident."""
    ids = [incident_of(decided(case(ago(1), id=id_))).id for id_ in ("m-1", "m-1", "m-2")]
    assert ids[0] == ids[1] != ids[2]
