"""Compares what was measured with what was to be reached. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.builds import NAIVE, OURS
from bench.cold import Cold, Start
from bench.cost import Month
from bench.latency import Latency
from bench.markdown import clusters_of
from bench.rie import CPU_SHARE
from bench.storm import Storm, Storms
from bench.sweep import Sweeps

_CALLS_PER_REPORT = {1: 0.25, 10: 0.55}  # by clusters


@dataclass(frozen=True, slots=True)
class Target:
    """Names at most `bound` of `what`. `why` is the reason for a miss, `digits` the precision in which it is told."""

    what: str
    bound: float
    value: float
    why: str
    digits: int = 2

    @property
    def met(self) -> bool:
        return self.value <= self.bound

    @property
    def verdict(self) -> str:
        """Return whether it was reached, or by how much not, and why."""
        if self.met:
            return "reached"
        by = self.value - self.bound
        share = f" ({by / self.bound:.0%})" if self.bound else ""
        return f"**missed by {by:,.{self.digits}f}{share}**: {self.why}"


@dataclass(frozen=True, slots=True)
class Measured:
    """Holds what all parts measured."""

    cold: Cold
    latency: Latency
    storm: Storms
    sweep: Sweeps


def judged(measured: Measured, idle: Month) -> list[Target]:
    """Return all targets with what was measured."""
    storms = [storm for storm in measured.storm.storms if storm.build == OURS]
    return [
        *_of_cold(measured.cold),
        _of_latency(measured.latency),
        *(target for storm in storms for target in _of_storm(storm)),
        *_of_sweeps(measured.sweep),
        Target(
            "an idle month in dollars, the key included, alarms and custom metrics aside",
            2,
            idle.total - idle.watching,
            "see the table of costs",
        ),
    ]


def _of_cold(cold: Cold) -> list[Target]:
    def ratio(value: str) -> float:
        ours, naive = ([_value(start, value) for start in cold.of(build)] for build in (OURS, NAIVE))
        return median(ours) / median(naive)

    imports = "the SDK's imports are the largest part, and the same in both builds"
    return [
        Target("init and first event, of the naive build's", 0.40, ratio("time"), imports),
        Target("peak memory, of the naive build's", 0.65, ratio("memory"), imports),
        Target("asset, zipped, in MB", 5, cold.size(OURS).zipped_bytes / 1e6, "see the largest dependencies"),
    ]


def _value(start: Start, value: str) -> float:
    return start.init_ms + start.first_ms if value == "time" else float(start.peak_bytes)


def _of_latency(latency: Latency) -> Target:
    return Target(
        "seconds from the event on the bus to its reboot call, warm, 95th percentile",
        latency.window_seconds + 1,
        percentile(latency.seconds, 0.95),
        "the function waits for five calls before the reboot",
    )


def _of_storm(storm: Storm) -> list[Target]:
    where = f"storm over {clusters_of(storm.clusters)}"
    collisions = "invocations that write one cluster's budget at the same time read and write again"
    return [
        Target(f"{where}: reports lost", 0, storm.lost, "see the outcomes", 0),
        Target(f"{where}: nodes rebooted twice", 0, storm.rebooted_twice, "see the outcomes", 0),
        Target(f"{where}: AWS calls a report", _CALLS_PER_REPORT[storm.clusters], storm.calls_per_report, collisions),
    ]


def _of_sweeps(sweeps: Sweeps) -> list[Target]:
    calls = sum(sweep.total_calls for sweep in sweeps.full) / sum(sweep.looked_at for sweep in sweeps.full)
    left = sweeps.nodes - sum(sweep.looked_at for sweep in sweeps.full[:2])
    return [
        Target(
            f"AWS calls a node and sweep, of {sweeps.nodes:,} watched nodes in {sweeps.clusters} clusters",
            0.2,
            calls,
            "see the calls below",
        ),
        Target(
            "nodes not looked at within two sweeps",
            0,
            left,
            f"to read and write an item takes processor time, and Lambda gives this function {CPU_SHARE:.0%} of a core",
            0,
        ),
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so many of all do not exceed, by the nearest rank."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
