"""The function's entry point: builds everything once, takes a batch or one event, and delegates."""

import gc

gc.disable()  # what is made while starting stays for good: looking through it again and again is up to a tenth of it

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from node_remediation.inbox import is_batch, message_of_payload, messages_of_batch
from node_remediation.model import Handling
from node_remediation.wiring import build

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class HandBackError(Exception):
    """A direct invocation met passing trouble: the invoker is to try again."""


_remediator = build(os.environ)
gc.freeze()
gc.enable()


def lambda_handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    """Handle a batch of the intake queue (answer: partial batch response) or one event invoked directly (a summary).

    A direct event that must be tried again raises HandBackError, so that Lambda's retries and dead-letter queue apply.
    """

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    if is_batch(event):
        handling = _remediator.handle(messages_of_batch(event), seconds_left=seconds_left)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in handling.handed_back]}
    message = message_of_payload(event, message_id=context.aws_request_id, now=datetime.now(UTC))
    handling = _remediator.handle([message], seconds_left=seconds_left)
    if handling.handed_back:
        raise HandBackError(handling.handed_back[message.id])
    return _summary(handling)


def _summary(handling: Handling) -> dict[str, Any]:
    reports = [
        {
            "cluster": ending.case.cluster,
            "node": ending.case.node.id if ending.case.node else None,
            "outcome": ending.outcome.value,
            "code": ending.code,
            "reason": ending.reason,
        }
        for ending in handling.endings
    ]
    return {"reports": json.loads(json.dumps(reports))}
