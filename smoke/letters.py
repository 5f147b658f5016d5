"""Takes the letters of smoke runs off the dead-letter queue, and leaves all others where they are."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Letter = dict[str, Any]

# No cluster has such a name: each run makes one up.
CLUSTER_PREFIX = "hyperpod-smoke-"
# A letter of another run that is older than this has no reader any more: that run has ended.
_ABANDONED = timedelta(minutes=10)
_HELD_SECONDS = 60


@dataclass(slots=True)
class Letters:
    """Has the letters of one run's cluster, as far as they were found."""

    sqs: Any
    url: str
    cluster: str
    found: list[Letter] = field(default_factory=list)

    def await_letter(self, matches: Callable[[Letter], bool], *, seconds: float) -> Letter | None:
        """Return the body of the first letter that matches; None if none has come in time."""
        deadline = time.monotonic() + seconds
        while True:
            self.take()
            if letter := next((each for each in self.found if matches(each["detail"])), None):
                return letter
            if time.monotonic() >= deadline:
                return None

    def take(self) -> None:
        """Take this run's visible letters and the abandoned ones; others are visible again at once."""
        others: list[str] = []
        try:
            while messages := self._receive():
                for message in messages:
                    others += self._keep_or_pass(message)
        finally:
            for handle in others:
                self.sqs.change_message_visibility(QueueUrl=self.url, ReceiptHandle=handle, VisibilityTimeout=0)

    def _receive(self) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=_HELD_SECONDS
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _keep_or_pass(self, message: dict[str, Any]) -> list[str]:
        """Delete a letter of a smoke run, and keep it if it is this run's. Return the handle of any other."""
        letter, handle = _read(message["Body"]), message["ReceiptHandle"]
        cluster = letter["detail"].get("ClusterName") if letter else None
        if letter is None or not (cluster == self.cluster or _is_abandoned(letter, cluster)):
            return [handle]
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=handle)
        if cluster == self.cluster and letter not in self.found:  # SQS may deliver twice
            self.found.append(letter)
        return []

    def count_delayed(self) -> int:
        """Return the number of letters that are not visible yet."""
        name = "ApproximateNumberOfMessagesDelayed"
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
        return int(answer["Attributes"][name])


def _read(body: str) -> Letter | None:
    try:
        letter = json.loads(body)
    except ValueError:
        return None
    return letter if isinstance(letter, dict) and isinstance(letter.get("detail"), dict) else None


def _is_abandoned(letter: Letter, cluster: object) -> bool:
    if not isinstance(cluster, str) or not cluster.startswith(CLUSTER_PREFIX):
        return False
    try:
        written = datetime.fromisoformat(str(letter.get("time")))
        return datetime.now(UTC) - written > _ABANDONED
    except (ValueError, TypeError):
        return False
