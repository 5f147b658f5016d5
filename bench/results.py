"""Keeps measurements as JSON under build/bench/results, one file for each part, and reads them back."""

import json
import os
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from bench.tools import WORK, BenchError

RESULTS = WORK / "results"

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Taken(Generic[Value]):
    """Holds measurements, the day on which they were taken, and the cores of the machine."""

    value: Value
    day: str
    cores: int


def save(part: str, value: Any, directory: Path = RESULTS) -> None:
    """Write what a part measured, in place of what it measured before."""
    directory.mkdir(parents=True, exist_ok=True)
    taken = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count(), "measured": asdict(value)}
    (directory / f"{part}.json").write_text(json.dumps(taken, indent=1))


def load(part: str, kind: type[Value], directory: Path = RESULTS) -> Taken[Value]:
    """Read what a part measured. Raises BenchError if it measured nothing yet."""
    file = directory / f"{part}.json"
    if not file.exists():
        raise BenchError(f"there are no measurements of the part {part} yet: python -m bench {part}")
    taken = json.loads(file.read_text())
    try:
        return Taken(_read(kind, taken["measured"]), taken["day"], taken["cores"])
    except (KeyError, TypeError) as error:
        raise BenchError(
            f"the measurements of the part {part} are of another version: python -m bench {part}"
        ) from error


def _read(kind: Any, data: Any) -> Any:
    """Return plain data as one of the annotated kind: a dataclass, a tuple of them, or what it is."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{each.name: _read(hints[each.name], data[each.name]) for each in fields(kind)})  # type: ignore[operator]  # a class
    if get_origin(kind) is tuple:
        return tuple(_read(get_args(kind)[0], each) for each in data)
    return data
