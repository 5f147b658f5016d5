"""Acts on the deployed system as AWS and operators do, and looks from outside at what became of it."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from local.aws import LocalAws

ALARM_TOPIC = "operations-alarms"
# How long anything may take before a test gives up; a loaded machine starts a function in seconds.
PATIENCE = 90.0
_POLL = 0.2
_QUEUED = tuple(f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed"))

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], *, patience: float = PATIENCE) -> Found:
    """Return what `look` returns as soon as it is truthy. Raises AssertionError when it never is."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, f"not seen within {patience:g} s"
        time.sleep(_POLL)
    return found


@dataclass(frozen=True, slots=True)
class Cluster:
    """Names a simulated cluster and its nodes."""

    name: str
    eks: str
    arn: str
    nodes: tuple[str, ...]
    logical_ids: tuple[str, ...]


@dataclass
class System:
    """Stands outside of the deployed system."""

    aws: LocalAws
    outputs: dict[str, str]
    alarm_topic: str
    _letters: list[dict[str, Any]] = field(default_factory=list)
    _notifications: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sqs = self.aws.client("sqs")
        self._subscriber = self._subscribe()

    def _subscribe(self) -> str:
        url: str = self.sqs.create_queue(QueueName="topic-subscriber")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = self.outputs["FailureTopicArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self.aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return url

    # -- what a test does

    def cluster(self, nodes: int | None = 2, **options: Any) -> Cluster:
        """Make a cluster under a name of its own."""
        name = options.pop("name", f"ml-{uuid.uuid4().hex[:8]}")
        made = self.aws.admin(
            "POST",
            "/_local/hyperpod/clusters",
            {"name": name, "orchestrator": {"eks": f"{name}-eks"}, "reboot_seconds": 0.5}
            | ({} if nodes is None else {"nodes": nodes})
            | options,
        )
        ids = tuple(node["instance_id"] for node in made["nodes"])
        return Cluster(name, f"{name}-eks", made["arn"], ids, tuple(node["logical_id"] for node in made["nodes"]))

    def set_node(self, cluster: Cluster, node: str, **what: Any) -> None:
        """Script how a node answers (local.hyperpod.scripting)."""
        self.aws.admin("POST", "/_local/hyperpod/nodes/set", {"cluster": cluster.name, "node": node} | what)

    def put(self, *events: dict[str, Any]) -> list[str]:
        """Put events of AWS's own on the bus and return the time of each."""
        entries = [
            {
                "Source": event["source"],
                "DetailType": event["detail-type"],
                "Resources": event.get("resources", []),
                "Time": event["time"],
                "Detail": json.dumps(event["detail"]),
            }
            for event in events
        ]
        for start in range(0, len(entries), 10):
            self.aws.put_events(*entries[start : start + 10])
        return [event["time"] for event in events]

    def send(self, body: object) -> str:
        """Put a message on the intake queue as an operator would, and return its message ID."""
        text = body if isinstance(body, str) else json.dumps(body)
        answer = self.sqs.send_message(QueueUrl=self.outputs["IntakeQueueUrl"], MessageBody=text)
        message_id: str = answer["MessageId"]
        return message_id

    def invoke(self, event: object) -> dict[str, Any]:
        """Invoke the function directly and wait for its answer."""
        answer = self.aws.client("lambda").invoke(
            FunctionName=self.outputs["FunctionName"], Payload=json.dumps(event).encode()
        )
        payload: dict[str, Any] = json.loads(answer["Payload"].read())
        return payload

    def redrive(self) -> None:
        """Move all visible letters back to the intake queue, and wait until that is done."""
        source, destination = self.outputs["DeadLetterQueueArn"], self.outputs["IntakeQueueArn"]
        self.sqs.start_message_move_task(SourceArn=source, DestinationArn=destination)
        eventually(lambda: self.sqs.list_message_move_tasks(SourceArn=source)["Results"][0]["Status"] != "RUNNING")

    # -- where it looks

    def outcomes(self, *, count: int = 1, **fields: str) -> list[dict[str, Any]]:
        """Return the log lines of reports with these fields, once there are `count` of them."""
        return self._lines("outcome", count, fields)

    def changes(self, *, count: int = 1, **fields: str) -> list[dict[str, Any]]:
        """Return the log lines of incidents with these fields, once there are `count` of them."""
        return self._lines("state", count, fields)

    def _lines(self, key: str, count: int, fields: dict[str, str]) -> list[dict[str, Any]]:
        def look() -> list[dict[str, Any]]:
            found = [line for line in self.log_lines() if fields.items() <= line.items() and key in line]
            return found if len(found) >= count else []

        return eventually(look)

    def log_lines(self) -> list[dict[str, Any]]:
        return [line for line in self.json_lines() if "level" in line]

    def json_lines(self) -> list[dict[str, Any]]:
        """Return all that the function printed as JSON: log lines have a `level`, metrics have `_aws`."""
        logs, lines = self.aws.client("logs"), []
        for group in logs.describe_log_groups()["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                messages = (event["message"] for event in page["events"])
                lines += [json.loads(message) for message in messages if message.startswith("{")]
        return lines

    def calls(self, cluster: Cluster) -> list[dict[str, Any]]:
        """Return the simulator's log of reboot calls for a cluster."""
        calls = self.aws.admin("GET", "/_local/hyperpod/calls")["calls"]
        return [call for call in calls if call["cluster"] == cluster.name]

    def reboots(self, cluster: Cluster) -> list[str]:
        """Return the instances whose reboot the simulator started, each as often as it did."""
        reboots = self.aws.admin("GET", "/_local/hyperpod/reboots")
        return [reboot["node"] for reboot in reboots if reboot["cluster"] == cluster.name]

    def letters(self, *, count: int = 1, **attributes: str) -> list[dict[str, Any]]:
        """Return body and attributes of the letters with these attributes, once there are `count`.

        They are taken off the queue. A letter that is invisible for its first 15 minutes is not seen.
        """

        def look() -> list[dict[str, Any]]:
            self._letters += self._drain(self.outputs["DeadLetterQueueUrl"])
            found = [letter for letter in self._letters if attributes.items() <= letter["attributes"].items()]
            return found if len(found) >= count else []

        return eventually(look) if count else look()

    def notifications(self, cluster: str | None, *, count: int = 1) -> list[dict[str, Any]]:
        """Return subject, JSON message and attributes of what a topic's subscriber got about a cluster."""

        def look() -> list[dict[str, Any]]:
            for taken in self._drain(self._subscriber):
                envelope = json.loads(taken["body"])
                attributes = {key: value["Value"] for key, value in envelope.get("MessageAttributes", {}).items()}
                message = json.loads(envelope["Message"])
                self._notifications.append(
                    {"subject": envelope["Subject"], "message": message, "attributes": attributes}
                )
            found = [each for each in self._notifications if each["message"].get("ClusterName") == cluster]
            return found if len(found) >= count else []

        return eventually(look) if count else look()

    def mail(self, about: str) -> list[dict[str, Any]]:
        """Return the e-mails with this text, once there is one."""
        return eventually(lambda: [mail for mail in self.aws.mail() if about in mail["message"]])

    def queued(self, queue: str = "IntakeQueueUrl") -> dict[str, int]:
        """Return how many messages a queue holds: visible (""), received and not deleted, delayed."""
        url = self.outputs[queue]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_QUEUED))["Attributes"]
        return {name.removeprefix(_QUEUED[0]): int(found[name]) for name in _QUEUED}

    def due(self) -> list[str]:
        """Return the keys of the ledger's items that wait for anything."""
        items: list[dict[str, Any]] = []
        pages = self.aws.client("dynamodb").get_paginator("scan")
        for page in pages.paginate(TableName=self.outputs["LedgerTableName"], ConsistentRead=True):
            items += page["Items"]
        return [item["pk"]["S"] for item in items if "due" in item]

    def _drain(self, url: str) -> list[dict[str, Any]]:
        taken = []
        while messages := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=0
        ).get("Messages", []):
            for message in messages:
                attributes = {key: each["StringValue"] for key, each in message.get("MessageAttributes", {}).items()}
                taken.append({"body": message["Body"], "attributes": attributes})
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken
