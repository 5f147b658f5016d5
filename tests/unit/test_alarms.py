"""What CloudWatch knows about alarms, over botocore's Stubber: parameters and answers are held to the model."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from node_remediation.alarms import CloudWatchAlarms
from node_remediation.lookup import LookupFailedError
from tests.unit.fakes import NOW

ARN = "arn:aws:cloudwatch:us-west-2:111122223333:alarm:hyperpod-xid"
TYPES = ["MetricAlarm", "CompositeAlarm"]


class Clock:
    """A clock that is set by hand."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="module")
def client() -> Any:
    session = boto3.Session(aws_access_key_id="unit", aws_secret_access_key="unit", region_name="us-west-2")
    return session.client("cloudwatch")


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
    return CloudWatchAlarms(lambda: client, clock=clock)


def expect(stub: Stubber, names: list[str], **answer: Any) -> None:
    stub.add_response("describe_alarms", answer, {"AlarmNames": names, "AlarmTypes": TYPES, "MaxRecords": 100})


def test_metric_and_composite_alarms_are_described(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """Composite alarms are only answered when they are asked for by type."""
    expect(stub, ["a", "b"], MetricAlarms=[{"AlarmName": "a"}], CompositeAlarms=[{"AlarmName": "b", "AlarmRule": "r"}])
    assert [alarm["AlarmName"] for alarm in alarms.describe(["a", "b"])] == ["a", "b"]


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


def test_states_are_asked_for_each_time(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """An alarm's state is not remembered."""
    expect(stub, ["a"], MetricAlarms=[{"AlarmName": "a", "StateValue": "OK"}])
    expect(stub, ["a"], MetricAlarms=[{"AlarmName": "a", "StateValue": "ALARM"}])
    assert [alarms.describe(["a"])[0]["StateValue"] for _ in range(2)] == ["OK", "ALARM"]


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
def test_failed_lookup_says_whether_it_will_pass(
    alarms: CloudWatchAlarms, stub: Stubber, code: str, status: int, passing: bool
) -> None:
    """Every lookup fails in AWS's own words, and a failure is not remembered."""
    for operation in ("describe_alarms", "describe_alarm_contributors", "list_tags_for_resource"):
        stub.add_client_error(operation, code, "words", status)
    for lookup in (lambda: alarms.describe(["a"]), lambda: alarms.contributors("a"), lambda: alarms.tags(ARN)):
        with pytest.raises(LookupFailedError, match=f"^{code}: words$") as raised:
            lookup()
        assert raised.value.error.passing is passing
    stub.add_response("list_tags_for_resource", {"Tags": []}, {"ResourceARN": ARN})
    assert alarms.tags(ARN) == {}


@pytest.mark.parametrize("code", ["ResourceNotFound", "ResourceNotFoundException"])
def test_alarm_that_is_gone_has_no_tags(alarms: CloudWatchAlarms, stub: Stubber, code: str) -> None:
    """An alarm that was deleted since it changed keeps its report from nothing."""
    stub.add_client_error("list_tags_for_resource", code, "no such alarm", 404)
    assert alarms.tags(ARN) == {}


def contributors(stub: Stubber, nodes: list[str], token: str | None = None, following: str | None = None) -> None:
    """One page of an alarm's contributors."""
    found = [
        {"ContributorId": node, "ContributorAttributes": {"InstanceId": node}, "StateReason": "high"} for node in nodes
    ]
    answer = {"AlarmContributors": found} | ({"NextToken": following} if following else {})
    stub.add_response(
        "describe_alarm_contributors", answer, {"AlarmName": "a"} | ({"NextToken": token} if token else {})
    )


def test_contributors_are_the_attributes_of_every_page(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """A cluster's worth of series takes several."""
    contributors(stub, ["i-1", "i-2"], following="t-1")
    contributors(stub, [], token="t-1", following="t-2")
    contributors(stub, ["i-3"], token="t-2")
    assert alarms.contributors("a") == [{"InstanceId": node} for node in ("i-1", "i-2", "i-3")]


def test_contributors_are_asked_for_each_time(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """Which series are in ALARM is not remembered; none is an answer too."""
    contributors(stub, ["i-1"])
    contributors(stub, [])
    assert [alarms.contributors("a") for _ in range(2)] == [[{"InstanceId": "i-1"}], []]


def test_contributors_whose_second_page_fails_are_no_answer(alarms: CloudWatchAlarms, stub: Stubber) -> None:
    """Half of the series would make the other half OK."""
    contributors(stub, ["i-1"], following="t-1")
    stub.add_client_error("describe_alarm_contributors", "Throttling", "words", 400)
    with pytest.raises(LookupFailedError):
        alarms.contributors("a")


def test_client_is_made_only_when_it_is_needed(clock: Clock) -> None:
    """Most functions never ask CloudWatch anything, so their cold start does not pay for it."""

    def never() -> Any:
        raise AssertionError

    assert CloudWatchAlarms(never, clock=clock).describe([]) == []
