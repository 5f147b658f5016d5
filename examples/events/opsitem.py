"""Keeps an OpsItem of Systems Manager for each incident, through a small function (opsitem_function.py).

cdk deploy --app "python examples/events/opsitem.py"
"""

from collections.abc import Sequence
from pathlib import Path

from aws_cdk import App, Duration, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

FUNCTION = Path(__file__).with_name("opsitem_function.py")


class OpsItemStack(Stack):
    """A rule, the function, and a queue for the events that could not be written.

    OpsItems of incidents that end in one of the states `leave_open` are not resolved: a person closes them.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, bus_arn: str | None = None, leave_open: Sequence[str] = ()
    ) -> None:
        super().__init__(scope, construct_id)
        failed = sqs.Queue(
            self,
            "Failed",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        log_group = logs.LogGroup(
            self, "Logs", retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.DESTROY
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            code=lambda_.Code.from_inline(FUNCTION.read_text(encoding="utf-8")),
            handler="index.handler",
            timeout=Duration.seconds(30),
            role=role,
            log_group=log_group,
            environment={"LEAVE_OPEN": " ".join(leave_open)},
            # Two events of an incident at once would each read the OpsItem before the other has written it.
            reserved_concurrent_executions=1,
            dead_letter_queue=failed,
        )
        items = self.format_arn(service="ssm", resource="opsitem", resource_name="*")
        writes = ["ssm:CreateOpsItem", "ssm:GetOpsItem", "ssm:UpdateOpsItem"]
        role.add_to_policy(iam.PolicyStatement(actions=writes, resources=[items]))
        # This action takes no resource.
        role.add_to_policy(iam.PolicyStatement(actions=["ssm:DescribeOpsItems"], resources=["*"]))
        events.Rule(
            self,
            "Rule",
            event_bus=events.EventBus.from_event_bus_arn(self, "Bus", bus_arn) if bus_arn else None,
            event_pattern=events.EventPattern(
                source=["hyperpod.node-remediation"], detail_type=["HyperPod Node Incident State Change"]
            ),
            targets=[targets.LambdaFunction(function, dead_letter_queue=failed)],
        )


if __name__ == "__main__":
    app = App()
    OpsItemStack(
        app,
        "HyperPodOpsItems",
        bus_arn=app.node.try_get_context("bus_arn"),
        leave_open=(app.node.try_get_context("leave_open") or "").split(","),
    )
    app.synth()
