"""Reads the function's log: when it last swept, and what it decides as it decides it."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from smoke.stack import Stack
from tool.times import iso

# A line may arrive this much later than others of its time.
_LATE = timedelta(seconds=30)
_MOST_PAGES = 20


def last_sweep(stack: Stack, now: datetime) -> str | None:
    """Return the time of the last sweep within 10 minutes: each prints its lag."""
    found = [at for at, _, line in _lines(stack, now - timedelta(minutes=10), '"SweepLag"') if "SweepLag" in line]
    return iso(max(found)) if found else None


class Tail:
    """Follows the lines of reports and incidents, each once."""

    def __init__(self, stack: Stack, since: datetime) -> None:
        self._stack = stack
        self._since = since
        self._seen: dict[str, datetime] = {}

    def new(self) -> list[dict[str, Any]]:
        """Return the lines that came since the last time, by their times."""
        found = []
        for at, id_, line in _lines(self._stack, self._since - (_LATE if self._seen else timedelta()), ""):
            if id_ not in self._seen and ("outcome" in line or "state" in line):
                found.append((at, line))
            self._seen[id_] = at
        self._since = max([self._since, *self._seen.values()])
        self._seen = {id_: at for id_, at in self._seen.items() if at >= self._since - _LATE}
        changes = [_change(at, line) for at, line in sorted(found, key=lambda each: each[0])]
        # A report that sets off a change of its incident has a line for each; they say the same.
        reported = {(each["incident"], each["state"]) for each in changes if each["of"] == "report"}
        return [each for each in changes if each["of"] == "report" or (each["incident"], each["state"]) not in reported]


def _change(at: datetime, line: dict[str, Any]) -> dict[str, Any]:
    kept = {name: line.get(name) for name in ("cluster", "node", "code", "reason", "incident", "source")}
    return {
        "at": iso(at),
        "of": "report" if "outcome" in line else "incident",
        "state": line.get("outcome") or line.get("state"),
        **kept,
    }


def _lines(stack: Stack, since: datetime, pattern: str) -> Iterator[tuple[datetime, str, dict[str, Any]]]:
    """Return the function's own log lines since a time, with the time and ID of each."""
    asked: dict[str, Any] = {"logGroupName": stack.log_group, "startTime": int(since.timestamp() * 1_000)}
    if pattern:
        asked["filterPattern"] = pattern
    pages = stack.client("logs").get_paginator("filter_log_events").paginate(**asked)
    for number, page in enumerate(pages):
        for event in page["events"]:
            line = _read(event["message"])
            id_ = f"{event['logStreamName']} {event['timestamp']} {event['message']}"
            yield datetime.fromtimestamp(event["timestamp"] / 1_000, since.tzinfo), id_, line
        if number >= _MOST_PAGES:
            return


def _read(message: str) -> dict[str, Any]:
    try:
        line = json.loads(message)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
