"""Wires the constructs of the stack and defines its outputs."""

from pathlib import Path

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.alarm_topics import AlarmTopics
from infra.alarms import DeadLetterAlarm, dead_letter_alarm_arn, refuse_own_alarms
from infra.function import RemediationFunction
from infra.key import EncryptionKey
from infra.ledger import Ledger
from infra.log_group import FunctionLogs
from infra.mode import mode_parameter_name
from infra.queues import Queues
from infra.role import FunctionRole
from infra.rules import Rules
from infra.sweep import Sweep
from infra.topic import FailureTopic
from node_remediation.settings import Settings


class RemediationStack(Stack):
    """Remediates HyperPod nodes, in any account, region and partition that it is deployed to."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, asset: Path) -> None:
        super().__init__(scope, construct_id, description="HyperPod node remediation: reboots unhealthy nodes")
        refuse_own_alarms(settings, self)
        alarm_arn, topic_arns = dead_letter_alarm_arn(self), settings.alarm_topic_arns
        key = EncryptionKey(self, "Encryption", alarm_arn=alarm_arn, topic_arns=topic_arns).key
        queues = Queues(self, "Queues", settings=settings, key=key)
        topic = FailureTopic(self, "Failures", settings=settings, key=key, alarm_arn=alarm_arn).topic
        table = Ledger(self, "Ledger", key=key).table
        log_group = FunctionLogs(self, "Logs", settings=settings).log_group
        role = FunctionRole(
            self,
            "Permissions",
            settings=settings,
            key=key,
            queues=queues,
            topic=topic,
            table=table,
            log_group=log_group,
        ).role
        function = RemediationFunction(
            self,
            "Remediation",
            settings=settings,
            asset=asset,
            role=role,
            queues=queues,
            topic=topic,
            table=table,
            log_group=log_group,
        ).function
        self._feed(settings, queues)
        sweep = Sweep(self, "Sweep", function=function).rule
        redrive = _redrive_command(queues)
        DeadLetterAlarm(
            self,
            "Alarm",
            dead_letters=queues.dead_letters,
            topic=topic,
            what_to_do=_what_to_do(redrive, queues, log_group),
        )
        self._output(
            IntakeQueueUrl=queues.intake.queue_url,
            IntakeQueueArn=queues.intake.queue_arn,
            DeadLetterQueueUrl=queues.dead_letters.queue_url,
            DeadLetterQueueArn=queues.dead_letters.queue_arn,
            FailureTopicArn=topic.topic_arn,
            FunctionName=function.function_name,
            FunctionArn=function.function_arn,
            KeyArn=key.key_arn,
            RedriveCommand=redrive,
            LedgerTableName=table.table_name,
            ModeParameterName=mode_parameter_name(self),
            SweepRuleName=sweep.rule_name,
        )

    def _feed(self, settings: Settings, queues: Queues) -> None:
        both = {"intake": queues.intake, "dead_letters": queues.dead_letters}
        rules = Rules(self, "Rules", settings=settings, **both)
        AlarmTopics(self, "AlarmTopics", topic_arns=settings.alarm_topic_arns, **both)
        queues.let_in(service="events.amazonaws.com", source_arns=rules.arns)
        queues.let_in(service="sns.amazonaws.com", source_arns=settings.alarm_topic_arns)

    def _output(self, **outputs: str) -> None:
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)


def _redrive_command(queues: Queues) -> str:
    """Give the destination: SQS knows no source queue for messages that were sent to the DLQ, not moved there."""
    source, destination = queues.dead_letters.queue_arn, queues.intake.queue_arn
    return f"aws sqs start-message-move-task --source-arn {source} --destination-arn {destination}"


def _what_to_do(redrive: str, queues: Queues, log_group: logs.ILogGroup) -> str:
    return (
        f"HyperPod nodes could not be rebooted. See which and why: aws sqs receive-message --queue-url "
        f"{queues.dead_letters.queue_url} --message-attribute-names All (the body has the node, ErrorCode the cause); "
        f"logs in {log_group.log_group_name}. Fix the cause, then try again: {redrive}"
    )
