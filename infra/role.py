"""Defines the function's role, with each permission on as few resources as its action allows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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
from node_remediation.settings import INDEX_NAME, STATE_CHANGE_DETAIL_TYPE, SWEEP_SOURCE, Settings


def alarm_arns(scope: Construct, prefixes: Sequence[str]) -> list[str]:
    """Return ARN patterns for the alarms of this account and region whose names begin with the prefixes."""
    return [
        Stack.of(scope).format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name=f"{prefix}*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        for prefix in prefixes
    ]


@dataclass(frozen=True, slots=True)
class Permission:
    """Holds the actions of one statement and the reason for it, which docs/permissions.md quotes."""

    actions: Sequence[str]
    reason: str


# By the statement's ID.
PERMISSIONS: Mapping[str, Permission] = {
    "WriteLogs": Permission(
        ("logs:CreateLogStream", "logs:PutLogEvents"),
        "Lambda writes the function's log lines and metrics. The stack creates the log group.",
    ),
    "ReadIntake": Permission(
        ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"),
        "Lambda reads the intake queue, and the function sets when a message comes again. Neither can send to it.",
    ),
    "WriteDeadLetters": Permission(
        ("sqs:SendMessage",),
        "The function sends one message to the dead-letter queue for each node that was not rebooted or did not "
        "recover. Lambda sends the event of a direct invocation that failed to the undelivered queue.",
    ),
    "Notify": Permission(("sns:Publish",), "The function notifies people and automation of failures."),
    "PutEvents": Permission(
        ("events:PutEvents",),
        "The function puts an event on the bus for each change of an incident's state: only such events, by the "
        "conditions on source and detail-type.",
    ),
    "UseKey": Permission(
        USE,
        "The queues, the topic and the ledger are encrypted with this key. For DynamoDB, Decrypt is enough: it makes "
        "table keys with a grant from the table's creation.",
    ),
    "KeepLedger": Permission(
        ("dynamodb:BatchGetItem", "dynamodb:PutItem"),
        "The function reads and writes the ledger. A transaction of conditional puts needs PutItem only. Nothing is "
        "deleted: items expire.",
    ),
    "SumUp": Permission(
        ("dynamodb:Scan",), "Only with the setting daily_summary: the function reads all nodes' items once a day."
    ),
    "FindDue": Permission(("dynamodb:Query",), "The sweep looks in the ledger's index for what is due."),
    "ReadMode": Permission(("ssm:GetParameter",), "The function reads the mode that an operator has set."),
    "Clusters": Permission(
        (
            "sagemaker:BatchRebootClusterNodes",
            "sagemaker:DescribeCluster",
            "sagemaker:DescribeClusterEvent",
            "sagemaker:DescribeClusterNode",
            "sagemaker:ListClusterNodes",
        ),
        "The function reboots nodes, and looks up clusters (size, recovery mode), their events (the cause of a fault) "
        "and nodes (status, group, IDs). A cluster's ARN has an ID made by AWS, not its name, so no policy can name "
        "clusters: the function checks the name against the setting clusters. With the setting cluster_tag, IAM also "
        "requires that tag.",
    ),
    "Replace": Permission(
        ("sagemaker:BatchReplaceClusterNodes",),
        "Only where the setting escalation, or an override, says replace: the function replaces nodes, which destroys "
        "their volumes. On the same clusters.",
    ),
    "FindClusters": Permission(
        ("sagemaker:ListClusters",),
        "The function finds the HyperPod cluster behind an EKS cluster's name. The action has no resource level.",
    ),
    "ResolveAlarms": Permission(
        ("cloudwatch:DescribeAlarms",),
        "The function asks for the state of alarms. DescribeAlarms leaves out composite alarms unless it is allowed on "
        "all resources.",
    ),
    "ReadAlarms": Permission(
        ("cloudwatch:DescribeAlarmContributors", "cloudwatch:ListTagsForResource"),
        "The function asks which series of an alarm are in alarm, and reads the alarm's tag hyperpod:cluster. The "
        "statement is left out where alarm_name_prefixes is empty.",
    ),
    "MakeInterfaces": Permission(
        ("ec2:CreateNetworkInterface",),
        "Only with the setting vpc_subnet_ids: Lambda makes the function's network interfaces with this role, in these "
        "subnets and groups, which another account may share. The function's code itself may not.",
    ),
    "ChangeInterfaces": Permission(
        ("ec2:AssignPrivateIpAddresses", "ec2:DeleteNetworkInterface", "ec2:UnassignPrivateIpAddresses"),
        "The same. Lambda names its interfaces, and takes no less than all resources of the account and region.",
    ),
    "FindInterfaces": Permission(
        ("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"), "The same. The actions have no resource level."
    ),
}


def _allow(sid: str, *resources: str, conditions: Mapping[str, object] | None = None) -> iam.PolicyStatement:
    actions = list(PERMISSIONS[sid].actions)
    return iam.PolicyStatement(sid=sid, actions=actions, resources=list(resources), conditions=conditions or {})


class FunctionRole(Construct):
    """Makes the execution role with one inline policy, which nothing adds to."""

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
            self._bus(settings),
            *self._state(settings, table),
            *self._clusters(settings),
            *self._alarms(settings),
            *self._network(settings),
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

    def _state(self, settings: Settings, table: dynamodb.ITable) -> Iterator[iam.PolicyStatement]:
        yield _allow("KeepLedger", table.table_arn)
        if settings.daily_summary:
            yield _allow("SumUp", table.table_arn)
        yield _allow("FindDue", f"{table.table_arn}/index/{INDEX_NAME}")
        yield _allow("ReadMode", mode_parameter_arn(Stack.of(self)))

    def _bus(self, settings: Settings) -> iam.PolicyStatement:
        bus = Stack.of(self).format_arn(service="events", resource="event-bus", resource_name="default")
        own = {"events:source": SWEEP_SOURCE, "events:detail-type": STATE_CHANGE_DETAIL_TYPE}
        return _allow("PutEvents", settings.event_bus_arn or bus, conditions={"StringEquals": own})

    def _clusters(self, settings: Settings) -> Iterator[iam.PolicyStatement]:
        tag = settings.cluster_tag
        clusters = Stack.of(self).format_arn(service="sagemaker", resource="cluster", resource_name="*")
        tagged = {"StringEquals": {f"aws:ResourceTag/{tag.key}": tag.value}} if tag else None
        yield _allow("Clusters", clusters, conditions=tagged)
        if settings.replaces:
            yield _allow("Replace", clusters, conditions=tagged)
        yield _allow("FindClusters", "*")

    def _alarms(self, settings: Settings) -> Iterator[iam.PolicyStatement]:
        yield _allow("ResolveAlarms", "*")
        if settings.alarm_name_prefixes:
            yield _allow("ReadAlarms", *alarm_arns(self, settings.alarm_name_prefixes))

    def _network(self, settings: Settings) -> Iterator[iam.PolicyStatement]:
        """Allow what "Required IAM permissions" lists in the Lambda developer guide, "access to resources in a VPC".

        DeleteNetworkInterface on less than `*/*` is documented to keep the function out of its VPC. The key in the
        condition is in each call that the function's code makes, and in none that Lambda makes with the role.
        """
        if not settings.vpc_subnet_ids:
            return
        by_lambda = {"Null": {"lambda:SourceFunctionArn": "true"}}
        here = Stack.of(self)
        shared = [("subnet", each) for each in settings.vpc_subnet_ids]
        shared += [("security-group", each) for each in settings.security_group_ids]
        yield _allow(
            "MakeInterfaces",
            here.format_arn(service="ec2", resource="network-interface", resource_name="*"),
            *(here.format_arn(service="ec2", account="*", resource=kind, resource_name=name) for kind, name in shared),
            conditions=by_lambda,
        )
        yield _allow(
            "ChangeInterfaces", here.format_arn(service="ec2", resource="*", resource_name="*"), conditions=by_lambda
        )
        yield _allow("FindInterfaces", "*", conditions=by_lambda)

    def _explain_wildcards(self, role: iam.Role, settings: Settings) -> None:
        """Give cdk-nag the reason for each wildcard, named by the ARN as cdk-nag writes it."""
        here = "<AWS::Region>:<AWS::AccountId>"
        reasons = {
            "*": "ListClusters and ec2:Describe* have no resource level; DescribeAlarms omits composites unless on all",
            f"arn:<AWS::Partition>:sagemaker:{here}:cluster/*": "cluster ARNs have an ID made by AWS",
        }
        if settings.vpc_subnet_ids:
            for kind in ("network-interface", "*"):
                reasons[f"arn:<AWS::Partition>:ec2:{here}:{kind}/*"] = "Lambda names the interfaces that it makes"
        for kind, names in (("subnet", settings.vpc_subnet_ids), ("security-group", settings.security_group_ids)):
            for name in names:
                arn = f"arn:<AWS::Partition>:ec2:<AWS::Region>:*:{kind}/{name}"
                reasons[arn] = "another account may own it; its ID is unique"
        for prefix in settings.alarm_name_prefixes:
            reasons[f"arn:<AWS::Partition>:cloudwatch:{here}:alarm:{prefix}*"] = "alarms are configured by name prefix"
        for resource, reason in reasons.items():
            Validations.of(role).acknowledge(
                Acknowledgment(id=f"AwsSolutions-IAM5[Resource::{resource}]", reason=reason)
            )


def _plumbing(
    *, key: kms.IKey, queues: Queues, topic: sns.ITopic, log_group: logs.ILogGroup
) -> Iterator[iam.PolicyStatement]:
    yield _allow("WriteLogs", log_group.log_group_arn)
    yield _allow("ReadIntake", queues.intake.queue_arn)
    yield _allow("WriteDeadLetters", queues.dead_letters.queue_arn, queues.undelivered.queue_arn)
    yield _allow("Notify", topic.topic_arn)
    # A topic of others may have a key of its own.
    yield _allow("UseKey", *dict.fromkeys(each.key_arn for each in (key, topic.master_key) if each))
