"""The system's own messages: requests, and dead letters that come back."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation import events
from node_remediation.deadletter import Origin, dead_letter
from node_remediation.events.fields import UnreadableEventError
from node_remediation.model import (
    Alarm,
    Case,
    Check,
    Ending,
    IdKind,
    Node,
    Outcome,
    Postponed,
    Report,
    Settled,
    Trigger,
)
from tests.unit.fakes import NOW, instance_id, message, request


def read(event: object) -> list[events.Reading]:
    return list(events.read(json.dumps(event), message_id="m-1", sent=NOW))


TRIGGER = Trigger("hyperpod.node-remediation", "HyperPod Node Reboot Requested", "request-1", NOW, "drill")


def test_request_is_one_report_per_id() -> None:
    """Both lists count, each ID once, in order, and the cluster may be an EKS name."""
    found = read(request(instance_id(1), f" {instance_id(2)} ", instance_id(1), logical=["group-1"]))
    nodes = [
        Node(IdKind.NODE_ID, instance_id(1)),
        Node(IdKind.NODE_ID, instance_id(2)),
        Node(IdKind.LOGICAL_ID, "group-1"),
    ]
    assert found == [Report(trigger=TRIGGER, node=node, cluster="ml-a", on_demand=True) for node in nodes]


def test_request_was_made_when_it_was_sent() -> None:
    """Whatever time a copied example says: nothing that happened before it answers it."""
    for time in ("2020-01-01T00:00:00Z", None, "2099-01-01T00:00:00Z"):
        (found,) = read(request(instance_id(1), time=time))
        assert found.trigger.time == NOW


@pytest.mark.parametrize(("action", "read_as"), [("Replace", "Replace"), (None, None), ("", None), (7, None)])
def test_advice_of_a_dead_letter_comes_back_with_it(action: object, read_as: str | None) -> None:
    """What HyperPod advised binds a redrive too; letters of older versions have none."""
    (found,) = read(letter(RepairAction=action))
    assert isinstance(found, Report)
    assert found.repair_action == read_as


@pytest.mark.parametrize("ids", [{}, {"NodeIds": None, "NodeLogicalIds": None}, {"NodeIds": [], "NodeLogicalIds": []}])
def test_request_without_ids_is_refused(ids: dict[str, Any]) -> None:
    """Who asked is told what was missing."""
    (found,) = read(request() | {"detail": {"ClusterName": "ml-a", **ids}})
    assert isinstance(found, Settled)
    assert (found.outcome, found.code, found.cluster) == (Outcome.REFUSED, "NodeNotResolved", "ml-a")


@pytest.mark.parametrize("ids", ["i-1", [5], [""], [None], {"a": 1}, 7, [["i-1"]]])
def test_request_with_something_else_than_ids_is_unreadable(ids: object) -> None:
    """The one line names the field and what it takes."""
    with pytest.raises(UnreadableEventError, match=r"^detail\.NodeIds: takes a list of IDs, each a string$"):
        read(request() | {"detail": {"NodeIds": ids}})


def letter(**detail: Any) -> dict[str, Any]:
    return {
        "id": "letter-1",
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Reboot Failed",
        "time": NOW.isoformat(),
        "detail": {"ClusterName": "ml-a", "NodeId": instance_id(1), "Attempt": 1} | detail,
    }


def test_dead_letter_that_lost_its_trigger_is_its_own() -> None:
    """What a person cut down to cluster and node still works."""
    (found,) = read(letter(Trigger=None))
    trigger = Trigger("hyperpod.node-remediation", "HyperPod Node Reboot Failed", "letter-1", NOW)
    node = Node(IdKind.NODE_ID, instance_id(1))
    assert found == Report(trigger=trigger, node=node, cluster="ml-a", attempt=2, on_demand=True)


@pytest.mark.parametrize("attempt", [0, -1, "2", None, 1.5, True, [], {}])
def test_dead_letter_with_another_attempt_is_unreadable(attempt: object) -> None:
    """A count that is no count is said so."""
    with pytest.raises(UnreadableEventError, match=r"^detail\.Attempt: takes a whole number from 1, not "):
        read(letter(Attempt=attempt))


@pytest.mark.parametrize("node", [{"NodeId": None}, {"NodeId": ""}, {"NodeId": 5, "NodeLogicalId": []}])
def test_dead_letter_without_node_is_unreadable(node: dict[str, Any]) -> None:
    """There is nothing to try again."""
    with pytest.raises(UnreadableEventError, match="names no node"):
        read(letter(**node))


def check(**detail: Any) -> dict[str, Any]:
    """A check as this system sends it; without what is None."""
    first = {"Source": "s", "DetailType": "d", "EventId": "e", "Time": NOW.isoformat(), "Reason": "Xid 79"}
    said = {"Round": 2, "Due": NOW.isoformat(), "Watch": "m-0", "Retry": False, "ClusterName": "ml-a"} | {
        "NodeId": instance_id(1),
        "Attempt": 1,
        "Trigger": first,
    }
    return {
        "id": "check-1",
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Check",
        "time": (NOW - timedelta(minutes=15)).isoformat(),
        "detail": {key: value for key, value in (said | detail).items() if value is not None},
    }


def alarm_check(**detail: Any) -> dict[str, Any]:
    said = {"Round": 1, "Due": NOW.isoformat(), "Until": NOW.isoformat(), "Event": "{}"}
    return check() | {
        "detail-type": "HyperPod Alarm Check",
        "detail": {key: value for key, value in (said | detail).items() if value is not None},
    }


def test_check_is_the_report_that_it_follows_up() -> None:
    """Complete: its cluster is HyperPod's name and its trigger the first one; it is no attempt and no request."""
    trigger = Trigger("s", "d", "e", NOW, "Xid 79")
    assert read(check(InstanceId="i-9", RepairAction="Replace", Alarm={"Name": "a", "BySeries": True})) == [
        Report(
            trigger=trigger,
            node=Node(IdKind.NODE_ID, instance_id(1)),
            cluster="ml-a",
            cluster_is_hyperpod=True,
            instance_id="i-9",
            repair_action="Replace",
            alarm=Alarm("a", by_series=True),
            check=Check("m-0", 2, NOW),
        )
    ]


@pytest.mark.parametrize(
    ("detail", "line"),
    [
        ({"Watch": None}, "detail.Watch: takes a string; it is missing"),
        ({"Watch": 7}, "detail.Watch: takes a string; it is missing"),
        ({"ClusterName": None}, "detail.ClusterName: takes a string; it is missing"),
        ({"ClusterName": ""}, "detail.ClusterName: takes a string; it is missing"),
        ({"NodeId": None}, "detail: names no node; it takes an ID in NodeId or NodeLogicalId"),
        ({"Round": 0}, "detail.Round: takes a whole number from 1, not "),
        ({"Round": "2"}, "detail.Round: takes a whole number from 1, not "),
        ({"Round": 1.5}, "detail.Round: takes a whole number from 1, not "),
        ({"Round": True}, "detail.Round: takes a whole number from 1, not "),
        ({"Attempt": -1}, "detail.Attempt: takes a whole number from 1, not "),
    ],
)
def test_check_with_a_malformed_field_is_unreadable(detail: dict[str, Any], line: str) -> None:
    """The one line names the field and what it takes."""
    with pytest.raises(UnreadableEventError) as raised:
        read(check(**detail))
    assert str(raised.value).startswith(line)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("detail", "line"),
    [
        ({"Event": None}, "detail.Event: takes a string"),
        ({"Event": {"source": "s"}}, "detail.Event: takes a string"),
        ({"Until": None}, "detail.Until: takes a time"),
        ({"Until": "tomorrow"}, "detail.Until: takes a time"),
        ({"Round": 0}, "detail.Round: takes a whole number from 1, not "),
    ],
)
def test_alarm_check_with_a_malformed_field_is_unreadable(detail: dict[str, Any], line: str) -> None:
    """The same, for the check of a muted alarm."""
    with pytest.raises(UnreadableEventError) as raised:
        read(alarm_check(**detail))
    assert str(raised.value).startswith(line)


def test_alarm_check_holds_its_event_unread() -> None:
    """It is read when the window is over, as if nothing had muted it."""
    (found,) = read(alarm_check(Event="whatever"))
    assert isinstance(found, Postponed)
    assert (found.body, found.until, found.check) == ("whatever", NOW, Check(None, 1, NOW))


@pytest.mark.parametrize("due", [None, "soon", []])
def test_check_without_a_time_was_due_when_it_was_sent(due: object) -> None:
    """Only its staleness goes by it."""
    (found,) = read(check(Due=due))
    assert isinstance(found, Report)
    assert found.check == Check("m-0", 2, NOW - timedelta(minutes=15))


@pytest.mark.parametrize("retry", [True, False, None, "true", 1])
def test_only_a_check_that_says_so_is_a_retry(retry: object) -> None:
    """Nothing else is."""
    (found,) = read(check(Retry=retry))
    assert isinstance(found, Report)
    assert found.check
    assert found.check.retry is (retry is True)


@pytest.mark.parametrize("detail", [None, [], "text", 3, True])
@pytest.mark.parametrize(
    "kind",
    [
        "HyperPod Node Reboot Requested",
        "HyperPod Node Reboot Failed",
        "HyperPod Node Reboot Refused",
        "HyperPod Node Check",
        "HyperPod Alarm Check",
    ],
)
def test_own_message_without_detail_is_unreadable(kind: str, detail: object) -> None:
    """Our own messages have an object there, or nobody knows what they are."""
    with pytest.raises(UnreadableEventError, match=r"^detail: takes an object, not "):
        read(request() | {"detail-type": kind, "detail": detail})


words = st.text(min_size=1, max_size=30).map(str.strip).filter(bool)
times = st.timedeltas(timedelta(days=-4000), timedelta(days=4000)).map(
    lambda delta: (NOW + delta).replace(microsecond=(NOW + delta).microsecond // 1000 * 1000)
)


@given(
    report=st.builds(
        Report,
        trigger=st.builds(Trigger, words, words, words, times, st.one_of(st.just(""), words)),
        node=st.builds(Node, st.sampled_from(IdKind), words),
        cluster=words,
        cluster_is_hyperpod=st.booleans(),
        repair_action=st.none() | words,
        attempt=st.integers(1, 99),
        on_demand=st.booleans(),
        alarm=st.none() | st.builds(Alarm, words, st.none() | words, st.none(), st.booleans()),
    ),
    outcome=st.sampled_from([Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.REFUSED]),
    code=words,
    reason=st.text(max_size=30),
)
def test_dead_letter_put_back_is_a_new_attempt_at_the_same_node(
    report: Report, outcome: Outcome, code: str, reason: str
) -> None:
    """Whatever the node, cluster, advice, alarm and first trigger, they come back as they were, one attempt later."""
    ending = Ending(Case(message({}), report), outcome, reason, code)
    body = dead_letter(ending, letter_id=UUID(int=1), now=NOW, origin=Origin("111122223333", "us-west-2")).body
    assert list(events.read(body, message_id="m-2", sent=NOW)) == [
        Report(
            trigger=report.trigger,
            node=report.node,
            cluster=report.cluster,
            repair_action=report.repair_action,
            alarm=report.alarm,
            attempt=report.attempt + 1,
            on_demand=True,
        )
    ]
