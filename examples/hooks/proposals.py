"""Takes proposed reboots from a queue that is subscribed to the failure topic, and sends the answers.

The queue is the only memory. A message stays in it until it is answered or expired, and comes back every few seconds:
so a hook that is killed loses nothing, and a slow drain keeps no other node waiting.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

_MOST_POLLING = 20  # seconds, the longest that SQS takes
_MOST_SECONDS = 3_600


class HookError(Exception):
    """Says in one line why a proposal cannot be answered now. It is tried again until it expires."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A reboot that waits for an answer. It names the node by one of its IDs."""

    cluster: str
    incident: str
    expires: datetime
    node_id: str | None
    logical_id: str | None

    @classmethod
    def read(cls, cluster: str, entry: Mapping[str, str]) -> "Proposal":
        expires = datetime.fromisoformat(entry["Expires"])
        return cls(cluster, entry["IncidentId"], expires, entry.get("NodeId"), entry.get("NodeLogicalId"))

    def describe_node(self) -> Mapping[str, Any]:
        """Look up the node. Raises HookError."""
        id_ = {"NodeId": self.node_id} if self.node_id else {"NodeLogicalId": self.logical_id}
        try:
            answer = boto3.client("sagemaker").describe_cluster_node(ClusterName=self.cluster, **id_)
        except (BotoCoreError, ClientError) as error:
            raise HookError(str(error)) from error
        details: Mapping[str, Any] = answer["NodeDetails"]
        return details


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a proposal, and why."""

    approved: bool
    reason: str


# Returns None where it is too early for an answer. Raises HookError.
Decide = Callable[[Proposal], Answer | None]


def parser(name: str, description: str | None, *, cluster_required: bool) -> argparse.ArgumentParser:
    """Make a parser of the options that all hooks have. Answers are given in the hook's name."""
    made = argparse.ArgumentParser(prog=name, description=description, allow_abbrev=False)
    made.add_argument("--queue-url", required=True, help="this hook's own queue, subscribed to the failure topic")
    made.add_argument("--intake-url", required=True, help="the stack's output IntakeQueueUrl")
    made.add_argument("--cluster", required=cluster_required, help="answer proposals of this HyperPod cluster only")
    made.add_argument("--every", type=_seconds, default=30, metavar="SECONDS", help="how often it looks (default 30)")
    made.add_argument("--once", action="store_true", help="look once, then end; the status is 1 if anything failed")
    made.set_defaults(by=name)
    return made


def _seconds(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= _MOST_SECONDS:
        return int(text)
    raise argparse.ArgumentTypeError(f"takes a whole number from 1 to {_MOST_SECONDS}")


def run(options: argparse.Namespace, decide: Decide, tidy: Callable[[], None] = lambda: None) -> int:
    """Answer proposals until Ctrl-C. After each look, `tidy` returns nodes to service."""
    hook = _Hook(options, decide)
    try:
        while True:
            well = hook.attempts(hook.look) & hook.attempts(tidy)
            if options.once:
                return 0 if well else 1
            if not well:
                time.sleep(options.every)
    except KeyboardInterrupt:
        return 130


def say(text: str) -> None:
    """Print one line to standard error, where a service manager's log gets it."""
    print(" ".join(text.split()), file=sys.stderr, flush=True)


class _Hook:
    def __init__(self, options: argparse.Namespace, decide: Decide) -> None:
        self._options, self._decide = options, decide
        self._sqs = boto3.client("sqs")

    def attempts(self, step: Callable[..., None], *arguments: object) -> bool:
        """Take a step, and tell whether it went well."""
        try:
            step(*arguments)
        except (HookError, BotoCoreError, ClientError) as error:
            say(f"error: {error}")
            return False
        return True

    def look(self) -> None:
        """Answer what can be answered now. Raises HookError, after all messages, if one of them could not be."""
        every = self._options.every
        received = self._sqs.receive_message(
            QueueUrl=self._options.queue_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=every,
            WaitTimeSeconds=min(every, _MOST_POLLING),
        )
        done = [self.attempts(self._take, message) for message in received.get("Messages", ())]
        if not all(done):
            raise HookError(f"{done.count(False)} of {len(done)} messages are looked at again in {every} s")

    def _take(self, message: Mapping[str, Any]) -> None:
        notice, proposals = _read(message["Body"])
        if len(proposals) > 1:  # each is answered at a time of its own: so each becomes a message of its own
            for entry in notice["Proposed"]:
                self._send(self._options.queue_url, notice | {"Proposed": [entry]})
        elif proposals and not self._is_over(proposals[0]):
            return  # the message comes back
        self._sqs.delete_message(QueueUrl=self._options.queue_url, ReceiptHandle=message["ReceiptHandle"])

    def _is_over(self, proposal: Proposal) -> bool:
        """Answer a proposal if it is time; tell whether nothing is left to do about it."""
        named = f"{proposal.node_id or proposal.logical_id} of {proposal.cluster}, incident {proposal.incident}"
        if datetime.now(UTC) >= proposal.expires:
            say(f"expired: {named}: the setting on_no_answer decides")
            return True
        if self._options.cluster not in (None, proposal.cluster):
            return False  # another cluster's hook may share the queue
        answer = self._decide(proposal)
        if answer is None:
            return False
        verdict = "Approved" if answer.approved else "Vetoed"
        detail = {"IncidentId": proposal.incident, "By": self._options.by, "Reason": answer.reason}
        kind = f"HyperPod Node Reboot {verdict}"
        event = {"source": "hyperpod.node-remediation", "detail-type": kind, "detail": detail}
        self._send(self._options.intake_url, event)
        say(f"{verdict.lower()}: {named}: {answer.reason}")
        return True

    def _send(self, queue_url: str, body: Mapping[str, Any]) -> None:
        self._sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(body))


def _read(body: str) -> tuple[dict[str, Any], list[Proposal]]:
    """Return the notification in a message, with SNS's envelope or without, and its proposals."""
    try:
        notice = json.loads(body)
        notice = json.loads(notice["Message"]) if "Message" in notice else notice
        return notice, [Proposal.read(notice["ClusterName"], entry) for entry in notice["Proposed"]]
    except (ValueError, TypeError, KeyError):
        say(f"no proposal, deleted: {body[:100]}")
        return {}, []
