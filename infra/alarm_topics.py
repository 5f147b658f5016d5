"""Subscribes the intake queue to the operator's own alarm topics."""

from collections.abc import Sequence

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from node_remediation.settings import SettingsError


def refuse_topics_elsewhere(topic_arns: Sequence[str], *, account: str | None, region: str | None) -> None:
    """Raise SettingsError for a topic of another account or region than the stack's; None is one that is not known.

    A subscription and its dead-letter queue must be in one account and region ("Amazon SNS dead-letter queues", SNS
    developer guide): CloudFormation would find that out only in the middle of a deploy. So the queue's policy needs no
    regional principal either: only topics of opt-in regions that deliver to another region have one.
    """
    places = [tuple(arn.split(":")[3:5]) for arn in topic_arns]
    for arn, (topic_region, topic_account) in zip(topic_arns, places, strict=True):
        home = (region or places[0][0], account or places[0][1])
        if (topic_region, topic_account) != home:
            raise SettingsError(
                "alarm_topic_arns",
                f'takes topics of the stack\'s own region and account ({home[0]}, {home[1]}), not "{arn}": deploy this '
                "stack there too; the nodes that its alarms watch are there",
            )


class AlarmTopics(Construct):
    """Makes one subscription per topic. What it cannot deliver goes to a queue with an alarm."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        topic_arns: Sequence[str],
        intake: sqs.IQueue,
        undelivered: sqs.IQueue,
    ) -> None:
        super().__init__(scope, construct_id)
        for arn in topic_arns:
            # The ID is the ARN, not the position in the list. Otherwise CloudFormation would, for a reordered list,
            # subscribe first and then delete the old resource, which is the same subscription.
            subscription = sns.CfnSubscription(
                self,
                arn,
                topic_arn=arn,
                protocol="sqs",
                endpoint=intake.queue_arn,
                redrive_policy={"deadLetterTargetArn": undelivered.queue_arn},
            )
            # The queue's policy must exist first: without it SQS refuses a message permanently.
            subscription.node.add_dependency(intake)
