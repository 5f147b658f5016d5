"""Tests the function, its event source, its permissions, and the names that others rely on."""

import json
from datetime import timedelta

from infra.interpreter import RUNTIME_VERSION
from node_remediation.settings import FUNCTION_TIMEOUT, Settings
from tests.infra.template import FULL, TOPIC, Template

ALARMS = "arn:<AWS::Partition>:cloudwatch:<AWS::Region>:<AWS::AccountId>:alarm:"


def test_function_runs_the_handler_on_arm_and_the_python_it_is_compiled_for(default: Template) -> None:
    """Another minor version would ignore the asset's .pyc files."""
    (function,) = default.of("AWS::Lambda::Function").values()
    assert function["Handler"] == "node_remediation.handler.lambda_handler"
    assert (function["Runtime"], function["Architectures"]) == (f"python{RUNTIME_VERSION}", ["arm64"])
    assert timedelta(seconds=function["Timeout"]) == FUNCTION_TIMEOUT


def test_function_gets_exactly_the_settings_and_the_addresses(full: Template) -> None:
    """The comparison covers the whole environment."""
    (function,) = full.of("AWS::Lambda::Function").values()
    environment = function["Environment"]["Variables"]
    assert environment == {
        **Settings.from_context(FULL).to_env(),
        "INTAKE_QUEUE_URL": "<QueuesIntake>",
        "DEAD_LETTER_QUEUE_URL": "<QueuesDeadLetters>",
        "EVENT_BUS": "default",
        "FAILURE_TOPIC_ARN": "<FailuresTopic>",
        "LEDGER_TABLE": "<LedgerTable>",
        "MODE_PARAMETER": "/hyperpod-node-remediation/HyperPodNodeRemediation/mode",
    }


def test_direct_invocation_that_keeps_failing_is_kept_unchanged(default: Template) -> None:
    """An on-failure destination would add an envelope, and the message could not be redriven."""
    (function,) = default.of("AWS::Lambda::Function").values()
    (invoked,) = default.of("AWS::Lambda::EventInvokeConfig").values()
    assert function["DeadLetterConfig"] == {"TargetArn": "<QueuesUndelivered.Arn>"}
    assert invoked["MaximumRetryAttempts"] == 2
    assert "DestinationConfig" not in invoked


def test_direct_invocation_is_retried_no_later_than_a_report_is_fresh(default: Template, full: Template) -> None:
    """Lambda keeps an invocation for six hours at most."""
    invoked = [next(iter(each.of("AWS::Lambda::EventInvokeConfig").values())) for each in (default, full)]
    assert [each["MaximumEventAgeInSeconds"] for each in invoked] == [3_600, 21_600]


def test_function_reads_the_queue_as_the_settings_say(default: Template, full: Template) -> None:
    """The function reports each message's failure by itself."""
    read = [next(iter(each.of("AWS::Lambda::EventSourceMapping").values())) for each in (default, full)]
    assert [each["FunctionResponseTypes"] for each in read] == [["ReportBatchItemFailures"]] * 2
    assert [each["EventSourceArn"] for each in read] == ["<QueuesIntake.Arn>"] * 2
    keys = ("BatchSize", "MaximumBatchingWindowInSeconds")
    assert [tuple(each[key] for key in keys) for each in read] == [(100, 5), (10, 0)]
    assert [each["ScalingConfig"]["MaximumConcurrency"] for each in read] == [5, 2]


def test_alarms_of_this_account_with_the_prefixes_may_invoke_the_function(full: Template) -> None:
    """There is one permission per prefix, for this account only."""
    allowed = [each for each in full.of("AWS::Lambda::Permission").values() if "SourceAccount" in each]
    assert [each["SourceArn"] for each in allowed] == [f"{ALARMS}hyperpod-reboot-*", f"{ALARMS}gpu/*"]
    assert {(each["Principal"], each["Action"], each["SourceAccount"]) for each in allowed} == {
        ("lambda.alarms.cloudwatch.amazonaws.com", "lambda:InvokeFunction", "<AWS::AccountId>")
    }


def test_only_the_sweep_may_invoke_the_function_when_there_are_no_alarms(no_alarms: Template) -> None:
    """The queue needs no permission: the function's role reads it."""
    allowed = no_alarms.of("AWS::Lambda::Permission").values()
    assert [each["Principal"] for each in allowed] == ["events.amazonaws.com"]


def test_logs_are_kept_as_long_as_the_setting_says(default: Template, full: Template) -> None:
    """A log group made by Lambda would keep them for ever."""
    kept = [next(iter(each.of("AWS::Logs::LogGroup").values()))["RetentionInDays"] for each in (default, full)]
    (function,) = default.of("AWS::Lambda::Function").values()
    assert kept == [90, 7]
    assert function["LoggingConfig"] == {"LogGroup": "<LogsLogGroup>"}


def test_alarm_topics_feed_the_intake_queue(full: Template) -> None:
    """What a topic cannot deliver goes to the queue with the alarm."""
    fed = [each for each in full.of("AWS::SNS::Subscription").values() if each["Protocol"] == "sqs"]
    assert [each["TopicArn"] for each in fed] == [TOPIC, "arn:aws:sns:us-east-1:111122223333:other"]
    assert {each["Endpoint"] for each in fed} == {"<QueuesIntake.Arn>"}
    assert {each["RedrivePolicy"]["deadLetterTargetArn"] for each in fed} == {"<QueuesUndelivered.Arn>"}


def test_people_are_subscribed_by_mail(full: Template) -> None:
    """Each address must confirm once."""
    mailed = [each for each in full.of("AWS::SNS::Subscription").values() if each["Protocol"] == "email"]
    assert [(each["Endpoint"], each["TopicArn"]) for each in mailed] == [("oncall@example.com", "<FailuresTopic>")]


def test_outputs_name_what_others_rely_on(default: Template) -> None:
    """The redrive command names its destination: SQS knows no source queue for messages that were sent to the DLQ."""
    assert default.outputs == {
        "IntakeQueueUrl": "<QueuesIntake>",
        "IntakeQueueArn": "<QueuesIntake.Arn>",
        "DeadLetterQueueUrl": "<QueuesDeadLetters>",
        "DeadLetterQueueArn": "<QueuesDeadLetters.Arn>",
        "UndeliveredQueueUrl": "<QueuesUndelivered>",
        "UndeliveredQueueArn": "<QueuesUndelivered.Arn>",
        "FailureTopicArn": "<FailuresTopic>",
        "FunctionName": "<RemediationFunction>",
        "FunctionArn": "<RemediationFunction.Arn>",
        "KeyArn": "<EncryptionKey.Arn>",
        "RedriveCommand": "aws sqs start-message-move-task"
        " --source-arn <QueuesDeadLetters.Arn> --destination-arn <QueuesIntake.Arn>",
        "LedgerTableName": "<LedgerTable>",
        "ModeParameterName": "/hyperpod-node-remediation/HyperPodNodeRemediation/mode",
        "SweepRuleName": "<SweepRule>",
        "DashboardName": "HyperPodNodeRemediation-<AWS::Region>",
    }


def test_destroying_the_stack_leaves_nothing(default: Template) -> None:
    """It also deletes what CloudFormation or the CDK would keep by default."""
    kinds = ("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::Logs::LogGroup", "AWS::SQS::Queue")
    kept = [name for name, each in default.resources.items() if each.get("DeletionPolicy", "Delete") != "Delete"]
    unsaid = [
        name for name, each in default.resources.items() if each["Type"] in kinds and "DeletionPolicy" not in each
    ]
    assert (kept, unsaid) == ([], [])


def test_template_names_no_partition_account_or_region(default: Template) -> None:
    """It can be deployed to China and GovCloud unchanged."""
    text = json.dumps(default.body)
    assert "arn:aws:" not in text
    assert "us-east-1" not in text
