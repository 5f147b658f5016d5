"""Contracts of `local.patches.alarm_actions`, `alarm_shapes` and `metric_math`: alarms that change state."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.aws import LocalAws
from tests.local.support import Function, Queue

MakeQueue = Callable[..., Queue]
MakeFunction = Callable[..., Function]
PutAlarm = Callable[..., str]
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


def test_setting_the_same_state_again_is_no_change(aws: LocalAws, unique: str, put_alarm: PutAlarm, bus: Queue) -> None:
    """One event only."""
    put_alarm(**_SINGLE)
    _set(aws, unique, "ALARM")
    _set(aws, unique, "ALARM")
    assert bus.count() == 1


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


def test_a_composite_alarm_names_its_triggering_children(
    aws: LocalAws, unique: str, put_alarm: PutAlarm, bus: Queue
) -> None:
    """In `reasonData`; it has no metrics of its own."""
    child = put_alarm(f"{unique}-child", **_SINGLE)
    aws.client("cloudwatch").put_composite_alarm(AlarmName=unique, AlarmRule=f'ALARM("{unique}-child")')
    _set(aws, f"{unique}-child", "ALARM")
    events = [json.loads(message["Body"])["detail"] for message in bus.take(bus.count())]
    (parent,) = [e for e in events if e["alarmName"] == unique and e["state"]["value"] == "ALARM"]
    assert parent["configuration"] == {"alarmRule": f'ALARM("{unique}-child")'}
    (triggering,) = json.loads(parent["state"]["reasonData"])["triggeringAlarms"]
    assert (triggering["arn"], triggering["state"]["value"]) == (child, "ALARM")


def _allow_alarm(aws: LocalAws, function: Function, alarm_arn: str) -> None:
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


def test_alarm_tags_can_be_read(aws: LocalAws, put_alarm: PutAlarm) -> None:
    """By ListTagsForResource. (Stock.)"""
    arn = put_alarm(**_SINGLE, Tags=[{"Key": "hyperpod:cluster", "Value": "ml"}])
    tags = aws.client("cloudwatch").list_tags_for_resource(ResourceARN=arn)["Tags"]
    assert tags == [{"Key": "hyperpod:cluster", "Value": "ml"}]
