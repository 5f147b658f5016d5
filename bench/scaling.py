"""Measures how calls and time per report grow: with batch, cluster, number of clusters, and what came before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.builds import OURS
from bench.reports import Report, batch, event_bytes
from bench.rie import Function
from bench.world import LATENCY_SECONDS, Bench, World, world
from node_remediation.settings import Settings

BATCH = Settings().batch_size
BATCH_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000)
CLUSTER_NODES = (100, 300, 1_000, 3_000, 10_000)
CLUSTERS = (1, 2, 5, 10, 25, 50, 100)
TOTALS = (100, 1_000, 10_000)
# Small batches are taken often enough to be measured.
_LEAST_REPORTS = 50


@dataclass(frozen=True, slots=True)
class Point:
    """Holds one measurement: `reports` of as many nodes, in batches of `batch`, by one function that was warm.

    `cpu_seconds` of `seconds` were work, the others waiting. `largest_item` is the ledger's largest item, `batch_bytes`
    the event of one invocation, `log_bytes` what the reports left in the log.
    """

    batch: int
    reports: int
    cluster_nodes: int
    clusters: int
    calls: dict[str, int]
    seconds: float
    cpu_seconds: float
    handed_back: int
    writes: int
    reads: float
    log_bytes: int
    largest_item: int
    batch_bytes: int

    @property
    def calls_per_report(self) -> float:
        return sum(self.calls.values()) / self.reports

    @property
    def ms_per_report(self) -> float:
        return self.seconds * 1000 / self.reports


@dataclass(frozen=True, slots=True)
class Scaling:
    """Holds all series, each over one size with the others fixed."""

    by_batch: tuple[Point, ...]
    by_cluster_nodes: tuple[Point, ...]
    by_clusters: tuple[Point, ...]
    by_total: tuple[Point, ...]


def measure(bench: Bench) -> Scaling:
    """Measure all series, with our build alone."""
    with world(bench, seconds=LATENCY_SECONDS) as stage:
        return Scaling(
            by_batch=tuple(_batches(stage, size) for size in BATCH_SIZES),
            by_cluster_nodes=tuple(_point(stage, [stage.cluster(nodes)], BATCH, BATCH) for nodes in CLUSTER_NODES),
            by_clusters=tuple(_spread(stage, clusters) for clusters in CLUSTERS),
            by_total=tuple(_point(stage, [stage.cluster(total)], total, BATCH) for total in TOTALS),
        )


def _batches(stage: World, size: int) -> Point:
    reports = max(size, _LEAST_REPORTS)
    return _point(stage, [stage.cluster(reports)], reports, size)


def _spread(stage: World, clusters: int) -> Point:
    """Measure one batch over so many clusters, all of them new to the function."""
    return _point(stage, [stage.cluster(BATCH // clusters) for _ in range(clusters)], BATCH, BATCH)


def _point(stage: World, clusters: Sequence[Sequence[Report]], reports: int, size: int) -> Point:
    """Warm the function by a report of another cluster, then let the reports go round the clusters."""
    together = [each for turn in zip(*clusters, strict=True) for each in turn][:reports]
    with stage.function(stage.bench.builds[OURS]) as function:
        function.invoke(batch(stage.cluster(1)))
        stage.endpoint.forget()
        return _measured(stage, function, together, size, clusters)


def _measured(
    stage: World, function: Function, reports: Sequence[Report], size: int, clusters: Sequence[Sequence[Report]]
) -> Point:
    seconds, cpu_seconds, handed_back, logged = 0.0, 0.0, 0, function.log_bytes()
    for part in _parts(reports, size):
        done = function.invoke(batch(part))
        seconds += done.duration_ms / 1000
        cpu_seconds += done.cpu_ms / 1000
        handed_back += len(done.answer["batchItemFailures"])
    return Point(
        batch=size,
        reports=len(reports),
        cluster_nodes=len(clusters[0]),
        clusters=len(clusters),
        calls=dict(stage.endpoint.calls),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        handed_back=handed_back,
        writes=stage.endpoint.units.writes,
        reads=stage.endpoint.units.reads,
        log_bytes=function.log_bytes() - logged,
        largest_item=stage.endpoint.units.largest_item,
        batch_bytes=event_bytes(reports[:size]),
    )


def _parts(reports: Sequence[Report], size: int) -> Iterator[Sequence[Report]]:
    for start in range(0, len(reports), size):
        yield reports[start : start + size]
