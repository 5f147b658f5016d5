"""Tests what the function may do, and that no policy allows more than is needed."""

from collections.abc import Sequence
from typing import Any

from tests.infra.template import Template, words

HERE = "<AWS::Region>:<AWS::AccountId>"
ALARMS = f"arn:<AWS::Partition>:cloudwatch:{HERE}:alarm:"
MODE = f"arn:<AWS::Partition>:ssm:{HERE}:parameter/hyperpod-node-remediation/HyperPodNodeRemediation/mode"
CLUSTER_CALLS = [
    "sagemaker:BatchRebootClusterNodes",
    "sagemaker:DescribeCluster",
    "sagemaker:DescribeClusterEvent",
    "sagemaker:DescribeClusterNode",
    "sagemaker:ListClusterNodes",
]
INTAKE_CALLS = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"]
BUS = f"arn:<AWS::Partition>:events:{HERE}:event-bus/default"
OWN_EVENTS = {
    "StringEquals": {
        "events:source": "hyperpod.node-remediation",
        "events:detail-type": "HyperPod Node Incident State Change",
    }
}
ALARM_CALLS = ["cloudwatch:DescribeAlarmContributors", "cloudwatch:ListTagsForResource"]


def _granted(template: Template) -> list[tuple[list[str], list[str], Any]]:
    (role,) = template.of("AWS::IAM::Role").values()
    (policy,) = role["Policies"]
    return [
        (words(each["Action"]), words(each["Resource"]), each.get("Condition"))
        for each in policy["PolicyDocument"]["Statement"]
    ]


def _expected(
    *, tag: object = None, prefixes: Sequence[str] = ("hyperpod-reboot-",), replaces: bool = False
) -> list[tuple[list[str], list[str], Any]]:
    clusters = f"arn:<AWS::Partition>:sagemaker:{HERE}:cluster/*"
    alarms = [(ALARM_CALLS, [f"{ALARMS}{prefix}*" for prefix in prefixes], None)]
    return [
        (["logs:CreateLogStream", "logs:PutLogEvents"], ["<LogsLogGroup.Arn>"], None),
        (INTAKE_CALLS, ["<QueuesIntake.Arn>"], None),
        (["sqs:SendMessage"], ["<QueuesDeadLetters.Arn>", "<QueuesUndelivered.Arn>"], None),
        (["sns:Publish"], ["<FailuresTopic>"], None),
        (["kms:GenerateDataKey", "kms:Decrypt"], ["<EncryptionKey.Arn>"], None),
        (["events:PutEvents"], [BUS], OWN_EVENTS),
        (["dynamodb:BatchGetItem", "dynamodb:PutItem"], ["<LedgerTable.Arn>"], None),
        (["dynamodb:Query"], ["<LedgerTable.Arn>/index/due"], None),
        (["ssm:GetParameter"], [MODE], None),
        (CLUSTER_CALLS, [clusters], tag),
        *([(["sagemaker:BatchReplaceClusterNodes"], [clusters], tag)] if replaces else []),
        (["sagemaker:ListClusters"], ["*"], None),
        (["cloudwatch:DescribeAlarms"], ["*"], None),
        *(alarms if prefixes else []),
    ]


def test_function_may_do_exactly_what_it_does(default: Template) -> None:
    """The comparison covers the whole policy, so that it shows an added permission as well as a missing one.

    Nothing may be sent to the intake queue: Lambda stops a function that sends to itself.
    """
    assert _granted(default) == _expected()


def test_function_with_tag_and_prefixes_may_touch_only_clusters_so_tagged_and_these_alarms(full: Template) -> None:
    """The condition holds for every call on a cluster, also for a replacement, which only its settings allow."""
    tag = {"StringEquals": {"aws:ResourceTag/team": "ml"}}
    assert _granted(full) == _expected(tag=tag, prefixes=["hyperpod-reboot-", "gpu/"], replaces=True)


def test_function_without_alarms_reads_neither_tags_nor_contributors(no_alarms: Template) -> None:
    """IAM refuses a statement without resources."""
    assert _granted(no_alarms) == _expected(prefixes=[])


def test_role_is_the_functions_alone_and_nothing_adds_to_it(default: Template) -> None:
    """CDK's grants would add their own policy, and managed policies allow more than is needed."""
    (role,) = default.of("AWS::IAM::Role").values()
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert "ManagedPolicyArns" not in role
    assert not default.of("AWS::IAM::Policy")


def test_no_action_is_allowed_by_wildcard_but_the_accounts_on_its_key(full: Template) -> None:
    """Without an administrator a key can never be changed or deleted."""
    wild = [
        (kind, action, statement["Principal"])
        for kind, statement in full.statements()
        if statement["Effect"] == "Allow"
        for action in words(statement["Action"])
        if "*" in action
    ]
    assert wild == [("AWS::KMS::Key", "kms:*", {"AWS": "arn:<AWS::Partition>:iam::<AWS::AccountId>:root"})]


def test_every_resource_is_named_but_where_aws_knows_none(full: Template) -> None:
    """In a key's policy `*` means that key."""
    everything = [
        statement["Action"]
        for kind, statement in full.statements()
        if kind != "AWS::KMS::Key" and "*" in words(statement.get("Resource", []))
    ]
    assert everything == ["sagemaker:ListClusters", "cloudwatch:DescribeAlarms"]


def test_every_service_is_allowed_to_act_for_named_resources_only(full: Template) -> None:
    """EventBridge on the key is the exception (see infra/key.py); the queues' policies name its rules."""
    unbound = [
        (kind, statement["Principal"]["Service"])
        for kind, statement in full.statements()
        if "Service" in statement.get("Principal", ()) and "Condition" not in statement
    ]
    assert unbound == [("AWS::KMS::Key", "events.amazonaws.com"), ("AWS::IAM::Role", "lambda.amazonaws.com")]
