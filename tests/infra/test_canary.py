"""Tests the canary: the way that it goes, and the alarm that misses it."""

import json

from ministack.services import eventbridge

from node_remediation.settings import CANARY_DETAIL_TYPE, SWEEP_SOURCE
from tests.infra.template import Template

TIME = "2026-01-02T03:04:05Z"


def test_canary_goes_daily_the_way_that_reports_go(default: Template) -> None:
    """Rule, queue with its policy, and the other queue if that fails."""
    (rule,) = [each for name, each in default.of("AWS::Events::Rule").items() if "Canary" in name]
    (target,) = rule["Targets"]
    assert rule["ScheduleExpression"] == "rate(1 day)"
    assert (target["Arn"], target["DeadLetterConfig"]["Arn"]) == ("<QueuesIntake.Arn>", "<QueuesUndelivered.Arn>")
    view = eventbridge._pattern_event_view(eventbridge._event_from_test_payload({"time": TIME, "detail": {}}))
    body = json.loads(eventbridge._apply_input_transformer(target["InputTransformer"], None, view))
    assert body == {"source": SWEEP_SOURCE, "detail-type": CANARY_DETAIL_TYPE, "time": TIME}
    accepted = json.dumps([statement for kind, statement in default.statements() if kind == "AWS::SQS::QueuePolicy"])
    assert accepted.count("<CanaryRule.Arn>") == 2


def test_alarm_rings_after_26_hours_in_which_sweeps_ran_and_no_canary_came(default: Template) -> None:
    """Hours without sweeps do not count: a new deployment has none."""
    (alarm,) = [each for each in default.of("AWS::CloudWatch::Alarm").values() if each["AlarmName"].endswith("-canary")]
    assert (alarm["EvaluationPeriods"], alarm["Threshold"], alarm["TreatMissingData"]) == (26, 1, "notBreaching")
    (expression,) = [each["Expression"] for each in alarm["Metrics"] if "Expression" in each]
    metrics = {
        each["Id"]: (
            each["MetricStat"]["Metric"]["MetricName"],
            each["MetricStat"]["Stat"],
            each["MetricStat"]["Period"],
        )
        for each in alarm["Metrics"]
        if "MetricStat" in each
    }
    assert expression == "IF(FILL(sweeps, 0) > 0 AND FILL(canaries, 0) < 1, 1, 0)"
    assert metrics == {"sweeps": ("SweepLag", "SampleCount", 3600), "canaries": ("Canary", "Sum", 3600)}
