"""The faults that the redesign ends, one test or more each, by the numbers of their list."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from node_remediation import events
from node_remediation.model import NodeKey
from node_remediation.policy import incidents, judging
from node_remediation.policy.record import State
from node_remediation.remediate import Effect
from node_remediation.settings import Settings
from tests.fakes import refused
from tests.loop.outside import ACCOUNT, REGION, FakeCluster, Slot, Takes, denied, error, throttled
from tests.loop.promises import broken_at_the_end
from tests.loop.world import DAY, HOUR, MINUTE, SECOND, START, A, B, Trouble, World


@pytest.mark.parametrize("before", ["ALARM", "INSUFFICIENT_DATA"])
def test_fault_1_ok_of_another_alarm_clears_no_report_and_recovers_no_reboot(before: str) -> None:
    """From ALARM, and from INSUFFICIENT_DATA."""
    world = World()
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.unhealthy(node)
    world.alarm(node, before, name="hyperpod-reboot-other", unheard=True)
    world.deliver()
    world.skips(SECOND)
    world.alarm(node, "OK", name="hyperpod-reboot-other")
    world.deliver()
    world.sagemaker.down.clear()
    world.passes(MINUTE)
    assert world.reboots == [node.instance]
    world.alarm(node, "OK", name="hyperpod-reboot-other")
    world.deliver()
    world.passes(HOUR)
    assert world.ends == ["unverified"]


def test_fault_2_healthy_event_dated_ahead_silences_nothing() -> None:
    """It counts as said when it was sent; a report after that is acted on."""
    world = World()
    node = world.node()
    world.healthy(node, at=START + 20 * HOUR)
    world.deliver()
    world.passes(MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["rebooted"]


def test_fault_2_unhealthy_event_dated_ahead_causes_no_second_reboot() -> None:
    """It is of the moment in which it was sent, before the reboot."""
    world = World()
    node = world.node()
    world.unhealthy(node, at=START + 20 * HOUR)
    assert world.deliver() == ["rebooted"]
    world.passes(2 * HOUR)
    assert (len(world.reboots), world.ends) == (1, ["unverified"])


@pytest.mark.parametrize("form", ["arn", "eks name", "eks arn"])
def test_fault_3_cluster_by_any_name_has_one_cooldown_and_one_budget(form: str) -> None:
    """An ARN, an EKS cluster's name or ARN, and the name are one cluster."""
    cluster = FakeCluster(A, nodes=10, eks="eks-a")
    world = World(None, cluster)
    name = {"arn": cluster.arn, "eks name": "eks-a", "eks arn": f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/eks-a"}[form]
    key = "HyperPodClusterName" if form == "arn" else "ClusterName"
    for number in (1, 2, 3):
        world.unhealthy(world.node(number))
        world.alarm(world.node(number), "ALARM", name=f"hyperpod-reboot-{number}", cluster={key: name})
    world.deliver()
    assert len(world.reboots) == 2
    assert len(set(world.reboots)) == 2


@pytest.mark.parametrize("tag", [FakeCluster(A).arn, "eks-a", f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/eks-a", A])
def test_fault_3_tag_names_the_cluster_in_any_form(tag: str) -> None:
    """The tag hyperpod:cluster."""
    cluster = FakeCluster(A, nodes=10, eks="eks-a")
    world = World(None, cluster, FakeCluster(B))
    node = world.node()
    world.alarm(node, "ALARM", cluster={}, tags={"hyperpod:cluster": tag})
    world.unhealthy(node)
    assert sorted(world.deliver()) == ["duplicate", "rebooted"]
    assert world.reboots == [node.instance]


@pytest.mark.parametrize("where", [{"account": "999999999999"}, {"region": "eu-west-1"}])
def test_fault_3_event_of_another_account_or_region_is_refused(where: dict[str, str]) -> None:
    """Its cluster may have the name of one of ours."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    (queued,) = world.queue.values()
    body = json.loads(queued.message.body) | where
    world.queue.clear()
    world.post(body)
    assert (world.deliver(), world.reboots) == (["refused ForeignEvent"], [])


# -- 4: the two IDs of a node


def test_fault_4_cached_instance_calls_no_node_twice() -> None:
    """A logical ID is looked up each time it is judged: after a replacement it is another node."""
    world = World(Settings(budget_min_nodes=5))
    node = world.node()
    world.request(node.logical)
    assert world.deliver() == ["rebooted"]
    first = node.instance
    world.passes(MINUTE)
    world.is_replaced(node)
    world.unhealthy(node)
    world.deliver()
    world.request(node.logical)
    world.deliver()
    world.passes(2 * HOUR)
    assert world.reboots.count(first) == 1
    assert world.reboots.count(node.instance) <= 1


@pytest.mark.parametrize("first", ["logical", "instance"])
def test_fault_4_description_that_lags_calls_no_node_twice(first: str) -> None:
    """DescribeClusterNode still shows the instance before; the logical ID reaches the one after."""
    world = World(Settings(budget_min_nodes=5))
    node = world.node()
    world.is_replaced(node, lag=10 * MINUTE)
    new = node.instance
    reports: list[Callable[[], object]] = [lambda: world.request(node.logical), lambda: world.unhealthy(node)]
    for report in reports if first == "logical" else reports[::-1]:
        report()
        world.deliver()
        world.passes(MINUTE)
    world.passes(15 * MINUTE)
    assert world.reboots.count(new) <= 1


def test_fault_4_lookup_that_is_denied_calls_no_node_twice() -> None:
    """Nodes may not be listed, so an instance cannot be told from the one behind a logical ID."""
    world = World(None, FakeCluster(A, nodes=10))
    node = world.node()
    world.is_replaced(node, lag=10 * MINUTE)
    world.sagemaker.down["list_cluster_nodes"] = denied()
    world.unhealthy(world.node(2))
    world.unhealthy(node)
    world.request(node.logical)
    world.deliver()
    assert world.reboots.count(node.instance) <= 1


@pytest.mark.parametrize("kill", [Effect.CALL, Effect.RECORD])
def test_fault_4_kill_between_call_and_record_calls_no_node_twice(kill: Effect) -> None:
    """The message comes again by the other ID."""
    world = World()
    node = world.node()
    world.request(node.logical)
    world.deliver(Trouble(kill=kill))
    world.unhealthy(node)
    world.alarm(node, "ALARM", logical=True)
    world.passes(20 * MINUTE)
    assert world.reboots.count(node.instance) <= 1


def unlisted(world: World) -> Slot:
    """Return a node that SageMaker does not list yet, though it can be rebooted by its logical ID."""
    node = world.node()
    node.listed = False
    return node


def test_fault_4_node_whose_instance_was_not_known_is_united_when_it_is() -> None:
    """Rebooted by its logical ID before SageMaker showed an instance: one cooldown, one incident."""
    world = World()
    node = unlisted(world)
    world.alarm(node, "ALARM", logical=True)
    assert world.deliver() == ["rebooted"]
    assert world.known(NodeKey(A, node.logical)).incident
    node.listed = True
    world.skips(MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["duplicate"]
    assert world.incident(node).state is State.REBOOTED
    assert {each.source for each in world.incident(node).complaints} == {"hyperpod", "alarm:hyperpod-reboot-gpu"}
    assert world.known(NodeKey(A, node.logical)).incident is None
    world.passes(5 * MINUTE)
    world.healthy(node)
    world.alarm(node, "OK", logical=True)
    world.deliver()
    assert (world.ends, world.reboots) == (["recovered"], [node.instance])


def test_fault_4_sweep_unites_a_node_whose_instance_has_become_known() -> None:
    """Its alarm has withdrawn meanwhile: recovered."""
    world = World()
    node = unlisted(world)
    world.alarm(node, "ALARM", logical=True)
    world.deliver()
    world.passes(5 * MINUTE)
    node.listed = True
    world.alarm(node, "OK", logical=True, unheard=True)
    world.passes(11 * MINUTE)
    assert (world.ends, world.record(node).incident) == (["recovered"], None)
    assert world.record(node).reboots


def test_fault_4_two_incidents_of_one_node_become_one() -> None:
    """Known under both IDs and due at one sweep: the reboot's incident goes on, and has one end."""
    world = World(Settings(cooldown=timedelta(minutes=15)))
    node = unlisted(world)
    world.unhealthy(node)
    assert world.deliver() == ["rebooted"]
    world.skips(SECOND)
    world.mode.down = True
    world.alarm(node, "ALARM", logical=True)
    world.skips(MINUTE)
    world.deliver()
    assert world.known(NodeKey(A, node.logical)).incident
    node.listed, world.mode.down = True, False
    world.passes(6 * MINUTE)
    assert world.known(NodeKey(A, node.logical)).incident is None
    assert len(world.reboots) == 1
    world.passes(2 * HOUR)
    assert broken_at_the_end(world) == []
    assert len(world.ends) == 1


def test_fault_4_reports_by_both_ids_in_one_batch_are_of_one_node() -> None:
    """SageMaker tells the instance's logical ID, but not yet the logical ID's instance."""
    world = World()
    node = world.node()
    real = world.sagemaker.describe_cluster_node

    def half_known(*, ClusterName: str, NodeId: str | None = None, NodeLogicalId: str | None = None) -> Any:  # noqa: N803
        if NodeLogicalId:
            raise error("ResourceNotFound")
        return real(ClusterName=ClusterName, NodeId=NodeId)

    world.sagemaker.describe_cluster_node = half_known  # type: ignore[method-assign]
    world.request(node.logical)
    world.deliver()
    world.skips(MINUTE)
    world.alarm(node, "ALARM", logical=True)
    world.unhealthy(node)
    assert world.deliver() == ["duplicate", "duplicate"]
    assert {each.source for each in world.incident(node).complaints} == {
        "request",
        "hyperpod",
        "alarm:hyperpod-reboot-gpu",
    }
    world.passes(5 * MINUTE)
    assert len(world.reboots) == 1


def test_fault_4_redriven_letter_of_a_logical_id_leaves_the_successor_alone() -> None:
    """The letter carries the instance that it was about: another one is there now."""
    world = World()
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.request(node.logical)
    world.deliver()
    assert world.letters[0].event["detail"]["InstanceId"] == node.instance
    world.is_replaced(node)
    world.passes(HOUR)
    world.redrive(world.letters[0])
    assert (world.deliver(), world.reboots) == (["cleared Superseded"], [])


def test_fault_4_older_letter_reboots_no_node_whose_alarm_was_asked_and_found_ok() -> None:
    """A recovery that was asked for leaves its sign of health too."""
    world = World()
    node = world.node()
    node.answers = ["Denied"]
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(MINUTE)
    world.request(node.instance)
    assert world.deliver() == ["rebooted"]
    world.alarm(node, "ALARM")
    world.deliver()
    world.passes(MINUTE)
    world.alarm(node, "OK", unheard=True)
    world.passes(20 * MINUTE)
    assert world.ends == ["failed", "recovered"]
    world.passes(HOUR)
    world.redrive(world.letters[0])
    assert (world.deliver(), len(world.reboots)) == (["cleared"], 1)


def test_fault_5_controller_that_was_replaced_within_the_cache_is_not_rebooted() -> None:
    """The groups of nodes are looked up anew for each invocation; a node in no list is not rebooted."""
    world = World(None, FakeCluster(A, protected=("controllers",)))
    node = world.node()
    node.group = "controllers"
    world.is_replaced(node, lag=2 * MINUTE)
    world.unhealthy(node)
    assert world.deliver() == ["waiting NodeNotResolved"]
    world.passes(5 * MINUTE)
    assert world.ends == ["refused"]
    assert node.instance not in world.reboots


def test_fault_6_node_listed_as_successful_and_as_failed_is_not_rebooted_again() -> None:
    """It counts as rebooted and is reported as failed."""
    world = World(Settings(retry_attempts=5))
    node = world.node()
    node.answers = ["both"]
    world.unhealthy(node)
    assert world.deliver() == ["failed InternalServerError"]
    assert world.incident(node).state is State.REBOOTED
    world.unhealthy(node, at=START)
    world.redrive(world.letters[0])
    world.deliver()
    world.passes(25 * MINUTE)
    assert len(world.reboots) == 1
    assert [letter.code for letter in world.letters] == ["InternalServerError", "CoolingDown"]


def test_fault_6_failure_that_is_listed_twice_is_one_letter() -> None:
    """One entry of the topic, too."""
    world = World()
    node = world.node()
    node.answers = ["twice"]
    world.unhealthy(node)
    assert world.deliver() == ["failed InstanceIdInUse"]
    assert (world.codes, world.told) == (["InstanceIdInUse"], ["Failed InstanceIdInUse"])


# -- 7: the queue and the topic, down or losing answers


def test_fault_7_topic_down_for_an_hour_is_one_letter_and_one_outcome() -> None:
    """An unsent entry stays in the ledger until it is sent; the message is acknowledged at once."""
    world = World()
    node = world.node()
    node.answers = ["Denied"]
    world.outside.topic_takes = Takes.NONE
    world.unhealthy(node)
    assert (world.deliver(), world.queue) == (["failed Denied"], {})
    world.passes(HOUR)
    assert (world.codes, world.outcomes, world.told) == (["Denied"], ["failed Denied"], [])
    world.outside.topic_takes = Takes.ALL
    world.passes(HOUR)
    assert (world.codes, world.told, world.next_due()) == (["Denied"], ["Failed Denied"], None)


def test_fault_7_dead_letter_queue_down_for_an_hour_loses_nothing() -> None:
    """Neither letter nor notice; and each is sent once."""
    world = World()
    world.mode.value = "paused"
    world.outside.letters_take = Takes.NONE
    for number in range(1, 6):
        world.unhealthy(world.node(number))
    assert world.deliver() == ["refused Paused"] * 5
    world.passes(HOUR)
    assert (world.codes, world.told, world.aside) == ([], [], [])
    world.outside.letters_take = Takes.ALL
    world.passes(HOUR)
    assert (world.codes, world.told) == (["Paused"] * 5, ["Refused Paused"] * 5)


def test_fault_7_refused_node_that_is_cleared_while_the_topic_is_down_is_still_told() -> None:
    """Its letter is in the queue, so the topic hears of it."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    world.unhealthy(node)
    world.deliver(Trouble(topic=Takes.NONE))
    world.skips(10 * SECOND)
    world.healthy(node)
    world.deliver()
    world.passes(HOUR)
    assert (world.codes, world.told) == (["Paused"], ["Refused Paused"])


@pytest.mark.parametrize("takes", [Takes.LOST, Takes.FIRST])
@pytest.mark.parametrize("where", ["letters", "topic"])
def test_fault_7_partial_and_lost_answers_send_each_letter_under_one_id(takes: Takes, where: str) -> None:
    """A letter that was taken although its answer was lost comes again with the same ID."""
    world = World(nodes=30)
    world.mode.value = "paused"
    for number in range(1, 31):
        world.unhealthy(world.node(number))
    world.deliver(Trouble(letters=takes) if where == "letters" else Trouble(topic=takes))
    world.passes(HOUR)
    assert len({letter.id for letter in world.letters}) == 30
    assert {letter.node for letter in world.letters} == {notice.node for notice in world.notices}


# -- 8: one bad thing stays one bad thing


def test_fault_8_record_that_dynamodb_refuses_leaves_its_neighbours_alone() -> None:
    """A repair under way is deferred, a node that is well has recovered; only the bad one fails."""
    world = World(None, FakeCluster(A, automatic=True))
    bad, repaired, well = (world.node(number) for number in (1, 2, 3))
    world.unhealthy(well)
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(well)
    world.unhealthy(repaired, repair="Replace")
    world.unhealthy(bad)
    world.ledger.before_save = _refusing(world, bad.instance)
    assert sorted(world.deliver()) == ["cleared", "deferred", "failed ValidationException"]
    assert (world.ends, world.record(repaired).incident is not None) == (["recovered"], True)
    assert (world.codes, world.told) == (["ValidationException"], ["Failed ValidationException"])
    assert world.reboots == [well.instance]


def _refusing(world: World, instance: str) -> Any:
    before = world.ledger.before_save

    def check(records: Any) -> None:
        before(records)
        if any(getattr(record, "key", ("", ""))[1] == instance for record in records):
            raise refused()

    return check


def test_fault_8_repair_action_of_420_kilobytes_is_cut() -> None:
    """With a mark; the node is judged by it as by any unknown value."""
    world = World()
    world.unhealthy(world.node(), repair="x" * 420_000)
    world.unhealthy(world.node(2))
    assert sorted(world.deliver()) == ["rebooted", "refused ReplacementAdvised"]
    assert len(world.letters[0].body) < 5_000


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59.9999Z", "0001-01-01T00:00:00Z", 1e300, "soon", None])
def test_fault_8_time_out_of_range_poisons_nothing(time: Any) -> None:
    """The node is rebooted, its item can be written again, and its incident ends."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    (queued,) = world.queue.values()
    body = json.loads(queued.message.body)
    body["time"] = body["detail"]["EventTime"] = time
    world.queue.clear()
    world.post(body)
    assert world.deliver() == ["rebooted"]
    world.passes(5 * MINUTE)
    world.healthy(node)
    assert (world.deliver(), world.ends) == (["cleared"], ["recovered"])


def test_fault_8_attempt_of_4300_digits_is_one_messages_own() -> None:
    """Its neighbour is rebooted, and nothing comes again."""
    world = World()
    body = {
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Reboot Failed",
        "id": "L-1",
        "detail": {"ClusterName": A, "NodeId": world.node(1).instance, "Attempt": 0},
    }
    world.post(json.dumps(body).replace('"Attempt": 0', '"Attempt": ' + "9" * 4_301))
    world.unhealthy(world.node(2))
    outcomes = sorted(world.deliver())
    assert (outcomes[0], len(outcomes), world.queue) == ("rebooted", 2, {})


def test_fault_8_exception_in_reading_one_message_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours: its message comes again, and its neighbours are served."""
    world = World()
    real = events.read

    def read(body: str, **how: Any) -> Any:
        if "poison" in body:
            raise ZeroDivisionError
        return real(body, **how)

    monkeypatch.setattr(events, "read", read)
    bad = world.post("poison")
    world.unhealthy(world.node())
    assert world.deliver() == ["rebooted"]
    assert list(world.queue) == [bad]
    world.passes(HOUR)
    assert (world.queue, len(world.letters)) == ({}, 1)


def test_fault_8_exception_in_looking_one_message_up_is_its_own() -> None:
    """An answer of AWS's that is not as documented."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", unheard=True)
    world.composite("hyperpod-reboot-any", "ALARM", ["hyperpod-reboot-gpu"])
    world.cloudwatch.describe_alarms = lambda **_: {"MetricAlarms": [{"StateValue": "ALARM"}]}  # type: ignore[method-assign]
    world.unhealthy(world.node(2))
    assert world.deliver() == ["rebooted"]
    world.passes(HOUR)
    assert (world.queue, len(world.letters)) == ({}, 1)


def test_fault_8_exception_in_looking_a_cluster_up_is_its_own() -> None:
    """The other cluster's node is rebooted; this one's waits, and is rebooted once it can be looked up."""
    world = World(None, FakeCluster(A), FakeCluster(B))
    real = world.sagemaker.describe_cluster

    def odd(*, ClusterName: str) -> Any:  # noqa: N803
        return real(ClusterName=ClusterName) | ({"InstanceGroups": 7} if ClusterName == A else {})

    world.sagemaker.describe_cluster = odd  # type: ignore[method-assign]
    for name in (A, B):
        world.unhealthy(world.node(1, name))
    assert sorted(world.deliver()) == ["rebooted", "waiting TypeError"]
    assert (world.reboots, len(world.outside.errors)) == ([world.node(1, B).instance], 1)
    world.sagemaker.describe_cluster = real  # type: ignore[method-assign]
    world.passes(10 * MINUTE)
    assert world.node(1, A).instance in world.reboots


def test_fault_8_exception_in_deciding_about_one_node_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its message comes again; its neighbours are rebooted. A sweep puts such a node off, longer each time."""
    world = World()
    bad, good = world.node(1), world.node(2)
    world.sagemaker.down["describe_cluster"] = throttled()
    world.unhealthy(bad)
    world.deliver()
    world.sagemaker.down.clear()
    real = judging.judge_incident

    def judge(draft: Any) -> None:
        if draft.record.key.id == bad.instance:
            raise ZeroDivisionError
        real(draft)

    monkeypatch.setattr(incidents, "judge_incident", judge)
    world.unhealthy(good)
    assert world.deliver() == ["rebooted"]
    world.until("02:14:33")
    assert world.due(bad) == "02:15:33"
    world.until("02:15:33")
    assert world.due(bad) == "02:17:33"
    monkeypatch.undo()
    world.passes(5 * MINUTE)
    assert bad.instance in world.reboots


def test_fault_8_exception_in_deciding_leaves_the_neighbours_of_its_batch_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both are decided in one write; the message of the node at fault comes again."""
    world = World()
    bad, good = world.node(1), world.node(2)
    real = judging.judge_incident

    def judge(draft: Any) -> None:
        if draft.record.key.id == bad.instance:
            raise ZeroDivisionError
        real(draft)

    monkeypatch.setattr(incidents, "judge_incident", judge)
    world.unhealthy(bad)
    world.unhealthy(good)
    assert world.deliver() == ["rebooted"]
    monkeypatch.undo()
    world.passes(5 * MINUTE)
    assert world.reboots == [good.instance, bad.instance]


def test_fault_8_lone_surrogates_lose_nothing() -> None:
    """In a request's reason: the outcome is there, and its node is rebooted."""
    world = World()
    body = {
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Reboot Requested",
        "detail": {"ClusterName": A, "NodeIds": [world.node().instance], "Reason": "\ud800"},
    }
    world.post(body)
    assert world.deliver() == ["rebooted"]
    assert "\ud800" not in world.outside.results[0][1].trigger.reason


def test_fault_9_slow_lookups_leave_time_for_neighbours_that_need_none() -> None:
    """Sixty clusters at a second each: the look-ups stop in time, and what waits for them comes again."""
    clusters = [FakeCluster(f"ml-{number}", eks=f"eks-{number}") for number in range(60)]
    world = World(None, FakeCluster(A), *clusters, nodes=1)
    left = [60.0]
    real = world.sagemaker._ask

    def slow(operation: str) -> None:
        left[0] -= 1
        real(operation)

    world.sagemaker._ask = slow  # type: ignore[method-assign]
    world._seconds_left = lambda: left[0]  # type: ignore[method-assign]
    slot = world.node(1, A)
    world.alarm(slot, "ALARM", cluster={"ClusterName": "eks-59"})
    world.unhealthy(slot)
    assert "rebooted" in world.deliver()
    assert left[0] > 5


def test_fault_10_redriven_failure_that_fails_again_stays_away_for_15_minutes() -> None:
    """A move task that is still running must not chase it."""
    world = World()
    node = world.node()
    node.answers = ["Denied", "Denied"]
    world.unhealthy(node)
    world.deliver()
    world.redrive(world.letters[0])
    world.deliver()
    assert [letter.delay for letter in world.letters] == [0, 900]
    assert world.letters[1].event["detail"]["Attempt"] == 2


def test_fault_10_redriven_message_that_names_no_node_stays_away_too() -> None:
    """It goes in as it came."""
    world = World()
    world.post("{")
    world.deliver()
    world.redrive(world.letters[0])
    world.deliver()
    assert [letter.delay for letter in world.letters] == [0, 900]


@pytest.mark.parametrize("who", ["redrive", "request"])
def test_fault_11_resume_then_redrive_works_at_once(who: str) -> None:
    """A cached `paused` is read again before it refuses what a person asked for."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    world.unhealthy(node)
    assert world.deliver() == ["refused Paused"]
    world.mode.value = "active"
    _ = world.redrive(world.letters[0]) if who == "redrive" else world.request(node.instance)
    assert world.deliver() == ["rebooted"]


def test_fault_12_composite_with_not_alarm_reboots_its_node() -> None:
    """NOT ALARM(x) goes into ALARM when x is OK: it is no report of health."""
    world = World()
    node = world.node()
    world.alarm(node, "OK", unheard=True)
    world.composite("hyperpod-reboot-not", "ALARM", ["hyperpod-reboot-gpu"])
    assert (world.deliver(), world.reboots) == (["rebooted"], [node.instance])


def test_fault_12_observe_promises_no_more_than_a_budget_allows() -> None:
    """Two of ten nodes: the third is refused, as it would be."""
    world = World(None, FakeCluster(A, nodes=10))
    world.mode.value = "observe"
    for number in (1, 2, 3):
        world.unhealthy(world.node(number))
    world.request(world.node(4).instance)
    assert sorted(world.deliver()) == [
        "observed",
        "observed",
        "refused ClusterBudgetExceeded",
        "refused ClusterBudgetExceeded",
    ]
    world.mode.value = "active"
    world.passes(2 * MINUTE)
    world.unhealthy(world.node(5))
    assert world.deliver() == ["rebooted"]


def test_fault_13_mode_that_cannot_be_read_judges_nothing() -> None:
    """Neither `active` nor `paused` is assumed: the node waits."""
    world = World()
    node = world.node()
    world.mode.down = True
    world.unhealthy(node)
    assert (world.deliver(), world.reboots) == (["waiting ThrottlingException"], [])
    world.mode.down, world.mode.value = False, "paused"
    world.passes(MINUTE)
    assert (world.reboots, world.ends) == ([], ["refused"])


def test_fault_13_request_is_handed_back_while_the_mode_is_unknown_and_fails_at_the_fifth_receive() -> None:
    """A person's request joins nothing, so its message comes again."""
    world = World()
    world.mode.down = True
    world.request(world.node().instance)
    assert (world.deliver(), len(world.queue)) == ([], 1)
    world.passes(HOUR)
    assert (world.outcomes, world.queue, world.codes) == (
        ["failed ThrottlingException"],
        {},
        ["ThrottlingException"],
    )


def test_fault_14_sick_node_with_status_running_is_not_recovered() -> None:
    """It is told, and counts in no time to recovery."""
    world = World(Settings(max_reboots_per_node=1))
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(10 * MINUTE)
    world.unhealthy(node)
    world.deliver()
    world.passes(HOUR)
    assert (world.ends, world.codes) == (["not_recovered"], ["NotRecovered"])
    assert all(change.seconds is None for change in world.changes if change.state != "rebooted")


@pytest.mark.parametrize("hours", [1, 3, 24, 96])
def test_fault_15_message_that_comes_again_after_hours_is_no_new_reboot(hours: int) -> None:
    """It is not later than what is known of its source; and it waited too long besides."""
    world = World()
    node = world.node()
    id_ = world.unhealthy(node)
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(node)
    world.deliver()
    world.passes(hours * HOUR)
    world.comes_again(id_)
    assert (world.deliver()[0].split()[0] in ("cleared", "duplicate", "refused"), len(world.reboots)) == (True, 1)


@pytest.mark.parametrize("days", [0.1, 1, 3.9])
def test_fault_15_request_that_comes_again_is_a_duplicate_for_four_days(days: float) -> None:
    """Its message ID is kept as long as the queue may keep the message."""
    world = World(Settings(max_report_age=timedelta(hours=24)))
    node = world.node()
    id_ = world.request(node.instance)
    assert world.deliver() == ["rebooted"]
    world.passes(DAY * days)
    world.comes_again(id_)
    assert (world.deliver(), len(world.reboots)) == (["duplicate"], 1)


def test_fault_15_letter_that_is_redriven_twice_is_one_attempt() -> None:
    """By the letter's own ID."""
    world = World()
    node = world.node()
    node.answers = ["Denied"]
    world.unhealthy(node)
    world.deliver()
    for _ in range(2):
        world.redrive(world.letters[0])
    assert sorted(world.deliver()) == ["duplicate", "rebooted"]
    world.redrive(world.letters[0])
    assert world.deliver() == ["duplicate"]


def test_fault_15_budget_item_keeps_one_window() -> None:
    """The spends of two days do not pile up."""
    world = World(Settings(max_reboots_per_node=100))
    node = world.node()
    for _ in range(48):
        world.request(node.instance)
        world.deliver()
        world.skips(HOUR)
    assert len(world.reboots) == 48
    assert len(world.known_budget(A).spends) == 1


def test_fault_15_body_of_a_mebibyte_reaches_the_dead_letter_queue() -> None:
    """Cut at its end, with a mark, so that it fits with its attributes."""
    world = World()
    world.post("{" + "x" * 1_048_575)
    assert world.deliver() == ["unreadable Unreadable"]
    assert (world.codes, world.queue, world.letters[0].body[-5:]) == (["Unreadable"], {}, "[cut]")


def test_fault_4_request_that_comes_again_after_its_instance_was_replaced_leaves_the_successor_alone() -> None:
    """One of its nodes had to wait, so the whole message comes again; the other was dealt with, whoever it is now."""
    world = World(Settings(budget_min_nodes=5))
    node = world.node()
    world.request(node.logical)
    world.deliver(Trouble(kill=Effect.ACKNOWLEDGE))
    world.is_replaced(node)
    world.passes(10 * MINUTE)
    assert (node.instance in world.reboots, world.letters) == (False, [])


def test_letter_of_a_series_whose_alarm_took_it_back_reboots_nothing() -> None:
    """The letter does not name the series; each series of its alarm has withdrawn."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    world.alarm(node, "ALARM", series=True)
    world.deliver()
    world.passes(MINUTE)
    world.alarm(node, "OK", series=True)
    world.deliver()
    world.mode.value = "active"
    world.redrive(world.letters[0])
    world.passes(2 * HOUR)
    assert (world.reboots, world.outcomes[-1:]) == ([], ["cleared"])


def test_failed_try_that_hyperpod_follows_with_a_repair_has_its_letter() -> None:
    """The tries end there: the API's own entry is in the dead-letter queue."""
    world = World(Settings(retry_attempts=2), FakeCluster(A, automatic=True))
    node = world.node()
    node.answers = ["InstanceIdInUse"]
    world.unhealthy(node)
    world.deliver()
    world.passes(20 * SECOND)
    world.unhealthy(node, repair="Reboot")
    world.deliver()
    world.passes(5 * HOUR)
    assert world.codes == ["InstanceIdInUse"]


def test_outbox_of_a_flapping_node_stays_bounded_while_the_topic_is_down() -> None:
    """With 20 unsent entries the node is not judged, for however long; then it is."""
    world = World()
    node = world.node()
    for _ in range(60):
        world.unhealthy(node)
        world.deliver(Trouble(topic=Takes.NONE))
        for _ in range(3):
            world.skips(16 * MINUTE)
            world.sweep(Trouble(topic=Takes.NONE))
    assert len(world.record(node).outbox) <= 21


def test_fault_12_composite_whose_child_flipped_back_while_it_waited_complains_itself() -> None:
    """Its state is asked later than the parent's event: what it was then counts, and the parent's OK withdraws."""
    world = World()
    node = world.node()
    world.alarm(node, "OK", name="hyperpod-reboot-x")
    world.deliver()
    world.skips(MINUTE)
    world.composite("hyperpod-reboot-c", "ALARM", ["hyperpod-reboot-x"])
    world.skips(20 * SECOND)
    world.alarm(node, "ALARM", name="hyperpod-reboot-x", unheard=True)
    world.deliver()
    world.passes(MINUTE)
    world.composite("hyperpod-reboot-c", "OK", ["hyperpod-reboot-x"])
    world.deliver()
    world.passes(3 * HOUR)
    assert (len(world.reboots), world.ends, world.letters) == (1, ["recovered"], [])
