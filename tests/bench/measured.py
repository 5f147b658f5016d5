"""Makes measurements up, small enough to reckon with."""

from dataclasses import replace
from typing import TypeVar

from bench.cold import Cold, Size, Start
from bench.latency import Latency
from bench.results import Taken
from bench.scaling import Point, Scaling
from bench.storm import Storm, Storms
from bench.sweep import Sweep, Sweeps
from bench.targets import Measured
from bench.tools import NAIVE, NAIVE_COMPILED, OURS
from bench.world import Work

Value = TypeVar("Value")


def start(build: str, init: float, first: float = 200.0, peak: int = 50_000_000) -> Start:
    return Start(build, init_ms=init, first_ms=first, warm_ms=(100.0, 120.0), peak_bytes=peak, calls=6)


def cold(*, ours_init: float = 300.0) -> Cold:
    sizes = tuple(Size(build, 3_000_000, 6_000_000) for build in (OURS, NAIVE, NAIVE_COMPILED))
    starts = (
        start(OURS, ours_init),
        start(OURS, ours_init + 100),
        start(OURS, ours_init - 100),
        start(NAIVE, 1600, first=400, peak=100_000_000),
        start(NAIVE_COMPILED, 800, first=400, peak=100_000_000),
    )
    return Cold(sizes, starts)


def storm(build: str = OURS, *, calls: int = 200, lost: int = 0, clusters: int = 1) -> Storm:
    return Storm(
        build=build,
        reports=1000,
        nodes=500,
        clusters=clusters,
        seconds=10.0,
        calls={"dynamodb:BatchGetItem": calls},
        outcomes={"rebooted": 500, "duplicate": 500},
        lost=lost,
        told_twice=0,
        rebooted_twice=0,
        dead_letters=0,
    )


def work(*, calls: dict[str, int], seconds: float = 0.2, writes: int = 0, reads: float = 4) -> Work:
    return Work(
        calls=calls,
        seconds=seconds,
        cpu_seconds=seconds / 10,
        writes=writes,
        reads=reads,
        largest_item=300,
        log_bytes=500,
        peak_bytes=50_000_000,
        handed_back=0,
    )


def sweep(looked_at: int = 0, *, calls: int = 8) -> Sweep:
    return Sweep(looked_at, work(calls={"dynamodb:Query": calls}, writes=5 * looked_at, reads=4 + looked_at))


def measured(*, ours_init: float = 300.0, lost: int = 0, left: int = 0) -> Measured:
    return Measured(
        cold=cold(ours_init=ours_init),
        latency=Latency(5.0, (5.1, 5.2, 5.3)),
        storm=Storms((storm(lost=lost), storm(NAIVE, calls=5000), storm(clusters=10, calls=500))),
        sweep=Sweeps(1000, 5, (sweep(),), (sweep(600, calls=60), sweep(400 - left, calls=40))),
    )


def point(batch: int = 100, *, reports: int = 100, reboots: int = 4, largest: int = 300) -> Point:
    calls = {"sagemaker:BatchRebootClusterNodes": reboots, "dynamodb:TransactWriteItems": 16 - reboots}
    done = replace(work(calls=calls, seconds=0.5, writes=600), cpu_seconds=0.2, largest_item=largest)
    return Point(batch, reports, cluster_nodes=100, clusters=1, batch_bytes=1_000 * batch, work=done)


def scaling() -> Scaling:
    by_total = (point(), point(reports=10_100, reboots=404, largest=20_000))
    return Scaling((point(1), point(25), point()), (point(),), (point(),), by_total)


def taken(value: Value) -> Taken[Value]:
    return Taken(value, "2026-11-24", 2)
