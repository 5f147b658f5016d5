"""The function's entry point, with three doors: a batch of the intake queue, one event invoked directly, a sweep."""

import os
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from node_remediation.events import is_batch, message_of_payload, messages_of_batch
from node_remediation.events.own import read_sweep
from node_remediation.model import Result
from node_remediation.remediate import Remediator
from node_remediation.wiring import build

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class HandBackError(Exception):
    """Tells the invoker of one event to try again: it met a passing trouble."""


@cache
def remediator() -> Remediator:
    """Build the function's parts, once."""
    return build(os.environ)


remediator()  # while the runtime starts the function, which has the CPU of a whole core then


def lambda_handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    """Handle a batch (answer: the partial batch response), a sweep, or one event (answer: the reports' outcomes).

    One event that must be tried again raises HandBackError, so that Lambda's retries and dead-letter queue apply.
    """

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    now = datetime.now(UTC)
    if (sent := read_sweep(event, now=now)) is not None:
        remediator().sweep(sent, seconds_left=seconds_left)
        return {}
    if is_batch(event):
        handling = remediator().handle(messages_of_batch(event), seconds_left=seconds_left)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in handling.handed_back]}
    message = message_of_payload(event, message_id=context.aws_request_id, now=now)
    handling = remediator().handle([message], seconds_left=seconds_left)
    if handling.handed_back:
        raise HandBackError(handling.handed_back[message.id])
    return {"reports": [_summary(result) for result in handling.results]}


def _summary(result: Result) -> dict[str, Any]:
    return {
        "incident": result.incident,
        "cluster": result.cluster,
        "node": result.node.id if result.node else None,
        "outcome": result.outcome.value,
        "code": result.code,
        "reason": result.reason,
    }
