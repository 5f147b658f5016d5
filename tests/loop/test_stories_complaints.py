"""Complaints about a node, and their withdrawal: a source withdraws its own complaint only."""

import pytest

from tests.loop.outside import denied, throttled
from tests.loop.world import HOUR, MINUTE, SECOND, START, Trouble, World, Write

GPU = "hyperpod-reboot-gpu"


def test_complaint_of_hyperpod_is_withdrawn_by_its_health_event() -> None:
    """A health event Healthy ends the incident of a health event Unhealthy."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(node)
    assert (world.deliver(), world.ends) == (["cleared"], ["recovered"])


@pytest.mark.parametrize("logical", [False, True])
def test_cluster_event_complains_as_hyperpod(logical: bool) -> None:
    """A cluster event "is unhealthy" is HyperPod's word, which a health event takes back."""
    world = World()
    node = world.node()
    world.cluster_event(node, logical=logical)
    assert world.deliver() == ["rebooted"]
    world.passes(5 * MINUTE)
    world.healthy(node)
    assert (world.deliver(), world.ends) == (["cleared"], ["recovered"])


def test_complaint_of_an_alarm_is_withdrawn_by_its_own_ok() -> None:
    """An alarm that is OK again takes back what it said."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM")
    assert world.deliver() == ["rebooted"]
    world.passes(5 * MINUTE)
    world.alarm(node, "OK")
    assert (world.deliver(), world.ends) == (["cleared"], ["recovered"])


def test_ok_of_an_alarm_withdraws_also_while_it_is_muted() -> None:
    """A mute window keeps an alarm's complaints back, not its withdrawals."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(5 * MINUTE)
    world.alarm(node, "OK", muted_until=world.now + HOUR)
    assert (world.deliver(), world.ends) == (["cleared"], ["recovered"])


def test_ok_of_an_alarm_does_not_withdraw_what_hyperpod_said() -> None:
    """Nor does a Healthy event withdraw what an alarm said: at the time-out such a node is not called recovered."""
    for complains, withdraws in (("hyperpod", "alarm"), ("alarm", "hyperpod")):
        world = World()
        node = world.node()
        tell = {"hyperpod": world.unhealthy, "alarm": world.alarm}
        tell[complains](node)
        assert world.deliver() == ["rebooted"]
        if complains == "alarm":
            world.alarm(node, "INSUFFICIENT_DATA", unheard=True)
        world.passes(5 * MINUTE)
        _ = world.alarm(node, "OK", name="hyperpod-reboot-other") if withdraws == "alarm" else world.healthy(node)
        assert (world.deliver(), world.ends) == (["cleared"], [])
        world.passes(HOUR)
        assert world.ends == ["unverified"]


def test_each_series_of_an_alarm_withdraws_for_itself() -> None:
    """A series that names another node says nothing of this one."""
    world = World()
    first, second = world.node(1), world.node(2)
    for node in (first, second):
        world.alarm(node, "ALARM", series=True)
    assert world.deliver() == ["rebooted", "rebooted"]
    world.passes(5 * MINUTE)
    world.alarm(second, "OK", series=True)
    world.deliver()
    assert world.ends == ["recovered"]
    assert world.record(second).incident is None
    assert world.record(first).incident


def test_series_that_no_longer_contributes_is_withdrawn_when_it_is_asked() -> None:
    """Its OK event was lost, and another series keeps the alarm itself in ALARM."""
    world = World()
    first, second = world.node(1), world.node(2)
    for node in (first, second):
        world.alarm(node, "ALARM", series=True)
    world.deliver()
    world.passes(MINUTE)
    world.alarm(first, "OK", series=True, unheard=True)
    world.until("02:30:00")
    assert world.ends == ["recovered"]
    assert world.record(first).incident is None


def test_children_of_a_composite_alarm_complain_and_withdraw_themselves() -> None:
    """The child whose state agrees with the parent's is the source; the parent's OK withdraws for it."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", name=GPU, unheard=True)
    world.composite("hyperpod-reboot-any", "ALARM", [GPU])
    assert world.deliver() == ["rebooted"]
    assert [each.source for each in world.incident(node).complaints] == [f"alarm:{GPU}"]
    world.passes(5 * MINUTE)
    world.alarm(node, "OK", name=GPU, unheard=True)
    world.composite("hyperpod-reboot-any", "OK", [GPU])
    assert (world.deliver(), world.ends) == (["cleared"], ["recovered"])


def test_composite_whose_children_do_not_agree_complains_itself() -> None:
    """With NOT ALARM(x) the child only names the node; the parent is asked and withdraws."""
    world = World()
    node = world.node()
    world.alarm(node, "OK", name=GPU, unheard=True)
    world.composite("hyperpod-reboot-not", "ALARM", [GPU])
    assert world.deliver() == ["rebooted"]
    assert [each.source for each in world.incident(node).complaints] == ["alarm:hyperpod-reboot-not"]
    world.passes(5 * MINUTE)
    world.alarm(node, "ALARM", name=GPU, unheard=True)
    world.composite("hyperpod-reboot-not", "OK", [GPU])
    assert (world.deliver(), world.ends) == (["cleared"], ["recovered"])


def test_request_is_withdrawn_by_nothing_and_stands_in_no_ones_way() -> None:
    """A node that a person had rebooted recovers by the word of the source that complained beside it."""
    world = World()
    node = world.node()
    world.request(node.instance)
    assert world.deliver() == ["rebooted"]
    world.passes(MINUTE)
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.healthy(node)
    world.deliver()
    assert world.ends == ["recovered"]


def test_request_alone_is_unverified_at_the_time_out() -> None:
    """Status Running proves nothing, and no source has complained that could say more."""
    world = World()
    world.request(world.node().instance)
    world.deliver()
    world.passes(HOUR)
    assert (world.ends, world.told) == (["unverified"], [])


def test_redriven_letter_complains_as_its_triggers_source_did() -> None:
    """The OK of the alarm that set off the first attempt withdraws the letter's complaint."""
    world = World()
    node = world.node()
    node.answers = ["Denied"]
    world.alarm(node, "ALARM")
    assert world.deliver() == ["failed Denied"]
    world.passes(HOUR)
    world.redrive(world.letters[0])
    assert world.deliver() == ["rebooted"]
    world.passes(5 * MINUTE)
    world.alarm(node, "OK")
    world.deliver()
    assert world.ends == ["failed", "recovered"]


def test_redriven_letter_is_cleared_if_its_source_has_withdrawn_since() -> None:
    """The letter counts from its trigger's time, so a later sign of health of the same source answers it."""
    world = World()
    node = world.node()
    node.answers = ["Denied"]
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.healthy(node)
    world.deliver()
    world.passes(HOUR)
    world.redrive(world.letters[0])
    assert (world.deliver(), world.reboots) == (["cleared"], [])


def test_request_has_every_guard_and_no_wait() -> None:
    """Within the cooldown a request is refused, where a report would wait for its end."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.healthy(node)
    world.deliver()
    world.request(node.instance)
    assert world.deliver() == ["refused CoolingDown"]


# -- signs of health


def test_late_complaint_from_before_a_sign_of_health_is_cleared() -> None:
    """Events come out of order, also for a node without an incident."""
    world = World()
    node = world.node()
    world.healthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.unhealthy(node, at=START - MINUTE)
    assert (world.deliver(), world.reboots) == (["cleared"], [])


def test_healthy_wins_a_tie() -> None:
    """It cannot be known which of two events of one second is later."""
    for order in (1, -1):
        world = World()
        node = world.node()
        for tell in (world.healthy, world.unhealthy)[::order]:
            tell(node)
        assert sorted(world.deliver()) == ["cleared", "cleared"]
        assert world.reboots == []


def test_older_sign_of_health_withdraws_no_later_complaint() -> None:
    """A Healthy event from before the complaint that comes late."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.healthy(node, at=START - MINUTE)
    assert (world.deliver(), world.ends) == (["cleared"], [])


def test_sign_of_health_from_before_the_reboot_is_no_recovery() -> None:
    """It withdraws the complaint, which was answered by the reboot; no source has said since that the node is well."""
    world = World()
    node = world.node()
    world.unhealthy(node, at=START - 2 * MINUTE)
    world.deliver()
    world.passes(MINUTE)
    world.healthy(node, at=START - MINUTE)
    world.deliver()
    assert world.ends == []
    world.passes(HOUR)
    assert world.ends == ["unverified"]


def test_node_that_is_unhealthy_again_has_not_recovered() -> None:
    """The latest word of a source counts, in whatever order the two come."""
    for order in (1, -1):
        world = World()
        node = world.node()
        world.unhealthy(node)
        world.deliver()
        world.passes(5 * MINUTE)
        for tell in (world.healthy, world.unhealthy)[::order]:
            tell(node, at=START + (2 * MINUTE if tell == world.healthy else 5 * MINUTE))
            world.deliver()
        assert world.ends == [] if order == -1 else ["recovered"]
        assert world.record(node).incident


def test_withdrawal_before_the_judgement_ends_the_incident_as_cleared() -> None:
    """Both sources have taken it back while the node waited for a fact."""
    world = World()
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.unhealthy(node)
    world.alarm(node, "ALARM")
    assert sorted(world.deliver()) == ["duplicate", "waiting ThrottlingException"]
    world.skips(10 * SECOND)
    world.healthy(node)
    world.deliver()
    assert world.ends == []
    world.alarm(node, "OK")
    world.deliver()
    assert (world.ends, world.reboots, world.notices) == (["cleared"], [], [])


def test_alarm_is_asked_before_a_judgement_after_intake() -> None:
    """It is OK meanwhile, though its event was lost: nothing is rebooted."""
    world = World()
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.alarm(node, "ALARM")
    world.deliver()
    world.skips(10 * SECOND)
    world.alarm(node, "OK", unheard=True)
    world.sagemaker.down.clear()
    world.passes(MINUTE)
    assert (world.ends, world.reboots) == (["cleared"], [])


@pytest.mark.parametrize(
    ("what", "end"), [("INSUFFICIENT_DATA", "unverified"), ("gone", "unverified"), ("denied", "unverified")]
)
def test_alarm_that_says_nothing_is_silent(what: str, end: str) -> None:
    """Without data, deleted, or not to be asked: no sign of health, and no complaint that stands."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(MINUTE)
    if what == "gone":
        del world.cloudwatch.alarms[GPU]
    elif what == "denied":
        world.cloudwatch.down["describe_alarms"] = denied()
    else:
        world.alarm(node, what, unheard=True)
    world.passes(HOUR)
    assert world.ends == [end]


def test_ok_from_before_the_complaint_withdraws_nothing() -> None:
    """CloudWatch's answer lags behind its event: the node is judged, not cleared."""
    world = World()
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.alarm(node, "OK", unheard=True)
    world.skips(MINUTE)
    world.alarm(node, "ALARM")
    del world.cloudwatch.alarms[GPU].said[-1]
    world.deliver()
    world.sagemaker.down.clear()
    world.passes(MINUTE)
    assert (world.reboots, world.ends) == ([node.instance], [])


def test_alarm_that_cannot_be_asked_puts_the_look_off() -> None:
    """A passing error is no answer; once the alarm can be asked, the node's incident ends by what it says."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(MINUTE)
    world.alarm(node, "OK", unheard=True)
    world.cloudwatch.down["describe_alarms"] = throttled()
    world.passes(2 * HOUR - 20 * MINUTE)
    assert world.ends == []
    world.cloudwatch.down.clear()
    world.passes(20 * MINUTE)
    assert world.ends == ["recovered"]


def test_look_is_put_off_for_at_most_the_longest_age_of_a_report() -> None:
    """An hour past the time-out the node is not recovered, and the missing fact is named."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.cloudwatch.down["describe_alarms"] = throttled()
    world.passes(105 * MINUTE - SECOND)
    assert world.ends == []
    world.passes(16 * MINUTE)
    assert world.ends == ["not_recovered"]
    assert "ThrottlingException" in world.notices[0].message


def test_twenty_first_complaint_pushes_the_oldest_out_which_stays_silent() -> None:
    """Twenty complaints are kept; one that was dropped is never called withdrawn."""
    world = World()
    node = world.node()
    for number in range(21):
        world.alarm(node, "ALARM", name=f"hyperpod-reboot-{number}")
        world.skips(SECOND)
    world.deliver()
    assert len(world.incident(node).complaints) == 20
    world.passes(MINUTE)
    for number in range(21):
        world.alarm(node, "OK", name=f"hyperpod-reboot-{number}")
    world.deliver()
    world.passes(HOUR)
    assert world.ends == ["unverified"]


def test_conflicting_writes_lose_no_complaint() -> None:
    """Two invocations hear of one node at once: both complaints are in its incident."""
    world = World()
    node = world.node()
    first = world.unhealthy(node)
    second = world.alarm(node, "ALARM")
    world.deliver(Trouble(writes={1: Write.RIVAL}, rival=lambda: world.deliver(only=[second])), only=[first])
    assert {each.source for each in world.incident(node).complaints} == {"hyperpod", f"alarm:{GPU}"}
    assert sorted(world.outcomes) == ["duplicate", "rebooted"]
