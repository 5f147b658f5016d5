"""Replacements: by the setting escalation after a reboot that did not help, or by an override."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from node_remediation.policy.record import State
from node_remediation.remediate import Effect
from node_remediation.settings import Override, Settings
from tests.loop.outside import CallFault, FakeCluster, Slot, throttled
from tests.loop.world import DAY, HOUR, MINUTE, SECOND, A, B, Trouble, World, Write

REPLACE = Override(reason="*Xid*", action="replace")
ESCALATE = Settings(escalation="replace")
OVERRIDE = Settings(overrides=(REPLACE,))
FAILED = "Instance reboot i-1 in Cluster ml-a and IG p5 failed"
LOST = [CallFault.ANSWER_LOST, CallFault.REQUEST_LOST, CallFault.BROKEN]


def sick(world: World, number: int = 1) -> Slot:
    """Return a node that was just reported unhealthy."""
    node = world.node(number)
    world.unhealthy(node)
    return node


def replaced(world: World) -> list[str]:
    """Return the instances that were replaced, in order."""
    return [each.instance for each in world.sagemaker.replacements]


def not_recovered(settings: Settings = ESCALATE, *clusters: FakeCluster, **more: Any) -> tuple[World, Slot, str]:
    """Return a world in which a node was rebooted, and complained of again since; and the node's instance."""
    world = World(settings, *clusters, **more)
    node = sick(world)
    assert world.deliver() == ["rebooted"]
    world.passes(5 * MINUTE)
    world.unhealthy(node)
    world.deliver()
    # Nothing ends it but its time-out: a second reboot would come first.
    return world, node, node.instance


def used_up(world: World) -> Slot:
    """Return a node that was rebooted twice that day and recovered each time: no reboot of it is left."""
    node = world.node()
    for _ in range(2):
        sick(world)
        world.deliver()
        world.passes(10 * MINUTE)
        world.healthy(node)
        world.deliver()
        world.passes(HOUR)
    return node


# -- by an override


def test_node_that_an_override_has_replaced_is_not_rebooted() -> None:
    """People are told at once: its volumes are lost."""
    world = World(OVERRIDE)
    instance = sick(world).instance
    assert world.deliver() == ["replaced"]
    assert (replaced(world), world.reboots, world.told, world.letters) == ([instance], [], ["Replaced"], [])


def test_replaced_node_is_superseded_once_its_instance_is_gone() -> None:
    """That is the end that was wanted, and people are told."""
    world = World(OVERRIDE)
    sick(world)
    world.deliver()
    world.passes(HOUR)
    assert (world.ends, world.told) == (["superseded"], ["Replaced", "Superseded"])


def test_replacement_that_never_comes_is_not_recovered_after_the_repair_timeout() -> None:
    """It is neither replaced again nor rebooted."""
    world = World(OVERRIDE)
    node = sick(world)
    world.deliver()
    node.instance, node.status = replaced(world)[0], "Failure"
    world.passes(89 * MINUTE)
    assert world.incident(node).state is State.REPLACED
    world.passes(2 * MINUTE)
    assert (world.ends, world.codes, len(replaced(world)), world.reboots) == (
        ["not_recovered"],
        ["NotRecovered"],
        1,
        [],
    )
    assert "after its replacement was started" in world.letters[0].event["detail"]["Message"]


@pytest.mark.parametrize("gone", [True, False])
def test_instance_that_looks_well_on_its_way_out_is_not_called_recovered(gone: bool) -> None:
    """It ends as superseded once it is gone; if it never goes, its word counts at the time-out."""
    world = World(OVERRIDE)
    node = sick(world)
    world.deliver()
    new, node.instance = node.instance, replaced(world)[0]
    world.passes(MINUTE)
    world.healthy(node)
    world.deliver()
    assert world.ends == []
    node.instance = new if gone else node.instance
    world.passes(2 * HOUR)
    assert world.ends == (["superseded"] if gone else ["recovered"])


def test_second_node_of_the_day_is_refused_and_the_next_day_replaced() -> None:
    """The budget is one for a cluster in 24 hours, apart from that of reboots, and another cluster's is its own."""
    world = World(OVERRIDE, FakeCluster(A), FakeCluster(B))
    first, second, other = world.node(1), world.node(2), world.node(1, B)
    for node in (first, second, other):
        world.unhealthy(node)
    gone = [first.instance, other.instance]
    assert sorted(world.deliver()) == ["refused ReplaceBudgetExceeded", "replaced", "replaced"]
    assert sorted(replaced(world)) == sorted(gone)
    world.passes(DAY)
    world.unhealthy(second)
    gone = [second.instance]
    assert world.deliver() == ["replaced"]
    assert replaced(world)[-1:] == gone


def test_replacement_spends_no_reboot_budget_and_a_reboot_no_replacement() -> None:
    """Each has its own."""
    world = World(replace(OVERRIDE, budget_min_nodes=1, budget_percent=1), FakeCluster(A, nodes=10))
    sick(world, 1)
    world.request(world.node(2).instance)
    assert sorted(world.deliver()) == ["rebooted", "replaced"]


@pytest.mark.parametrize(
    ("cluster", "group", "code"),
    [
        (FakeCluster(A, automatic=True), "workers", "NotReplaceable"),
        (FakeCluster(A, protected=("heads",)), "heads", "ProtectedNode"),
        (FakeCluster(A, created=datetime(2025, 6, 1, tzinfo=UTC)), "workers", "SoftwareUpdateRequired"),
    ],
    ids=["HyperPod does it itself", "protected", "older than the API"],
)
def test_node_that_must_not_be_replaced_is_refused(cluster: FakeCluster, group: str, code: str) -> None:
    """It is not rebooted instead: the settings do not say so."""
    world = World(replace(OVERRIDE, automatic_grace=timedelta(0)), cluster)
    world.node().group = group
    sick(world)
    assert world.deliver() == [f"refused {code}"]
    assert (replaced(world), world.reboots, world.codes) == ([], [], [code])


def test_cluster_older_than_the_api_is_fine_once_its_software_was_updated() -> None:
    """SageMaker tells of it with the node."""
    world = World(OVERRIDE, FakeCluster(A, created=datetime(2025, 6, 1, tzinfo=UTC)))
    world.node().updated = datetime(2026, 3, 1, tzinfo=UTC)
    sick(world)
    assert world.deliver() == ["replaced"]


def test_node_without_an_instance_is_never_replaced() -> None:
    """A logical ID would reach whatever is behind it by then."""
    world = World(OVERRIDE)
    node = world.node()
    node.instance = ""
    world.cluster_event(node, "is unhealthy. Xid 79", logical=True)
    assert world.deliver() == ["refused NotReplaceable"]
    assert replaced(world) == []


def test_replacement_names_the_instance_where_the_report_named_the_logical_id() -> None:
    """And so does the API's entry, if it fails."""
    world = World(OVERRIDE)
    node = world.node()
    node.answers = ["InvalidInstanceStatus"]
    world.cluster_event(node, "is unhealthy. Xid 79", logical=True)
    assert world.deliver() == ["failed InvalidInstanceStatus"]
    assert [notice.entry for notice in world.notices] == [
        {
            "NodeId": node.instance,
            "ErrorCode": "InvalidInstanceStatus",
            "Message": f"{node.instance} says InvalidInstanceStatus",
        }
    ]


def test_failed_replacement_is_told_like_a_failed_reboot_and_gives_its_budget_back() -> None:
    """The letter says which call failed."""
    world = World(OVERRIDE)
    world.node(1).answers = ["InstanceIdInUse"]
    sick(world, 1)
    assert world.deliver() == ["failed InstanceIdInUse"]
    assert (world.told, world.codes) == (["Failed InstanceIdInUse"], ["InstanceIdInUse"])
    assert world.letters[0].event["detail"]["Action"] == "replace"
    sick(world, 2)
    assert world.deliver() == ["replaced"]


def test_busy_node_is_tried_again_and_then_replaced() -> None:
    """As with a reboot, where retry_attempts says so."""
    world = World(replace(OVERRIDE, retry_attempts=1))
    world.node().answers = ["InstanceIdInUse"]
    instance = sick(world).instance
    assert world.deliver() == ["retrying InstanceIdInUse"]
    world.passes(5 * MINUTE)
    assert (replaced(world), world.reboots) == ([instance], [])


@pytest.mark.parametrize("fault", LOST)
def test_replacement_whose_answer_was_lost_is_never_repeated(fault: CallFault) -> None:
    """It counts as replaced for the budget, and people are told that the outcome is not known."""
    world = World(OVERRIDE)
    world.sagemaker.faults = [fault]
    node = sick(world, 1)
    assert world.deliver() == ["failed OutcomeUnknown"]
    assert "PERHAPS REPLACED" in world.notices[0].mail
    for _ in range(11):
        world.passes(2 * HOUR)
        world.unhealthy(node)
        world.deliver()
    assert world.sagemaker.asked["batch_replace_cluster_nodes"] == 1


def test_killed_between_call_and_record_the_replacement_is_unknown_and_not_repeated() -> None:
    """The sweep finds the claim whose lease has ended."""
    world = World(OVERRIDE)
    sick(world)
    assert world.deliver(Trouble(kill=Effect.RECORD)) == []
    world.passes(10 * MINUTE)
    assert (world.codes, world.sagemaker.asked["batch_replace_cluster_nodes"]) == (["OutcomeUnknown"], 1)
    assert "replace call" in world.letters[0].event["detail"]["Message"]


def test_throttled_replacement_is_tried_later() -> None:
    """Nothing was called, and its budget is given back."""
    world = World(OVERRIDE)
    world.sagemaker.faults = [CallFault.THROTTLED] * 4
    instance = sick(world).instance
    assert world.deliver() == ["waiting ThrottlingException"]
    world.passes(5 * MINUTE)
    assert replaced(world) == [instance]


def test_request_reboots_although_an_override_replaces() -> None:
    """A person who asks for a reboot gets one."""
    world = World(Settings(overrides=(Override(action="replace"),)))
    node = world.node()
    world.request(node.instance)
    assert world.deliver() == ["rebooted"]
    assert replaced(world) == []


def test_request_for_a_node_that_is_being_replaced_is_refused() -> None:
    """It says since when."""
    world = World(OVERRIDE)
    node = sick(world)
    world.deliver()
    node.instance = replaced(world)[0]
    world.request(node.instance)
    assert world.deliver() == ["refused UnderRepair"]


def test_observe_replaces_nothing_and_shows_the_budget() -> None:
    """The second node of the day would not be replaced either."""
    world = World(OVERRIDE)
    world.mode.value = "observe"
    sick(world, 1)
    assert world.deliver() == ["observed"]
    sick(world, 2)
    assert world.deliver() == ["refused ReplaceBudgetExceeded"]
    world.mode.value = "active"
    world.passes(HOUR)
    sick(world, 3)
    assert world.deliver() == ["replaced"]


def test_replacement_waits_as_long_as_its_override_says() -> None:
    """Withdrawn meanwhile, nothing happens and nobody is told."""
    world = World(Settings(overrides=(replace(REPLACE, wait=10 * MINUTE),)))
    first, second = world.node(1), world.node(2)
    world.unhealthy(first)
    world.unhealthy(second)
    gone = [second.instance]
    assert world.deliver() == ["waiting", "waiting"]
    world.passes(5 * MINUTE)
    world.healthy(first)
    world.deliver()
    world.passes(10 * MINUTE)
    assert (replaced(world), world.told) == (gone, ["Replaced"])


def test_advice_to_replace_is_followed_where_an_override_replaces() -> None:
    """HyperPod advises it, and on this cluster does not do it itself."""
    world = World(OVERRIDE)
    world.unhealthy(world.node(), repair="Replace")
    assert world.deliver() == ["replaced"]


# -- after a reboot that did not help


def test_node_that_did_not_recover_is_replaced_at_its_time_out() -> None:
    """It is judged again after its cooldown first; with its reboots used up, only a replacement is left."""
    world, _, instance = not_recovered(replace(ESCALATE, max_reboots_per_node=1))
    world.passes(45 * MINUTE)
    assert (replaced(world), len(world.reboots), world.told) == ([instance], 1, ["Replaced"])
    assert world.letters == []


def test_node_that_did_not_recover_is_not_replaced_by_default() -> None:
    """It destroys volumes, so people decide."""
    world, _, _ = not_recovered(Settings(max_reboots_per_node=1))
    world.passes(HOUR)
    assert (replaced(world), world.told) == ([], ["Failed NotRecovered"])


def test_second_node_that_did_not_recover_is_told_with_why_it_was_not_replaced() -> None:
    """The budget of replacements is spent."""
    world = World(replace(ESCALATE, max_reboots_per_node=1))
    nodes = [sick(world, 1), sick(world, 2)]
    world.deliver()
    world.passes(5 * MINUTE)
    for node in nodes:
        world.unhealthy(node)
    world.deliver()
    world.passes(HOUR)
    assert (len(replaced(world)), world.codes) == (1, ["NotRecovered"])
    assert "not replaced: ReplaceBudgetExceeded: replace_budget is 1 in 24h, 1 spent" in world.letters[0].body


@pytest.mark.parametrize("mode", ["paused", "observe"])
def test_node_is_not_replaced_while_the_mode_says_no(mode: str) -> None:
    """It ends as not recovered, with that reason."""
    world, _, _ = not_recovered(replace(ESCALATE, max_reboots_per_node=1))
    world.mode.value = mode
    world.passes(HOUR)
    assert (replaced(world), world.codes) == ([], ["NotRecovered"])
    assert "not replaced: " in world.letters[0].body


def test_node_with_a_passing_status_is_not_replaced() -> None:
    """SageMaker updates it: that ends. Nothing complains."""
    world = World(ESCALATE)
    node = sick(world)
    world.deliver()
    node.status = "SystemUpdating"
    world.passes(HOUR)
    assert (replaced(world), world.codes) == ([], ["NotRecovered"])


def test_node_in_status_failure_is_replaced_although_nobody_complained_again() -> None:
    """SageMaker itself says so."""
    world = World(ESCALATE)
    node = sick(world)
    instance = node.instance
    world.deliver()
    node.status = "Failure"
    world.passes(HOUR)
    assert replaced(world) == [instance]


def test_node_that_is_well_again_is_not_replaced() -> None:
    """Its health came just before the time-out."""
    world, node, _ = not_recovered(replace(ESCALATE, max_reboots_per_node=1))
    world.passes(39 * MINUTE)
    world.healthy(node)
    world.deliver()
    world.passes(2 * HOUR)
    assert (replaced(world), world.ends) == ([], ["recovered"])


def test_node_of_which_facts_are_missing_is_not_replaced_before_they_are_known() -> None:
    """The alarm cannot be asked at the time-out; then it can, and is OK."""
    world = World(replace(ESCALATE, max_reboots_per_node=1))
    node = world.node()
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(10 * MINUTE)
    world.cloudwatch.down["describe_alarms"] = throttled()
    world.passes(50 * MINUTE)
    assert replaced(world) == []
    world.cloudwatch.down.clear()
    world.alarm(node, "OK")
    world.deliver()
    world.passes(HOUR)
    assert (replaced(world), world.ends) == ([], ["recovered"])


def test_failed_replacement_after_a_reboot_tells_both_and_tries_no_third_thing() -> None:
    """The API's entry first, then that the node did not recover."""
    world, node, _ = not_recovered(replace(ESCALATE, max_reboots_per_node=1))
    node.answers = ["InternalServerError"]
    world.passes(2 * HOUR)
    assert world.codes == ["InternalServerError", "NotRecovered"]
    assert world.sagemaker.asked["batch_replace_cluster_nodes"] == 1
    assert "a replacement failed: InternalServerError" in world.letters[1].body


def test_replacement_that_was_not_called_after_a_reboot_ends_as_not_recovered() -> None:
    """Throttled: people are woken, and nothing is tried for hours."""
    world, _, _ = not_recovered(replace(ESCALATE, max_reboots_per_node=1))
    world.sagemaker.faults = [CallFault.THROTTLED] * 4
    world.passes(2 * HOUR)
    assert (replaced(world), world.codes) == ([], ["NotRecovered"])
    assert "not called: ThrottlingException" in world.letters[0].body


def test_node_whose_reboots_are_used_up_is_replaced() -> None:
    """It is unhealthy once more."""
    world = World(ESCALATE)
    instance = used_up(world).instance
    sick(world)
    assert world.deliver() == ["replaced"]
    assert replaced(world) == [instance]


def test_limit_that_cannot_be_escalated_is_refused_with_both_reasons() -> None:
    """The code stays the limit's."""
    world = World(ESCALATE, FakeCluster(A, created=datetime(2025, 6, 1, tzinfo=UTC)))
    used_up(world)
    sick(world)
    assert world.deliver() == ["refused RebootLimitReached"]
    assert "not replaced: SoftwareUpdateRequired" in world.letters[0].body


def test_request_is_never_escalated() -> None:
    """Whoever asks for a reboot is told that the limit is reached, and decides."""
    world = World(replace(ESCALATE, max_reboots_per_node=1))
    node = sick(world)
    world.deliver()
    world.passes(10 * MINUTE)
    world.healthy(node)
    world.deliver()
    world.passes(HOUR)
    world.request(node.instance)
    assert world.deliver() == ["refused RebootLimitReached"]
    assert replaced(world) == []


def test_node_whose_reboots_must_be_approved_is_not_replaced_without_a_question() -> None:
    """The override asks, and a replacement is not proposed."""
    world = World(replace(ESCALATE, overrides=(Override(action="ask"),), on_no_answer="reboot", ask_timeout=MINUTE))
    node = sick(world)
    world.deliver()
    world.passes(3 * MINUTE)
    assert world.reboots == [node.instance]
    world.unhealthy(node)
    world.deliver()
    world.passes(2 * HOUR)
    assert replaced(world) == []
    assert "not replaced: NotApproved" in world.letters[-1].body


def test_request_alone_has_no_node_replaced_when_its_reboot_failed() -> None:
    """A person asked for a reboot, and nothing else has complained."""
    world = World(ESCALATE)
    node = world.node()
    world.request(node.instance)
    assert world.deliver() == ["rebooted"]
    world.passes(MINUTE)
    world.reboot_event(node, FAILED)
    world.deliver()
    assert (replaced(world), world.codes) == ([], ["NotRecovered"])


def test_hyperpods_word_that_the_reboot_failed_has_the_node_replaced_at_once() -> None:
    """Nothing is waited for."""
    world = World(ESCALATE)
    node = sick(world)
    instance = node.instance
    world.deliver()
    world.passes(MINUTE)
    world.reboot_event(node, FAILED)
    world.deliver()
    assert (replaced(world), world.letters) == ([instance], [])


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("settings", [ESCALATE, Settings()])
def test_word_of_a_failed_reboot_counts_for_nothing_once_hyperpod_has_called_the_node_healthy_since(
    settings: Settings, together: bool
) -> None:
    """The two arrive in one batch, or in the wrong order."""
    world = World(settings, healthy_for=2 * MINUTE)
    node = sick(world)
    world.deliver()
    world.passes(MINUTE)
    failed = world.reboot_event(node, FAILED)
    world.skips(SECOND)
    well = world.healthy(node)
    for batch in [[failed, well]] if together else [[well], [failed]]:
        world.deliver(only=batch)
    world.passes(5 * MINUTE)
    assert (replaced(world), world.ends, world.letters) == ([], ["recovered"], [])


@pytest.mark.parametrize(("settings", "logical"), [(ESCALATE, True), (ESCALATE, False), (Settings(), True)])
def test_word_of_a_failed_reboot_that_comes_after_its_instance_is_gone_calls_nothing(
    settings: Settings, logical: bool
) -> None:
    """The node is superseded; that its reboot failed is no news."""
    world = World(settings, FakeCluster(A, continuous=True))
    node = world.node()
    world.cluster_event(node, logical=logical)
    world.deliver()
    world.passes(MINUTE)
    world.reboot_event(node, FAILED)
    world.is_replaced(node)
    world.deliver()
    world.passes(HOUR)
    assert (world.sagemaker.asked.get("batch_replace_cluster_nodes", 0), world.ends) == (0, ["superseded"])
    assert world.letters == []


@pytest.mark.parametrize("state", ["OK", "ALARM"])
def test_alarm_is_asked_before_a_replacement_that_hyperpods_word_asks_for(state: str) -> None:
    """The event of its OK was lost: the node is well, whatever became of the reboot."""
    world = World(ESCALATE)
    node = world.node()
    instance = node.instance
    world.alarm(node, "ALARM")
    assert world.deliver() == ["rebooted"]
    world.passes(MINUTE)
    world.alarm(node, state, unheard=True)
    world.reboot_event(node, FAILED)
    world.deliver()
    assert replaced(world) == ([] if state == "OK" else [instance])


def test_alarm_that_cannot_be_asked_puts_a_replacement_off() -> None:
    """HyperPod's word comes again, and is heeded once the alarm can be asked."""
    world = World(ESCALATE)
    node = world.node()
    instance = node.instance
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(MINUTE)
    world.cloudwatch.down["describe_alarms"] = throttled()
    world.reboot_event(node, FAILED)
    world.deliver()
    assert (replaced(world), world.letters) == ([], [])
    world.cloudwatch.down.clear()
    world.passes(5 * MINUTE)
    assert replaced(world) == [instance]


def test_failed_replacement_within_the_cooldown_leaves_the_reboot_before_it_known() -> None:
    """SageMaker forgets the node for a while, which is then reported by its logical ID: it is cooling down."""
    world = World(ESCALATE, FakeCluster(A, continuous=True))
    node = sick(world)
    world.deliver()
    world.passes(MINUTE)
    node.answers = ["InternalServerError"]
    world.reboot_event(node, FAILED)
    assert world.deliver() == ["failed InternalServerError"]
    node.listed = False
    world.passes(MINUTE)
    world.cluster_event(node, logical=True)
    assert world.deliver() == ["waiting"]
    assert world.reboots == [node.instance]


@pytest.mark.parametrize("muted", [True, False])
def test_node_of_which_only_a_muted_alarm_complains_is_not_replaced(muted: bool) -> None:
    """HyperPod has said nothing since the reboot; the alarm is muted for the work of people."""
    world = World(replace(ESCALATE, max_reboots_per_node=1))
    node = sick(world)
    instance = node.instance
    world.deliver()
    world.passes(5 * MINUTE)
    world.alarm(node, "ALARM", muted_until=world.now + 3 * HOUR if muted else None)
    world.deliver()
    world.passes(HOUR)
    assert (replaced(world), world.codes) == (([], ["NotRecovered"]) if muted else ([instance], []))


def test_rival_at_the_time_out_does_not_replace_twice() -> None:
    """Two sweeps at once: one claim."""
    world, _, _ = not_recovered(replace(ESCALATE, max_reboots_per_node=1))
    world.sweeps = None
    world.passes(45 * MINUTE)
    world.sweep(Trouble(writes={1: Write.RIVAL}, rival=world.sweep))
    world.passes(SECOND)
    assert len(replaced(world)) == 1
