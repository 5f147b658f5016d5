"""Defines the key that encrypts the queues, the topic and the ledger."""

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

# Writing to an encrypted queue or topic needs both, reading needs only Decrypt.
USE = ("kms:GenerateDataKey", "kms:Decrypt")


class EncryptionKey(Construct):
    """Makes a customer-managed key that the account administers and only the listed services may use.

    The function's role needs no statement here: with the account's own statement, its IAM policy decides. DynamoDB
    needs none either: it uses the caller's permissions, and a grant that is made with the table.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, alarm_arns: Sequence[str], topic_arns: Sequence[str], retain: bool
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        # The CDK's standard statement allows kms:* to the account's root: without it a key cannot be administered.
        self.key = kms.Key(
            self,
            "Key",
            description=f"{stack.stack_name}: queues, topic and ledger",
            alias=f"alias/{stack.stack_name}",
            enable_key_rotation=True,
            pending_window=Duration.days(7),
            removal_policy=RemovalPolicy.RETAIN if retain else RemovalPolicy.DESTROY,
        )
        # No condition: EventBridge is documented not to pass aws:SourceArn or aws:SourceAccount to KMS when it delivers
        # to encrypted targets, and a condition would lose every event without a trace. The queues'
        # policies accept only this stack's rules.
        self._allow("EventBridgeDelivers", "events.amazonaws.com", {})
        self._allow(
            "CloudWatchPublishes",
            "cloudwatch.amazonaws.com",
            {"StringEquals": {"aws:SourceAccount": stack.account}, "ArnEquals": {"aws:SourceArn": list(alarm_arns)}},
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
