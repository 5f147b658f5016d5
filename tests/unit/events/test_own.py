"""The system's own events: requests, letters written and read back, the sweep's."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.events import UnreadableEventError, own
from node_remediation.model import (
    HYPERPOD,
    REQUEST,
    Alarm,
    IdKind,
    Node,
    Origin,
    Outcome,
    Report,
    Trigger,
    bounded,
)
from node_remediation.policy.record import Entry
from node_remediation.settings import SWEEP_DETAIL_TYPE, SWEEP_SOURCE
from tests.unit.events.payloads import (
    HOME,
    NODE,
    NOW,
    health_event,
    instance_id,
    letter,
    no_report,
    read,
    report,
    request,
)

# Requests


def test_request_is_one_report_per_id() -> None:
    """Both lists count, each ID once, in order, and the cluster may be an EKS name."""
    found = read(request(NODE, f" {instance_id(2)} ", NODE, logical=["group-1"]))
    nodes = [
        Node(IdKind.NODE_ID, NODE),
        Node(IdKind.NODE_ID, instance_id(2)),
        Node(IdKind.LOGICAL_ID, "group-1"),
    ]
    trigger = Trigger("hyperpod.node-remediation", "HyperPod Node Reboot Requested", "request-1", NOW, "drill")
    assert found == [Report(trigger, node, "ml-a", origin=Origin.REQUEST) for node in nodes]
    assert {each.source for each in found if isinstance(each, Report)} == {REQUEST}


@pytest.mark.parametrize("time", ["2020-01-01T00:00:00Z", "2026-11-23T02:00:00Z", None, "2099-01-01T00:00:00Z"])
def test_request_was_made_when_it_was_sent(time: object) -> None:
    """A copied example may have any time: nothing that happened before the request answers it."""
    assert report(request(NODE, time=time)).trigger.time == NOW


@pytest.mark.parametrize("ids", [{}, {"NodeIds": None, "NodeLogicalIds": None}, {"NodeIds": [], "NodeLogicalIds": []}])
def test_request_without_ids_is_refused(ids: dict[str, Any]) -> None:
    """The requester learns what is missing."""
    found = no_report(request() | {"detail": {"ClusterName": "ml-a", **ids}})
    assert (found.outcome, found.code, found.cluster) == (Outcome.REFUSED, "NodeNotResolved", "ml-a")


def unreadable(event: object) -> str:
    with pytest.raises(UnreadableEventError) as raised:
        read(event)
    return str(raised.value)


@pytest.mark.parametrize("ids", ["i-1", [5], [""], [None], {"a": 1}, 7, [["i-1"]]])
def test_request_with_something_else_than_ids_is_unreadable(ids: object) -> None:
    """The one line names the field and what it takes."""
    for key in ("NodeIds", "NodeLogicalIds"):
        assert unreadable(request() | {"detail": {key: ids}}) == f"detail.{key}: takes a list of IDs, each a string"


def test_cluster_that_is_no_string_is_unreadable() -> None:
    """The default cluster must not stand in for one that was given wrongly."""
    assert unreadable(request(NODE, cluster=["ml-a"])) == "detail.ClusterName: takes a string, not a list"
    assert unreadable(letter(ClusterName=5)) == "detail.ClusterName: takes a string, not a number"


@pytest.mark.parametrize("detail", [None, [], "text", 3, True])
@pytest.mark.parametrize("kind", [own.REQUESTED, own.FAILED, own.REFUSED])
def test_own_message_without_detail_is_unreadable(kind: str, detail: object) -> None:
    """Each of our own messages has an object there."""
    assert unreadable(request() | {"detail-type": kind, "detail": detail}).startswith("detail: takes an object, not ")


# Letters that came back


@pytest.mark.parametrize("kind", [own.FAILED, own.REFUSED])
def test_letter_is_a_new_attempt_for_the_reason_of_the_first(kind: str) -> None:
    """It complains as its trigger's source did."""
    found = report(letter(kind, InstanceId="i-9", RepairAction="Replace", Attempt=2))
    assert found == Report(
        trigger=Trigger("aws.sagemaker", "d", "e", NOW, "Xid 79"),
        node=Node(IdKind.NODE_ID, NODE),
        cluster="ml-a",
        instance_id="i-9",
        repair_action="Replace",
        attempt=3,
        origin=Origin.LETTER,
        letter_id="letter-1",
    )
    assert found.source == HYPERPOD


def test_letter_that_lost_its_trigger_is_its_own() -> None:
    """One that a person cut down to cluster and node still works."""
    event = letter(Trigger=None, Attempt=None)
    del event["id"]
    trigger = Trigger("hyperpod.node-remediation", "HyperPod Node Reboot Failed", "m-1", NOW)
    assert report(event) == Report(
        trigger, Node(IdKind.NODE_ID, NODE), "ml-a", attempt=2, origin=Origin.LETTER, letter_id="m-1"
    )


@pytest.mark.parametrize(
    ("claimed", "time"),
    [
        ("2026-11-09T01:02:03.456Z", datetime(2026, 11, 9, 1, 2, 3, 456000, UTC)),
        ("2026-11-23T22:14:07Z", NOW),
        ("9999-12-31T23:59:59.9999Z", NOW),
        ("0001-01-01T00:00:00Z", NOW - timedelta(days=3)),
        ("-0044-03-15", NOW - timedelta(days=3)),
        (1e300, NOW - timedelta(days=3)),
        (None, NOW - timedelta(days=3)),
    ],
)
def test_trigger_time_of_a_letter_is_as_it_says_but_never_later_than_sent(claimed: object, time: datetime) -> None:
    """However old, it counts; an unreadable one is replaced by the letter's own time."""
    event = letter(Trigger={"Time": claimed}) | {"time": (NOW - timedelta(days=3)).isoformat()}
    assert report(event).trigger.time == time


@pytest.mark.parametrize("time", [None, "now", "9999-12-31T23:59:59.9999Z", float("nan")])
def test_letter_without_any_time_is_of_when_it_was_sent(time: object) -> None:
    """Its own time is bounded like its trigger's."""
    assert report(letter(Trigger={}) | {"time": time}).trigger.time == NOW


@pytest.mark.parametrize(
    ("number", "attempt"),
    [
        (1, 2),
        (7, 8),
        (0, 2),
        (-1, 2),
        ("2", 2),
        (None, 2),
        (1.5, 2),
        (True, 2),
        ([], 2),
        (1000, 1001),
        (10**4299, 1001),
    ],
)
def test_attempt_of_a_letter_is_clamped(number: object, attempt: int) -> None:
    """A count that makes no sense does not stop the letter."""
    assert report(letter(Attempt=number)).attempt == attempt


@pytest.mark.parametrize(("action", "read_as"), [("Replace", "Replace"), (None, None), ("", None), (7, None)])
def test_repair_action_of_a_letter_comes_back_with_it(action: object, read_as: str | None) -> None:
    """HyperPod's advice binds a redrive too."""
    assert report(letter(RepairAction=action)).repair_action == read_as


@pytest.mark.parametrize("node", [{"NodeId": None}, {"NodeId": ""}, {"NodeId": " ", "NodeLogicalId": None}])
def test_letter_without_node_is_unreadable(node: dict[str, Any]) -> None:
    """There is nothing to try again."""
    assert unreadable(letter(**node)) == "detail: names no node; it takes an ID in NodeId or NodeLogicalId"


@pytest.mark.parametrize("field", ["NodeId", "NodeLogicalId", "InstanceId"])
def test_letter_with_an_id_that_is_no_string_is_unreadable(field: str) -> None:
    """The one line names the field."""
    wrong: dict[str, Any] = {"NodeId": None if field == "NodeLogicalId" else NODE, field: 5}
    assert unreadable(letter(**wrong)) == f"detail.{field}: takes a string, not a number"


# Letters as they are written


words = st.text(min_size=1, max_size=30).map(str.strip).filter(bool).map(bounded)
names = words.filter(lambda word: not word.startswith("arn:"))
times = st.integers(0, int(NOW.timestamp() * 1000)).map(
    lambda milliseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
)
entries = st.builds(
    Entry,
    id=words,
    incident=st.none() | words,
    outcome=st.sampled_from([Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.REFUSED]),
    cluster=names,
    node=st.builds(Node, st.sampled_from(IdKind), words),
    code=words,
    message=st.text(max_size=30),
    trigger=st.builds(Trigger, words, words, words, times, st.just("") | words),
    at=times,
    due=times,
    letter=st.booleans(),
    instance_id=st.none() | words,
    attempt=st.integers(1, 1_000),
    repair_action=st.none() | words,
    alarm=st.none() | st.builds(Alarm, words, st.none() | names, st.none(), st.booleans()),
)


@given(entry=entries)
def test_letter_written_and_put_back_is_the_next_attempt_at_the_same_node(entry: Entry) -> None:
    """Node, cluster, instance, advice, alarm and first trigger come back as they were."""
    body = json.dumps(own.letter_event(entry, now=NOW, home=HOME))
    assert read(body) == [
        Report(
            trigger=entry.trigger,
            node=entry.node,  # type: ignore[arg-type]  # entries here have one
            cluster=entry.cluster,
            instance_id=entry.instance_id,
            repair_action=entry.repair_action,
            alarm=entry.alarm,
            attempt=entry.attempt + 1,
            origin=Origin.LETTER,
            letter_id=entry.id,
        )
    ]


TRIGGER = Trigger("aws.cloudwatch", "CloudWatch Alarm State Change", "e-1", NOW - timedelta(seconds=1.5), "crossed")
ENTRY = Entry(
    id="letter-7",
    incident="incident-1",
    outcome=Outcome.FAILED,
    cluster="ml-a",
    node=Node(IdKind.LOGICAL_ID, "group-1"),
    code="InstanceIdInUse",
    message="The instance is in use.",
    trigger=TRIGGER,
    at=NOW,
    due=NOW,
    letter=True,
    instance_id=NODE,
    attempt=2,
    repair_action="None",
    recommendation="Please wait.",
    alarm=Alarm("hyperpod-reboot-xid", "arn:alarm", tags=(("a", "b"),), by_series=True, series="{}"),
)


def test_letter_is_written_whole() -> None:
    """The body is the contract with scripts that read the DLQ."""
    assert own.letter_event(ENTRY, now=NOW, home=HOME) == {
        "version": "1",
        "id": "letter-7",
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Reboot Failed",
        "time": "2026-11-23T02:14:07Z",
        "account": "111122223333",
        "region": "us-west-2",
        "resources": [],
        "detail": {
            "IncidentId": "incident-1",
            "ClusterName": "ml-a",
            "NodeLogicalId": "group-1",
            "InstanceId": NODE,
            "ErrorCode": "InstanceIdInUse",
            "Message": "The instance is in use.",
            "Retryable": True,
            "Attempt": 2,
            "RepairAction": "None",
            "Recommendation": "Please wait.",
            "Alarm": {"Name": "hyperpod-reboot-xid", "Arn": "arn:alarm", "BySeries": True},
            "Trigger": {
                "Source": "aws.cloudwatch",
                "DetailType": "CloudWatch Alarm State Change",
                "EventId": "e-1",
                "Time": "2026-11-23T02:14:05.500Z",
                "Reason": "crossed",
            },
        },
    }


def test_letter_leaves_out_what_is_not_known() -> None:
    """A key that is there has a value."""
    entry = Entry(
        id="letter-8",
        incident=None,
        outcome=Outcome.FAILED,
        cluster="ml-a",
        node=Node(IdKind.NODE_ID, NODE),
        code="ValidationException",
        message="no",
        trigger=TRIGGER,
        at=NOW,
        due=NOW,
        alarm=Alarm("hyperpod-reboot-xid"),
    )
    detail = own.letter_event(entry, now=NOW, home=HOME)["detail"]
    assert list(detail) == ["ClusterName", "NodeId", "ErrorCode", "Message", "Retryable", "Attempt", "Alarm", "Trigger"]
    assert detail["Alarm"] == {"Name": "hyperpod-reboot-xid", "BySeries": False}
    assert detail["Retryable"] is False


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Outcome.FAILED, "HyperPod Node Reboot Failed"),
        (Outcome.NOT_RECOVERED, "HyperPod Node Reboot Failed"),
        (Outcome.REFUSED, "HyperPod Node Reboot Refused"),
    ],
)
def test_letter_of_any_failure_says_failed_and_of_a_refusal_refused(outcome: Outcome, kind: str) -> None:
    """Filters go by the detail-type."""
    entry = Entry("l", None, outcome, "ml-a", Node(IdKind.NODE_ID, NODE), "C", "m", TRIGGER, NOW, NOW)
    assert own.letter_event(entry, now=NOW, home=HOME)["detail-type"] == kind


# The sweep


SWEEP = {"source": SWEEP_SOURCE, "detail-type": SWEEP_DETAIL_TYPE, "time": "2026-11-23T02:14:00Z"}


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-23T02:14:00Z", NOW - timedelta(seconds=7)),
        ("2026-11-23T01:14:07Z", NOW - timedelta(hours=1)),
        ("2026-11-24T00:00:00Z", NOW),
        ("now", NOW),
        (None, NOW),
        ({}, NOW),
    ],
)
def test_sweep_is_known_with_its_time(time: object, expected: datetime) -> None:
    """One without a readable time is of now."""
    assert own.read_sweep(SWEEP | {"time": time}, now=NOW) == expected


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "sweep",
        {},
        health_event(),
        request(NODE),
        SWEEP | {"source": "aws.events"},
        SWEEP | {"detail-type": [SWEEP_DETAIL_TYPE]},
    ],
)
def test_other_payloads_are_no_sweep(event: object) -> None:
    """Both the source and the detail-type make one."""
    assert own.read_sweep(event, now=NOW) is None


def test_sweep_on_the_intake_queue_is_ignored() -> None:
    """It asks for nothing there."""
    found = no_report(SWEEP)
    assert (found.outcome, found.code) == (Outcome.IGNORED, None)
