"""Tests both queues: how long they keep messages and from whom they accept them."""

from typing import Any

import pytest

from tests.infra.template import TOPIC, Template

RULES = ["<RulesNodeHealth.Arn>", "<RulesInstanceEvents.Arn>", "<RulesAlarms.Arn>"]
QUEUES = ("QueuesIntake", "QueuesDeadLetters")


def _senders(template: Template, queue: str) -> dict[str, Any]:
    statements = template.of("AWS::SQS::QueuePolicy")[f"{queue}Policy"]["PolicyDocument"]["Statement"]
    allowed = [each for each in statements if each["Effect"] == "Allow"]
    assert all(each["Action"] == "sqs:SendMessage" and each["Resource"] == f"<{queue}.Arn>" for each in allowed)
    return {each["Principal"]["Service"]: each["Condition"] for each in allowed}


def test_intake_moves_a_message_to_the_dead_letters_after_five_receives(default: Template) -> None:
    """The function reports a failure at the fifth receive; SQS moves a message only after crashes."""
    intake = default.of("AWS::SQS::Queue")["QueuesIntake"]
    assert intake["RedrivePolicy"] == {"deadLetterTargetArn": "<QueuesDeadLetters.Arn>", "maxReceiveCount": 5}


def test_intake_keeps_four_days_and_dead_letters_fourteen(default: Template) -> None:
    """A letter waits for a person, who may be on holiday."""
    queues = default.of("AWS::SQS::Queue")
    assert [queues[name]["MessageRetentionPeriod"] // 86_400 for name in QUEUES] == [4, 14]


def test_intake_is_visible_again_after_six_timeouts_and_the_window(default: Template, full: Template) -> None:
    """In seconds: 6 x 60 + 5 by default, 6 x 60 without a window."""
    both = [each.of("AWS::SQS::Queue")["QueuesIntake"]["VisibilityTimeout"] for each in (default, full)]
    assert both == [365, 360]


@pytest.mark.parametrize("queue", QUEUES)
def test_queue_by_default_lets_in_exactly_this_stacks_rules(default: Template, queue: str) -> None:
    """A rule sends to the DLQ what it cannot deliver to the intake queue. The sweep's rule is not among them."""
    assert _senders(default, queue) == {"events.amazonaws.com": {"ArnEquals": {"aws:SourceArn": RULES}}}


@pytest.mark.parametrize("queue", QUEUES)
def test_queue_with_alarm_topics_lets_in_these_topics_too(full: Template, queue: str) -> None:
    """A subscription sends to the DLQ what it cannot deliver to the intake queue."""
    topics = {"ArnEquals": {"aws:SourceArn": [TOPIC, "arn:aws:sns:eu-west-1:111122223333:other"]}}
    assert _senders(full, queue)["sns.amazonaws.com"] == topics


@pytest.mark.parametrize("queue", QUEUES)
def test_queue_without_alarms_does_not_name_an_alarm_rule(no_alarms: Template, queue: str) -> None:
    """The rule does not exist then."""
    assert _senders(no_alarms, queue) == {"events.amazonaws.com": {"ArnEquals": {"aws:SourceArn": RULES[:2]}}}


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
        ("<FailuresTopic>", "sns:Publish"),
    }
