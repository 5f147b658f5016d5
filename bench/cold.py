"""A cold start's cost: init, first event, warm events, memory; all builds in turn, in every round."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench import stages
from bench.builds import Build
from bench.reports import batch
from bench.stages import Stages
from bench.tools import BenchError
from bench.world import Bench, World, world

LATENCY_SECONDS = 0.020
ROUNDS = 24
WARM_EVENTS = 5


@dataclass(frozen=True, slots=True)
class Start:
    """One execution environment of one build: durations in milliseconds, its most resident memory in bytes."""

    build: str
    init_ms: float
    first_ms: float
    warm_ms: tuple[float, ...]
    peak_bytes: int
    calls: int


@dataclass(frozen=True, slots=True)
class Size:
    """What a build ships."""

    build: str
    zipped_bytes: int
    unpacked_bytes: int
    roots: int


@dataclass(frozen=True, slots=True)
class Cold:
    """All starts, in the order in which they were made."""

    latency_ms: float
    sizes: tuple[Size, ...]
    starts: tuple[Start, ...]
    stages: tuple[Stages, ...]

    def of(self, build: str) -> list[Start]:
        return [start for start in self.starts if start.build == build]

    def size(self, build: str) -> Size:
        return next(size for size in self.sizes if size.build == build)


def measure(bench: Bench, *, rounds: int = ROUNDS) -> Cold:
    """The first round only brings the files into memory, as equal for all builds as it can be; it is not kept."""
    with world(bench, seconds=LATENCY_SECONDS) as stage:
        starts = [start for number in range(rounds + 1) for start in _round(stage, number) if number]
        parts = stages.measure(bench, stage.variables)
    sizes = [Size(each.name, each.zipped_bytes, each.unpacked_bytes, each.roots) for each in bench.builds.values()]
    return Cold(LATENCY_SECONDS * 1000, tuple(sizes), tuple(starts), parts)


def _round(stage: World, number: int) -> Iterator[Start]:
    """Each begins with another build: what came before may still keep the machine busy."""
    builds = list(stage.bench.builds.values())
    first = number % len(builds)
    for build in builds[first:] + builds[:first]:
        yield _start(stage, build, reboots=1)
    yield _start(stage, stage.bench.empty, reboots=0)


def _start(stage: World, build: Build, *, reboots: int) -> Start:
    """Each event reports another node of one new cluster."""
    first, *more = stage.cluster(1 + WARM_EVENTS)
    stage.endpoint.forget()
    with stage.function(build) as function:
        cold = function.invoke(batch([first]))
        calls = stage.endpoint.calls.total()
        if stage.endpoint.calls["sagemaker:BatchRebootClusterNodes"] != reboots:
            raise BenchError(f"{build.name}: the first event made the calls {dict(stage.endpoint.calls)}")
        warm = tuple(function.invoke(batch([each])).duration_ms for each in more)
        return Start(build.name, function.init_ms(), cold.duration_ms, warm, function.peak_memory_bytes(), calls)
