"""Gathers the events of several accounts and regions on one bus of a hub account.

In the hub account, once; in each member account and region:

cdk deploy --app "python examples/events/hub.py" -c organization=o-exampleorgid
cdk deploy --app "python examples/events/hub.py" -c hub_bus_arn=ARN
"""

from collections.abc import Sequence

from aws_cdk import App, CfnOutput, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

SOURCE = "hyperpod.node-remediation"
PATTERN = events.EventPattern(source=[SOURCE], detail_type=["HyperPod Node Incident State Change"])


class HubStack(Stack):
    """A bus that lets in these events alone, of these accounts or of the organization; and a queue that gets them."""

    def __init__(
        self, scope: Construct, construct_id: str, *, accounts: Sequence[str] = (), organization: str | None = None
    ) -> None:
        super().__init__(scope, construct_id)
        if bool(accounts) == bool(organization):
            raise ValueError("hub: takes either accounts or an organization")
        bus = events.EventBus(self, "Bus", event_bus_name="hyperpod-incidents")
        of_organization = {"aws:PrincipalOrgID": organization} if organization else {}
        members: list[iam.IPrincipal] = [iam.AccountPrincipal(account) for account in accounts]
        bus.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Members",
                actions=["events:PutEvents"],
                principals=members or [iam.StarPrincipal()],
                resources=[bus.event_bus_arn],
                conditions={"StringEquals": {"events:source": SOURCE, **of_organization}},
            )
        )
        incidents = _queue(self, "Incidents")
        events.Rule(
            self,
            "Rule",
            event_bus=bus,
            event_pattern=PATTERN,
            targets=[targets.SqsQueue(incidents, dead_letter_queue=_queue(self, "Failed"))],
        )
        CfnOutput(self, "HubBusArn", value=bus.event_bus_arn)


class MemberStack(Stack):
    """A rule that sends the events of this account and region to the hub's bus, and a queue for those it cannot."""

    def __init__(self, scope: Construct, construct_id: str, *, hub_bus_arn: str) -> None:
        super().__init__(scope, construct_id)
        hub = events.EventBus.from_event_bus_arn(self, "Hub", hub_bus_arn)
        # The target has a role that may put events on the hub's bus, and nothing else.
        target = targets.EventBus(hub, dead_letter_queue=_queue(self, "Failed"))
        events.Rule(self, "Rule", event_pattern=PATTERN, targets=[target])


def _queue(scope: Construct, construct_id: str) -> sqs.Queue:
    return sqs.Queue(
        scope,
        construct_id,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=Duration.days(14),
    )


if __name__ == "__main__":
    app = App()
    context = app.node.try_get_context
    if context("hub_bus_arn"):
        MemberStack(app, "HyperPodMember", hub_bus_arn=context("hub_bus_arn"))
    else:
        accounts = context("accounts").split(",") if context("accounts") else ()
        HubStack(app, "HyperPodHub", accounts=accounts, organization=context("organization"))
    app.synth()
