"""Tests the alarm on what the function has not handled."""

from pathlib import Path

import pytest

from node_remediation.settings import SettingsError
from tests.infra.template import FULL, Template, synthesize

NAME = "HyperPodNodeRemediation-undelivered"
LONGEST_DESCRIPTION = 1024


def test_alarm_rings_for_what_was_never_handled_and_not_for_letters(default: Template) -> None:
    """A letter has its mail already. It needs one minute, and a queue that sends no metric does not set it off."""
    (alarm,) = default.of("AWS::CloudWatch::Alarm").values()
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


def test_alarm_tells_a_person_where_to_look_and_how_to_try_again(default: Template) -> None:
    """The description fits CloudWatch's limit when the placeholders are real names."""
    (alarm,) = default.of("AWS::CloudWatch::Alarm").values()
    description = alarm["AlarmDescription"]
    command = (
        "aws sqs start-message-move-task --source-arn <QueuesUndelivered.Arn> --destination-arn <QueuesIntake.Arn>"
    )
    assert description.endswith(command)
    assert "--queue-url <QueuesUndelivered>" in description
    assert "<LogsLogGroup>" in description
    assert len(description) + 4 * 130 < LONGEST_DESCRIPTION


def test_topic_accepts_messages_of_that_alarm_only(default: Template) -> None:
    """The function publishes with its own policy."""
    (policy,) = default.of("AWS::SNS::TopicPolicy").values()
    allowed = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    arn = f"arn:<AWS::Partition>:cloudwatch:<AWS::Region>:<AWS::AccountId>:alarm:{NAME}"
    assert [(each["Principal"], each["Action"], each["Condition"]) for each in allowed] == [
        (
            {"Service": "cloudwatch.amazonaws.com"},
            "sns:Publish",
            {"StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"}, "ArnEquals": {"aws:SourceArn": arn}},
        )
    ]


def test_our_own_alarms_match_no_prefix(full: Template) -> None:
    """Otherwise each would come back as a report that names no node."""
    names = [each["AlarmName"] for each in full.of("AWS::CloudWatch::Alarm").values()]
    assert names == [NAME]
    prefixes = FULL["alarm_name_prefixes"]
    assert isinstance(prefixes, list)
    assert not [name for name in names if name.startswith(tuple(prefixes))]


@pytest.mark.parametrize("prefix", ["H", "HyperPod", NAME])
def test_prefix_of_our_own_alarm_is_refused(prefix: str, tmp_path: Path) -> None:
    """The error is one line that names the setting and the alarm."""
    with pytest.raises(SettingsError, match=rf"^remediation\.alarm_name_prefixes: .*{NAME}.*\"{prefix}\"$"):
        synthesize({"alarm_name_prefixes": ["gpu-", prefix]}, tmp_path)
