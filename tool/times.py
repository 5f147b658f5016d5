"""Reads and writes times and durations as people do."""

import re
from datetime import UTC, datetime, timedelta

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST = timedelta(days=3_650)


def now() -> datetime:
    return datetime.now(UTC)


def read_duration(text: str) -> timedelta:
    """Read a duration such as 90s, 30m, 24h or 7d. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    duration = timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match else timedelta()
    if not timedelta() < duration <= _LONGEST:
        raise ValueError(f"takes a duration such as 90s, 30m, 24h or 7d, not {text!r}")
    return duration


def read_time(text: str) -> datetime:
    """Read a time with its zone, such as 2026-12-01T06:00Z. Raises ValueError."""
    try:
        time = datetime.fromisoformat(text.upper())
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"takes a time with its zone, such as 2026-12-01T06:00Z, not {text!r}")
    return time.astimezone(UTC)


def iso(time: datetime | None) -> str | None:
    """Write a time for machines."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if time else None


def shown(time: str | None) -> str:
    """Write for people what `iso` wrote."""
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S}" if time else "-"


def ago(time: str | None, of: datetime) -> str:
    """Say how far a time is from another, in the largest unit that fits twice."""
    if time is None:
        return "never"
    seconds = int((of - datetime.fromisoformat(time)).total_seconds())
    size, unit = next(((size, unit) for unit, size in reversed(_UNITS.items()) if abs(seconds) >= 2 * size), (1, "s"))
    return f"{seconds // size}{unit} ago" if seconds >= 0 else f"in {-seconds // size}{unit}"
