"""What a batch leaves behind for operators: one structured log line per outcome, and metrics by cluster."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from node_remediation.model import ENDS, Ending, Handling, Outcome
from node_remediation.settings import METRICS_NAMESPACE

_NO_CLUSTER = "unknown"
_WARNINGS = (Outcome.FAILED, Outcome.RETRYING, Outcome.REFUSED, Outcome.UNREADABLE, Outcome.NOT_RECOVERED)
_TOOK = {Outcome.REBOOTED: "TimeToReboot", Outcome.RECOVERED: "TimeToRecovery"}


class Telemetry(Protocol):
    """Makes each outcome visible."""

    def record(
        self, handling: Handling, *, nodes_per_call: Sequence[tuple[str, int]], now: datetime, trouble: str | None
    ) -> None:
        """Record what a batch came to.

        `nodes_per_call` has a cluster and a number of nodes for each reboot call; `trouble` says what kept handed-back
        messages from coming again at their own time.
        """


class LogsAndMetrics:
    """Telemetry with Powertools: JSON log lines and embedded metrics, both on standard output."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def record(
        self, handling: Handling, *, nodes_per_call: Sequence[tuple[str, int]], now: datetime, trouble: str | None
    ) -> None:
        if trouble:
            self._logger.warning("visibility not changed", extra={"reason": trouble})
        for ending in handling.endings:
            self._log(ending)
        for message_id, why in handling.handed_back.items():
            self._logger.warning("handed back", extra={"message_id": message_id, "reason": why})
        clusters = {_cluster(ending) for ending in handling.endings} | {cluster for cluster, _ in nodes_per_call}
        for cluster in sorted(clusters):
            endings = [ending for ending in handling.endings if _cluster(ending) == cluster]
            _put_cluster(cluster, endings, [size for name, size in nodes_per_call if name == cluster], now)

    def _log(self, ending: Ending) -> None:
        case = ending.case
        fields = {
            "event_id": case.trigger.event_id,
            "source": case.trigger.source,
            "cluster": case.cluster,
            "node": case.node.id if case.node else None,
            "outcome": ending.outcome.value,
            "code": ending.code,
            "reason": ending.reason,
            "report_time": case.trigger.time.isoformat(),
        }
        if case.check:
            fields["check"] = str(case.check.round)
        log = self._logger.warning if ending.outcome in _WARNINGS else self._logger.info
        log(f"node {ending.outcome.value.replace('_', ' ')}", extra=fields)


def _cluster(ending: Ending) -> str:
    return ending.case.cluster or _NO_CLUSTER


def _put_cluster(cluster: str, endings: Sequence[Ending], sizes: Sequence[int], now: datetime) -> None:
    metrics = EphemeralMetrics(namespace=METRICS_NAMESPACE)
    metrics.add_dimension("Cluster", cluster)
    # Long lists first: Powertools writes every 100 values by itself, and warns where nothing is left to flush.
    for size in sizes:
        metrics.add_metric("NodesPerCall", MetricUnit.Count, size)
    reports = [ending for ending in endings if ending.outcome not in ENDS and ending.case.check is None]
    for age in _ages(reports, now):
        metrics.add_metric("ReportAge", MetricUnit.Seconds, age)
    for name, seconds in _times(endings):
        metrics.add_metric(name, MetricUnit.Seconds, seconds)
    if reports:
        metrics.add_metric("Reports", MetricUnit.Count, len(reports))
    # A check that found nothing to say is no news to anybody.
    outcomes = Counter(ending.outcome for ending in endings if ending.outcome is not Outcome.WAITING)
    for outcome, count in outcomes.items():
        metrics.add_metric(metric_name(outcome), MetricUnit.Count, count)
    if reports or outcomes or sizes:
        metrics.flush_metrics()
    codes = Counter(ending.code for ending in endings if ending.outcome is Outcome.FAILED and ending.code)
    for code, count in codes.items():
        by_code = EphemeralMetrics(namespace=METRICS_NAMESPACE)
        by_code.add_dimension("Cluster", cluster)
        by_code.add_dimension("ErrorCode", code)
        by_code.add_metric("FailedByCode", MetricUnit.Count, count)
        by_code.flush_metrics()


def metric_name(outcome: Outcome) -> str:
    """`NotRecovered` for `not_recovered`."""
    return "".join(word.capitalize() for word in outcome.value.split("_"))


def _times(endings: Iterable[Ending]) -> list[tuple[str, float]]:
    timed = ((_TOOK.get(ending.outcome), ending.took) for ending in endings if not ending.told)
    return [(name, took.total_seconds()) for name, took in timed if name and took is not None]


def _ages(endings: Iterable[Ending], now: datetime) -> list[float]:
    return [max(0.0, (now - ending.case.trigger.time).total_seconds()) for ending in endings]
