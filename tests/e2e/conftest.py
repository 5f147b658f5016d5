"""The whole system on the local AWS, deployed once by the real CDK CLI; tests speak HTTP to it and nothing else."""

from collections.abc import Iterator

import pytest

from local.aws import LocalAws
from local.deploy import deploy
from tests.e2e.system import ALARM_TOPIC, System


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """A deployed system that looks after clusters named ml-*; each test has clusters of its own."""
    with LocalAws() as aws:
        topic = aws.client("sns").create_topic(Name=ALARM_TOPIC)["TopicArn"]
        outputs = deploy(
            aws,
            context={
                "remediation.clusters": "ml-*",
                "remediation.batch_window": "1s",
                "remediation.burst_window": "5s",
                "remediation.budget_percent": "100",
                "remediation.healthy_for": "1s",
                "remediation.alarm_topic_arns": topic,
                "remediation.notification_emails": "oncall@example.com",
            },
        )
        yield System(aws, outputs, alarm_topic=topic)
