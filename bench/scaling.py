"""Measures how calls and time per report grow: with batch, cluster, number of clusters, and what came before."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bench.reports import SentReport, batch
from bench.tools import OURS
from bench.world import LATENCY_SECONDS, Bench, BenchAccount, Work, world
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
    """Holds one measurement: `reports` of as many nodes, in batches of `batch` reports, each event of `batch_bytes`."""

    batch: int
    reports: int
    cluster_nodes: int
    clusters: int
    batch_bytes: int
    work: Work


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


def _batches(stage: BenchAccount, size: int) -> Point:
    reports = max(size, _LEAST_REPORTS)
    return _point(stage, [stage.cluster(reports)], reports, size)


def _spread(stage: BenchAccount, clusters: int) -> Point:
    """Measure one batch over so many clusters, all of them new to the function."""
    return _point(stage, [stage.cluster(BATCH // clusters) for _ in range(clusters)], BATCH, BATCH)


def _point(stage: BenchAccount, clusters: Sequence[Sequence[SentReport]], reports: int, size: int) -> Point:
    """Warm the function by a report of another cluster, then let the reports go round the clusters."""
    together = [each for turn in zip(*clusters, strict=True) for each in turn][:reports]
    event_bytes = len(json.dumps(batch(together[:size]), separators=(",", ":")))
    with stage.function(stage.bench.builds[OURS]) as function:
        function.invoke(batch(stage.cluster(1)))
        work = stage.work(function, (batch(together[start : start + size]) for start in range(0, reports, size)))
    return Point(size, reports, len(clusters[0]), len(clusters), event_bytes, work)
