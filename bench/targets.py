"""What was to be reached, and what was. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.builds import NAIVE, OURS
from bench.calls import Count
from bench.cold import Cold
from bench.storm import Storm

MOST_NODES_PER_CALL = 25


@dataclass(frozen=True, slots=True)
class Target:
    """At most `bound` of `what`; `digits` is how precisely it is told."""

    what: str
    bound: float
    value: float
    digits: int = 2

    @property
    def met(self) -> bool:
        return self.value <= self.bound

    @property
    def verdict(self) -> str:
        if self.met:
            return "reached"
        by = self.value - self.bound
        share = f" ({by / self.bound:.0%})" if self.bound else ""
        return f"**missed by {by:,.{self.digits}f}{share}**"


def judged(cold: Cold, counts: Sequence[Count], storms: Sequence[Storm]) -> list[Target]:
    return [*_of_cold(cold), *_of_calls(counts), *_of_storms(storms)]


def _of_cold(cold: Cold) -> list[Target]:
    ours, naive = cold.of(OURS), cold.of(NAIVE)
    init = median(each.init_ms for each in ours) / median(each.init_ms for each in naive)
    both = median(each.init_ms + each.first_ms for each in ours) / median(
        each.init_ms + each.first_ms for each in naive
    )
    memory = median(each.peak_bytes for each in ours) / median(each.peak_bytes for each in naive)
    return [
        Target("init, of the naive build's", 0.20, init, digits=3),
        Target("init and first event, of the naive build's", 0.25, both, digits=3),
        Target("peak memory, of the naive build's", 0.60, memory),
        Target("asset, zipped, in MB", 3.5, cold.size(OURS).zipped_bytes / 1e6),
    ]


def _of_calls(counts: Sequence[Count]) -> list[Target]:
    ours = [count for count in counts if count.build == OURS]
    plain = [count for count in ours if not count.protected]
    guarded = [count for count in ours if count.protected]
    return [
        Target(
            "reboot calls that differ from ⌈n/25⌉",
            0,
            max(abs(each.reboots - least_calls(each.nodes)) for each in ours),
            0,
        ),
        Target("other SageMaker calls in a batch of one cluster", 1, max(map(_lookups, plain)), 0),
        Target("the same with a protected group (one page of ListClusterNodes)", 2, max(map(_lookups, guarded)), 0),
        Target(
            "other SageMaker calls when these are remembered", 0, max(_lookups(each) for each in ours if each.warm), 0
        ),
    ]


def _of_storms(storms: Sequence[Storm]) -> list[Target]:
    targets = []
    for ours in (storm for storm in storms if storm.build == OURS):
        [naive] = [each for each in storms if each.build == NAIVE and each.clusters == ours.clusters]
        where = f"storm over {clusters_of(ours.clusters)}"
        ratio = ours.calls_per_report / naive.calls_per_report
        targets += [
            Target(f"{where}: AWS calls per report, of the naive build's", 0.10, ratio, 3),
            Target(f"{where}: reports lost", 0, ours.lost, 0),
            Target(f"{where}: nodes rebooted twice", 0, ours.rebooted_twice, 0),
        ]
    return targets


def least_calls(nodes: int) -> int:
    return math.ceil(nodes / MOST_NODES_PER_CALL)


def clusters_of(count: int) -> str:
    return "one cluster" if count == 1 else f"{count} clusters"


def _lookups(count: Count) -> int:
    return count.of("sagemaker") - count.reboots
