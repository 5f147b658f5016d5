"""The decision about a cluster's nodes: two records of one node, the facts that are asked for, leases that ended; and
what holds of any decision in any history of reports, answers and time.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_remediation.model import (
    AlarmState,
    Answer,
    CallResult,
    Case,
    ClusterFacts,
    Failure,
    NodeFacts,
    NodeKey,
    Origin,
    Outcome,
)
from node_remediation.policy.draft import Plan
from node_remediation.policy.incidents import LOST_ANSWER, Needs, decide, needs_of, united
from node_remediation.policy.modes import Modes, read_modes
from node_remediation.policy.record import (
    GONE,
    MOST_COMPLAINTS,
    Book,
    Budget,
    Complaint,
    Facts,
    Incident,
    Missing,
    NodeRecord,
    Past,
    Sign,
    State,
)
from tests.unit.policy.makers import (
    LOGICAL,
    LOGICAL_KEY,
    MINUTE,
    NOW,
    SECOND,
    SERIES,
    SETTINGS,
    SICK,
    History,
    ago,
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
    request,
    running,
    said,
    scene,
)

GROUP = (key(), LOGICAL_KEY)
THROTTLED = Missing("ThrottlingException", "Rate exceeded")


def test_node_with_the_oldest_complaint_is_served_first() -> None:
    """Its incident's first complaint counts, although it was reported again just now."""
    waiting = record(incident=incident(State.OPEN, complaint(ago(60)), due=hence(5)))
    book = Book().updated(waiting, Budget("ml-a", spends=((ago(1), 1),)))
    cases = {key(2): [case(ago(30), node=instance(2))], key(): [request()]}
    plan = decide(book, [(each,) for each in cases], cases, scene(facts(cluster=ClusterFacts(1, automatic=False))))
    assert [claim.key for claim in plan.claims] == [key()]
    assert outcomes(plan) == [("refused", "ClusterBudgetExceeded")]


# -- two records of one node


def other(**more: Any) -> NodeRecord:
    """Return what was kept of the node under its logical ID."""
    return record(key=LOGICAL_KEY, node=LOGICAL, **more)


def unite(one: NodeRecord | None, two: NodeRecord) -> NodeRecord:
    whole, emptied = united(Book().updated(*([one] if one else []), two), GROUP, hence(10))
    assert emptied == [NodeRecord(LOGICAL_KEY, version=two.version, node=two.node)]
    return whole


def test_node_that_is_known_by_one_key_is_as_it_was() -> None:
    """Another key of which nothing is kept, or which was emptied before, is not written."""
    of = record(incident=incident(), history=((NOW, "x"),))
    for known in ([of], [of, other()], [of, other(history=((NOW, "x"),))]):
        assert united(Book().updated(*known), GROUP, NOW) == (of, [])


moments = st.integers(-9, 9).map(hence)
complaints = st.builds(
    complaint,
    moments,
    source=st.sampled_from(["hyperpod", "request", "alarm:a"]),
    withdrawn_at=st.none() | moments,
    repair_action=st.sampled_from([None, "Replace"]),
)
incidents = st.builds(
    lambda state, of, since, lease, more: (
        incident(state, *of, since=since, **more)
        if state is not State.CLAIMED
        else incident(state, *of, since=since, lease_until=lease, **more)
    ),
    st.sampled_from(State),
    st.lists(complaints, min_size=1, max_size=3, unique_by=lambda each: each.source),
    moments,
    moments,
    st.fixed_dictionaries(
        {"id": st.uuids().map(str), "told": st.booleans(), "dropped": st.booleans(), "repair_at": st.none() | moments}
    ),
)
names = st.text(max_size=2)
parts = st.fixed_dictionaries(
    {
        "incident": st.none() | incidents,
        "outbox": st.lists(st.uuids().map(str).map(entry), max_size=3).map(tuple),
        "reboots": st.lists(moments, max_size=3).map(tuple),
        "last_claim": st.none() | moments,
        "signs": st.dictionaries(
            st.sampled_from(["hyperpod", "alarm:a", "x"]), st.builds(Sign, st.none() | moments, st.none() | moments)
        ),
        "told": st.dictionaries(names, moments, max_size=2),
        "handled": st.dictionaries(names, moments, max_size=2),
        "history": st.lists(st.tuples(moments, names), max_size=2).map(tuple),
        "past": st.lists(
            st.builds(Past, st.sampled_from(["in-a", "in-b", "in-c"]), names, moments, names),
            max_size=3,
            unique_by=lambda each: each.incident,
        ).map(lambda past: tuple(sorted(past, key=lambda each: each.at))),
        "logical_id": st.sampled_from([None, LOGICAL.id]),
        "advice": st.none() | moments.map(lambda at: complaint(at, repair_action="Replace")),
    }
)


def latest(*times: datetime | None) -> datetime | None:
    return max((each for each in times if each), default=None)


def counted(of: NodeRecord) -> NodeRecord:
    """Return the record with its present incident among those that count, if it has been rebooted."""
    if of.incident is None or of.incident.state is not State.REBOOTED:
        return of
    return replace(of, past=(*of.past, Past(of.incident.id, "Xid 79", hence(9), "story")))


@settings(max_examples=400)
@given(parts, parts)
def test_two_records_of_one_node_are_united_without_a_loss(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """In whatever states they are: no claim, complaint, withdrawal, sign, entry or answered request is forgotten."""
    one, two = (counted(each) for each in (record(**mine), other(**theirs)))
    whole = unite(one, two) if any(theirs[name] for name in theirs if name != "history") else one
    assert (whole.key, whole.version) == (one.key, one.version)
    assert set(whole.reboots) == {*one.reboots, *two.reboots}
    assert whole.last_claim == latest(one.last_claim, two.last_claim)
    assert {each.id for each in whole.outbox} == {each.id for each in (*one.outbox, *two.outbox)}
    assert whole.handled.keys() == one.handled.keys() | two.handled.keys()
    for code in one.told.keys() | two.told.keys():
        assert whole.told[code] == latest(one.told.get(code), two.told.get(code))
    for source in one.signs.keys() | two.signs.keys():
        for kind in ("healthy_at", "unhealthy_at"):
            assert getattr(whole.sign(source), kind) == latest(
                getattr(one.sign(source), kind), getattr(two.sign(source), kind)
            )
    assert whole.logical_id == (one.logical_id or two.logical_id)
    assert (whole.advice and whole.advice.made_at) == latest(
        *(each.made_at for each in (one.advice, two.advice) if each)
    )
    both = [each for each in (one.incident, two.incident) if each]
    assert (whole.incident is None) is (not both)
    if whole is not one:
        assert sorted(whole.history) == sorted((*one.history, *two.history))
        joined = {each.id for each in both} - {whole.incident.id if whole.incident else ""}
        known = {each.incident for each in (*one.past, *two.past)}
        assert sorted(each.incident for each in whole.past) == sorted(known - joined)
        assert list(whole.past) == sorted(whole.past, key=lambda each: each.at)
    if whole.incident and whole is not one:
        check_united(whole, both)


def check_united(whole: NodeRecord, both: Sequence[Incident]) -> None:
    of = whole.incident
    assert of
    states = list(State)
    assert states.index(of.state) == min(states.index(each.state) for each in both)
    rivals = [each for each in both if each.state is of.state]
    if of.state is State.CLAIMED:
        assert of.lease_until == max(each.lease_until or NOW for each in rivals)
    assert of.id in {each.id for each in rivals}
    assert of.told is any(each.told for each in both)
    assert of.dropped is any(each.dropped for each in both)
    assert {each.source for each in of.complaints} == {each.source for each_ in both for each in each_.complaints}
    for each in of.complaints:
        made: list[Complaint] = [found for each_ in both if (found := each_.complaint(each.source))]
        assert each.made_at == max(one.made_at for one in made)
        well = latest(
            whole.sign(each.source).healthy_at, *(one.withdrawn_at for one in made if one.made_at == each.made_at)
        )
        assert each.withdrawn is (well is not None and well >= each.made_at)
    repaired = [each for each in both if each.repair_at or each.state is State.REPAIRING]
    assert (of.state is State.REPAIRING) or (of.repair_at is not None) is bool(repaired)


def test_word_of_health_under_the_other_id_withdraws_the_complaint() -> None:
    """HyperPod called the instance well; its incident was opened under the logical ID."""
    whole = unite(
        record(signs={"hyperpod": Sign(healthy_at=ago(1))}),
        other(incident=incident(State.REBOOTED, complaint(ago(9)), since=ago(5))),
    )
    assert whole.incident
    assert whole.incident.complaints[0].withdrawn_at == ago(1)


def test_node_keeps_the_id_that_was_reported_first() -> None:
    """Under whichever key it was kept."""
    assert unite(NodeRecord(key()), other(reboots=(ago(1),))).node == LOGICAL
    assert unite(record(), other(reboots=(ago(1),))).node == instance()


def test_key_under_which_a_call_is_being_made_is_left_alone_until_its_answer() -> None:
    """The answer is written there; meanwhile the node waits for the cooldown, which the budget knows of."""
    claimed = other(incident=incident(State.CLAIMED, node=LOGICAL), reboots=(NOW,), last_claim=NOW)
    budget = Budget("ml-a", spends=((NOW, 1),), logical_ids={LOGICAL.id: NOW})
    known = facts({key().id: running(logical_id=LOGICAL.id)})
    book, report = Book().updated(record(), claimed, budget), case(alarm=SICK)
    plan = decide(book, [GROUP], {key(): [report]}, scene(known))
    assert [each.key for each in plan.records if isinstance(each, NodeRecord)] == [key()]
    assert (outcomes(plan), incident_of(plan).due) == ([("waiting", None)], hence(30))
    ended = decide(book.updated(*plan.records), [GROUP], {}, scene(known, now=hence(1)))
    assert incident_of(ended).state is State.REBOOTED
    assert {each.source for each in incident_of(ended).complaints} == {"hyperpod", SICK.source}


def test_incident_that_is_joined_by_another_of_the_same_node_has_an_end_in_the_log() -> None:
    """Every incident ends; both keys are written at once, and once only."""
    kept = incident(State.REBOOTED, due=hence(5), id="kept")
    joined = incident(State.OPEN, complaint(alarm=SICK), due=hence(5), id="joined", node=LOGICAL)
    book = Book().updated(record(incident=kept), other(incident=joined))
    plan = decide(book, [GROUP], {}, scene())
    assert [(each.incident, each.state, each.counted) for each in plan.changes] == [("joined", "duplicate", False)]
    assert {each.key for each in plan.records if isinstance(each, NodeRecord)} == set(GROUP)
    again = decide(book.updated(*plan.records), [GROUP], {}, scene())
    assert (again.changes, again.records) == ((), ())


# -- the clock


def test_claim_whose_lease_ended_counts_as_a_reboot_of_unknown_outcome() -> None:
    """The call may have been made: it is never repeated by itself."""
    of = record(incident=incident(State.CLAIMED, complaint(ago(9)), since=ago(2), lease_until=NOW, due=NOW))
    plan = decided(of=of)
    after = incident_of(plan)
    assert (after.state, after.since, after.until, after.told) == (State.REBOOTED, ago(2), hence(43), True)
    assert said(plan) == [("failed", "OutcomeUnknown", True, True)]
    assert [(each.code, each.reason) for each in plan.changes] == [("OutcomeUnknown", LOST_ANSWER)]
    early = decided(of=of, now=NOW - SECOND)
    assert (early.records, early.changes) == ((), ())


@pytest.mark.parametrize(
    ("of", "state"),
    [
        ({"repair_at": ago(1)}, "repairing"),
        ({"complaints": (complaint(ago(9), withdrawn_at=ago(2)),)}, "recovered"),
    ],
)
def test_what_was_said_during_a_call_that_was_lost_is_acted_on(of: dict[str, Any], state: str) -> None:
    """With the facts that a sweep asks for."""
    usual = incident(State.CLAIMED, complaint(ago(9), repair_action="Replace"), since=ago(3), lease_until=NOW, due=NOW)
    before = record(incident=replace(usual, **of))
    world = History(book=Book().updated(before))
    plan = world.plan([(key(),)], {}, facts({key().id: running()}, cluster=ClusterFacts(9, automatic=True)))
    assert [each.state for each in plan.changes] == ["rebooted", state]


def test_record_with_nothing_due_is_not_changed() -> None:
    """A sweep may come early, twice, or overlap another."""
    for state in State:
        of = record(incident=incident(state, due=hence(1), lease_until=hence(1)), outbox=(entry(due=hence(1)),))
        plan = decided(of=of)
        assert plan == Plan()


def test_entries_that_are_overdue_are_taken_over_with_a_lease() -> None:
    """Another invocation should have sent them; while this one sends, no third does."""
    of = record(outbox=(entry("due"), entry("later", due=hence(1)), entry("sent", letter=False, topic=False)))
    plan = decided(of=of)
    assert plan.fresh == {"due"}
    assert [(each.id, each.due) for each in node_of(plan).outbox][:2] == [
        ("due", NOW + 65 * SECOND),
        ("later", hence(1)),
    ]


def test_record_that_was_put_off_is_decided_like_any_other() -> None:
    """And no longer put off."""
    plan = decided(of=record(put_off=3, put_off_until=NOW, incident=incident(due=ago(9))))
    assert (node_of(plan).put_off, node_of(plan).put_off_until, len(plan.claims)) == (0, None, 1)


def test_ids_of_a_node_are_learned_from_reports_and_facts() -> None:
    """The one that was reported first stays; SageMaker tells the logical ID."""
    known = facts({key().id: running(logical_id=LOGICAL.id)})
    of = node_of(decided(case(node=LOGICAL, known_as=key()), of=NodeRecord(key()), known=known))
    assert (of.node, of.logical_id) == (LOGICAL, LOGICAL.id)
    again = node_of(decided(case(hence(1)), of=of, known=facts({key().id: GONE})))
    assert (again.node, again.logical_id) == (LOGICAL, LOGICAL.id)


# -- needs


@pytest.mark.parametrize(
    ("of", "cases", "needs"),
    [
        (None, [], Needs()),
        (None, [case(healthy=True)], Needs()),
        (None, [case(alarm=SICK)], Needs(judged=True)),
        (None, [case(failure=Failure("x", "y"))], Needs()),
        (None, [request()], Needs(judged=True, on_demand=True)),
        (
            None,
            [case(), case(alarm=SICK, muted="m")],
            Needs(judged=True, alarms={SICK.source: SICK}),
        ),
        (incident(State.CLAIMED), [], Needs()),
        (incident(State.CLAIMED, complaint(alarm=SICK)), [case()], Needs(judged=True)),
        (incident(State.OPEN, due=hence(1)), [], Needs()),
        (incident(State.OPEN, due=hence(1)), [case(healthy=True)], Needs()),
        (incident(State.OPEN, complaint(alarm=SICK)), [], Needs(judged=True, alarms={SICK.source: SICK})),
        (incident(State.RETRYING, node=LOGICAL), [], Needs(judged=True, looked_at=True)),
        (incident(State.REBOOTED), [], Needs(judged=True, looked_at=True)),
        (incident(State.REPAIRING), [], Needs(judged=True, looked_at=True)),
        (incident(State.REBOOTED, complaint(alarm=SICK), due=hence(1)), [case()], Needs()),
        (incident(State.REBOOTED, due=hence(1)), [case(repair_action="Reboot")], Needs(judged=True)),
        (incident(State.REBOOTED, due=hence(1), since=ago(30)), [case()], Needs(judged=True)),
        (incident(State.REBOOTED, due=hence(1)), [case(healthy=True)], Needs()),
        (
            incident(State.REBOOTED, complaint(alarm=SERIES), due=hence(1)),
            [case(healthy=True)],
            Needs(alarms={SERIES.source: SERIES}),
        ),
        (
            incident(State.CLAIMED, complaint(alarm=SICK), lease_until=NOW, due=NOW),
            [],
            Needs(judged=True, looked_at=True, alarms={SICK.source: SICK}),
        ),
    ],
)
def test_facts_are_asked_for_where_a_decision_may_need_them(
    of: Incident | None, cases: Sequence[Case], needs: Needs
) -> None:
    """Each is a call: a quiet report costs none."""
    assert needs_of(record(incident=of), cases, SETTINGS, NOW) == needs


# -- any history


KEYS = (key(1), key(2))
NODES = (instance(1), instance(2))
REQUESTER = {"origin": Origin.REQUEST}
reports = st.one_of(
    st.just({}),
    st.just({"repair_action": "Replace"}),
    st.just({"repair_action": "None"}),
    st.just({"healthy": True}),
    *(
        st.fixed_dictionaries({"alarm": st.just(alarm)}, optional={"healthy": st.just(True)})
        for alarm in (SICK, SERIES)
    ),
    st.fixed_dictionaries(
        {"alarm": st.just(SICK), "muted": st.just("muted")}, optional={"muted_until": st.sampled_from([-5, 5, 20])}
    ),
    st.just(REQUESTER),
    st.fixed_dictionaries({"origin": st.just(Origin.LETTER), "letter_id": st.sampled_from(["L1", "L2"])}),
    st.just({"failure": Failure("AccessDeniedException", "not authorized")}),
    st.just({"replay": "tuesday"}),
)
incoming = st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 0, 0, -1, -4, -90]), reports, st.sampled_from([1, 5]))
alarm_states = st.sampled_from(["OK", "ALARM", "ALARM", "INSUFFICIENT_DATA", "gone", "denied", None])
BY_GROUP = '{"ml-a/head": "paused", "*/work*": "observe until 2026-11-23T03:00Z"}'
fact_parts = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([*["active"] * 8, "observe", "paused", BY_GROUP, None, THROTTLED]),
        "automatic": st.sampled_from([False, False, False, True]),
        "protected": st.sampled_from([frozenset(), frozenset({"head"})]),
        "continuous": st.sampled_from([False, False, True]),
        "cluster": st.sampled_from([True] * 6 + [None, THROTTLED, Missing("ResourceNotFound", "none", final=True)]),
        "node": st.sampled_from([*["Running"] * 5, "Failure", "GONE", None]),
        "alarms": st.tuples(alarm_states, alarm_states, st.sampled_from([None, 0, -200])),
    }
)
steps = st.lists(
    st.tuples(
        st.sampled_from([0, 0.5, 1, 2, 5, 14, 15, 31, 45, 100]),
        st.lists(incoming, max_size=4),
        fact_parts,
        st.sampled_from([*CallResult, CallResult.STARTED, CallResult.STARTED, None]),
    ),
    min_size=1,
    max_size=8,
)


def facts_at(now: datetime, given_: Mapping[str, Any]) -> Facts:
    """Return all that could be known; the states of the alarms are always had."""
    cluster = given_["cluster"]
    if cluster is True:
        cluster = ClusterFacts(9, given_["automatic"], given_["protected"], given_["continuous"])
    status, nodes = given_["node"], dict[str, NodeFacts]()
    for number in (1, 2) if status else ():
        logical_id = f"logical-{number}" if given_["continuous"] else None
        node = running(number, status=status, logical_id=logical_id)
        nodes[key(number).id] = GONE if status == "GONE" else node
    sick, series, minutes = given_["alarms"]
    since = None if minutes is None else now + minutes * MINUTE
    alarms = {
        SICK.source: AlarmState(sick, since) if sick else THROTTLED,
        SERIES.source: AlarmState(series, since) if series else THROTTLED,
    }
    mode = read_modes(given_["mode"], default="active") if isinstance(given_["mode"], str) else given_["mode"]
    return Facts(mode, cluster, nodes, alarms={each.id: alarms for each in KEYS})


def cases_at(now: datetime, drawn: Sequence[Any], step: int) -> dict[NodeKey, list[Case]]:
    cases: dict[NodeKey, list[Case]] = {}
    for place, (number, minutes, report, receives) in enumerate(drawn):
        fields = dict(report)
        if "muted_until" in fields:
            fields["muted_until"] = now + fields["muted_until"] * MINUTE
        of = case(
            now + minutes * MINUTE,
            node=NODES[number],
            sent=now,
            receives=receives,
            id=f"m-{step}-{place}",
            **fields,
        )
        cases.setdefault(KEYS[number], []).append(of)
    return cases


def check_decision(world: History, cases: Mapping[NodeKey, Sequence[Case]], known: Facts) -> Plan:
    """Decide, and check what holds of every decision."""
    groups = [(each,) for each in KEYS]
    before = deepcopy((world.book, cases, known))
    plan = world.plan(groups, cases, known)
    assert world.plan(groups, cases, known) == plan
    assert (world.book, cases, known) == before

    every = [of for several in cases.values() for of in several]
    answered = [each.message.id for each in plan.results]
    answered += [each.case.message.id for each in plan.handed_back]
    answered += [each.case.message.id for each in plan.claims if each.case]
    assert sorted(answered) == sorted(each.message.id for each in every)

    said_why = [each.reason for each in plan.results] + [each.reason for each in plan.changes]
    assert not [reason for reason in said_why if "no time left to ask alarm" in reason]
    for of in plan.records:
        if isinstance(of, NodeRecord) and of.incident:
            assert of.due
            assert len(of.incident.complaints) <= MOST_COMPLAINTS
    check_limits(world, plan)
    return plan


def check_limits(world: History, plan: Plan) -> None:
    """Promise 2: the cooldown, the attempts and the budget, whatever was decided before."""
    window = world.now - SETTINGS.budget_window
    spent = sum(nodes for at, nodes in world.book.budget("ml-a").spends if at > window)
    assert spent + len(plan.claims) <= SETTINGS.budget_min_nodes or not plan.claims
    for claim in plan.claims:
        reboots = world.book.node(claim.key).reboots
        assert all(at + SETTINGS.cooldown <= world.now for at in reboots)
        assert sum(at > world.now - SETTINGS.max_reboots_window for at in reboots) < SETTINGS.max_reboots_per_node


def check_repetition(
    world: History, cases: Mapping[NodeKey, Sequence[Case]], plan: Plan, known: Facts, *, healthy: bool
) -> None:
    """Decide about the same messages again, less those that were handed back.

    A repair that was announced while there was no incident may bind the next one, and is left out.
    """
    back = {each.case.message.id for each in plan.handed_back}
    joined = {each.message.id for each in plan.results if each.outcome is Outcome.DUPLICATE}

    def comes_again(of: Case) -> bool:
        if of.report.healthy:
            return healthy
        return of.message.id not in back and not (of.report.repair_action == "Replace" and of.message.id in joined)

    again = {of: list(filter(comes_again, several)) for of, several in cases.items()}
    second = world.plan([(each,) for each in KEYS], again, known)
    allowed = {Outcome.DUPLICATE, Outcome.CLEARED, Outcome.DEFERRED}
    assert {each.outcome for each in second.results} <= allowed
    assert (second.claims, second.handed_back) == ((), ())
    for of in second.records:
        if isinstance(of, NodeRecord):
            entries = {each.id: each.times for each in world.book.node(of.key).outbox}
            assert {each.id: each.times for each in of.outbox} == entries


@settings(max_examples=300)
@given(steps)
def test_decision_is_pure_complete_and_safe_in_any_history(drawn: Sequence[Any]) -> None:
    """Made twice it is the same and changes nothing that it was given; each report has one outcome; no alarm is missing
    of those that it asked for; no limit is broken; and messages that come again, at once or later, change nothing.
    """
    world = History()
    for step, (minutes, reported, given_, result) in enumerate(drawn):
        world.now += minutes * MINUTE
        known = facts_at(world.now, given_)
        cases = cases_at(world.now, reported, step)
        plan = check_decision(world, cases, known)
        world.save(plan)
        check_repetition(world, cases, plan, known, healthy=True)
        if world.claims and result:
            failure = () if result is CallResult.STARTED else ("InstanceIdInUse", "busy")
            world.answer([Answer(claim.node, result, *failure) for claim in world.claims])
        world.claims = []
        late = History(now=world.now + minutes * MINUTE, book=world.book)
        late.save(late.plan([(each,) for each in KEYS], {}, known))
        check_repetition(late, cases, plan, known, healthy=False)


@settings(max_examples=200)
@given(steps, steps)
def test_records_of_any_two_histories_can_be_united_and_decided_about(one: Sequence[Any], two: Sequence[Any]) -> None:
    """Claims of both count, and an incident goes on."""
    now, books = NOW, list[Book]()
    for drawn in (one, two):
        world = History()
        for step, (minutes, reported, given_, _) in enumerate(drawn):
            world.now += minutes * MINUTE
            world.save(world.plan([(key(),)], cases_at(world.now, reported, step), facts_at(world.now, given_)))
        now, books = max(now, world.now), [*books, world.book]
    mine = books[0].node(key())
    theirs = replace(books[1].node(key()), key=LOGICAL_KEY)
    claimed = {LOGICAL.id: max(theirs.reboots)} if theirs.reboots else {}
    book = Book().updated(mine, theirs, Budget("ml-a", logical_ids=claimed))
    known = Facts(Modes("active"), ClusterFacts(100, automatic=False), {key().id: running(logical_id=LOGICAL.id)})
    plan = decide(book, [GROUP], {}, scene(known, now=now))
    if plan.claims:
        assert all(at + SETTINGS.cooldown <= now for at in (*mine.reboots, *theirs.reboots))
    whole, _ = united(book, GROUP, now)
    after = next((each for each in plan.records if isinstance(each, NodeRecord) and each.key == key()), whole)
    assert after.incident or not whole.incident or plan.changes
