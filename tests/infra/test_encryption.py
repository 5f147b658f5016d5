"""Tests who may use the key, and what it encrypts."""

from tests.infra.template import TOPIC, Template

ALARM = "arn:<AWS::Partition>:cloudwatch:<AWS::Region>:<AWS::AccountId>:alarm:HyperPodNodeRemediation-dead-letters"
USE = ["kms:GenerateDataKey", "kms:Decrypt"]


def _users(template: Template) -> dict[str, object]:
    (key,) = template.of("AWS::KMS::Key").values()
    return {
        next(iter(statement["Principal"].values())): (statement["Action"], statement.get("Condition"))
        for statement in key["KeyPolicy"]["Statement"]
    }


def test_key_by_default_is_for_the_account_eventbridge_and_our_own_alarm(default: Template) -> None:
    """CloudWatch may use it for that alarm only."""
    assert _users(default) == {
        "arn:<AWS::Partition>:iam::<AWS::AccountId>:root": ("kms:*", None),
        "events.amazonaws.com": (USE, None),
        "cloudwatch.amazonaws.com": (
            USE,
            {"StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"}, "ArnEquals": {"aws:SourceArn": ALARM}},
        ),
    }


def test_key_with_alarm_topics_is_for_sns_on_behalf_of_these_topics_too(full: Template) -> None:
    """SNS can deliver to an encrypted queue only if it may use the queue's key."""
    condition = {"ArnEquals": {"aws:SourceArn": [TOPIC, "arn:aws:sns:eu-west-1:111122223333:other"]}}
    assert _users(full)["sns.amazonaws.com"] == (USE, condition)


def test_key_rotates_and_goes_with_the_stack_after_a_week(default: Template) -> None:
    """Seven days is the shortest time in which a deletion can be cancelled."""
    (key,) = default.of("AWS::KMS::Key").values()
    assert (key["EnableKeyRotation"], key["PendingWindowInDays"]) == (True, 7)


def test_queues_and_topic_are_encrypted_with_the_key(default: Template) -> None:
    """With AWS's own keys alarms could not publish."""
    stores = [*default.of("AWS::SQS::Queue").values(), *default.of("AWS::SNS::Topic").values()]
    assert [each["KmsMasterKeyId"] for each in stores] == ["<EncryptionKey.Arn>"] * 3
