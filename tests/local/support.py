"""What the tests of the local AWS share: waiting, and resources that know what tests ask of them."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
_PATIENCE_SECONDS = 20.0


def wait_for(what: str, ask: Callable[[], T | None], seconds: float = _PATIENCE_SECONDS) -> T:
    """The first truthy answer; fails the test with `what` when none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.02)
    pytest.fail(f"waited {seconds:g} s in vain for {what}")


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of the local AWS, and what tests ask of it."""

    client: Any
    url: str
    arn: str

    def send(self, *bodies: str, **options: Any) -> None:
        """One message per body, in batches of 10."""
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(i), "MessageBody": b, **options} for i, b in enumerate(bodies[start : start + 10])]
            assert not self.client.send_message_batch(QueueUrl=self.url, Entries=entries).get("Failed")

    def take(self, number: int = 1, visibility: int = 600) -> list[dict[str, Any]]:
        """So many messages with all attributes, waited for; left in flight."""
        taken: list[dict[str, Any]] = []
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(taken) < number and time.monotonic() < deadline:
            taken += self.client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(10, number - len(taken)),
                WaitTimeSeconds=1,
                VisibilityTimeout=visibility,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
        assert len(taken) == number, f"{len(taken)} of {number} messages came"
        return taken

    def count(self) -> int:
        """Messages in it, visible, in flight or delayed."""
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        attributes = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def set(self, **attributes: Any) -> None:
        """Set attributes; what is not a string becomes JSON."""
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
        self.client.set_queue_attributes(QueueUrl=self.url, Attributes=texts)

    def allow(self, service: str, source_arn: str) -> None:
        """A policy that lets one service send for one source."""
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sqs:SendMessage",
            "Resource": self.arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": source_arn}},
        }
        self.set(Policy={"Version": "2012-10-17", "Statement": [statement]})


@dataclass(frozen=True, slots=True)
class RecordingFunction:
    """A function that records its invocations, and answers with the Python expression it was made with."""

    name: str
    arn: str
    record: Path

    def invocations(self) -> list[dict[str, Any]]:
        """What it saw so far: event, env, path, version, at."""
        written = self.record.read_text() if self.record.exists() else ""
        whole = written[: written.rfind("\n") + 1]  # the last line may still be being written
        return [json.loads(line) for line in whole.splitlines()]

    def await_invocations(self, number: int) -> list[dict[str, Any]]:
        """At least so many, waited for."""
        return wait_for(f"{number} invocations", lambda: seen if len(seen := self.invocations()) >= number else None)

    def hold(self) -> None:
        """Let no invocation end until `release`."""
        self.record.with_suffix(".hold").touch()

    def release(self) -> None:
        """Let them end."""
        self.record.with_suffix(".hold").unlink()
