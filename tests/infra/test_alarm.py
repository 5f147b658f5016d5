"""Tests the alarm on what the function has not handled."""

from pathlib import Path
from typing import Any

import pytest

from infra.alarms import NAMES
from node_remediation.settings import SettingsError
from tests.infra.template import FULL, TOPIC, Template, synthesize

NAME = "HyperPodNodeRemediation-undelivered"
OWN = [f"HyperPodNodeRemediation-{name}" for name in NAMES]
LONGEST_DESCRIPTION = 1024


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    """Return the alarms by their names, less the stack's."""
    found = template.of("AWS::CloudWatch::Alarm").values()
    return {each["AlarmName"].removeprefix("HyperPodNodeRemediation-"): each for each in found}


def test_alarm_rings_for_what_was_never_handled_and_not_for_letters(default: Template) -> None:
    """A letter has its mail already. It needs one minute, and a queue that sends no metric does not set it off."""
    alarm = alarms(default)["undelivered"]
    assert {key: alarm[key] for key in alarm if key not in ("AlarmDescription", "AlarmName")} == {
        "AlarmActions": ["<FailuresTopic>"],
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Dimensions": [{"Name": "QueueName", "Value": "<QueuesUndelivered.QueueName>"}],
        "EvaluationPeriods": 1,
        "MetricName": "ApproximateNumberOfMessagesVisible",
        "Namespace": "AWS/SQS",
        "Period": 60,
        "Statistic": "Maximum",
        "Threshold": 1,
        "TreatMissingData": "notBreaching",
    }


@pytest.mark.parametrize(
    ("name", "metric", "limits"),
    [
        (
            "oldest-report",
            ("AWS/SQS", "ApproximateAgeOfOldestMessage", "<QueuesIntake.QueueName>"),
            (600, 60, "notBreaching"),
        ),
        ("errors", ("AWS/Lambda", "Errors", "<RemediationFunction>"), (1, 600, "notBreaching")),
        ("throttles", ("AWS/Lambda", "Throttles", "<RemediationFunction>"), (1, 600, "notBreaching")),
        ("sweep", ("HyperPodNodeRemediation", "SweepLag", None), (300, 300, "breaching")),
        ("unsent", ("HyperPodNodeRemediation", "OldestUnsent", None), (900, 180, "notBreaching")),
    ],
)
def test_alarm_watches_what_would_fail_in_silence(
    default: Template, name: str, metric: tuple[str, str, str | None], limits: tuple[int, int, str]
) -> None:
    """A sweep that sends no metric does not run: its silence is the fault."""
    alarm = alarms(default)[name]
    dimensions = [each["Value"] for each in alarm.get("Dimensions", ())] or [None]
    assert (alarm["Namespace"], alarm["MetricName"], *dimensions) == metric
    seconds = alarm["Period"] * alarm["EvaluationPeriods"]
    assert (alarm["Threshold"], seconds, alarm["TreatMissingData"]) == limits
    assert alarm["AlarmActions"] == ["<FailuresTopic>"]


@pytest.mark.parametrize(
    ("name", "metric", "others"),
    [("rules", "FailedInvocations", []), ("lost", "InvocationsFailedToBeSentToDlq", ["DeadLetterErrors"])],
)
def test_alarm_adds_up_what_no_rule_could_deliver(default: Template, name: str, metric: str, others: list[str]) -> None:
    """Every rule of the stack, the sweep's and the canary's too; each sends its metric only when it is not zero."""
    parts = alarms(default)[name]["Metrics"]
    (total,) = [each for each in parts if each.get("ReturnData") is not False]
    stats = {each["Id"]: each["MetricStat"] for each in parts if "MetricStat" in each}
    assert total["Expression"] == " + ".join(f"FILL({id_}, 0)" for id_ in stats)
    assert [each["Metric"]["MetricName"] for each in stats.values()] == [metric] * 5 + others
    watched = {each["Metric"]["Dimensions"][0]["Value"] for each in stats.values()} - {"<RemediationFunction>"}
    assert watched == {f"<{name}>" for name in default.of("AWS::Events::Rule")}


def test_each_alarm_says_what_to_do_within_cloudwatchs_limit(default: Template) -> None:
    """With real names in place of the placeholders."""
    for name, alarm in alarms(default).items():
        description = alarm["AlarmDescription"]
        assert len(description) + 130 * description.count("<") < LONGEST_DESCRIPTION, name
        assert any(word in description for word in ("Check ", "Look ", "Read "))
    undelivered = alarms(default)["undelivered"]["AlarmDescription"]
    command = (
        "aws sqs start-message-move-task --source-arn <QueuesUndelivered.Arn> --destination-arn <QueuesIntake.Arn>"
    )
    assert undelivered.endswith(command)
    assert "--queue-url <QueuesUndelivered>" in undelivered
    assert "<LogsLogGroup>" in undelivered


def test_topic_accepts_messages_of_our_own_alarms_only(default: Template) -> None:
    """The function publishes with its own policy."""
    (policy,) = default.of("AWS::SNS::TopicPolicy").values()
    allowed = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    arns = [f"arn:<AWS::Partition>:cloudwatch:<AWS::Region>:<AWS::AccountId>:alarm:{name}" for name in OWN]
    assert [(each["Principal"], each["Action"], each["Condition"]) for each in allowed] == [
        (
            {"Service": "cloudwatch.amazonaws.com"},
            "sns:Publish",
            {"StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"}, "ArnEquals": {"aws:SourceArn": arns}},
        )
    ]


def test_our_own_alarms_match_no_prefix(full: Template) -> None:
    """Otherwise each would come back as a report that names no node."""
    names = [each["AlarmName"] for each in full.of("AWS::CloudWatch::Alarm").values()]
    assert sorted(names) == sorted(OWN)
    prefixes = FULL["alarm_name_prefixes"]
    assert isinstance(prefixes, list)
    assert not [name for name in names if name.startswith(tuple(prefixes))]


@pytest.mark.parametrize("prefix", ["H", "HyperPod", NAME])
def test_prefix_of_our_own_alarm_is_refused(prefix: str, tmp_path: Path) -> None:
    """The error is one line that names the setting and the alarm."""
    with pytest.raises(SettingsError, match=rf"^remediation\.alarm_name_prefixes: .*{NAME}.*\"{prefix}\"$"):
        synthesize({"alarm_name_prefixes": ["gpu-", prefix]}, tmp_path)


def test_alarms_go_to_the_operations_topic_where_there_is_one(tmp_path: Path) -> None:
    """It may have another key: queues, ledger and topic share one, which is a common cause of silence."""
    template = synthesize({"operations_topic_arn": TOPIC}, tmp_path)
    assert {tuple(each["AlarmActions"]) for each in alarms(template).values()} == {(TOPIC,)}
