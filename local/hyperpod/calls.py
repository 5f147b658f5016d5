"""Logs the calls of the simulated API, for tests and people to read."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """Holds a BatchRebootClusterNodes request and either its `answer` or its `error` (code and message).

    `cluster` and the IDs are what the request said; `time` in seconds since 1970; `principal` an IAM ARN if known.
    """

    time: float
    cluster: Any
    node_ids: Any
    logical_ids: Any
    principal: str | None
    answer: Mapping[str, Any] | None = None
    error: Mapping[str, str] | None = None


class CallLog:
    """Keeps every BatchRebootClusterNodes call in order, and the number of calls of each operation."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._counts: Counter[str] = Counter()

    def count(self, operation: str) -> None:
        self._counts[operation] += 1

    def add(self, call: Call) -> None:
        self._calls.append(call)

    def clear(self) -> None:
        self._calls.clear()
        self._counts.clear()

    def as_json(self) -> dict[str, Any]:
        return {"calls": [asdict(call) for call in self._calls], "counts": dict(self._counts)}
