"""Deploys node remediation beside a team's own resources, in two regions of two accounts.

pip install -e CHECKOUT
cdk deploy --all --app "python app.py"
"""

from aws_cdk import App, Environment, Stack
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.remediation import NodeRemediation
from node_remediation.settings import Settings

HOMES = {"research": ("111122223333", "us-west-2"), "production": ("444455556666", "eu-central-1")}


class TeamStack(Stack):
    """A team's stack: node remediation, whose own alarms go to the team's topic."""

    def __init__(self, scope: Construct, construct_id: str, *, env: Environment, mode: str) -> None:
        super().__init__(scope, construct_id, env=env)
        operations = sns.Topic(self, "Operations", enforce_ssl=True)
        settings = Settings.from_context({"mode": mode, "notification_emails": ["oncall@example.com"]})
        NodeRemediation(self, "NodeRemediation", settings=settings, operations_topic=operations)


app = App()
for name, (account, region) in HOMES.items():
    mode = "observe" if name == "production" else "active"
    TeamStack(app, f"ml-{name}", env=Environment(account=account, region=region), mode=mode)
app.synth()
