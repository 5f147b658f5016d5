"""Writes log lines and metrics for operators: one line per report's outcome and per incident's change."""

import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from node_remediation.model import (
    EARLY_ENDS,
    LATE_ENDS,
    LONGEST_API_TEXT,
    Answer,
    Change,
    Outcome,
    Result,
    bounded,
    metric_name,
)
from node_remediation.settings import METRICS_NAMESPACE

_NO_CLUSTER = "unknown"
_LONGEST_DIMENSION = 255
_WARNINGS = frozenset(
    {Outcome.FAILED, Outcome.RETRYING, Outcome.REFUSED, Outcome.UNREADABLE, Outcome.NOT_RECOVERED, Outcome.UNVERIFIED}
)
_TIMES: Mapping[str, str] = {Outcome.REBOOTED: "TimeToReboot", Outcome.RECOVERED: "TimeToRecovery"}
# The units of metrics that are no counts.
_UNITS = dict.fromkeys((*_TIMES.values(), "ReportAge", "SweepLag", "OldestUnsent"), MetricUnit.Seconds)
_UNITS |= {"BudgetUsed": MetricUnit.Percent}


class Telemetry(Protocol):
    """Makes visible what became of each report and each incident."""

    def record(
        self,
        results: Sequence[Result],
        changes: Sequence[Change],
        *,
        nodes_per_call: Sequence[tuple[str, int]],
        budget_used: Mapping[str, float],
        handed_back: Mapping[str, str],
        now: datetime,
        trouble: str | None,
    ) -> None:
        """Record what an invocation came to.

        `nodes_per_call` has a cluster and a number of nodes for each reboot call, `budget_used` by cluster the share of
        its budget that is spent, in percent. `handed_back` has the reason by message ID, `trouble` why the time at
        which messages come again could not be set.
        """

    def sweep(self, *, lag: float, oldest_unsent: float) -> None:
        """Record how late a sweep found what was due, and the age of the oldest unsent entry, in seconds."""

    def canary(self) -> None:
        """Record that the stack's own daily event came through."""

    def unrecorded(self, cluster: str, answers: Sequence[Answer]) -> None:
        """Log answers to a reboot call, whole, that could not be saved."""

    def error(self, text: str, **fields: str | None) -> None:
        """Log a fault of this system, with the exception that is being handled."""


class LogsAndMetrics:
    """Telemetry with Powertools: JSON log lines and embedded metrics, both on standard output."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def record(
        self,
        results: Sequence[Result],
        changes: Sequence[Change],
        *,
        nodes_per_call: Sequence[tuple[str, int]],
        budget_used: Mapping[str, float],
        handed_back: Mapping[str, str],
        now: datetime,
        trouble: str | None,
    ) -> None:
        if trouble:
            self._logger.warning("visibility not changed", extra=_fields(reason=trouble))
        for message_id, why in handed_back.items():
            self._logger.warning("handed back", extra=_fields(message_id=message_id, reason=why))
        for result in results:
            self._log_result(result)
        for change in changes:
            self._log_change(change)
        clusters = [each.cluster for each in results] + [each.cluster for each in changes]
        clusters += [*(cluster for cluster, _ in nodes_per_call), *budget_used]
        for name in sorted(set(map(_dimension, clusters))):
            of_results = [result for result in results if _dimension(result.cluster) == name]
            of_changes = [change for change in changes if _dimension(change.cluster) == name]
            values = _values(of_results, of_changes, now)
            values["NodesPerCall"] += [size for cluster, size in nodes_per_call if _dimension(cluster) == name]
            values["BudgetUsed"] += [used for cluster, used in budget_used.items() if _dimension(cluster) == name]
            _put({"Cluster": name}, values)
            for code, count in _failures(of_results, of_changes).items():
                _put({"Cluster": name, "ErrorCode": code}, {"FailedByCode": [count]})

    def _log_result(self, result: Result) -> None:
        log = self._logger.warning if result.outcome in _WARNINGS else self._logger.info
        fields = _fields(
            incident=result.incident,
            event_id=result.trigger.event_id,
            source=result.trigger.source,
            cluster=result.cluster,
            node=result.node.id if result.node else None,
            outcome=result.outcome.value,
            code=result.code,
            reason=result.reason,
            report_time=result.trigger.time.isoformat(),
        )
        log(f"report {result.outcome.value}", extra=fields)

    def _log_change(self, change: Change) -> None:
        log = self._logger.warning if change.state in _WARNINGS else self._logger.info
        fields = _fields(
            incident=change.incident,
            cluster=change.cluster,
            node=change.node,
            state=change.state,
            code=change.code,
            reason=change.reason,
        )
        log(f"incident {change.state.replace('_', ' ')}", extra=fields)

    def sweep(self, *, lag: float, oldest_unsent: float) -> None:
        _put({}, {"SweepLag": [lag], "OldestUnsent": [oldest_unsent]})

    def canary(self) -> None:
        _put({}, {"Canary": [1]})

    def unrecorded(self, cluster: str, answers: Sequence[Answer]) -> None:
        for each in answers:
            fields = _fields(
                cluster=cluster, node=each.node.id, result=each.result.value, code=each.code, reason=each.message
            )
            self._logger.error("answer not saved", extra=fields)

    def error(self, text: str, **fields: str | None) -> None:
        kind = sys.exc_info()[0]
        if kind:
            # Not as exc_info: one lone surrogate in the text would lose the line.
            fields |= {"exception_name": kind.__name__, "exception": traceback.format_exc()}
        self._logger.error(bounded(text), extra=_fields(**fields))


def _fields(**fields: str | None) -> dict[str, str | None]:
    return {name: text if text is None else bounded(text, LONGEST_API_TEXT) for name, text in fields.items()}


def _dimension(name: str | None) -> str:
    """Return a name as CloudWatch takes it as a dimension's value: ASCII, not blank, not too long."""
    return (name or "").encode("ascii", "replace").decode()[:_LONGEST_DIMENSION].strip() or _NO_CLUSTER


def _values(results: Sequence[Result], changes: Sequence[Change], now: datetime) -> defaultdict[str, list[float]]:
    """Return the values of one cluster's metrics by their names."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for result in results:
        values["ReportAge"].append(max(0.0, (now - result.trigger.time).total_seconds()))
    for change in changes:
        if change.state in _TIMES and change.seconds is not None:
            values[_TIMES[change.state]].append(change.seconds)
    counts = Counter([result.outcome.value for result in results])
    counts.update(change.state for change in changes if _counts(change))
    counts.update(Outcome.RECURRING for change in changes if change.recurring)
    values["Reports"] += [len(results)] if results else []
    for outcome, count in counts.items():
        values[metric_name(outcome)].append(count)
    return values


def _counts(change: Change) -> bool:
    """Tell whether a change has a metric: an end, a reboot or replacement, that no report has as its outcome."""
    if change.state in (Outcome.REBOOTED, Outcome.REPLACED):
        return change.counted and change.seconds is not None
    return change.state in LATE_ENDS or (change.counted and change.state in EARLY_ENDS)


def _failures(results: Iterable[Result], changes: Iterable[Change]) -> Counter[str]:
    codes = [result.code for result in results if result.outcome is Outcome.FAILED]
    codes += [change.code for change in changes if change.counted and change.state == Outcome.FAILED]
    return Counter(_dimension(code) for code in codes if code)


def _put(dimensions: Mapping[str, str], values: Mapping[str, Sequence[float]]) -> None:
    metrics = EphemeralMetrics(namespace=METRICS_NAMESPACE)
    for dimension, value in dimensions.items():
        metrics.add_dimension(dimension, value)
    for name, numbers in values.items():
        for number in numbers:
            metrics.add_metric(name, _UNITS.get(name, MetricUnit.Count), number)
    if metrics.metric_set:  # Powertools flushes by itself with every 100th value of a metric
        metrics.flush_metrics()
