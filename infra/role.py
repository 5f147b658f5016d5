"""What the function may do, each statement on as little as its action can be narrowed to."""

from collections.abc import Iterator, Sequence

from aws_cdk import Acknowledgment, ArnFormat, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.key import USE
from infra.mode import mode_parameter_arn
from infra.queues import Queues
from node_remediation.settings import Settings


def alarm_arns(scope: Construct, prefixes: Sequence[str]) -> list[str]:
    """ARN patterns of this account's and region's alarms whose names begin with the prefixes."""
    return [
        Stack.of(scope).format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name=f"{prefix}*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        for prefix in prefixes
    ]


class FunctionRole(Construct):
    """The execution role, its policy inline: whole before anything that assumes it exists, and nothing adds to it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        key: kms.IKey,
        queues: Queues,
        topic: sns.ITopic,
        table: dynamodb.ITable,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        statements = [
            *_plumbing(key=key, queues=queues, topic=topic, log_group=log_group),
            *self._memory(table),
            *self._clusters(settings),
            *self._alarms(settings),
        ]
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"Remediation": iam.PolicyDocument(statements=statements)},
        )
        # CDK's grants would add wildcard actions (kms:GenerateDataKey*) and more calls than the function makes.
        self.role = role.without_policy_updates()
        self._explain_wildcards(role, settings)

    def _memory(self, table: dynamodb.ITable) -> Iterator[iam.PolicyStatement]:
        # A transaction that only puts is authorised as its puts; their conditions take nothing more.
        yield iam.PolicyStatement(
            sid="KeepLedger", actions=["dynamodb:BatchGetItem", "dynamodb:PutItem"], resources=[table.table_arn]
        )
        yield iam.PolicyStatement(
            sid="ReadMode", actions=["ssm:GetParameter"], resources=[mode_parameter_arn(Stack.of(self))]
        )

    def _clusters(self, settings: Settings) -> Iterator[iam.PolicyStatement]:
        tag = settings.cluster_tag
        yield iam.PolicyStatement(
            sid="Clusters",
            actions=[
                "sagemaker:BatchRebootClusterNodes",
                "sagemaker:DescribeCluster",
                "sagemaker:DescribeClusterNode",
                "sagemaker:ListClusterNodes",
            ],
            # ARNs carry an ID that AWS makes up, so that clusters cannot be told by name here: the function does.
            resources=[Stack.of(self).format_arn(service="sagemaker", resource="cluster", resource_name="*")],
            conditions={"StringEquals": {f"aws:ResourceTag/{tag.key}": tag.value}} if tag else {},
        )
        # ListClusters has no resource level.
        yield iam.PolicyStatement(sid="FindClusters", actions=["sagemaker:ListClusters"], resources=["*"])

    def _alarms(self, settings: Settings) -> Iterator[iam.PolicyStatement]:
        # DescribeAlarms leaves composite alarms out unless it is allowed on everything.
        yield iam.PolicyStatement(sid="ResolveAlarms", actions=["cloudwatch:DescribeAlarms"], resources=["*"])
        if settings.alarm_name_prefixes:
            yield iam.PolicyStatement(
                sid="ReadAlarms",
                actions=["cloudwatch:DescribeAlarmContributors", "cloudwatch:ListTagsForResource"],
                resources=alarm_arns(self, settings.alarm_name_prefixes),
            )

    def _explain_wildcards(self, role: iam.Role, settings: Settings) -> None:
        """To cdk-nag, which wants each finding named; in a stack for any account ARNs read like this."""
        here = "<AWS::Region>:<AWS::AccountId>"
        reasons = {
            "*": "ListClusters has no resource level; DescribeAlarms hides composite alarms unless allowed on all",
            f"arn:<AWS::Partition>:sagemaker:{here}:cluster/*": "cluster ARNs carry an ID that AWS makes up",
        }
        for prefix in settings.alarm_name_prefixes:
            reasons[f"arn:<AWS::Partition>:cloudwatch:{here}:alarm:{prefix}*"] = "alarms are configured by name prefix"
        for resource, reason in reasons.items():
            Validations.of(role).acknowledge(
                Acknowledgment(id=f"AwsSolutions-IAM5[Resource::{resource}]", reason=reason)
            )


def _plumbing(
    *, key: kms.IKey, queues: Queues, topic: sns.ITopic, log_group: logs.ILogGroup
) -> Iterator[iam.PolicyStatement]:
    yield iam.PolicyStatement(
        sid="WriteLogs", actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log_group.log_group_arn]
    )
    yield iam.PolicyStatement(
        sid="ReadIntake",
        actions=["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
        resources=[queues.intake.queue_arn],
    )
    # The intake queue takes the function's own checks.
    yield iam.PolicyStatement(sid="SendChecks", actions=["sqs:SendMessage"], resources=[queues.intake.queue_arn])
    yield iam.PolicyStatement(
        sid="WriteDeadLetters", actions=["sqs:SendMessage"], resources=[queues.dead_letters.queue_arn]
    )
    yield iam.PolicyStatement(sid="TellPeople", actions=["sns:Publish"], resources=[topic.topic_arn])
    # DynamoDB takes Decrypt of it alone: it generates table keys by a grant of whoever creates the table.
    yield iam.PolicyStatement(sid="UseKey", actions=list(USE), resources=[key.key_arn])
