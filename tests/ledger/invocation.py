"""One invocation of the function with real edges to the local AWS; only what people and operators see is kept here."""

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

from local.aws import LocalAws
from node_remediation.checks import Checks
from node_remediation.claims import Claimant
from node_remediation.cluster import SageMakerClusters
from node_remediation.deadletter import Origin
from node_remediation.examine import Examiner
from node_remediation.ledger import DynamoDbLedger
from node_remediation.model import Ending, Message
from node_remediation.reboot import SageMakerRebooter
from node_remediation.remediate import Remediator
from node_remediation.resolve import Resolver
from node_remediation.settings import MAX_RECEIVES, Settings
from node_remediation.steps import unwatched
from node_remediation.together import in_turn
from node_remediation.watching import Watcher
from tests.unit.fakes import FakeAlarms, FakeIntake, FakeMode, FakeReporter, FakeTelemetry


def create_table(aws: LocalAws, name: str) -> str:
    """The ledger's table as the stack makes it."""
    aws.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Invocation:
    """An execution environment of its own: nothing but the ledger and the cluster is shared with others."""

    aws: LocalAws
    table: str
    endings: list[Ending] = field(default_factory=list)
    reporter: FakeReporter = field(default_factory=FakeReporter)

    def __post_init__(self) -> None:
        settings, sagemaker, intake = Settings(), self.aws.client("sagemaker"), FakeIntake()
        ledger = DynamoDbLedger(self.aws.client("dynamodb"), table=self.table)
        clusters = SageMakerClusters(sagemaker, protected_groups=settings.protected_instance_groups, clock=now)
        checks = Checks(intake=intake, origin=Origin("111122223333", "us-west-2"), clock=now, new_id=uuid4)
        self._remediator = Remediator(
            settings=settings,
            resolver=Resolver(settings=settings, clusters=clusters, alarms=FakeAlarms()),
            clusters=clusters,
            mode=FakeMode(),
            ledger=ledger,
            claimant=Claimant(
                settings=settings,
                ledger=ledger,
                rebooter=SageMakerRebooter(sagemaker, sleep=time.sleep),
                clock=now,
                new_id=lambda: uuid4().hex,
                sleep=time.sleep,
                on_step=unwatched,
                checks=checks,
                together=in_turn,
            ),
            watcher=Watcher(
                settings=settings,
                examiner=Examiner(clusters=clusters, alarms=FakeAlarms()),
                ledger=ledger,
                checks=checks,
                clock=now,
                sleep=time.sleep,
            ),
            reporter=self.reporter,
            intake=intake,
            telemetry=FakeTelemetry(),
            together=in_turn,
            clock=now,
            sleep=time.sleep,
        )

    def handle_all(self, messages: list[Message]) -> None:
        """Handle messages until all are acknowledged, those that are handed back as often as the queue brings them."""
        while messages:
            assert messages[0].receives <= MAX_RECEIVES, "handed back for good"
            handling = self._remediator.handle(messages, seconds_left=lambda: 60.0)
            self.endings += handling.endings
            again = [message for message in messages if message.id in handling.handed_back]
            messages = [replace(message, receives=message.receives + 1) for message in again]
