"""Gap: rules deliver to queues and functions without asking their policies, a function that a rule invokes is not tried
again when it fails, and a rule target's dead-letter queue is ignored.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
Touches: `eventbridge._invoke_target`, `eventbridge._dispatch_to_lambda`, `eventbridge._rule_arn`,
`eventbridge._pattern_event_view`, `sqs._queue_by_arn`, `sqs._queue_url`, `sqs._act_send_message`,
`lambda_svc._get_func_record_for_ref`, `lambda_svc._execution_record_for_config`.
"""

import json
import logging
from typing import Any

from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge, lambda_svc, sqs

_log = logging.getLogger("local.rule_targets")
_SERVICE = "events.amazonaws.com"


def apply() -> None:
    """Send what a target refuses to the target's dead-letter queue, and invoke functions as asynchronous calls do."""
    deliver = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        arn = target.get("Arn", "")
        rule_arn = rule.get("Arn") or eventbridge._rule_arn(rule["Name"], rule.get("EventBusName", "default"))
        refusal = _refusal(arn, rule_arn)
        if refusal is None:
            deliver(target, event, rule, view)
            return
        _log.warning("%s -> %s: %s", rule_arn, arn, refusal)
        dead_letter_arn = (target.get("DeadLetterConfig") or {}).get("Arn")
        if dead_letter_arn and _refusal(dead_letter_arn, rule_arn) is None:
            attributes = {
                "RULE_ARN": rule_arn,
                "TARGET_ARN": arn,
                "ERROR_CODE": refusal[0],
                "ERROR_MESSAGE": refusal[1],
            }
            body = (view or eventbridge._pattern_event_view(event)).event_with_detail()
            send_message(dead_letter_arn, json.dumps(body), attributes)

    eventbridge._invoke_target = invoke_target
    eventbridge._dispatch_to_lambda = lambda arn, payload: lambda_svc.invoke_async_with_retry(
        function_record(arn), json.loads(payload)
    )


def _refusal(arn: str, rule_arn: str) -> tuple[str, str] | None:
    """Return why EventBridge cannot deliver to this queue or function for this rule: error code and message."""
    if ":sqs:" in arn:
        exists, allowed = sqs._queue_by_arn(arn) is not None, sqs.queue_policy_allows
        if exists and not allowed(arn, _SERVICE, rule_arn, get_account_id()):
            return "NO_PERMISSIONS", f"The queue's policy does not allow {_SERVICE} to send for {rule_arn}"
        return None if exists else ("NO_RESOURCE", f"The specified queue does not exist: {arn}")
    if ":lambda:" in arn:
        exists = function_record(arn) is not None
        if exists and not may_invoke(arn, _SERVICE, rule_arn):
            return "NO_PERMISSIONS", f"The function's policy does not allow {_SERVICE} to invoke it for {rule_arn}"
        return None if exists else ("NO_RESOURCE", f"The specified function does not exist: {arn}")
    return None


def function_record(arn: str) -> dict[str, Any] | None:
    """Return what the emulator invokes a function with, None for one that does not exist."""
    function, config, _ = lambda_svc._get_func_record_for_ref(arn)
    return lambda_svc._execution_record_for_config(function, config) if function and config else None


def may_invoke(function_arn: str, service: str, source_arn: str) -> bool:
    """Tell whether the function's resource policy lets a service invoke it for a source."""
    policy: Any = lambda_svc.function_policy_for_arn(function_arn)
    context = EvalContext(
        principal_arn="*",
        principal_type="Service",
        principal_account="",
        action="lambda:InvokeFunction",
        resource_arn=function_arn,
        region=get_region(),
        service_context={"aws:sourcearn": source_arn, "aws:sourceaccount": get_account_id()},
    )
    verdict = evaluate_resource_policy(policy[0] if policy else None, context, service=service)
    return bool(verdict.decision == "Allow")


def send_message(queue_arn: str, body: str, attributes: dict[str, str]) -> None:
    """Put a message with string attributes on a queue, as a service does: no caller, no policy asked here."""
    queue = sqs._queue_by_arn(queue_arn)
    if queue is None:
        raise LookupError(queue_arn)
    url = sqs._queue_url(queue["name"])
    values = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    sqs._act_send_message({"QueueUrl": url, "MessageBody": body, "MessageAttributes": values}, url)
