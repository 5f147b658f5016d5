"""Reading any body: kinds of event told apart, times and strings bounded, events of elsewhere refused."""

import copy
import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation import events
from node_remediation.events import Home, UnreadableEventError
from node_remediation.model import LONGEST_TEXT, NoReport, Outcome, bounded
from tests.unit.events.payloads import (
    ALARM_ARN,
    CHILD_ARN,
    CLUSTER_ARN,
    HOME,
    NODE,
    NOW,
    SAMPLE_NAMES,
    alarm_event,
    cluster_event,
    composite_event,
    health_event,
    home_of,
    instance_id,
    letter,
    metric,
    no_report,
    read,
    report,
    request,
    sample,
    sns_action,
    sns_envelope,
    unmuted,
)

SERIES: dict[str, Any] = {"alarmContributor": {"id": "c", "attributes": {"InstanceId": NODE, "ClusterName": "eks-a"}}}
PAYLOADS: list[dict[str, Any]] = [
    *(sample(name) for name in SAMPLE_NAMES),
    *(unmuted(sample(name)) for name in SAMPLE_NAMES if name.startswith(("alarm-c", "alarm-s", "alarm-m"))),
    health_event(),
    cluster_event("Instance is unhealthy. Repair action: Reboot."),
    alarm_event(**SERIES),
    composite_event(CHILD_ARN),
    request(NODE, logical=["group-1"]),
    letter(InstanceId=NODE, RepairAction="None", Alarm={"Name": "a", "Arn": ALARM_ARN, "BySeries": True}),
    sns_action(),
    sns_action(AlarmRule="r", TriggeringChildren=[{"Arn": CHILD_ARN}]),
    sns_action(AlarmContributorId="c", AlarmContributorAttributes={"InstanceId": NODE}),
    sns_envelope(sns_action()),
]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "the body is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("{not json", "the body is not JSON: "),
        ("[]", "the body is JSON but not an object"),
        ("null", "the body is JSON but not an object"),
        ('"text"', "the body is JSON but not an object"),
        ("{}", "the body is no event: "),
        ('{"source": "aws.sagemaker"}', "the body is no event: "),
        ('{"source": 5, "detail-type": []}', "the body is no event: "),
        ('{"Type": "Notification", "Message": "{"}', "the SNS envelope's Message is not JSON: "),
        ('{"Type": "Notification", "Message": "[]"}', "the SNS envelope's Message is JSON but not an object"),
        ('{"AlarmName": null, "NewStateValue": "ALARM"}', "AlarmName: takes a string that is not empty; it is missing"),
        ('{"alarmData": {}}', "alarmName: takes a string that is not empty; it is missing"),
        ('{"a":' * 100_000, "the body is not JSON: "),
        (f'{{"a": {"9" * 5000}}}', "the body is not JSON: "),
    ],
)
def test_what_is_no_event_is_unreadable_in_one_line(body: str, problem: str) -> None:
    """The error says in one short line what is wrong."""
    with pytest.raises(UnreadableEventError) as raised:
        read(body)
    assert str(raised.value).startswith(problem)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) <= 300


def test_unreadable_event_is_reported_in_one_short_line() -> None:
    """Whatever the problem quotes, it fits into a log line and a notification."""
    line = str(UnreadableEventError("quoted:\n\ud800" * 1_000))
    assert len(line) == 300
    assert line.startswith("quoted: ?quoted: ?")


@pytest.mark.parametrize("detail_type", ["SageMaker HyperPod Cluster State Change", "EC2 Spot Notice"])
def test_event_of_another_kind_is_ignored(detail_type: str) -> None:
    """A rule may deliver it by mistake, with any detail."""
    found = no_report(health_event() | {"detail-type": detail_type, "detail": [None]})
    assert (found.outcome, found.code) == (Outcome.IGNORED, None)


def test_message_stands_in_for_missing_id_and_time() -> None:
    """An event without ID and time has those of the message that brought it."""
    event = health_event()
    del event["id"], event["time"]
    trigger = report(event).trigger
    assert (trigger.event_id, trigger.time) == ("m-1", NOW)


def test_sns_envelope_lends_its_id_and_time() -> None:
    """A wrapped alarm is known by the SNS message's own ID, and is no younger than that message."""
    wrapped, raw = report(sns_envelope(sns_action())), report(sns_action())
    assert wrapped.trigger.event_id == "sns-1"
    assert (wrapped.node, wrapped.alarm, wrapped.trigger.time) == (raw.node, raw.alarm, raw.trigger.time)


def test_eventbridge_event_in_an_sns_envelope_is_read_as_itself() -> None:
    """A topic may be the target of a rule."""
    event = alarm_event(metric(InstanceId=NODE), state="ALARM") | {"time": "2026-11-23T02:13:30Z"}
    event["detail"]["state"]["timestamp"] = "2026-11-23T02:13:29Z"
    assert read(sns_envelope(event)) == read(event)


# Times


TIMES: list[tuple[object, datetime]] = [
    ("2026-11-23T02:13:07.000+0000", NOW - timedelta(minutes=1)),
    ("2026-11-22T03:14:07+01:00", NOW - timedelta(days=1)),
    ("2026-11-22T02:14:06Z", NOW),
    ("2026-11-23T22:14:07Z", NOW),
    ("9999-12-31T23:59:59.9999Z", NOW),
    ("2026-11-23T02:13:07", NOW - timedelta(minutes=1)),
    ("2026-11-23T02:13:07.9999999Z", NOW - timedelta(minutes=1) + timedelta(milliseconds=999)),
    (None, NOW),
    ("yesterday", NOW),
    ("0001-01-01T00:00:00+23:00", NOW),
    ("0001-01-01T00:00:00Z", NOW),
    ("-0044-03-15T12:00:00Z", NOW),
    ([], NOW),
    (True, NOW),
    (0, NOW),
    (-1, NOW),
    (int(NOW.timestamp()) - 60, NOW - timedelta(minutes=1)),
    (int(NOW.timestamp() * 1000) - 60_000, NOW - timedelta(minutes=1)),
    (int(NOW.timestamp()) + 72_000, NOW),
    (float("nan"), NOW),
    (float("inf"), NOW),
    (float("-inf"), NOW),
    (1e300, NOW),
    (10**400, NOW),
]


@pytest.mark.parametrize(("claimed", "time"), TIMES)
def test_report_time_is_the_events_own_but_never_later_than_sent(claimed: object, time: datetime) -> None:
    """A time that is missing, no time, or over a day before the message was sent is replaced by that."""
    alarm = alarm_event(metric(InstanceId=NODE))
    alarm["detail"]["state"]["timestamp"] = claimed
    plain = health_event() | {"time": claimed}
    for event in (alarm, sns_action(StateChangeTime=claimed), health_event(EventTime=claimed), plain):
        assert report(event).trigger.time == time


def test_envelope_time_stands_in_for_a_report_time_that_is_over_a_day_before() -> None:
    """A wrong time in the detail does not make the report younger than its event."""
    event = health_event(EventTime="2025-11-23T02:14:07Z") | {"time": "2026-11-23T01:00:00Z"}
    assert report(event).trigger.time == datetime(2026, 11, 23, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("timestamp", "sent"),
    [
        ("2026-11-23T02:13:38.000Z", NOW - timedelta(seconds=29)),
        ("2026-11-24T02:13:38.000Z", NOW),
        ("9999-12-31T23:59:59.9999Z", NOW),
        ("now", NOW),
        (None, NOW),
    ],
)
def test_report_in_an_sns_envelope_is_no_later_than_its_timestamp(timestamp: object, sent: datetime) -> None:
    """The alarm spoke before SNS took its message, and SNS before the queue did."""
    for claimed in ("2026-11-23T20:00:00Z", None):
        event = sns_envelope(sns_action(StateChangeTime=claimed), Timestamp=timestamp)
        assert report(event).trigger.time == sent


def test_times_are_rounded_down_to_milliseconds() -> None:
    """The ledger keeps milliseconds, and a report must not seem later than it was."""
    sent = NOW + timedelta(microseconds=5_999)
    for event in (health_event() | {"time": None}, request(NODE), letter(Trigger={}) | {"time": None}):
        assert report(event, sent=sent).trigger.time == NOW + timedelta(milliseconds=5)


# Account and region


ELSEWHERE = [Home("999999999999", HOME.region), Home(HOME.account, "eu-west-1")]
ARNS = [
    "arn:aws:{}:us-west-2:999999999999:{}",
    "arn:aws-us-gov:{}:us-gov-west-1:111122223333:{}",
]


def arn(template: str, resource: str) -> str:
    return template.format("cloudwatch" if resource.startswith("alarm") else "sagemaker", resource)


def foreign_events() -> Iterator[dict[str, Any]]:
    for place in ELSEWHERE:
        for event in (health_event(), cluster_event("is unhealthy"), alarm_event(metric(InstanceId=NODE)), letter()):
            yield event | place._asdict()
        yield request(NODE, logical=["group-1"]) | place._asdict()
        yield composite_event(CHILD_ARN) | place._asdict()
        direct = sample("alarm-direct-to-lambda") | {"alarmArn": ALARM_ARN}
        yield direct | {"accountId": place.account, "region": place.region}
    yield sns_action(AWSAccountId="999999999999")
    for template in ARNS:
        cluster, alarm = arn(template, "cluster/a1b2c3d4e5f6"), arn(template, "alarm:hyperpod-reboot-xid")
        yield health_event(ClusterName=cluster)
        yield alarm_event(metric(InstanceId=NODE, ClusterName=cluster))
        yield sns_action(AlarmArn=alarm)
        yield sns_envelope(sns_action(AlarmArn=alarm))
        yield request(NODE, cluster=cluster)
        yield letter(ClusterName=cluster)
        yield sample("alarm-direct-to-lambda") | {"alarmArn": alarm, "accountId": None, "region": None}


@pytest.mark.parametrize("event", list(foreign_events()))
def test_event_of_another_account_or_region_is_refused_once(event: dict[str, Any]) -> None:
    """Envelope, alarm and cluster must be of here: a cluster elsewhere can have the name of one of ours."""
    found = no_report(event)
    assert (found.outcome, found.code) == (Outcome.REFUSED, "ForeignEvent")
    assert "111122223333" in found.reason


@pytest.mark.parametrize(
    "event",
    [
        health_event(status="Healthy"),
        alarm_event(metric(InstanceId=NODE), state="OK"),
        composite_event(CHILD_ARN, state="OK"),
    ],
)
def test_foreign_event_that_reports_a_node_well_is_ignored(event: dict[str, Any]) -> None:
    """It asks for nothing."""
    found = no_report(event | {"account": "999999999999"})
    assert (found.outcome, found.code) == (Outcome.IGNORED, "ForeignEvent")


@pytest.mark.parametrize("template", ARNS)
def test_envelope_of_here_outweighs_arns_that_only_accompany_the_event(template: str) -> None:
    """EventBridge writes the envelope; the ARNs beside it name neither cluster nor node."""
    cluster, alarm = arn(template, "cluster/a1b2c3d4e5f6"), arn(template, "alarm:hyperpod-reboot-xid")
    for event in (
        health_event(ClusterArn=cluster) | {"resources": [cluster]},
        alarm_event(metric(InstanceId=NODE)) | {"resources": [alarm]},
    ):
        assert report(event).node.id == NODE


def test_foreign_event_that_asks_for_nothing_is_ignored_for_its_own_reason() -> None:
    """A lifecycle event of elsewhere needs no answer either."""
    event = sample("cluster-event-lifecycle-started")
    assert read(event, home=Home("999999999999", "us-west-2")) == read(event)


@pytest.mark.parametrize("value", [None, "", "unknown", "12345", 111122223333, [], {}, "arn:aws:iam::x:role/y", "arn:"])
def test_absent_or_odd_accounts_and_arns_are_no_evidence(value: object) -> None:
    """Only what is clearly another account or region makes an event foreign."""
    resources = {"resources": [f":alarm:{value}", f":cluster/{value}"]}
    for event in (health_event(ClusterArn=value), alarm_event(metric(InstanceId=NODE))):
        assert report(event | {"account": value, "region": value} | resources).node.id == NODE
    assert report(sns_action(AWSAccountId=value, AlarmArn=value)).node.id == NODE
    assert report(health_event() | {"resources": value}).node.id == NODE


@pytest.mark.parametrize(
    "event",
    [
        health_event(ClusterName=CLUSTER_ARN),
        cluster_event("is unhealthy", ClusterName=CLUSTER_ARN),
        alarm_event(metric(InstanceId=NODE, HyperPodClusterName=CLUSTER_ARN, ClusterName="eks-a")),
        alarm_event(metric(InstanceId=NODE, HyperPodClusterName=CLUSTER_ARN), metric(ClusterName="eks-a")),
        alarm_event(metric(InstanceId=NODE, ClusterName=CLUSTER_ARN)),
        request(NODE, cluster=CLUSTER_ARN),
    ],
)
def test_cluster_given_as_an_arn_is_kept_whole(event: dict[str, Any]) -> None:
    """Its last part may be the cluster's ID: only a look-up can tell the name."""
    found = report(event)
    assert (found.cluster, found.cluster_is_hyperpod) == (CLUSTER_ARN, False)


# Anything at all


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"a": [value]}
    return value


odd = st.sampled_from(
    [
        *(
            None,
            True,
            0,
            -1,
            10**30,
            10**4299,
            1e400,
            float("nan"),
            [],
            {},
            [[]],
            [None],
            deep(150),
            [{"Arn": "\ud800"}],
        ),
        *("", " ", "\ud800", "x\udfff" * 900, "i-" + "0" * 5_000, "9999-12-31T23:59:59.9999Z", "0001-01-01T00:00:00Z"),
    ]
)
replacements = values | odd


def parts(value: Any) -> Iterator[Any]:
    """Yield every string and time in a reading."""
    if dataclasses.is_dataclass(value):
        yield from parts(tuple(getattr(value, field.name) for field in dataclasses.fields(value)))
    elif isinstance(value, tuple):
        for each in value:
            yield from parts(each)
    else:
        yield value


def read_or_refuse(body: str, home: Home = HOME) -> None:
    """Check that a body is either unreadable or gives readings that can be stored, logged and sent."""
    try:
        readings = events.read(body, message_id="m-1", sent=NOW, home=home)
    except UnreadableEventError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  either way is right
        return
    assert readings
    for reading in readings:
        hash(reading)
        assert datetime(1970, 1, 1, tzinfo=UTC) <= reading.trigger.time <= NOW
        for part in parts(reading):
            if isinstance(part, str):
                assert part == bounded(part)
            if isinstance(part, datetime):
                assert part.microsecond % 1000 == 0
                assert part <= NOW + timedelta(days=366)
            if isinstance(part, int):
                assert 0 <= part <= 1001


@given(st.text() | values.map(json.dumps))
def test_junk_is_unreadable_and_nothing_worse(body: str) -> None:
    """Any text and any JSON is read as something or raises the one error."""
    read_or_refuse(body)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container with each of its keys or indexes, all the way down."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


@given(payload=st.sampled_from(PAYLOADS), data=st.data())
def test_mutated_payload_is_read_or_unreadable_and_nothing_worse(payload: dict[str, Any], data: st.DataObject) -> None:
    """Any of a real payload's fields may be anything."""
    event = copy.deepcopy(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        spots = list(places(event))
        container, key = spots[data.draw(st.integers(0, len(spots) - 1))]
        container[key] = copy.deepcopy(data.draw(replacements))
    read_or_refuse(json.dumps(event), home_of(payload))


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("value", [None, 5, 1.5, True, "", "text", "\ud800" * 2_000, [], [5], {}, {"a": 5}])
def test_each_single_field_may_be_of_any_type(payload: dict[str, Any], value: object) -> None:
    """Every field of every payload in turn may have any type and any length."""
    for index in range(len(list(places(payload)))):
        event = copy.deepcopy(payload)
        container, key = list(places(event))[index]
        container[key] = value
        read_or_refuse(json.dumps(event), home_of(payload))


# Objects whose every key has a meaning: an unknown one there is a dimension, a tag or an attribute, not an extra field.
OPEN = ("Tags", "alarmTags", "attributes", "AlarmContributorAttributes")


@given(payload=st.sampled_from(PAYLOADS), name=st.text(min_size=1, max_size=9).map("x-{}".format), value=values)
def test_unknown_extra_fields_never_change_the_reading(payload: dict[str, Any], name: str, value: object) -> None:
    """AWS adds fields to its events when it likes."""
    event, home = copy.deepcopy(payload), home_of(payload)
    objects = [event, *(c[key] for c, key in places(event) if isinstance(c[key], dict) and key not in OPEN)]
    for each in objects:
        each[name] = copy.deepcopy(value)
    assert read(event, home=home) == read(payload, home=home)


def test_long_and_odd_text_is_bounded_wherever_it_stands() -> None:
    """A string of 420 KB or with lone surrogates in one report must not spoil what is stored or logged with it."""
    huge = "x\ud800" * 210_000
    summary = {"HealthStatus": "Unhealthy", "RepairAction": huge, "Recommendation": huge, "HealthStatusReason": huge}
    found = report(health_event(node=huge, HealthSummary=summary) | {"id": huge})
    for each in (
        found.node.id,
        found.repair_action,
        found.recommendation,
        found.trigger.reason,
        found.trigger.event_id,
    ):
        assert each == bounded(huge)
    event = alarm_event(metric(InstanceId=NODE)) | {"resources": [f":alarm:{huge}"], "id": None}
    (reading,) = events.read(json.dumps(event), message_id=huge, sent=NOW, home=HOME)
    assert reading.trigger.event_id == bounded(huge)
    assert reading.alarm
    assert reading.alarm.arn == bounded(f":alarm:{huge}")
    assert len(bounded(huge)) == LONGEST_TEXT


def test_id_may_be_as_long_as_any_kept_string() -> None:
    """The API decides what an ID is."""
    node = "i-" + "0" * (LONGEST_TEXT - 2)
    assert report(health_event(node=node)).node.id == node


def test_request_for_many_nodes_is_refused_once_if_foreign() -> None:
    """Its letter is the request as it came, and is sent once."""
    event = request(*map(instance_id, range(200))) | {"account": "999999999999"}
    (found,) = read(event)
    assert isinstance(found, NoReport)
