"""Defines the intake queue, the DLQ, and the queue of what was never handled."""

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from node_remediation.settings import FUNCTION_TIMEOUT, MAX_RECEIVES, Settings

VISIBILITY_PER_TIMEOUT = 6  # AWS recommends it for queues of functions: time for retries while throttled
MOST_RECEIVES = 1_000  # the most that SQS takes


class Queues(Construct):
    """Makes encrypted queues that accept only TLS, and only the account until `let_in` adds a service.

    `dead_letters` has the function's own letters, of which the topic has told. `undelivered` has what nothing else has
    told of: messages that crashed the function five times, and what EventBridge, SNS or Lambda could not deliver.
    They are two queues because no metric of one tells them apart: SQS counts what EventBridge sends as it counts a
    letter (NumberOfMessagesSent), and does not count its own moves at all.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    ("NumberOfMessagesSent and NumberOfMessagesReceived for a dead-letter queue don't match")
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, key: kms.IKey) -> None:
        super().__init__(scope, construct_id)
        self._removal = RemovalPolicy.RETAIN if settings.retain else RemovalPolicy.DESTROY
        # No redrive-allow policy: it would name the intake queue, and the two would depend on each other.
        self.dead_letters = self._queue("DeadLetters", key=key, retention_period=Duration.days(14))
        # A redrive is possible only from the dead-letter queue of another queue (StartMessageMoveTask, API reference).
        # Letters are sent, not moved, to theirs: this makes it one, for a message that 1,000 reads did not delete.
        self.undelivered = self._queue(
            "Undelivered",
            key=key,
            retention_period=Duration.days(14),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=MOST_RECEIVES),
        )
        visibility = VISIBILITY_PER_TIMEOUT * FUNCTION_TIMEOUT + settings.batch_window
        self.intake = self._queue(
            "Intake",
            key=key,
            retention_period=Duration.days(4),
            visibility_timeout=Duration.seconds(int(visibility.total_seconds())),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.undelivered, max_receive_count=MAX_RECEIVES),
        )

    def _queue(self, construct_id: str, *, key: kms.IKey, **properties: object) -> sqs.Queue:
        return sqs.Queue(
            self,
            construct_id,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=key,
            enforce_ssl=True,
            removal_policy=self._removal,
            **properties,  # type: ignore[arg-type]
        )

    def let_in(self, *, service: str, source_arns: Sequence[str]) -> None:
        """Let a service write to the intake queue, only for these ARNs, and what it cannot deliver to the other."""
        if not source_arns:
            return
        for queue in (self.intake, self.undelivered):
            queue.add_to_resource_policy(
                iam.PolicyStatement(
                    principals=[iam.ServicePrincipal(service)],
                    actions=["sqs:SendMessage"],
                    resources=[queue.queue_arn],
                    conditions={"ArnEquals": {"aws:SourceArn": list(source_arns)}},
                )
            )
