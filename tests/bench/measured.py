"""Made-up measurements, small enough to reckon with."""

from typing import TypeVar

from bench.builds import EMPTY, IN_TURN, NAIVE, NAIVE_COMPILED, OURS
from bench.calls import Count
from bench.cold import Cold, Size, Start
from bench.results import Taken
from bench.scaling import Point, Scaling
from bench.stages import Stages
from bench.storm import Storm

Value = TypeVar("Value")


def start(build: str, init: float, first: float = 200.0, peak: int = 50_000_000) -> Start:
    return Start(build, init_ms=init, first_ms=first, warm_ms=(100.0, 120.0), peak_bytes=peak, calls=7)


def cold(*, ours_init: float = 200.0, zipped: int = 3_000_000) -> Cold:
    sizes = tuple(Size(build, zipped, 2 * zipped, roots=5) for build in (OURS, NAIVE, NAIVE_COMPILED))
    starts = (
        start(OURS, ours_init),
        start(OURS, ours_init + 100),
        start(OURS, ours_init - 100),
        start(NAIVE, 2000, first=400, peak=100_000_000),
        start(NAIVE_COMPILED, 800, first=400, peak=100_000_000),
        start(EMPTY, 60, first=1),
        start(IN_TURN, ours_init, first=260),
    )
    stages = tuple(Stages(build, {"boto3": 100.0}) for build in (OURS, NAIVE, NAIVE_COMPILED))
    return Cold(20.0, sizes, starts, stages)


def count(
    nodes: int = 30, *, build: str = OURS, warm: bool = False, protected: bool = False, reboots: int = 2
) -> Count:
    calls = {"sagemaker:BatchRebootClusterNodes": reboots, "dynamodb:TransactWriteItems": 5}
    calls |= {} if warm else {"sagemaker:DescribeCluster": 1}
    calls |= {"sagemaker:ListClusterNodes": 1} if protected and not warm else {}
    return Count(
        build=build,
        nodes=nodes,
        protected=protected,
        warm=warm,
        invocations=1,
        calls=calls,
        writes=100,
        reads=50,
        duration_ms=500.0,
        log_bytes=10_000,
    )


def counts() -> tuple[Count, ...]:
    return (
        count(1, reboots=1),
        count(25, reboots=1, warm=True),
        count(30),
        count(30, protected=True),
        count(30, build=NAIVE, reboots=30),
    )


def storm(build: str = OURS, *, calls: int = 100, lost: int = 0, twice: int = 0, clusters: int = 1) -> Storm:
    return Storm(
        build=build,
        latency_ms=20.0,
        reports=1000,
        nodes=500,
        clusters=clusters,
        seconds=10.0,
        calls={"dynamodb:BatchGetItem": calls},
        outcomes={"rebooted": 500, "duplicate": 500},
        lost=lost,
        told_twice=0,
        rebooted_nodes=500,
        rebooted_twice=twice,
        dead_letters=0,
    )


def storms() -> tuple[Storm, ...]:
    return (storm(), storm(NAIVE, calls=5000))


def point(batch: int = 100, *, reports: int = 100, reboots: int = 4, seconds: float = 0.5, largest: int = 300) -> Point:
    return Point(
        batch=batch,
        reports=reports,
        cluster_nodes=100,
        clusters=1,
        calls={"sagemaker:BatchRebootClusterNodes": reboots, "dynamodb:TransactWriteItems": 16 - reboots},
        seconds=seconds,
        handed_back=0,
        writes=600,
        reads=101,
        largest_item=largest,
        batch_bytes=1_000 * batch,
    )


def scaling() -> Scaling:
    by_total = (point(), point(reports=10_100, reboots=404, seconds=50.0, largest=300 + 400 * 50))
    return Scaling(20.0, (point(25, reports=50), point()), (point(), point()), (point(), point()), by_total)


def taken(value: Value) -> Taken[Value]:
    return Taken(value, "2026-11-24", 2)
