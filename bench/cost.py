"""What a month costs: counted calls times list prices. Pure."""

from dataclasses import dataclass

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
LOG_GB = 0.50
METRIC = 0.30
ALARM = 0.10

HOURS = 730
MEMORY_GB = 0.5
# A queue with a maximum concurrency is asked by five pollers without a pause, 20 s each time ("Configuring scaling
# behavior for SQS event source mappings").
POLLERS, POLL_SECONDS = 5, 20
MESSAGES_PER_CALL = 10
# A queue asks for its data key every 5 minutes, for sending and for receiving.
KEY_PERIODS = HOURS * 12
# What the measurements do not say.
CLUSTERS = 10
METRICS_PER_CLUSTER = 6
FAILING_SHARE = 0.05
# Checks of each reboot: as many as the defaults of verify_after and verify_timeout make where nobody reports health.
CHECKS = 3


@dataclass(frozen=True, slots=True)
class Invocation:
    """What one invocation for `reports` reports took; `sqs_calls`, `sns_calls`: requests that it made itself."""

    reports: int
    seconds: float
    writes: float
    reads: float
    log_bytes: float
    sqs_calls: float = 0
    sns_calls: float = 0


@dataclass(frozen=True, slots=True)
class Month:
    """Dollars by what they are paid for."""

    lambda_: float
    queues: float
    ledger: float
    logs: float
    metrics: float
    failures: float
    fixed: float

    @property
    def total(self) -> float:
        return self.lambda_ + self.queues + self.ledger + self.logs + self.metrics + self.failures + self.fixed


def month(reports: int, each: Invocation) -> Month:
    """A month of so many reports that come as this invocation's did, each with its checks.

    A check is taken to cost what its report did, which is more than it does: it claims and calls nothing.
    """
    invocations = reports / each.reports * (1 + CHECKS)
    return Month(
        lambda_=invocations * (LAMBDA_REQUEST + each.seconds * MEMORY_GB * LAMBDA_GB_SECOND),
        queues=_queue_requests(reports, each, invocations) * SQS_REQUEST,
        ledger=invocations * (each.writes * DYNAMODB_WRITE + each.reads * DYNAMODB_READ),
        logs=invocations * each.log_bytes / 1e9 * LOG_GB,
        metrics=CLUSTERS * METRICS_PER_CLUSTER * METRIC * min(1.0, reports / CLUSTERS / HOURS),
        failures=_failures(reports, reports / each.reports) + invocations * each.sns_calls * SNS_PUBLISH,
        fixed=KMS_KEY + ALARM + 2 * min(invocations, KEY_PERIODS) * KMS_REQUEST,
    )


def idle() -> Month:
    """A month in which nothing is reported."""
    nothing = Invocation(reports=1, seconds=0, writes=0, reads=0, log_bytes=0)
    return month(0, nothing)


def _queue_requests(reports: int, each: Invocation, invocations: float) -> float:
    """A report is sent once, each check by the call before it; all are received and deleted up to ten at a time.

    The rest are polls that find nothing.
    """
    taken = 2 * -(-each.reports // MESSAGES_PER_CALL) * invocations
    polls = POLLERS * HOURS * 3600 / POLL_SECONDS
    return reports + taken + each.sqs_calls * invocations + polls


def _failures(reports: int, invocations: float) -> float:
    """A dead letter each; a notification and a mail for each invocation with one, or each report if they are fewer."""
    failing = reports * FAILING_SHARE
    told = min(failing, invocations)
    return failing * SQS_REQUEST + told * (SNS_PUBLISH + SNS_MAIL)
