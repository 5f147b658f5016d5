"""Topics of the operator's own that feed alarms into the intake queue."""

from collections.abc import Sequence

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class AlarmTopics(Construct):
    """One subscription per topic, in the topic's region, with the dead letters for what it cannot deliver."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        topic_arns: Sequence[str],
        intake: sqs.IQueue,
        dead_letters: sqs.IQueue,
    ) -> None:
        super().__init__(scope, construct_id)
        for arn in topic_arns:
            # Named by its ARN: named by its place in the list, a reordered list would have CloudFormation subscribe
            # again (the same subscription) and then delete the old one (the same subscription).
            subscription = sns.CfnSubscription(
                self,
                arn,
                topic_arn=arn,
                region=arn.split(":")[3],
                protocol="sqs",
                endpoint=intake.queue_arn,
                redrive_policy={"deadLetterTargetArn": dead_letters.queue_arn},
            )
            # A message that comes before the queue's policy would be refused for good.
            subscription.node.add_dependency(intake)
