"""What one batch leaves behind for the next: reboots, budgets, health, and what people were told."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from node_remediation.awserrors import CallError
from node_remediation.cluster import Facts
from node_remediation.deadletter import Origin, dead_letter
from node_remediation.model import Ending, Handling, Message, NodeKey, Outcome, Result
from node_remediation.reboot import Answer
from tests.unit.fakes import (
    DENIED,
    LOST,
    THROTTLED,
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


def clusters(**facts: Any) -> FakeClusters:
    return FakeClusters(facts_of={"ml-a": Facts(**facts)})


class Night:
    """A world in which time passes and each event is delivered when it happens."""

    def __init__(self, **world: Any) -> None:
        self.world = World(**world)
        self.messages = 0

    def deliver(self, *bodies: object, redriven: str | None = None, receives: int = 1) -> Handling:
        return self.world.handle(*(self.message(body, redriven=redriven, receives=receives) for body in bodies))

    def message(self, body: object, **more: Any) -> Message:
        self.messages += 1
        return message(body, id=f"m-{self.messages}", sent=self.world.now, **more)

    def sick(self, *nodes: int, at: datetime | None = None, **extra: Any) -> Handling:
        """Nodes are reported unhealthy, at a time or now."""
        time = (at or self.world.now).isoformat()
        return self.deliver(*(health_event(instance_id(n), time=time, **extra) for n in nodes))

    def well(self, *nodes: int, at: datetime | None = None) -> Handling:
        time = (at or self.world.now).isoformat()
        return self.deliver(*(health_event(instance_id(n), status="Healthy", time=time) for n in nodes))

    def redrive(self, *letters: Ending) -> Handling:
        """The dead letters of these endings are put back, as SQS does it."""
        bodies = [
            dead_letter(each, letter_id=UUID(int=1), now=self.world.now, origin=Origin("1" * 12, "us-west-2"))
            for each in letters
        ]
        return self.world.handle(*(self.message(each.body, redriven=each.attributes["Kind"]) for each in bodies))

    @property
    def rebooted(self) -> list[str]:
        return self.world.rebooter.rebooted


def ends(handling: Handling) -> list[tuple[str, str | None]]:
    assert handling.handed_back == {}
    return [(each.outcome.value, each.code) for each in handling.endings]


def repair(action: str = "Replace") -> dict[str, Any]:
    return {"HealthStatus": "Unhealthy", "HealthStatusReason": "Xid 79", "RepairAction": action}


def advised(night: Night, action: str = "Replace", node: int = 1) -> Handling:
    event = health_event(instance_id(node), time=night.world.now.isoformat())
    event["detail"]["HealthSummary"] = repair(action)
    return night.deliver(event)


def alarm(night: Night, **detail: Any) -> Handling:
    event = unmuted(sample("alarm-single-metric"))
    event["time"] = night.world.now.isoformat()
    event["detail"] |= {"alarmName": "hyperpod-xid", **detail}
    event["detail"]["state"] |= {"value": "ALARM", "timestamp": event["time"]}
    dimensions = {"InstanceId": instance_id(1), "HyperPodClusterName": "ml-a"}
    event["detail"]["configuration"]["metrics"][0]["metricStat"]["metric"]["dimensions"] = dimensions
    return night.deliver(event)


def test_storm_of_reports_of_one_node_is_one_reboot() -> None:
    """Batch after batch, half an hour long; then it is sick again."""
    night = Night()
    assert ends(night.sick(1)) == [("rebooted", None)]
    for _ in range(29):
        night.world.later(minutes=1)
        assert ends(night.sick(1, 1)) == [("duplicate", None)] * 2
    night.world.later(minutes=1)
    assert ends(night.sick(1)) == [("rebooted", None)]
    assert night.rebooted == [instance_id(1)] * 2


def test_late_report_from_before_the_reboot_is_a_duplicate() -> None:
    """The cooldown is over, but the reboot has answered it already."""
    night = Night()
    night.sick(1)
    before = night.world.now - timedelta(minutes=1)
    night.world.later(minutes=40)
    assert ends(night.sick(1, at=before)) == [("duplicate", None)]
    assert len(night.rebooted) == 1


def test_node_that_reboots_do_not_help_is_refused_until_its_window_is_over() -> None:
    """Twice a day, with the numbers; people hear of it once a cooldown."""
    night = Night()
    night.sick(1)
    night.world.later(minutes=31)
    night.sick(1)
    for expected in (("refused", "RebootLimitReached"), ("duplicate", "RebootLimitReached")):
        night.world.later(minutes=29)
        night.world.later(minutes=2 if expected[0] == "refused" else 0)
        assert ends(night.sick(1)) == [expected]
    assert [each.reason for each in night.world.reporter.letters] == [
        "2 of 2 reboots of the node in 24h used, and it is reported unhealthy again"
    ]
    night.world.later(hours=23)
    assert ends(night.sick(1)) == [("rebooted", None)]


def test_request_within_the_cooldown_is_answered_each_time() -> None:
    """Who asks is told, and a later request is served."""
    night = Night()
    night.sick(1)
    for _ in range(2):
        night.world.later(minutes=10)
        assert ends(night.deliver(request(instance_id(1)))) == [("refused", "CoolingDown")]
    night.world.later(minutes=10)
    assert ends(night.deliver(request(instance_id(1)))) == [("rebooted", None)]


def test_budget_runs_out_over_batches_and_a_redrive_succeeds_once_it_is_free() -> None:
    """Twenty of a hundred nodes in an hour, however they come; what was refused can be put back."""
    night = Night(clusters=clusters(nodes=100))
    assert ends(night.sick(*range(15))) == [("rebooted", None)] * 15
    night.world.later(minutes=20)
    found = night.sick(*range(15, 25))
    refused = [each for each in found.endings if each.outcome is Outcome.REFUSED]
    assert sorted(ends(found)) == [("rebooted", None)] * 5 + [("refused", "ClusterBudgetExceeded")] * 5
    assert {each.reason for each in refused} == {"budget 20 of 100 nodes in 60m, 20 spent"}
    night.world.later(minutes=20)
    assert ends(night.redrive(*refused)) == [("refused", "ClusterBudgetExceeded")] * 5
    night.world.later(minutes=20)
    assert ends(night.redrive(*refused)) == [("rebooted", None)] * 5
    assert len(night.rebooted) == len(set(night.rebooted)) == 25


def test_what_sagemaker_refused_costs_neither_cooldown_nor_budget() -> None:
    """A busy node is called again by the next report, and the budget is there for others."""
    busy = FakeRebooter(
        lambda _, node: Answer(node, Result.FAILED, "InstanceIdInUse", "busy") if node.id == instance_id(1) else None
    )
    night = Night(clusters=clusters(nodes=10), rebooter=busy)
    for _ in range(5):
        assert ends(night.sick(1)) == [("failed", "InstanceIdInUse")]
        night.world.later(minutes=1)
    assert ends(night.sick(2, 3)) == [("rebooted", None)] * 2
    assert ends(night.sick(1)) == [("refused", "ClusterBudgetExceeded")]


def test_lost_answer_costs_cooldown_and_budget() -> None:
    """It may be rebooting: never again by itself, and the cluster has one less to spend."""
    lost = iter([True])
    night = Night(
        clusters=clusters(nodes=10),
        rebooter=FakeRebooter(
            lambda _, node: Answer(node, Result.UNKNOWN, "OutcomeUnknown", "lost", LOST) if next(lost, False) else None
        ),
    )
    assert ends(night.sick(1)) == [("failed", "OutcomeUnknown")]
    night.world.later(minutes=5)
    assert ends(night.sick(1)) == [("duplicate", None)]
    assert ends(night.redrive(*night.world.reporter.letters)) == [("refused", "CoolingDown")]
    assert sorted(ends(night.sick(2, 3))) == [("rebooted", None), ("refused", "ClusterBudgetExceeded")]
    assert night.rebooted[0] == instance_id(1)
    assert len(night.rebooted) == 2


def test_report_of_a_node_that_has_recovered_since_is_cleared() -> None:
    """Late, or put back: whatever was reported before the node was well is over."""
    night = Night(rebooter=FakeRebooter(lambda _, node: Answer(node, Result.FAILED, "InstanceIdInUse", "busy")))
    sick_at = night.world.now
    failed = night.sick(1)
    night.world.later(minutes=5)
    assert ends(night.well(1)) == [("cleared", None)]
    night.world.later(minutes=5)
    assert ends(night.sick(1, at=sick_at + timedelta(minutes=1))) == [("cleared", None)]
    assert ends(night.redrive(*failed.endings)) == [("cleared", None)]
    assert len(night.rebooted) == 1
    assert ends(night.sick(1)) == [("failed", "InstanceIdInUse")]


def test_healthy_report_that_is_older_changes_nothing() -> None:
    """Reports come in any order: the latest healthy time is what is known."""
    night = Night()
    night.well(1)
    well_at = night.world.now
    night.world.later(minutes=1)
    night.well(1, at=well_at - timedelta(minutes=30))
    assert ends(night.sick(1, at=well_at - timedelta(minutes=1))) == [("cleared", None)]
    assert ends(night.sick(1)) == [("rebooted", None)]


def test_request_is_not_answered_by_an_earlier_recovery() -> None:
    """Who asks for a reboot of a healthy node gets one, whatever time the request's example says."""
    night = Night()
    night.well(1)
    night.world.later(minutes=1)
    assert ends(night.deliver(request(instance_id(1), time="2020-01-01T00:00:00Z"))) == [("rebooted", None)]


def test_pause_refuses_once_a_cooldown_and_a_redrive_after_it_reboots() -> None:
    """Nothing is rebooted, nothing is lost; that a node is well is still heard, and takes no look at its cluster."""
    night = Night(mode=FakeMode("paused"))
    first = night.sick(1)
    assert ends(first) == [("refused", "Paused")]
    night.world.later(minutes=10)
    assert ends(night.sick(1)) == [("duplicate", "Paused")]
    assert ends(night.sick(2)) == [("refused", "Paused")]
    asked = list(night.world.clusters.facts_asked)
    assert ends(night.well(3)) == [("cleared", None)]
    assert night.world.clusters.facts_asked == asked
    assert ends(night.redrive(*first.endings)) == [("refused", "Paused")]
    night.world.mode.mode = "active"
    assert ends(night.redrive(*first.endings)) == [("rebooted", None)]
    assert night.rebooted == [instance_id(1)]


def test_observing_tells_once_a_cooldown_and_does_nothing() -> None:
    """No call, no cost: when it is made active, the node is rebooted at once."""
    night = Night(mode=FakeMode("observe"))
    assert ends(night.sick(1)) == [("observed", None)]
    night.world.later(minutes=29)
    assert ends(night.sick(1)) == [("duplicate", None)]
    night.world.later(minutes=1)
    assert ends(night.sick(1)) == [("observed", None)]
    told = [each.outcome for each in night.world.reporter.reported]
    assert told.count(Outcome.OBSERVED) == 2
    assert night.world.reporter.letters == []
    record = night.world.ledger.book.node(NodeKey("ml-a", instance_id(1)))
    assert (night.rebooted, record.reboots, night.world.ledger.book.budgets) == ([], (), {})
    night.world.mode.mode = "active"
    assert ends(night.sick(1)) == [("rebooted", None)]


@pytest.mark.parametrize(
    ("error", "handed_back", "ended"),
    [(THROTTLED, True, []), (LOST, True, []), (DENIED, False, [("failed", "AccessDeniedException")])],
)
@pytest.mark.parametrize("what", ["mode", "facts", "ledger"])
def test_what_cannot_be_had_never_leads_to_a_reboot(
    what: str, error: CallError, handed_back: bool, ended: list[tuple[str, str | None]]
) -> None:
    """Passing trouble hands back; a no fails the node in AWS's words (a mode that is denied says so by itself)."""
    night = Night()
    if what == "facts":
        night.world.clusters.facts_error = error
    else:
        (night.world.mode if what == "mode" else night.world.ledger).error = error
    handling = night.sick(1)
    assert night.rebooted == []
    assert bool(handling.handed_back) is handed_back
    told = [(each.outcome.value, each.code) for each in night.world.reporter.letters]
    assert told == ended


def test_cluster_whose_facts_cannot_be_had_holds_up_no_other() -> None:
    """One bad thing stays one bad thing; what needs no facts of it goes on."""
    night = Night()

    class Half(FakeClusters):
        def facts(self, name: str) -> Facts:
            self.facts_error = THROTTLED if name == "ml-a" else None
            return super().facts(name)

    night.world.clusters = Half()
    handling = night.deliver(
        health_event(instance_id(1)),
        health_event(instance_id(2), cluster="ml-b"),
        health_event(instance_id(3), status="Healthy"),
    )
    assert list(handling.handed_back) == ["m-1"]
    assert sorted(each.outcome.value for each in handling.endings) == ["cleared", "rebooted"]
    assert night.rebooted == [instance_id(2)]


def test_well_node_asks_neither_mode_nor_facts() -> None:
    """Most events are of healthy nodes."""
    night = Night(mode=FakeMode(error=THROTTLED), clusters=FakeClusters(facts_error=THROTTLED))
    assert ends(night.well(1)) == [("cleared", None)]


def test_repair_of_hyperpods_own_binds_every_source_for_a_cooldown() -> None:
    """In an Automatic cluster it is left alone, whoever reports it; then it may be rebooted."""
    night = Night(clusters=clusters(nodes=100, recovers_by_itself=True))
    assert ends(advised(night)) == [("deferred", None)]
    night.world.later(minutes=29)
    assert ends(alarm(night)) == [("deferred", None)]
    assert ends(night.deliver(request(instance_id(1)))) == [("deferred", None)]
    assert ends(night.sick(2)) == [("rebooted", None)]
    night.world.later(minutes=1)
    assert ends(alarm(night)) == [("rebooted", None)]
    assert night.world.reporter.letters == []


def test_repair_binds_an_alarm_of_the_same_batch() -> None:
    """The health event and the alarm of one incident come together: the node is rebooted by nobody but HyperPod."""
    night = Night(clusters=clusters(nodes=100, recovers_by_itself=True))
    event = health_event(instance_id(1), time=(night.world.now + timedelta(seconds=1)).isoformat())
    event["detail"]["HealthSummary"] = repair()
    handling = night.deliver(health_event(instance_id(1), time=night.world.now.isoformat()), event)
    assert ends(handling) == [("deferred", None)] * 2
    assert night.rebooted == []


def test_advice_to_replace_is_refused_and_its_redrive_too() -> None:
    """Where HyperPod only advises, a person decides; the dead letter remembers the advice."""
    night = Night()
    refused = advised(night)
    assert ends(refused) == [("refused", "ReplacementAdvised")]
    night.world.later(minutes=1)
    assert ends(night.redrive(*refused.endings)) == [("refused", "ReplacementAdvised")]
    assert ends(advised(night, "Reboot")) == [("rebooted", None)]


def test_two_ids_of_a_node_share_its_cooldown() -> None:
    """Rebooted by its logical ID, it is cooling down by its instance ID; the call used the ID that was reported."""
    night = Night(clusters=FakeClusters(instances={"group-1": instance_id(1)}))
    assert ends(night.deliver(request(logical=["group-1"]))) == [("rebooted", None)]
    night.world.later(minutes=1)
    assert ends(night.sick(1)) == [("duplicate", None)]
    assert night.rebooted == ["group-1"]


def test_report_that_waited_too_long_is_refused_and_its_redrive_is_fresh() -> None:
    """What counts is how long it waited with us, not what time the event claims."""
    night = Night()
    old = night.message(health_event(instance_id(1)))
    night.world.later(minutes=61)
    stale = night.world.handle(old)
    assert ends(stale) == [("refused", "StaleReport")]
    assert ends(night.redrive(*stale.endings)) == [("rebooted", None)]
    assert ends(night.sick(2, at=night.world.now - timedelta(hours=9))) == [("rebooted", None)]


def test_redriven_refusal_of_the_same_batch_is_answered_beside_its_duplicates() -> None:
    """Forty refusals of one node put back together: each has an outcome, and it is rebooted once."""
    night = Night(mode=FakeMode("paused"))
    refused = night.sick(1).endings * 40
    night.world.mode.mode = "active"
    assert sorted(ends(night.redrive(*refused))) == [("duplicate", None)] * 39 + [("rebooted", None)]
    assert night.rebooted == [instance_id(1)]


def test_odd_id_that_nobody_can_look_up_is_remembered_too() -> None:
    """The API's answer is its outcome, and the next report of it is handled the same."""
    odd = "x" * 3_000
    night = Night(rebooter=FakeRebooter(lambda _, node: Answer(node, Result.FAILED, "ValidationException", "no")))
    for _ in range(2):
        assert ends(night.deliver(request(odd))) == [("failed", "ValidationException")]
        night.world.later(minutes=1)
