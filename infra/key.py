"""The one key that everything at rest is encrypted with."""

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

# What writing to an encrypted queue or topic takes; reading takes the second alone.
USE = ("kms:GenerateDataKey", "kms:Decrypt")


class EncryptionKey(Construct):
    """A customer-managed key that the account administers and that exactly the producers and consumers may use.

    The function's role is not named here: the account's own statement lets its IAM policy decide. Nor is DynamoDB: it
    acts for whoever reads or writes the table, and by a grant of whoever created it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, alarm_arn: str, topic_arns: Sequence[str]) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        # kms:* is for the account's root alone, in CDK's standard statement: a key without it cannot be administered.
        self.key = kms.Key(
            self,
            "Key",
            description=f"{stack.stack_name}: queues, topic and ledger",
            alias=f"alias/{stack.stack_name}",
            enable_key_rotation=True,
            pending_window=Duration.days(7),
            removal_policy=RemovalPolicy.DESTROY,
        )
        # No condition: EventBridge is documented not to pass aws:SourceArn or aws:SourceAccount on to KMS when it
        # delivers to encrypted targets, and a condition it fails would lose every event without a trace. The queue
        # policies let in this stack's rules only.
        self._allow("EventBridgeDelivers", "events.amazonaws.com", {})
        self._allow(
            "CloudWatchPublishes",
            "cloudwatch.amazonaws.com",
            {"StringEquals": {"aws:SourceAccount": stack.account}, "ArnEquals": {"aws:SourceArn": alarm_arn}},
        )
        if topic_arns:
            self._allow("AlarmTopicsDeliver", "sns.amazonaws.com", {"ArnEquals": {"aws:SourceArn": list(topic_arns)}})

    def _allow(self, sid: str, service: str, conditions: dict[str, object]) -> None:
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                principals=[iam.ServicePrincipal(service)],
                actions=list(USE),
                resources=["*"],  # in a key policy: this key
                conditions=conditions,
            )
        )
