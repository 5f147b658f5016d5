"""How watched nodes end, on the deployed system: each ending, and what reaches topic and dead-letter queue then."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.aws import LocalAws
from local.deploy import deploy
from tests.e2e import events
from tests.e2e.stories import Scene, Stage, Story, quiet, story
from tests.e2e.system import System, now

COOLDOWN, VERIFY_TIMEOUT = 6, 10  # seconds
LOST_ANSWER = {"service": "sagemaker", "action": "BatchReboot", "after": True, "reset": True}


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A system with short durations, on which the stories of the chosen tests have been played."""
    with LocalAws() as aws:
        outputs = deploy(
            aws,
            context={
                "remediation.batch_window": "1s",
                "remediation.budget_percent": "100",
                "remediation.cooldown": f"{COOLDOWN}s",
                "remediation.verify_after": "2s",
                "remediation.verify_timeout": f"{VERIFY_TIMEOUT}s",
                "remediation.retry_attempts": "2",
                "remediation.retry_delay": "2s",
                "remediation.notification_emails": "oncall@example.com",
            },
        )
        system = System(aws, outputs, alarm_topic="")
        # A cold start takes seconds, in which what is to come in turn would come at once.
        system.invoke(events.health("ml-nobody", "i-0123456789abcdef0", "Marker"))
        chosen = [vars(getattr(item, "function", stage)).get("story") for item in request.session.items]
        played = Stage(system, [each for each in chosen if each])
        played.play()
        yield played


def alarm_event(scene: Scene, *, muted_for: float = 0) -> dict[str, Any]:
    """The event of this cluster's alarm about its first node, with a mute window that ends so many seconds from now."""
    event = events.alarm({"HyperPodClusterName": scene.cluster.name, "InstanceId": scene.first}, name=scene.alarm)
    if muted_for:
        end = (datetime.now(UTC) + timedelta(seconds=muted_for)).isoformat(timespec="milliseconds")
        rule = "arn:aws:cloudwatch:us-east-1:000000000000:alarm-mute-rule:maintenance"
        event["detail"]["muteDetail"] = {"mutedByArn": rule, "muteWindowEnd": end.replace("+00:00", "Z")}
    return event


def contributor_event(scene: Scene, node: str) -> dict[str, Any]:
    event = events.contributor(scene.cluster.name, node)
    event["detail"]["alarmName"] = scene.alarm
    return event


def not_recovered(scene: Scene, *, node: str | None = None) -> dict[str, Any]:
    """The detail of the one dead letter, after seeing that topic and log say the same, once."""
    [letter], [told], [line] = scene.letters(), scene.told(), scene.lines("not_recovered")
    detail: dict[str, Any] = letter["detail"]
    assert letter["detail-type"] == "HyperPod Node Reboot Failed"
    assert (detail["NodeId"], detail["ErrorCode"]) == (node or scene.first, "NotRecovered")
    assert told["attributes"] == {
        "ClusterName": scene.cluster.name,
        "Kind": "failed",
        "ErrorCodes": '["NotRecovered"]',
    }
    assert told["message"]["Failed"] == [{key: detail[key] for key in ("NodeId", "ErrorCode", "Message")}]
    assert line["reason"] == detail["Message"]
    assert scene.metric("NotRecovered") == [1]
    return detail


# -- a reboot that a health event asked for


@story()
def test_healthy_event_after_the_reboot_is_recovery_and_no_news(scene: Scene) -> Story:
    """Nobody had been told anything, so nobody is told; the metrics know how long it took."""
    scene.breaks()
    yield scene.seen("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert scene.lines("recovered")[0]["reason"].startswith("reported healthy at ")
    assert (scene.kinds(), scene.letters()) == ([], [])
    assert scene.metric("Recovered") == scene.metric("Rebooted") == [1]
    [to_reboot], [to_recovery] = scene.metric("TimeToReboot"), scene.metric("TimeToRecovery")
    assert 0 <= to_reboot < 15
    assert 0 <= to_recovery < 15


@story()
def test_slow_node_is_waited_for(scene: Scene) -> Story:
    """Checks that find nothing say nothing; the reboot takes longer than the cooldown and is not made twice."""
    scene.breaks(reboot={"seconds": COOLDOWN + 1})
    yield scene.seen("waiting")
    yield scene.seen("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])
    [took] = scene.metric("TimeToRecovery")
    assert COOLDOWN < took < 2 * COOLDOWN + 15
    assert scene.metric("Waiting") == []


@story()
def test_node_back_after_the_time_out_has_ended_already(scene: Scene) -> Story:
    """A Healthy event after NotRecovered clears, and is no second end."""
    scene.breaks(reboot={"seconds": VERIFY_TIMEOUT + 4})
    yield scene.seen("not_recovered")
    yield scene.seen("cleared")
    yield quiet
    assert scene.ends() == [(scene.first, "not_recovered")]
    assert "status Pending (Instance is rebooting)" in not_recovered(scene)["Message"]


@story()
def test_lost_answer_and_then_healthy_is_one_failure_and_one_recovery_notice(scene: Scene) -> Story:
    """People were told that nobody knows; now somebody does."""
    scene.system.aws.faults(LOST_ANSWER | {"body": scene.cluster.name})
    scene.breaks()
    yield scene.seen("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.kinds() == ["failed", "recovered"]
    assert [letter["detail"]["ErrorCode"] for letter in scene.letters()] == ["OutcomeUnknown"]
    [entry] = scene.told()[1]["message"]["Recovered"]
    assert entry["NodeId"] == scene.first
    assert scene.told()[1]["attributes"] == {"ClusterName": scene.cluster.name, "Kind": "recovered"}
    mail = scene.mail("1 recovered")
    assert "1 node has recovered:" in mail
    assert "reported healthy at" in mail
    assert "dead-letter queue" not in mail


@story()
def test_silent_node_that_runs_at_the_time_out_has_recovered(scene: Scene) -> Story:
    """No event ever says so; that it did not take as long is all that can be known."""
    scene.breaks(reboot={"says_so": False})
    yield scene.seen("recovered")
    yield quiet
    assert scene.ends() == [(scene.first, "recovered")]
    assert "its status is Running" in scene.lines("recovered")[0]["reason"]
    assert (scene.kinds(), scene.letters()) == ([], [])
    assert scene.metric("TimeToRecovery") == []
    assert max(scene.checks()) >= 2


@story()
def test_replaced_node_is_superseded(scene: Scene) -> Story:
    """HyperPod put another instance in its place: the reboot's story is over, and nobody is woken."""
    scene.breaks(reboot={"ends": "replaced", "pending_seconds": 1})
    yield scene.seen("superseded")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "superseded")]
    assert (scene.kinds(), scene.letters()) == ([], [])
    assert scene.metric("Superseded") == [1]


@story()
def test_node_reported_by_its_logical_id_is_superseded_with_its_instance(scene: Scene) -> Story:
    """The logical ID still names a node, but another one; those who heard of the lost answer hear of this too."""
    logical_id = scene.cluster.logical_ids[0]
    scene.scripts(reboot={"ends": "replaced"})
    scene.system.aws.faults(LOST_ANSWER | {"body": scene.cluster.name})
    scene.system.put(events.unhealthy_instance(scene.cluster.name, None, logical_id))
    yield scene.seen("superseded")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(logical_id, "superseded")]
    assert scene.kinds() == ["failed", "superseded"]
    [entry] = scene.told()[1]["message"]["Superseded"]
    assert entry["NodeLogicalId"] == logical_id
    assert len(scene.letters()) == 1


@story()
def test_stuck_node_is_not_recovered_and_its_redriven_letter_is_a_new_attempt(scene: Scene) -> Story:
    """Topic, dead letter and mail say what was seen; once somebody has freed the node, a redrive reboots it."""
    scene.breaks(reboot={"ends": "stuck", "status": "Pending", "message": "Waiting for capacity"})
    yield scene.seen("not_recovered")
    yield lambda: scene.letters() and scene.told()
    [letter] = scene.letters()
    assert not_recovered(scene) == letter["detail"]
    scene.scripts(status="Running", reboot={})
    scene.system.send(letter)
    yield scene.seen("recovered")
    yield quiet
    detail = letter["detail"]
    assert "status Pending (Waiting for capacity)" in detail["Message"]
    assert "never reported healthy" in detail["Message"]
    assert (detail["Retryable"], detail["Attempt"]) == (False, 1)
    assert detail["Trigger"]["DetailType"] == "SageMaker HyperPod Cluster Node Health Event"
    mail = scene.mail("1 not recovered")
    for needed in (scene.first, "NotRecovered", "Waiting for capacity", "batch-replace-cluster-nodes", "HMA"):
        assert needed in mail
    assert sorted(scene.ends()) == [(scene.first, "not_recovered"), (scene.first, "recovered")]
    assert scene.reboots() == [scene.first] * 2
    assert len(scene.letters()) == 1


@story()
def test_node_that_stays_sick_is_rebooted_again_and_then_given_up(scene: Scene) -> Story:
    """Again once its cooldown is over; then the limit stands against it, and one message says all of that."""
    scene.breaks(reboot={"ends": "stays_sick", "says_so": True})
    yield scene.seen("not_recovered")
    yield quiet
    assert scene.reboots() == [scene.first] * 2
    first, second = (call["time"] for call in scene.system.calls(scene.cluster))
    assert second - first >= COOLDOWN
    assert scene.ends() == [(scene.first, "not_recovered")]
    detail = not_recovered(scene)
    assert "not rebooted again: RebootLimitReached: 2 of 2 reboots" in detail["Message"]
    assert "last reported unhealthy at" in detail["Message"]
    assert scene.lines("refused") == []


@story()
def test_node_that_only_seemed_to_recover_is_followed_again(scene: Scene) -> Story:
    """It is well, and ill again within the cooldown: a duplicate that is not forgotten."""
    scene.breaks()
    yield scene.seen("recovered")
    # Events have whole seconds: in the same one it would be older than the recovery.
    second = int(time.time())
    yield lambda: time.time() >= second + 1
    scene.breaks()
    yield scene.seen("duplicate")
    yield scene.seen("recovered", count=2)
    yield quiet
    assert scene.reboots() == [scene.first] * 2
    assert scene.ends() == [(scene.first, "recovered")] * 2
    assert (scene.kinds(), scene.letters()) == ([], [])


# -- a reboot that an alarm asked for


@story()
def test_alarm_that_turns_ok_is_recovery(scene: Scene) -> Story:
    """HyperPod's own Healthy event does not answer for the alarm; the alarm's does."""
    scene.alarm_is("ALARM")
    yield scene.seen("rebooted")
    scene.heals()
    yield scene.seen("cleared")
    assert scene.ends() == []
    scene.set_state("OK")
    yield scene.seen("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story()
def test_alarm_that_turned_ok_unheard_is_asked_for(scene: Scene) -> Story:
    """The event was lost; DescribeAlarms knows."""
    scene.alarm_is("ALARM")
    yield scene.seen("rebooted")
    with scene.stage.events_of_alarms_lost():
        scene.set_state("OK")
    yield scene.seen("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert scene.lines("recovered")[0]["reason"] == f"alarm {scene.alarm} is OK"
    assert scene.lines("cleared") == []
    [took] = scene.metric("TimeToRecovery")
    assert 0 < took < VERIFY_TIMEOUT + 15


@story()
def test_alarm_that_stays_in_alarm_is_judged_again_without_another_event(scene: Scene) -> Story:
    """It has nothing more to say, for its state does not change; the node is rebooted again, and that helps."""
    scene.alarm_is("ALARM")
    yield scene.seen("rebooted", count=2)
    scene.set_state("OK")
    yield scene.seen("recovered")
    yield quiet
    assert scene.reboots() == [scene.first] * 2
    first, second = (call["time"] for call in scene.system.calls(scene.cluster))
    assert second - first >= COOLDOWN
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story()
def test_series_that_is_gone_is_recovery_while_another_keeps_the_alarm_up(scene: Scene) -> Story:
    """Of two nodes of one alarm one is well again, though it flapped; the other is rebooted once more and given up."""
    well, sick = scene.cluster.nodes[:2]
    scene.series_are(well, sick)
    scene.system.put(contributor_event(scene, well), contributor_event(scene, sick))
    yield scene.seen("rebooted", count=2)
    again = contributor_event(scene, well)
    again["time"] = again["detail"]["state"]["timestamp"] = now()
    scene.system.put(again)
    yield scene.seen("duplicate", node=well)
    scene.series_are(sick)
    yield scene.seen("recovered", node=well)
    yield scene.seen("not_recovered", node=sick)
    yield quiet
    assert sorted(scene.ends()) == sorted([(well, "recovered"), (sick, "not_recovered")])
    assert Counter(scene.reboots()) == {well: 1, sick: 2}
    detail = not_recovered(scene, node=sick)
    assert f"alarm {scene.alarm} ALARM" in detail["Message"]
    assert (detail["Alarm"]["Name"], detail["Alarm"]["BySeries"]) == (scene.alarm, True)


@story()
def test_muted_alarm_still_up_at_the_windows_end_is_acted_on(scene: Scene) -> Story:
    """Nobody would ever hear of it again, for its state does not change."""
    with scene.stage.events_of_alarms_lost():
        scene.alarm_is("ALARM")
    scene.system.put(alarm_event(scene, muted_for=4))
    yield scene.seen("deferred")
    assert scene.reboots() == []
    yield scene.seen("rebooted")
    scene.set_state("OK")
    yield scene.seen("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story()
def test_muted_alarm_that_is_ok_at_the_windows_end_is_cleared(scene: Scene) -> Story:
    """The maintenance is over and so is the alarm."""
    with scene.stage.events_of_alarms_lost():
        scene.alarm_is("OK")
    scene.system.put(alarm_event(scene, muted_for=4))
    yield scene.seen("deferred")
    yield scene.seen("cleared")
    yield quiet
    assert scene.reboots() == []
    assert scene.ends() == []
    assert scene.lines("cleared")[0]["reason"] == f"the mute window is over, and alarm {scene.alarm} is OK"
    assert (scene.kinds(), scene.letters()) == ([], [])


# -- what HyperPod repairs by itself


@story(node_recovery="Automatic")
def test_repair_of_hyperpods_own_that_works_is_recovery(scene: Scene) -> Story:
    """Nothing is called, nobody is told."""
    scene.breaks(repair_action="Reboot", repair={"seconds": 2, "ends": "recovers"})
    yield scene.seen("deferred")
    yield scene.seen("recovered")
    yield quiet
    assert scene.system.calls(scene.cluster) == []
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story(node_recovery="Automatic")
def test_repair_of_hyperpods_own_that_replaces_the_node_supersedes_it(scene: Scene) -> Story:
    """Its instance is gone, and nothing was called."""
    scene.breaks(repair_action="Replace", repair={"seconds": 1, "ends": "replaced", "pending_seconds": 2})
    yield scene.seen("superseded")
    yield quiet
    assert scene.system.calls(scene.cluster) == []
    assert scene.ends() == [(scene.first, "superseded")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story(node_recovery="Automatic")
def test_repair_of_hyperpods_own_that_comes_to_nothing_is_not_recovered(scene: Scene) -> Story:
    """HyperPod is stuck, and a person should know; still nothing is called."""
    scene.breaks(
        repair_action="Replace", repair={"ends": "stuck", "status": "SystemUpdating", "message": "No spare capacity"}
    )
    yield scene.seen("not_recovered")
    yield quiet
    assert scene.system.calls(scene.cluster) == []
    assert scene.ends() == [(scene.first, "not_recovered")]
    detail = not_recovered(scene)
    assert detail["Message"].startswith("HyperPod's own repair came to nothing within ")
    assert "status SystemUpdating (No spare capacity)" in detail["Message"]
    assert detail["RepairAction"] == "Replace"


# -- a node that is busy


@story()
def test_node_in_use_and_then_free_is_tried_again_and_rebooted(scene: Scene) -> Story:
    """Each failed try is on the topic with the time of the next; then one notice that all is well, and no letter."""
    scene.scripts(in_use=True)
    scene.breaks()
    yield scene.seen("retrying")
    scene.scripts(in_use=False)
    yield scene.seen("recovered")
    yield quiet
    *tries, last = scene.told()
    assert scene.reboots() == [scene.first]
    assert scene.kinds() == ["retrying"] * len(tries) + ["recovered"]
    assert tries
    for told in tries:
        [failed], [retry] = told["message"]["Failed"], told["message"]["Retrying"]
        assert (failed["NodeId"], failed["ErrorCode"]) == (scene.first, "InstanceIdInUse")
        assert (retry["NodeId"], retry["ErrorCode"]) == (scene.first, "InstanceIdInUse")
        assert told["message"]["Time"] < retry["NextAttempt"]
        assert "InstanceIdInUse" in told["attributes"]["ErrorCodes"]
    assert [entry["NodeId"] for entry in last["message"]["Recovered"]] == [scene.first]
    assert scene.letters() == []
    assert scene.metric("Retrying") == [1] * len(tries)
    assert scene.metric("FailedByCode") == []


@story()
def test_node_in_use_for_good_fails_at_the_last_try(scene: Scene) -> Story:
    """Three tries are three messages; only the last is a dead letter, which counts them."""
    scene.scripts(in_use=True)
    scene.breaks()
    yield scene.seen("failed")
    yield quiet
    assert scene.kinds() == ["retrying", "retrying", "failed"]
    [letter] = scene.letters()
    assert (letter["detail"]["ErrorCode"], letter["detail"]["Attempt"]) == ("InstanceIdInUse", 3)
    assert len(scene.system.calls(scene.cluster)) == 3
    assert (scene.reboots(), scene.ends()) == ([], [])
    assert scene.metric("FailedByCode") == [1]


@story()
def test_node_that_recovers_before_the_next_try_is_not_rebooted(scene: Scene) -> Story:
    """People who heard of the try hear that it is over."""
    scene.scripts(in_use=True)
    scene.breaks()
    yield scene.seen("retrying")
    scene.heals()
    scene.scripts(in_use=False)
    yield scene.seen("recovered")
    yield quiet
    assert scene.reboots() == []
    assert scene.ends() == [(scene.first, "recovered")]
    assert set(scene.kinds()) == {"retrying", "recovered"}
    assert scene.kinds().count("recovered") == 1
    assert scene.letters() == []


@story()
def test_node_that_is_gone_before_the_next_try_is_superseded(scene: Scene) -> Story:
    """No call for what is not there."""
    scene.scripts(in_use=True)
    scene.breaks()
    yield scene.seen("retrying")
    scene.scripts(gone=True)
    yield scene.seen("superseded")
    yield quiet
    assert scene.ends() == [(scene.first, "superseded")]
    assert scene.kinds()[-1] == "superseded"
    assert scene.kinds().count("superseded") == 1
    assert scene.letters() == []


# -- all of them together


def test_nothing_is_pending_and_no_chain_is_long(stage: Stage) -> None:
    """The intake queue is empty, no message comes later, and no node took more than ten checks."""
    assert set(stage.queued().values()) == {0}
    for scene in stage.scenes.values():
        for node in (*scene.cluster.nodes, *scene.cluster.logical_ids):
            assert len(scene.checks(node)) <= 10


def test_nothing_broke_underneath(stage: Stage) -> None:
    """No message was handed back, none is in the dead-letter queue as it came, and IAM said no to nothing."""
    assert [line for line in stage.log if line.get("message") == "handed back"] == []
    assert [json.dumps(line) for line in stage.log if "AccessDenied" in json.dumps(line)] == []
    assert [line for line in stage.log if line["level"] in ("ERROR", "CRITICAL")] == []
    assert stage.system.letters(count=0, Kind="unreadable") == []
