"""Contracts of the patches `alarm_actions`, `alarm_shapes`, `alarm_records`, `alarm_contributors`."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import LocalAws, LocalAwsError
from tests.local.support import Queue, RecordingFunction

MakeQueue = Callable[..., Queue]
MakeFunction = Callable[..., RecordingFunction]
PutAlarm = Callable[..., str]
MakeUser = Callable[..., dict[str, str]]
_CONTRIBUTORS = "/_local/contributors"
_GPU = {"attributes": {"ClusterName": "ml", "InstanceId": "i-0123456789abcdef0"}}
_SAMPLES = Path(__file__).parent.parent / "samples"
_NODE = "i-0123456789abcdef0"
_SINGLE = {
    "Namespace": "ContainerInsights",
    "MetricName": "hyperpod_node_health_status_unschedulable_pending_reboot",
    "Dimensions": [{"Name": "ClusterName", "Value": "ml"}, {"Name": "InstanceId", "Value": _NODE}],
    "Statistic": "Maximum",
    "Period": 60,
}
_MATHS = {
    "Metrics": [
        {"Id": "e1", "Expression": "SUM(METRICS())", "Label": "Total", "ReturnData": True},
        {
            "Id": "m1",
            "MetricStat": {
                "Metric": {key: _SINGLE[key] for key in ("Namespace", "MetricName", "Dimensions")},
                "Period": 60,
                "Stat": "Maximum",
            },
            "ReturnData": False,
        },
    ]
}


@pytest.fixture
def put_alarm(aws: LocalAws, unique: str) -> PutAlarm:
    """Puts the alarm `unique`, in state INSUFFICIENT_DATA; returns its ARN."""
    client = aws.client("cloudwatch")

    def put(name: str = unique, **settings: Any) -> str:
        client.put_metric_alarm(
            AlarmName=name,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            **settings,
        )
        (alarm,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        arn: str = alarm["AlarmArn"]
        return arn

    return put


@pytest.fixture
def bus(aws: LocalAws, unique: str, make_queue: MakeQueue) -> Queue:
    """A queue with every alarm event of this test."""
    queue, events = make_queue("bus"), aws.client("events")
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": [{"prefix": unique}]}}
    queue.allow("events.amazonaws.com", events.put_rule(Name=unique, EventPattern=json.dumps(pattern))["RuleArn"])
    events.put_targets(Rule=unique, Targets=[{"Id": "1", "Arn": queue.arn}])
    return queue


def _set(aws: LocalAws, name: str, value: str, **more: Any) -> None:
    aws.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=value, StateReason=f"now {value}", **more)


def _shape(value: Any) -> Any:
    """The keys, all the way down; what is no dict or list is just something."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    return [_shape(item) for item in value] if isinstance(value, list) else None


def _sample(name: str) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads((_SAMPLES / name).read_text())
    return sample


def test_a_change_of_state_reaches_the_bus(aws: LocalAws, unique: str, put_alarm: PutAlarm, bus: Queue) -> None:
    """In the documented shape, with the state before."""
    arn = put_alarm(**_SINGLE, AlarmDescription="unhealthy")
    _set(aws, unique, "OK", StateReasonData=json.dumps({"version": "1.0"}))
    _set(aws, unique, "ALARM", StateReasonData=json.dumps({"version": "1.1"}))
    event = json.loads(bus.take(2)[1]["Body"])
    assert (event["detail-type"], event["resources"]) == ("CloudWatch Alarm State Change", [arn])
    detail, documented = event["detail"], _sample("alarm-single-metric.documented.json")["detail"]
    stat = detail["configuration"]["metrics"][0]["metricStat"]
    assert stat["metric"].pop("dimensions") == {"ClusterName": "ml", "InstanceId": _NODE}
    documented["configuration"]["metrics"][0]["metricStat"]["metric"].pop("dimensions")
    documented.pop("muteDetail")
    assert _shape(detail) == _shape(documented)
    assert (detail["state"]["value"], detail["state"]["reason"]) == ("ALARM", "now ALARM")
    assert (detail["previousState"]["value"], detail["previousState"]["reason"]) == ("OK", "now OK")


def test_a_metric_math_alarm_carries_its_metrics(aws: LocalAws, unique: str, put_alarm: PutAlarm, bus: Queue) -> None:
    """Described and published with expression and dimensions."""
    put_alarm(**_MATHS)
    (alarm,) = aws.client("cloudwatch").describe_alarms(AlarmNames=[unique])["MetricAlarms"]
    assert alarm["Metrics"] == _MATHS["Metrics"]
    assert not {"MetricName", "Namespace", "Dimensions"} & alarm.keys()
    _set(aws, unique, "ALARM")
    metrics = json.loads(bus.take()[0]["Body"])["detail"]["configuration"]["metrics"]
    documented = _sample("alarm-metric-math.documented.json")["detail"]["configuration"]["metrics"]
    assert metrics[1]["metricStat"]["metric"].pop("dimensions")["InstanceId"] == _NODE
    documented[1]["metricStat"]["metric"].pop("dimensions")
    assert _shape(metrics) == _shape(documented[:2])


def _allow_alarm(aws: LocalAws, function: RecordingFunction, alarm_arn: str) -> None:
    aws.client("lambda").add_permission(
        FunctionName=function.name,
        StatementId="alarms",
        Action="lambda:InvokeFunction",
        Principal="lambda.alarms.cloudwatch.amazonaws.com",
        SourceArn=alarm_arn,
    )


def test_a_lambda_action_invokes_a_function_that_allows_it(
    aws: LocalAws, unique: str, put_alarm: PutAlarm, make_function: MakeFunction
) -> None:
    """With the documented event, in the state that the action is for."""
    function = make_function()
    arn = put_alarm(**_SINGLE, AlarmActions=[function.arn], AlarmDescription="unhealthy", Unit="Percent")
    _allow_alarm(aws, function, arn)
    _set(aws, unique, "OK")
    _set(aws, unique, "ALARM")
    (invocation,) = function.await_invocations(1)
    event, documented = invocation["event"], _sample("alarm-direct-to-lambda.documented.json")
    assert (event["alarmArn"], event["alarmData"]["state"]["value"]) == (arn, "ALARM")
    documented["alarmData"]["previousState"].pop("reasonData")
    for one in (event, documented):
        one["alarmData"]["configuration"]["metrics"][0]["metricStat"]["metric"].pop("dimensions")
    assert _shape(event) == _shape(documented)


def test_a_lambda_action_needs_the_functions_permission(
    aws: LocalAws, unique: str, put_alarm: PutAlarm, make_function: MakeFunction
) -> None:
    """Permission for another alarm is none: of two alarms only the allowed one invokes."""
    function = make_function()
    refused = put_alarm(f"{unique}-refused", **_SINGLE, AlarmActions=[function.arn])
    allowed = put_alarm(f"{unique}-allowed", **_SINGLE, AlarmActions=[function.arn])
    _allow_alarm(aws, function, allowed)
    for name in ("refused", "allowed"):
        _set(aws, f"{unique}-{name}", "ALARM")
    assert [seen["event"]["alarmArn"] for seen in function.await_invocations(1)] == [allowed]
    assert refused != allowed


@pytest.mark.parametrize(("settings", "trigger"), [(_SINGLE, "MetricName"), (_MATHS, "Metrics")])
def test_an_sns_action_publishes_the_documented_message(
    *,
    settings: dict[str, Any],
    trigger: str,
    aws: LocalAws,
    unique: str,
    put_alarm: PutAlarm,
    make_queue: MakeQueue,
) -> None:
    """Dimensions are spelled in small letters there."""
    queue, sns = make_queue(), aws.client("sns")
    topic = sns.create_topic(Name=unique)["TopicArn"]
    queue.allow("sns.amazonaws.com", topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    arn = put_alarm(**settings, AlarmActions=[topic])
    _set(aws, unique, "ALARM")
    message = json.loads(json.loads(queue.take()[0]["Body"])["Message"])
    assert (message["AlarmName"], message["AlarmArn"], message["AWSAccountId"]) == (unique, arn, aws.account)
    assert (message["NewStateValue"], message["OldStateValue"]) == ("ALARM", "INSUFFICIENT_DATA")
    assert (message["NewStateReason"], message["Region"]) == ("now ALARM", aws.region)
    assert message["StateChangeTime"].endswith("+0000")
    metric = message["Trigger"] if trigger == "MetricName" else message["Trigger"]["Metrics"][1]["MetricStat"]["Metric"]
    assert {"name": "InstanceId", "value": _NODE} in metric["Dimensions"]


def test_an_alarm_with_actions_disabled_reaches_the_bus_only(
    aws: LocalAws, unique: str, put_alarm: PutAlarm, make_function: MakeFunction, bus: Queue
) -> None:
    """As on AWS."""
    function = make_function()
    arn = put_alarm(**_SINGLE, AlarmActions=[function.arn], OKActions=[function.arn], ActionsEnabled=False)
    _allow_alarm(aws, function, arn)
    _set(aws, unique, "ALARM")
    assert bus.count() == 1
    aws.client("cloudwatch").enable_alarm_actions(AlarmNames=[unique])
    _set(aws, unique, "OK")
    assert [seen["event"]["alarmData"]["state"]["value"] for seen in function.await_invocations(1)] == ["OK"]


def _described(aws: LocalAws, name: str, kind: str = "MetricAlarm") -> dict[str, Any]:
    answer = aws.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    (alarm,) = answer[f"{kind}s"]
    return dict(alarm)


def test_a_change_of_state_has_its_time_to_the_millisecond(
    aws: LocalAws, unique: str, put_alarm: PutAlarm, bus: Queue
) -> None:
    """A whole second would be earlier than what came before. A new definition keeps it, and so does the same state."""
    put_alarm(**_SINGLE)
    before = time.time()
    _set(aws, unique, "ALARM")
    first = _described(aws, unique)
    assert (first["StateValue"], first["StateReason"]) == ("ALARM", "now ALARM")
    assert before - 0.001 <= first["StateTransitionedTimestamp"].timestamp() <= time.time() + 0.001
    assert first["StateUpdatedTimestamp"] == first["StateTransitionedTimestamp"]
    put_alarm(**_SINGLE)
    second = _described(aws, unique)
    for key in ("StateValue", "StateUpdatedTimestamp", "StateTransitionedTimestamp"):
        assert second[key] == first[key]
    _set(aws, unique, "ALARM")
    third = _described(aws, unique)
    assert (third["StateTransitionedTimestamp"], bus.count()) == (first["StateTransitionedTimestamp"], 1)
    _set(aws, unique, "OK")
    assert _described(aws, unique)["StateTransitionedTimestamp"] > first["StateTransitionedTimestamp"]


def test_a_composite_alarm_names_its_triggering_children_and_its_time(
    aws: LocalAws, unique: str, put_alarm: PutAlarm, bus: Queue
) -> None:
    """In `reasonData`; it has no metrics of its own."""
    child, before = put_alarm(f"{unique}-child", **_SINGLE), time.time()
    aws.client("cloudwatch").put_composite_alarm(AlarmName=unique, AlarmRule=f'ALARM("{unique}-child")')
    _set(aws, f"{unique}-child", "ALARM")
    events = [json.loads(message["Body"])["detail"] for message in bus.take(bus.count())]
    (parent,) = [e for e in events if e["alarmName"] == unique and e["state"]["value"] == "ALARM"]
    assert parent["configuration"] == {"alarmRule": f'ALARM("{unique}-child")'}
    (triggering,) = json.loads(parent["state"]["reasonData"])["triggeringAlarms"]
    assert (triggering["arn"], triggering["state"]["value"]) == (child, "ALARM")
    described = _described(aws, unique, "CompositeAlarm")
    assert (described["StateValue"], described["StateTransitionedTimestamp"].timestamp() >= before - 0.001) == (
        "ALARM",
        True,
    )


@pytest.fixture
def watched(aws: LocalAws, unique: str, put_alarm: PutAlarm) -> Iterator[str]:
    """The ARN of the alarm `unique`, in ALARM, whose contributors the test scripts."""
    arn = put_alarm(**_SINGLE)
    _set(aws, unique, "ALARM")
    yield arn
    aws.admin("DELETE", _CONTRIBUTORS)


def _script(aws: LocalAws, alarm: str, *contributors: dict[str, Any]) -> list[dict[str, Any]]:
    answer = aws.admin("POST", _CONTRIBUTORS, {"alarm": alarm, "contributors": list(contributors)})
    return list(answer["contributors"])


def _contributors(aws: LocalAws, alarm: str, **more: str) -> dict[str, Any]:
    answer: dict[str, Any] = aws.client("cloudwatch").describe_alarm_contributors(AlarmName=alarm, **more)
    return answer


def test_an_alarm_in_alarm_names_its_contributors(aws: LocalAws, unique: str, watched: str) -> None:
    """And none in another state."""
    assert watched.endswith(unique)
    assert _contributors(aws, unique)["AlarmContributors"] == []
    _script(aws, unique, {**_GPU, "id": "gpu0", "reason": "2 > 1", "since": 1_800_000_000.5})
    (contributor,) = _contributors(aws, unique)["AlarmContributors"]
    assert contributor.pop("StateTransitionedTimestamp").timestamp() == 1_800_000_000.5
    expected = {"ContributorId": "gpu0", "ContributorAttributes": _GPU["attributes"], "StateReason": "2 > 1"}
    assert contributor == expected
    _set(aws, unique, "OK")
    assert _contributors(aws, unique)["AlarmContributors"] == []


def test_a_contributor_needs_nothing_but_attributes_and_keeps_its_time(
    aws: LocalAws, unique: str, watched: str
) -> None:
    before = time.time()
    (first,) = _script(aws, unique, _GPU)
    assert before - 0.001 <= first["StateTransitionedTimestamp"] <= time.time() + 0.001
    again, second = _script(aws, unique, _GPU, {"attributes": {"InstanceId": "i-0fedcba9876543210"}})
    assert (again, second["ContributorId"] != first["ContributorId"]) == (first, True)
    assert aws.admin("GET", _CONTRIBUTORS)[watched] == [again, second]


def test_contributors_come_in_pages(aws: LocalAws, unique: str, watched: str) -> None:
    _script(aws, unique, *({"attributes": {"InstanceId": f"i-{number:017x}"}} for number in range(11)))
    first = _contributors(aws, unique)
    rest = _contributors(aws, unique, NextToken=first["NextToken"])
    assert (len(first["AlarmContributors"]), len(rest["AlarmContributors"])) == (10, 1)
    assert "NextToken" not in rest
    with pytest.raises(ClientError, match="InvalidNextToken"):
        _contributors(aws, unique, NextToken="made-up")


def test_contributors_of_an_unknown_alarm_are_the_declared_error(aws: LocalAws, unique: str) -> None:
    cloudwatch = aws.client("cloudwatch")
    with pytest.raises(cloudwatch.exceptions.ResourceNotFoundException, match=unique) as caught:
        cloudwatch.describe_alarm_contributors(AlarmName=unique)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with pytest.raises(LocalAwsError, match=f"contributors: no alarm '{unique}'"):
        _script(aws, unique, _GPU)


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
    *, aws: LocalAws, unique: str, watched: str, contributors: Any, text: str
) -> None:
    """By botocore's model; those before stay."""
    before = _script(aws, unique, _GPU)
    with pytest.raises(LocalAwsError, match=text):
        aws.admin("POST", _CONTRIBUTORS, {"alarm": unique, "contributors": contributors})
    assert aws.admin("GET", _CONTRIBUTORS)[watched] == before


def test_contributors_take_a_permission_of_their_own_on_the_alarm(
    aws: LocalAws, unique: str, watched: str, make_user: MakeUser
) -> None:
    """DescribeAlarms is not enough, nor is another alarm's ARN."""
    actions = {"cloudwatch:DescribeAlarms": "*", "cloudwatch:DescribeAlarmContributors": watched}
    user = make_user(*({"Effect": "Allow", "Action": action, "Resource": on} for action, on in actions.items()))
    cloudwatch = aws.client("cloudwatch", **user)
    assert cloudwatch.describe_alarm_contributors(AlarmName=unique)["AlarmContributors"] == []
    with pytest.raises(ClientError, match="AccessDenied"):
        cloudwatch.describe_alarm_contributors(AlarmName=f"{unique}-other")
