"""Who is given what: the function's parts, put together once from its environment."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from aws_lambda_powertools import Logger
from botocore.config import Config

from node_remediation.alarms import CloudWatchAlarms
from node_remediation.checks import Checks
from node_remediation.claims import Claimant
from node_remediation.cluster import SageMakerClusters
from node_remediation.deadletter import Origin, Redrive
from node_remediation.examine import Examiner
from node_remediation.intake import SqsIntake
from node_remediation.ledger import DynamoDbLedger
from node_remediation.mode import ParameterMode
from node_remediation.reboot import SageMakerRebooter
from node_remediation.remediate import Remediator
from node_remediation.report import Destinations, QueueAndTopicReporter
from node_remediation.resolve import Resolver
from node_remediation.session import open_session
from node_remediation.settings import Settings
from node_remediation.steps import OnStep, unwatched
from node_remediation.telemetry import LogsAndMetrics
from node_remediation.together import Together, side_by_side
from node_remediation.watching import Watcher

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sns import SNSClient
    from types_boto3_sqs import SQSClient
    from types_boto3_ssm import SSMClient

# Sending and publishing are safe to send again: a message more is no harm.
_SAFE = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
# SageMaker is asked once: a reboot whose answer was lost must not be sent again, and a failed lookup hands back.
_ONCE = Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 1})


class Session(Protocol):
    """What clients come from: botocore's session, or what makes clients like its."""

    def create_client(self, service_name: str, *, config: Config) -> Any:
        """The client of a service, by boto3's name."""


def build(
    environment: Mapping[str, str],
    *,
    session: Session | None = None,
    together: Together = side_by_side,
    on_step: OnStep = unwatched,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Remediator:
    """Wire the function from its environment. Raises KeyError for a missing variable, SettingsError for a bad one."""
    settings = Settings.from_env(environment)
    logger = Logger(service="node-remediation")
    clients: Session = session or open_session(
        partition=environment["FAILURE_TOPIC_ARN"].split(":")[1], warn=logger.warning
    )
    sagemaker: SageMakerClient = clients.create_client("sagemaker", config=_ONCE)
    dynamodb: DynamoDBClient = clients.create_client("dynamodb", config=_SAFE)
    ssm: SSMClient = clients.create_client("ssm", config=_SAFE)

    # Most events come from no alarm, most nights nobody is told of anything, and a check is sent while others are
    # waited for.
    @cache
    def cloudwatch() -> "CloudWatchClient":
        client: CloudWatchClient = clients.create_client("cloudwatch", config=_SAFE)
        return client

    @cache
    def sns() -> "SNSClient":
        client: SNSClient = clients.create_client("sns", config=_SAFE)
        return client

    @cache
    def sqs() -> "SQSClient":
        client: SQSClient = clients.create_client("sqs", config=_SAFE)
        return client

    ledger = DynamoDbLedger(dynamodb, table=environment["LEDGER_TABLE"])
    clusters = SageMakerClusters(sagemaker, protected_groups=settings.protected_instance_groups, clock=clock)
    alarms = CloudWatchAlarms(cloudwatch, clock=clock)
    intake = SqsIntake(sqs, queue_url=environment["INTAKE_QUEUE_URL"])
    destinations = _destinations(environment)
    checks = Checks(intake=intake, origin=destinations.origin, clock=clock, new_id=uuid4)
    return Remediator(
        settings=settings,
        resolver=Resolver(settings=settings, clusters=clusters, alarms=alarms),
        clusters=clusters,
        mode=ParameterMode(ssm, name=environment["MODE_PARAMETER"], default=settings.mode, clock=clock),
        ledger=ledger,
        claimant=Claimant(
            settings=settings,
            ledger=ledger,
            rebooter=SageMakerRebooter(sagemaker, sleep=time.sleep),
            checks=checks,
            together=together,
            clock=clock,
            new_id=lambda: uuid4().hex,
            sleep=time.sleep,
            on_step=on_step,
        ),
        reporter=QueueAndTopicReporter(
            sqs=sqs,
            sns=sns,
            destinations=destinations,
            notify_rebooted=settings.notify_rebooted,
            clock=clock,
            new_id=uuid4,
        ),
        watcher=Watcher(
            settings=settings,
            examiner=Examiner(clusters=clusters, alarms=alarms),
            ledger=ledger,
            checks=checks,
            clock=clock,
            sleep=time.sleep,
        ),
        intake=intake,
        telemetry=LogsAndMetrics(logger),
        together=together,
        clock=clock,
        sleep=time.sleep,
        on_step=on_step,
    )


def _destinations(environment: Mapping[str, str]) -> Destinations:
    topic_arn = environment["FAILURE_TOPIC_ARN"]
    _, _, _, region, account, _ = topic_arn.split(":", 5)
    return Destinations(
        dead_letter_url=environment["DEAD_LETTER_QUEUE_URL"],
        topic_arn=topic_arn,
        redrive=Redrive(environment["DEAD_LETTER_QUEUE_ARN"], environment["INTAKE_QUEUE_ARN"]),
        origin=Origin(account, region),
    )
