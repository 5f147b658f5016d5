"""Tests the schedule of the sweep: what it sends, to whom, and how late."""

import json

from ministack.services import eventbridge

from node_remediation.settings import SWEEP_DETAIL_TYPE, SWEEP_SOURCE
from tests.infra.template import Template, sweep_rule

TIME = "2026-01-02T03:04:05Z"


def test_sweep_runs_every_minute_and_is_never_repeated(default: Template) -> None:
    """A delivery is at most 60 seconds old: the next sweep does the work of one that was lost."""
    rule = sweep_rule(default)
    (target,) = rule["Targets"]
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 minute)", "ENABLED")
    assert target["Arn"] == "<RemediationFunction.Arn>"
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0}
    assert "DeadLetterConfig" not in target


def test_sweep_payload_is_exactly_source_detail_type_and_time(default: Template) -> None:
    """The local AWS renders the input transformer as EventBridge does."""
    (target,) = sweep_rule(default)["Targets"]
    scheduled = {"source": "aws.events", "detail-type": "Scheduled Event", "time": TIME, "detail": {}}
    view = eventbridge._pattern_event_view(eventbridge._event_from_test_payload(scheduled))
    payload = json.loads(eventbridge._apply_input_transformer(target["InputTransformer"], None, view))
    assert payload == {"source": SWEEP_SOURCE, "detail-type": SWEEP_DETAIL_TYPE, "time": TIME}


def test_sweep_names_are_those_that_others_rely_on() -> None:
    """A local AWS or a test sends the same payload itself."""
    assert (SWEEP_SOURCE, SWEEP_DETAIL_TYPE) == ("hyperpod.node-remediation", "HyperPod Node Remediation Sweep")


def test_only_the_sweeps_rule_may_invoke_the_function_for_eventbridge(full: Template) -> None:
    """The permission names the rule's ARN."""
    allowed = [
        each
        for each in full.of("AWS::Lambda::Permission").values()
        if each["Principal"] != "lambda.alarms.cloudwatch.amazonaws.com"
    ]
    assert allowed == [
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": "<RemediationFunction.Arn>",
            "Principal": "events.amazonaws.com",
            "SourceArn": "<SweepRule.Arn>",
        }
    ]


def test_sweep_cannot_be_delivered_to_a_queue(full: Template) -> None:
    """Neither queue's policy accepts the rule."""
    accepted = json.dumps([statement for kind, statement in full.statements() if kind == "AWS::SQS::QueuePolicy"])
    assert "<RulesNodeHealth.Arn>" in accepted
    assert "SweepRule" not in accepted
