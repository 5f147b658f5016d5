"""Defines the function's role, with each permission on as few resources as its action allows."""

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
from node_remediation.settings import INDEX_NAME, Settings


def alarm_arns(scope: Construct, prefixes: Sequence[str]) -> list[str]:
    """Build ARN patterns for the alarms of this account and region whose names begin with the prefixes."""
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
    """Makes the execution role with an inline policy: complete from the start, and nothing adds to it."""

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
            *self._state(table),
            *self._clusters(settings),
            *self._alarms(settings),
        ]
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"Remediation": iam.PolicyDocument(statements=statements)},
        )
        # CDK's grants would add wildcard actions (kms:GenerateDataKey*) and calls that the function does not make.
        self.role = role.without_policy_updates()
        self._explain_wildcards(role, settings)

    def _state(self, table: dynamodb.ITable) -> Iterator[iam.PolicyStatement]:
        # A transaction of conditional puts needs PutItem only.
        yield iam.PolicyStatement(
            sid="KeepLedger", actions=["dynamodb:BatchGetItem", "dynamodb:PutItem"], resources=[table.table_arn]
        )
        yield iam.PolicyStatement(
            sid="FindDue", actions=["dynamodb:Query"], resources=[f"{table.table_arn}/index/{INDEX_NAME}"]
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
                "sagemaker:DescribeClusterEvent",
                "sagemaker:DescribeClusterNode",
                "sagemaker:ListClusterNodes",
            ],
            # A cluster's ARN has an ID made by AWS, not its name: the function itself checks the name.
            resources=[Stack.of(self).format_arn(service="sagemaker", resource="cluster", resource_name="*")],
            conditions={"StringEquals": {f"aws:ResourceTag/{tag.key}": tag.value}} if tag else {},
        )
        # ListClusters has no resource level.
        yield iam.PolicyStatement(sid="FindClusters", actions=["sagemaker:ListClusters"], resources=["*"])

    def _alarms(self, settings: Settings) -> Iterator[iam.PolicyStatement]:
        # DescribeAlarms leaves out composite alarms unless it is allowed on all resources.
        yield iam.PolicyStatement(sid="ResolveAlarms", actions=["cloudwatch:DescribeAlarms"], resources=["*"])
        if settings.alarm_name_prefixes:
            yield iam.PolicyStatement(
                sid="ReadAlarms",
                actions=["cloudwatch:DescribeAlarmContributors", "cloudwatch:ListTagsForResource"],
                resources=alarm_arns(self, settings.alarm_name_prefixes),
            )

    def _explain_wildcards(self, role: iam.Role, settings: Settings) -> None:
        """Give cdk-nag the reason for each wildcard, named by the ARN as cdk-nag writes it."""
        here = "<AWS::Region>:<AWS::AccountId>"
        reasons = {
            "*": "ListClusters has no resource level; DescribeAlarms omits composite alarms unless allowed on all",
            f"arn:<AWS::Partition>:sagemaker:{here}:cluster/*": "cluster ARNs have an ID made by AWS",
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
    yield iam.PolicyStatement(
        sid="WriteDeadLetters", actions=["sqs:SendMessage"], resources=[queues.dead_letters.queue_arn]
    )
    yield iam.PolicyStatement(sid="Notify", actions=["sns:Publish"], resources=[topic.topic_arn])
    # For DynamoDB, Decrypt is enough: it makes table keys with a grant from the table's creation.
    yield iam.PolicyStatement(sid="UseKey", actions=list(USE), resources=[key.key_arn])
