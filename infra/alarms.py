"""Defines the alarm on what the function has not handled, and so has told nobody."""

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from node_remediation.settings import Settings, SettingsError


def undelivered_alarm_name(stack: Stack) -> str:
    return f"{stack.stack_name}-undelivered"


def undelivered_alarm_arn(stack: Stack) -> str:
    """Return the alarm's ARN, made from its name: the key and the topic refer to it before the alarm exists."""
    return stack.format_arn(
        service="cloudwatch",
        resource="alarm",
        resource_name=undelivered_alarm_name(stack),
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )


def refuse_own_alarms(settings: Settings, stack: Stack) -> None:
    """Raise SettingsError if a prefix matches this stack's own alarm, which names no node: every report would fail."""
    name = undelivered_alarm_name(stack)
    for prefix in settings.alarm_name_prefixes:
        if name.startswith(prefix):
            raise SettingsError(
                "alarm_name_prefixes", f'takes no prefix of this stack\'s own alarm "{name}": "{prefix}"'
            )


class UndeliveredAlarm(Construct):
    """Publishes to the topic when a message was never handled.

    Letters of the DLQ do not set it off: the function itself tells of them, and no failure gets two mails.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, undelivered: sqs.IQueue, topic: sns.ITopic, what_to_do: str
    ) -> None:
        super().__init__(scope, construct_id)
        depth = undelivered.metric_approximate_number_of_messages_visible(
            period=Duration.minutes(1), statistic="Maximum"
        )
        alarm = cloudwatch.Alarm(
            self,
            "Alarm",
            alarm_name=undelivered_alarm_name(Stack.of(self)),
            alarm_description=what_to_do,
            metric=depth,
            threshold=1,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            # A queue without traffic stops sending its metric after some hours.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(topic))
