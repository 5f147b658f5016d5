"""What a lookup at AWS can come to, and a small cache with an age limit."""

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
    """Values that a warm function remembers for `age`."""

    def __init__(self, *, age: timedelta, clock: Callable[[], datetime]) -> None:
        self._age = age
        self._clock = clock
        self._entries: dict[str, _Entry[Value]] = {}

    def get(self, key: str, find: Callable[[], Value]) -> Value:
        """The value for `key`: remembered, or found now; what `find` raises is not remembered."""
        now = self._clock()
        entry = self._entries.get(key)
        if entry is None or entry.until <= now:
            entry = self._entries[key] = _Entry(find(), now + self._age)
        return entry.value
