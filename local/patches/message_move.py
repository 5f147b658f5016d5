"""Gap: no redrive of dead-letter queues: no StartMessageMoveTask and no ListMessageMoveTasks.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
Touches: `sqs._HANDLERS`, `sqs._queues`, `sqs._queue_by_arn`, `sqs._Err`, `sqs._ensure_msg_fields`.
"""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from ministack.core.concurrency import esm_wake
from ministack.core.responses import new_uuid
from ministack.services import sqs

_FASTEST = 500  # messages per second, AWS's own limit


@dataclass(slots=True)
class _MoveTask:
    """Describes one move; it changes only on the event loop."""

    source_arn: str
    destination_arn: str | None
    rate: int
    to_move: int
    handle: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    started: int = field(default_factory=lambda: int(time.time() * 1000))
    status: str = "RUNNING"
    moved: int = 0
    failure: str | None = None

    def described(self) -> dict[str, Any]:
        """Return the entry of ListMessageMoveTasks."""
        entry = {
            "TaskHandle": self.handle if self.status == "RUNNING" else None,
            "Status": self.status,
            "SourceArn": self.source_arn,
            "DestinationArn": self.destination_arn,
            "MaxNumberOfMessagesPerSecond": self.rate,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure,
            "StartedTimestamp": self.started,
        }
        return {key: value for key, value in entry.items() if value is not None}


_tasks: list[_MoveTask] = []  # the newest first
_moving: set[asyncio.Task[None]] = set()  # the event loop keeps weak references only


def apply() -> None:
    """Add the two calls."""
    sqs._HANDLERS.update({"StartMessageMoveTask": _start, "ListMessageMoveTasks": _list})


def _is_dead_letter_queue(arn: str) -> bool:
    """Tell whether some queue's redrive policy names this one."""
    policies = (json.loads(queue["attributes"].get("RedrivePolicy") or "{}") for queue in sqs._queues.values())
    return any(policy.get("deadLetterTargetArn") == arn for policy in policies)


def _start(data: dict[str, Any], _url: str) -> dict[str, Any]:
    source_arn, destination_arn = data["SourceArn"], data.get("DestinationArn")
    source = _existing(source_arn, "SourceArn")
    if destination_arn:
        _existing(destination_arn, "DestinationArn")
    if not _is_dead_letter_queue(source_arn):
        raise sqs._Err("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
    if any(task.source_arn == source_arn and task.status == "RUNNING" for task in _tasks):
        raise sqs._Err("UnsupportedOperation", "There is already a task running for this source queue.")
    rate = int(data.get("MaxNumberOfMessagesPerSecond") or _FASTEST)
    task = _MoveTask(source_arn, destination_arn, rate, to_move=len(source["messages"]))
    _tasks.insert(0, task)
    mover = asyncio.get_running_loop().create_task(_move_all(task, source))
    _moving.add(mover)
    mover.add_done_callback(_moving.discard)
    return {"TaskHandle": task.handle}


def _existing(arn: str, parameter: str) -> dict[str, Any]:
    queue: dict[str, Any] | None = sqs._queue_by_arn(arn)
    if queue is None:
        raise sqs._Err(
            "ResourceNotFoundException",
            f"The resource that you specified for the {parameter} parameter doesn't exist.",
            404,
        )
    return queue


async def _move_all(task: _MoveTask, source: dict[str, Any]) -> None:
    while True:
        message = next((m for m in source["messages"] if m.get("visible_at", 0) <= time.time()), None)
        if message is None:
            task.status = "COMPLETED"
            return
        sqs._ensure_msg_fields(message)
        origin = task.destination_arn or message["sys"].get("DeadLetterQueueSourceArn")
        destination = sqs._queue_by_arn(origin) if origin else None
        if destination is None:
            task.status, task.failure = "FAILED", "CouldNotDetermineMessageSource"
            return
        source["messages"].remove(message)
        destination["messages"].append(_as_new(message))
        task.moved += 1
        esm_wake.set()
        await asyncio.sleep(1 / task.rate)


def _as_new(message: dict[str, Any]) -> dict[str, Any]:
    """Return a redriven message, which is a new one: it keeps only body and attributes."""
    now = time.time()
    system = {key: value for key, value in message["sys"].items() if key != "DeadLetterQueueSourceArn"}
    return {
        **message,
        "id": new_uuid(),
        "receipt_handle": None,
        "sent_at": now,
        "visible_at": now,
        "receive_count": 0,
        "first_receive_at": None,
        "sys": {**system, "SentTimestamp": str(int(now * 1000))},
    }


def _list(data: dict[str, Any], _url: str) -> dict[str, Any]:
    _existing(data["SourceArn"], "SourceArn")
    entries = [task.described() for task in _tasks if task.source_arn == data["SourceArn"]]
    return {"Results": entries[: int(data.get("MaxResults") or 1)]}
