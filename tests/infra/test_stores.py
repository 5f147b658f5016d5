"""Tests the key, both queues and the ledger: what they keep, for how long, and who may use them."""

from typing import Any

import pytest

from infra.alarms import NAMES
from node_remediation.settings import INDEX_NAME
from tests.infra.template import TOPIC, Template

ALARM = "arn:<AWS::Partition>:cloudwatch:<AWS::Region>:<AWS::AccountId>:alarm:HyperPodNodeRemediation"
ALARMS = [f"{ALARM}-{name}" for name in NAMES]
USE = ["kms:GenerateDataKey", "kms:Decrypt"]
RULES = ["<RulesNodeHealth.Arn>", "<RulesInstanceEvents.Arn>", "<RulesAlarms.Arn>", "<CanaryRule.Arn>"]
FED = ("QueuesIntake", "QueuesUndelivered")


def _users(template: Template) -> dict[str, object]:
    (key,) = template.of("AWS::KMS::Key").values()
    return {
        next(iter(statement["Principal"].values())): (statement["Action"], statement.get("Condition"))
        for statement in key["KeyPolicy"]["Statement"]
    }


def test_key_by_default_is_for_the_account_eventbridge_and_our_own_alarms(default: Template) -> None:
    """CloudWatch may use it for those alarms only."""
    assert _users(default) == {
        "arn:<AWS::Partition>:iam::<AWS::AccountId>:root": ("kms:*", None),
        "events.amazonaws.com": (USE, None),
        "cloudwatch.amazonaws.com": (
            USE,
            {"StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"}, "ArnEquals": {"aws:SourceArn": ALARMS}},
        ),
    }


def test_key_with_alarm_topics_is_for_sns_on_behalf_of_these_topics_too(full: Template) -> None:
    """SNS can deliver to an encrypted queue only if it may use the queue's key."""
    condition = {"ArnEquals": {"aws:SourceArn": [TOPIC, "arn:aws:sns:us-east-1:111122223333:other"]}}
    assert _users(full)["sns.amazonaws.com"] == (USE, condition)


def test_key_rotates_and_goes_with_the_stack_after_a_week(default: Template) -> None:
    """Seven days is the shortest time in which a deletion can be cancelled."""
    (key,) = default.of("AWS::KMS::Key").values()
    assert (key["EnableKeyRotation"], key["PendingWindowInDays"]) == (True, 7)


def test_queues_topic_and_ledger_are_encrypted_with_the_key(default: Template) -> None:
    """With AWS's own keys alarms could not publish."""
    stores = [*default.of("AWS::SQS::Queue").values(), *default.of("AWS::SNS::Topic").values()]
    assert [each["KmsMasterKeyId"] for each in stores] == ["<EncryptionKey.Arn>"] * 4
    (table,) = default.of("AWS::DynamoDB::Table").values()
    assert table["SSESpecification"] == {"KMSMasterKeyId": "<EncryptionKey.Arn>", "SSEEnabled": True, "SSEType": "KMS"}


def _senders(template: Template, queue: str) -> dict[str, Any]:
    statements = template.of("AWS::SQS::QueuePolicy")[f"{queue}Policy"]["PolicyDocument"]["Statement"]
    allowed = [each for each in statements if each["Effect"] == "Allow"]
    assert all(each["Action"] == "sqs:SendMessage" and each["Resource"] == f"<{queue}.Arn>" for each in allowed)
    return {each["Principal"]["Service"]: each["Condition"] for each in allowed}


def test_intake_moves_a_message_to_the_undelivered_after_five_receives(default: Template) -> None:
    """SQS moves a message only after crashes, of which nothing else tells.

    The undelivered queue has a policy, too: a redrive is possible only from a queue that is another's dead-letter queue
    (StartMessageMoveTask, API reference).
    """
    policies = {name: queue.get("RedrivePolicy") for name, queue in default.of("AWS::SQS::Queue").items()}
    assert policies == {
        "QueuesIntake": {"deadLetterTargetArn": "<QueuesUndelivered.Arn>", "maxReceiveCount": 5},
        "QueuesUndelivered": {"deadLetterTargetArn": "<QueuesDeadLetters.Arn>", "maxReceiveCount": 1_000},
        "QueuesDeadLetters": None,
    }


def test_dead_letters_are_the_functions_own_alone(default: Template) -> None:
    """A message that a service put there would not be noticed: only the undelivered queue has an alarm."""
    assert _senders(default, "QueuesDeadLetters") == {}


def test_intake_keeps_four_days_and_the_others_fourteen(default: Template) -> None:
    """A letter waits for a person, who may be on holiday."""
    queues = default.of("AWS::SQS::Queue")
    days = {name: queue["MessageRetentionPeriod"] // 86_400 for name, queue in queues.items()}
    assert days == {"QueuesIntake": 4, "QueuesDeadLetters": 14, "QueuesUndelivered": 14}


def test_intake_is_visible_again_after_six_timeouts_and_the_window(default: Template, full: Template) -> None:
    """In seconds: 6 x 60 + 5 by default, 6 x 60 without a window."""
    both = [each.of("AWS::SQS::Queue")["QueuesIntake"]["VisibilityTimeout"] for each in (default, full)]
    assert both == [365, 360]


@pytest.mark.parametrize("queue", FED)
def test_queue_by_default_lets_in_exactly_this_stacks_rules(default: Template, queue: str) -> None:
    """A rule sends to the second what it cannot deliver to the first. The sweep's rule is not among them."""
    assert _senders(default, queue) == {"events.amazonaws.com": {"ArnEquals": {"aws:SourceArn": RULES}}}


@pytest.mark.parametrize("queue", FED)
def test_queue_with_alarm_topics_lets_in_these_topics_too(full: Template, queue: str) -> None:
    """A subscription sends to the second what it cannot deliver to the first."""
    topics = {"ArnEquals": {"aws:SourceArn": [TOPIC, "arn:aws:sns:us-east-1:111122223333:other"]}}
    assert _senders(full, queue)["sns.amazonaws.com"] == topics


@pytest.mark.parametrize("queue", FED)
def test_queue_without_alarms_does_not_name_an_alarm_rule(no_alarms: Template, queue: str) -> None:
    """The rule does not exist then."""
    assert _senders(no_alarms, queue) == {
        "events.amazonaws.com": {"ArnEquals": {"aws:SourceArn": [*RULES[:2], RULES[3]]}}
    }


def test_queues_and_topic_refuse_requests_without_tls(default: Template) -> None:
    """This holds for every caller, also in the account itself."""
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    denied = {
        (each["Resource"], each["Action"])
        for _, each in default.statements()
        if each["Effect"] == "Deny" and each["Condition"] == insecure and each["Principal"] in ("*", {"AWS": "*"})
    }
    assert denied == {
        ("<QueuesIntake.Arn>", "sqs:*"),
        ("<QueuesDeadLetters.Arn>", "sqs:*"),
        ("<QueuesUndelivered.Arn>", "sqs:*"),
        ("<FailuresTopic>", "sns:Publish"),
    }


def test_ledger_is_a_table_with_one_key_whose_items_expire(default: Template) -> None:
    """The comparison covers all properties but index and encryption."""
    (table,) = default.of("AWS::DynamoDB::Table").values()
    beside = ("AttributeDefinitions", "GlobalSecondaryIndexes", "SSESpecification")
    assert {key: table[key] for key in table if key not in beside} == {
        "BillingMode": "PAY_PER_REQUEST",
        "DeletionProtectionEnabled": False,
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "TimeToLiveSpecification": {"AttributeName": "expires", "Enabled": True},
    }


def test_index_is_sparse_holds_keys_alone_and_is_sorted_by_due(default: Template) -> None:
    """A shard is a string; `due` is a number, in milliseconds since 1970."""
    (table,) = default.of("AWS::DynamoDB::Table").values()
    assert table["GlobalSecondaryIndexes"] == [
        {
            "IndexName": INDEX_NAME,
            "KeySchema": [
                {"AttributeName": "shard", "KeyType": "HASH"},
                {"AttributeName": "due", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ]
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    assert types == {"pk": "S", "shard": "S", "due": "N"}


def test_a_deploy_cannot_change_what_an_operator_set(default: Template, full: Template) -> None:
    """CloudFormation would overwrite a parameter that the stack owns. Its name depends on no setting."""
    assert not default.of("AWS::SSM::Parameter")
    assert default.outputs["ModeParameterName"] == full.outputs["ModeParameterName"]
