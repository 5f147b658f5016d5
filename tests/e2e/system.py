"""Acts on the deployed system as AWS and operators do, and looks from outside at what became of it."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from local.aws import LocalAws
from local.observing import Observer, parse, read_attributes
from local.staging import SimulatedCluster

ALARM_TOPIC = "operations-alarms"
# How long anything may take before a test gives up; a loaded machine starts a function in seconds.
PATIENCE = 90.0
_POLL = 0.2

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], *, patience: float = PATIENCE) -> Found:
    """Return what `look` returns as soon as it is truthy. Raises AssertionError when it never is."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, f"not seen within {patience:g} s"
        time.sleep(_POLL)
    return found


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
        self.observer = Observer(self.aws, self.outputs)

    # -- what a test does

    def cluster(self, nodes: int | None = 2, **options: Any) -> SimulatedCluster:
        """Make a cluster under a name of its own."""
        name = options.pop("name", f"ml-{uuid.uuid4().hex[:8]}")
        plan: dict[str, Any] = {} if nodes is None else {"nodes": nodes}
        return SimulatedCluster.make(self.aws, name, **plan | {"reboot_seconds": 0.5} | options)

    def set_node(self, cluster: SimulatedCluster, node: str, **what: Any) -> None:
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
        eventually(lambda: not self.observer.is_redriving())

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
        return [line for _, message in self.observer.printed() if (line := parse(message))]

    def calls(self, cluster: SimulatedCluster) -> list[dict[str, Any]]:
        """Return the simulator's log of reboot calls for a cluster."""
        return [call for call in self.observer.logged_calls() if call["cluster"] == cluster.name]

    def reboots(self, cluster: SimulatedCluster) -> list[str]:
        """Return the instances whose reboot the simulator started, each as often as it did."""
        return [reboot["node"] for reboot in self.observer.reboots() if reboot["cluster"] == cluster.name]

    def letters(self, *, count: int = 1, **attributes: str) -> list[dict[str, Any]]:
        """Return body and attributes of the letters with these attributes, once there are `count`.

        They are taken off the queue. A letter that is invisible for its first 15 minutes is not seen.
        """

        def look() -> list[dict[str, Any]]:
            for taken in self.observer.take_letters():
                self._letters.append({"body": taken["Body"], "attributes": read_attributes(taken)})
            found = [letter for letter in self._letters if attributes.items() <= letter["attributes"].items()]
            return found if len(found) >= count else []

        return eventually(look) if count else look()

    def notifications(self, cluster: str | None, *, count: int = 1) -> list[dict[str, Any]]:
        """Return subject, JSON message and attributes of what a topic's subscriber got about a cluster."""

        def look() -> list[dict[str, Any]]:
            for taken in self.observer.heard_on_topic():
                envelope = json.loads(taken["Body"])
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
        return self.observer.queued(queue)

    def due(self) -> list[str]:
        """Return the keys of the ledger's items that wait for anything."""
        return [item.key for item in self.observer.items() if item.due is not None]
