"""Extrapolates the measurements to a failure of a whole region: what each quota and setting lets through. Pure."""

from dataclasses import dataclass

from bench.capacity import TRANSACTIONAL, units
from bench.rie import CPU_SHARE
from bench.scaling import BATCH, Point, Scaling
from bench.world import LATENCY_SECONDS
from node_remediation.remediate import NODES_PER_WRITE, RESERVE
from node_remediation.settings import FUNCTION_TIMEOUT, Settings

# AWS's own, as its documentation states them for a new account or table; the account's may be higher.
TABLE_WRITES = 4_000  # "Initial throughput for on-demand capacity mode"
PARTITION_WRITES = 1_000  # "Best practices for designing partition keys"
PAYLOAD_BYTES = 6_291_456  # "Lambda quotas", synchronous invocation
FUNCTIONS = 1_000  # concurrent executions in a region
MAX_CONCURRENCY = Settings().max_concurrency


@dataclass(frozen=True, slots=True)
class Pace:
    """Holds what a batch of the default size, of one cluster, takes: own work in seconds, and calls to wait for.

    On Lambda, whose share of a core makes the function's own work longer.
    """

    own_seconds: float
    calls: float

    def per_second(self, latency: float, functions: int = MAX_CONCURRENCY) -> float:
        """Return the reports a second of so many functions side by side that do not hinder each other."""
        return functions * BATCH / (self.own_seconds + self.calls * latency)


def pace(measured: Scaling) -> Pace:
    work = _default(measured).work
    batches = _default(measured).reports / BATCH
    return Pace(work.cpu_seconds / CPU_SHARE / batches, work.total_calls / batches)


def limits(measured: Scaling, latency: float = LATENCY_SECONDS) -> list[tuple[str, float, str]]:
    """Return each limit, the tightest first: its name, the reports a second, and what an operator can do about it."""
    point, last = _default(measured), measured.by_total[-1]
    item = last.work.largest_item
    found = [
        (
            f"`max_concurrency` {MAX_CONCURRENCY}",
            pace(measured).per_second(latency),
            "raise it (up to 1,000)",
        ),
        (
            f"new on-demand table: {TABLE_WRITES:,} write units a second",
            TABLE_WRITES * point.reports / point.work.writes,
            "warm throughput for the table, in advance; by itself it grows to twice its peak in 30 minutes",
        ),
        (
            f"one cluster's budget item ({item / 1000:.0f} kB after {last.reports:,} reboots):"
            f" {PARTITION_WRITES:,} write units a second",
            NODES_PER_WRITE * PARTITION_WRITES / (TRANSACTIONAL * units(item)),
            "lower `max_concurrency`: writes that conflict are tried again",
        ),
        (
            f"{FUNCTIONS:,} concurrent executions in the region",
            pace(measured).per_second(latency, FUNCTIONS),
            "a quota increase, and reserved concurrency where other functions compete",
        ),
    ]
    return sorted(found, key=lambda limit: limit[1])


def most_in_a_batch(point: Point) -> tuple[int, int]:
    """Return how many reports fit into one invocation: by its payload, and by the time before its last call."""
    seconds = point.work.cpu_seconds / CPU_SHARE + point.work.total_calls * LATENCY_SECONDS
    by_time = (FUNCTION_TIMEOUT.total_seconds() - RESERVE) / (seconds / point.reports)
    return PAYLOAD_BYTES * point.batch // point.batch_bytes, int(by_time)


def _default(measured: Scaling) -> Point:
    return next(point for point in measured.by_batch if point.batch == BATCH)
