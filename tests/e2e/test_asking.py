"""Waits and proposals on the deployed system: what is withdrawn, approved, vetoed, answered late, or not at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.aws import LocalAws
from local.deploy import deploy
from node_remediation.settings import ENVIRONMENT_VARIABLE
from tests.e2e import events
from tests.e2e.stories import Condition, Stage, Story, StoryScene, chosen, quiet, story
from tests.e2e.system import System, eventually

WAIT, ASK_TIMEOUT = 3, 15  # seconds
OVERRIDES = [
    {"reason": "*wait long*", "wait": "1h"},
    {"reason": "*wait*", "wait": f"{WAIT}s"},
    {"reason": "*ask*", "action": "ask"},
]


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A system that waits or asks by a complaint's reason, on which the chosen stories have been played."""
    with LocalAws() as aws:
        outputs = deploy(
            aws,
            context={
                "remediation.batch_window": "1s",
                "remediation.budget_percent": "100",
                "remediation.cooldown": "10s",
                "remediation.verify_after": "2s",
                # Long enough for a relapse to be in time on a loaded machine.
                "remediation.healthy_for": "8s",
                "remediation.verify_timeout": "60s",
                "remediation.overrides": json.dumps(OVERRIDES),
                "remediation.ask_timeout": f"{ASK_TIMEOUT}s",
                "remediation.notification_emails": "oncall@example.com",
            },
        )
        system = System(aws, outputs, alarm_topic="")
        # A cold start takes seconds, in which what is to come in turn would come at once.
        system.invoke(events.health("ml-warm-up", "i-0123456789abcdef0", "Marker"))
        played = Stage(system, chosen(request.session.items, __name__))
        played.play()
        yield played


def proposed(scene: StoryScene) -> Condition:
    """Return the condition that people were asked."""
    return lambda: "proposed" in scene.kinds()


def incident(scene: StoryScene) -> str:
    """Return the incident of the one proposal on the topic, after seeing that it says what an answer takes."""
    [told] = [told for told in scene.told() if told["attributes"]["Kind"] == "proposed"]
    [proposal] = told["message"]["Proposed"]
    assert proposal["NodeId"] == scene.first
    assert proposal["Reason"] == "ask first"
    assert proposal["Expires"] > told["message"]["Time"]
    return str(proposal["IncidentId"])


def answers(scene: StoryScene, verdict: str) -> None:
    """Put an answer to the scene's proposal on the intake queue."""
    detail = {"IncidentId": incident(scene), "By": "jo", "Reason": "a run ends at noon"}
    kind = f"HyperPod Node Reboot {verdict}"
    scene.system.send({"source": "hyperpod.node-remediation", "detail-type": kind, "detail": detail})


def ignored(scene: StoryScene) -> list[dict[str, Any]]:
    """Return the log's lines of answers to the scene's proposal that changed nothing."""
    lines = [line for line in scene.stage.log if line.get("outcome") == "ignored"]
    return [line for line in lines if incident(scene) in json.dumps(line)]


# -- wait


@story()
def test_complaint_that_is_withdrawn_within_its_wait_reboots_nothing_and_tells_nobody(scene: StoryScene) -> Story:
    """Its incident ends as cleared."""
    scene.breaks(reason="wait long")
    yield scene.reported("waiting")
    scene.heals()
    yield scene.became("cleared")
    yield quiet
    assert (scene.reboots(), scene.kinds(), scene.letters()) == ([], [], [])
    assert scene.ends() == [(scene.first, "cleared")]


@story()
def test_complaint_that_stands_for_its_wait_is_acted_on(scene: StoryScene) -> Story:
    """The sweep does it; recovery is proven as after any reboot."""
    scene.breaks(reason="wait")
    yield scene.became("recovered")
    yield quiet
    assert len(scene.reports("waiting")) == 1
    assert scene.reboots() == [scene.first]
    [to_reboot] = scene.metric("TimeToReboot")
    assert WAIT <= to_reboot < WAIT + 20


# -- ask first


@story()
def test_approved_reboot_is_made(scene: StoryScene) -> Story:
    """People were asked once, by mail too; what follows is one incident."""
    scene.breaks(reason="ask first")
    yield proposed(scene)
    assert scene.reboots() == []
    answers(scene, "Approved")
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.kinds() == ["proposed"]
    [line] = scene.changes("recovered")
    assert line["incident"] == incident(scene)
    assert incident(scene) in scene.mail("REBOOT PROPOSED, approve or veto it")
    assert scene.letters() == []


@story()
def test_vetoed_reboot_is_refused_with_who_and_why(scene: StoryScene) -> Story:
    """In letter and topic."""
    scene.breaks(reason="ask first")
    yield proposed(scene)
    answers(scene, "Vetoed")
    yield scene.became("refused")
    yield quiet
    assert scene.reboots() == []
    assert scene.kinds() == ["proposed", "refused"]
    [letter] = scene.letters()
    assert letter["detail"]["ErrorCode"] == "Vetoed"
    assert letter["detail"]["Message"] == "vetoed by jo: a run ends at noon"


@story()
def test_reboot_without_an_answer_is_refused_and_a_late_answer_changes_nothing(scene: StoryScene) -> Story:
    """The default of on_no_answer; the log says that the answer came too late."""
    scene.breaks(reason="ask first")
    yield scene.became("refused")
    answers(scene, "Approved")
    yield lambda: ignored(scene)
    yield quiet
    assert scene.reboots() == []
    assert [letter["detail"]["ErrorCode"] for letter in scene.letters()] == ["NotApproved"]
    assert scene.kinds() == ["proposed", "refused"]


@story()
def test_second_answer_changes_nothing(scene: StoryScene) -> Story:
    """Approved twice is one reboot, and a veto after it none less."""
    scene.breaks(reason="ask first")
    yield proposed(scene)
    for verdict in ("Approved", "Approved"):
        answers(scene, verdict)
    yield scene.reported("rebooted")
    answers(scene, "Vetoed")
    yield scene.became("recovered")
    yield lambda: len(ignored(scene)) == 2
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.kinds() == ["proposed"]


# -- recovery


@story()
def test_relapse_soon_after_a_sign_of_health_is_the_same_incident(scene: StoryScene) -> Story:
    """Healthy, and sick again within healthy_for: not recovered yet; it is rebooted again after its cooldown."""
    scene.breaks()
    yield scene.reported("cleared")
    healthy = datetime.fromisoformat(scene.reports("cleared")[0]["report_time"])
    yield lambda: datetime.now(UTC) >= healthy + timedelta(seconds=1)  # in the same second, healthy wins
    scene.breaks()
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first] * 2
    assert scene.ends() == [(scene.first, "recovered")]
    assert {line["incident"] for line in [*scene.changes("rebooted"), *scene.changes("recovered")]} == {
        scene.changes("recovered")[0]["incident"]
    }
    assert scene.metric("Recovered") == [1]


# -- all of them together


def test_nothing_is_pending_and_nothing_broke_underneath(stage: Stage) -> None:
    """Nothing in the ledger waits, no message was handed back, and no error was logged."""
    assert stage.is_quiet()
    assert [line for line in stage.log if line["level"] in ("ERROR", "CRITICAL")] == []
    assert [line for line in stage.log if line.get("message") == "handed back"] == []


def test_reboot_without_an_answer_is_made_where_on_no_answer_says_so(stage: Stage) -> None:
    """A drain hook that has died holds up nothing for ever."""
    system = stage.system
    cluster = system.cluster(reboot_seconds=1.2)
    node = cluster.nodes[0]
    with changed(system, on_no_answer="reboot", ask_timeout="2s"):
        body = {"cluster": cluster.name, "node": node, "reason": "ask first"}
        system.aws.admin("POST", "/_local/hyperpod/nodes/break", body)
        eventually(lambda: system.reboots(cluster) == [node])
        told = system.notifications(cluster.name)
    assert [each["attributes"]["Kind"] for each in told] == ["proposed"]


@contextmanager
def changed(system: System, **settings: str) -> Iterator[None]:
    """Change settings in the function's environment: another deploy would take longer."""
    functions, name = system.aws.client("lambda"), system.outputs["FunctionName"]
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    changed = json.dumps(json.loads(before[ENVIRONMENT_VARIABLE]) | settings)
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": before | {ENVIRONMENT_VARIABLE: changed}}
    )
    yield
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": before})
