"""Tests what the function may do, and that no policy allows more than is needed."""

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
ALARM_CALLS = ["cloudwatch:DescribeAlarmContributors", "cloudwatch:ListTagsForResource"]


def _granted(template: Template) -> list[tuple[list[str], list[str], Any]]:
    (role,) = template.of("AWS::IAM::Role").values()
    (policy,) = role["Policies"]
    return [
        (words(each["Action"]), words(each["Resource"]), each.get("Condition"))
        for each in policy["PolicyDocument"]["Statement"]
    ]


def test_function_may_do_exactly_what_it_does(default: Template) -> None:
    """The comparison covers the whole policy, so that it shows an added permission as well as a missing one."""
    assert _granted(default) == [
        (["logs:CreateLogStream", "logs:PutLogEvents"], ["<LogsLogGroup.Arn>"], None),
        (INTAKE_CALLS, ["<QueuesIntake.Arn>"], None),
        (["sqs:SendMessage"], ["<QueuesDeadLetters.Arn>"], None),
        (["sns:Publish"], ["<FailuresTopic>"], None),
        (["kms:GenerateDataKey", "kms:Decrypt"], ["<EncryptionKey.Arn>"], None),
        (["dynamodb:BatchGetItem", "dynamodb:PutItem"], ["<LedgerTable.Arn>"], None),
        (["dynamodb:Query"], ["<LedgerTable.Arn>/index/due"], None),
        (["ssm:GetParameter"], [MODE], None),
        (CLUSTER_CALLS, [f"arn:<AWS::Partition>:sagemaker:{HERE}:cluster/*"], None),
        (["sagemaker:ListClusters"], ["*"], None),
        (["cloudwatch:DescribeAlarms"], ["*"], None),
        (ALARM_CALLS, [f"{ALARMS}hyperpod-*"], None),
    ]


def test_function_cannot_send_to_the_intake_queue(full: Template) -> None:
    """The function sends nothing to itself: Lambda stops such loops."""
    sent = [resources for actions, resources, _ in _granted(full) if "sqs:SendMessage" in actions]
    assert sent == [["<QueuesDeadLetters.Arn>"]]


def test_function_with_a_cluster_tag_may_call_only_for_clusters_with_that_tag(full: Template) -> None:
    """The condition holds for every call on a cluster, not only for the reboot."""
    conditions = [condition for actions, _, condition in _granted(full) if actions == CLUSTER_CALLS]
    assert conditions == [{"StringEquals": {"aws:ResourceTag/team": "ml"}}]


def test_function_reads_tags_and_contributors_of_alarms_with_each_prefix(full: Template) -> None:
    """Other alarms stay unreadable."""
    resources = [found for actions, found, _ in _granted(full) if actions == ALARM_CALLS]
    assert resources == [[f"{ALARMS}hyperpod-*", f"{ALARMS}gpu/*"]]


def test_function_without_alarms_reads_neither_tags_nor_contributors(no_alarms: Template) -> None:
    """IAM refuses a statement without resources."""
    assert not [each for each in _granted(no_alarms) if set(ALARM_CALLS) & set(each[0])]


def test_role_is_the_functions_alone_and_nothing_adds_to_it(default: Template) -> None:
    """CDK's grants would add their own policy, and managed policies allow more than is needed."""
    (role,) = default.of("AWS::IAM::Role").values()
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert "ManagedPolicyArns" not in role
    assert not default.of("AWS::IAM::Policy")


def test_only_the_account_may_act_by_wildcard_and_only_on_its_key(full: Template) -> None:
    """Without an administrator a key can never be changed or deleted."""
    wild = [
        (kind, action, statement["Principal"])
        for kind, statement in full.statements()
        if statement["Effect"] == "Allow"
        for action in words(statement["Action"])
        if "*" in action
    ]
    assert wild == [("AWS::KMS::Key", "kms:*", {"AWS": "arn:<AWS::Partition>:iam::<AWS::AccountId>:root"})]


def test_resource_is_a_wildcard_only_where_an_action_has_no_resource_level(full: Template) -> None:
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
