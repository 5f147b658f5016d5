"""Alarms as CloudWatch knows them, over botocore's Stubber: parameters and answers are held to the model."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.stub import Stubber

from node_remediation.aws.alarms import CloudWatchAlarms
from node_remediation.aws.errors import LookupFailedError
from node_remediation.events.alarm import series_of
from node_remediation.model import Alarm, AlarmState
from node_remediation.policy.record import Missing

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
ARN = "arn:aws:cloudwatch:us-west-2:111122223333:alarm:hyperpod-reboot-xid"
TYPES = ["MetricAlarm", "CompositeAlarm", "LogAlarm"]
NODE = "i-00000000000000001"


class Clock:
    """A clock that is set by hand."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def client(make_client: Callable[..., Any]) -> Any:
    return make_client("cloudwatch")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alarms(client: Any, stub: Stubber, clock: Clock) -> CloudWatchAlarms:
    return CloudWatchAlarms(client, clock=clock)


def asked(names: list[str]) -> dict[str, Any]:
    return {"AlarmNames": names, "AlarmTypes": TYPES, "MaxRecords": 100}


def expect(stub: Stubber, names: list[str], **answer: Any) -> None:
    stub.add_response("describe_alarms", answer, asked(names))


def trouble(stub: Stubber, names: list[str], code: str, status: int = 400) -> None:
    stub.add_client_error("describe_alarms", code, "words", status, expected_params=asked(names))


def in_alarm(*names: str) -> list[dict[str, Any]]:
    return [{"AlarmName": name, "StateValue": "ALARM"} for name in names]


def contributors(
    stub: Stubber, found: list[dict[str, str]], token: str | None = None, following: str | None = None
) -> None:
    """Answer with one page of an alarm's contributors."""
    answer: dict[str, Any] = {
        "AlarmContributors": [
            {"ContributorId": str(each), "ContributorAttributes": each, "StateReason": "high"} for each in found
        ]
    }
    stub.add_response(
        "describe_alarm_contributors",
        answer | ({"NextToken": following} if following else {}),
        {"AlarmName": "a"} | ({"NextToken": token} if token else {}),
    )


# -- definitions, tags


def test_alarms_of_every_type_are_described(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """Composite and log alarms are only answered where they are asked for by type."""
    composite, log = [{"AlarmName": "b", "AlarmRule": "r"}], [{"AlarmName": "c"}]
    expect(stub, ["a", "b", "c"], MetricAlarms=[{"AlarmName": "a"}], CompositeAlarms=composite, LogAlarms=log)
    assert [alarm["AlarmName"] for alarm in alarms.describe(["a", "b", "c"])] == ["a", "b", "c"]


def test_more_than_a_hundred_names_take_several_calls(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """The API takes 100 names at a time."""
    names = [f"a-{number}" for number in range(205)]
    for start in (0, 100, 200):
        part = names[start : start + 100]
        expect(stub, part, MetricAlarms=[{"AlarmName": name} for name in part])
    assert [alarm["AlarmName"] for alarm in alarms.describe(names)] == names


def test_no_names_ask_nothing(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """Without names DescribeAlarms would answer with every alarm of the account."""
    assert alarms.describe([]) == []
    assert alarms.states({}) == {}


def test_tags_are_remembered_for_five_minutes(alarms: CloudWatchAlarms, stub: Stubber, clock: Clock) -> None:
    """Each alarm of a storm carries the same tags."""
    for cluster in ("ml-a", "ml-b"):
        answer = {"Tags": [{"Key": "hyperpod:cluster", "Value": cluster}]}
        stub.add_response("list_tags_for_resource", answer, {"ResourceARN": ARN})
    assert alarms.tags(ARN) == {"hyperpod:cluster": "ml-a"}
    clock.now += timedelta(minutes=4, seconds=59)
    assert alarms.tags(ARN) == {"hyperpod:cluster": "ml-a"}
    clock.now += timedelta(seconds=1)
    assert alarms.tags(ARN) == {"hyperpod:cluster": "ml-b"}


@pytest.mark.parametrize(("code", "status", "passing"), [("AccessDenied", 403, False), ("Throttling", 400, True)])
def test_failed_look_up_tells_whether_it_will_pass(
    alarms: CloudWatchAlarms, stub: Stubber, code: str, status: int, *, passing: bool
) -> None:
    """With AWS's own words, and it is not remembered."""
    for operation in ("describe_alarms", "list_tags_for_resource"):
        stub.add_client_error(operation, code, "words", status)
    for lookup in (lambda: alarms.describe(["a"]), lambda: alarms.tags(ARN)):
        with pytest.raises(LookupFailedError, match=f"^{code}: words$") as raised:
            lookup()
        assert raised.value.error.passing is passing
    stub.add_response("list_tags_for_resource", {"Tags": []}, {"ResourceARN": ARN})
    assert alarms.tags(ARN) == {}


@pytest.mark.parametrize("code", ["ResourceNotFound", "ResourceNotFoundException"])
def test_alarm_that_was_deleted_has_no_tags(alarms: CloudWatchAlarms, stub: Stubber, code: str) -> None:
    """Its report is handled without them."""
    stub.add_client_error("list_tags_for_resource", code, "no such alarm", 404)
    assert alarms.tags(ARN) == {}


# -- states


def test_states_are_as_cloudwatch_says_with_their_time_in_utc(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """The time of the transition, else of the last update; an alarm that is not answered is gone."""
    berlin = NOW.astimezone(timezone(timedelta(hours=1)))
    found = [
        {"AlarmName": "a", "StateValue": "ALARM", "StateTransitionedTimestamp": berlin, "StateUpdatedTimestamp": NOW},
        {"AlarmName": "b", "StateValue": "OK", "StateUpdatedTimestamp": NOW - timedelta(1)},
        {"AlarmName": "c", "StateValue": "INSUFFICIENT_DATA"},
    ]
    expect(stub, ["a", "b", "c", "d"], MetricAlarms=found)
    states = alarms.states({f"key of {name}": (Alarm(name), [NODE]) for name in "dcba"})
    assert states == {
        "key of a": AlarmState("ALARM", NOW),
        "key of b": AlarmState("OK", NOW - timedelta(1)),
        "key of c": AlarmState("INSUFFICIENT_DATA"),
        "key of d": AlarmState("gone"),
    }
    first = states["key of a"]
    assert isinstance(first, AlarmState)
    assert first.since
    assert first.since.tzinfo is UTC


def test_many_nodes_of_one_alarm_ask_for_it_once(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """And for its series once."""
    expect(stub, ["a"], MetricAlarms=in_alarm("a"))
    contributors(stub, [{"InstanceId": NODE}])
    series = [{"InstanceId": NODE}, {"InstanceId": "i-2"}]
    found = alarms.states(
        {str(place): (Alarm("a", by_series=True, series=series_of(each)), [NODE]) for place, each in enumerate(series)}
    )
    assert found == {"0": AlarmState("ALARM"), "1": AlarmState("OK")}


def test_passing_trouble_makes_its_hundred_missing_and_no_others(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """What nobody could say is no state."""
    names = sorted(f"a-{number}" for number in range(150))
    trouble(stub, names[:100], "Throttling")
    expect(stub, names[100:], MetricAlarms=in_alarm(*names[100:]))
    found = alarms.states({name: (Alarm(name), []) for name in names})
    assert {found[name] for name in names[:100]} == {Missing("Throttling", "words")}
    assert {found[name] for name in names[100:]} == {AlarmState("ALARM")}


def test_denial_is_a_state_of_its_own(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """It is final, and of all that were asked for: no name is at fault."""
    trouble(stub, ["a", "b"], "AccessDenied", 403)
    assert alarms.states({name: (Alarm(name), []) for name in "ab"}) == dict.fromkeys("ab", AlarmState("denied"))


def test_name_that_cloudwatch_does_not_take_leaves_its_neighbours(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """The call is halved until the name at fault is alone."""
    odd = "c" * 300
    names = ["a", "b", odd, "d"]
    trouble(stub, ["a", "b", odd, "d"], "ValidationError")
    expect(stub, ["a", "b"], MetricAlarms=in_alarm("a", "b"))
    trouble(stub, [odd, "d"], "ValidationError")
    trouble(stub, [odd], "ValidationError")
    expect(stub, ["d"], MetricAlarms=in_alarm("d"))
    found = alarms.states({name: (Alarm(name), []) for name in names})
    assert found == dict.fromkeys("abd", AlarmState("ALARM")) | {odd: AlarmState("denied")}


@pytest.mark.parametrize(
    ("alarm", "series", "state"),
    [
        (Alarm("a", by_series=True, series=series_of({"b": "2", "a": "1"})), {"a": "1", "b": "2"}, "ALARM"),
        (Alarm("a", by_series=True, series=series_of({"a": "1"})), {"a": "1", "b": "2"}, "OK"),
        (Alarm("a", by_series=True, series=series_of({})), {"InstanceId": NODE}, "OK"),
        (Alarm("a", by_series=True), {"InstanceId": NODE, "Gpu": "7"}, "ALARM"),
        (Alarm("a", by_series=True), {"NodeName": f"hyperpod-{NODE}"}, "ALARM"),
        (Alarm("a", by_series=True), {"InstanceId": "i-00000000000000002"}, "OK"),
        (Alarm("a", by_series=True), {"Rack": "7"}, "OK"),
    ],
)
def test_series_is_in_alarm_while_it_contributes(
    alarms: CloudWatchAlarms, stub: Stubber, alarm: Alarm, series: dict[str, str], state: str
) -> None:
    """The same attributes in any order; where they are not known, those of any series that names the node."""
    expect(stub, ["a"], MetricAlarms=in_alarm("a"))
    contributors(stub, [{"Other": "1"}], following="t")
    contributors(stub, [series], token="t")
    assert alarms.states({"key": (alarm, [NODE])}) == {"key": AlarmState(state)}


def test_series_has_its_own_time(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """The alarm as a whole may be in ALARM for longer."""
    expect(stub, ["a"], MetricAlarms=[{**in_alarm("a")[0], "StateTransitionedTimestamp": NOW - timedelta(1)}])
    contributor = {"ContributorId": "c", "ContributorAttributes": {"InstanceId": NODE}, "StateReason": "high"}
    answer = {"AlarmContributors": [{**contributor, "StateTransitionedTimestamp": NOW}]}
    stub.add_response("describe_alarm_contributors", answer, {"AlarmName": "a"})
    assert alarms.states({"key": (Alarm("a", by_series=True), [NODE])}) == {"key": AlarmState("ALARM", NOW)}


@pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA"])
def test_series_of_an_alarm_that_is_not_in_alarm_is_as_the_alarm(
    alarms: CloudWatchAlarms, stub: Stubber, state: str
) -> None:
    """No series contributes then: they are not asked for."""
    expect(stub, ["a"], MetricAlarms=[{"AlarmName": "a", "StateValue": state}])
    assert alarms.states({"key": (Alarm("a", by_series=True), [NODE])}) == {"key": AlarmState(state)}


def test_series_whose_second_page_fails_are_missing(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """Half of the series would make the other half OK."""
    expect(stub, ["a"], MetricAlarms=in_alarm("a"))
    contributors(stub, [], following="t")
    stub.add_client_error("describe_alarm_contributors", "Throttling", "words", 400)
    found = alarms.states({"key": (Alarm("a", by_series=True), [NODE])})
    assert found == {"key": Missing("Throttling", "words")}


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("Throttling", Missing("Throttling", "words")),
        ("AccessDenied", AlarmState("denied")),
        ("ResourceNotFoundException", AlarmState("gone")),
    ],
)
def test_series_that_cannot_be_asked_for_leave_other_alarms(
    alarms: CloudWatchAlarms, stub: Stubber, code: str, state: AlarmState | Missing
) -> None:
    """Missing for a passing reason, else denied or gone."""
    expect(stub, ["a", "b"], MetricAlarms=in_alarm("a", "b"))
    stub.add_client_error("describe_alarm_contributors", code, "words", 400)
    found = alarms.states({"a": (Alarm("a", by_series=True), [NODE]), "b": (Alarm("b"), [NODE])})
    assert found == {"a": state, "b": AlarmState("ALARM")}


def test_alarms_that_there_is_no_time_to_ask_are_missing(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """Neither alarms nor series."""
    late = Missing("DeadlineExceeded", "the function ran out of time before the call")
    by_series = {"a": (Alarm("a", by_series=True), [NODE])}
    assert alarms.states(by_series, may_call=lambda: False) == {"a": late}
    expect(stub, ["a"], MetricAlarms=in_alarm("a"))
    allowed = iter([True])
    assert alarms.states(by_series, may_call=lambda: next(allowed, False)) == {"a": late}
