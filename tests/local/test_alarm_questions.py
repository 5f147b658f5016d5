"""Contracts of `local.patches.alarm_times` and `alarm_contributors`: what may be asked of an alarm later."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import LocalAws, LocalAwsError

MakeUser = Callable[..., dict[str, str]]
_PATH = "/_local/contributors"
_GPU = {"attributes": {"ClusterName": "ml", "InstanceId": "i-0123456789abcdef0"}}


@pytest.fixture
def alarm(aws: LocalAws, unique: str) -> Iterator[str]:
    """The name of an alarm whose state nothing but the test changes."""
    _put(aws, unique)
    yield unique
    aws.admin("DELETE", _PATH)


def _put(aws: LocalAws, name: str) -> None:
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="ContainerInsights",
        MetricName="hyperpod_node_health_status_unschedulable",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )


def _set(aws: LocalAws, name: str, value: str = "ALARM") -> None:
    aws.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=value, StateReason=f"now {value}")


def _described(aws: LocalAws, name: str, kind: str = "MetricAlarm") -> dict[str, Any]:
    answer = aws.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    (alarm,) = answer[f"{kind}s"]
    return dict(alarm)


def _contributors(aws: LocalAws, alarm: str, **more: str) -> dict[str, Any]:
    answer: dict[str, Any] = aws.client("cloudwatch").describe_alarm_contributors(AlarmName=alarm, **more)
    return answer


def _script(aws: LocalAws, alarm: str, *contributors: dict[str, Any]) -> list[dict[str, Any]]:
    answer = aws.admin("POST", _PATH, {"alarm": alarm, "contributors": list(contributors)})
    return list(answer["contributors"])


def test_a_change_of_state_has_its_time_to_the_millisecond(aws: LocalAws, alarm: str) -> None:
    """A whole second would be earlier than what came before the change."""
    before = time.time()
    _set(aws, alarm)
    described = _described(aws, alarm)
    assert (described["StateValue"], described["StateReason"]) == ("ALARM", "now ALARM")
    assert before - 0.001 <= described["StateTransitionedTimestamp"].timestamp() <= time.time() + 0.001
    assert described["StateUpdatedTimestamp"] == described["StateTransitionedTimestamp"]


def test_the_same_state_again_is_no_transition(aws: LocalAws, alarm: str) -> None:
    _set(aws, alarm)
    first = _described(aws, alarm)["StateTransitionedTimestamp"]
    _set(aws, alarm)
    assert _described(aws, alarm)["StateTransitionedTimestamp"] == first
    _set(aws, alarm, "OK")
    assert _described(aws, alarm)["StateTransitionedTimestamp"] > first


def test_an_alarm_that_is_put_again_keeps_its_state_and_times(aws: LocalAws, alarm: str) -> None:
    _set(aws, alarm)
    before = _described(aws, alarm)
    _put(aws, alarm)
    after = _described(aws, alarm)
    for key in ("StateValue", "StateUpdatedTimestamp", "StateTransitionedTimestamp"):
        assert after[key] == before[key]


def test_a_composite_alarm_has_its_times_too(aws: LocalAws, alarm: str) -> None:
    aws.client("cloudwatch").put_composite_alarm(AlarmName=f"{alarm}-all", AlarmRule=f'ALARM("{alarm}")')
    before = time.time()
    _set(aws, alarm)
    described = _described(aws, f"{alarm}-all", "CompositeAlarm")
    assert described["StateValue"] == "ALARM"
    assert described["StateTransitionedTimestamp"].timestamp() >= before - 0.001


def test_an_alarm_says_which_contributors_are_in_alarm(aws: LocalAws, alarm: str) -> None:
    _script(aws, alarm, {**_GPU, "id": "gpu0", "reason": "2 > 1", "since": 1_800_000_000.5})
    _set(aws, alarm)
    (contributor,) = _contributors(aws, alarm)["AlarmContributors"]
    assert contributor.pop("StateTransitionedTimestamp").timestamp() == 1_800_000_000.5
    assert contributor == {
        "ContributorId": "gpu0",
        "ContributorAttributes": _GPU["attributes"],
        "StateReason": "2 > 1",
    }


def test_a_contributor_needs_nothing_but_attributes_and_keeps_its_time(aws: LocalAws, alarm: str) -> None:
    before = time.time()
    (first,) = _script(aws, alarm, _GPU)
    assert before - 0.001 <= first["StateTransitionedTimestamp"] <= time.time() + 0.001
    other = {"attributes": {"InstanceId": "i-0fedcba9876543210"}}
    again, second = _script(aws, alarm, _GPU, other)
    assert again == first
    assert second["ContributorId"] != first["ContributorId"]
    assert aws.admin("GET", _PATH)[_described(aws, alarm)["AlarmArn"]] == [again, second]


def test_an_alarm_that_is_not_in_alarm_has_no_contributors(aws: LocalAws, alarm: str) -> None:
    _set(aws, alarm)
    assert _contributors(aws, alarm)["AlarmContributors"] == []
    _script(aws, alarm, _GPU)
    _set(aws, alarm, "OK")
    assert _contributors(aws, alarm)["AlarmContributors"] == []
    _set(aws, alarm)
    assert len(_contributors(aws, alarm)["AlarmContributors"]) == 1
    _script(aws, alarm)
    assert _contributors(aws, alarm)["AlarmContributors"] == []


def test_contributors_come_in_pages(aws: LocalAws, alarm: str) -> None:
    _script(aws, alarm, *({"attributes": {"InstanceId": f"i-{number:017x}"}} for number in range(11)))
    _set(aws, alarm)
    first = _contributors(aws, alarm)
    rest = _contributors(aws, alarm, NextToken=first["NextToken"])
    assert (len(first["AlarmContributors"]), len(rest["AlarmContributors"])) == (10, 1)
    assert "NextToken" not in rest


def test_a_token_that_no_answer_carried_is_refused(aws: LocalAws, alarm: str) -> None:
    with pytest.raises(aws.client("cloudwatch").exceptions.ClientError, match="InvalidNextToken"):
        _contributors(aws, alarm, NextToken="made-up")


def test_an_unknown_alarm_is_the_declared_error(aws: LocalAws, unique: str) -> None:
    cloudwatch = aws.client("cloudwatch")
    with pytest.raises(cloudwatch.exceptions.ResourceNotFoundException, match=unique) as caught:
        cloudwatch.describe_alarm_contributors(AlarmName=unique)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


@pytest.mark.parametrize(
    ("contributors", "text"),
    [
        ([{}], "each takes"),
        ([{**_GPU, "state": "OK"}], "each takes"),
        ([{**_GPU, "id": "longer than sixteen"}], "Value 'longer than sixteen' at 'contributorId'"),
        ([{"attributes": {"InstanceId": ""}}], "at 'contributorAttributes.InstanceId'"),
        ("all", "takes a list"),
    ],
)
def test_contributors_that_aws_would_not_describe_are_refused(
    aws: LocalAws, alarm: str, contributors: Any, text: str
) -> None:
    """By botocore's model; those before stay."""
    before = _script(aws, alarm, _GPU)
    with pytest.raises(LocalAwsError, match=text):
        aws.admin("POST", _PATH, {"alarm": alarm, "contributors": contributors})
    assert aws.admin("GET", _PATH)[_described(aws, alarm)["AlarmArn"]] == before


def test_contributors_of_no_alarm_are_refused(aws: LocalAws, unique: str) -> None:
    with pytest.raises(LocalAwsError, match=f"contributors: no alarm '{unique}'"):
        _script(aws, unique, _GPU)


def test_contributors_take_a_permission_of_their_own(aws: LocalAws, alarm: str, make_user: MakeUser) -> None:
    """DescribeAlarms is not enough."""
    allow = {"Effect": "Allow", "Action": "cloudwatch:DescribeAlarms", "Resource": "*"}
    user = make_user(allow)
    cloudwatch = aws.client("cloudwatch", **user)
    assert cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    with pytest.raises(ClientError, match="AccessDenied"):
        cloudwatch.describe_alarm_contributors(AlarmName=alarm)


def test_contributors_are_allowed_by_the_alarms_arn(aws: LocalAws, alarm: str, make_user: MakeUser) -> None:
    arn = _described(aws, alarm)["AlarmArn"]
    user = make_user({"Effect": "Allow", "Action": "cloudwatch:DescribeAlarmContributors", "Resource": arn})
    cloudwatch = aws.client("cloudwatch", **user)
    assert cloudwatch.describe_alarm_contributors(AlarmName=alarm)["AlarmContributors"] == []
    with pytest.raises(ClientError, match="AccessDenied"):
        cloudwatch.describe_alarm_contributors(AlarmName=f"{alarm}-other")
