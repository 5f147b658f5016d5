"""Gap: PutEvents ignores an entry's `Time`, so that nothing can be tested with an event that comes late.

Touches: `eventbridge._put_events`, `eventbridge._now_ts`, `eventbridge._coerce_timestamp`.
"""

import json
from contextvars import ContextVar
from typing import Any

from ministack.services import eventbridge

_claimed: ContextVar[float | None] = ContextVar("local_event_time", default=None)
_MAX_ENTRIES = 10


def apply() -> None:
    """Give each event the time that its sender claims."""
    put, now = eventbridge._put_events, eventbridge._now_ts

    def put_events(data: dict[str, Any], allow_aws_source: bool = False) -> Any:
        entries = data.get("Entries") or []
        if len(entries) > _MAX_ENTRIES or not any(entry.get("Time") for entry in entries):
            return put(data, allow_aws_source)
        answers = [_put_one(put, entry, allow_aws_source) for entry in entries]
        status, headers, _ = answers[0]
        return status, headers, _merged([json.loads(body) for _, _, body in answers])

    eventbridge._now_ts = lambda: _claimed.get() or now()
    eventbridge._put_events = put_events


def _put_one(put: Any, entry: dict[str, Any], allow_aws_source: bool) -> Any:
    claimed = entry.get("Time")
    token = _claimed.set(float(eventbridge._coerce_timestamp(claimed)) if claimed else None)
    try:
        return put({"Entries": [entry]}, allow_aws_source)
    finally:
        _claimed.reset(token)


def _merged(answers: list[dict[str, Any]]) -> bytes:
    results = [result for answer in answers for result in answer["Entries"]]
    return json.dumps(
        {"FailedEntryCount": sum(answer["FailedEntryCount"] for answer in answers), "Entries": results}
    ).encode()
