"""The outcome of a report: one each, in a log line and a metric; who hears of it."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from node_remediation.settings import Settings
from tests.loop.outside import ACCOUNT, FakeCluster, Takes, denied, error, throttled
from tests.loop.world import HOUR, MINUTE, START, A, B, Trouble, World


def test_rebooted_is_quiet_unless_people_want_to_hear_of_reboots() -> None:
    """The API lists the node as successful."""
    for settings, told in ((Settings(), []), (Settings(notify_rebooted=True), ["Rebooted"])):
        world = World(settings)
        world.unhealthy(world.node())
        assert (world.deliver(), world.told, world.codes) == (["rebooted"], told, [])


def test_failed_is_in_the_dead_letter_queue_and_on_the_topic_verbatim() -> None:
    """The API lists the node as failed: its code and message, as they came."""
    world = World()
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    assert world.deliver() == ["failed InstanceIdInUse"]
    (letter,), (notice,) = world.letters, world.notices
    assert letter.event["detail"]["Message"] == notice.message == f"{node.instance} says InstanceIdInUse"
    assert (letter.code, notice.list, notice.code) == ("InstanceIdInUse", "Failed", "InstanceIdInUse")
    assert letter.number < notice.number
    assert (world.ends, world.known_budget(A).spends) == (["failed"], ())


def test_failed_call_has_aws_own_code() -> None:
    """The call was rejected as a whole: nothing was rebooted."""
    world = World()
    world.sagemaker.down["batch_reboot_cluster_nodes"] = denied()
    world.unhealthy(world.node())
    assert world.deliver() == ["failed AccessDeniedException"]
    assert world.told == ["Failed AccessDeniedException"]


def test_failed_logical_id_is_in_the_list_of_logical_ids() -> None:
    """The call uses the kind of ID that was reported, and its answer has lists of its own."""
    world = World()
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.request(node.logical)
    assert world.deliver() == ["failed InstanceIdInUse"]
    assert [(notice.list, notice.node) for notice in world.notices] == [("FailedNodeLogicalIds", node.logical)]
    assert world.letters[0].event["detail"]["InstanceId"] == node.instance


def test_answer_for_a_node_that_was_not_asked_for_is_reported() -> None:
    """Every entry of Failed reaches people."""
    world = World()
    world.sagemaker.strangers = [{"NodeId": "i-0bad0bad0bad0bad0", "ErrorCode": "Odd", "Message": "who?"}]
    world.unhealthy(world.node())
    assert world.deliver() == ["rebooted"]
    assert (world.codes, world.told) == (["Odd"], ["Failed Odd"])
    assert world.letters[0].node == "i-0bad0bad0bad0bad0"


REFUSALS: dict[str, Any] = {
    "Paused": lambda world: setattr(world.mode, "value", "paused"),
    "ClusterNotAllowed": lambda world: None,
    "ReplacementAdvised": lambda world: None,
    "ProtectedNode": lambda world: setattr(world.node(), "group", "controllers"),
    "ClusterBudgetExceeded": lambda world: None,
    "StaleReport": lambda world: None,
}


@pytest.mark.parametrize("code", list(REFUSALS))
def test_refused_is_in_the_dead_letter_queue_and_on_the_topic(code: str) -> None:
    """A guard said no, and a person should know."""
    settings = Settings(clusters=("ml-z",)) if code == "ClusterNotAllowed" else Settings(budget_min_nodes=1)
    world = World(settings, FakeCluster(A, nodes=1, protected=("controllers",)))
    REFUSALS[code](world)
    node = world.node()
    if code == "ClusterBudgetExceeded":
        world.unhealthy(world.node(2))
        world.deliver()
    world.unhealthy(node, repair="Replace" if code == "ReplacementAdvised" else None)
    if code == "StaleReport":
        world.skips(HOUR + MINUTE)
    assert world.deliver() == [f"refused {code}"]
    assert (world.codes, world.told) == ([code], [f"Refused {code}"])
    assert node.instance not in world.reboots


def test_refused_attempts_have_the_limits_numbers() -> None:
    """A node that reboots do not help is refused until its window is over."""
    world = World(Settings(max_reboots_per_node=1))
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(MINUTE)
    world.healthy(node)
    world.deliver()
    world.passes(HOUR)
    world.unhealthy(node)
    assert world.deliver() == ["refused RebootLimitReached"]
    assert re.search(r"Reboot requested by this system at \d\d:\d\d UTC\.", world.notices[0].mail)
    assert "1 of 1 reboots" in world.notices[0].message


def test_deferred_where_a_mute_has_no_known_end_is_dropped() -> None:
    """Suppressed, or muted by a rule without an end: nothing says when to look again."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", muted=True)
    assert (world.deliver(), world.record(node).incident, world.notices) == (["deferred"], None, [])


def test_muted_report_needs_no_mode() -> None:
    """Muted is judged before everything else, paused too."""
    world = World()
    world.mode.value = "paused"
    world.alarm(world.node(), "ALARM", muted=True)
    assert (world.deliver(), world.notices) == (["deferred"], [])


def test_waiting_report_has_opened_an_incident_with_something_to_wait_for() -> None:
    """People are not told; a direct invocation takes it as success."""
    world = World()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.unhealthy(world.node())
    assert (world.deliver(), world.notices, world.queue) == (["waiting ThrottlingException"], [], {})


def test_duplicate_in_one_batch_and_over_batches() -> None:
    """The same node reported twice, by one source or two, is rebooted once."""
    world = World()
    node = world.node()
    world.unhealthy(node, copies=2)
    world.alarm(node, "ALARM")
    assert sorted(world.deliver()) == ["duplicate", "duplicate", "rebooted"]
    world.passes(MINUTE)
    world.unhealthy(node, at=START)
    assert (world.deliver(), len(world.reboots)) == (["duplicate"], 1)


def test_late_report_from_before_the_reboot_opens_nothing() -> None:
    """The node's incident is over and its cooldown too; the reboot has answered the report already."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(10 * MINUTE)
    world.healthy(node)
    world.deliver()
    world.passes(HOUR)
    world.alarm(node, "ALARM")
    late = next(iter(world.queue.values()))
    late.message = _with_time(late.message, START)
    assert (world.deliver(), len(world.reboots)) == (["duplicate"], 1)


def _with_time(message: Any, time: Any) -> Any:
    body = json.loads(message.body)
    body["detail"]["state"]["timestamp"] = time.isoformat()
    return replace(message, body=json.dumps(body))


def test_refusal_for_the_same_code_within_the_cooldown_is_a_duplicate() -> None:
    """One mail a cooldown, for a hundred reports; what a person asks for is answered each time."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    for _ in range(5):
        world.unhealthy(node)
        world.deliver()
        world.passes(MINUTE)
    assert world.outcomes == ["refused Paused", *["duplicate Paused"] * 4]
    world.request(node.instance)
    assert world.deliver() == ["refused Paused"]
    assert (len(world.codes), len(world.told)) == (2, 1)
    world.passes(HOUR)
    world.unhealthy(node)
    assert world.deliver() == ["refused Paused"]
    assert len(world.told) == 2


def test_observed_says_so_once_per_cooldown_and_calls_nothing() -> None:
    """All guards say yes; its spend counts for `observe` alone."""
    world = World()
    node = world.node()
    world.mode.value = "observe"
    for _ in range(3):
        world.unhealthy(node)
        world.deliver()
        world.passes(5 * MINUTE)
    assert world.outcomes == ["observed", "duplicate", "duplicate"]
    assert (world.told, world.codes, world.reboots) == (["Observed"], [], [])
    world.mode.value = "active"
    world.passes(MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["rebooted"]


def test_observed_request_is_answered_each_time() -> None:
    """It spends what mode `observe` has: two of ten nodes."""
    world = World(None, FakeCluster(A, nodes=10))
    world.mode.value = "observe"
    for number in (1, 2, 3):
        world.request(world.node(number).instance)
        world.deliver()
    assert world.outcomes == ["observed", "observed", "refused ClusterBudgetExceeded"]
    assert world.told == ["Observed", "Observed", "Refused ClusterBudgetExceeded"]


def test_odd_id_in_a_cluster_with_protected_groups_is_left_to_the_api() -> None:
    """No node has such an ID, so none is protected by it."""
    world = World(None, FakeCluster(A, protected=("controllers",)))
    world.request("i-odd")
    assert world.deliver() == ["failed ValidationException"]


def test_node_whose_group_may_not_be_had_is_not_rebooted() -> None:
    """Denied for good: failed, in AWS's words."""
    world = World(None, FakeCluster(A, protected=("controllers",)))
    world.sagemaker.down["describe_cluster_node"] = denied()
    world.unhealthy(world.node())
    assert (world.deliver(), world.reboots) == (["failed AccessDeniedException"], [])


def test_cleared_answers_a_sign_of_health_and_a_report_that_came_after_it() -> None:
    """Neither mode nor cluster is asked for."""
    world = World()
    world.mode.down = True
    world.sagemaker.down["describe_cluster"] = throttled()
    node = world.node()
    world.unhealthy(node, at=START - MINUTE)
    world.healthy(node)
    assert world.deliver() == ["cleared", "cleared"]


def test_ignored_events_ask_for_nothing() -> None:
    """An unknown health status, a sweep in the queue, an alarm without data."""
    world = World()
    node = world.node()
    world.post(_health(node.instance, "Unknown"))
    world.post({"source": "hyperpod.node-remediation", "detail-type": "HyperPod Node Remediation Sweep"})
    world.alarm(node, "INSUFFICIENT_DATA")
    assert (world.deliver(), world.notices, world.codes) == (["ignored"] * 3, [], [])


def _health(instance: str, status: str) -> dict[str, Any]:
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker HyperPod Cluster Node Health Event",
        "id": "e",
        "detail": {"ClusterName": A, "InstanceId": instance, "HealthSummary": {"HealthStatus": status}},
    }


def test_unreadable_body_goes_to_the_dead_letter_queue_as_it_came() -> None:
    """And changes nothing for its neighbours."""
    world = World()
    world.post("{not json")
    world.unhealthy(world.node())
    assert sorted(world.deliver()) == ["rebooted", "unreadable Unreadable"]
    assert ([letter.body for letter in world.letters], world.codes) == (["{not json"], ["Unreadable"])
    assert world.told == ["Unreadable Unreadable"]
    mail = world.notices[0].mail
    assert "    The message begins: {not json\n" in mail
    assert "    Message ID on the intake queue: " in mail


@pytest.mark.parametrize(
    ("how", "code"),
    [("no cluster", "ClusterNotResolved"), ("no node", "NodeNotResolved"), ("foreign", "ForeignEvent")],
)
def test_report_without_node_or_cluster_is_refused_with_its_message_as_it_came(how: str, code: str) -> None:
    """There is no node item for it: a letter, a small item for the topic, the topic."""
    world = World(None, FakeCluster(A), FakeCluster(B))
    if how == "no cluster":
        world.alarm(world.node(), "ALARM", cluster={})
    elif how == "no node":
        event = _health("", "Unhealthy")
        world.post(event)
    else:
        world.post(_health(world.node().instance, "Unhealthy") | {"account": ACCOUNT[::-1]})
    (body,) = (each.message.body for each in world.queue.values())
    assert world.deliver() == [f"refused {code}"]
    assert ([letter.body for letter in world.letters], world.codes) == ([body], [code])
    assert (world.told, world.next_due(), world.reboots) == ([f"Refused {code}"], None, [])


def test_direct_invocation_answers_with_the_outcomes() -> None:
    """Or raises, where it must be tried again: then Lambda's own retries take it from there."""
    world = World()
    event = _health(world.node().instance, "Unhealthy")
    assert world.invoke(event) == ["rebooted"]
    assert world.invoke(event | {"id": "e-2", "time": "2026-11-23T02:20:00Z"}, Trouble(ledger_down=True)) == []


def test_odd_id_is_sent_alone_and_the_apis_answer_is_reported() -> None:
    """It does not match the API's pattern, and its neighbours are rebooted."""
    world = World()
    for number in (1, 2):
        world.unhealthy(world.node(number))
    world.request("i-odd")
    assert sorted(world.deliver()) == ["failed ValidationException", "rebooted", "rebooted"]
    assert [ids for _, ids in world.sagemaker_calls()][-1] == ("i-odd",)


def test_reports_of_one_cluster_share_calls() -> None:
    """Sixty nodes of one cluster in one batch take three calls, the oldest complaints first."""
    world = World(Settings(budget_percent=100), nodes=60)
    for number in range(60, 0, -1):
        world.unhealthy(world.node(number), at=START - timedelta(minutes=number))
    assert world.deliver() == ["rebooted"] * 60
    assert [len(ids) for _, ids in world.sagemaker_calls()] == [25, 25, 10]
    assert world.sagemaker_calls()[0][1][0] == world.node(60).instance


def test_budget_serves_the_oldest_complaints_first() -> None:
    """Two of ten nodes: the others are told the numbers."""
    world = World(None, FakeCluster(A, nodes=10))
    for number in range(1, 5):
        world.unhealthy(world.node(number), at=START - timedelta(minutes=number))
    assert sorted(world.deliver()) == [*["rebooted"] * 2, *["refused ClusterBudgetExceeded"] * 2][::1]
    assert set(world.reboots) == {world.node(3).instance, world.node(4).instance}


def test_one_failing_cluster_holds_up_no_other() -> None:
    """Its reports wait; the other cluster's node is rebooted."""
    world = World(None, FakeCluster(A), FakeCluster(B))
    world.unhealthy(world.node(1, A))
    world.unhealthy(world.node(1, B))
    real = world.sagemaker.describe_cluster

    def throttles_one(*, ClusterName: str) -> Any:  # noqa: N803
        if ClusterName == A:
            raise error("ThrottlingException")
        return real(ClusterName=ClusterName)

    world.sagemaker.describe_cluster = throttles_one  # type: ignore[method-assign]
    assert sorted(world.deliver()) == ["rebooted", "waiting ThrottlingException"]
    assert world.reboots == [world.node(1, B).instance]


def test_nothing_is_judged_with_too_little_time_left() -> None:
    """Reports are in the ledger, and the sweep goes on with them."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    assert world.deliver(Trouble(seconds=20)) == ["waiting DeadlineExceeded"]
    world.passes(MINUTE)
    assert world.reboots == [node.instance]


def test_letters_come_before_the_topic_and_the_topic_only_for_what_has_its_letter() -> None:
    """The dead-letter queue is down: people are not told of what cannot be redriven yet."""
    world = World()
    node = world.node()
    node.answers = ["Denied"]
    world.unhealthy(node)
    assert world.deliver(Trouble(letters=Takes.NONE)) == ["failed Denied"]
    assert (world.codes, world.told) == ([], [])
    world.passes(MINUTE)
    assert (world.codes, world.told) == (["Denied"], ["Failed Denied"])
