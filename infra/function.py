"""Defines the function, its event source and the permissions to invoke it."""

from datetime import timedelta
from pathlib import Path
from typing import cast

from aws_cdk import Acknowledgment, Duration, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.function_asset import HANDLER
from infra.mode import mode_parameter_name
from infra.queues import Queues
from infra.role import alarm_arns
from node_remediation.settings import FUNCTION_MEMORY_MB, FUNCTION_TIMEOUT, Settings

LONGEST_ASYNCHRONOUS_WAIT = timedelta(hours=6)  # Lambda's own limit


class RemediationFunction(Construct):
    """Runs the built asset on the intake queue. A direct invocation that failed goes to a queue with an alarm."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        asset: Path,
        role: iam.IRole,
        queues: Queues,
        topic: sns.ITopic,
        table: dynamodb.ITable,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        self.function = lambda_.Function(
            self,
            "Function",
            description="Reboots HyperPod nodes that are reported unhealthy",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            code=lambda_.Code.from_asset(str(asset)),
            handler=HANDLER,
            timeout=_duration(FUNCTION_TIMEOUT),
            memory_size=FUNCTION_MEMORY_MB,
            role=role,
            log_group=log_group,
            environment=self._environment(settings, queues, topic, table),
            dead_letter_queue=queues.undelivered,
            # The same limit as for a rule that delivers to the queue: a report that waits for a retry becomes stale.
            max_event_age=_duration(min(settings.max_report_age, LONGEST_ASYNCHRONOUS_WAIT)),
            retry_attempts=2,
            reserved_concurrent_executions=settings.reserved_concurrency,
        )
        if settings.vpc_subnet_ids:
            # Not the L2 construct's `vpc`: it would look the VPC up in the account, and add to the role.
            resource = cast("lambda_.CfnFunction", self.function.node.default_child)
            resource.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
                subnet_ids=list(settings.vpc_subnet_ids), security_group_ids=list(settings.security_group_ids)
            )
        Validations.of(self.function).acknowledge(
            Acknowledgment(
                id="AwsSolutions-L1", reason="3.13 is supported until 2029; the asset's .pyc and tests are for it alone"
            )
        )
        self._read(queues, settings)
        self._invoked_by_alarms(settings)

    def _environment(
        self, settings: Settings, queues: Queues, topic: sns.ITopic, table: dynamodb.ITable
    ) -> dict[str, str]:
        return {
            **dict(settings.environment),
            **settings.to_env(),
            "INTAKE_QUEUE_URL": queues.intake.queue_url,
            "DEAD_LETTER_QUEUE_URL": queues.dead_letters.queue_url,
            "FAILURE_TOPIC_ARN": topic.topic_arn,
            "EVENT_BUS": settings.event_bus_arn or "default",
            "LEDGER_TABLE": table.table_name,
            "MODE_PARAMETER": mode_parameter_name(Stack.of(self)),
        }

    def _read(self, queues: Queues, settings: Settings) -> None:
        lambda_.EventSourceMapping(
            self,
            "Intake",
            target=self.function,
            event_source_arn=queues.intake.queue_arn,
            batch_size=settings.batch_size,
            max_batching_window=_duration(settings.batch_window),
            max_concurrency=settings.max_concurrency,
            report_batch_item_failures=True,
        )

    def _invoked_by_alarms(self, settings: Settings) -> None:
        prefixes = settings.alarm_name_prefixes
        for prefix, arn in zip(prefixes, alarm_arns(self, prefixes), strict=True):
            lambda_.CfnPermission(
                self,
                f"Alarms {prefix}",
                action="lambda:InvokeFunction",
                function_name=self.function.function_arn,
                principal="lambda.alarms.cloudwatch.amazonaws.com",
                source_account=Stack.of(self).account,
                source_arn=arn,
            )


def _duration(value: timedelta) -> Duration:
    return Duration.seconds(int(value.total_seconds()))
