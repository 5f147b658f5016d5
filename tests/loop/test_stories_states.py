"""The states of an incident: the event or time that each waits for, and the next state."""

from datetime import timedelta

import pytest

from node_remediation.policy.record import State
from node_remediation.remediate import Effect
from node_remediation.settings import Settings
from tests.loop.outside import CallFault, FakeCluster, denied, throttled
from tests.loop.world import HOUR, MINUTE, SECOND, START, A, Trouble, World, Write

RETRYING = Settings(retry_attempts=2)


# -- open


def test_open_waits_for_a_fact_longer_each_time() -> None:
    """After 30 s, 60 s, and so on; once it is there, the node is judged and rebooted."""
    world = World()
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.unhealthy(node)
    assert world.deliver() == ["waiting ThrottlingException"]
    dues = [world.due(node)]
    for _ in range(3):
        world.until(dues[-1] or "")
        dues.append(world.due(node))
    assert dues == ["02:14:33", "02:15:33", "02:17:33", "02:21:33"]
    world.sagemaker.down.clear()
    world.until(dues[-1] or "")
    assert (world.reboots, world.incident(node).state) == ([node.instance], State.REBOOTED)


def test_open_fails_with_the_facts_code_after_the_longest_age_of_a_report() -> None:
    """An hour without the fact: topic and dead-letter queue."""
    world = World()
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.unhealthy(node)
    world.deliver()
    world.passes(HOUR - SECOND)
    assert world.ends == []
    world.passes(2 * MINUTE)
    assert (world.ends, world.codes) == (["failed"], ["ThrottlingException"])
    assert world.told == ["Failed ThrottlingException"]


@pytest.mark.parametrize("what", ["mode", "cluster", "ledger"])
def test_fact_that_is_denied_never_leads_to_a_reboot(what: str) -> None:
    """A final no fails the node at once, in AWS's words."""
    world = World()
    if what == "cluster":
        world.sagemaker.down["describe_cluster"] = denied()
        world.unhealthy(world.node())
        assert world.deliver() == ["failed AccessDeniedException"]
        assert world.codes == ["AccessDeniedException"]
    elif what == "mode":
        world.mode.down = True
        world.unhealthy(world.node())
        assert world.deliver() == ["waiting ThrottlingException"]
    else:
        world.unhealthy(world.node())
        assert world.deliver(Trouble(ledger_down=True)) == []
        assert len(world.queue) == 1
    assert world.reboots == []


def test_open_waits_for_the_end_of_a_mute_window_and_asks_the_alarm() -> None:
    """Still in ALARM: its node is rebooted as if it had been reported just then."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", muted_until=START + 40 * MINUTE)
    assert world.deliver() == ["deferred"]
    assert (world.due(node), world.reboots) == ("02:54:03", [])
    world.until("02:54:03")
    assert world.reboots == [node.instance]


@pytest.mark.parametrize(
    ("state", "ends", "reboots"), [("OK", ["cleared"], 0), ("INSUFFICIENT_DATA", ["unverified"], 1)]
)
def test_muted_alarm_is_over_when_its_window_ends_only_if_it_is_ok(state: str, ends: list[str], reboots: int) -> None:
    """A node that is dead sends no data: silence withdraws nothing."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", muted_until=START + 10 * MINUTE)
    world.deliver()
    world.passes(5 * MINUTE)
    world.alarm(node, state, unheard=True)
    world.passes(60 * MINUTE)
    assert (world.ends, len(world.reboots), world.notices) == (ends, reboots, [])


def test_muted_complaint_joins_an_incident_and_is_asked_when_its_window_ends() -> None:
    """The other source has withdrawn by then; the muted alarm is still in ALARM."""
    world = World()
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.unhealthy(node)
    world.deliver()
    world.skips(SECOND)
    world.alarm(node, "ALARM", muted_until=START + 40 * MINUTE)
    assert world.deliver() == ["deferred"]
    world.skips(SECOND)
    world.healthy(node)
    world.deliver()
    world.sagemaker.down.clear()
    world.until("02:54:02")
    assert (world.ends, world.reboots, world.due(node)) == ([], [], "02:54:03")
    world.until("02:54:03")
    assert world.reboots == [node.instance]


def test_muted_complaint_from_before_the_reboot_stands_in_the_way_of_recovery() -> None:
    """It comes late; the other alarm's OK does not speak for it."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", name="hyperpod-reboot-muted", muted_until=START + HOUR, late=30 * SECOND)
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(MINUTE)
    world.alarm(node, "OK")
    world.deliver()
    assert (world.ends, len(world.incident(node).complaints)) == ([], 2)
    world.alarm(node, "OK", name="hyperpod-reboot-muted")
    world.deliver()
    assert world.ends == ["recovered"]


def test_mute_window_of_two_days_is_waited_for() -> None:
    """The length of the window does not matter."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", muted_until=START + 48 * HOUR)
    world.deliver()
    world.passes(48 * HOUR)
    assert world.reboots == [node.instance]


def test_unmuted_complaint_of_another_source_is_judged_while_an_alarm_is_muted() -> None:
    """A mute is the alarm's own."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", muted_until=START + 40 * MINUTE)
    world.deliver()
    world.passes(MINUTE)
    world.unhealthy(node)
    assert (world.deliver(), world.reboots) == (["rebooted"], [node.instance])


def test_open_waits_for_the_end_of_the_cooldown() -> None:
    """A complaint within the cooldown after an end opens an incident that is judged when the cooldown is over."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["waiting"]
    assert world.due(node) == "02:44:03"
    world.until("02:44:02")
    assert len(world.reboots) == 1
    world.until("02:44:03")
    assert len(world.reboots) == 2


# -- claimed


def test_claim_without_an_answer_is_unknown_when_its_lease_ends() -> None:
    """Killed in the call: told as failed, counted as a reboot, watched like one."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver(Trouble(kill=Effect.RECORD))
    world.until("02:15:08")
    assert (world.codes, world.told) == (["OutcomeUnknown"], ["Failed OutcomeUnknown"])
    assert world.incident(node).state is State.REBOOTED
    assert world.known_budget(A).spends == ((START, 1),)
    world.passes(HOUR)
    assert (len(world.reboots), world.ends) == (1, ["unverified"])


def test_complaint_while_a_node_is_claimed_is_a_duplicate() -> None:
    """The call is under way."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver(Trouble(kill=Effect.CALL))
    world.skips(10 * SECOND)
    world.alarm(node, "ALARM")
    assert world.deliver() == ["duplicate"]


@pytest.mark.parametrize("fault", [CallFault.ANSWER_LOST, CallFault.REQUEST_LOST, CallFault.BROKEN])
def test_lost_answer_is_unknown_and_never_called_again_by_itself(fault: CallFault) -> None:
    """After a time-out, a lost connection or a 5xx the node counts as rebooted."""
    world = World()
    node = world.node()
    world.sagemaker.faults = [fault]
    world.unhealthy(node)
    assert world.deliver() == ["failed OutcomeUnknown"]
    assert (world.incident(node).state, len(world.sagemaker.calls)) == (State.REBOOTED, 1)
    assert world.known_budget(A).spends == ((START, 1),)
    world.passes(20 * MINUTE)
    assert len(world.sagemaker.calls) == 1


def test_throttled_call_is_made_again_later_and_costs_nothing_meanwhile() -> None:
    """Turned away each time: claim and budget are given back, and the node waits."""
    world = World()
    node = world.node()
    world.sagemaker.faults = [CallFault.THROTTLED] * 4
    world.unhealthy(node)
    assert world.deliver() == ["waiting ThrottlingException"]
    assert (world.incident(node).state, world.known_budget(A).spends) == (State.OPEN, ())
    world.passes(MINUTE)
    assert world.reboots == [node.instance]


# -- retrying


def test_busy_node_is_tried_again_by_itself_and_told_at_once() -> None:
    """The topic hears of the failure with the next time; there is no letter, and no budget is spent."""
    world = World(RETRYING)
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    assert world.deliver() == ["retrying InstanceIdInUse"]
    assert (world.due(node), world.codes) == ("02:16:03", [])
    assert world.told == ["Failed InstanceIdInUse", "Retrying InstanceIdInUse"]
    assert world.known_budget(A).spends == ()
    world.until("02:16:03")
    assert (world.reboots, world.incident(node).state) == ([node.instance], State.REBOOTED)


def test_busy_node_that_stays_so_fails_for_good_with_one_letter() -> None:
    """Two tries more, after two and four minutes; the dead-letter queue hears of it when they end."""
    world = World(RETRYING)
    node = world.node()
    node.answers = ["InstanceIdInUse"] * 3
    world.unhealthy(node)
    world.deliver()
    world.passes(HOUR)
    assert [at for at, _ in world.sagemaker_calls()] == ["02:14:03", "02:16:03", "02:20:03"]
    assert (world.codes, world.ends) == (["InstanceIdInUse"], ["failed"])
    assert world.told.count("Failed InstanceIdInUse") == 3


def test_retry_whose_complaints_are_withdrawn_is_over_without_a_letter() -> None:
    """People were told of the try; the node is well, and nothing is called."""
    world = World(RETRYING)
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.healthy(node)
    world.deliver()
    world.passes(HOUR)
    assert (world.ends, world.codes, world.reboots) == (["cleared"], [], [])


def test_retry_that_a_guard_refuses_has_its_letter_then() -> None:
    """Paused meanwhile: refused like any report, and the API's own entry goes to the dead-letter queue."""
    world = World(RETRYING)
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    world.deliver()
    world.mode.value = "paused"
    world.passes(5 * MINUTE)
    assert (world.ends, world.codes) == (["refused"], ["InstanceIdInUse"])
    assert "Refused Paused" in world.told


def test_reports_do_not_come_before_a_retry_and_requests_do() -> None:
    """The node is called for when people were told; a person who asks is not kept waiting."""
    world = World(RETRYING)
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    world.deliver()
    world.passes(30 * SECOND)
    world.alarm(node, "ALARM")
    assert (world.deliver(), world.reboots) == (["duplicate"], [])
    world.request(node.instance)
    assert (world.deliver(), world.reboots) == (["rebooted"], [node.instance])


@pytest.mark.parametrize("code", ["InstanceIdNotFound", "AccessDenied", "Unknown"])
def test_failure_that_does_not_pass_is_not_tried_again(code: str) -> None:
    """The setting retry_attempts is for failures that pass."""
    world = World(RETRYING)
    node = world.node()
    node.answers = [code]
    world.unhealthy(node)
    assert world.deliver() == [f"failed {code}"]


def test_waits_between_tries_double_up_to_15_minutes() -> None:
    """2, 4, 8, 15, 15, … minutes."""
    world = World(Settings(retry_attempts=6))
    node = world.node()
    node.answers = ["InstanceIdInUse"] * 7
    world.unhealthy(node)
    world.deliver()
    world.passes(2 * HOUR)
    times = [reboot_at for reboot_at, _ in world.sagemaker_calls()]
    assert times == ["02:14:03", "02:16:03", "02:20:03", "02:28:03", "02:43:03", "02:58:03", "03:13:03"]


# -- rebooted


def test_rebooted_node_is_looked_at_after_verify_after_at_the_cooldowns_end_and_at_the_time_out() -> None:
    """By default after 15, 30 and 45 minutes; the cooldown's end moves a look that would be later."""
    for settings, dues in (
        (Settings(), ["02:29:03", "02:44:03", "02:59:03"]),
        (Settings(cooldown=timedelta(minutes=20)), ["02:29:03", "02:34:03", "02:44:03", "02:59:03"]),
    ):
        world = World(settings)
        node = world.node()
        world.unhealthy(node)
        world.deliver()
        seen = []
        while due := world.due(node):
            seen.append(due)
            world.until(due)
        assert (seen, world.ends) == (dues, ["unverified"])


def test_rebooted_node_that_is_unhealthy_after_its_cooldown_is_rebooted_again() -> None:
    """The alarm is asked, and is still in ALARM: one incident, two reboots, then people are told."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.until("02:44:02")
    assert len(world.reboots) == 1
    world.until("02:44:03")
    assert len(world.reboots) == 2
    world.passes(2 * HOUR)
    assert (len(world.reboots), world.ends) == (2, ["not_recovered"])
    assert "2 of 2 reboots" in world.notices[0].message


def test_complaint_made_again_after_the_reboot_stands() -> None:
    """HyperPod says so again within the cooldown: rebooted again when that is over."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(10 * MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["duplicate"]
    world.until("02:44:03")
    assert len(world.reboots) == 2


def test_complaint_after_the_cooldown_is_judged_when_it_comes() -> None:
    """It need not wait for the next look."""
    world = World(Settings(cooldown=timedelta(minutes=17)))
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(18 * MINUTE)
    world.unhealthy(node)
    world.deliver()
    assert len(world.reboots) == 2


def test_second_reboot_that_fails_returns_to_the_first() -> None:
    """Busy the second time: people hear of that, and at last of the end."""
    world = World()
    node = world.node()
    node.answers = ["started", "InstanceIdInUse"]
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(2 * HOUR)
    assert (world.codes, world.ends) == (["InstanceIdInUse", "NotRecovered"], ["not_recovered"])
    assert len(world.sagemaker.calls) == 2
    assert "InstanceIdInUse" in world.notices[-1].message


def test_second_reboot_that_was_not_called_is_tried_again() -> None:
    """Throttled: the incident is where it was, and the next look calls."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.sagemaker.faults = [CallFault.THROTTLED] * 4
    world.until("02:45:00")
    assert (len(world.reboots), world.incident(node).state) == (1, State.REBOOTED)
    world.until("03:01:00")
    assert len(world.reboots) == 2


# -- repairing


def repairing() -> World:
    return World(None, FakeCluster(A, automatic=True))


def test_repair_of_hyperpods_own_is_left_alone_and_ends_with_its_healthy_event() -> None:
    """Automatic recovery and a repair action: deferred, watched, recovered."""
    world = repairing()
    node = world.node()
    world.unhealthy(node, repair="Replace")
    assert world.deliver() == ["deferred"]
    assert (world.incident(node).state, world.due(node)) == (State.REPAIRING, "02:29:03")
    world.passes(20 * MINUTE)
    world.healthy(node)
    world.deliver()
    assert (world.ends, world.reboots, world.notices) == (["recovered"], [], [])


def test_repair_binds_every_source_until_it_ends() -> None:
    """An alarm about the node joins; a person who asks is refused."""
    world = repairing()
    node = world.node()
    world.unhealthy(node, repair="Reboot")
    world.deliver()
    world.passes(MINUTE)
    world.alarm(node, "ALARM")
    world.request(node.instance)
    assert world.deliver() == ["duplicate", "refused UnderRepair"]
    world.passes(80 * MINUTE)
    assert world.reboots == []


def test_repair_binds_an_alarm_of_the_same_batch() -> None:
    """In both orders."""
    for order in (1, -1):
        world = repairing()
        node = world.node()
        world.alarm(node, "ALARM")
        world.skips(SECOND)
        world.unhealthy(node, repair="Reboot")
        world.queue = dict(list(world.queue.items())[::order])
        assert (sorted(world.deliver()), world.reboots) == (["deferred", "duplicate"], [])


def test_repair_that_comes_to_nothing_is_not_recovered_at_its_own_time_out() -> None:
    """The alarm is still in ALARM after 90 minutes: a person should know."""
    world = repairing()
    node = world.node()
    world.unhealthy(node, repair="Reboot")
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(90 * MINUTE - SECOND)
    assert world.ends == []
    world.passes(MINUTE)
    assert (world.ends, world.codes, world.reboots) == (["not_recovered"], ["NotRecovered"], [])


def test_repairing_is_judged_once_recovery_is_no_longer_automatic() -> None:
    """An operator has switched it off, and the node is still sick: it is rebooted."""
    world = repairing()
    node = world.node()
    world.unhealthy(node, repair="Reboot")
    world.deliver()
    world.sagemaker.clusters[A].automatic = False
    world.passes(16 * MINUTE)
    assert world.reboots == [node.instance]


@pytest.mark.parametrize("before", ["open", "retrying", "rebooted"])
def test_repair_report_moves_any_state_to_repairing(before: str) -> None:
    """HyperPod takes over: nothing more is called for the node."""
    world = World(RETRYING, FakeCluster(A, automatic=True))
    node = world.node()
    if before == "open":
        world.sagemaker.down["describe_cluster"] = throttled()
    if before == "retrying":
        node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    world.deliver()
    assert world.incident(node).state == before
    world.sagemaker.down.clear()
    world.passes(SECOND)
    world.unhealthy(node, repair="Replace")
    assert world.deliver() == ["deferred"]
    assert world.incident(node).state is State.REPAIRING


def test_repair_that_was_announced_before_recovery_became_automatic_binds_the_second_reboot() -> None:
    """Rebooted as the API allowed it; then HyperPod's own recovery was switched on."""
    world = World(Settings(on_replacement_advised="reboot"))
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.unhealthy(node, repair="Reboot")
    world.deliver()
    world.sagemaker.clusters[A].automatic = True
    world.passes(31 * MINUTE)
    assert (world.incident(node).state, len(world.reboots)) == (State.REPAIRING, 1)


def test_repair_report_while_a_node_is_claimed_counts_after_the_answer() -> None:
    """The call is under way; its answer is recorded, and then the node is HyperPod's."""
    world = World(None, FakeCluster(A, automatic=True))
    node = world.node()
    world.unhealthy(node)

    def hears_of_the_repair() -> None:
        world.skips(SECOND)
        world.unhealthy(node, repair="Replace")
        world.deliver()

    world.deliver(Trouble(writes={2: Write.RIVAL}, rival=hears_of_the_repair))
    world.passes(MINUTE)
    assert (world.incident(node).state, len(world.reboots)) == (State.REPAIRING, 1)
