"""Carries measurements on to a region-wide failure, on paper: what each quota and setting lets through. Pure."""

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
IN_FLIGHT = 120_000  # "Amazon SQS message quotas"
MAX_CONCURRENCY = Settings().max_concurrency
REBOOT = "sagemaker:BatchRebootClusterNodes"


@dataclass(frozen=True, slots=True)
class Pace:
    """Holds what a batch of the default size, of one cluster, takes: own work in seconds, and calls to wait for."""

    calls: float
    own_seconds: float
    writes: float
    reboot_calls: float

    def batch_seconds(self, latency: float) -> float:
        return self.own_seconds + self.calls * latency

    def per_second(self, latency: float, functions: int = MAX_CONCURRENCY) -> float:
        """Return the reports a second of so many functions side by side that do not hinder each other."""
        return functions * BATCH / self.batch_seconds(latency)


@dataclass(frozen=True, slots=True)
class Limit:
    """Names how many reports a second something lets through, and what an operator can do about it."""

    name: str
    per_second: float
    remedy: str


def pace(measured: Scaling) -> Pace:
    """Return the pace on Lambda, whose share of a core makes the function's own work longer."""
    point = next(point for point in measured.by_batch if point.batch == BATCH)
    batches = point.reports / point.batch
    return Pace(
        calls=sum(point.calls.values()) / batches,
        own_seconds=point.cpu_seconds / CPU_SHARE / batches,
        writes=point.writes / batches,
        reboot_calls=point.calls.get(REBOOT, 0) / batches,
    )


def limits(measured: Scaling, latency: float = LATENCY_SECONDS) -> list[Limit]:
    """Return the limits, the tightest first."""
    going, last = pace(measured), measured.by_total[-1]
    budget = f"one cluster's budget item ({last.largest_item / 1000:.0f} kB after {last.reports:,} reboots)"
    found = [
        Limit(
            f"`max_concurrency` {MAX_CONCURRENCY}", going.per_second(latency), "raise `max_concurrency` (up to 1,000)"
        ),
        Limit(
            f"new on-demand table: {TABLE_WRITES:,} write units a second",
            TABLE_WRITES / (going.writes / BATCH),
            "warm throughput for the table, before it is needed; by itself it grows to twice its peak in 30 minutes",
        ),
        Limit(
            f"{budget}: {PARTITION_WRITES:,} write units a second",
            NODES_PER_WRITE * PARTITION_WRITES / (TRANSACTIONAL * units(last.largest_item)),
            "lower `max_concurrency`: what collides there is tried again",
        ),
        Limit(
            f"{FUNCTIONS:,} concurrent executions in the region",
            going.per_second(latency, FUNCTIONS),
            "a quota increase, and reserved concurrency where other functions compete",
        ),
    ]
    return sorted(found, key=lambda limit: limit.per_second)


def most_in_a_batch(point: Point) -> tuple[int, int]:
    """Return how many reports fit into one invocation: by its payload, and by the time before its last call."""
    seconds = point.cpu_seconds / CPU_SHARE + sum(point.calls.values()) * LATENCY_SECONDS
    by_time = (FUNCTION_TIMEOUT.total_seconds() - RESERVE) / (seconds / point.reports)
    return PAYLOAD_BYTES * point.batch // point.batch_bytes, int(by_time)
