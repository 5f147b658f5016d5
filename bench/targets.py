"""Compares measurements with the targets of the benchmark. Pure."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.cold import Cold, Start
from bench.cost import WATCHING
from bench.latency import Latency
from bench.storm import Storm, Storms
from bench.sweep import Sweeps
from bench.tools import NAIVE, OURS

_CALLS_PER_REPORT = {1: 0.25, 10: 0.55}  # by clusters


@dataclass(frozen=True, slots=True)
class Target:
    """Names at most `bound` of `what`. `digits` is the precision in which both numbers are shown."""

    what: str
    bound: float
    value: float
    digits: int = 2

    @property
    def verdict(self) -> str:
        """Return whether the target was reached, or by how much it was missed."""
        if self.value <= self.bound:
            return "reached"
        by = self.value - self.bound
        return f"**missed by {by:,.{self.digits}f}**" + (f" ({by / self.bound:.0%})" if self.bound else "")


@dataclass(frozen=True, slots=True)
class Measured:
    """Holds what all parts but the scaling measured."""

    cold: Cold
    latency: Latency
    storm: Storms
    sweep: Sweeps


def judged(measured: Measured, idle: Mapping[str, float]) -> list[Target]:
    """Return all targets with what was measured."""
    cold, latency, sweeps = measured.cold, measured.latency, measured.sweep
    storms = [storm for storm in measured.storm.storms if storm.build == OURS]
    looked_at = [sweep.looked_at for sweep in sweeps.full]
    calls = sum(sweep.work.total_calls for sweep in sweeps.full) / sum(looked_at)
    watched = f"{sweeps.nodes:,} watched nodes in {sweeps.clusters} clusters"
    return [
        Target(
            "init and first event, of the naive build's",
            0.40,
            _ratio(cold, lambda start: start.init_ms + start.first_ms),
        ),
        Target("peak memory, of the naive build's", 0.65, _ratio(cold, lambda start: start.peak_bytes)),
        Target("asset, zipped, in MB", 5, cold.size(OURS).zipped_bytes / 1e6),
        Target(
            "seconds from the event on the bus to its reboot call, warm, 95th percentile",
            latency.window_seconds + 1,
            percentile(latency.seconds, 0.95),
        ),
        *(target for storm in storms for target in _of_storm(storm)),
        Target(f"AWS calls a node and sweep, of {watched}", 0.2, calls),
        Target("nodes not looked at within two sweeps", 0, sweeps.nodes - sum(looked_at[:2]), 0),
        Target(
            "an idle month in dollars, with the key, without alarms and custom metrics",
            2,
            sum(idle.values()) - idle[WATCHING],
        ),
    ]


def _ratio(cold: Cold, value: Callable[[Start], float]) -> float:
    ours, naive = (median(map(value, cold.of(build))) for build in (OURS, NAIVE))
    return ours / naive


def _of_storm(storm: Storm) -> Iterator[Target]:
    where = f"storm over {clusters_of(storm.clusters)}"
    yield Target(f"{where}: reports lost", 0, storm.lost, 0)
    yield Target(f"{where}: nodes rebooted twice", 0, storm.rebooted_twice, 0)
    yield Target(f"{where}: AWS calls a report", _CALLS_PER_REPORT[storm.clusters], storm.calls_per_report)


def clusters_of(count: int) -> str:
    """Return a number of clusters in words."""
    return "one cluster" if count == 1 else f"{count} clusters"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so many of all do not exceed, by the nearest rank."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
