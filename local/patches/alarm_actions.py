"""Gap: an alarm's change of state does not reach EventBridge, Lambda actions are stored but not run, and the message of
an SNS action lacks the alarm's ARN, its metrics and the documented spelling of dimensions.

Touches: `cloudwatch._dispatch_alarm_actions`, `eventbridge._put_events`.
"""

import json
import logging
import time

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch, eventbridge, lambda_svc, sns

from local.patches.alarm_shapes import Alarm, PublishedState, alarm_data, lambda_event, sns_message
from local.patches.rule_targets import function_record, may_invoke

_log = logging.getLogger("local.alarm_actions")
_ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
_CREATION = "Unchecked: Initial alarm creation"
_LAMBDA_CALLER = "lambda.alarms.cloudwatch.amazonaws.com"
_SUBJECT_LIMIT = 100

_last: dict[str, PublishedState] = {}  # by alarm ARN: events name the state before


def apply() -> None:
    """Publish every change of state as AWS does."""
    cloudwatch._dispatch_alarm_actions = _dispatch


def _dispatch(alarm: Alarm, old_value: str, new_value: str, reason: str) -> None:
    arn = alarm["AlarmArn"]
    new = PublishedState(new_value, reason, time.time(), alarm.get("StateReasonData"))
    known = _last.get(arn)
    old = known if known and known.value == old_value else PublishedState(old_value, _CREATION, new.at)
    _last[arn] = new
    _publish_event(alarm, old, new)
    if not alarm.get("ActionsEnabled", True):
        return
    for action in alarm.get(_ACTIONS.get(new_value, "")) or []:
        if ":sns:" in action:
            _notify(action, alarm, old, new)
        elif ":lambda:" in action:
            _invoke(action, alarm, old, new)


def _publish_event(alarm: Alarm, old: PublishedState, new: PublishedState) -> None:
    entry = {
        "Source": "aws.cloudwatch",
        "DetailType": "CloudWatch Alarm State Change",
        "Resources": [alarm["AlarmArn"]],
        "Detail": json.dumps(alarm_data(alarm, old, new)),
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def _notify(topic_arn: str, alarm: Alarm, old: PublishedState, new: PublishedState) -> None:
    if not sns.topic_policy_allows(topic_arn, "cloudwatch.amazonaws.com", alarm["AlarmArn"], get_account_id()):
        _log.warning("%s -> %s: the topic's policy does not allow it", alarm["AlarmArn"], topic_arn)
        return
    subject = f'{new.value}: "{alarm["AlarmName"]}" in {get_region()}'[:_SUBJECT_LIMIT]
    message = sns_message(alarm, get_account_id(), get_region(), old, new)
    sns.publish_internal(topic_arn, json.dumps(message), subject)


def _invoke(function_arn: str, alarm: Alarm, old: PublishedState, new: PublishedState) -> None:
    record = function_record(function_arn)
    if record is None or not may_invoke(function_arn, _LAMBDA_CALLER, alarm["AlarmArn"]):
        _log.warning("%s -> %s: no such function, or its policy does not allow it", alarm["AlarmArn"], function_arn)
        return
    lambda_svc.invoke_async_with_retry(record, lambda_event(alarm, get_account_id(), get_region(), old, new))
