"""The alarm on the dead letters."""

from pathlib import Path

import pytest

from node_remediation.settings import SettingsError
from tests.infra.template import FULL, Template, synthesize

NAME = "HyperPodNodeRemediation-dead-letters"
LONGEST_DESCRIPTION = 1024


def test_alarm_rings_through_the_topic_while_there_is_a_dead_letter(default: Template) -> None:
    """Within a minute, and not for a queue so quiet that it sends no metric."""
    (alarm,) = default.of("AWS::CloudWatch::Alarm").values()
    assert {key: alarm[key] for key in alarm if key not in ("AlarmDescription", "AlarmName")} == {
        "AlarmActions": ["<FailuresTopic>"],
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Dimensions": [{"Name": "QueueName", "Value": "<QueuesDeadLetters.QueueName>"}],
        "EvaluationPeriods": 1,
        "MetricName": "ApproximateNumberOfMessagesVisible",
        "Namespace": "AWS/SQS",
        "Period": 60,
        "Statistic": "Maximum",
        "Threshold": 1,
        "TreatMissingData": "notBreaching",
    }


def test_alarm_tells_a_person_where_to_look_and_how_to_try_again(default: Template) -> None:
    """Within CloudWatch's limit, once the placeholders are real names."""
    (alarm,) = default.of("AWS::CloudWatch::Alarm").values()
    description = alarm["AlarmDescription"]
    assert default.outputs["RedriveCommand"] in description
    assert "--queue-url <QueuesDeadLetters>" in description
    assert "<LogsLogGroup>" in description
    assert len(description) + 6 * 100 < LONGEST_DESCRIPTION


def test_topic_lets_in_that_alarm_alone(default: Template) -> None:
    """Of CloudWatch's; the function publishes by its own policy."""
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
    """Or each would come back as a report that names no node, and so as a dead letter."""
    names = [each["AlarmName"] for each in full.of("AWS::CloudWatch::Alarm").values()]
    assert names == [NAME]
    prefixes = FULL["alarm_name_prefixes"]
    assert isinstance(prefixes, list)
    assert not [name for name in names if name.startswith(tuple(prefixes))]


@pytest.mark.parametrize("prefix", ["H", "HyperPod", NAME])
def test_prefix_of_our_own_alarm_is_refused(prefix: str, tmp_path: Path) -> None:
    """In one line that names the setting and the alarm."""
    with pytest.raises(SettingsError, match=rf"^remediation\.alarm_name_prefixes: .*{NAME}.*\"{prefix}\"$"):
        synthesize({"alarm_name_prefixes": ["gpu-", prefix]}, tmp_path)
