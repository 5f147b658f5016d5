"""A real process is killed before each step, then the message comes again: nothing is lost, nothing done twice."""

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.aws import PROJECT, LocalAws
from node_remediation.settings import Settings
from node_remediation.steps import Step
from tests.e2e import events
from tests.e2e.system import Cluster, System
from tests.ledger.invocation import create_table

# Each delivery comes this much later than the one before: a lease, which is a minute, has run out by then.
_APART = 120.0  # seconds
_BEFORE_THE_ANSWER_IS_KNOWN = (Step.CALL, Step.RECORD)


@dataclass
class Function:
    """The real function against real queues, topic and ledger of the local AWS, one process per delivery."""

    system: System
    environment: dict[str, str]

    def deliver(self, body: str, message_id: str, *, receives: int, die_before: Step | None = None) -> Any:
        """What a delivery printed; None if it was killed."""
        record = {
            "messageId": message_id,
            "receiptHandle": "none",
            "body": body,
            "attributes": {"SentTimestamp": str(round(time.time() * 1000)), "ApproximateReceiveCount": str(receives)},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
        }
        order = {"batch": {"Records": [record]}, "later": (receives - 1) * _APART, "kill": die_before}
        done = subprocess.run(
            [sys.executable, "-m", "tests.ledger.child"],
            cwd=PROJECT,
            input=json.dumps(order),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if die_before:
            assert done.returncode == -signal.SIGKILL, done.stderr
            return None
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def deliver_until_done(self, body: str, message_id: str, *, receives: int) -> list[tuple[str, str | None]]:
        """The outcomes of the delivery that was acknowledged."""
        for received in range(receives, 6):
            answer = self.deliver(body, message_id, receives=received)
            if not answer["handed_back"]:
                return [(ending["outcome"], ending["code"]) for ending in answer["endings"]]
        raise AssertionError("never acknowledged")


@pytest.fixture(scope="module")
def function() -> Iterator[Function]:
    with LocalAws() as aws:
        sqs, sns = aws.client("sqs"), aws.client("sns")
        outputs = {"FailureTopicArn": sns.create_topic(Name="failures")["TopicArn"]}
        for name, queue in (("IntakeQueueUrl", "intake"), ("DeadLetterQueueUrl", "dead")):
            outputs[name] = sqs.create_queue(QueueName=queue)["QueueUrl"]
        environment = {
            **aws.env,
            **Settings().to_env(),
            "PYTHONPATH": str(PROJECT / "lambda"),
            "INTAKE_QUEUE_URL": outputs["IntakeQueueUrl"],
            "INTAKE_QUEUE_ARN": "arn:intake",
            "DEAD_LETTER_QUEUE_URL": outputs["DeadLetterQueueUrl"],
            "DEAD_LETTER_QUEUE_ARN": "arn:dead",
            "FAILURE_TOPIC_ARN": outputs["FailureTopicArn"],
            "LEDGER_TABLE": create_table(aws, "ledger"),
            "MODE_PARAMETER": "/mode",
        }
        yield Function(System(aws, outputs, alarm_topic=""), environment)


def expected(fate: str, killed_before: Step | None) -> tuple[str, str | None]:
    """Outcome and code: what was not known when the process died is unknown for good."""
    if fate == "lost" or killed_before in _BEFORE_THE_ANSWER_IS_KNOWN:
        return "failed", "OutcomeUnknown"
    return ("failed", "InstanceIdInUse") if fate == "in use" else ("rebooted", None)


def report(function: Function, fate: str) -> tuple[Cluster, str, str]:
    """A report of a node whose reboot is going to succeed, to fail, or to lose its answer; and its message ID."""
    cluster = function.system.cluster(10)
    if fate == "in use":
        function.system.set_node(cluster, cluster.nodes[0], in_use=True)
    if fate == "lost":
        function.system.aws.faults(
            {"service": "sagemaker", "action": "BatchReboot", "body": cluster.name, "after": True, "reset": True}
        )
    return cluster, json.dumps(events.health(cluster.name, cluster.nodes[0])), uuid.uuid4().hex


def told(function: Function, cluster: Cluster) -> tuple[set[str], set[str]]:
    """The codes in the dead-letter queue, and those on the topic."""
    letters = function.system.letters(count=0, ClusterName=cluster.name)
    topic = function.system.notifications(cluster.name, count=0)
    return (
        {letter["attributes"]["ErrorCode"] for letter in letters},
        {entry["ErrorCode"] for each in topic for entry in each["message"]["Failed"]},
    )


def test_each_step_is_met_by_a_delivery_that_is_not_killed(function: Function) -> None:
    """The kill points below are the code's own list: a step that is never met could not be killed at."""
    _, body, message_id = report(function, "success")
    assert function.deliver(body, message_id, receives=1)["steps"] == [step.value for step in Step]


@pytest.mark.parametrize("fate", ["success", "in use", "lost"])
@pytest.mark.parametrize("killed_before", list(Step))
def test_killed_delivery_is_carried_on_with(function: Function, fate: str, killed_before: Step) -> None:
    """One outcome, at most one call, and people and machines know of a failure, wherever the process died."""
    cluster, body, message_id = report(function, fate)
    function.deliver(body, message_id, receives=1, die_before=killed_before)
    outcomes = function.deliver_until_done(body, message_id, receives=2)
    function.system.aws.admin("DELETE", "/_local/faults")

    assert outcomes == [expected(fate, killed_before)]
    calls = function.system.aws.admin("GET", "/_local/hyperpod/calls")["calls"]
    assert len([call for call in calls if call["cluster"] == cluster.name]) == (0 if killed_before is Step.CALL else 1)
    code = outcomes[0][1]
    assert told(function, cluster) == (({code}, {code}) if code else (set(), set()))


@pytest.mark.parametrize("killed_before", [step for step in Step if step not in _BEFORE_THE_ANSWER_IS_KNOWN])
def test_failed_node_of_a_killed_delivery_does_not_cool_down(function: Function, killed_before: Step) -> None:
    """It was not rebooted, and the ledger knows: the next report of it reboots it at once."""
    cluster, body, message_id = report(function, "in use")
    function.deliver(body, message_id, receives=1, die_before=killed_before)
    function.deliver_until_done(body, message_id, receives=2)
    function.system.set_node(cluster, cluster.nodes[0], in_use=False)
    again = json.dumps(events.health(cluster.name, cluster.nodes[0]))
    assert function.deliver_until_done(again, uuid.uuid4().hex, receives=3) == [("rebooted", None)]
    assert function.system.reboots(cluster) == [cluster.nodes[0]]


@pytest.mark.parametrize("killed_before", _BEFORE_THE_ANSWER_IS_KNOWN)
def test_delivery_that_comes_while_the_killed_one_could_still_be_at_work_is_handed_back(
    function: Function, killed_before: Step
) -> None:
    """Nobody can tell a killed process from a slow one before its lease is over."""
    _, body, message_id = report(function, "success")
    function.deliver(body, message_id, receives=1, die_before=killed_before)
    at_once = function.deliver(body, message_id, receives=1)
    assert (at_once["endings"], list(at_once["handed_back"])) == ([], [message_id])
