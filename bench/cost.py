"""Reckons what a month costs: counted calls times list prices. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from bench.world import Work
from node_remediation.settings import FUNCTION_MEMORY_MB, SWEEP_EVERY, Settings

# US East (N. Virginia), US dollars, as AWS lists them; no free tier. Assumptions: check them before you rely on them.
LAMBDA_GB_SECOND = 0.0000133334  # arm64
LAMBDA_REQUEST = 0.20 / 1e6
SQS_REQUEST = 0.40 / 1e6
DYNAMODB_WRITE = 0.625 / 1e6
DYNAMODB_READ = 0.125 / 1e6
SNS_PUBLISH = 0.50 / 1e6
SNS_MAIL = 2.00 / 1e5
KMS_REQUEST = 0.03 / 1e4
KMS_KEY = 1.00
SCHEDULED_EVENT = 1.00 / 1e6
LOG_GB = 0.50
METRIC = 0.30
ALARM = 0.10

HOURS = 730
SWEEPS = int(timedelta(hours=HOURS) / SWEEP_EVERY)
# An event source mapping with a maximum concurrency asks its queue with five pollers without a pause, 20 s each time
# ("Configuring scaling behavior for SQS event source mappings").
POLLERS, POLL_SECONDS = 5, 20
MESSAGES_PER_CALL = 10
# A queue asks for its data key every 5 minutes, for sending and for receiving; a table likewise.
KEY_PERIODS = HOURS * 12
# Not measured.
CLUSTERS = 10
METRICS_PER_CLUSTER = 9
SWEEP_METRICS = 2
FAILING_SHARE = 0.05
# Looks at a rebooted node of which nobody says that it is well.
LOOKS = -(-Settings().verify_timeout // Settings().verify_after)


WATCHING = "metrics, alarm"


@dataclass(frozen=True, slots=True)
class Use:
    """Holds what one invocation of `reports` took, or the part of it that one node took."""

    seconds: float
    writes: float
    reads: float
    log_bytes: float
    reports: int = 0

    @classmethod
    def of(cls, works: Sequence[Work], *, parts: float, reports: int = 0) -> "Use":
        """Return one of so many equal parts of these invocations."""
        seconds, writes, reads, log_bytes = (
            sum(getattr(work, each) for work in works) / parts for each in ("seconds", "writes", "reads", "log_bytes")
        )
        return cls(seconds, writes, reads, log_bytes, reports)

    @property
    def ledger(self) -> float:
        return self.writes * DYNAMODB_WRITE + self.reads * DYNAMODB_READ

    @property
    def time(self) -> float:
        return self.seconds * FUNCTION_MEMORY_MB / 1024 * LAMBDA_GB_SECOND

    @property
    def logs(self) -> float:
        return self.log_bytes / 1e9 * LOG_GB


def month(reports: int, *, each: Use, look: Use, sweep: Use) -> dict[str, float]:
    """Return the dollars of a month by what they are paid for, of so many reports that come as in `each`.

    All are rebooted. `look` is one node's part of a sweep that looks at it, `sweep` one that finds nothing.
    """
    invocations, looks = reports / each.reports, reports * LOOKS
    taken = 2 * -(-each.reports // MESSAGES_PER_CALL) * invocations
    polls = POLLERS * HOURS * 3600 / POLL_SECONDS
    requests = LAMBDA_REQUEST * (invocations + SWEEPS)
    metrics = SWEEP_METRICS + CLUSTERS * METRICS_PER_CLUSTER * min(1.0, reports / CLUSTERS / HOURS)
    # A letter for each failure; a notice and a mail for each invocation with one.
    failing = reports * FAILING_SHARE
    return {
        "function": requests + invocations * each.time + looks * look.time + SWEEPS * sweep.time,
        "queues": (reports + taken + polls) * SQS_REQUEST,
        "ledger": invocations * each.ledger + looks * look.ledger + SWEEPS * sweep.ledger,
        "logs": invocations * each.logs + looks * look.logs + SWEEPS * sweep.logs,
        "schedule": SWEEPS * SCHEDULED_EVENT,
        "failures": failing * SQS_REQUEST + min(failing, invocations) * (SNS_PUBLISH + SNS_MAIL),
        "key": KMS_KEY + (KEY_PERIODS + 2 * min(invocations, KEY_PERIODS)) * KMS_REQUEST,
        WATCHING: ALARM + metrics * METRIC,
    }
