"""Follows incidents to their ends on the deployed system, and what reaches topic and dead-letter queue then."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest

from local.aws import PROJECT, LocalAws
from local.deploy import deploy
from tests.e2e import events
from tests.e2e.stories import LOST_ANSWER, Stage, Story, StoryScene, chosen, quiet, story
from tests.e2e.system import System

_LISTENER = "incident-states"
COOLDOWN, VERIFY_TIMEOUT, REPAIR_TIMEOUT = 10, 16, 12  # seconds


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
                "remediation.healthy_for": "1s",
                "remediation.verify_timeout": f"{VERIFY_TIMEOUT}s",
                "remediation.repair_timeout": f"{REPAIR_TIMEOUT}s",
                "remediation.retry_attempts": "2",
                "remediation.retry_delay": "2s",
                "remediation.notification_emails": "oncall@example.com",
                "remediation.overrides": '[{"cluster": "ml-replace-*", "action": "replace"}]',
            },
        )
        system = System(aws, outputs, alarm_topic="")
        _listen(aws)
        # A cold start takes seconds, in which what is to come in turn would come at once.
        system.invoke(events.health("ml-warm-up", "i-0123456789abcdef0", "Marker"))
        played = Stage(system, chosen(request.session.items, __name__))
        played.play()
        yield played


def _listen(aws: LocalAws) -> None:
    """Send this system's state changes to a queue, with a rule as another system would have."""
    made = aws.client("sqs").create_queue(QueueName=_LISTENER)["QueueUrl"]
    account = "000000000000"
    arn = f"arn:aws:sqs:us-east-1:{account}:{_LISTENER}"
    allowed = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [allowed | {"Resource": arn}]}
    aws.client("sqs").set_queue_attributes(QueueUrl=made, Attributes={"Policy": json.dumps(policy)})
    rules = aws.client("events")
    rules.put_rule(Name=_LISTENER, EventPattern=json.dumps({"source": ["hyperpod.node-remediation"]}))
    rules.put_targets(Rule=_LISTENER, Targets=[{"Id": "queue", "Arn": arn}])


@pytest.fixture(scope="module")
def state_changes(stage: Stage) -> list[dict[str, Any]]:
    """The events that the listener got, each once, in the order of their times."""
    sqs = stage.system.sqs
    url = sqs.get_queue_url(QueueName=_LISTENER)["QueueUrl"]
    heard = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        heard += [json.loads(message["Body"]) for message in messages]
    once = {event["detail"]["EventId"]: event for event in heard}
    return sorted(once.values(), key=lambda event: str(event["detail"]["ChangedAt"]))


def alarm_event(scene: StoryScene, *, muted_for: float) -> dict[str, Any]:
    """Return the event of this cluster's alarm about its first node, muted for so many seconds."""
    event = events.alarm({"HyperPodClusterName": scene.cluster.name, "InstanceId": scene.first}, name=scene.alarm)
    end = (datetime.now(UTC) + timedelta(seconds=muted_for)).isoformat(timespec="milliseconds")
    rule = "arn:aws:cloudwatch:us-east-1:000000000000:alarm-mute-rule:maintenance"
    event["detail"]["muteDetail"] = {"mutedByArn": rule, "muteWindowEnd": end.replace("+00:00", "Z")}
    return event


def contributor_event(scene: StoryScene, node: str) -> dict[str, Any]:
    """Return an event of one series of this cluster's alarm, now."""
    event = events.contributor(scene.cluster.name, node, name=scene.alarm)
    event["time"] = event["detail"]["state"]["timestamp"] = events.now()
    return event


def not_recovered(scene: StoryScene, *, node: str | None = None) -> dict[str, Any]:
    """Return the detail of the one letter, after seeing that topic and log say the same, once."""
    [letter], [told], [line] = scene.letters(), scene.told(), scene.changes("not_recovered")
    detail: dict[str, Any] = letter["detail"]
    assert letter["detail-type"] == "HyperPod Node Reboot Failed"
    assert (detail["NodeId"], detail["ErrorCode"]) == (node or scene.first, "NotRecovered")
    assert detail["IncidentId"] == line["incident"]
    assert told["attributes"] == {
        "ClusterName": scene.cluster.name,
        "Kind": "failed",
        "ErrorCodes": '["NotRecovered"]',
    }
    assert told["message"]["Failed"] == [{key: detail[key] for key in ("NodeId", "ErrorCode", "Message")}]
    assert line["reason"] == detail["Message"]
    assert scene.metric("NotRecovered") == [1]
    return detail


# -- state changes, of all stories


def test_every_state_change_is_an_event_in_the_form_of_its_schema(state_changes: list[dict[str, Any]]) -> None:
    """Each incident's begin with none before, follow each other, and tell of one end."""
    schema = json.loads((PROJECT / "docs" / "incident-state-change.schema.json").read_text(encoding="utf-8"))
    incidents: dict[str, list[dict[str, Any]]] = {}
    for event in state_changes:
        assert event["detail-type"] == "HyperPod Node Incident State Change"
        jsonschema.validate(event["detail"], schema)
        incidents.setdefault(event["detail"]["IncidentId"], []).append(event["detail"])
    for changes in incidents.values():
        states = [change["State"] for change in changes]
        assert [change["PreviousState"] for change in changes] == [None, *states[:-1]], states
        assert [change["Ended"] for change in changes] == [False] * (len(changes) - 1) + [True], states


def test_state_changes_reach_no_rule_of_the_system_itself(stage: Stage, state_changes: list[dict[str, Any]]) -> None:
    """The function would answer each with a log line, for ever."""
    put = {event["id"] for event in state_changes}
    assert put
    assert [line for line in stage.log if line.get("event_id") in put] == []


# -- a reboot that a health event asked for


@story()
def test_healthy_event_after_the_reboot_is_recovery_and_no_news(scene: StoryScene) -> Story:
    """People had been told nothing, so they are told nothing; one query by incident tells the whole story."""
    scene.breaks()
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    [end] = scene.changes("recovered")
    assert end["reason"].startswith("each source that complained has withdrawn its complaint, the last at ")
    assert sorted(scene.tale(end["incident"])) == [
        "incident rebooted",
        "incident recovered",
        "report cleared",
        "report rebooted",
    ]
    assert (scene.kinds(), scene.letters()) == ([], [])
    assert scene.metric("Recovered") == scene.metric("Rebooted") == [1]
    [to_reboot], [to_recovery] = scene.metric("TimeToReboot"), scene.metric("TimeToRecovery")
    assert 0 <= to_reboot < 15
    assert 0 <= to_recovery < 15


@story()
def test_slow_node_is_waited_for(scene: StoryScene) -> Story:
    """The reboot takes longer than the cooldown; looks that find nothing say nothing, and it is not made twice."""
    scene.breaks(reboot={"seconds": COOLDOWN + 1})
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])
    [took] = scene.metric("TimeToRecovery")
    assert COOLDOWN < took < 2 * COOLDOWN + 15


@story()
def test_node_back_after_the_time_out_has_ended_already(scene: StoryScene) -> Story:
    """A Healthy event after NotRecovered clears, and is no second end."""
    scene.breaks(reboot={"seconds": VERIFY_TIMEOUT + 4})
    yield scene.became("not_recovered")
    yield scene.reported("cleared")
    yield quiet
    assert scene.ends() == [(scene.first, "not_recovered")]
    assert "status Pending (Instance is rebooting)" in not_recovered(scene)["Message"]


@story()
def test_lost_answer_and_then_healthy_is_one_failure_and_one_recovery_notice(scene: StoryScene) -> Story:
    """People were told that the outcome is unknown; now they are told what it was."""
    scene.meets(**LOST_ANSWER)
    scene.breaks()
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.kinds() == ["failed", "recovered"]
    assert [letter["detail"]["ErrorCode"] for letter in scene.letters()] == ["OutcomeUnknown"]
    [entry] = scene.told()[1]["message"]["Recovered"]
    assert entry["NodeId"] == scene.first
    assert scene.told()[1]["attributes"] == {"ClusterName": scene.cluster.name, "Kind": "recovered"}
    mail = scene.mail("RECOVERED, nothing to do")
    assert "dead-letter queue" not in mail


@story()
def test_silent_node_that_runs_at_the_time_out_is_unverified_and_never_called_recovered(scene: StoryScene) -> Story:
    """It stays sick, says nothing and has status Running: no metric counts it as a recovery."""
    scene.breaks(reboot={"ends": "stays_sick"})
    yield scene.became("unverified")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "unverified")]
    reason = scene.changes("unverified")[0]["reason"]
    assert reason.startswith("no source that complained has said that the node is well, ")
    assert "status Running; HyperPod: has said nothing since" in reason
    assert (scene.kinds(), scene.letters()) == ([], [])
    assert scene.metric("Unverified") == [1]
    assert scene.metric("TimeToRecovery") == scene.metric("Recovered") == []


@story()
def test_people_who_were_told_of_the_reboot_are_told_that_it_is_unverified(scene: StoryScene) -> Story:
    """The answer was lost, then nothing was heard: the mail does not say recovered, and says what Slurm may need."""
    scene.meets(**LOST_ANSWER)
    scene.breaks(reboot={"ends": "stays_sick"})
    yield scene.became("unverified")
    yield quiet
    assert scene.kinds() == ["failed", "unverified"]
    [entry] = scene.told()[1]["message"]["Unverified"]
    assert entry["NodeId"] == scene.first
    assert scene.told()[1]["message"]["Recovered"] == []
    assert len(scene.letters()) == 1
    mail = scene.mail("NOT VERIFIED, look at it")
    for needed in (scene.first, "Running", "takes work again"):
        assert needed in mail
    assert "RECOVERED" not in mail


@story()
def test_other_alarms_ok_does_not_withdraw_hyperpods_complaint(scene: StoryScene) -> Story:
    """Another alarm of the node turns OK, from INSUFFICIENT_DATA as well: it had not complained."""
    scene.breaks(reboot={"ends": "stays_sick"})
    yield scene.reported("rebooted")
    other = f"{scene.alarm}-other"
    scene.alarm_is("INSUFFICIENT_DATA", name=other)
    scene.set_state("OK", name=other)
    yield scene.reported("cleared")
    assert scene.ends() == []
    yield scene.became("unverified")
    yield quiet
    assert scene.ends() == [(scene.first, "unverified")]
    assert "HyperPod: has said nothing since" in scene.changes("unverified")[0]["reason"]


@story()
def test_replaced_node_is_superseded(scene: StoryScene) -> Story:
    """HyperPod put another instance in its place: the incident is over, and no one is told."""
    scene.breaks(reboot={"ends": "replaced", "pending_seconds": 1})
    yield scene.became("superseded")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "superseded")]
    assert (scene.kinds(), scene.letters()) == ([], [])
    assert scene.metric("Superseded") == [1]


@story()
def test_node_reported_by_its_logical_id_is_superseded_with_its_instance(scene: StoryScene) -> Story:
    """The logical ID still names a node, but another one; people who heard of the lost answer hear of this too."""
    logical_id = scene.cluster.logical_ids[0]
    scene.scripts(reboot={"ends": "replaced"})
    scene.meets(**LOST_ANSWER)
    scene.system.put(events.unhealthy_instance(scene.cluster.name, None, logical_id))
    yield scene.became("superseded")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(logical_id, "superseded")]
    assert scene.kinds() == ["failed", "superseded"]
    [entry] = scene.told()[1]["message"]["Superseded"]
    assert entry["NodeLogicalId"] == logical_id
    [letter] = scene.letters()
    assert (letter["detail"]["NodeLogicalId"], letter["detail"]["InstanceId"]) == (logical_id, scene.first)


@story()
def test_letter_of_a_logical_id_reboots_no_successor(scene: StoryScene) -> Story:
    """Redriven after the instance was replaced, it is cleared as Superseded: the new instance is well."""
    logical_id = scene.cluster.logical_ids[0]
    scene.scripts(in_use=True)
    scene.system.send(events.request(scene.cluster.name, logical_ids=(logical_id,)))
    yield scene.became("failed")
    yield scene.letters
    [letter] = scene.letters()
    scene.scripts(in_use=False)
    scene._admin("nodes/replace", scene.first, {"says_so": False})
    scene.system.send(letter)
    yield scene.reported("cleared", code="Superseded")
    yield quiet
    assert scene.reboots() == []
    assert len(scene.letters()) == 1


@story()
def test_stuck_node_is_not_recovered_and_its_redriven_letter_is_a_new_attempt(scene: StoryScene) -> Story:
    """Topic, letter and mail say what was seen; once an operator has freed the node, a redrive reboots it."""
    scene.breaks(reboot={"ends": "stuck", "status": "Pending", "message": "Waiting for capacity"})
    yield scene.became("not_recovered")
    yield lambda: scene.letters() and scene.told()
    [letter] = scene.letters()
    assert not_recovered(scene) == letter["detail"]
    scene.scripts(status="Running", reboot={})
    scene.system.send(letter)
    yield scene.became("recovered")
    yield quiet
    detail = letter["detail"]
    assert "status Pending (Waiting for capacity)" in detail["Message"]
    assert "HyperPod: has said nothing since" in detail["Message"]
    assert (detail["Retryable"], detail["Attempt"]) == (False, 1)
    assert detail["Trigger"]["DetailType"] == "SageMaker HyperPod Cluster Node Health Event"
    mail = scene.mail("NOT RECOVERED, replace it")
    for needed in ("Reboot requested by this system at", "Waiting for capacity", "batch-replace-cluster-nodes", "HMA"):
        assert needed in mail
    assert sorted(scene.ends()) == [(scene.first, "not_recovered"), (scene.first, "recovered")]
    assert scene.reboots() == [scene.first] * 2
    assert len(scene.letters()) == 1


@story()
def test_node_that_stays_sick_is_rebooted_again_and_then_given_up(scene: StoryScene) -> Story:
    """Its cooldown over, it is rebooted again; then the limit says no, and in the end one message says all that."""
    scene.breaks(reboot={"ends": "stays_sick", "says_so": True})
    yield scene.became("not_recovered")
    yield quiet
    assert scene.reboots() == [scene.first] * 2
    first, second = (call["time"] for call in scene.system.calls(scene.cluster))
    assert second - first >= COOLDOWN
    assert scene.ends() == [(scene.first, "not_recovered")]
    detail = not_recovered(scene)
    assert "not rebooted again: RebootLimitReached: 2 of 2 reboots" in detail["Message"]
    assert "HyperPod: still unhealthy" in detail["Message"]
    assert scene.reports("refused") == []


@story()
def test_node_that_falls_ill_again_within_the_cooldown_is_waited_with_and_rebooted(scene: StoryScene) -> Story:
    """It is a new incident, which waits for the cooldown's end."""
    scene.breaks()
    yield scene.became("recovered")
    # Events have whole seconds: in the same one it would be older than the recovery.
    second = int(time.time())
    yield lambda: time.time() >= second + 1
    scene.breaks()
    yield scene.reported("waiting")
    yield scene.became("recovered", count=2)
    yield quiet
    assert scene.reboots() == [scene.first] * 2
    first, again = (call["time"] for call in scene.system.calls(scene.cluster))
    assert again - first >= COOLDOWN
    assert scene.ends() == [(scene.first, "recovered")] * 2
    assert len({line["incident"] for line in scene.changes("recovered")}) == 2
    assert (scene.kinds(), scene.letters()) == ([], [])


# -- a reboot that an alarm asked for


@story()
def test_alarm_that_turns_ok_is_recovery(scene: StoryScene) -> Story:
    """HyperPod's own Healthy event does not answer for the alarm; the alarm's does."""
    scene.alarm_is("ALARM")
    yield scene.reported("rebooted")
    scene.heals()
    yield scene.reported("cleared")
    assert scene.ends() == []
    scene.set_state("OK")
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story()
def test_node_recovers_only_when_each_source_has_withdrawn(scene: StoryScene) -> Story:
    """HyperPod says Healthy while the alarm still complains; the incident ends with the alarm."""
    scene.breaks()
    yield scene.reported("rebooted")
    scene.alarm_is("ALARM")
    yield scene.reported("duplicate")
    yield scene.reported("cleared")
    assert scene.ends() == []
    scene.set_state("OK")
    yield scene.became("recovered")
    yield quiet
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story()
def test_alarm_that_turned_ok_unheard_is_asked(scene: StoryScene) -> Story:
    """The event was lost; DescribeAlarms knows."""
    scene.alarm_is("ALARM")
    yield scene.reported("rebooted")
    with scene.stage.events_of_alarms_lost():
        scene.set_state("OK")
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert scene.reports("cleared") == []
    [took] = scene.metric("TimeToRecovery")
    assert 0 < took < VERIFY_TIMEOUT + 15


@story()
def test_alarm_that_stays_in_alarm_is_judged_again_without_another_event(scene: StoryScene) -> Story:
    """It has nothing more to say, for its state does not change; the node is rebooted again, and that helps."""
    scene.alarm_is("ALARM")
    yield scene.became("rebooted", count=2)
    scene.set_state("OK")
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first] * 2
    first, second = (call["time"] for call in scene.system.calls(scene.cluster))
    assert second - first >= COOLDOWN
    assert scene.ends() == [(scene.first, "recovered")]
    assert len(scene.reports("rebooted")) == 1
    assert scene.metric("Rebooted") == [1, 1]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story()
def test_series_that_is_gone_is_recovery_while_another_keeps_the_alarm_up(scene: StoryScene) -> Story:
    """Of two nodes of one alarm one is well again, though it flapped; the other is rebooted once more and given up."""
    well, sick = scene.cluster.nodes[:2]
    scene.series_are(well, sick)
    scene.system.put(contributor_event(scene, well), contributor_event(scene, sick))
    yield scene.reported("rebooted", count=2)
    scene.system.put(contributor_event(scene, well))
    yield scene.reported("duplicate", node=well)
    scene.series_are(sick)
    yield scene.became("recovered", node=well)
    yield scene.became("not_recovered", node=sick)
    yield quiet
    assert sorted(scene.ends()) == sorted([(well, "recovered"), (sick, "not_recovered")])
    assert Counter(scene.reboots()) == {well: 1, sick: 2}
    detail = not_recovered(scene, node=sick)
    assert f"alarm {scene.alarm}: still unhealthy" in detail["Message"]
    assert "is ALARM now" in detail["Message"]
    assert (detail["Alarm"]["Name"], detail["Alarm"]["BySeries"]) == (scene.alarm, True)


@story()
def test_composite_alarm_of_a_child_that_must_be_in_alarm_complains_itself(scene: StoryScene) -> Story:
    """NOT ALARM(x): x only names the node; the composite complains, and its OK is recovery."""
    child = f"beat-{scene.cluster.name}"
    scene.alarm_is("ALARM", name=child)
    scene.stage.cloudwatch.put_composite_alarm(AlarmName=scene.alarm, AlarmRule=f'NOT ALARM("{child}")')
    scene.set_state("OK", name=child)
    yield scene.reported("rebooted")
    assert scene.ends() == []
    scene.set_state("ALARM", name=child)
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert scene.reports("cleared", reason=f"alarm {scene.alarm} is OK")
    assert (scene.kinds(), scene.letters()) == ([], [])


@story()
def test_muted_alarm_still_up_at_the_windows_end_is_acted_on(scene: StoryScene) -> Story:
    """No other event would ever tell of it, for its state does not change."""
    with scene.stage.events_of_alarms_lost():
        scene.alarm_is("ALARM")
    scene.system.put(alarm_event(scene, muted_for=4))
    yield scene.reported("deferred")
    assert scene.reboots() == []
    yield scene.became("rebooted")
    scene.set_state("OK")
    yield scene.became("recovered")
    yield quiet
    assert scene.reboots() == [scene.first]
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story()
def test_muted_alarm_that_is_ok_at_the_windows_end_is_cleared(scene: StoryScene) -> Story:
    """The maintenance is over and so is the alarm."""
    with scene.stage.events_of_alarms_lost():
        scene.alarm_is("OK")
    scene.system.put(alarm_event(scene, muted_for=4))
    yield scene.reported("deferred")
    yield scene.became("cleared")
    yield quiet
    assert scene.reboots() == []
    assert scene.ends() == [(scene.first, "cleared")]
    assert (scene.kinds(), scene.letters()) == ([], [])


# -- HyperPod's own repairs


@story(node_recovery="Automatic")
def test_repair_of_hyperpods_own_that_works_is_recovery(scene: StoryScene) -> Story:
    """Nothing is called, and no one is told."""
    scene.breaks(repair_action="Reboot", repair={"seconds": 2, "ends": "recovers"})
    yield scene.reported("deferred")
    yield scene.became("recovered")
    yield quiet
    assert scene.system.calls(scene.cluster) == []
    assert scene.ends() == [(scene.first, "recovered")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story(node_recovery="Automatic")
def test_repair_of_hyperpods_own_that_replaces_the_node_supersedes_it(scene: StoryScene) -> Story:
    """Its instance is gone, and nothing was called."""
    scene.breaks(repair_action="Replace", repair={"seconds": 1, "ends": "replaced", "pending_seconds": 2})
    yield scene.became("superseded")
    yield quiet
    assert scene.system.calls(scene.cluster) == []
    assert scene.ends() == [(scene.first, "superseded")]
    assert (scene.kinds(), scene.letters()) == ([], [])


@story(node_recovery="Automatic")
def test_repair_of_hyperpods_own_that_comes_to_nothing_is_not_recovered(scene: StoryScene) -> Story:
    """HyperPod is stuck, and a person should know; still nothing is called."""
    scene.breaks(
        repair_action="Replace", repair={"ends": "stuck", "status": "SystemUpdating", "message": "No spare capacity"}
    )
    yield scene.reported("deferred")
    yield scene.became("not_recovered")
    yield quiet
    assert scene.system.calls(scene.cluster) == []
    assert scene.ends() == [(scene.first, "not_recovered")]
    detail = not_recovered(scene)
    assert "after HyperPod began to repair it at" in detail["Message"]
    assert "status SystemUpdating (No spare capacity)" in detail["Message"]
    assert detail["RepairAction"] == "Replace"


# -- a node that is busy


@story()
def test_node_in_use_and_then_free_is_tried_again_and_rebooted(scene: StoryScene) -> Story:
    """Each failed try is on the topic with the time of the next; then one notice of the recovery, and no letter."""
    scene.scripts(in_use=True)
    scene.breaks()
    yield scene.became("retrying")
    scene.scripts(in_use=False)
    yield scene.became("recovered")
    yield quiet
    *tries, last = scene.told()
    assert scene.reboots() == [scene.first]
    assert scene.kinds() == ["retrying"] * len(tries) + ["recovered"]
    assert tries
    for told in tries:
        [failed], [retry] = told["message"]["Failed"], told["message"]["Retrying"]
        assert (failed["NodeId"], failed["ErrorCode"]) == (scene.first, "InstanceIdInUse")
        assert (retry["NodeId"], retry["ErrorCode"]) == (scene.first, "InstanceIdInUse")
        assert scene.reports("retrying")[0]["report_time"][:19] < retry["NextAttempt"][:19]
        assert "InstanceIdInUse" in told["attributes"]["ErrorCodes"]
    assert [entry["NodeId"] for entry in last["message"]["Recovered"]] == [scene.first]
    assert scene.letters() == []
    assert scene.metric("Retrying") == [1]
    assert scene.metric("FailedByCode") == []


@story()
def test_node_in_use_for_good_fails_at_the_last_try(scene: StoryScene) -> Story:
    """Three tries are three notices; only the last has a letter."""
    scene.scripts(in_use=True)
    scene.breaks()
    yield scene.became("failed")
    yield quiet
    assert scene.kinds() == ["retrying", "retrying", "failed"]
    [letter] = scene.letters()
    assert (letter["detail"]["NodeId"], letter["detail"]["ErrorCode"]) == (scene.first, "InstanceIdInUse")
    assert len(scene.system.calls(scene.cluster)) == 3
    assert (scene.reboots(), scene.ends()) == ([], [(scene.first, "failed")])
    assert scene.metric("FailedByCode") == [1]


@story()
def test_node_that_recovers_before_the_next_try_is_not_rebooted(scene: StoryScene) -> Story:
    """Its complaint was withdrawn: no other try is made, and no letter is left."""
    scene.scripts(in_use=True)
    scene.breaks()
    yield scene.became("retrying")
    scene.heals()
    yield scene.became("cleared")
    yield quiet
    assert scene.reboots() == []
    assert scene.ends() == [(scene.first, "cleared")]
    assert set(scene.kinds()) == {"retrying"}
    assert scene.letters() == []


@story()
def test_node_that_is_gone_before_the_next_try_fails_in_the_apis_words(scene: StoryScene) -> Story:
    """The API decides, and its answer is reported."""
    scene.scripts(in_use=True)
    scene.breaks()
    yield scene.became("retrying")
    scene.scripts(gone=True, in_use=False)
    yield scene.became("failed")
    yield quiet
    assert scene.reboots() == []
    assert scene.ends() == [(scene.first, "failed")]
    assert scene.kinds()[-1] == "failed"
    assert [letter["detail"]["ErrorCode"] for letter in scene.letters()] == ["InstanceIdNotFound"]


# -- a node that keeps failing


@story()
def test_third_incident_with_the_same_reason_is_recurring(scene: StoryScene) -> Story:
    """Two recovered, the third is refused at once with the limit: one notification tells both, and the history."""
    for count in (1, 2):
        scene.breaks()
        yield scene.became("recovered", count=count)
        assert scene.kinds() == []
    scene.breaks()
    yield scene.became("refused")
    yield quiet
    [told] = scene.told()
    [refused], [recurring] = told["message"]["Refused"], told["message"]["Recurring"]
    assert (told["attributes"]["Kind"], refused["ErrorCode"]) == ("refused", "RebootLimitReached")
    assert (recurring["NodeId"], recurring["IncidentId"]) == (scene.first, scene.changes("refused")[0]["incident"])
    assert "NvidiaErrorTerminate" in recurring["Reason"]
    first, second, third = recurring["History"]
    assert all(" rebooted, " in line and line.endswith(" recovered") for line in (first, second))
    assert third.endswith(" refused (RebootLimitReached)")
    assert scene.reboots() == [scene.first] * 2


# -- all of them together


def test_nothing_is_pending(stage: Stage) -> None:
    """The intake queue is empty, and nothing in the ledger waits for anything."""
    assert stage.is_quiet()


def test_nothing_broke_underneath(stage: Stage) -> None:
    """No message was handed back, none is in the dead-letter queue as it came, and IAM said no to nothing."""
    assert [line for line in stage.log if line.get("message") == "handed back"] == []
    assert [json.dumps(line) for line in stage.log if "AccessDenied" in json.dumps(line)] == []
    assert [line for line in stage.log if line["level"] in ("ERROR", "CRITICAL")] == []
    assert stage.system.letters(count=0, Kind="unreadable") == []


# -- replacements, where an override says so


@story(name="ml-replace-one")
def test_replaced_node_ends_as_superseded_and_the_next_of_the_day_is_refused(scene: StoryScene) -> Story:
    """The budget is one for a cluster and day; people are told of each step."""
    scene.breaks()
    yield scene.reported("replaced")
    scene.breaks(scene.cluster.nodes[1])
    yield scene.reported("refused", code="ReplaceBudgetExceeded")
    yield scene.became("superseded")
    yield quiet
    assert (scene.reboots(), sorted(scene.kinds())) == ([], ["refused", "replaced", "superseded"])
    [replaced] = scene.told()[0]["message"]["Replaced"]
    assert replaced["NodeId"] == scene.first
    assert "destroys its volumes" in scene.mail("BEING REPLACED, nothing to do")
    [letter] = scene.letters()
    assert (letter["detail"]["NodeId"], letter["detail"]["Retryable"]) == (scene.cluster.nodes[1], True)
    assert scene.metric("Replaced") == [1]


@story(name="ml-replace-lost")
def test_replacement_whose_answer_was_lost_is_not_repeated_and_its_end_is_told(scene: StoryScene) -> Story:
    """It was carried out: the instance is gone at the next look."""
    scene.meets(service="sagemaker", action="BatchReplace", after=True, reset=True)
    scene.breaks()
    yield scene.became("superseded")
    yield quiet
    assert scene.kinds() == ["failed", "superseded"]
    [letter] = scene.letters()
    assert (letter["detail"]["ErrorCode"], letter["detail"]["Action"]) == ("OutcomeUnknown", "replace")
    assert [line["state"] for line in scene.changes("replaced")] == ["replaced"]
    assert "a further mail says how this ends" in scene.mail("PERHAPS REPLACED, look at it")


@story(name="ml-replace-busy")
def test_failed_replacement_is_an_entry_of_the_api_in_letter_and_topic(scene: StoryScene) -> Story:
    """Verbatim, as a failed reboot's, and tried again as often; its budget is given back."""
    scene.scripts(fail={"code": "InternalServerError"})
    scene.breaks()
    yield scene.became("failed", code="InternalServerError")
    scene.breaks(scene.cluster.nodes[1])
    yield scene.reported("replaced")
    yield quiet
    [letter] = scene.letters()
    entry = {"NodeId": scene.first, "ErrorCode": "InternalServerError", "Message": letter["detail"]["Message"]}
    assert scene.told()[0]["message"]["Failed"] == [entry]
