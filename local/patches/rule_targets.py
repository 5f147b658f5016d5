"""Gap: rules deliver to queues without asking the queue's policy, and a rule target's dead-letter queue is ignored.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
Touches: `eventbridge._invoke_target`, `eventbridge._rule_arn`, `eventbridge._pattern_event_view`,
`sqs._queue_by_arn`, `sqs._queue_url`, `sqs._act_send_message`.
"""

import json
import logging
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import eventbridge, sqs

_log = logging.getLogger("local.rule_targets")
_SERVICE = "events.amazonaws.com"


def apply() -> None:
    """Send what a queue target refuses to the target's dead-letter queue."""
    deliver = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
        arn = target.get("Arn", "")
        rule_arn = rule.get("Arn") or eventbridge._rule_arn(rule["Name"], rule.get("EventBusName", "default"))
        refusal = _refusal(arn, rule_arn) if ":sqs:" in arn else None
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


def _refusal(queue_arn: str, rule_arn: str) -> tuple[str, str] | None:
    """Why EventBridge cannot send to this queue for this rule: error code and message."""
    if sqs._queue_by_arn(queue_arn) is None:
        return "NO_RESOURCE", f"The specified queue does not exist: {queue_arn}"
    if not sqs.queue_policy_allows(queue_arn, _SERVICE, rule_arn, get_account_id()):
        return "NO_PERMISSIONS", f"The queue's policy does not allow {_SERVICE} to send for {rule_arn}"
    return None


def send_message(queue_arn: str, body: str, attributes: dict[str, str]) -> None:
    """Put a message with string attributes on a queue, as a service does: no caller, no policy asked here."""
    queue = sqs._queue_by_arn(queue_arn)
    if queue is None:
        raise LookupError(queue_arn)
    url = sqs._queue_url(queue["name"])
    values = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    sqs._act_send_message({"QueueUrl": url, "MessageBody": body, "MessageAttributes": values}, url)
