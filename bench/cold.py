"""Measures a cold start: init, first event, warm events, memory, size; all builds in turn, in every round."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.reports import batch
from bench.tools import BenchError, Build
from bench.world import LATENCY_SECONDS, Bench, BenchAccount, world

ROUNDS = 15
WARM_EVENTS = 5


@dataclass(frozen=True, slots=True)
class Start:
    """Holds one execution environment of one build: durations in milliseconds, its most resident memory in bytes."""

    build: str
    init_ms: float
    first_ms: float
    warm_ms: tuple[float, ...]
    peak_bytes: int
    calls: int


@dataclass(frozen=True, slots=True)
class Size:
    """Holds the size of what a build ships."""

    build: str
    zipped_bytes: int
    unpacked_bytes: int


@dataclass(frozen=True, slots=True)
class Cold:
    """Holds all starts, in the order in which they were made."""

    sizes: tuple[Size, ...]
    starts: tuple[Start, ...]

    def of(self, build: str) -> list[Start]:
        return [start for start in self.starts if start.build == build]

    def size(self, build: str) -> Size:
        return next(size for size in self.sizes if size.build == build)


def measure(bench: Bench, *, rounds: int = ROUNDS) -> Cold:
    """Measure in rounds. One before the first only brings the files into memory and is not kept."""
    with world(bench, seconds=LATENCY_SECONDS) as stage:
        starts = [start for number in range(rounds + 1) for start in _round(stage, number) if number]
    return Cold(tuple(map(_size, bench.builds.values())), tuple(starts))


def _size(build: Build) -> Size:
    unpacked = sum(path.stat().st_size for path in build.asset.rglob("*") if path.is_file())
    return Size(build.name, build.archive.stat().st_size, unpacked)


def _round(stage: BenchAccount, number: int) -> Iterator[Start]:
    """Begin with another build each time: the one before may still keep the machine busy."""
    builds = list(stage.bench.builds.values())
    first = number % len(builds)
    for build in builds[first:] + builds[:first]:
        yield _start(stage, build)


def _start(stage: BenchAccount, build: Build) -> Start:
    """Start an execution environment; each event reports another node of one new cluster."""
    first, *more = stage.cluster(1 + WARM_EVENTS)
    stage.endpoint.forget()
    with stage.function(build) as function:
        cold = function.invoke(batch([first]))
        calls = stage.endpoint.calls.total()
        if stage.endpoint.calls["sagemaker:BatchRebootClusterNodes"] != 1:
            raise BenchError(f"{build.name}: the first event made the calls {dict(stage.endpoint.calls)}")
        warm = tuple(function.invoke(batch([each])).duration_ms for each in more)
        return Start(build.name, function.init_ms(), cold.duration_ms, warm, function.peak_memory_bytes(), calls)
