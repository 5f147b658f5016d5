"""Posts events to a webhook. Its API key is in a secret of Secrets Manager, as plain text, made beforehand.

cdk deploy --app "python examples/events/webhook.py" -c url=https://hooks.example.com -c secret=hyperpod-webhook
"""

from collections.abc import Sequence

from aws_cdk import App, Duration, SecretValue, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class WebhookStack(Stack):
    """A rule, an API destination, and a queue for the events that the webhook did not take within a day.

    `states` are those that are posted; without any, all are.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        url: str,
        secret_name: str,
        states: Sequence[str] = (),
        header: str = "x-api-key",
        most_per_second: int = 5,
        bus_arn: str | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        failed = sqs.Queue(
            self,
            "Failed",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        # CloudFormation reads the secret: the key is in no template.
        key = SecretValue.secrets_manager(secret_name)
        connection = events.Connection(self, "Connection", authorization=events.Authorization.api_key(header, key))
        webhook = events.ApiDestination(
            self, "Webhook", connection=connection, endpoint=url, rate_limit_per_second=most_per_second
        )
        events.Rule(
            self,
            "Rule",
            event_bus=events.EventBus.from_event_bus_arn(self, "Bus", bus_arn) if bus_arn else None,
            event_pattern=events.EventPattern(
                source=["hyperpod.node-remediation"],
                detail_type=["HyperPod Node Incident State Change"],
                detail={"State": list(states)} if states else None,
            ),
            targets=[
                targets.ApiDestination(
                    webhook, event=_body(), dead_letter_queue=failed, max_event_age=Duration.hours(24)
                )
            ],
        )


def _body() -> events.RuleTargetInput:
    field = events.EventField.from_path
    # An event has one of the two, and a field that is absent is empty within a text.
    node = f"{field('$.detail.NodeId')}{field('$.detail.NodeLogicalId')}"
    return events.RuleTargetInput.from_object(
        {
            "text": f"HyperPod node {node} of {field('$.detail.ClusterName')}: {field('$.detail.State')}",
            "account": field("$.account"),
            "region": field("$.region"),
            # As an object: a text of its own would not be escaped, and Reason may have quotes.
            "detail": field("$.detail"),
        }
    )


if __name__ == "__main__":
    app = App()
    context = app.node.try_get_context
    WebhookStack(
        app,
        "HyperPodWebhook",
        url=app.node.get_context("url"),
        secret_name=app.node.get_context("secret"),
        states=context("states").split(",") if context("states") else (),
        bus_arn=context("bus_arn"),
    )
    app.synth()
