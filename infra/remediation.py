"""Wires all constructs into one, which a stack of anybody's can hold, and defines its outputs."""

from pathlib import Path

from aws_cdk import Annotations, CfnOutput, Stack, Token
from aws_cdk import aws_events as events
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.alarm_topics import AlarmTopics, refuse_topics_elsewhere
from infra.alarms import SelfAlarms, own_alarm_arns, refuse_own_alarms
from infra.canary import Canary
from infra.dashboard import Dashboard
from infra.function import RemediationFunction
from infra.function_asset import function_asset
from infra.key import EncryptionKey
from infra.ledger import Ledger
from infra.log_group import FunctionLogs
from infra.mode import mode_parameter_name
from infra.queries import SavedQueries
from infra.queues import Queues
from infra.role import FunctionRole
from infra.rules import Rules
from infra.sweep import Sweep
from infra.topic import FailureTopic
from node_remediation.settings import Settings


class NodeRemediation(Construct):
    """Remediates the HyperPod nodes of the account and region of its stack. One stack holds one.

    `asset` is the function's directory; by default it is built. `topic` takes the place of the failure topic, and
    `operations_topic` of the one that the alarms on this system itself go to; each must let CloudWatch publish. `key`
    takes the place of the key: it must let EventBridge, CloudWatch and the alarm topics use it, as infra/key.py does.
    Raises SettingsError, PackagingError.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        asset: Path | None = None,
        topic: sns.ITopic | None = None,
        operations_topic: sns.ITopic | None = None,
        key: kms.IKey | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        refuse_topics_elsewhere(
            settings.alarm_topic_arns,
            account=None if Token.is_unresolved(stack.account) else stack.account,
            region=None if Token.is_unresolved(stack.region) else stack.region,
        )
        refuse_own_alarms(settings, stack)
        alarm_arns, topic_arns = own_alarm_arns(stack), settings.alarm_topic_arns
        key = (
            key
            or EncryptionKey(
                self, "Encryption", alarm_arns=alarm_arns, topic_arns=topic_arns, retain=settings.retain
            ).key
        )
        queues = Queues(self, "Queues", settings=settings, key=key)
        told = topic is not None or bool(settings.notification_emails) or settings.operations_topic_arn is not None
        topic = topic or FailureTopic(self, "Failures", settings=settings, key=key, alarm_arns=alarm_arns).topic
        table = Ledger(self, "Ledger", settings=settings, key=key).table
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
            asset=asset or function_asset(full_sdk=settings.full_sdk),
            role=role,
            queues=queues,
            topic=topic,
            table=table,
            log_group=log_group,
        ).function
        rules, canary = self._feed(settings, queues)
        if not told:
            self._warn_that_nobody_is_told(topic)
        sweep = Sweep(self, "Sweep", function=function).rule
        SelfAlarms(
            self,
            "Alarms",
            queues=queues,
            function=function,
            rule_names=[*(rule.ref for rule in (*rules, canary)), sweep.rule_name],
            topic=operations_topic or self._operations_topic(settings) or topic,
            undelivered=_undelivered(queues, log_group),
            logs=log_group.log_group_name,
        )
        SavedQueries(self, "Queries", log_group=log_group)
        if settings.dashboard:
            dashboard = Dashboard(self, "Dashboard", queues=queues, function=function, log_group=log_group)
            self._output(DashboardName=dashboard.name)
        self._output(
            IntakeQueueUrl=queues.intake.queue_url,
            IntakeQueueArn=queues.intake.queue_arn,
            DeadLetterQueueUrl=queues.dead_letters.queue_url,
            DeadLetterQueueArn=queues.dead_letters.queue_arn,
            UndeliveredQueueUrl=queues.undelivered.queue_url,
            UndeliveredQueueArn=queues.undelivered.queue_arn,
            FailureTopicArn=topic.topic_arn,
            FunctionName=function.function_name,
            FunctionArn=function.function_arn,
            KeyArn=key.key_arn,
            RedriveCommand=_redrive_command(queues.dead_letters, queues.intake),
            LedgerTableName=table.table_name,
            ModeParameterName=mode_parameter_name(stack),
            SweepRuleName=sweep.rule_name,
        )

    def _operations_topic(self, settings: Settings) -> sns.ITopic | None:
        arn = settings.operations_topic_arn
        return sns.Topic.from_topic_arn(self, "Operations", arn) if arn else None

    def _warn_that_nobody_is_told(self, topic: sns.ITopic) -> None:
        Annotations.of(topic).add_warning_v2(
            "hyperpod-node-remediation:nobody-is-told",
            "nobody is told of failures: set notification_emails or operations_topic_arn in cdk.json, or subscribe "
            "after the deploy, with the ARN of the output FailureTopicArn: aws sns subscribe --protocol email "
            "--notification-endpoint ADDRESS --topic-arn ARN",
        )

    def _feed(self, settings: Settings, queues: Queues) -> tuple[list[events.CfnRule], events.CfnRule]:
        both = {"intake": queues.intake, "undelivered": queues.undelivered}
        rules = Rules(self, "Rules", settings=settings, **both)
        canary = Canary(self, "Canary", **both).rule
        AlarmTopics(self, "AlarmTopics", topic_arns=settings.alarm_topic_arns, **both)
        queues.let_in(service="events.amazonaws.com", source_arns=[*rules.arns, canary.attr_arn])
        queues.let_in(service="sns.amazonaws.com", source_arns=settings.alarm_topic_arns)
        return rules.rules, canary

    def _output(self, **outputs: str) -> None:
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)


def _redrive_command(source: sqs.IQueue, intake: sqs.IQueue) -> str:
    """Give the destination: SQS knows no source queue for messages that were sent to a queue, not moved there."""
    return f"aws sqs start-message-move-task --source-arn {source.queue_arn} --destination-arn {intake.queue_arn}"


def _undelivered(queues: Queues, log_group: logs.ILogGroup) -> str:
    return (
        "A report of a HyperPod node was never handled, and no other mail tells of it: it crashed the function five "
        f"times, or EventBridge, SNS or Lambda could not deliver it. Read it: aws sqs receive-message --queue-url "
        f"{queues.undelivered.queue_url} --attribute-names All. Look for the error in the log group "
        f"{log_group.log_group_name}. Once it is fixed, try again: "
        f"{_redrive_command(queues.undelivered, queues.intake)}"
    )
