"""Defines the alarms on this system itself: they tell when nobody else would."""

from collections.abc import Mapping, Sequence

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.queues import Queues
from node_remediation.settings import METRICS_NAMESPACE, Settings, SettingsError

NAMES = ("undelivered", "oldest-report", "errors", "throttles", "sweep", "unsent", "rules", "lost", "canary")
_MINUTE = Duration.minutes(1)
_FIVE_MINUTES = Duration.minutes(5)
_HOUR = Duration.hours(1)


def own_alarm_names(stack: Stack) -> list[str]:
    return [_own_alarm_name(stack, name) for name in NAMES]


def _own_alarm_name(stack: Stack, name: str) -> str:
    return f"{stack.stack_name}-{name}"


def own_alarm_arns(stack: Stack) -> list[str]:
    """Return the alarms' ARNs, made from their names: the key and the topic refer to them before they exist."""
    return [
        stack.format_arn(
            service="cloudwatch", resource="alarm", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        for name in own_alarm_names(stack)
    ]


def refuse_own_alarms(settings: Settings, stack: Stack) -> None:
    """Raise SettingsError if a prefix matches an alarm of this stack, which names no node: every report would fail."""
    for prefix in settings.alarm_name_prefixes:
        for name in own_alarm_names(stack):
            if name.startswith(prefix):
                raise SettingsError(
                    "alarm_name_prefixes", f'takes no prefix of this stack\'s own alarm "{name}": "{prefix}"'
                )


class SelfAlarms(Construct):
    """Publishes to a topic when this system itself does not work. Each description says what to do.

    Letters of the DLQ set off none: the function itself tells of them, and no failure gets two mails.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        queues: Queues,
        function: lambda_.IFunction,
        rule_names: Sequence[str],
        topic: sns.ITopic,
        undelivered: str,
        logs: str,
    ) -> None:
        super().__init__(scope, construct_id)
        self._topic = topic
        see_logs = f"Look for the error in the log group {logs}. "
        self._alarm("undelivered", _visible(queues), 1, undelivered)
        self._alarm(
            "oldest-report",
            queues.intake.metric_approximate_age_of_oldest_message(period=_MINUTE, statistic="Maximum"),
            600,
            "A report has waited over 10 minutes in the intake queue: sick nodes are not rebooted. Check that the "
            f"function's event source mapping is enabled, and the alarms on errors and throttles. {see_logs}",
        )
        self._alarm(
            "errors",
            function.metric_errors(period=_FIVE_MINUTES),
            1,
            f"The function failed in two periods of 5 minutes in a row. {see_logs}Reports are tried again 5 times.",
            periods=2,
        )
        self._alarm(
            "throttles",
            function.metric_throttles(period=_FIVE_MINUTES),
            1,
            "Lambda turned invocations of the function away in two periods of 5 minutes in a row. Look at the "
            "account's concurrency in this region, and at the settings max_concurrency and reserved_concurrency.",
            periods=2,
        )
        self._alarm(
            "sweep",
            _own("SweepLag"),
            300,
            "The sweep is over 5 minutes late, or does not run: nothing is judged again, and no reboot is verified. "
            f"Check that the schedule's rule is enabled. {see_logs}",
            periods=5,
            # The sweep sends its metric each minute, also when nothing is due: silence is the fault.
            missing=cloudwatch.TreatMissingData.BREACHING,
        )
        self._alarm(
            "unsent",
            _own("OldestUnsent"),
            900,
            "A letter, a notification or an event has waited over 15 minutes in the ledger: the dead-letter queue, "
            f"the topic or the event bus takes nothing. Nothing is lost: it is sent once that works. {see_logs}",
            periods=3,
        )
        # Metric names: "Monitoring Amazon EventBridge", EventBridge user guide.
        self._alarm(
            "rules",
            _sum({f"r{n}": _of_rule("FailedInvocations", name) for n, name in enumerate(rule_names)}),
            1,
            "EventBridge could not deliver events or the sweep. Events are in the undelivered queue. Check that the "
            "policies of the queues, the key and the function are as the template has them (drift detection).",
        )
        self._alarm(
            "lost",
            _sum(
                {f"r{n}": _of_rule("InvocationsFailedToBeSentToDlq", name) for n, name in enumerate(rule_names)}
                | {"function": function.metric("DeadLetterErrors", period=_FIVE_MINUTES, statistic="Sum")}
            ),
            1,
            "A report could neither be delivered nor kept in the undelivered queue: it is lost. Check the queue and "
            "the key, and look at the nodes of your clusters by hand.",
        )

        # Only hours with sweeps count: before the first deploy there were neither, and a sweep that does not run has an
        # alarm of its own. The canary comes every 24 hours.
        self._alarm(
            "canary",
            cloudwatch.MathExpression(
                expression="IF(FILL(sweeps, 0) > 0 AND FILL(canaries, 0) < 1, 1, 0)",
                using_metrics={
                    "sweeps": _hourly("SweepLag", "SampleCount"),
                    "canaries": _hourly("Canary", "Sum"),
                },
                period=_HOUR,
            ),
            1,
            "The daily canary did not come through for 26 hours: reports of sick nodes may not arrive either. Check "
            "that the rules are enabled, and the policies of the queues and the key. Look at the undelivered queue. "
            f"{see_logs}",
            periods=26,
        )

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        what_to_do: str,
        *,
        periods: int = 1,
        # Queues, rules and functions without traffic send no metrics.
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_name=_own_alarm_name(Stack.of(self), name),
            alarm_description=what_to_do.strip(),
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(actions.SnsAction(self._topic))


def _visible(queues: Queues) -> cloudwatch.IMetric:
    return queues.undelivered.metric_approximate_number_of_messages_visible(period=_MINUTE, statistic="Maximum")


def _own(name: str) -> cloudwatch.IMetric:
    return cloudwatch.Metric(namespace=METRICS_NAMESPACE, metric_name=name, period=_MINUTE, statistic="Maximum")


def _hourly(name: str, statistic: str) -> cloudwatch.IMetric:
    return cloudwatch.Metric(namespace=METRICS_NAMESPACE, metric_name=name, period=_HOUR, statistic=statistic)


def _of_rule(name: str, rule: str) -> cloudwatch.IMetric:
    return cloudwatch.Metric(
        namespace="AWS/Events",
        metric_name=name,
        dimensions_map={"RuleName": rule},
        period=_FIVE_MINUTES,
        statistic="Sum",
    )


def _sum(metrics: Mapping[str, cloudwatch.IMetric]) -> cloudwatch.IMetric:
    """Return the sum of metrics of which each is sent only when it is not zero."""
    expression = " + ".join(f"FILL({name}, 0)" for name in metrics)
    return cloudwatch.MathExpression(expression=expression, using_metrics=dict(metrics), period=_FIVE_MINUTES)
