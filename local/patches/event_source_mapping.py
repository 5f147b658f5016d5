"""Gap: SQS event source mappings take at most 10 messages, know no batching window and delete a whole batch when the
function answers with an unknown or empty itemIdentifier.

What counts as which failure: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
Touches: `sqs._receive_messages_for_esm`, `sqs._delete_messages_for_esm`, `sqs._get_q`, `sqs._expire_retained`,
`sqs._dlq_sweep`, `sqs._ensure_msg_fields`, `sqs._collect_msgs`, `lambda_svc._run_sqs_batch`,
`lambda_svc._execute_function`, `lambda_svc._esms`.
"""

import asyncio
import logging
import time
from collections.abc import Set
from itertools import accumulate
from typing import Any

from ministack.core.concurrency import esm_wake
from ministack.services import lambda_svc, sqs

from local.patches.event_loop import on_loop

_log = logging.getLogger("local.event_source_mapping")
_MAX_PAYLOAD_BYTES = 6 * 1024 * 1024
_RECORD_OVERHEAD_BYTES = 1024  # what a record's attributes add to its body, about
Message = dict[str, Any]


def apply() -> None:
    """Batch, wait and settle as Lambda's pollers do."""
    delete = sqs._delete_messages_for_esm
    sqs._receive_messages_for_esm = lambda url, size: on_loop(lambda: _take(url, int(size or 1)))
    sqs._delete_messages_for_esm = lambda url, handles: on_loop(lambda: delete(url, handles))
    lambda_svc._run_sqs_batch = _run


def _take(queue_url: str, size: int) -> list[Message]:
    """Return the next batch, or nothing while its window is open."""
    queue = sqs._get_q(queue_url)
    sqs._expire_retained(queue)
    sqs._dlq_sweep(queue)
    now = time.time()
    for message in queue["messages"]:
        sqs._ensure_msg_fields(message)
    ready = [message for message in queue["messages"] if message["visible_at"] <= now]
    full = _fitting(ready, size)
    window = _window(queue["attributes"]["QueueArn"])
    if ready and full == len(ready) < size:
        left = min(message["visible_at"] for message in ready) + window - now
        if left > 0:
            asyncio.get_running_loop().call_later(left, esm_wake.set)
            return []
    visibility = int(queue["attributes"].get("VisibilityTimeout", "30"))
    taken: list[Message] = sqs._collect_msgs(queue, full, visibility)
    return taken


def _fitting(messages: list[Message], size: int) -> int:
    """Return how many of the first messages fit into one batch: its size, and the 6 MB of an invocation."""
    sizes = accumulate(len(message["body"].encode()) + _RECORD_OVERHEAD_BYTES for message in messages[:size])
    return max(1, sum(total <= _MAX_PAYLOAD_BYTES for total in sizes))


def _window(queue_arn: str) -> float:
    """Return the batching window, in seconds, of the mapping that reads this queue."""
    mappings = (mapping for mapping in lambda_svc._esms.values() if mapping.get("EventSourceArn") == queue_arn)
    mapping: dict[str, Any] = next(mappings, {})
    return float(mapping.get("MaximumBatchingWindowInSeconds") or 0)


def _run(  # noqa: PLR0917  # the emulator's signature
    mapping: dict[str, Any],
    function: dict[str, Any],
    event: dict[str, Any],
    batch: list[Message],
    queue_url: str,
    queue_name: str,
) -> None:
    """Invoke the function with one batch and delete what it dealt with.

    What failed stays as it is: invisible until the queue's time-out, or until when the function said meanwhile.
    """
    # Read before the invocation: a message that outlives its visibility gets a new handle, which is not ours.
    handles = {message["id"]: message["receipt_handle"] for message in batch}
    result = lambda_svc._execute_function(function, event)
    failed = failed_items(result, handles.keys(), "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", []))
    done = {handle for item, handle in handles.items() if item not in failed}
    if done:
        sqs._delete_messages_for_esm(queue_url, done)
    mapping["LastProcessingResult"] = f"{'PROBLEM' if failed else 'OK'}: {len(done)} done, {len(failed)} failed"
    _log.info(
        "%s -> %s: %s\n%s", queue_name, mapping["FunctionName"], mapping["LastProcessingResult"], result.get("log", "")
    )


def failed_items(result: dict[str, Any], sent: Set[str], reports: bool) -> Set[str]:
    """Return the message IDs that Lambda counts as failed, by the function's result and the IDs it was sent."""
    if result.get("error"):
        return sent
    body = result.get("body")
    if not reports or body is None:
        return frozenset()
    failures = body.get("batchItemFailures", []) if isinstance(body, dict) else False
    if failures is None:
        return frozenset()
    if not isinstance(failures, list):
        return sent
    named: set[Any] = {failure.get("itemIdentifier") if isinstance(failure, dict) else None for failure in failures}
    return named if named <= sent else sent
