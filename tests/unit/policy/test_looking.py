"""The looks after a reboot or repair: what proves that a node is well, what does not, and how an incident ends."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_remediation.model import REQUEST, AlarmState, ClusterFacts, Failure, NodeFacts
from node_remediation.policy.draft import Plan
from node_remediation.policy.looking import Evidence, examine
from node_remediation.policy.record import GONE, Complaint, Entry, Incident, Missing, NodeRecord, Sign, State
from tests.unit.policy.makers import (
    LOGICAL,
    MINUTE,
    NOW,
    SECOND,
    SERIES,
    SETTINGS,
    SICK,
    ago,
    case,
    complaint,
    decided,
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
FAILED = running(status="Failure", message="no lights")
AUTOMATIC = ClusterFacts(100, automatic=True)


def states(**by_kind: AlarmState | Missing) -> dict[str, AlarmState | Missing]:
    return {{"sick": SICK, "series": SERIES}[name].source: state for name, state in by_kind.items()}


def alarm(state: str, since: datetime | None = None) -> dict[str, AlarmState | Missing]:
    return states(sick=AlarmState(state, since))


def sick(at: datetime = NOW, **more: Any) -> Complaint:
    return complaint(at, alarm=SICK, **more)


def after(minutes: float, *complaints: Complaint, state: State = State.REBOOTED, **more: Any) -> Incident:
    """Return an incident that is due, the given minutes after the claim."""
    usual: dict[str, Any] = {"since": ago(minutes), "until": ago(minutes - 45), "opened_at": ago(minutes + 1)}
    return incident(state, *complaints, **usual | more)


def looked(
    of: Incident,
    node: NodeFacts | Missing | None = None,
    alarms: dict[str, AlarmState | Missing] | None = None,
    **more: Any,
) -> Plan:
    reboots = (of.since,) if of.state is State.REBOOTED else ()
    known = facts({of_key: node} if node and (of_key := record().key.id) else {}, alarms, **more)
    return decided(of=record(incident=of, reboots=reboots, last_claim=of.since), known=known)


def ends(plan: Plan) -> list[tuple[str, str | None]]:
    return [(change.state, change.code) for change in plan.changes]


# -- evidence, and what people are told beside it


def entry_of(plan: Plan) -> Entry:
    (found,) = node_of(plan).outbox
    return found


def test_entry_says_what_the_mail_tells_beside_the_outcome() -> None:
    """The reboots, the instance group and the cluster's orchestrator and recovery are known by now."""
    cluster = ClusterFacts(100, automatic=False, eks=True)
    said_of = entry_of(looked(after(45, complaint(ago(46))), FAILED, cluster=cluster))
    assert (said_of.reboots, said_of.repair_since, said_of.group) == ((ago(45),), None, "workers")
    assert (said_of.eks, said_of.automatic) == (True, False)


def test_entry_about_a_repair_says_when_it_began() -> None:
    """The node was not rebooted by us."""
    repair = after(90, sick(repair_action="Replace"), state=State.REPAIRING, until=NOW)
    said_of = entry_of(looked(repair, FAILED, alarm("ALARM"), cluster=AUTOMATIC))
    assert (said_of.reboots, said_of.repair_since, said_of.automatic) == ((), ago(90), True)


@pytest.mark.parametrize(
    ("made", "withdrawn", "state", "where"),
    [
        (-1, None, None, "silent"),
        (0, None, None, "silent"),
        (1, None, None, "stands"),
        (-1, 0, None, None),
        (-1, 1, None, "withdrawn"),
        (1, 2, None, "withdrawn"),
        (2, 1, None, "stands"),
        (-1, None, "ALARM", "stands"),
        (-1, None, "OK", "silent"),
        (-1, None, "INSUFFICIENT_DATA", "silent"),
        (-1, None, "gone", "silent"),
        (-1, None, "denied", "silent"),
        (1, None, "denied", "stands"),
        (-1, 1, "ALARM", "withdrawn"),
    ],
)
def test_complaint_is_sorted_by_what_its_source_has_said_since_the_claim(
    made: int, withdrawn: int | None, state: str | None, where: str | None
) -> None:
    """A complaint from before the claim is answered by the reboot; silence after it proves nothing."""
    of = complaint(
        hence(made), withdrawn_at=None if withdrawn is None else hence(withdrawn), alarm=SICK if state else None
    )
    found = examine(incident(State.REBOOTED, of), alarm(state) if state else {})
    parts: dict[str, Any] = {where: (of,)} if where else {}
    assert found == replace(Evidence(), **parts)


@pytest.mark.parametrize("state", [None, THROTTLED, DENIED])
def test_alarm_that_was_not_asked_is_a_missing_fact(state: Missing | None) -> None:
    """Nothing can be concluded without it, unless its complaint is withdrawn."""
    known = states(sick=state) if state else {}
    found = examine(incident(State.REBOOTED, sick(ago(1)), complaint(ago(1), withdrawn_at=hence(1))), known)
    unasked = Missing("DeadlineExceeded", "there was no time left to ask alarm hyperpod-reboot-sick")
    assert found.missing == (state or unasked)
    assert not found.recovered
    assert examine(incident(State.REBOOTED, sick(withdrawn_at=hence(1))), known).recovered


moments = st.integers(-4, 4).map(hence)
complaints = st.one_of(
    st.builds(complaint, moments, source=st.sampled_from(["hyperpod", REQUEST]), withdrawn_at=st.none() | moments),
    st.builds(complaint, moments, alarm=st.sampled_from([SICK, SERIES]), withdrawn_at=st.none() | moments),
)
several = st.lists(complaints, min_size=1, max_size=4, unique_by=lambda each: each.source)
since = st.sampled_from([None, ago(5), NOW, hence(5)])
alarm_states = st.builds(
    AlarmState, st.sampled_from(["OK", "OK", "ALARM", "INSUFFICIENT_DATA", "gone", "denied"]), since
)
asked = st.fixed_dictionaries({}, optional={each.source: alarm_states | st.just(THROTTLED) for each in (SICK, SERIES)})


@settings(max_examples=400)
@given(several, asked, st.booleans())
def test_recovery_is_proven_only_by_the_word_of_each_source(
    of: list[Complaint], alarms: dict[str, Any], dropped: bool
) -> None:
    """A request is never withdrawn and does not stand in the way; all else does, also an alarm that is back."""

    def is_back(each: Complaint) -> bool:
        now = alarms.get(each.source)
        since = now.since if isinstance(now, AlarmState) and now.state == "ALARM" else None
        return since is not None and each.withdrawn_at is not None and since > each.withdrawn_at

    found = examine(incident(State.REBOOTED, *of, dropped=dropped), alarms)
    withdrawn = [each for each in of if each.withdrawn and not is_back(each)]
    assert found.recovered is (
        not dropped
        and any(each.withdrawn_at and each.withdrawn_at > NOW for each in withdrawn)
        and all(each in withdrawn or (each.source == REQUEST and each.made_at <= NOW and not each.alarm) for each in of)
    )


# -- ends


def test_node_that_each_source_calls_well_has_recovered() -> None:
    """The time to recovery ends with the last word, whenever the look was made."""
    of = after(20, complaint(ago(21), withdrawn_at=ago(10)), sick(ago(20), withdrawn_at=ago(5)))
    plan = looked(of)
    (change,) = plan.changes
    assert (change.state, change.seconds, change.counted) == ("recovered", 16 * 60.0, True)
    assert (
        change.reason == "each source that complained has withdrawn its complaint, the last at 2026-11-23 02:09:07 UTC"
    )
    assert node_of(plan).incident is None
    assert said(plan) == []


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("of", "node", "end"),
    [
        (after(20, complaint(ago(21), withdrawn_at=ago(10))), None, "recovered"),
        (after(20, complaint(ago(21))), GONE, "superseded"),
        (after(45, complaint(ago(46))), running(), "unverified"),
    ],
)
def test_end_is_on_the_topic_for_people_who_were_told_of_the_reboot(
    of: Incident, node: NodeFacts | None, end: str, told: bool
) -> None:
    """Once; it is no failure, so the DLQ has nothing of it."""
    plan = looked(replace(of, told=told), node)
    assert ends(plan) == [(end, None)]
    assert said(plan) == ([(end, None, False, True)] if told else [])


@pytest.mark.parametrize(
    ("of", "known"),
    [
        (after(20), {"node": GONE}),
        (after(20, state=State.REPAIRING), {"node": GONE}),
        (after(20), {"cluster": Missing("ResourceNotFound", "no such cluster", final=True)}),
        (after(20, node=LOGICAL), {"node": running(2)}),
    ],
)
def test_instance_that_the_cluster_no_longer_has_is_superseded(of: Incident, known: dict[str, Any]) -> None:
    """Replaced, removed, or gone with its cluster; a logical ID that has another instance is another node."""
    assert ends(looked(of, **known)) == [("superseded", None)]


@pytest.mark.parametrize(
    "known",
    [
        {"node": running()},
        {"node": THROTTLED},
        {"cluster": Missing("ResourceNotFound", "try again")},
        {"cluster": DENIED},
    ],
)
def test_instance_of_which_nothing_is_known_is_not_superseded(known: dict[str, Any]) -> None:
    """Only a final answer says that it is gone."""
    plan = looked(after(20), **known)
    assert ends(plan) == []
    assert incident_of(plan).due == ago(20) + 30 * MINUTE


@pytest.mark.parametrize(
    ("of", "node", "alarms", "words"),
    [
        (
            (complaint(ago(46)), sick(ago(10))),
            running(),
            alarm("ALARM"),
            "not recovered 45m after the reboot at 2026-11-23 01:29:07 UTC: status Running; alarm "
            "hyperpod-reboot-sick: still unhealthy (last complaint 2026-11-23 02:04:07 UTC, and is ALARM now); "
            "HyperPod: has said nothing since (last complaint 2026-11-23 01:28:07 UTC)",
        ),
        (
            (complaint(ago(46), withdrawn_at=ago(3)), complaint(ago(46), source=REQUEST), sick(ago(46))),
            FAILED,
            alarm("gone"),
            "not recovered 45m after the reboot at 2026-11-23 01:29:07 UTC: status Failure (no lights); the person who "
            "asked: has said nothing since (last complaint 2026-11-23 01:28:07 UTC); alarm hyperpod-reboot-sick: has "
            "said nothing since (last complaint 2026-11-23 01:28:07 UTC, and is gone now); HyperPod withdrew its "
            "complaint at 2026-11-23 02:11:07 UTC",
        ),
    ],
)
def test_node_that_stands_or_does_not_run_at_the_time_out_has_not_recovered(
    of: tuple[Complaint, ...], node: NodeFacts, alarms: dict[str, Any], words: str
) -> None:
    """Told like a failure, with all that is known of it."""
    plan = looked(after(45, *of, failure=Failure("InstanceIdInUse", "busy")), node, alarms)
    assert ends(plan) == [("not_recovered", "NotRecovered")]
    assert plan.changes[0].reason == words
    assert said(plan) == [("not_recovered", "NotRecovered", True, True)]


def test_silent_node_with_status_running_is_unverified() -> None:
    """Never called recovered: on Slurm it may still be down."""
    plan = looked(after(45, complaint(ago(46)), sick(ago(46))), running(), alarm("INSUFFICIENT_DATA"))
    assert ends(plan) == [("unverified", None)]
    assert plan.changes[0].reason.startswith(
        "no source that complained has said that the node is well, 45m after the reboot at 2026-11-23 01:29:07 UTC: "
    )


def test_repair_is_waited_for_and_reported_as_such() -> None:
    """Its time-out is its own, and people read when it began."""
    of = after(90, complaint(ago(90), repair_action="Replace"), state=State.REPAIRING, until=NOW)
    plan = looked(of, FAILED, cluster=AUTOMATIC)
    assert plan.changes[0].reason.startswith(
        "not recovered 90m after HyperPod began to repair it at 2026-11-23 00:44:07 UTC: status Failure"
    )


# -- looks that end nothing


@pytest.mark.parametrize(("minutes", "due"), [(0, 15), (14.99, 15), (15, 30), (29, 30), (31, 45), (44.99, 45)])
def test_next_look_is_at_a_multiple_of_verify_after_or_the_time_out(minutes: float, due: float) -> None:
    """Counted from the claim, whenever the last look was."""
    plan = looked(after(minutes, complaint(ago(50))), running())
    assert (incident_of(plan).due, ends(plan)) == (ago(minutes) + due * MINUTE, [])


@pytest.mark.parametrize(("state", "due"), [(State.REBOOTED, 7), (State.REPAIRING, 15)])
def test_end_of_the_cooldown_is_a_look_after_a_reboot_alone(state: State, due: float) -> None:
    """HyperPod's repair is not followed by a reboot of ours."""
    known = facts({record().key.id: running()}, cluster=AUTOMATIC)
    of = record(incident=after(1, complaint(ago(2)), state=state), reboots=(ago(1),))
    plan = decided(of=of, known=known, settings=replace(SETTINGS, cooldown=7 * MINUTE))
    assert incident_of(plan).due == ago(1) + due * MINUTE


@pytest.mark.parametrize(
    ("waits", "minutes", "due"), [(0, 20, 0.5), (1, 20, 1), (3, 20, 4), (30, 20, 15), (0, 104.8, 0.2), (0, 105, None)]
)
def test_look_without_its_facts_is_put_off_up_to_max_report_age_past_the_time_out(
    waits: int, minutes: float, due: float | None
) -> None:
    """Longer each time; then the report names the missing fact."""
    plan = looked(after(minutes, sick(ago(120)), waits=waits), running(), states(sick=THROTTLED))
    if due is None:
        assert ends(plan) == [("not_recovered", "NotRecovered")]
        assert plan.changes[0].reason.endswith("could not be asked: ThrottlingException: Rate exceeded")
    else:
        assert ends(plan) == [("rebooted", "ThrottlingException")]
        assert abs(incident_of(plan).due - hence(due)) < SECOND
        assert incident_of(plan).waits == waits + 1


@pytest.mark.parametrize(("node", "code"), [(None, "DeadlineExceeded"), (THROTTLED, "ThrottlingException")])
def test_time_out_without_the_status_is_put_off_unless_a_complaint_stands(node: Missing | None, code: str) -> None:
    """What is sick is not recovered, whatever its status."""
    assert ends(looked(after(45, complaint(ago(46))), node)) == [("rebooted", code)]
    assert ends(looked(after(45, complaint(ago(2)), failure=Failure("x", "y")), node)) == [
        ("not_recovered", "NotRecovered")
    ]


def test_look_that_found_all_facts_starts_the_waits_anew() -> None:
    """The next missing fact is asked for again soon."""
    assert incident_of(looked(after(20, waits=4), running())).waits == 0


# -- alarms


@pytest.mark.parametrize(
    ("state", "since_", "withdrawn"),
    [
        ("OK", None, True),
        ("OK", ago(30), True),
        ("OK", ago(31), False),
        ("ALARM", ago(1), False),
        ("gone", None, False),
    ],
)
def test_alarm_that_is_ok_since_its_complaint_withdraws_it(
    state: str, since_: datetime | None, withdrawn: bool
) -> None:
    """An OK from before the complaint is an old answer."""
    plan = looked(after(20, complaint(ago(40)), sick(ago(30))), running(), alarm(state, since_))
    of = incident_of(plan).complaint(SICK.source)
    assert of
    assert of.withdrawn_at == (NOW if withdrawn else None)
    assert node_of(plan).sign(SICK.source) == Sign(healthy_at=(since_ or NOW) if withdrawn else None)


def test_withdrawal_by_an_alarm_is_one_sign_of_health_however_often_it_is_looked_at() -> None:
    """A later look must not make it later: an ALARM in between would be cleared."""
    first = looked(after(20, complaint(ago(40)), sick(ago(30))), running(), alarm("OK", ago(10)))
    then = incident_of(first).due
    known = facts({record().key.id: running()}, alarm("ALARM", hence(1)))
    again = decided(of=node_of(first), known=known, now=then)
    assert node_of(first).sign(SICK.source) == node_of(again).sign(SICK.source) == Sign(healthy_at=ago(10))


# -- judged again


def test_node_that_stands_when_the_cooldown_is_over_is_claimed_again() -> None:
    """The incident remembers the first reboot, to which it returns if the second fails."""
    plan = looked(after(30, complaint(ago(1))), running())
    of = incident_of(plan)
    assert [claim.node for claim in plan.claims] == [instance()]
    assert (of.state, of.since, of.due, of.rebooted_at) == (State.CLAIMED, NOW, NOW + 65 * SECOND, ago(30))
    assert node_of(plan).reboots == (ago(30), NOW)


@pytest.mark.parametrize(
    ("of", "known"),
    [
        (after(29.99, complaint(ago(1))), {}),
        (after(30, complaint(ago(31))), {}),
        (after(30, complaint(ago(1)), failure=Failure("InstanceIdInUse", "busy")), {}),
        (after(30, complaint(ago(1), muted_until=hence(1))), {}),
        (after(30, complaint(ago(1)), state=State.REPAIRING), {"cluster": AUTOMATIC}),
        (after(30, complaint(ago(1)), node=LOGICAL), {"node": THROTTLED}),
        (after(30, complaint(ago(1))), {"mode": None}),
        (after(30, complaint(ago(1))), {"mode": "observe"}),
    ],
)
def test_node_is_not_claimed_again_too_soon_or_without_need(of: Incident, known: dict[str, Any]) -> None:
    """Within the cooldown, silent, refused by the API before, muted, repaired by HyperPod, or with facts missing."""
    plan = looked(of, **{"node": running()} | known)
    assert plan.claims == ()
    assert incident_of(plan).state is of.state
    assert said(plan) == []


@pytest.mark.parametrize(
    "of",
    [
        after(30, complaint(ago(1), alarm=SICK, muted_until=NOW)),
        after(30, complaint(ago(1), alarm=SICK), complaint(ago(2), source="b", muted_until=hence(9))),
    ],
)
def test_complaint_whose_mute_is_over_or_another_counts_for_a_second_reboot(of: Incident) -> None:
    """A mute holds back its own complaint alone, and up to its end."""
    assert looked(of, running(), alarm("ALARM")).claims


def test_no_to_a_second_reboot_ends_nothing_and_is_quoted_at_the_time_out() -> None:
    """One line in the log however often it is judged, and one letter in the end."""
    of = record(incident=after(31, complaint(ago(1))), reboots=(ago(100), ago(31)))
    known = facts({record().key.id: running()})
    first = decided(of=of, known=known)
    no = "RebootLimitReached: 2 of 2 reboots of the node in 24h used, and it is still reported unhealthy"
    note = f"not rebooted again: {no}"
    assert ends(first) == [("rebooted", "RebootLimitReached")]
    assert incident_of(first).note == note
    assert said(first) == []
    second = decided(of=node_of(first), known=known, now=incident_of(first).due - SECOND)
    assert (second.records, second.changes) == ((), ())
    last = decided(of=node_of(first), known=known, now=hence(14))
    assert ends(last) == [("not_recovered", "NotRecovered")]
    assert last.changes[0].reason.endswith(f"; {note}")


# -- repairs


def repaired(of: Incident, cluster: ClusterFacts) -> Plan:
    return looked(of, running(), cluster=cluster)


REPAIR = complaint(ago(3), repair_action="Replace")


def test_reboot_that_hyperpod_follows_with_a_repair_is_left_to_it() -> None:
    """Since it said so; nothing of ours interferes, and the time-out is the repair's."""
    plan = repaired(after(10, REPAIR, repair_at=ago(3)), AUTOMATIC)
    of = incident_of(plan)
    assert (of.state, of.since, of.until, of.repair_at) == (State.REPAIRING, ago(3), hence(90), None)
    assert plan.changes[0].reason == "HyperPod repairs the node itself: RepairAction Replace, NodeRecovery Automatic"


@pytest.mark.parametrize(
    ("of", "cluster"),
    [
        (after(10, REPAIR, repair_at=ago(3)), ClusterFacts(100, automatic=False)),
        (after(10, replace(REPAIR, withdrawn_at=ago(1)), sick(ago(2)), repair_at=ago(3)), AUTOMATIC),
        (after(10, REPAIR), AUTOMATIC),
    ],
)
def test_reboot_stays_a_reboot_where_no_repair_is_under_way(of: Incident, cluster: ClusterFacts) -> None:
    """Recovery None only advises, a repair whose complaint was withdrawn is over, and an old one was answered."""
    plan = looked(of, running(), alarm("ALARM"), cluster=cluster)
    assert incident_of(plan).state is State.REBOOTED


def test_node_that_is_to_be_judged_again_is_left_to_a_repair_that_was_announced_since() -> None:
    """At the look that would claim it, too."""
    plan = repaired(after(30, complaint(ago(3), repair_action="Reboot")), AUTOMATIC)
    assert plan.claims == ()
    assert (incident_of(plan).state, incident_of(plan).since) == (State.REPAIRING, ago(3))


def test_repair_that_is_not_ours_to_wait_for_any_more_waits_like_any_open_incident() -> None:
    """Here for the end of the cooldown."""
    of = after(10, complaint(ago(10), repair_action="Reboot"), state=State.REPAIRING, waits=3)
    known = facts({record().key.id: running()}, cluster=ClusterFacts(100, automatic=False))
    opened = incident_of(decided(of=record(incident=of, reboots=(ago(20),)), known=known))
    assert (opened.state, opened.since, opened.due, opened.waits) == (State.OPEN, NOW, hence(10), 0)


@pytest.mark.parametrize(
    ("of", "node", "reason"),
    [
        (after(20), GONE, "the node's incident ended: superseded"),
        (after(45), FAILED, "the node's incident ended: not recovered"),
        (after(20), running(), "the node's incident is rebooted"),
    ],
)
def test_report_that_sets_off_a_look_joins_whatever_the_look_comes_to(
    of: Incident, node: NodeFacts, reason: str
) -> None:
    """Its outcome is a duplicate; the incident has its own line."""
    known = facts({record().key.id: node}, cluster=ClusterFacts(100, automatic=False))
    plan = decided(case(repair_action="Reboot"), of=record(incident=of, reboots=(ago(9),)), known=known)
    assert [(each.outcome, each.reason, each.incident) for each in plan.results] == [("duplicate", reason, of.id)]


@pytest.mark.parametrize(("action", "claims"), [("Reboot", 1), ("Replace", 0)])
def test_repair_is_judged_where_recovery_is_no_longer_automatic(action: str, claims: int) -> None:
    """HyperPod only advises now: a reboot is done, a replacement is for people."""
    of = after(10, complaint(ago(10), repair_action=action), state=State.REPAIRING)
    plan = repaired(of, ClusterFacts(100, automatic=False))
    assert len(plan.claims) == claims
    assert ends(plan) == ([] if claims else [("refused", "ReplacementAdvised")])


# -- any look


@settings(max_examples=400)
@given(
    of=several,
    alarms=asked,
    node=st.sampled_from([None, THROTTLED, running(), running(), FAILED, GONE]),
    state=st.sampled_from([State.REBOOTED, State.REPAIRING]),
    automatic=st.booleans(),
    minutes=st.sampled_from([0, 15, 30, 44, 45, 46, 120]),
)
def test_incident_ends_as_its_evidence_says_whatever_it_is(
    *,
    of: list[Complaint],
    alarms: dict[str, Any],
    node: NodeFacts | Missing | None,
    state: State,
    automatic: bool,
    minutes: int,
) -> None:
    """Recovered needs the word of each source, unverified a running node, a second reboot a complaint that stands."""
    begun = incident(state, *of)
    now = hence(minutes)
    known = facts({record().key.id: node} if node else {}, alarms, cluster=ClusterFacts(100, automatic))
    before = record(incident=begun, reboots=(NOW,) if state is State.REBOOTED else ())
    plan = decided(of=before, known=known, now=now)

    def is_withdrawn(each: Complaint) -> bool:
        said_ok = alarms.get(each.source)
        ok = (
            isinstance(said_ok, AlarmState)
            and said_ok.state == "OK"
            and (said_ok.since or each.made_at) >= each.made_at
        )
        return ok or (each.withdrawn and not is_back(each))

    def is_back(each: Complaint) -> bool:
        now = alarms.get(each.source)
        since = now.since if isinstance(now, AlarmState) and now.state == "ALARM" else None
        return since is not None and each.withdrawn_at is not None and since > each.withdrawn_at

    def is_standing(each: Complaint) -> bool:
        said_now = alarms.get(each.source)
        in_alarm = isinstance(said_now, AlarmState) and said_now.state == "ALARM"
        return not is_withdrawn(each) and (in_alarm or each.made_at > NOW)

    (after_,) = [each for each in plan.records if isinstance(each, NodeRecord)] or [before]
    end = plan.changes[-1].state if after_.incident is None else None
    if end == "recovered":
        assert all(is_withdrawn(each) or each.source == REQUEST for each in of)
        assert not any(map(is_standing, of))
    if end == "unverified":
        assert node == running()
        assert not any(map(is_standing, of))
    if end in ("unverified", "not_recovered"):
        assert minutes >= 45
    if end == "superseded":
        assert node == GONE
    if end is None:
        assert after_.due
        assert after_.due > now
    if plan.claims:
        assert minutes >= 30 if state is State.REBOOTED else not automatic
        assert state is State.REPAIRING or any(map(is_standing, of))
    assert all((change.seconds or 0) >= 0 for change in plan.changes)
    assert outcomes(plan) == []


def test_look_that_a_withdrawal_sets_off_needs_no_due_time() -> None:
    """A withdrawal is a look: the last source has spoken."""
    of = replace(after(3, complaint(ago(4))), due=hence(9))
    plan = decided(case(ago(2), healthy=True), of=record(incident=of))
    assert outcomes(plan) == [("cleared", None)]
    assert ends(plan) == [("recovered", None)]


def test_node_has_recovered_once_it_has_stayed_healthy_for_long_enough() -> None:
    """From the sign's own time, and past the time-out; a relapse before is the same incident."""
    of = replace(after(3, complaint(ago(4))), due=hence(9), until=NOW)
    plan = decided(case(ago(1), healthy=True), of=record(incident=of, reboots=(of.since,)))
    waiting = node_of(plan)
    assert (ends(plan), incident_of(plan).due) == ([], hence(1))
    assert ends(decided(of=waiting, now=hence(1) - SECOND)) == []
    assert ends(decided(of=waiting, now=hence(1), known=facts({key().id: running()}))) == [("recovered", None)]
    relapsed = decided(case(NOW), of=waiting)
    assert (outcomes(relapsed), incident_of(relapsed).id) == ([("duplicate", None)], of.id)
    assert ends(decided(of=node_of(relapsed), now=hence(1), known=facts({key().id: running()}))) == [
        ("not_recovered", "NotRecovered")
    ]


@pytest.mark.parametrize(("minutes", "end"), [(0.5, "not_recovered"), (2, "recovered")])
def test_alarm_that_is_back_in_alarm_is_no_proof_although_its_event_is_late(minutes: float, end: str) -> None:
    """Withdrawn two minutes ago; an answer from before that is an old one."""
    withdrawn = complaint(ago(9), alarm=SICK, withdrawn_at=ago(2))
    of = replace(after(5, withdrawn), due=NOW, until=NOW)
    known = facts({key().id: running()}, {SICK.source: AlarmState("ALARM", ago(minutes))})
    assert [state for state, _ in ends(decided(of=record(incident=of, reboots=(of.since,)), known=known))] == [end]
