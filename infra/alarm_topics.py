"""Subscribes the intake queue to the operator's own alarm topics."""

from collections.abc import Sequence

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class AlarmTopics(Construct):
    """Makes one subscription per topic, in the topic's region. What it cannot deliver goes to a queue with an alarm."""

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
                region=arn.split(":")[3],
                protocol="sqs",
                endpoint=intake.queue_arn,
                redrive_policy={"deadLetterTargetArn": undelivered.queue_arn},
            )
            # The queue's policy must exist first: without it SQS refuses a message permanently.
            subscription.node.add_dependency(intake)
