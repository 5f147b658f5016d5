"""Defines the failure topic."""

from collections.abc import Sequence

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from node_remediation.settings import Settings


class FailureTopic(Construct):
    """Makes an encrypted topic that accepts only TLS, and only messages of the account and of its own alarms."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, key: kms.IKey, alarm_arns: Sequence[str]
    ) -> None:
        super().__init__(scope, construct_id)
        self.topic = sns.Topic(
            self, "Topic", display_name="HyperPod node remediation", master_key=key, enforce_ssl=True
        )
        self.topic.apply_removal_policy(RemovalPolicy.DESTROY)
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="OwnAlarmsPublish",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": Stack.of(self).account},
                    "ArnEquals": {"aws:SourceArn": list(alarm_arns)},
                },
            )
        )
        for address in settings.notification_emails:
            self.topic.add_subscription(subscriptions.EmailSubscription(address))
