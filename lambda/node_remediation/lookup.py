"""What a lookup at AWS can come to, and a small cache with age limits."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from node_remediation.awserrors import CallError

Value = TypeVar("Value")


class LookupFailedError(Exception):
    """A fact could not be had; `error` says why. Facts that cannot be had never lead to a reboot."""

    def __init__(self, error: CallError) -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Value]):
    value: Value
    until: datetime


class Cache(Generic[Value]):
    """Values that a warm function remembers, each for an age of its own."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry[Value]] = {}

    def recall(self, key: str) -> Value | None:
        """The value that is remembered for `key`; None if there is none, or it is too old."""
        entry = self._entries.get(key)
        return entry.value if entry and entry.until > self._clock() else None

    def remember(self, key: str, value: Value, age: timedelta) -> Value:
        self._entries[key] = _Entry(value, self._clock() + age)
        return value
