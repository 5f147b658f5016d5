"""Lets services fail for a while, and kills the function: nothing is lost, nothing is called or said twice.

Each story awaits its trouble before the next one begins, as a batch is sent to queue or topic as a whole.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from local.aws import LocalAws
from local.deploy import deploy
from tests.e2e import events
from tests.e2e.stories import Stage, Story, StoryScene, chosen, quiet, story
from tests.e2e.system import System, eventually

# Shorter than as deployed, and with it the lease of a claim; longer than a call and what is kept for sending.
_FUNCTION_SECONDS = 40
# When a message comes again that a crash left; longer than the function may take.
_VISIBILITY_SECONDS = 60
# The SDK tries a call three times: so each of these fails what is done first, and not what is done half a minute later.
_DOWN = {"count": 3, "status": 500, "code": "InternalFailure"}


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A system on which the stories of the chosen tests have been played."""
    with LocalAws() as aws:
        context = {
            "remediation.batch_window": "1s",
            "remediation.budget_percent": "100",
            "remediation.healthy_for": "1s",
            "remediation.notification_emails": "oncall@example.com",
        }
        outputs = deploy(aws, context=context)
        functions, intake = aws.client("lambda"), outputs["IntakeQueueUrl"]
        functions.update_function_configuration(FunctionName=outputs["FunctionName"], Timeout=_FUNCTION_SECONDS)
        seconds = {"VisibilityTimeout": str(_VISIBILITY_SECONDS)}
        aws.client("sqs").set_queue_attributes(QueueUrl=intake, Attributes=seconds)
        system = System(aws, outputs, alarm_topic="")
        system.invoke(events.health("ml-warm-up", "i-0123456789abcdef0", "Marker"))
        played = Stage(system, chosen(request.session.items, __name__))
        played.play(patience=2 * _VISIBILITY_SECONDS)
        yield played


def kill_function(aws: LocalAws) -> None:
    """Kill all processes that the function runs in, as a crash of the runtime would."""
    server = aws.admin("GET", "/_local/health")["pid"]
    table = subprocess.run(["ps", "-A", "-o", "pid=", "-o", "ppid="], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in table.stdout.splitlines()]
    for pid in [int(pid) for pid, parent in pairs if int(parent) == server]:
        os.kill(pid, signal.SIGKILL)


def handed_back(scene: StoryScene, message_id: str) -> bool:
    lines = (line for line in scene.stage.log if line.get("message") == "handed back")
    return message_id in {line["message_id"] for line in lines}


def is_told_once(scene: StoryScene, code: str) -> dict[str, Any]:
    """See that one letter and one notice tell of the first node with this code, and return the letter's detail."""
    [letter], [told] = scene.letters(), scene.told()
    detail: dict[str, Any] = letter["detail"]
    assert (detail["NodeId"], detail["ErrorCode"]) == (scene.first, code)
    assert told["message"]["Failed"] == [{key: detail[key] for key in ("NodeId", "ErrorCode", "Message")}]
    return detail


# The first: the function is killed before any other story has begun.
@story()
def test_claim_of_a_killed_function_is_found_by_the_sweep(scene: StoryScene) -> Story:
    """The reboot was started and its answer never recorded: people are told so, and that the node has recovered.

    The message comes again and changes nothing.
    """
    scene.meets(service="sagemaker", action="BatchReboot", after=True, delay=8)
    scene.breaks()
    eventually(scene.reboots)
    kill_function(scene.system.aws)
    yield scene.became("recovered")
    yield scene.reported("cleared", count=2)  # HyperPod's Healthy, and the message that came again
    yield quiet
    assert scene.reboots() == [scene.first]
    assert len(scene.system.calls(scene.cluster)) == 1
    [letter], [told] = scene.letters(), scene.told()
    assert [entry["ErrorCode"] for entry in told["message"]["Failed"]] == ["OutcomeUnknown"]
    assert [entry["NodeId"] for entry in told["message"]["Recovered"]] == [scene.first]
    [lost] = scene.changes("rebooted")
    assert (lost["code"], letter["detail"]["ErrorCode"]) == ("OutcomeUnknown", "OutcomeUnknown")
    assert letter["detail"]["IncidentId"] == lost["incident"]


@story()
def test_topic_down_for_a_while_loses_nothing_and_repeats_nothing(scene: StoryScene) -> Story:
    """The letter is sent at once, the notice by a sweep; each once, and nothing is called again."""
    scene.meets(service="sns", action="PublishBatch", **_DOWN)
    scene.scripts(in_use=True)
    scene.breaks()
    scene.awaits(scene.reported("failed"))
    assert scene.told() == []
    yield scene.letters
    yield scene.told
    yield quiet
    is_told_once(scene, "InstanceIdInUse")
    assert len(scene.system.calls(scene.cluster)) == 1
    assert len(scene.reports("failed")) == 1


@story()
def test_dead_letter_queue_down_for_a_while_keeps_the_topic_silent_and_loses_nothing(scene: StoryScene) -> Story:
    """The topic hears of a failure only once its letter is sent; then each is there once."""
    scene.meets(service="sqs", action="SendMessageBatch", **_DOWN)
    scene.scripts(in_use=True)
    scene.breaks()
    scene.awaits(scene.reported("failed"))
    assert scene.told() == scene.letters() == []
    yield scene.told
    yield quiet
    is_told_once(scene, "InstanceIdInUse")
    assert len(scene.system.calls(scene.cluster)) == 1
    assert len(scene.reports("failed")) == 1


@story()
def test_message_that_names_no_node_waits_for_the_dead_letter_queue(scene: StoryScene) -> Story:
    """It goes back to the intake queue, and is in the dead-letter queue as it came, once."""
    scene.meets(service="sqs", action="SendMessageBatch", **_DOWN)
    request = events.request(scene.cluster.name) | {"detail": {"ClusterName": scene.cluster.name, "NodeIds": []}}
    message_id = scene.system.send(request)
    scene.awaits(lambda: handed_back(scene, message_id))
    assert scene.told() == scene.letters() == []
    yield scene.told
    yield quiet
    assert scene.letters() == [request]
    assert [entry["ErrorCode"] for entry in scene.told()[0]["message"]["Refused"]] == ["NodeNotResolved"]
    assert len(scene.told()) == 1


@story()
def test_ledger_that_cannot_be_read_brings_the_message_back_and_calls_once(scene: StoryScene) -> Story:
    """Without the ledger nothing is called; the message comes again after half a minute."""
    scene.meets(service="dynamodb", action="BatchGetItem", **_DOWN)
    scene.breaks(event=False)
    message_id = scene.system.send(events.health(scene.cluster.name, scene.first))
    scene.awaits(lambda: handed_back(scene, message_id))
    assert scene.system.calls(scene.cluster) == []
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert len(scene.reports("rebooted")) == 1
    assert (scene.kinds(), scene.letters()) == ([], [])


@story()
def test_report_throttled_for_long_waits_and_is_rebooted(scene: StoryScene) -> Story:
    """After four tries in one call the incident waits half a minute, and no one is told."""
    scene.meets(service="sagemaker", action="BatchReboot", count=4, status=400, code="ThrottlingException")
    scene.breaks()
    scene.awaits(scene.reported("waiting", code="ThrottlingException"))
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])
    assert scene.metric("Rebooted") == [1]


@story()
def test_cluster_that_cannot_be_described_is_waited_for(scene: StoryScene) -> Story:
    """A fact that is missing for a passing reason is no yes and no no."""
    scene.meets(service="sagemaker", action="DescribeCluster$", status=503, code="ServiceUnavailable")
    scene.breaks()
    yield scene.reported("waiting", code="ServiceUnavailable")
    assert scene.system.calls(scene.cluster) == []
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert (scene.kinds(), scene.letters()) == ([], [])


def test_nothing_is_pending(stage: Stage) -> None:
    """The intake queue is empty, and nothing in the ledger waits for anything."""
    assert stage.is_quiet()
