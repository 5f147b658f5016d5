"""Reads captured events from files: one event, a list of events, or JSON lines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node_remediation.events.fields import mapping, read_time

# The time of events that come first and have none.
_NO_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class _BadInputError(Exception):
    """Says, in one line, why there is no event."""


@dataclass(frozen=True, slots=True)
class Captured:
    """An event, when it was sent, and where it is: its file and line."""

    place: str
    at: datetime
    event: Mapping[str, Any]

    @property
    def body(self) -> str:
        return json.dumps(self.event)


def read_files(files: Sequence[Path]) -> tuple[list[Captured], list[str]]:
    """Return the events of all files in the order of their times, and a line for each file or line that holds none.

    An event without a time has that of the event before it.
    """
    captured: list[Captured] = []
    problems: list[str] = []
    for file in files:
        at = _NO_TIME
        for place, value in _values(file):
            if isinstance(value, dict):
                at = _sent(value) or at
                # An archive is exported by a replay, whose mark would make each event stale.
                captured.append(Captured(place, at, {key: value[key] for key in value if key != "replay-name"}))
            else:
                wrong = value if isinstance(value, _BadInputError) else "takes an event, a JSON object"
                problems.append(f"{place}: {wrong}")
    return sorted(captured, key=lambda each: each.at), problems


def _values(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield what a file holds, each with its place; an error for what cannot be read."""
    try:
        data = file.read_bytes()
    except OSError as error:
        yield str(file), _BadInputError(error.strerror)
        return
    whole = _parsed(data)
    if isinstance(whole, list):
        yield from ((f"{file}: entry {number}", each) for number, each in enumerate(whole, 1))
        return
    lines = [(f"{file}:{number}", _parsed(line)) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    # A file of which no line is JSON is one event that is broken, not as many as it has lines.
    is_lines = not isinstance(whole, dict) and any(isinstance(value, dict) for _, value in lines)
    yield from lines if is_lines else [(str(file), whole)]


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        return _BadInputError(f"is not JSON: {' '.join(str(error).split())}")


def _sent(event: Mapping[str, Any]) -> datetime | None:
    """Return when an event was sent, in whichever form it came."""
    state = mapping(mapping(event, "alarmData"), "state")
    given = (event.get("time"), event.get("Timestamp"), event.get("StateChangeTime"), state.get("timestamp"))
    return next((time for value in given if (time := read_time(value))), None)
