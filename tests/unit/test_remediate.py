"""The order of the steps, and what becomes of messages when a part of the world says no."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.model import Ending, IdKind, Node, Outcome, Result
from node_remediation.reboot import Answer, Answers
from node_remediation.settings import Settings
from tests.unit.fakes import (
    DENIED,
    LOST,
    NOT_FOUND,
    NOW,
    THROTTLED,
    FakeAlarms,
    FakeClusters,
    FakeMode,
    FakeRebooter,
    FakeReporter,
    World,
    health_event,
    instance_id,
    message,
    request,
    sample,
    unmuted,
)


def outcomes(endings: tuple[Ending, ...]) -> list[tuple[str | None, str, str | None]]:
    return [(e.case.node.id if e.case.node else None, e.outcome.value, e.code) for e in endings]


def failing(code: str, result: Result = Result.FAILED, *ids: str) -> FakeRebooter:
    """A rebooter that answers so for the given nodes, or for all."""
    return FakeRebooter(
        lambda _, node: Answer(node, result, code, f"said {code}") if not ids or node.id in ids else None
    )


def test_unhealthy_node_is_rebooted_once() -> None:
    """A health event becomes one call for its node, and the message is done with."""
    world = World()
    handling = world.handle(message(health_event()))
    assert world.rebooter.calls == [("ml-a", (Node(IdKind.NODE_ID, instance_id(1)),))]
    assert outcomes(handling.endings) == [(instance_id(1), "rebooted", None)]
    assert handling.handed_back == {}


def test_reports_of_one_cluster_share_calls() -> None:
    """Sixty nodes of one cluster in one batch take three calls."""
    world = World()
    handling = world.handle(*(message(health_event(instance_id(n)), id=f"m-{n}") for n in range(60)))
    assert [len(nodes) for _, nodes in world.rebooter.calls] == [25, 25, 10]
    assert world.telemetry.sizes == [("ml-a", 25), ("ml-a", 25), ("ml-a", 10)]
    assert {e.outcome for e in handling.endings} == {Outcome.REBOOTED}


def test_second_report_of_a_node_is_a_duplicate() -> None:
    """The same node reported twice in a batch is rebooted once; both messages are done with."""
    world = World()
    handling = world.handle(*(message(health_event(), id=f"m-{n}") for n in range(3)))
    assert world.rebooter.rebooted == [instance_id(1)]
    assert sorted(e.outcome.value for e in handling.endings) == ["duplicate", "duplicate", "rebooted"]


def test_odd_id_is_sent_alone_and_does_not_touch_its_neighbours() -> None:
    """The documented sample's ID does not match the API's pattern: it has a call to itself."""
    world = World(rebooter=failing("ValidationException", Result.FAILED, "i-12345678abcdefghi"))
    handling = world.handle(
        message(health_event("i-12345678abcdefghi"), id="odd"), message(health_event(instance_id(2)), id="fit")
    )
    assert [[node.id for node in nodes] for _, nodes in world.rebooter.calls] == [
        [instance_id(2)],
        ["i-12345678abcdefghi"],
    ]
    assert outcomes(handling.endings) == [
        (instance_id(2), "rebooted", None),
        ("i-12345678abcdefghi", "failed", "ValidationException"),
    ]


def test_unreadable_body_is_reported_and_changes_nothing_for_its_neighbours() -> None:
    """A body that nobody can parse ends as unreadable; the node beside it is rebooted."""
    world = World()
    handling = world.handle(message("{not json", id="bad"), message(health_event(), id="good"))
    assert sorted(e.outcome.value for e in handling.endings) == ["rebooted", "unreadable"]
    assert world.reporter.reported[0].case.message.body == "{not json"


@pytest.mark.parametrize("receives", [1, 4])
def test_throttled_report_is_handed_back_before_its_last_receive(receives: int) -> None:
    """A message none of whose nodes was rebooted comes again, and nobody is told yet."""
    world = World(rebooter=failing("ThrottlingException", Result.NOT_CALLED))
    handling = world.handle(message(health_event(), receives=receives))
    assert handling.endings == ()
    assert world.intake.again == ["m-1"]
    assert world.reporter.reported == []


def test_throttled_report_fails_at_its_last_receive() -> None:
    """The fifth receive is the last: the function itself reports the node, with the last error's code."""
    world = World(rebooter=failing("ThrottlingException", Result.NOT_CALLED))
    handling = world.handle(message(health_event(), receives=5))
    assert outcomes(handling.endings) == [(instance_id(1), "failed", "ThrottlingException")]
    assert handling.handed_back == {}


def test_message_with_a_rebooted_node_is_not_handed_back() -> None:
    """Of a request for two nodes one was rebooted and one throttled: going back would reboot the first again."""
    world = World(rebooter=failing("ThrottlingException", Result.NOT_CALLED, instance_id(2)))
    handling = world.handle(message(request(instance_id(1), instance_id(2))))
    assert outcomes(handling.endings) == [
        (instance_id(1), "rebooted", None),
        (instance_id(2), "failed", "ThrottlingException"),
    ]


def test_message_with_an_unknown_outcome_is_not_handed_back() -> None:
    """What may have been rebooted is never called again by itself."""
    results = {instance_id(1): Result.UNKNOWN, instance_id(2): Result.NOT_CALLED}
    world = World(rebooter=FakeRebooter(lambda _, n: Answer(n, results[n.id], "OutcomeUnknown", "lost")))
    handling = world.handle(message(request(instance_id(1), instance_id(2))))
    assert [e.outcome for e in handling.endings] == [Outcome.FAILED, Outcome.FAILED]
    assert handling.handed_back == {}


def test_failed_node_of_a_handed_back_message_is_reported_when_it_comes_again() -> None:
    """One node failed, one throttled, none rebooted: the message goes back whole, so nothing is said twice."""
    results = {instance_id(1): Result.FAILED, instance_id(2): Result.NOT_CALLED}
    world = World(rebooter=FakeRebooter(lambda _, n: Answer(n, results[n.id], "InstanceIdInUse", "busy")))
    handling = world.handle(message(request(instance_id(1), instance_id(2))))
    assert handling.endings == ()
    assert world.reporter.reported == []
    assert list(handling.handed_back) == ["m-1"]


def test_a_cluster_whose_call_got_no_answer_is_not_called_on() -> None:
    """After a lost answer the other 25 nodes go back uncalled; another cluster is not held up."""
    world = World(
        rebooter=FakeRebooter(
            lambda c, n: Answer(n, Result.UNKNOWN, "OutcomeUnknown", "lost", LOST) if c == "ml-a" else None
        )
    )
    messages = [message(health_event(instance_id(n)), id=f"m-{n}") for n in range(50)]
    handling = world.handle(*messages, message(health_event(instance_id(99), cluster="ml-b"), id="other"))
    assert sorted((cluster, len(nodes)) for cluster, nodes in world.rebooter.calls) == [("ml-a", 25), ("ml-b", 1)]
    assert len(handling.handed_back) == 25
    assert set(handling.handed_back.values()) == {"ReadTimeoutError: not called yet: timed out"}
    assert [e.outcome.value for e in handling.endings if e.case.cluster == "ml-b"] == ["rebooted"]


def test_no_call_starts_close_to_the_deadline() -> None:
    """With too little time left for a call and its reports, everything comes again."""
    world = World(seconds_left=20)
    handling = world.handle(message(health_event()))
    assert world.rebooter.calls == []
    assert list(handling.handed_back) == ["m-1"]


def test_unreported_failure_is_handed_back() -> None:
    """The topic is down: the message whose node failed comes again, its neighbour does not."""
    world = World(
        rebooter=failing("InstanceIdInUse", Result.FAILED, instance_id(1)),
        reporter=FakeReporter(lambda ending: ending.outcome is Outcome.FAILED),
    )
    handling = world.handle(
        message(health_event(instance_id(1)), id="a"), message(health_event(instance_id(2)), id="b")
    )
    assert handling.handed_back == {"a": "topic: down"}
    assert outcomes(handling.endings) == [(instance_id(2), "rebooted", None)]


def test_topic_hears_nothing_that_the_queue_does_not_have() -> None:
    """The dead-letter queue comes first: while it is down, nobody is told of what cannot be redriven yet."""
    world = World(
        rebooter=failing("InstanceIdInUse"),
        reporter=FakeReporter(letters_broken=lambda ending: ending.code is not None),
    )
    handling = world.handle(message(health_event()))
    assert handling.handed_back == {"m-1": "dead-letter queue: down"}
    assert world.reporter.reported == []


def test_cluster_that_is_not_allowed_is_refused() -> None:
    """The allow-list of clusters holds, and a person is told."""
    world = World(settings=Settings(clusters=("ml-b",)))
    handling = world.handle(message(health_event()))
    assert outcomes(handling.endings) == [(instance_id(1), "refused", "ClusterNotAllowed")]
    assert world.rebooter.calls == []


def test_node_refused_in_a_batch_is_refused_once() -> None:
    """A hundred reports of a node that is refused are one mail; what a person asked for is answered each time."""
    world = World(mode=FakeMode("paused"))
    storm = [message(health_event(id=f"e-{n}"), id=f"m-{n}") for n in range(100)]
    asked = [message(request(instance_id(1)), id=f"r-{n}") for n in range(2)]
    handling = world.handle(*storm, *asked)
    assert Counter(e.outcome for e in handling.endings) == {Outcome.REFUSED: 3, Outcome.DUPLICATE: 99}


def test_healthy_report_clears_an_earlier_unhealthy_one_in_the_batch() -> None:
    """Whatever the order of arrival, a node that was healthy since is left alone."""
    late = health_event(time="2026-11-23T02:10:00Z", id="late")
    well = health_event(status="Healthy", time="2026-11-23T02:12:00Z", id="well")
    for bodies in ((late, well), (well, late)):
        world = World()
        handling = world.handle(*(message(body, id=f"m-{n}") for n, body in enumerate(bodies)))
        assert {e.outcome for e in handling.endings} == {Outcome.CLEARED}
        assert world.rebooter.calls == []


def test_unhealthy_report_after_a_healthy_one_is_rebooted() -> None:
    """A node that fell sick again is rebooted."""
    world = World()
    world.handle(
        message(health_event(status="Healthy", time="2026-11-23T02:10:00Z"), id="well"),
        message(health_event(time="2026-11-23T02:12:00Z"), id="sick"),
    )
    assert world.rebooter.rebooted == [instance_id(1)]


def alarm_event(
    *, cluster: str | None = "eks-a", name: str = "hyperpod-xid", state: str = "ALARM"
) -> dict[str, object]:
    event = unmuted(sample("alarm-single-metric"))
    event["time"] = NOW.isoformat()
    event["detail"]["alarmName"] = name
    event["detail"]["state"] |= {"value": state, "timestamp": NOW.isoformat()}
    dimensions = {"InstanceId": instance_id(1)} | ({"ClusterName": cluster} if cluster else {})
    event["detail"]["configuration"]["metrics"][0]["metricStat"]["metric"]["dimensions"] = dimensions
    return event


def test_alarm_cluster_is_looked_up_as_eks_name() -> None:
    """ContainerInsights dimensions name the EKS cluster; the call names the HyperPod one."""
    world = World(clusters=FakeClusters(eks={"eks-a": "ml-a"}))
    world.handle(message(alarm_event()))
    assert [cluster for cluster, _ in world.rebooter.calls] == ["ml-a"]


def test_health_event_needs_no_lookup() -> None:
    """HyperPod's own events name HyperPod clusters."""
    world = World()
    world.handle(message(health_event()))
    assert world.clusters.asked == []
    assert world.alarms.asked == []


@pytest.mark.parametrize(
    ("tags", "settings", "cluster"),
    [
        ({"hyperpod:cluster": "tagged"}, Settings(default_cluster="fallback"), "tagged"),
        ({}, Settings(default_cluster="fallback"), "fallback"),
        ({}, Settings(clusters=("only",)), "only"),
    ],
)
def test_alarm_without_cluster_is_resolved_in_order(tags: dict[str, str], settings: Settings, cluster: str) -> None:
    """The alarm's tag, the default cluster, the only cluster there is."""
    arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:ServerCpuTooHigh"
    world = World(settings=settings, alarms=FakeAlarms(tags_of={arn: tags}))
    if cluster == "tagged":
        world = replace_settings(world, settings)
    world.handle(message(alarm_event(cluster=None)))
    assert [called for called, _ in world.rebooter.calls] == [cluster]


def replace_settings(world: World, settings: Settings) -> World:
    return replace(world, settings=settings)


def test_alarm_without_any_cluster_is_refused() -> None:
    """With several clusters and nothing that names one, nothing is guessed."""
    world = World()
    handling = world.handle(message(alarm_event(cluster=None)))
    assert outcomes(handling.endings) == [(instance_id(1), "refused", "ClusterNotResolved")]
    assert world.rebooter.calls == []


def test_alarm_of_another_prefix_is_ignored() -> None:
    """A topic may carry alarms that this system was not asked to act on, even ones that name an instance."""
    world = World()
    handling = world.handle(message(alarm_event(name="billing-high")))
    assert [e.outcome for e in handling.endings] == [Outcome.IGNORED]
    assert world.rebooter.calls == []


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [(DENIED, "failed", "AccessDeniedException"), (NOT_FOUND, "failed", "ResourceNotFound")],
)
def test_cluster_lookup_that_says_no_fails_the_node(error: object, outcome: str, code: str) -> None:
    """A fact that cannot be had never leads to a reboot; what AWS said is what people get."""
    world = World(clusters=FakeClusters(error=error))  # type: ignore[arg-type]
    handling = world.handle(message(alarm_event()))
    assert outcomes(handling.endings) == [(instance_id(1), outcome, code)]
    assert world.rebooter.calls == []


def test_cluster_lookup_that_is_throttled_hands_back() -> None:
    """Passing trouble with a fact is tried again later."""
    world = World(clusters=FakeClusters(error=THROTTLED))
    handling = world.handle(message(alarm_event()))
    assert handling.handed_back == {"m-1": "ThrottlingException: Rate exceeded"}


def test_ok_alarm_whose_cluster_cannot_be_found_out_fails_nobody() -> None:
    """That a node is well needs nobody's attention, whatever a lookup says, even at the last receive."""
    for error, receives in ((DENIED, 1), (THROTTLED, 5)):
        world = World(clusters=FakeClusters(error=error))
        handling = world.handle(message(alarm_event(state="OK"), receives=receives))
        assert [e.outcome for e in handling.endings] == [Outcome.CLEARED]


def test_muted_alarm_is_deferred_without_lookups() -> None:
    """Muting is judged before everything else: not even the cluster is looked up."""
    world = World()
    event = alarm_event()
    event["detail"]["muteDetail"] = {"mutedByArn": "arn:mute"}  # type: ignore[index]
    handling = world.handle(message(event))
    assert [(e.outcome, e.reason) for e in handling.endings] == [(Outcome.DEFERRED, "muted by arn:mute")]
    assert world.clusters.asked == []
    assert world.rebooter.calls == []


def composite_event(state: str = "ALARM") -> dict[str, object]:
    event = unmuted(sample("alarm-composite-suppressed"))
    event["detail"]["alarmName"] = "hyperpod-any"
    event["detail"]["state"]["value"] = state
    return event


def child(name: str, node: str | None, state: str = "ALARM") -> dict[str, object]:
    dimensions = (
        [{"Name": "InstanceId", "Value": node}, {"Name": "HyperPodClusterName", "Value": "ml-a"}] if node else []
    )
    return {"AlarmName": name, "AlarmArn": f"arn::alarm:{name}", "StateValue": state, "Dimensions": dimensions}


def test_composite_alarm_reboots_the_nodes_of_its_children() -> None:
    """The children named in reasonData are looked up, and the one in ALARM names the node."""
    world = World(alarms=FakeAlarms([child("ServerCpuTooHigh", instance_id(7))]))
    world.handle(message(composite_event()))
    assert world.rebooter.rebooted == [instance_id(7)]
    assert world.alarms.asked == [["ServerCpuTooHigh"]]


def test_composite_alarm_is_followed_through_nested_composites() -> None:
    """A composite of composites leads to the metric alarms below; a circle ends."""
    itself = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:ServerCpuTooHigh"
    reason = json.dumps({"triggeringAlarms": [{"arn": "arn::alarm:deep"}, {"arn": itself}]})
    inner = {"AlarmName": "ServerCpuTooHigh", "AlarmRule": "ALARM(deep)", "StateReasonData": reason}
    world = World(alarms=FakeAlarms([inner, child("deep", instance_id(8))]))
    world.handle(message(composite_event()))
    assert world.rebooter.rebooted == [instance_id(8)]


@pytest.mark.parametrize(
    "children",
    [
        [],
        [child("ServerCpuTooHigh", None)],
        [child("ServerCpuTooHigh", "i-0", "INSUFFICIENT_DATA")],
        [child("ServerCpuTooHigh", "i-0", "OK"), child("ServerCpuTooHigh", "i-1", "INSUFFICIENT_DATA")],
    ],
)
def test_composite_alarm_without_a_sick_node_is_refused(children: list[dict[str, object]]) -> None:
    """Children that are gone, name no node or are neither in ALARM nor well: a person should know."""
    world = World(alarms=FakeAlarms(children))
    handling = world.handle(message(composite_event()))
    assert [(e.outcome.value, e.code) for e in handling.endings] == [("refused", "NodeNotResolved")]


def test_composite_alarm_whose_children_are_well_again_is_cleared() -> None:
    """It went into ALARM and out again before it was looked at: there is nothing to do and nobody to tell."""
    world = World(alarms=FakeAlarms([child("ServerCpuTooHigh", "i-0", "OK")]))
    handling = world.handle(message(composite_event()))
    assert [(e.outcome.value, e.code) for e in handling.endings] == [("cleared", None)]
    assert world.rebooter.calls == []
    assert world.reporter.letters == []


def test_composite_alarm_that_cannot_be_looked_up_is_tried_again_then_fails() -> None:
    """Throttled: handed back; denied: failed, with what AWS said."""
    throttled = World(alarms=FakeAlarms(error=THROTTLED)).handle(message(composite_event()))
    assert list(throttled.handed_back) == ["m-1"]
    denied = World(alarms=FakeAlarms(error=DENIED)).handle(message(composite_event()))
    assert [(e.outcome.value, e.code) for e in denied.endings] == [("failed", "AccessDeniedException")]


def test_answer_for_a_node_that_was_not_asked_for_is_reported() -> None:
    """Every entry of Failed reaches people, even one the call did not name."""
    stranger = Node(IdKind.NODE_ID, instance_id(66))

    class Chatty(FakeRebooter):
        def reboot(self, cluster: str, nodes: Sequence[Node], *, may_call: Callable[[], bool]) -> Answers:
            known = super().reboot(cluster, nodes, may_call=may_call)
            unasked = Answer(stranger, Result.FAILED, "InstanceIdNotFound", "who?")
            return Answers([unasked, *known.answers], known.nodes_per_call)

    world = World(rebooter=Chatty())
    handling = world.handle(message(health_event()))
    assert outcomes(handling.endings) == [
        (stranger.id, "failed", "InstanceIdNotFound"),
        (instance_id(1), "rebooted", None),
    ]
    assert outcomes(tuple(world.reporter.letters)) == [(stranger.id, "failed", "InstanceIdNotFound")]


kinds = st.sampled_from(["sick", "well", "junk", "request", "muted"])


@given(
    batch=st.lists(
        st.tuples(kinds, st.integers(0, 5), st.sampled_from(["ml-a", "ml-b"]), st.integers(1, 5)), max_size=30
    ),
    results=st.dictionaries(st.integers(0, 5), st.sampled_from(list(Result))),
)
def test_every_message_ends_or_comes_again_and_no_node_is_called_twice(
    batch: list[tuple[str, int, str, int]], results: dict[int, Result]
) -> None:
    """Promise 1, over random batches and answers: each message is either over in all its parts or handed back."""
    by_id = {instance_id(n): result for n, result in results.items()}
    world = World(
        rebooter=FakeRebooter(lambda _, n: Answer(n, by_id[n.id], "Code", "words") if n.id in by_id else None)
    )
    messages = []
    for index, (what, number, cluster, receives) in enumerate(batch):
        node = instance_id(number)
        body: object = {
            "sick": health_event(node, cluster),
            "well": health_event(node, cluster, "Healthy"),
            "junk": "[]",
            "request": request(node, instance_id((number + 1) % 6), cluster=cluster),
            "muted": alarm_event() | {"detail": {**alarm_event()["detail"], "muteDetail": {"mutedByArn": "m"}}},  # type: ignore[dict-item]
        }[what]
        messages.append(message(body, id=f"m-{index}", receives=receives))
    handling = world.handle(*messages)
    ended = {e.case.message.id for e in handling.endings}
    assert ended | set(handling.handed_back) == {m.id for m in messages}
    assert not ended & set(handling.handed_back)
    assert sorted(world.intake.again) == sorted(handling.handed_back)
    called = [(cluster, node.id) for cluster, nodes in world.rebooter.calls for node in nodes]
    assert len(called) == len(set(called))
    expected = {m.id: 2 if kind == "request" else 1 for m, (kind, *_) in zip(messages, batch, strict=True)}
    for message_id in ended:
        assert sum(e.case.message.id == message_id for e in handling.endings) == expected[message_id]
    last = {m.id for m in messages if m.receives == 5}
    assert not last & set(handling.handed_back)
