"""Services that are down or lose answers, and messages that cannot be kept or sent."""

from collections.abc import Sequence

import pytest

from node_remediation.aws.errors import LookupFailedError
from node_remediation.outbox.mail import Frame, mail_text
from node_remediation.policy.record import Entry, NodeRecord, Record, State
from node_remediation.remediate import Effect
from node_remediation.settings import Settings
from tests.fakes import THROTTLED, lost, refused
from tests.loop.outside import CallFault, FakeCluster, Takes, denied, throttled
from tests.loop.world import HOUR, MINUTE, SECOND, START, VISIBILITY_TIMEOUT, A, B, Trouble, World, Write

DOWN = Trouble(ledger_down=True)


# -- the ledger


def test_message_comes_again_while_the_ledger_is_down_30_seconds_later_per_receive() -> None:
    """After 30, 60, 90 and 120 seconds; the fifth receive is the last."""
    world = World()
    world.unhealthy(world.node())
    seen = []
    for _ in range(4):
        assert world.deliver(DOWN) == []
        (queued,) = world.queue.values()
        seen.append(queued.visible_at - world.now)
        world.skips(seen[-1])
    assert seen == [30 * SECOND, 60 * SECOND, 90 * SECOND, 120 * SECOND]
    assert world.deliver(DOWN) == ["failed ThrottlingException"]
    assert (world.queue, world.codes, world.told) == ({}, ["ThrottlingException"], ["Failed ThrottlingException"])


def test_report_that_can_neither_be_kept_nor_sent_is_set_aside_by_the_queue() -> None:
    """Ledger and dead-letter queue are down for five receives: SQS moves the message, and its outcome was logged."""
    world = World()
    world.trouble = Trouble(ledger_down=True, letters=Takes.NONE)
    world.unhealthy(world.node())
    world.passes(HOUR)
    assert (world.outcomes, len(world.aside)) == (["failed ThrottlingException"], 1)


def test_ledger_that_is_back_before_the_fifth_receive_loses_nothing() -> None:
    """The node is rebooted then, once."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver(DOWN)
    world.passes(MINUTE)
    assert (world.outcomes, world.reboots) == (["rebooted"], [node.instance])


def test_sign_of_health_that_cannot_be_kept_is_no_failure() -> None:
    """A node that is well needs no attention, even at the last receive."""
    world = World()
    world.healthy(world.node())
    world.trouble = DOWN
    world.passes(HOUR)
    assert (world.outcomes, world.letters) == (["cleared ThrottlingException"], [])


def test_visibility_that_cannot_be_set_lets_the_message_come_again_at_its_time_out() -> None:
    """The intake queue is down, too."""
    world = World()
    world.unhealthy(world.node())
    world.deliver(Trouble(ledger_down=True, intake_down=True))
    (queued,) = world.queue.values()
    assert queued.visible_at == world.now + VISIBILITY_TIMEOUT


@pytest.mark.parametrize("write", [Write.LOST_BEFORE, Write.LOST_AFTER])
@pytest.mark.parametrize("number", [1, 2])
def test_lost_answer_to_a_write_is_found_out(write: Write, number: int) -> None:
    """Written or not, the decision is made once: one reboot, one outcome."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    assert world.deliver(Trouble(writes={number: write})) == ["rebooted"]
    assert (len(world.reboots), world.incident(node).state) == (1, State.REBOOTED)
    assert world.known_budget(A).spends == ((START, 1),)


@pytest.mark.parametrize("trouble", ["unreadable", "rival"])
def test_end_that_was_saved_is_told_although_the_answer_was_lost(trouble: str) -> None:
    """The ledger cannot be read just then, or another invocation writes the node's record: the end is in the log."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.skips(MINUTE)
    well, note_saved = world.healthy(node), world.ledger.after_save

    def lose(records: Sequence[Record]) -> None:
        world.ledger.after_save = note_saved
        note_saved(records)
        if trouble == "unreadable":
            world.ledger.before_load = _not_read
        else:
            world.deliver(only=[world.alarm(node, "OK")])
        raise lost()

    world.ledger.after_save = lose
    world.deliver(only=[well])
    assert world.ends == ["recovered"]


def _not_read() -> None:
    raise LookupFailedError(THROTTLED)


def test_answer_that_cannot_be_saved_is_told_from_memory_and_logged_whole() -> None:
    """The claim's lease ends: people hear that the outcome is unknown, too."""
    world = World()
    node = world.node()
    node.answers = ["Denied"]
    world.unhealthy(node)
    world.deliver(Trouble(writes={2: Write.DOWN}))
    assert [answer.code for answer in world.outside.unrecorded_answers] == ["Denied"]
    assert (world.codes, world.told) == (["Denied"], ["Failed Denied"])
    world.passes(5 * MINUTE)
    assert world.codes == ["Denied", "OutcomeUnknown"]
    assert len(world.sagemaker.calls) == 1


def test_answer_that_cannot_be_saved_leaves_its_incident_one_end() -> None:
    """The report has the outcome that was told from memory; the incident goes on as one whose outcome is unknown."""
    world = World()
    node = world.node()
    node.answers = ["Denied"]
    world.unhealthy(node)
    world.deliver(Trouble(writes={2: Write.DOWN}))
    world.passes(2 * HOUR)
    assert (world.outcomes, world.ends) == (["failed Denied"], ["unverified"])


def test_letters_of_one_event_that_cannot_be_kept_have_ids_of_their_own() -> None:
    """Two requests in one batch, and DynamoDB refuses the node's item."""
    world = World()
    node = world.node()
    node.answers = ["Denied"]
    world.unhealthy(node)
    world.deliver()
    world.mode.value = "paused"
    world.skips(2 * MINUTE)
    for _ in range(2):
        world.redrive(world.letters[0])
    world.deliver(Trouble(writes={1: Write.REFUSED}))
    assert len({letter.id for letter in world.letters}) == len(world.letters) == 3


def test_budget_that_is_refused_lets_no_node_be_rebooted() -> None:
    """The cluster's budget item goes with every part that claims."""
    world = World()
    for number in (1, 2):
        world.unhealthy(world.node(number))
    assert world.deliver(Trouble(writes={1: Write.BUDGET_REFUSED})) == ["failed ValidationException"] * 2
    assert world.reboots == []


def test_conflicts_without_end_hand_back() -> None:
    """Others keep writing the cluster's items: nothing is called, and the message comes again."""
    world = World()
    node = world.node()
    world.unhealthy(node)

    def writes() -> None:
        other = world.alarm(node, "OK", name=f"hyperpod-reboot-{len(world.ledger.writes)}")
        world.deliver(only=[other])

    assert world.deliver(Trouble(writes=dict.fromkeys(range(1, 100), Write.RIVAL), rival=writes)) == []
    assert (len(world.queue), world.reboots) == (1, [])
    world.passes(MINUTE)
    assert world.reboots == [node.instance]


# -- the API


@pytest.mark.parametrize("fault", [CallFault.THROTTLED, CallFault.UNREACHABLE])
def test_call_that_was_turned_away_once_is_made_again_at_once(fault: CallFault) -> None:
    """Safe to repeat, as nothing was done."""
    world = World()
    world.sagemaker.faults = [fault]
    world.unhealthy(world.node())
    assert (world.deliver(), len(world.reboots)) == (["rebooted"], 1)


def test_call_that_is_turned_away_for_an_hour_fails_the_node_with_its_code() -> None:
    """The longest age of a report."""
    world = World()
    world.unhealthy(world.node())
    world.sagemaker.down["batch_reboot_cluster_nodes"] = throttled()
    world.deliver()
    world.passes(2 * HOUR)
    assert (world.ends, world.codes) == (["failed"], ["ThrottlingException"])


def test_node_that_the_answer_does_not_name_is_unknown() -> None:
    """Neither successful nor failed: it may be rebooting."""
    world = World()
    node = world.node()
    node.answers = ["unnamed"]
    world.unhealthy(node)
    assert world.deliver() == ["failed OutcomeUnknown"]
    assert world.incident(node).state is State.REBOOTED


def test_failed_nodes_give_claim_and_budget_back() -> None:
    """A busy node costs neither cooldown nor budget: the next report calls it again, and others have the budget."""
    world = World(None, FakeCluster(A, nodes=10))
    busy = world.node(1)
    busy.answers = ["InstanceIdInUse"]
    for number in (1, 2):
        world.unhealthy(world.node(number))
    assert sorted(world.deliver()) == ["failed InstanceIdInUse", "rebooted"]
    world.passes(MINUTE)
    world.unhealthy(busy)
    assert world.deliver() == ["rebooted"]


# -- messages without a node's record


@pytest.mark.parametrize("code", ["Unreadable", "ClusterNotResolved"])
def test_message_without_a_node_comes_again_while_the_dead_letter_queue_is_down(code: str) -> None:
    """It has one outcome, when its letter is there."""
    world = World(None, FakeCluster(A), FakeCluster(B))
    if code == "Unreadable":
        world.post("{")
    else:
        world.alarm(world.node(), "ALARM", cluster={})
    world.trouble = Trouble(letters=Takes.NONE)
    world.passes(MINUTE)
    assert (len(world.queue), world.told) == (1, [])
    world.trouble = Trouble()
    world.passes(HOUR)
    assert (world.codes, len(world.outcomes), len(world.told), world.aside) == ([code], 1, 1, [])


def test_message_without_a_node_whose_notice_is_not_taken_is_told_by_the_sweep() -> None:
    """Its letter is there, so its message is acknowledged."""
    world = World()
    world.post("{")
    world.deliver(Trouble(topic=Takes.NONE))
    assert (world.codes, world.told, world.queue) == (["Unreadable"], [], {})
    world.passes(2 * MINUTE)
    assert (world.codes, world.told, world.next_due()) == (["Unreadable"], ["Unreadable Unreadable"], None)


def test_message_without_a_node_is_told_once_however_often_it_is_killed() -> None:
    """Killed between letter and topic, and before it is acknowledged."""
    world = World()
    world.post("{")
    world.deliver(Trouble(kill=Effect.NOTICES))
    world.passes(HOUR)
    assert (set(world.codes), world.told) == ({"Unreadable"}, ["Unreadable Unreadable"])


def test_message_without_a_node_whose_letter_never_arrives_is_moved_by_the_queue_and_told() -> None:
    """The dead-letter queue takes nothing of ours for five receives; the topic hears of it all the same."""
    world = World()
    world.post("{")
    world.trouble = Trouble(letters=Takes.NONE)
    world.passes(HOUR)
    assert (len(world.aside), world.codes) == (1, [])
    assert (world.outcomes, world.told) == (["unreadable Unreadable"], ["Unreadable Unreadable"])


def test_notice_that_can_be_neither_kept_nor_sent_lets_its_message_come_again() -> None:
    """Ledger and topic are down: there is one outcome, when it is told."""
    world = World()
    world.post("{")
    assert world.deliver(Trouble(ledger_down=True, topic=Takes.NONE)) == []
    assert (world.codes, world.told, len(world.queue)) == (["Unreadable"], [], 1)
    world.passes(MINUTE)
    assert (world.outcomes, world.told, world.queue) == (["unreadable Unreadable"], ["Unreadable Unreadable"], {})


def test_failure_of_a_node_that_cannot_be_kept_is_kept_by_itself_until_it_is_sent() -> None:
    """DynamoDB refuses the node's item for good, and the dead-letter queue is down: one letter, one notice."""
    world = World()
    world.unhealthy(world.node())
    trouble = Trouble(writes={1: Write.REFUSED}, letters=Takes.NONE)
    assert world.deliver(trouble) == ["failed ValidationException"]
    assert (world.queue, world.codes, world.told) == ({}, [], [])
    world.passes(MINUTE * 2)
    assert (world.codes, world.told) == (["ValidationException"], ["Failed ValidationException"])
    assert world.next_due() is None


def test_message_at_its_fifth_receive_is_not_lost_where_there_is_no_time_to_answer_it() -> None:
    """It was handed back four times; now the function has no time left: the queue moves it."""
    world = World()
    world.unhealthy(world.node())
    world.trouble = Trouble(ledger_down=True, seconds=4)
    world.passes(HOUR)
    assert (world.outcomes, len(world.aside)) == (["failed ThrottlingException"], 1)


# -- look-ups that fail


def test_cluster_that_cannot_be_found_out_for_now_hands_back() -> None:
    """An EKS name, while SageMaker throttles: the node's key is unknown."""
    world = World(None, FakeCluster(A, eks="eks-a"))
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.alarm(node, "ALARM", cluster={"ClusterName": "eks-a"})
    assert (world.deliver(), len(world.queue)) == ([], 1)
    world.sagemaker.down.clear()
    world.passes(MINUTE)
    assert world.reboots == [node.instance]


def test_cluster_that_cannot_be_found_out_fails_at_the_fifth_receive_and_its_letter_can_be_redriven() -> None:
    """With the last error's code; once SageMaker answers, a redrive reboots the node."""
    world = World(None, FakeCluster(A, eks="eks-a"))
    node = world.node()
    world.sagemaker.down["describe_cluster"] = throttled()
    world.alarm(node, "ALARM", cluster={"ClusterName": "eks-a"})
    world.passes(HOUR)
    assert (world.outcomes, world.codes) == (["failed ThrottlingException"], ["ThrottlingException"])
    world.sagemaker.down.clear()
    world.redrive(world.letters[0])
    assert world.deliver() == ["rebooted"]


@pytest.mark.parametrize("error", [throttled(), denied()])
def test_composite_that_cannot_be_looked_up_goes_to_the_dead_letter_queue_as_it_came(error: Exception) -> None:
    """Throttled, at its fifth receive; denied, at once. A redrive of it works."""
    world = World()
    node = world.node()
    world.alarm(node, "ALARM", unheard=True)
    world.composite("hyperpod-reboot-any", "ALARM", ["hyperpod-reboot-gpu"])
    (body,) = (each.message.body for each in world.queue.values())
    world.cloudwatch.down["describe_alarms"] = error
    world.passes(HOUR)
    assert [letter.body for letter in world.letters] == [body]
    assert len(world.outcomes) == len(world.told) == 1
    world.cloudwatch.down.clear()
    world.redrive(world.letters[0])
    assert world.deliver() == ["rebooted"]


def test_tags_that_cannot_be_read_hand_back_and_end_as_they_came() -> None:
    """The alarm's tag names the cluster; at the fifth receive it is still unknown."""
    world = World(None, FakeCluster(A), FakeCluster(B))
    node = world.node()
    world.cloudwatch.down["list_tags_for_resource"] = throttled()
    world.alarm(node, "ALARM", cluster={}, tags={"hyperpod:cluster": A})
    (body,) = (each.message.body for each in world.queue.values())
    world.passes(HOUR)
    assert ([letter.body for letter in world.letters], world.outcomes) == ([body], ["failed ThrottlingException"])
    world.cloudwatch.down.clear()
    world.redrive(world.letters[0])
    assert world.deliver() == ["rebooted"]


def test_final_no_to_a_lookup_is_one_failure_however_often_its_event_comes() -> None:
    """The cluster of an alarm's event may not be described: one letter, and the copy is a duplicate."""
    world = World(None, FakeCluster(A, eks="eks-a"))
    world.sagemaker.down["describe_cluster"] = denied()
    id_ = world.alarm(world.node(), "ALARM", cluster={"ClusterName": "eks-a"})
    assert world.deliver() == ["failed AccessDeniedException"]
    world.comes_again(id_)
    assert world.deliver() == ["duplicate"]
    assert (world.codes, world.told) == (["AccessDeniedException"], ["Failed AccessDeniedException"])


def test_ok_alarm_whose_cluster_cannot_be_found_out_is_no_failure() -> None:
    """Denied, or throttled to the last receive."""
    for trouble in (denied(), throttled()):
        world = World(None, FakeCluster(A, eks="eks-a"))
        world.sagemaker.down["describe_cluster"] = trouble
        world.alarm(world.node(), "OK", cluster={"ClusterName": "eks-a"})
        world.passes(HOUR)
        assert [outcome.split()[0] for outcome in world.outcomes] == ["cleared"]
        assert world.letters == []


def test_muted_alarm_without_a_known_end_needs_no_lookup() -> None:
    """Nothing is done about it, whatever its cluster is."""
    world = World(None, FakeCluster(A, eks="eks-a"))
    world.sagemaker.down["describe_cluster"] = throttled()
    world.alarm(world.node(), "ALARM", cluster={"ClusterName": "eks-a"}, muted=True)
    assert world.deliver() == ["deferred"]


def test_nodes_that_cannot_be_listed_wait() -> None:
    """Many of a cluster with protected groups: nothing is judged without their groups."""
    world = World(Settings(budget_percent=100), FakeCluster(A, protected=("controllers",)), nodes=30)
    world.sagemaker.down["list_cluster_nodes"] = throttled()
    for number in range(1, 31):
        world.unhealthy(world.node(number))
    assert world.deliver() == ["waiting ThrottlingException"] * 30
    world.sagemaker.down.clear()
    world.passes(MINUTE)
    assert len(world.reboots) == 30


def test_answer_that_dynamodb_refuses_for_one_node_is_recorded_for_the_others() -> None:
    """Bisected by node."""
    world = World()
    bad, good = world.node(1), world.node(2)
    for node in (bad, good):
        world.unhealthy(node)
    before = world.ledger.before_save

    def refuse(records: Sequence[Record]) -> None:
        before(records)
        for record in records:
            if isinstance(record, NodeRecord) and record.key.id == bad.instance and record.version == 1:
                raise refused()

    world.ledger.before_save = refuse
    assert world.deliver() == ["rebooted", "rebooted"]
    assert world.incident(good).state is State.REBOOTED
    assert [answer.node.id for answer in world.outside.unrecorded_answers] == [bad.instance, good.instance]
    world.ledger.before_save = before
    world.passes(2 * MINUTE)
    assert world.codes == ["OutcomeUnknown"]


def test_happenings_of_one_incident_that_cannot_be_told_become_one_entry() -> None:
    """The topic is down while a busy node is tried again and again: one notice, which says how often."""
    world = World(Settings(retry_attempts=3))
    node = world.node()
    node.answers = ["InstanceIdInUse"] * 3
    world.outside.topic_takes = Takes.NONE
    world.unhealthy(node)
    world.deliver()
    world.passes(10 * MINUTE)
    assert [entry.times for entry in world.record(node).outbox] == [3]
    world.outside.topic_takes = Takes.ALL
    world.passes(20 * MINUTE)
    assert world.told == ["Failed InstanceIdInUse", "Retrying InstanceIdInUse"]
    assert "3 times" in world.notices[0].mail


def test_node_with_twenty_unsent_entries_is_not_judged() -> None:
    """A machine's report waits, and a person's request comes again."""
    world = World()
    node = world.node()
    world.mode.value = "paused"
    world.outside.letters_take = Takes.NONE
    for _ in range(20):
        world.request(node.instance)
        world.deliver()
    world.mode.value = "active"
    world.passes(2 * MINUTE)
    world.unhealthy(node)
    world.request(node.instance)
    assert world.deliver() == ["waiting LedgerBusy"]
    assert (len(world.record(node).outbox), world.reboots) == (20, [])
    world.outside.letters_take = Takes.ALL
    world.passes(HOUR)
    assert (world.reboots, len(world.codes) >= 20, world.queue) == ([node.instance], True, {})


# -- many nodes


def test_two_hundred_nodes_of_a_cluster_are_listed_not_described_one_by_one() -> None:
    """Where groups are protected each node is looked up, and so are those that may have a listed logical ID."""
    world = World(Settings(budget_percent=100), FakeCluster(A, nodes=500, protected=("controllers",)), nodes=200)
    for half in (range(1, 101), range(101, 201)):
        for number in half:
            world.unhealthy(world.node(number))
        assert world.deliver() == ["rebooted"] * 100
        world.skips(MINUTE)
    assert world.sagemaker.asked.get("describe_cluster_node", 0) <= 10
    assert world.sagemaker.asked["list_cluster_nodes"] <= 4


def test_looks_at_many_nodes_of_a_cluster_list_them() -> None:
    """Over ten of a cluster: one list, not a call for each."""
    world = World(Settings(budget_percent=100), nodes=40)
    for number in range(1, 41):
        world.unhealthy(world.node(number))
    world.deliver()
    world.passes(HOUR)
    assert world.ends == ["unverified"] * 40
    assert world.sagemaker.asked.get("describe_cluster_node", 0) == 0


@pytest.mark.parametrize("by_sweep", [False, True])
def test_entry_that_cannot_be_written_as_mail_holds_up_no_other(
    by_sweep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours in a text: the others are sent, every outcome is logged, and it is tried again later."""
    world = World(Settings(clusters=("ml-z",)))
    odd, other = world.node(1), world.node(2)

    def write(entries: Sequence[Entry], frame: Frame, *, summary: str) -> str:
        if any(entry.node and entry.node.id == odd.instance for entry in entries):
            raise ZeroDivisionError
        return mail_text(entries, frame, summary=summary)

    monkeypatch.setattr("node_remediation.outbox.notifications.mail_text", write)
    world.unhealthy(odd)
    world.unhealthy(other)
    world.outside.topic_takes = Takes.NONE if by_sweep else Takes.ALL
    assert world.deliver() == ["refused ClusterNotAllowed"] * 2
    world.outside.topic_takes = Takes.ALL
    world.passes(5 * MINUTE)
    assert {notice.node for notice in world.notices} == {other.instance}
    monkeypatch.undo()
    world.passes(HOUR)
    assert {notice.node for notice in world.notices} == {odd.instance, other.instance}
