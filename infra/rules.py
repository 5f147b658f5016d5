"""Defines the EventBridge rules that send AWS's events to the intake queue."""

from typing import Any

from aws_cdk import aws_events as events
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from node_remediation.settings import Settings

# Every health status: Healthy withdraws a complaint, and the function logs an unknown status as ignored.
NODE_HEALTH: dict[str, Any] = {
    "source": ["aws.sagemaker"],
    "detail-type": ["SageMaker HyperPod Cluster Node Health Event"],
}
UNHEALTHY_INSTANCE: dict[str, Any] = {
    "source": ["aws.sagemaker"],
    "detail-type": ["SageMaker HyperPod Cluster Event"],
    "detail": {"EventDetails": {"ResourceType": ["Instance"], "Description": [{"wildcard": "*is unhealthy*"}]}},
}


def alarm_pattern(prefixes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change", "CloudWatch Alarm Contributor State Change"],
        "detail": {
            "alarmName": [{"prefix": prefix} for prefix in prefixes],
            "state": {"value": ["ALARM", "OK"]},
        },
    }


class Rules(Construct):
    """Makes one rule per kind of event. What a rule cannot deliver goes to the DLQ."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, intake: sqs.IQueue, dead_letters: sqs.IQueue
    ) -> None:
        super().__init__(scope, construct_id)
        patterns = {"NodeHealth": NODE_HEALTH, "UnhealthyInstance": UNHEALTHY_INSTANCE}
        if settings.alarm_name_prefixes:
            patterns["Alarms"] = alarm_pattern(settings.alarm_name_prefixes)
        # Not the L2 rule with its queue target: it would grant more on the key and the queues than a delivery needs.
        target = events.CfnRule.TargetProperty(
            id="Intake",
            arn=intake.queue_arn,
            dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=dead_letters.queue_arn),
            # The function tells a report's age from its time in the queue, which starts with the delivery.
            retry_policy=events.CfnRule.RetryPolicyProperty(
                maximum_event_age_in_seconds=int(settings.max_report_age.total_seconds())
            ),
        )
        self.rules = [
            events.CfnRule(self, name, event_pattern=pattern, targets=[target]) for name, pattern in patterns.items()
        ]

    @property
    def arns(self) -> list[str]:
        return [rule.attr_arn for rule in self.rules]
