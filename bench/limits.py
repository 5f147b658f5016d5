"""Measurements carried on paper to a region-wide failure: what each quota and setting lets through. Pure."""

from dataclasses import dataclass

from bench.scaling import BATCH, Point, Scaling

# AWS's own, as its documentation states them for a new account or table; the account's may be higher.
TABLE_WRITES = 4_000  # "Initial throughput for on-demand capacity mode"
PARTITION_WRITES = 1_000  # "Best practices for designing partition keys"
ITEM_BYTES = 400 * 1024  # "Quotas in Amazon DynamoDB"
PAYLOAD_BYTES = 6_291_456  # "Lambda quotas", synchronous invocation
FUNCTIONS = 1_000  # concurrent executions in a region
IN_FLIGHT = 120_000  # "Amazon SQS message quotas"
# This project's settings and constants (README; node_remediation/settings.py, remediate.py, reboot.py).
MAX_CONCURRENCY = 5
MAX_REPORT_AGE_SECONDS = 3_600
TIMEOUT_SECONDS = 60
CALL_RESERVE_SECONDS = 25
NODES_PER_CALL = 25
LATENCIES_MS = (20, 50, 100)
FAILURES = (10_000, 100_000, 1_000_000)

_UNIT = 1024
_TRANSACTIONAL = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """Batches of the default size, of one cluster each: own work in seconds, and calls that wait for AWS."""

    calls: float
    own_seconds: float
    writes: float
    reboot_calls: float

    def batch_seconds(self, latency_ms: float) -> float:
        return self.own_seconds + self.calls * latency_ms / 1000

    def per_second(self, latency_ms: float, functions: int = MAX_CONCURRENCY) -> float:
        """Reports a second, so many functions side by side that do not hinder each other."""
        return functions * BATCH / self.batch_seconds(latency_ms)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many reports a second something lets through, and what a person does about it."""

    name: str
    per_second: float
    remedy: str


def pace(measured: Scaling) -> Pace:
    point = next(point for point in measured.by_batch if point.batch == BATCH)
    batches = point.reports / point.batch
    calls = sum(point.calls.values()) / batches
    waited = calls * measured.latency_ms / 1000
    reboots = point.calls.get("sagemaker:BatchRebootClusterNodes", 0) / batches
    return Pace(calls, max(0.0, point.seconds / batches - waited), point.writes / batches, reboots)


def budget_bytes_per_call(points: tuple[Point, ...]) -> float:
    """What one reboot call adds to its cluster's budget item, from the smallest and the largest sum of reports."""
    first, last = points[0], points[-1]
    calls = _reboots(last) - _reboots(first)
    return (last.largest_item - first.largest_item) / calls


def limits(measured: Scaling, latency_ms: float) -> list[Limit]:
    """The tightest first."""
    going = pace(measured)
    last = measured.by_total[-1]
    budget_writes = _TRANSACTIONAL * -(-last.largest_item // _UNIT)
    found = [
        Limit(
            f"`max_concurrency` {MAX_CONCURRENCY}",
            going.per_second(latency_ms),
            "raise `max_concurrency` (up to 1,000)",
        ),
        Limit(
            f"new on-demand table: {TABLE_WRITES:,} write units a second",
            TABLE_WRITES / (going.writes / BATCH),
            "warm throughput for the table, before it is needed; by itself it grows to twice its peak in 30 minutes",
        ),
        Limit(
            f"one cluster's budget item after {last.reports:,} reboots in `budget_window` ({last.largest_item / 1000:.0f} kB): {PARTITION_WRITES:,} write units a second",  # noqa: E501
            NODES_PER_CALL * PARTITION_WRITES / budget_writes,
            "a shorter `budget_window`; lower `max_concurrency`, for what collides there is tried again",
        ),
        Limit(
            f"{FUNCTIONS:,} concurrent executions in the region",
            going.per_second(latency_ms, FUNCTIONS),
            "a quota increase, and reserved concurrency where other functions compete",
        ),
    ]
    return sorted(found, key=lambda limit: limit.per_second)


def most_in_a_batch(point: Point) -> tuple[int, int]:
    """Reports that fit into one invocation: by its payload, and by the time before its call reserve."""
    by_size = PAYLOAD_BYTES * point.batch // point.batch_bytes
    by_time = int((TIMEOUT_SECONDS - CALL_RESERVE_SECONDS) / (point.seconds / point.reports))
    return by_size, by_time


def most_nodes_of_a_budget(points: tuple[Point, ...]) -> int:
    """Nodes of one cluster that can be rebooted within a budget window before the budget's item is full."""
    return int(ITEM_BYTES / budget_bytes_per_call(points) * NODES_PER_CALL)


def _reboots(point: Point) -> int:
    return point.calls.get("sagemaker:BatchRebootClusterNodes", 0)
