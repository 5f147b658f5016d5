"""A stack whose services are in memory, for the tool's own logic; the local AWS stands for the whole."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from botocore.exceptions import ClientError

from node_remediation.settings import Settings
from smoke.stack import OUTPUTS, Stack

DLQ, INTAKE = "DeadLetterQueueUrl", "IntakeQueueUrl"


@dataclass
class FakeSqs:
    """Queues by URL. A message that was received is hidden until it is released."""

    queues: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {DLQ: [], INTAKE: []})
    hidden: set[str] = field(default_factory=set)
    refuses: frozenset[str] = frozenset()  # bodies that the intake queue does not take
    undeletable: frozenset[str] = frozenset()
    moves: list[dict[str, str]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def letter(self, code: str, cluster: str = "ml-a", node: str = "i-1", **more: Any) -> str:
        """Put a letter in the dead-letter queue, and return its body."""
        detail = {"ClusterName": cluster, "NodeId": node, "ErrorCode": code, "Message": f"{code}!", **more}
        body = json.dumps({"id": f"{cluster}/{node}/{code}", "time": "2026-12-01T02:00:00Z", "detail": detail})
        self.put(DLQ, body, {"ClusterName": cluster, "ErrorCode": code, "Kind": "failed"})
        return body

    def put(self, url: str, body: str, attributes: Mapping[str, str]) -> None:
        kept = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        id_ = f"m{next(self.numbers)}"
        self.queues[url].append({"MessageId": id_, "ReceiptHandle": id_, "Body": body, "MessageAttributes": kept})

    def bodies(self, url: str) -> list[str]:
        return [each["Body"] for each in self.queues[url]]

    def receive_message(self, **asked: Any) -> dict[str, Any]:
        visible = [each for each in self.queues[asked["QueueUrl"]] if each["MessageId"] not in self.hidden]
        taken = visible[: asked["MaxNumberOfMessages"]]
        self.hidden |= {each["MessageId"] for each in taken}
        return {"Messages": taken} if taken else {}

    def change_message_visibility_batch(self, **asked: Any) -> dict[str, Any]:
        self.hidden -= {each["ReceiptHandle"] for each in asked["Entries"]}
        return {}

    def send_message_batch(self, **asked: Any) -> dict[str, Any]:
        taken = [each for each in asked["Entries"] if each["MessageBody"] not in self.refuses]
        for each in taken:
            values = {name: value["StringValue"] for name, value in each["MessageAttributes"].items()}
            self.put(asked["QueueUrl"], each["MessageBody"], values)
        failed = [{"Id": each["Id"], "Code": "Busy"} for each in asked["Entries"] if each not in taken]
        return {"Successful": [{"Id": each["Id"]} for each in taken], "Failed": failed}

    def delete_message_batch(self, **asked: Any) -> dict[str, Any]:
        by_handle = {each["ReceiptHandle"]: each for each in self.queues[DLQ]}
        entries = {each["Id"]: by_handle[each["ReceiptHandle"]] for each in asked["Entries"]}
        failed = [id_ for id_, message in entries.items() if message["Body"] in self.undeletable]
        gone = [message for id_, message in entries.items() if id_ not in failed]
        self.queues[DLQ] = [each for each in self.queues[DLQ] if each not in gone]
        self.hidden -= {each["MessageId"] for each in gone}
        return {"Failed": [{"Id": id_} for id_ in failed]}

    def send_message(self, **asked: Any) -> dict[str, str]:
        self.put(asked["QueueUrl"], asked["MessageBody"], {})
        return {"MessageId": "sent-1"}

    def start_message_move_task(self, **asked: str) -> None:
        self.moves.append(asked)

    def get_queue_attributes(self, **asked: Any) -> dict[str, Any]:
        messages = self.queues[asked["QueueUrl"]]
        hidden = sum(each["MessageId"] in self.hidden for each in messages)
        name = "ApproximateNumberOfMessages"
        return {"Attributes": {name: len(messages) - hidden, f"{name}Delayed": 0, f"{name}NotVisible": hidden}}


@dataclass
class FakeSsm:
    """The mode parameter; `rival` is what another writes between read and write."""

    value: str | None = None
    version: int = 0
    rival: str | None = None

    def get_parameter(self, **_: Any) -> dict[str, Any]:
        if self.value is None:
            raise ClientError({"Error": {"Code": "ParameterNotFound", "Message": ""}}, "GetParameter")
        return {"Parameter": {"Value": self.value, "Version": self.version}}

    def put_parameter(self, **asked: Any) -> dict[str, int]:
        self.version += 2 if self.rival else 1
        self.value = asked["Value"]
        return {"Version": self.version}

    def delete_parameter(self, **_: Any) -> None:
        self.value, self.version = None, 0


def stack(settings: Settings | None = None, **clients: Any) -> Stack:
    """Return a stack with these clients; each output is its own name."""
    outputs = {name: name for name in (*OUTPUTS, "IntakeQueueArn", "DeadLetterQueueArn")}
    return Stack("Stack", "us-east-1", outputs, settings or Settings(), "role", "logs", clients.__getitem__)
