"""Defines the dashboard: what became of nodes in three rows, and whether this system works in two."""

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.queries import OPEN_INCIDENTS
from infra.queues import Queues
from node_remediation.settings import METRICS_NAMESPACE

_PERIOD = Duration.minutes(5)
_WIDTH, _HEIGHT = 8, 6  # of 24 columns: three widgets in a row
# What went well is green or blue, what a person should look at red or orange.
_OUTCOMES = {
    "Rebooted": "#2ca02c",
    "Replaced": "#006d2c",
    "Cleared": "#98df8a",
    "Waiting": "#1f77b4",
    "Deferred": "#aec7e8",
    "Retrying": "#ffbb78",
    "Refused": "#ff7f0e",
    "Failed": "#d62728",
    "Unreadable": "#8c564b",
    "Observed": "#9467bd",
    "Duplicate": "#7f7f7f",
    "Ignored": "#c7c7c7",
}
_ENDS = {"Recovered": "#2ca02c", "Superseded": "#1f77b4", "Unverified": "#ff7f0e", "NotRecovered": "#d62728"}


class Dashboard(Construct):
    """Makes one dashboard. It searches for the clusters that have metrics, so that a new one needs no deployment."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        queues: Queues,
        function: lambda_.IFunction,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        # Dashboards belong to the account, not to a region: two stacks of one name must not share one.
        self.name = f"{stack.stack_name}-{stack.region}"
        waits = queues.intake.metric_approximate_age_of_oldest_message
        dead = queues.dead_letters.metric_approximate_number_of_messages_visible
        undelivered = queues.undelivered.metric_approximate_number_of_messages_visible
        rows = [
            [
                _stacked("Reports in", _by_cluster("Reports", "Sum")),
                _stacked("Outcomes, and ends before a reboot", *map(_summed, _OUTCOMES.items())),
                _stacked("Ends after a reboot or a repair", *map(_summed, _ENDS.items())),
            ],
            [
                _open_incidents(log_group),
                _budget_used(),
                _stacked("Failures by code", _by_code()),
            ],
            [
                _lines("Time to reboot, mean", "seconds", _by_cluster("TimeToReboot", "Average")),
                _lines("Time to recovery, mean (MTTR)", "seconds", _by_cluster("TimeToRecovery", "Average")),
                _stacked("Recurring: same node, same fault", _by_cluster("Recurring", "Sum")),
            ],
            [
                _lines("Oldest report in the intake queue", "seconds", _line(waits(), "Maximum", "age")),
                _lines(
                    "Letters, and reports never handled",
                    "messages",
                    _line(dead(), "Maximum", "dead-letter queue"),
                    _line(undelivered(), "Maximum", "undelivered queue", "#d62728"),
                ),
                _lines("Sweeps (one a minute is due)", "sweeps", _line(_own("SweepLag"), "SampleCount", "sweeps")),
            ],
            [
                _lines(
                    "How late: what is due or to be sent",
                    "seconds",
                    _line(_own("SweepLag"), "Maximum", "oldest that is due"),
                    _line(_own("OldestUnsent"), "Maximum", "oldest unsent", "#ff7f0e"),
                ),
                _lines(
                    "Function: errors and throttles",
                    "invocations",
                    _line(function.metric_errors(), "Sum", "errors", "#d62728"),
                    _line(function.metric_throttles(), "Sum", "throttles", "#ff7f0e"),
                ),
                _lines(
                    "Function: duration",
                    "milliseconds",
                    _line(function.metric_duration(), "Average", "mean"),
                    _line(function.metric_duration(), "Maximum", "longest", "#ff7f0e"),
                ),
            ],
        ]
        cloudwatch.Dashboard(
            self, "Dashboard", dashboard_name=self.name, default_interval=Duration.hours(24), widgets=rows
        )


# -- widgets


def _stacked(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(
        title=title, left=list(metrics), left_y_axis=_axis("number"), stacked=True, width=_WIDTH, height=_HEIGHT
    )


def _lines(title: str, unit: str, *metrics: cloudwatch.IMetric) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(
        title=title, left=list(metrics), left_y_axis=_axis(unit), width=_WIDTH, height=_HEIGHT
    )


def _budget_used() -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(
        title="Budget used, when nodes were judged",
        left=[_by_cluster("BudgetUsed", "Maximum")],
        left_y_axis=_axis("percent"),
        left_annotations=[cloudwatch.HorizontalAnnotation(value=100, label="spent", color="#d62728")],
        width=_WIDTH,
        height=_HEIGHT,
    )


def _open_incidents(log_group: logs.ILogGroup) -> cloudwatch.IWidget:
    """Return the counts by a query: a metric would have to read every open incident each minute."""
    return cloudwatch.LogQueryWidget(
        title="Open incidents by state (last log line)",
        view=cloudwatch.LogQueryVisualizationType.BAR,
        log_group_names=[log_group.log_group_name],
        query_lines=list(OPEN_INCIDENTS.lines),
        width=_WIDTH,
        height=_HEIGHT,
    )


def _axis(unit: str) -> cloudwatch.YAxisProps:
    return cloudwatch.YAxisProps(min=0, label=unit, show_units=False)


# -- metrics


def _by_cluster(metric: str, statistic: str) -> cloudwatch.IMetric:
    return cloudwatch.SearchExpression(
        expression=_search(metric, statistic), label="${PROP('Dim.Cluster')}", period=_PERIOD
    )


def _by_code() -> cloudwatch.IMetric:
    search = _search("FailedByCode", "Sum", "Cluster,ErrorCode")
    label = "${PROP('Dim.ErrorCode')}, ${PROP('Dim.Cluster')}"
    return cloudwatch.SearchExpression(expression=search, label=label, period=_PERIOD)


def _summed(metric_and_color: tuple[str, str]) -> cloudwatch.IMetric:
    """Return a metric's sum over all clusters."""
    metric, color = metric_and_color
    search = f"SUM({_search(metric, 'Sum')})"
    return cloudwatch.MathExpression(expression=search, label=metric, color=color, using_metrics={}, period=_PERIOD)


def _search(metric: str, statistic: str, dimensions: str = "Cluster") -> str:
    return f"SEARCH('{{{METRICS_NAMESPACE},{dimensions}}} MetricName=\"{metric}\"', '{statistic}')"


def _own(metric: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(namespace=METRICS_NAMESPACE, metric_name=metric)


def _line(metric: cloudwatch.Metric, statistic: str, label: str, color: str = "#1f77b4") -> cloudwatch.IMetric:
    return metric.with_(statistic=statistic, label=label, color=color, period=_PERIOD)
