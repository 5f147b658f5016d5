"""What a test does to the deployed system, and where it looks for what became of it."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from local.aws import LocalAws

ALARM_TOPIC = "operations-alarms"
# How long anything may take before a test gives up; a loaded machine starts a function in seconds.
PATIENCE = 60.0
_POLL = 0.2

Found = TypeVar("Found")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def eventually(look: Callable[[], Found], *, patience: float = PATIENCE) -> Found:
    """What `look` returns as soon as it is truthy; AssertionError when it never is."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, f"not seen within {patience:g} s"
        time.sleep(_POLL)
    return found


@dataclass(frozen=True, slots=True)
class Cluster:
    """A simulated cluster."""

    name: str
    eks: str
    arn: str
    nodes: tuple[str, ...]
    logical_ids: tuple[str, ...]


@dataclass
class System:
    """The deployed system seen from outside."""

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
        """A new cluster under a name of its own."""
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
        self.aws.admin("POST", "/_local/hyperpod/nodes/set", {"cluster": cluster.name, "node": node} | what)

    def put(self, *events: dict[str, Any]) -> list[str]:
        """Put events of AWS's own on the bus; returns a report ID for each, by which its log lines are found.

        The bus gives events new IDs, so each event's time, which is unique, stands for it.
        """
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
        """Put a message on the intake queue as an operator would; returns its message ID."""
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

    # -- where it looks

    def outcomes(self, *, count: int = 1, **fields: str) -> list[dict[str, Any]]:
        """The log lines of outcomes with these fields, once there are `count` of them."""

        def look() -> list[dict[str, Any]]:
            found = [line for line in self.log_lines() if fields.items() <= line.items() and "outcome" in line]
            return found if len(found) >= count else []

        return eventually(look)

    def log_lines(self) -> list[dict[str, Any]]:
        return [line for line in self.json_lines() if "level" in line]

    def json_lines(self) -> list[dict[str, Any]]:
        """All that the function printed as JSON: log lines, which have a `level`, and metrics, which have `_aws`."""
        logs, lines = self.aws.client("logs"), []
        for group in logs.describe_log_groups()["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                messages = (event["message"] for event in page["events"])
                lines += [json.loads(message) for message in messages if message.startswith("{")]
        return lines

    def calls(self, cluster: Cluster) -> list[dict[str, Any]]:
        """The simulator's log of reboot calls for a cluster."""
        calls = self.aws.admin("GET", "/_local/hyperpod/calls")["calls"]
        return [call for call in calls if call["cluster"] == cluster.name]

    def reboots(self, cluster: Cluster) -> list[str]:
        """Instance IDs whose reboot the simulator started, each as often as it did."""
        reboots = self.aws.admin("GET", "/_local/hyperpod/reboots")
        return [reboot["node"] for reboot in reboots if reboot["cluster"] == cluster.name]

    def letters(self, *, count: int = 1, **attributes: str) -> list[dict[str, Any]]:
        """Dead letters with these attributes, taken off the queue, once there are `count`; body, and attributes."""

        def look() -> list[dict[str, Any]]:
            self._letters += self._drain(self.outputs["DeadLetterQueueUrl"])
            found = [letter for letter in self._letters if attributes.items() <= letter["attributes"].items()]
            return found if len(found) >= count else []

        return eventually(look) if count else look()

    def notifications(self, cluster: str | None, *, count: int = 1) -> list[dict[str, Any]]:
        """What a topic subscriber got about a cluster: the JSON message, subject and attributes."""

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
        return eventually(lambda: [mail for mail in self.aws.mail() if about in mail["message"]])

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
