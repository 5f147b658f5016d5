"""The function's entry point: builds everything once, takes a batch or one event, and delegates."""

import gc

gc.disable()  # what is made while starting stays for good: looking through it again and again is up to a tenth of it

import json
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aws_lambda_powertools import Logger
from botocore.config import Config

from node_remediation.alarms import CloudWatchAlarms
from node_remediation.claims import Claimant
from node_remediation.cluster import SageMakerClusters
from node_remediation.deadletter import Origin
from node_remediation.examine import Examiner
from node_remediation.inbox import is_batch, message_of_payload, messages_of_batch
from node_remediation.intake import SqsIntake
from node_remediation.ledger import DynamoDbLedger
from node_remediation.mail import Redrive
from node_remediation.mode import ParameterMode
from node_remediation.model import Handling
from node_remediation.reboot import SageMakerRebooter
from node_remediation.remediate import Remediator
from node_remediation.report import Destinations, QueueAndTopicReporter
from node_remediation.resolve import Resolver
from node_remediation.session import open_session
from node_remediation.settings import Settings
from node_remediation.steps import OnStep, unwatched
from node_remediation.telemetry import LogsAndMetrics
from node_remediation.watching import Watcher

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_sns import SNSClient
    from types_boto3_sqs import SQSClient

# Sending and publishing are safe to send again: a message more is no harm.
_SAFE = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
# SageMaker is asked once: a reboot whose answer was lost must not be sent again, and a failed lookup hands back.
_ONCE = Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 1})


class HandBackError(Exception):
    """A direct invocation met passing trouble: the invoker is to try again."""


def _now() -> datetime:
    return datetime.now(UTC)


def build(
    environment: Mapping[str, str], *, on_step: OnStep = unwatched, clock: Callable[[], datetime] = _now
) -> Remediator:
    """Wire the function from its environment. Raises KeyError for a missing variable, SettingsError for a bad one."""
    settings = Settings.from_env(environment)
    logger = Logger(service="node-remediation")
    session = open_session(partition=environment["FAILURE_TOPIC_ARN"].split(":")[1], warn=logger.warning)
    sagemaker = session.client("sagemaker", config=_ONCE)
    sqs = session.client("sqs", config=_SAFE)
    ledger = DynamoDbLedger(session.client("dynamodb", config=_SAFE), table=environment["LEDGER_TABLE"])
    clusters = SageMakerClusters(sagemaker, protected_groups=settings.protected_instance_groups, clock=clock)

    @cache
    def cloudwatch() -> "CloudWatchClient":
        return session.client("cloudwatch", config=_SAFE)

    alarms = CloudWatchAlarms(cloudwatch, clock=clock)
    intake = SqsIntake(sqs, queue_url=environment["INTAKE_QUEUE_URL"])
    return Remediator(
        settings=settings,
        resolver=Resolver(settings=settings, clusters=clusters, alarms=alarms),
        clusters=clusters,
        mode=ParameterMode(
            session.client("ssm", config=_SAFE),
            name=environment["MODE_PARAMETER"],
            default=settings.mode,
            clock=clock,
        ),
        ledger=ledger,
        claimant=Claimant(
            settings=settings,
            ledger=ledger,
            rebooter=SageMakerRebooter(sagemaker, sleep=time.sleep),
            clock=clock,
            new_id=lambda: uuid4().hex,
            sleep=time.sleep,
            on_step=on_step,
        ),
        reporter=_reporter(environment, settings, sqs, session.client("sns", config=_SAFE), clock),
        watcher=Watcher(
            settings=settings,
            examiner=Examiner(clusters=clusters, alarms=alarms),
            ledger=ledger,
            intake=intake,
            origin=_origin(environment),
            clock=clock,
            new_id=uuid4,
            sleep=time.sleep,
        ),
        intake=intake,
        telemetry=LogsAndMetrics(logger),
        clock=clock,
        sleep=time.sleep,
        on_step=on_step,
    )


def _reporter(
    environment: Mapping[str, str],
    settings: Settings,
    sqs: "SQSClient",
    sns: "SNSClient",
    clock: Callable[[], datetime],
) -> QueueAndTopicReporter:
    return QueueAndTopicReporter(
        sqs=sqs,
        sns=sns,
        destinations=Destinations(
            dead_letter_url=environment["DEAD_LETTER_QUEUE_URL"],
            topic_arn=environment["FAILURE_TOPIC_ARN"],
            redrive=Redrive(environment["DEAD_LETTER_QUEUE_ARN"], environment["INTAKE_QUEUE_ARN"]),
            origin=_origin(environment),
        ),
        notify_rebooted=settings.notify_rebooted,
        clock=clock,
        new_id=uuid4,
    )


def _origin(environment: Mapping[str, str]) -> Origin:
    _, _, _, region, account, _ = environment["FAILURE_TOPIC_ARN"].split(":", 5)
    return Origin(account, region)


_remediator = build(os.environ)
gc.freeze()
gc.enable()


def lambda_handler(event: Any, context: "LambdaContext") -> dict[str, Any]:
    """Handle a batch of the intake queue (answer: partial batch response) or one event invoked directly (a summary).

    A direct event that must be tried again raises HandBackError, so that Lambda's retries and dead-letter queue apply.
    """

    def seconds_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    if is_batch(event):
        handling = _remediator.handle(messages_of_batch(event), seconds_left=seconds_left)
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in handling.handed_back]}
    message = message_of_payload(event, message_id=context.aws_request_id, now=_now())
    handling = _remediator.handle([message], seconds_left=seconds_left)
    if handling.handed_back:
        raise HandBackError(handling.handed_back[message.id])
    return _summary(handling)


def _summary(handling: Handling) -> dict[str, Any]:
    reports = [
        {
            "cluster": ending.case.cluster,
            "node": ending.case.node.id if ending.case.node else None,
            "outcome": ending.outcome.value,
            "code": ending.code,
            "reason": ending.reason,
        }
        for ending in handling.endings
    ]
    return {"reports": json.loads(json.dumps(reports))}
