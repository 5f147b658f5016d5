"""Raw measurements as JSON under build/bench/results, one file per part, and how each reads back."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.calls import Count
from bench.cold import Cold, Size, Start
from bench.scaling import Point, Scaling
from bench.stages import Stages
from bench.storm import Storm
from bench.tools import WORK, BenchError

RESULTS = WORK / "results"

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Taken(Generic[Value]):
    """Measurements, the day on which they were taken, and the cores of the machine."""

    value: Value
    day: str
    cores: int


def save(part: str, value: Any, directory: Path = RESULTS) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    data = [asdict(each) for each in value] if isinstance(value, tuple) else asdict(value)
    taken = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), "measured": data}
    (directory / f"{part}.json").write_text(json.dumps(taken, indent=1))


def load_cold(directory: Path = RESULTS) -> Taken[Cold]:
    return _load(directory, "cold", _cold)


def load_calls(directory: Path = RESULTS) -> Taken[tuple[Count, ...]]:
    return _load(directory, "calls", lambda data: tuple(Count(**each) for each in data))


def load_storm(directory: Path = RESULTS) -> Taken[tuple[Storm, ...]]:
    return _load(directory, "storm", lambda data: tuple(Storm(**each) for each in data))


def load_scaling(directory: Path = RESULTS) -> Taken[Scaling]:
    return _load(directory, "scaling", _scaling)


def _load(directory: Path, part: str, read: Callable[[Any], Value]) -> Taken[Value]:
    file = directory / f"{part}.json"
    if not file.exists():
        raise BenchError(f"there are no measurements of the part {part} yet: python -m bench {part}")
    taken = json.loads(file.read_text())
    return Taken(read(taken["measured"]), taken["day"], taken["cores"])


def _cold(data: Mapping[str, Any]) -> Cold:
    starts = tuple(Start(**{**each, "warm_ms": tuple(each["warm_ms"])}) for each in data["starts"])
    sizes = tuple(Size(**each) for each in data["sizes"])
    return Cold(data["latency_ms"], sizes, starts, tuple(Stages(**each) for each in data["stages"]))


def _scaling(data: Mapping[str, Any]) -> Scaling:
    sweeps = {name: tuple(Point(**each) for each in points) for name, points in data.items() if name != "latency_ms"}
    return Scaling(latency_ms=data["latency_ms"], **sweeps)
