"""Telling the kinds of event apart, and what is none of them: junk is unreadable and never anything worse."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation import events
from node_remediation.events import Reading
from node_remediation.events.fields import UnreadableEventError
from node_remediation.model import Composite, Report, Settled
from tests.unit.fakes import NOW, SAMPLES, health_event, request, sample, unmuted

PAYLOADS: list[dict[str, Any]] = [
    *(sample(path.name.split(".")[0]) for path in sorted(SAMPLES.glob("*.json"))),
    *(unmuted(sample(path.name.split(".")[0])) for path in sorted(SAMPLES.glob("alarm-[csm]*.json"))),
    health_event(),
    request("i-0123abcd", logical=["group-1"]),
    request() | {"detail-type": "HyperPod Node Reboot Failed", "detail": {"NodeId": "i-1", "Trigger": {"Time": "now"}}},
    {"AlarmName": "a", "NewStateValue": "ALARM", "AlarmRule": "r", "TriggeringChildren": [{"Arn": "arn::alarm:b"}]},
    {"AlarmName": "a", "NewStateValue": "ALARM", "Trigger": {"Dimensions": [{"name": "InstanceId", "value": "i-1"}]}},
    {"Type": "Notification", "MessageId": "s", "Timestamp": "2026-11-23T02:14:07Z", "Message": json.dumps(request())},
]


def read(body: object) -> list[Reading]:
    return list(events.read(json.dumps(body), message_id="m-1", sent=NOW))


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
    """A person is told what is wrong, and never with a stack trace's worth of text."""
    with pytest.raises(UnreadableEventError) as raised:
        events.read(body, message_id="m-1", sent=NOW)
    assert str(raised.value).startswith(problem)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("detail_type", ["SageMaker HyperPod Cluster State Change", "EC2 Spot Notice"])
def test_event_of_another_kind_is_ignored(detail_type: str) -> None:
    """What a rule delivers by mistake is nobody's fault, whatever its detail."""
    (reading,) = read(health_event() | {"detail-type": detail_type, "detail": [None]})
    assert isinstance(reading, Settled)
    assert reading.outcome == "ignored"


def test_message_stands_in_for_missing_id_and_time() -> None:
    """An event without ID and time is known by the message that brought it."""
    event = health_event()
    del event["id"], event["time"]
    (reading,) = read(event)
    assert (reading.trigger.event_id, reading.trigger.time) == ("m-1", NOW)


@pytest.mark.parametrize("resources", [None, 5, True, "arn", {"a": 1}, [5, None, {}]])
def test_odd_resources_do_not_matter(resources: object) -> None:
    """No parser needs them but for an alarm's ARN."""
    assert read(health_event(resources=resources)) == read(health_event())


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)


@given(st.text() | values.map(json.dumps))
def test_junk_is_unreadable_and_nothing_worse(body: str) -> None:
    """Any text and any JSON either reads as something or raises the one error."""
    read_or_refuse(body)


def read_or_refuse(body: str) -> None:
    try:
        readings = events.read(body, message_id="m-1", sent=NOW)
    except UnreadableEventError as error:
        assert "\n" not in str(error)  # noqa: PT017  either way is right
        return
    assert readings
    for reading in readings:
        assert isinstance(reading, Report | Composite | Settled)
        assert hash(reading) is not None


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container with each of its keys or indexes, all the way down."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"a": [value]}
    return value


replacements = st.one_of(
    values,
    st.sampled_from(
        [None, 0, -1, 1e400, float("nan"), [], {}, [[]], [None], "", " ", "\ud800", True, 10**30, deep(150)]
    ),
)


@given(payload=st.sampled_from(PAYLOADS), data=st.data())
def test_mutated_payload_is_read_or_unreadable_and_nothing_worse(payload: dict[str, Any], data: st.DataObject) -> None:
    """Any of a real payload's fields may be anything."""
    event = copy.deepcopy(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        spots = list(places(event))
        container, key = spots[data.draw(st.integers(0, len(spots) - 1))]
        container[key] = copy.deepcopy(data.draw(replacements))
    read_or_refuse(json.dumps(event))


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("value", [None, 5, 1.5, True, "", "text", [], [5], {}, {"a": 5}])
def test_each_single_field_may_be_of_any_type(payload: dict[str, Any], value: object) -> None:
    """Every field of every payload in turn, by every type: no field is trusted to be what it should."""
    for index in range(len(list(places(payload)))):
        event = copy.deepcopy(payload)
        container, key = list(places(event))[index]
        container[key] = value
        read_or_refuse(json.dumps(event))


# Objects whose every key has a meaning: an unknown one there is a dimension or tag, not an extra field.
OPEN = ("Tags", "alarmTags")


@given(payload=st.sampled_from(PAYLOADS), name=st.text(min_size=1, max_size=9).map("x-{}".format), value=values)
def test_unknown_extra_fields_never_change_the_reading(payload: dict[str, Any], name: str, value: object) -> None:
    """AWS adds fields to its events when it likes."""
    event = copy.deepcopy(payload)
    objects = [event, *(c[key] for c, key in places(event) if isinstance(c[key], dict) and key not in OPEN)]
    for each in objects:
        each[name] = copy.deepcopy(value)
    assert read(event) == read(payload)
