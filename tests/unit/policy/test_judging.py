"""An incident before its reboot: what it waits for, how long, and how it ends or goes on."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from node_remediation.model import AlarmState, ClusterFacts, Failure
from node_remediation.policy.draft import Plan
from node_remediation.policy.record import MOST_ENTRIES, Budget, Complaint, Incident, Missing, Sign, State
from tests.unit.policy.makers import (
    LOGICAL,
    LOGICAL_KEY,
    MINUTE,
    NOW,
    SECOND,
    SICK,
    ago,
    budget_of,
    case,
    complaint,
    decided,
    entry,
    facts,
    hence,
    incident,
    incident_of,
    instance,
    key,
    node_of,
    outcomes,
    record,
    running,
    said,
)

THROTTLED = Missing("ThrottlingException", "Rate exceeded")
DENIED = Missing("AccessDeniedException", "not authorized", final=True)
BUSY = Failure("InstanceIdInUse", "The node is busy.")


def muted(minutes: float, at: datetime = NOW) -> Complaint:
    return complaint(at, alarm=SICK, muted_until=hence(minutes))


def alarm(state: str, since: datetime | None = None) -> dict[str, AlarmState | Missing]:
    return {SICK.source: AlarmState(state, since)}


def due(of: Incident, **known: Any) -> Plan:
    return decided(of=record(incident=of), known=facts(**known))


def ends(plan: Plan) -> list[tuple[str, str | None, bool]]:
    return [(change.state, change.code, change.counted) for change in plan.changes]


# -- claims


def test_claim_is_charged_and_lasts_as_long_as_the_lease() -> None:
    """Saved before the call: from here on the node counts as rebooted."""
    plan = due(incident(State.OPEN, complaint(ago(2)), note="waits", repair_at=ago(1)))
    of = incident_of(plan)
    assert (of.state, of.since, of.due, of.lease_until) == (State.CLAIMED, NOW, NOW + 65 * SECOND, NOW + 65 * SECOND)
    assert (of.rebooted_at, of.repair_at, of.note) == (None, None, "")
    assert (node_of(plan).reboots, node_of(plan).last_claim) == ((NOW,), NOW)
    assert budget_of(plan) == Budget("ml-a", spends=((NOW, 1),))


@pytest.mark.parametrize(
    ("of", "continuous", "ids"),
    [
        (record(), False, {}),
        (record(), True, {key().id: NOW}),
        (record(logical_id=LOGICAL.id), False, {LOGICAL.id: NOW}),
        (record(key=LOGICAL_KEY, node=LOGICAL), True, {LOGICAL.id: NOW}),
    ],
)
def test_claim_notes_the_name_of_a_node_with_two_in_the_budget(
    of: Any, continuous: bool, ids: dict[str, datetime]
) -> None:
    """A report by its other ID, once that is known, must find it."""
    known = facts({key().id: running()}, cluster=ClusterFacts(100, automatic=False, continuous=continuous))
    plan = decided(case(node=of.node, known_as=of.key), of=of, known=known)
    assert budget_of(plan).logical_ids == ids
    assert plan.claims[0].key == of.key


# -- withdrawals before a reboot


def test_incident_whose_alarm_is_ok_at_the_judgement_is_cleared() -> None:
    """An alarm is asked before each judgement after intake: its event may be late or lost."""
    of = incident(State.OPEN, complaint(ago(5), alarm=SICK))
    plan = due(of, alarms=alarm("OK", ago(1)))
    assert ends(plan) == [("cleared", None, True)]
    assert node_of(plan).sign(SICK.source) == Sign(healthy_at=ago(1))
    assert node_of(plan).incident is None
    for state in ("ALARM", "INSUFFICIENT_DATA", "gone", "denied"):
        assert due(of, alarms=alarm(state)).claims


def test_incident_that_lost_a_complaint_to_its_bound_is_not_cleared() -> None:
    """The dropped source has not withdrawn."""
    assert due(incident(State.OPEN, complaint(ago(5), withdrawn_at=ago(1)), dropped=True)).claims


def test_failed_try_whose_complaints_were_withdrawn_has_no_letter() -> None:
    """The topic has had the entry when it failed; there is nothing left to redrive."""
    of = incident(State.RETRYING, complaint(ago(5), withdrawn_at=ago(1)), failure=BUSY)
    plan = due(of)
    assert ends(plan) == [("cleared", None, True)]
    assert said(plan) == []


def test_node_that_was_replaced_before_its_reboot_is_cleared_as_superseded() -> None:
    """Its logical ID belongs to a healthy successor: that must not be rebooted."""
    plan = due(incident(State.OPEN, node=LOGICAL), nodes={key().id: running(2)})
    assert ends(plan) == [("cleared", "Superseded", True)]
    assert plan.claims == ()
    assert due(incident(State.OPEN, node=LOGICAL), nodes={key().id: running(1)}).claims[0].node == LOGICAL
    assert due(incident(State.OPEN), nodes={key().id: running(2)}).claims[0].node == instance()


# -- mutes


def test_incident_of_muted_complaints_waits_for_the_first_window_to_end() -> None:
    """Its alarm is asked then."""
    of = incident(State.OPEN, muted(9), replace(muted(7), source="alarm:other"))
    plan = due(of, alarms=alarm("ALARM") | {"alarm:other": AlarmState("ALARM")})
    assert (incident_of(plan).due, incident_of(plan).note) == (hence(7), "muted until 2026-11-23 02:21:07 UTC")
    assert plan.claims == ()


@pytest.mark.parametrize("state", ["ALARM", "OK", "INSUFFICIENT_DATA", "gone", "denied"])
def test_muted_complaint_counts_after_its_window_unless_its_alarm_is_ok(state: str) -> None:
    """Only its own OK withdraws it; a node that is dead sends no data."""
    plan = due(incident(State.OPEN, muted(0, ago(30))), alarms=alarm(state))
    assert len(plan.claims) == (state != "OK")
    if not plan.claims:
        assert ends(plan) == [("cleared", None, True)]
        assert node_of(plan).sign(SICK.source) == Sign(healthy_at=NOW)


def test_muted_complaint_neither_counts_nor_holds_up_another() -> None:
    """A neighbour's word is judged by itself; a repair that is announced under a mute is none yet."""
    of = incident(State.OPEN, complaint(), replace(muted(9), repair_action="Replace"))
    assert due(of, alarms=alarm("ALARM"), cluster=ClusterFacts(9, automatic=True)).claims


# -- facts that could not be had


@pytest.mark.parametrize(
    ("waits", "since", "seconds"),
    [(0, None, 30), (1, ago(1), 60), (2, ago(1), 120), (5, ago(1), 900), (99, ago(1), 900), (5, ago(59), 60)],
)
def test_missing_fact_is_waited_for_longer_each_time_up_to_max_report_age(
    waits: int, since: datetime | None, seconds: int
) -> None:
    """Each wait is said once, with the reason."""
    of = incident(State.OPEN, complaint(ago(1), alarm=SICK), waits=waits, lacks_since=since)
    plan = due(of, alarms={SICK.source: THROTTLED})
    after = incident_of(plan)
    assert (after.due, after.waits, after.lacks_since) == (NOW + seconds * SECOND, waits + 1, since or NOW)
    assert ends(plan) == [("open", "ThrottlingException", True)]
    assert after.note == plan.changes[0].reason
    assert after.note.endswith("ThrottlingException: Rate exceeded")


@pytest.mark.parametrize("failure", [None, BUSY])
def test_fact_that_is_missing_for_max_report_age_fails_the_node(failure: Failure | None) -> None:
    """With its code, or with what the API last said of the node."""
    plan = due(incident(State.OPEN, lacks_since=ago(60), failure=failure), mode=THROTTLED)
    code = failure.code if failure else "ThrottlingException"
    assert ends(plan) == [("failed", code, True)]
    assert said(plan) == [("failed", code, True, True)]
    assert due(incident(State.OPEN, lacks_since=ago(59.99)), mode=THROTTLED).records


def test_full_outbox_takes_no_failure_more() -> None:
    """The node waits on until its entries are sent."""
    full = tuple(entry(str(n), code=str(n), due=hence(9)) for n in range(MOST_ENTRIES))
    plan = decided(of=record(incident=incident(State.OPEN, lacks_since=ago(60), waits=99), outbox=full))
    assert (incident_of(plan).due, len(node_of(plan).outbox)) == (hence(15), MOST_ENTRIES)


@pytest.mark.parametrize(
    ("known", "end"),
    [
        ({"cluster": ClusterFacts(100, automatic=True)}, ("repairing", None, True)),
        ({"nodes": {key().id: running(2)}}, ("cleared", "Superseded", True)),
    ],
)
def test_tries_that_end_otherwise_have_the_letter_of_their_failure(known: Any, end: Any) -> None:
    """The DLQ has each entry of the API whose tries ended."""
    of = incident(State.RETRYING, complaint(repair_action="Reboot"), failure=BUSY, node=LOGICAL)
    plan = due(of, **{"nodes": {key().id: running()}} | known)
    assert (ends(plan), said(plan)) == ([end], [("failed", BUSY.code, True, False)])


def test_fact_that_aws_denies_for_good_fails_the_node_at_once() -> None:
    """Asking again would not help."""
    plan = decided(case(), known=facts(cluster=DENIED))
    assert outcomes(plan) == [("failed", "AccessDeniedException")]
    assert said(plan) == [("failed", "AccessDeniedException", True, True)]
    assert ends(plan) == [("failed", "AccessDeniedException", False)]


def test_wait_for_a_fact_is_over_once_it_is_known() -> None:
    """The next one that is missing has its own hour."""
    of = record(incident=incident(waits=5, lacks_since=ago(59)), reboots=(ago(10),))
    after = incident_of(decided(of=of))
    assert (after.due, after.waits, after.lacks_since) == (hence(20), 0, None)


# -- the end of an incident that had failed before


@pytest.mark.parametrize(
    ("told", "joined", "entries"),
    [
        ({}, False, [("failed", BUSY.code, True, False), ("refused", "Paused", False, True)]),
        ({"Paused": ago(1)}, False, [("failed", BUSY.code, True, False), ("refused", "Paused", False, True)]),
        ({"Paused": ago(1)}, True, [("failed", BUSY.code, True, False)]),
    ],
)
def test_retry_that_is_refused_has_the_letter_of_its_failure(
    told: dict[str, datetime], joined: bool, entries: list[tuple[str, str | None, bool, bool]]
) -> None:
    """With the API's own words, which the topic has had; also where the refusal itself is a repetition."""
    before = record(incident=incident(State.RETRYING, failure=BUSY), told=told)
    reports = [case(repair_action="Reboot")] if joined else []
    plan = decided(*reports, of=before, known=facts(mode="paused"))
    assert said(plan) == entries
    (failed,) = [each for each in node_of(plan).outbox if each.letter]
    assert failed.message == BUSY.message


def test_incident_that_mode_observe_ends_is_charged_to_that_mode_alone() -> None:
    """So that observe refuses what active would."""
    plan = due(incident(), mode="observe")
    assert ends(plan) == [("observed", None, True)]
    assert budget_of(plan) == Budget("ml-a", observed=((NOW, 1),))


def test_node_that_is_left_to_hyperpod_is_looked_at_after_verify_after() -> None:
    """Since the complaint that announced the repair; the repair has its own time-out."""
    of = incident(State.OPEN, complaint(ago(4), repair_action="Reboot"), complaint(ago(2), source="b"))
    of = replace(of, waits=2, lacks_since=ago(1), note="waits", repair_at=ago(1))
    plan = due(of, cluster=ClusterFacts(100, automatic=True))
    after = incident_of(plan)
    assert (after.state, after.since, after.until, after.due) == (State.REPAIRING, ago(4), hence(90), hence(11))
    assert (after.waits, after.lacks_since, after.note, after.repair_at) == (0, None, "", None)
    assert ends(plan) == [("repairing", None, True)]
    assert said(plan) == []
    assert after.since + 15 * MINUTE == after.due
