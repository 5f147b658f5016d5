"""Gap: a function's dead-letter queue gets the envelope of an on-failure destination; AWS sends the event as it was.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
Retries are stock: twice, LAMBDA_ASYNC_RETRY_BASE_SECONDS apart.
Touches: `lambda_svc._route_async_failure`, `lambda_svc._functions`.
"""

import json
import logging
from typing import Any

from ministack.core.responses import new_uuid
from ministack.services import lambda_svc, sqs

from local.patches.event_loop import on_loop
from local.patches.rule_targets import send_message

_log = logging.getLogger("local.async_failures")


def apply() -> None:
    """Route what failed for good by the kind of its target."""
    to_destination = lambda_svc._route_async_failure

    def route(target_arn: str, function_name: str, event: Any, result: dict[str, Any]) -> None:
        config = lambda_svc._functions.get(function_name, {}).get("config", {})
        dead_letter_arn = (config.get("DeadLetterConfig") or {}).get("TargetArn")
        if target_arn != dead_letter_arn or ":sqs:" not in target_arn:
            on_loop(lambda: to_destination(target_arn, function_name, event, result))
        elif sqs._queue_by_arn(target_arn) is None:
            _log.error("%s: its dead-letter queue %s does not exist, the event is lost", function_name, target_arn)
        else:
            on_loop(lambda: send_message(target_arn, json.dumps(event), _attributes(result)))

    lambda_svc._route_async_failure = route


def _attributes(result: dict[str, Any]) -> dict[str, str]:
    body = result.get("body")
    message = body.get("errorMessage") if isinstance(body, dict) else body
    return {"RequestID": new_uuid(), "ErrorCode": "200", "ErrorMessage": str(message or "Unhandled")[:1024]}
