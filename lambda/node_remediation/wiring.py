"""Gives each part of the function the parts that it needs, once, from the function's environment."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config

from node_remediation.aws.alarms import CloudWatchAlarms
from node_remediation.aws.bus import EventBridgeBus
from node_remediation.aws.hyperpod import SageMakerHyperPod
from node_remediation.aws.ledger import DynamoDbLedger
from node_remediation.aws.mode import ParameterMode
from node_remediation.aws.queues import SqsDeadLetters, SqsIntake
from node_remediation.aws.telemetry import LogsAndMetrics
from node_remediation.aws.topic import SnsTopic
from node_remediation.events.fields import Home
from node_remediation.lookups import Edges
from node_remediation.outbox.mail import RUNBOOK, Places
from node_remediation.remediate import Effect, Remediator, Services
from node_remediation.settings import Settings

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sns import SNSClient
    from types_boto3_sqs import SQSClient
    from types_boto3_ssm import SSMClient

# Sending, publishing and the ledger's conditional writes are safe to repeat.
_SAFE = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
# An item is made of valid attributes; to check each of them again would be a fifth of a large sweep's work.
_LEDGER = _SAFE.merge(Config(parameter_validation=False))
# SageMaker is asked once: a reboot whose answer was lost must not be sent again.
_ONCE = Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 1})


class Session(Protocol):
    """Makes clients, as boto3.Session does."""

    def client(self, service_name: str, *, config: Config) -> Any:
        """Return the client of a service, by boto3's name."""


def build(
    environment: Mapping[str, str],
    *,
    session: Session | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
    on_effect: Callable[[Effect], None] = lambda _: None,
) -> Remediator:
    """Build the loop from the function's environment.

    Raises KeyError for a missing variable, SettingsError for a wrong setting.
    """
    settings = Settings.from_env(environment)
    clients: Any = session or boto3.Session()
    sagemaker: SageMakerClient = clients.client("sagemaker", config=_ONCE)
    dynamodb: DynamoDBClient = clients.client("dynamodb", config=_LEDGER)
    cloudwatch: CloudWatchClient = clients.client("cloudwatch", config=_SAFE)
    ssm: SSMClient = clients.client("ssm", config=_SAFE)
    sqs: SQSClient = clients.client("sqs", config=_SAFE)
    sns: SNSClient = clients.client("sns", config=_SAFE)
    events: EventBridgeClient = clients.client("events", config=_SAFE)
    topic_arn = environment["FAILURE_TOPIC_ARN"]
    _, partition, _, region, account, _ = topic_arn.split(":", 5)
    edges = Edges(
        hyperpod=SageMakerHyperPod(sagemaker, protects=settings.protects, clock=clock, sleep=sleep),
        alarms=CloudWatchAlarms(cloudwatch, clock=clock),
        mode=ParameterMode(ssm, name=environment["MODE_PARAMETER"], default=settings.mode),
    )
    services = Services(
        ledger=DynamoDbLedger(dynamodb, table=environment["LEDGER_TABLE"], settings=settings, sleep=sleep),
        letters=SqsDeadLetters(sqs, queue_url=environment["DEAD_LETTER_QUEUE_URL"]),
        topic=SnsTopic(sns, topic_arn=topic_arn),
        intake=SqsIntake(sqs, queue_url=environment["INTAKE_QUEUE_URL"]),
        telemetry=LogsAndMetrics(Logger(service="node-remediation")),
        edges=edges,
        bus=EventBridgeBus(events, name=environment["EVENT_BUS"]),
    )
    return Remediator(
        settings=settings,
        services=services,
        home=Home(account, region),
        places=Places(
            intake_url=environment["INTAKE_QUEUE_URL"],
            dead_letter_url=environment["DEAD_LETTER_QUEUE_URL"],
            mode_parameter=environment["MODE_PARAMETER"],
            partition=partition,
            runbook=settings.runbook_url or RUNBOOK,
        ),
        clock=clock,
        sleep=sleep,
        on_effect=on_effect,
    )
