"""Defines the EventBridge rules that send AWS's events to the intake queue."""

import copy
import json
import re
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
# An instance is unhealthy; or, in the words of the "HyperPod cluster events reference", what became of a reboot.
INSTANCE_EVENTS: dict[str, Any] = {
    "source": ["aws.sagemaker"],
    "detail-type": ["SageMaker HyperPod Cluster Event"],
    "detail": {
        "EventDetails": {
            "ResourceType": ["Instance"],
            "Description": [
                {"wildcard": "*is unhealthy*"},
                {"prefix": "Reboot of EC2 Instance "},
                {"prefix": "Failed to submit reboot request "},
                {"wildcard": "Instance *eboot *"},
            ],
        }
    },
}
# EventBridge's quota for an event pattern, less what the other parts of a pattern take.
MOST_CLUSTER_PATTERNS = 1_500  # characters


def cluster_names(settings: Settings) -> list[Any] | None:
    """Return what an event pattern takes as the name of a cluster; None where any will do, or the list is too long.

    The function itself refuses other clusters, with a letter and a notice: with a pattern, neither is made. An event
    that names no cluster passes if the settings say which is meant.
    """
    if "*" in settings.clusters:
        return None
    names: list[Any] = [{"wildcard": re.sub(r"\*+", "*", name)} if "*" in name else name for name in settings.clusters]
    if settings.default_cluster or settings.only_cluster:
        names += [None, {"exists": False}]
    return names if len(json.dumps(names)) <= MOST_CLUSTER_PATTERNS else None


def with_clusters(pattern: dict[str, Any], settings: Settings, *path: str) -> dict[str, Any]:
    """Return a pattern that takes events of the clusters alone whose nodes may be rebooted."""
    names = cluster_names(settings)
    if names is None:
        return pattern
    found: dict[str, Any] = copy.deepcopy(pattern)
    fields = found
    for key in path:
        fields = fields.setdefault(key, {})
    fields["ClusterName"] = names
    return found


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
    """Makes one rule per kind of event. What a rule cannot deliver goes to a queue with an alarm."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, intake: sqs.IQueue, undelivered: sqs.IQueue
    ) -> None:
        super().__init__(scope, construct_id)
        patterns = {
            "NodeHealth": with_clusters(NODE_HEALTH, settings, "detail"),
            "InstanceEvents": with_clusters(INSTANCE_EVENTS, settings, "detail", "EventDetails"),
        }
        if settings.alarm_name_prefixes:
            patterns["Alarms"] = alarm_pattern(settings.alarm_name_prefixes)
        # Not the L2 rule with its queue target: it would grant more on the key and the queues than a delivery needs.
        target = events.CfnRule.TargetProperty(
            id="Intake",
            arn=intake.queue_arn,
            dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=undelivered.queue_arn),
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
