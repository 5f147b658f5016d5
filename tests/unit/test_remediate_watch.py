"""Whole stories of watched nodes: what is sent, who is told, and that each ends once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from node_remediation.cluster import Facts, NodeState
from node_remediation.intake import Delayed
from node_remediation.model import ENDS, Ending, Handling, Message, NodeKey, Outcome, Result
from node_remediation.reboot import Answer
from node_remediation.record import NodeRecord
from node_remediation.settings import Settings
from node_remediation.steps import Step, unwatched
from tests.unit.fakes import (
    DENIED,
    LOST,
    THROTTLED,
    FakeAlarms,
    FakeClusters,
    FakeMode,
    FakeRebooter,
    World,
    health_event,
    instance_id,
    message,
    request,
    sample,
    unmuted,
)

SICK = instance_id(1)
KEY = NodeKey("ml-a", SICK)
ALARM = "hyperpod-xid"
BUSY = (Result.FAILED, "InstanceIdInUse", " The node is busy.\n")
RETRYING = Settings(retry_attempts=2)
MINUTE = timedelta(minutes=1)


class KilledError(Exception):
    """Stands for SIGKILL: nothing of the function catches it."""


def killing(at: Step) -> Callable[[Step], None]:
    """Killed when about to take a step for the first time."""
    left = iter([at])

    def on_step(step: Step) -> None:
        if step is at and next(left, None):
            raise KilledError(step)

    return on_step


def busy(times: int) -> FakeRebooter:
    """A SageMaker to which the node is in use so many times."""
    left = iter(range(times))
    return FakeRebooter(lambda _, node: Answer(node, *BUSY) if next(left, None) is not None else None)


def lost() -> FakeRebooter:
    """A SageMaker whose first answer is lost."""
    left = iter([True])
    return FakeRebooter(
        lambda _, node: Answer(node, Result.UNKNOWN, "OutcomeUnknown", "lost", LOST) if next(left, False) else None
    )


def repairing() -> FakeClusters:
    """A cluster that HyperPod repairs by itself."""
    return FakeClusters(facts_of={"ml-a": Facts(nodes=100, recovers_by_itself=True)})


class Story:
    """A world in which each check comes when it is due; times are minutes from the beginning."""

    def __init__(self, **world: Any) -> None:
        self.world = World(**world)
        self.began = self.world.now
        self.queue: list[tuple[datetime, Message]] = []
        self.messages = 0
        self.taken = 0

    # -- what happens

    def at(self, minutes: float) -> None:
        """Time passes, up to a minute from the beginning."""
        self.world.now = self.began + minutes * MINUTE

    def message(self, body: object, **more: Any) -> Message:
        self.messages += 1
        return message(body, id=f"m-{self.messages}", sent=self.world.now, **more)

    def deliver(self, *messages: Message) -> Handling:
        try:
            return self.world.handle(*messages)
        finally:
            for sent in self.world.intake.checks[self.taken :]:
                self.taken += 1
                self.queue.append((self.world.now + timedelta(seconds=sent.delay), self.message(sent.body)))

    def sick(self, **extra: Any) -> Handling:
        return self.deliver(self.message(health_event(SICK, time=self.world.now.isoformat(), **extra)))

    def well(self) -> Handling:
        return self.deliver(self.message(self.healthy()))

    def healthy(self) -> dict[str, Any]:
        return health_event(SICK, status="Healthy", time=self.world.now.isoformat())

    def advised(self, action: str = "Replace") -> Handling:
        """HyperPod names a repair."""
        event = health_event(SICK, time=self.world.now.isoformat())
        event["detail"]["HealthSummary"]["RepairAction"] = action
        return self.deliver(self.message(event))

    def alarm(self, state: str = "ALARM", **detail: Any) -> Handling:
        return self.deliver(self.message(alarm_event(self.world.now, state, **detail)))

    def due(self) -> Message:
        """The check that is due next; it is then."""
        self.queue.sort(key=lambda entry: entry[0])
        due, check = self.queue.pop(0)
        self.world.now = max(self.world.now, due)
        return check

    def check(self) -> Handling:
        return self.deliver(self.due())

    # -- what came of it

    @property
    def minutes(self) -> float:
        return (self.world.now - self.began) / MINUTE

    @property
    def record(self) -> NodeRecord:
        return self.world.ledger.book.node(KEY)

    @property
    def rebooted(self) -> list[str]:
        return self.world.rebooter.rebooted

    @property
    def told(self) -> list[tuple[str, str | None]]:
        """What people were told: without what is only counted."""
        return [each for each, ending in zip(said(self.news), self.news, strict=True) if is_news(ending)]

    @property
    def news(self) -> list[Ending]:
        return self.world.reporter.reported

    @property
    def ends(self) -> list[str]:
        """How the node ended, each time that it did; what is told twice is there twice."""
        return [ending.outcome.value for ending in self.news if ending.outcome in ENDS]

    @property
    def letters(self) -> list[tuple[str, str | None]]:
        return said(self.world.reporter.letters)

    @property
    def delays(self) -> list[int]:
        return [sent.delay for sent in self.world.intake.checks]

    def is_over(self) -> bool:
        """Whether nothing is waited for any more, neither by a message nor by the ledger."""
        return not self.queue and self.record.watch is None


def is_news(ending: Ending) -> bool:
    quiet = ending.outcome in (Outcome.REBOOTED, Outcome.WAITING, Outcome.DUPLICATE, Outcome.CLEARED, Outcome.DEFERRED)
    return not quiet and not ending.quiet


def said(endings: Sequence[Ending]) -> list[tuple[str, str | None]]:
    return [(ending.outcome.value, ending.code) for ending in endings]


def ends(handling: Handling) -> list[tuple[str, str | None]]:
    assert handling.handed_back == {}
    return said(handling.endings)


def only(handling: Handling) -> Ending:
    (ending,) = handling.endings
    return ending


def alarm_event(time: datetime, state: str = "ALARM", **detail: Any) -> dict[str, Any]:
    event = unmuted(sample("alarm-single-metric"))
    event["time"] = time.isoformat()
    event["detail"] |= {"alarmName": ALARM, **detail}
    event["detail"]["state"] |= {"value": state, "timestamp": event["time"]}
    dimensions = {"InstanceId": SICK, "HyperPodClusterName": "ml-a"}
    event["detail"]["configuration"]["metrics"][0]["metricStat"]["metric"]["dimensions"] = dimensions
    return event


def described(state: str, since: datetime) -> dict[str, Any]:
    """The alarm as DescribeAlarms has it."""
    return {"AlarmName": ALARM, "StateValue": state, "StateUpdatedTimestamp": since}


def body(sent: Delayed) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(sent.body)
    return event


# -- a reboot and its checks


def test_check_of_a_reboot_is_sent_beside_the_record_of_its_answer() -> None:
    """Both are there before anything is reported, and neither is written or sent again."""
    story = Story()
    seen: list[tuple[Step, list[int], int | None]] = []

    def look(step: Step) -> None:
        watch = story.record.watch
        if step in (Step.RECORD, Step.END):
            seen.append((step, story.delays, watch.checks if watch else None))

    story.world.on_step = look
    assert ends(story.sick()) == [("rebooted", None)]
    assert seen == [(Step.RECORD, [], None), (Step.END, [900], 1)]
    assert (story.delays, story.record.version) == ([900], 2)
    watch = story.record.watch
    assert watch
    assert (watch.checks, watch.next_at, watch.until) == (1, story.began + 15 * MINUTE, story.began + 45 * MINUTE)


def test_check_says_all_that_its_report_said() -> None:
    """It is judged later by nothing else."""
    story = Story()
    story.sick()
    event = body(story.world.intake.checks[0])
    assert (event["source"], event["detail-type"]) == ("hyperpod.node-remediation", "HyperPod Node Check")
    assert event["detail"] == {
        "Round": 1,
        "Due": (story.began + 15 * MINUTE).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "Watch": "m-1",
        "Retry": False,
        "ClusterName": "ml-a",
        "NodeId": SICK,
        "RepairAction": "None",
        "Attempt": 1,
        "Trigger": {
            "Source": "aws.sagemaker",
            "DetailType": "SageMaker HyperPod Cluster Node Health Event",
            "EventId": f"event-{SICK}",
            "Time": story.began.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "Reason": "Xid 79",
        },
    }


def test_node_that_reports_itself_healthy_has_recovered_at_once() -> None:
    """Nobody waits for the check, which then finds nothing to do and sends nothing on."""
    story = Story()
    story.sick()
    story.at(4)
    handling = story.well()
    assert ends(handling) == [("cleared", None), ("recovered", None)]
    recovered = handling.endings[1]
    assert (recovered.quiet, recovered.took) == (True, 4 * MINUTE)
    assert story.record.watch is None
    assert ends(story.check()) == [("waiting", None)]
    assert story.delays == [900]
    assert (story.ends, story.told, story.letters) == (["recovered"], [], [])
    assert story.is_over()
    assert story.world.clusters.nodes_asked == []


@pytest.mark.parametrize("how", ["check", "healthy"])
def test_end_is_in_the_ledger_before_anybody_is_told(how: str) -> None:
    """Were the function killed in between, its redelivery would tell the same; once told, it is forgotten."""
    story = Story(settings=Settings(notify_rebooted=True))
    story.sick()
    ends_at: dict[Step, Outcome | None] = {}

    def look(step: Step) -> None:
        ends_at[step] = story.record.watch.end if story.record.watch else None

    if how == "check":
        story.check()
        story.check()
    story.world.on_step = look
    _ = story.check() if how == "check" else story.well()
    assert ends_at[Step.END] is None
    told = [ends_at[step] for step in (Step.DEAD_LETTER, Step.PUBLISH, Step.SEND_ON, Step.SETTLE)]
    assert told == [Outcome.RECOVERED] * 4
    assert story.record.watch is None


def test_recovery_is_told_where_people_were_told_of_the_reboot() -> None:
    """With notify_rebooted each reboot is a mail, so its end is one too."""
    story = Story(settings=Settings(notify_rebooted=True))
    story.sick()
    story.at(4)
    story.well()
    assert story.told == [("recovered", None)]


def test_older_sign_of_health_does_not_end_a_watch() -> None:
    """A Healthy report from before the reboot that comes late says nothing of what came of it."""
    story = Story()
    story.sick()
    story.at(4)
    late = health_event(SICK, status="Healthy", time=(story.began - MINUTE).isoformat())
    assert ends(story.deliver(story.message(late))) == [("cleared", None)]
    assert story.ends == []
    assert story.record.watch


def test_node_that_is_unhealthy_again_before_its_check_has_not_recovered() -> None:
    """The latest report counts, in whatever order the two come."""
    for order in (1, -1):
        story = Story()
        story.sick()
        story.at(5)
        events = [
            health_event(SICK, status=status, time=(story.began + minute * MINUTE).isoformat())
            for status, minute in (("Healthy", 3), ("Unhealthy", 4))
        ]
        story.deliver(*(story.message(event) for event in events[::order]))
        story.check()
        story.check()
        assert story.ends == []
        assert story.rebooted == [SICK, SICK]


def test_silent_running_node_has_recovered_at_the_time_out() -> None:
    """Checks at 15, 30 and 45 minutes; only the last asks, and only it may go by the status."""
    story = Story()
    story.sick()
    assert [(ends(story.check()), story.minutes) for _ in range(3)] == [
        ([("waiting", None)], 15),
        ([("waiting", None)], 30),
        ([("recovered", None)], 45),
    ]
    assert story.world.clusters.nodes_asked == [SICK]
    assert "status is Running" in story.news[-1].reason
    assert story.news[-1].took is None
    assert story.is_over()


@pytest.mark.parametrize("status", ["Pending", "SystemUpdating", "Failure", "ShuttingDown"])
def test_silent_node_that_does_not_run_is_not_recovered_at_the_time_out(status: str) -> None:
    """People read the status, its message and the last report; the letter is a failure that a redrive can take."""
    story = Story()
    story.world.clusters.states[SICK] = NodeState(status, "hardware is being looked at")
    story.sick()
    for _ in range(3):
        story.check()
    assert story.told == story.letters == [("not_recovered", "NotRecovered")]
    assert story.news[-1].reason == (
        f"it did not come back within 45m: status {status} (hardware is being looked at), last reported unhealthy at "
        "2026-11-23 02:14:37 UTC, never reported healthy"
    )
    assert story.is_over()


def test_node_that_is_gone_at_the_time_out_is_superseded() -> None:
    """HyperPod replaced it; nobody was told of the reboot, so nobody is told of this."""
    story = Story()
    story.sick()
    story.world.clusters.states[SICK] = None
    for _ in range(3):
        story.check()
    assert (story.ends, story.told, story.letters) == (["superseded"], [], [])
    assert story.is_over()


def test_node_that_is_still_unhealthy_after_its_cooldown_is_rebooted_again() -> None:
    """The second reboot has a chain of its own that goes on counting the rounds of the first."""
    story = Story()
    story.sick()
    story.at(20)
    assert ends(story.sick()) == [("duplicate", None)]
    assert ends(story.check()) == [("waiting", None)]
    assert ends(story.check()) == [("rebooted", None)]
    assert story.minutes == 30
    assert story.rebooted == [SICK, SICK]
    assert body(story.world.intake.checks[-1])["detail"]["Round"] == 3
    assert body(story.world.intake.checks[-1])["detail"]["Attempt"] == 2
    watch = story.record.watch
    assert watch
    assert watch.until == story.began + 75 * MINUTE
    assert watch.reported_at == story.began
    story.at(33)
    story.well()
    assert story.ends == ["recovered"]
    assert story.news[-1].took == 33 * MINUTE


def test_check_comes_when_the_cooldown_ends_if_that_is_sooner() -> None:
    """A node that is still ill need not wait for the next round."""
    story = Story(settings=Settings(cooldown=20 * MINUTE))
    story.sick()
    story.at(16)
    story.check()
    story.at(17)
    story.sick()
    assert ends(story.check()) == [("rebooted", None)]
    assert story.minutes == 20


def test_node_that_may_not_be_rebooted_again_is_not_recovered_at_the_time_out() -> None:
    """The guard's no is no end by itself, and is told of with the end; nobody is told twice."""
    story = Story(settings=Settings(max_reboots_per_node=1))
    story.sick()
    story.at(20)
    story.sick()
    story.check()
    refused = only(story.check())
    assert (refused.outcome, refused.code) == (Outcome.WAITING, None)
    assert "RebootLimitReached" in refused.reason
    assert story.letters == []
    assert ends(story.check()) == [("not_recovered", "NotRecovered")]
    assert story.rebooted == [SICK]
    assert story.told == story.letters == [("not_recovered", "NotRecovered")]
    assert "not rebooted again: RebootLimitReached: 1 of 1 reboots" in story.news[-1].reason
    assert story.is_over()


def test_node_that_is_paused_over_its_time_out_is_not_recovered() -> None:
    """Mode paused reboots nothing, and still says how what was rebooted ended."""
    story = Story()
    story.sick()
    story.at(20)
    story.sick()
    story.world.mode = FakeMode("paused")
    for _ in range(3):
        story.check()
    assert story.rebooted == [SICK]
    assert story.letters == [("not_recovered", "NotRecovered")]


# -- a reboot that an alarm asked for


def test_alarm_that_is_ok_again_has_its_node_recovered() -> None:
    """By its event, at once."""
    story = Story()
    story.alarm()
    story.at(6)
    assert ends(story.alarm("OK")) == [("cleared", None), ("recovered", None)]
    assert story.news[-1].took == 6 * MINUTE
    story.check()
    assert story.is_over()


def test_alarm_whose_ok_event_never_came_is_asked() -> None:
    """By the first check, which then says since when."""
    story = Story()
    story.alarm()
    story.world.alarms = FakeAlarms([described("OK", story.began + 7 * MINUTE)])
    assert ends(story.check()) == [("recovered", None)]
    assert story.minutes == 15
    assert story.world.alarms.asked == [[ALARM]]
    assert story.news[-1].took == 7 * MINUTE
    assert story.is_over()


def test_healthy_report_does_not_answer_for_an_alarm() -> None:
    """The alarm saw what HyperPod's own agent did not: it has to be OK again."""
    story = Story()
    story.alarm()
    story.at(4)
    assert ends(story.well()) == [("cleared", None)]
    assert story.ends == []
    story.world.alarms = FakeAlarms([described("ALARM", story.began)])
    assert ends(story.check()) == [("waiting", None)]


def test_alarm_that_stays_has_its_node_rebooted_again_then_given_up() -> None:
    """No second report comes of an alarm that never was OK: the check is the report."""
    story = Story()
    story.alarm()
    story.world.alarms = FakeAlarms([described("ALARM", story.began)])
    outcomes: list[tuple[str, str | None]] = []
    while story.queue:
        outcomes += ends(story.check())
    assert story.rebooted == [SICK, SICK]
    assert outcomes[:2] == [("waiting", None), ("rebooted", None)]
    assert outcomes[-1] == ("not_recovered", "NotRecovered")
    assert story.letters == [("not_recovered", "NotRecovered")]
    assert f"alarm {ALARM} ALARM" in story.news[-1].reason
    assert story.is_over()


@pytest.mark.parametrize(("series", "outcome"), [([], "recovered"), ([2], "recovered"), ([2, 1], "waiting")])
def test_alarm_of_many_nodes_is_ok_for_the_one_that_does_not_contribute(series: list[int], outcome: str) -> None:
    """Others keep it in ALARM; its contributors say who."""
    story = Story()
    attributes = {"InstanceId": SICK, "HyperPodClusterName": "ml-a"}
    event = alarm_event(story.world.now)
    event["detail-type"] = "CloudWatch Alarm Contributor State Change"
    event["detail"]["alarmContributor"] = {"id": "c", "attributes": attributes}
    assert ends(story.deliver(story.message(event))) == [("rebooted", None)]
    contributors = [{"InstanceId": instance_id(number)} for number in series]
    story.world.alarms = FakeAlarms([described("ALARM", story.began)], series={ALARM: contributors})
    assert ends(story.check()) == [(outcome, None)]


# -- left to HyperPod


def test_repair_that_comes_to_nothing_is_not_recovered() -> None:
    """HyperPod said that it repairs, and after the time-out it has not: a person should know."""
    story = Story(clusters=repairing())
    assert ends(story.advised()) == [("deferred", None)]
    assert story.delays == [900]
    assert [ends(story.check()) for _ in range(3)][2] == [("not_recovered", "NotRecovered")]
    assert story.rebooted == []
    assert story.told == story.letters == [("not_recovered", "NotRecovered")]
    assert story.news[-1].reason.startswith("HyperPod's own repair came to nothing within 45m: status Running, ")
    assert story.is_over()


def test_repair_that_helps_has_its_node_recovered() -> None:
    """By its Healthy report; or it is replaced, and gone."""
    story = Story(clusters=repairing())
    story.advised()
    story.at(12)
    assert ends(story.well()) == [("cleared", None), ("recovered", None)]
    story.check()
    assert (story.told, story.is_over()) == ([], True)
    story = Story(clusters=repairing())
    story.advised()
    story.world.clusters.states[SICK] = None
    for _ in range(3):
        story.check()
    assert (story.ends, story.told, story.is_over()) == (["superseded"], [], True)


def test_reports_during_a_repair_start_no_watch_beside_it() -> None:
    """However many: one chain of checks, one end."""
    story = Story(clusters=repairing())
    for minute in range(5):
        story.at(minute)
        assert ends(story.advised()) == [("deferred", None)]
    assert story.delays == [900]
    for _ in range(3):
        story.check()
    assert (story.ends, story.is_over()) == (["not_recovered"], True)


# -- a report that the cooldown swallows


def test_duplicate_after_the_reboot_starts_no_watch_beside_an_open_one() -> None:
    """The checks of the reboot look after it."""
    story = Story()
    story.sick()
    story.at(5)
    assert ends(story.sick()) == [("duplicate", None)]
    assert story.delays == [900]


def test_duplicate_after_the_node_had_recovered_is_looked_after() -> None:
    """Its reboot's watch has ended, and within the cooldown nothing is done: a check comes when that is over."""
    story = Story()
    story.sick()
    story.at(5)
    story.well()
    story.at(12)
    assert ends(story.sick()) == [("duplicate", None)]
    assert story.delays == [900, 900]
    outcomes: list[tuple[str, str | None]] = []
    while story.queue and len(outcomes) < 3:
        outcomes += ends(story.check())
    assert outcomes == [("waiting", None), ("waiting", None), ("rebooted", None)]
    assert story.minutes == 30
    assert story.rebooted == [SICK, SICK]


def test_duplicate_of_a_report_from_before_the_reboot_starts_no_watch() -> None:
    """The reboot has answered it already."""
    story = Story()
    story.sick()
    story.at(5)
    story.well()
    story.check()
    late = health_event(SICK, time=(story.began - MINUTE).isoformat())
    handling = story.deliver(story.message(late))
    assert handling.endings[0].outcome is not Outcome.REBOOTED
    assert story.is_over()


# -- an answer that was lost


def test_lost_answer_is_followed_and_its_recovery_told() -> None:
    """People read that it may be rebooting; now they read that it is well."""
    story = Story(rebooter=lost())
    assert ends(story.sick()) == [("failed", "OutcomeUnknown")]
    assert story.delays == [900]
    story.at(4)
    story.well()
    assert story.told == [("failed", "OutcomeUnknown"), ("recovered", None)]
    story.check()
    assert story.is_over()


def test_lost_answer_of_a_node_that_does_not_come_back_is_not_recovered() -> None:
    """A second mail, with what was seen."""
    story = Story(rebooter=lost())
    story.world.clusters.states[SICK] = NodeState("Pending")
    story.sick()
    for _ in range(3):
        story.check()
    assert story.told == story.letters == [("failed", "OutcomeUnknown"), ("not_recovered", "NotRecovered")]
    assert story.is_over()


def test_lost_claim_is_followed_by_whoever_tells_of_it() -> None:
    """Its owner may never come again: the node is still seen to its end."""
    story = Story()
    story.world.on_step = killing(Step.RECORD)
    with pytest.raises(KilledError):
        story.sick()
    story.at(2)
    assert ends(story.sick()) == [("failed", "OutcomeUnknown")]
    assert story.delays == [900]
    story.at(5)
    story.well()
    assert story.told == [("failed", "OutcomeUnknown"), ("recovered", None)]
    story.check()
    assert story.is_over()


# -- tried again


def test_busy_node_is_a_failure_at_once_unless_retries_are_asked_for() -> None:
    """As ever: topic and dead-letter queue, no check."""
    story = Story(rebooter=busy(1))
    assert ends(story.sick()) == [("failed", "InstanceIdInUse")]
    assert story.letters == [("failed", "InstanceIdInUse")]
    assert story.is_over()


def test_busy_node_is_tried_again_and_rebooted() -> None:
    """The first failure is told at once with the next time; no letter, for nobody need act, and no budget is spent."""
    story = Story(settings=RETRYING, rebooter=busy(1))
    handling = story.sick()
    assert ends(handling) == [("retrying", "InstanceIdInUse")]
    assert only(handling).again_at == story.began + 2 * MINUTE
    assert only(handling).reason == " The node is busy.\n"
    assert (story.delays, story.letters) == ([120], [])
    assert story.world.ledger.book.budget("ml-a").spends == {}
    assert ends(story.check()) == [("rebooted", None)]
    assert story.minutes == 2
    assert story.rebooted == [SICK, SICK]
    story.at(6)
    story.well()
    assert story.told == [("retrying", "InstanceIdInUse"), ("recovered", None)]
    assert story.news[-1].took == 6 * MINUTE
    story.check()
    assert story.is_over()


def test_busy_node_that_stays_so_fails_for_good_after_its_tries() -> None:
    """Two tries more, after two and four minutes; only the last is a dead letter, and nothing is waited for."""
    story = Story(settings=RETRYING, rebooter=busy(9))
    outcomes = [*ends(story.sick())]
    times = []
    while story.queue:
        outcomes += ends(story.check())
        times.append(story.minutes)
    assert outcomes == [("retrying", "InstanceIdInUse")] * 2 + [("failed", "InstanceIdInUse")]
    assert times == [2, 6]
    assert story.told == outcomes
    assert story.letters == [("failed", "InstanceIdInUse")]
    assert len(story.rebooted) == 3
    assert story.is_over()
    assert story.record.reboots == ()


@pytest.mark.parametrize("code", ["InstanceIdNotFound", "ValidationException", "AccessDeniedException"])
def test_failure_that_does_not_pass_is_not_tried_again(code: str) -> None:
    """Whatever the setting."""
    story = Story(settings=RETRYING, rebooter=FakeRebooter(lambda _, node: Answer(node, Result.FAILED, code, "no")))
    assert ends(story.sick()) == [("failed", code)]
    assert story.is_over()


def test_busy_node_that_recovers_meanwhile_is_not_rebooted() -> None:
    """And people, who read of the retry, read of its end."""
    story = Story(settings=RETRYING, rebooter=busy(1))
    story.sick()
    story.at(1)
    assert ends(story.well()) == [("cleared", None), ("recovered", None)]
    assert ends(story.check()) == [("waiting", None)]
    assert story.told == [("retrying", "InstanceIdInUse"), ("recovered", None)]
    assert story.rebooted == [SICK]
    assert story.is_over()


def test_busy_node_that_is_gone_meanwhile_is_not_rebooted() -> None:
    """It was replaced."""
    story = Story(settings=RETRYING, rebooter=busy(1))
    story.sick()
    story.world.clusters.states[SICK] = None
    assert ends(story.check()) == [("superseded", None)]
    assert story.told == [("retrying", "InstanceIdInUse"), ("superseded", None)]
    assert story.rebooted == [SICK]
    assert story.is_over()


def test_retry_is_judged_by_the_guards_again() -> None:
    """Paused meanwhile: refused like any report, for people were told that it would be tried."""
    story = Story(settings=RETRYING, rebooter=busy(1))
    story.sick()
    story.world.mode = FakeMode("paused")
    assert ends(story.check()) == [("refused", "Paused")]
    assert story.letters == [("refused", "Paused")]
    assert story.rebooted == [SICK]
    assert story.is_over()


def test_reports_while_a_retry_is_due_do_not_come_before_it() -> None:
    """The node is called for when it was said to be; a person who asks is not kept waiting."""
    story = Story(settings=RETRYING, rebooter=busy(1))
    story.sick()
    story.at(1)
    assert ends(story.sick()) == [("duplicate", None)]
    assert story.rebooted == [SICK]
    assert ends(story.deliver(story.message(request(SICK)))) == [("rebooted", None)]
    outcomes = ends(story.check())
    assert outcomes == [("waiting", None)]
    assert story.rebooted == [SICK, SICK]


def test_alarms_retry_asks_the_alarm_before_it_calls() -> None:
    """An OK that no event told of: nothing is rebooted."""
    story = Story(settings=RETRYING, rebooter=busy(1))
    story.alarm()
    story.world.alarms = FakeAlarms([described("OK", story.began + MINUTE)])
    assert ends(story.check()) == [("recovered", None)]
    assert story.rebooted == [SICK]
    assert story.is_over()


# -- muted


def muted_alarm(story: Story, minutes: float) -> Handling:
    until = (story.began + minutes * MINUTE).isoformat()
    return story.alarm(muteDetail={"mutedBy": "arn:mute", "muteWindowEnd": until})


def test_muted_alarm_is_looked_at_again_when_its_window_ends() -> None:
    """Still in ALARM: its node is rebooted as if it had been reported just then."""
    story = Story()
    assert ends(muted_alarm(story, 40)) == [("deferred", None)]
    story.world.alarms = FakeAlarms([described("ALARM", story.began)])
    outcomes = [(ends(story.check()), story.minutes) for _ in range(3)]
    assert outcomes[:2] == [([("waiting", None)], 15), ([("waiting", None)], 30)]
    assert outcomes[2][0] == [("rebooted", None)]
    assert 40 < outcomes[2][1] < 41
    assert story.rebooted == [SICK]
    assert body(story.world.intake.checks[-1])["detail-type"] == "HyperPod Node Check"


def test_muted_alarm_that_is_ok_when_its_window_ends_is_over() -> None:
    """Nothing is rebooted and nobody is told."""
    story = Story()
    muted_alarm(story, 10)
    story.world.alarms = FakeAlarms([described("OK", story.began + MINUTE)])
    assert ends(story.check()) == [("cleared", None)]
    assert (story.rebooted, story.told, story.is_over()) == ([], [], True)


def test_mute_window_that_checks_cannot_reach_is_left_alone() -> None:
    """Ten rounds of 15 minutes do not span a night; the alarm's next change of state is heard."""
    story = Story()
    assert ends(muted_alarm(story, 151)) == [("deferred", None)]
    assert story.is_over()


def test_muted_alarm_without_a_windows_end_is_left_alone() -> None:
    """Nothing says when to look again."""
    story = Story()
    assert ends(story.alarm(muteDetail={"mutedBy": "arn:mute"})) == [("deferred", None)]
    assert story.is_over()


# -- what goes wrong


@pytest.mark.parametrize("rebooter", [FakeRebooter, lost, lambda: busy(1)])
def test_check_that_cannot_be_sent_hands_its_message_back(rebooter: Callable[[], FakeRebooter]) -> None:
    """And once the queue takes it, the redelivery sends it: told at most twice, called once."""
    story = Story(settings=RETRYING, rebooter=rebooter())
    story.world.intake.down = True
    first = story.message(health_event(SICK, time=story.world.now.isoformat()))
    handling = story.deliver(first)
    assert handling.handed_back == {"m-1": "intake queue: down"}
    assert story.world.intake.again == ["m-1"]
    story.world.intake.down = False
    story.world.later(seconds=70)
    handling = story.deliver(replace(first, receives=2))
    assert handling.handed_back == {}
    assert len(story.queue) == 1
    assert story.rebooted == [SICK]
    assert len(story.news) == 2
    assert said(story.news)[0] == said(story.news)[1]
    story.at(4)
    story.well()
    while story.queue:
        story.check()
    assert (len(story.ends), story.is_over()) == (1, True)


REBOOTS: dict[str, Callable[[], Story]] = {
    "rebooted": Story,
    "lost": lambda: Story(rebooter=lost()),
    "retried": lambda: Story(settings=RETRYING, rebooter=busy(1)),
    "left to HyperPod": lambda: Story(clusters=repairing()),
}


def begin(story: Story, kind: str) -> Message:
    event = health_event(SICK, time=story.world.now.isoformat())
    event["detail"]["HealthSummary"]["RepairAction"] = "Replace" if kind == "left to HyperPod" else "None"
    return story.message(event)


def deliver_to_the_end(story: Story, first: Message) -> None:
    """Delivered until it is acknowledged, each time when its lease is over."""
    for receives in range(1, 6):
        try:
            if not story.deliver(replace(first, receives=receives)).handed_back:
                return
        except KilledError:
            pass
        story.world.later(seconds=70)
    raise AssertionError("never acknowledged")


def check_to_the_end(story: Story) -> None:
    rounds = 0
    while story.queue:
        deliver_to_the_end(story, story.due())
        rounds += 1
        assert rounds < 40, "the checks do not end"


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("kind", REBOOTS)
def test_report_that_is_killed_at_any_step_is_followed_to_one_end(kind: str, step: Step) -> None:
    """Killed once, before each step: there is one chain of checks, and it ends once."""
    story = REBOOTS[kind]()
    story.world.on_step = killing(step)
    deliver_to_the_end(story, begin(story, kind))
    story.world.on_step = unwatched
    check_to_the_end(story)
    expected = "not_recovered" if kind == "left to HyperPod" else "recovered"
    assert story.ends == [expected]
    assert story.is_over()


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("kind", REBOOTS)
@pytest.mark.parametrize("killed", [1, 2, 3])
def test_check_that_is_killed_at_any_step_ends_its_node_once(kind: str, step: Step, killed: int) -> None:
    """The end that was decided is the one that is told, twice at most; nothing is called for twice."""
    story = REBOOTS[kind]()
    deliver_to_the_end(story, begin(story, kind))
    calls = 1 if kind in ("rebooted", "lost") else (2 if kind == "retried" else 0)
    for _ in range(killed - 1):
        story.check()
    story.world.on_step = killing(step)
    check_to_the_end(story)
    assert len(set(story.ends)) == 1
    assert len(story.ends) <= (2 if step in (Step.SEND_ON, Step.SETTLE) else 1)
    assert len(story.rebooted) <= calls
    assert story.is_over()


@pytest.mark.parametrize("step", Step)
def test_healthy_report_that_is_killed_at_any_step_ends_its_node_once(step: Step) -> None:
    """It had decided the end, so its redelivery tells of it, whatever else has come meanwhile."""
    story = Story(settings=Settings(notify_rebooted=True))
    story.sick()
    story.at(14.5)
    story.world.on_step = killing(step)
    deliver_to_the_end(story, story.message(story.healthy()))
    check_to_the_end(story)
    assert set(story.ends) == {"recovered"}
    assert len(story.ends) <= (2 if step in (Step.SEND_ON, Step.SETTLE) else 1)
    assert story.is_over()


@pytest.mark.parametrize("which", [1, 2, 3])
def test_check_that_is_delivered_twice_does_nothing_the_second_time(which: int) -> None:
    """Standard queues deliver at least once: one chain goes on, and one end is told."""
    story = Story(settings=Settings(notify_rebooted=True))
    story.sick()
    for _ in range(which - 1):
        story.check()
    check = story.due()
    story.deliver(check)
    sent = len(story.delays)
    assert ends(story.deliver(check)) == [("waiting", None)]
    assert len(story.delays) == sent
    check_to_the_end(story)
    assert (story.ends, story.is_over()) == (["recovered"], True)
    assert story.delays == [900, 900, 900]


@pytest.mark.parametrize("which", [1, 2, 3])
@pytest.mark.parametrize("order", [1, -1])
def test_healthy_report_and_check_of_one_batch_are_one_end(which: int, order: int) -> None:
    """Whichever comes first in it, and whatever the check would have said by itself."""
    story = Story(settings=Settings(notify_rebooted=True))
    story.world.clusters.states[SICK] = NodeState("Pending")
    story.sick()
    for _ in range(which - 1):
        story.check()
    check = story.due()
    story.deliver(*[story.message(story.healthy()), check][::order])
    assert story.ends == ["recovered"]
    check_to_the_end(story)
    assert (story.ends, story.told, story.letters) == (["recovered"], [("recovered", None)], [])
    assert story.is_over()


@pytest.mark.parametrize("error", [THROTTLED, DENIED])
def test_node_that_cannot_be_looked_at_is_not_said_to_have_recovered(error: Any) -> None:
    """Passing trouble hands the check back; a no is said with the end, which is no good one."""
    story = Story()
    story.sick()
    story.check()
    story.check()
    story.world.clusters.node_error = error
    last = story.due()
    handling = story.deliver(last)
    if error is THROTTLED:
        assert list(handling.handed_back) == [last.id]
        assert story.ends == []
        story.world.clusters.node_error = None
        story.world.clusters.states[SICK] = NodeState("Failure")
        handling = story.deliver(replace(last, receives=2))
    assert ends(handling) == [("not_recovered", "NotRecovered")]
    if error is DENIED:
        assert "could not be asked: AccessDeniedException" in story.news[-1].reason
    assert story.is_over()


def test_check_whose_trouble_does_not_pass_ends_at_its_last_receive() -> None:
    """As not recovered, for nobody knows better: what was rebooted is not forgotten in silence."""
    story = Story()
    story.sick()
    story.check()
    story.check()
    story.world.clusters.node_error = THROTTLED
    last = story.due()
    for receives in range(1, 5):
        assert list(story.deliver(replace(last, receives=receives)).handed_back) == [last.id]
    assert ends(story.deliver(replace(last, receives=5))) == [("not_recovered", "NotRecovered")]
    assert story.letters == [("not_recovered", "NotRecovered")]
    assert "ThrottlingException" in story.news[-1].reason
    assert story.is_over()


def test_node_reported_by_its_logical_id_is_looked_for_by_its_instance() -> None:
    """A logical ID stays when its instance is replaced: asked by it, a node would never be gone."""
    story = Story(clusters=FakeClusters(instances={"group-1": SICK}))
    assert ends(story.deliver(story.message(request(logical=["group-1"])))) == [("rebooted", None)]
    story.world.clusters.states[SICK] = None
    for _ in range(3):
        story.check()
    assert story.world.clusters.nodes_asked == [SICK]
    assert (story.ends, story.is_over()) == (["superseded"], True)


def test_nodes_of_one_batch_are_each_followed() -> None:
    """One check a node, and each ends by itself."""
    story = Story()
    batch = [story.message(health_event(instance_id(n), time=story.world.now.isoformat())) for n in range(1, 31)]
    story.deliver(*batch)
    assert story.delays == [900] * 30
    assert len({body(sent)["detail"]["NodeId"] for sent in story.world.intake.checks}) == 30
    story.world.clusters.states[instance_id(7)] = NodeState("Failure")
    for _ in range(3):
        checks = [story.due() for _ in range(30)]
        story.deliver(*checks)
    assert sorted(story.ends) == ["not_recovered"] + ["recovered"] * 29
    assert story.queue == []
