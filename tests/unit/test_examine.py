"""What a check sees of alarms and nodes, and what trouble keeps it from seeing."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from node_remediation.awserrors import CallError
from node_remediation.cluster import NodeState
from node_remediation.examine import Examiner
from node_remediation.lookup import LookupFailedError
from node_remediation.model import Alarm, Case, Check, IdKind, Node
from node_remediation.watch import Needs, Seen
from tests.unit.fakes import DENIED, LOST, NOW, THROTTLED, FakeAlarms, FakeClusters, case, instance_id

ALARM = Alarm("hyperpod-xid")
SERIES = replace(ALARM, by_series=True)
BOTH = Needs(alarm=True, node=True)


def check(node: Node | None = None, **more: Any) -> Case:
    return case(node, check=Check("m-0", 1, NOW), **more)


def described(state: str = "ALARM") -> dict[str, Mapping[str, Any]]:
    return {ALARM.name: {"AlarmName": ALARM.name, "StateValue": state, "StateUpdatedTimestamp": NOW}}


def examiner(clusters: FakeClusters | None = None, alarms: FakeAlarms | None = None) -> Examiner:
    return Examiner(clusters=clusters or FakeClusters(), alarms=alarms or FakeAlarms())


def test_alarms_are_described_by_name_in_one_call() -> None:
    """Those that exist; and where no check asks for one, none is asked for."""
    alarms = FakeAlarms([*described().values(), {"AlarmName": "other"}])
    assert examiner(alarms=alarms).describe(["gone", ALARM.name]) == described()
    assert alarms.asked == [["gone", ALARM.name]]
    assert examiner(alarms=alarms).describe([]) == {}
    assert len(alarms.asked) == 1


@pytest.mark.parametrize("error", [THROTTLED, LOST])
def test_alarms_that_cannot_be_described_for_now_are_asked_again(error: CallError) -> None:
    """The checks come again."""
    with pytest.raises(LookupFailedError):
        examiner(alarms=FakeAlarms(error=error)).describe([ALARM.name])


def test_alarms_that_may_not_be_described_are_trouble() -> None:
    """A no would be one at each delivery: the check goes by what else it sees."""
    assert examiner(alarms=FakeAlarms(error=DENIED)).describe([ALARM.name]) == DENIED
    seen = examiner().look(check(alarm=ALARM), BOTH, DENIED)
    assert seen == Seen(node=NodeState("Running"), trouble="AccessDeniedException: not authorized")


def test_alarm_is_seen_with_its_state_and_since_when() -> None:
    """In UTC, whatever zone the client answers in."""
    for zone in (NOW.tzinfo, timezone(timedelta(hours=9))):
        found = described("OK")
        found[ALARM.name] = {**found[ALARM.name], "StateUpdatedTimestamp": NOW.astimezone(zone)}
        seen = examiner().look(check(alarm=ALARM), Needs(alarm=True), found)
        assert seen == Seen(alarm="OK", alarm_at=NOW)
        assert seen.alarm_at
        assert seen.alarm_at.utcoffset() == timedelta(0)


def test_alarm_that_is_gone_is_seen_as_nothing() -> None:
    """Deleted since: neither OK nor trouble."""
    assert examiner().look(check(alarm=ALARM), Needs(alarm=True), {}) == Seen()


@pytest.mark.parametrize("needs", [Needs(), Needs(alarm=True), Needs(node=True)])
def test_only_what_is_needed_is_looked_at(needs: Needs) -> None:
    """Each look is a call."""
    clusters, alarms = FakeClusters(), FakeAlarms()
    examiner(clusters, alarms).look(check(alarm=SERIES), needs, described())
    assert bool(clusters.nodes_asked) is needs.node
    assert bool(alarms.asked) is needs.alarm


@pytest.mark.parametrize(
    ("series", "state"),
    [
        ([], "OK"),
        ([{"InstanceId": instance_id(2)}], "OK"),
        ([{"InstanceId": instance_id(2)}, {"InstanceId": instance_id(1)}], "ALARM"),
        ([{"NodeId": instance_id(1), "ClusterName": "ml-a"}], "ALARM"),
        ([{"Pod": "p"}, {}], "OK"),
    ],
)
def test_alarm_with_several_series_is_in_alarm_only_for_those_that_contribute(
    series: list[dict[str, str]], state: str
) -> None:
    """The alarm as a whole stays in ALARM as long as any node is ill."""
    alarms = FakeAlarms(series={ALARM.name: series})
    assert examiner(alarms=alarms).look(check(alarm=SERIES), Needs(alarm=True), described()).alarm == state
    assert alarms.asked == [f"contributors of {ALARM.name}"]


@pytest.mark.parametrize("reported", [IdKind.NODE_ID, IdKind.LOGICAL_ID])
def test_series_is_the_nodes_by_either_of_its_ids(reported: IdKind) -> None:
    """Reported by one, and contributing by the other or by the same."""
    of = check(Node(reported, "group-1" if reported is IdKind.LOGICAL_ID else instance_id(1)), alarm=SERIES)
    of = Case(of.message, replace(of.reading, instance_id=instance_id(1)))  # type: ignore[arg-type]
    for attributes in ({"InstanceId": instance_id(1)}, {"NodeLogicalId": "group-1"}):
        alarms = FakeAlarms(series={ALARM.name: [attributes]})
        seen = examiner(alarms=alarms).look(of, Needs(alarm=True), described())
        by_own_id = reported is IdKind.LOGICAL_ID or "InstanceId" in attributes
        assert seen.alarm == ("ALARM" if by_own_id else "OK")


def test_alarm_that_is_ok_needs_no_contributors() -> None:
    """None can be in ALARM; nor is one asked for that has but one series."""
    alarms = FakeAlarms()
    for alarm, state in ((SERIES, "OK"), (SERIES, "INSUFFICIENT_DATA"), (ALARM, "ALARM")):
        assert examiner(alarms=alarms).look(check(alarm=alarm), Needs(alarm=True), described(state)).alarm == state
    assert alarms.asked == []


def test_node_is_seen_with_its_status_or_as_gone() -> None:
    """By the ID under which the ledger knows it."""
    clusters = FakeClusters(states={instance_id(1): NodeState("Failure", "no lights"), instance_id(2): None})
    look = examiner(clusters).look
    assert look(check(), Needs(node=True), {}) == Seen(node=NodeState("Failure", "no lights"))
    assert look(check(Node(IdKind.NODE_ID, instance_id(2))), Needs(node=True), {}) == Seen(gone=True)


def test_node_is_looked_for_by_its_instance_where_that_is_known() -> None:
    """A logical ID stays when its instance is replaced; one without a known instance is all there is."""
    clusters = FakeClusters()
    logical = Node(IdKind.LOGICAL_ID, "group-1")
    examiner(clusters).look(check(logical, instance_id=instance_id(1)), Needs(node=True), {})
    examiner(clusters).look(check(logical), Needs(node=True), {})
    assert clusters.nodes_asked == [instance_id(1), "group-1"]


@pytest.mark.parametrize("where", ["node", "contributors"])
def test_look_that_fails_for_now_is_made_again(where: str) -> None:
    """A throttled look says nothing, so nothing is decided by it."""
    clusters = FakeClusters(node_error=THROTTLED if where == "node" else None)
    alarms = FakeAlarms(error=THROTTLED if where == "contributors" else None)
    with pytest.raises(LookupFailedError):
        examiner(clusters, alarms).look(check(alarm=SERIES), BOTH, described())


def test_node_that_may_not_be_looked_at_leaves_what_the_alarm_said() -> None:
    """Trouble beside what is known."""
    seen = examiner(FakeClusters(node_error=DENIED)).look(check(alarm=ALARM), BOTH, described())
    assert seen == Seen("ALARM", NOW, trouble="AccessDeniedException: not authorized")


def test_contributors_that_may_not_be_asked_leave_the_status_to_decide() -> None:
    """Without the permission nobody knows whose the alarm is."""
    seen = examiner(alarms=FakeAlarms(error=DENIED)).look(check(alarm=SERIES), BOTH, described())
    assert (seen.alarm, seen.trouble) == (None, "AccessDeniedException: not authorized")
    assert seen.node == NodeState("Running")
