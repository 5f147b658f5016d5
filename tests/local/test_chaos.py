"""`local.chaos`: what its plan holds, how it reads what it sees, and that its verdict finds what is broken."""

import json
from dataclasses import replace
from typing import Any

import pytest

from local.aws import LocalAws
from local.chaos.acts import ACTS_PER_SECOND, Place, plan
from local.chaos.performer import Performer
from local.chaos.verdict import Findings, Limits, SeenReboot, Sent, sent_by, violations
from local.observing import DeadLetter, LedgerItem, LogLine, TopicEntry

_LIMITS = Limits(cooldown=30, max_reboots_per_node=2, budget_percent=20, budget_min_nodes=2, budget_window=60)
_PLACES = [Place("ml-a", 40), Place("ml-b", 20, continuous=False), Place("ml-c", 16, repairs=True)]
_NODE = ("ml-a", "i-1")
_IN_USE = (*_NODE, "InstanceIdInUse")


def _line(**fields: Any) -> LogLine:
    return LogLine({"cluster": "ml-a", "node": "i-1", "incident": "inc-1", "event_id": "e-1"} | fields)


# One node is rebooted and recovers; another's reboot fails.
_GOOD = Findings(
    limits=_LIMITS,
    at=1_000.0,
    nodes={"ml-a": 10},
    reboots=[SeenReboot(*_NODE, 100.0)],
    failed=[_IN_USE],
    sent=[Sent("e-1", 1), Sent("e-2", 1), Sent("e-3", None)],
    lines=[
        _line(outcome="rebooted"),
        _line(state="rebooted", event_id=None),
        _line(state="recovered", event_id=None),
        _line(event_id="e-2", incident="inc-2", outcome="failed", code="InstanceIdInUse"),
        _line(event_id=None, incident="inc-2", state="failed", code="InstanceIdInUse"),
        _line(event_id="e-3", incident=None, outcome="cleared"),
        _line(event_id="e-3", incident=None, outcome="cleared", node="i-2"),
    ],
    letters=[DeadLetter(_IN_USE, id="letter-1", incident="inc-2", event_id="e-2")],
    told=[TopicEntry(_IN_USE, "Failed")],
    items=[LedgerItem("node#ml-a#i-1")],
)


def test_a_good_run_has_no_violation() -> None:
    assert violations(_GOOD) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"reboots": [SeenReboot(*_NODE, 100.0), SeenReboot(*_NODE, 120.0)]},
            "ml-a/i-1 was rebooted twice within 20.0 s",
        ),
        (
            {
                "reboots": [SeenReboot(*_NODE, 100.0), SeenReboot(*_NODE, 140.0)],
                "items": [LedgerItem("node#ml-a#i-1", claims=(98.0,))],
            },
            "ml-a/i-1 was rebooted twice within 0.0 s",
        ),
        ({"reboots": [SeenReboot(*_NODE, at) for at in (100.0, 200.0, 300.0)]}, "ml-a/i-1 was rebooted 3 times"),
        ({"reboots": [SeenReboot("ml-a", f"i-{n}", 100.0 + n) for n in range(3)]}, "ml-a: 3 reboots within 60 s, its"),
        ({"sent": [*_GOOD.sent, Sent("e-9", 1)]}, "event e-9: 0 outcomes of 1 reports in 1 messages"),
        ({"sent": [*_GOOD.sent, Sent("e-1", 1)]}, "event e-1: 1 outcomes of 2 reports in 2 messages"),
        ({"lines": [*_GOOD.lines, _line(outcome="rebooted")]}, "event e-1: 2 outcomes, only 1 reports"),
        ({"lines": [*_GOOD.lines, _line(state="unverified")]}, "incident inc-1 ended as recovered and unverified"),
        (
            {"lines": [line for line in _GOOD.lines if line["state"] != "recovered"]},
            "incident inc-1 neither ended nor is in the ledger",
        ),
        (
            {"items": [LedgerItem("k", 2_000.0, "inc-1")]},
            "incident inc-1 ended as recovered, and is still in the ledger",
        ),
        ({"items": [LedgerItem("k", 900.0, "inc-9")]}, "ledger item k has been due for 100 s"),
        ({"items": [LedgerItem("k", None, "inc-9")]}, "ledger item k has an incident and waits for nothing"),
        ({"items": [LedgerItem("k", 2_000.0, unsent=2)]}, "ledger item k has 2 unsent entries"),
        ({"waiting": 3}, "3 messages are still on the intake queue"),
        ({"failed": [("ml-a", "i-7", "InternalServerError")]}, "ml-a/i-7: the API answered InternalServerError, of"),
        ({"told": []}, "ml-a/i-1: there is a letter with InstanceIdInUse, of which the topic did not hear"),
        (
            {"told": [*_GOOD.told, TopicEntry((*_NODE, "Paused"), "Refused")]},
            "ml-a/i-1: the topic told of Paused, and there is no",
        ),
        ({"letters": []}, "ml-a/i-1: the log tells of InstanceIdInUse, and there is no letter"),
        (
            {"letters": [*_GOOD.letters, DeadLetter(_IN_USE, id="letter-2", incident="inc-2", event_id="e-2")]},
            "2 letters about ('inc-2', 'InstanceIdInUse'), the log tells of 1",
        ),
    ],
)
def test_what_is_broken_is_found(change: dict[str, Any], said: str) -> None:
    """Each by a line that names it."""
    found = violations(replace(_GOOD, **change))
    assert any(violation.startswith(said) for violation in found), found


@pytest.mark.parametrize(
    "change",
    [
        {  # the first call came 2 s after its claim
            "reboots": [SeenReboot(*_NODE, 100.0), SeenReboot(*_NODE, 128.0)],
            "items": [LedgerItem("node#ml-a#i-1", claims=(98.0, 128.0))],
        },
        {"lines": [*_GOOD.lines, _line(outcome="duplicate")]},  # the message came again
        {"lines": [*_GOOD.lines, replace(_line(outcome="rebooted"), crashed=True)]},
        {"told": [TopicEntry(("ml-a", "logical-1", "InstanceIdInUse"), "Failed")], "same": {"i-1": "logical-1"}},
        {"letters": [*_GOOD.letters, *_GOOD.letters]},  # sent again, with the same ID
        {"told": [*_GOOD.told, TopicEntry((*_NODE, "InternalServerError"), "Failed", retrying=True)]},
        {
            "told": [
                TopicEntry(_IN_USE, "Failed", retrying=True),
                TopicEntry((*_NODE, "Paused"), "Refused"),
            ],  # when it was to be tried again
            "lines": [*_GOOD.lines, _line(event_id=None, state="refused", incident="inc-3", code="Paused")],
        },
        {
            "failed": [("ml-a", "i-7", "X")],
            "told": [*_GOOD.told, TopicEntry(("ml-a", "i-7", "OutcomeUnknown"), "Failed", retrying=True)],
        },
        {
            "lines": [*_GOOD.lines, _line(event_id="e-4", incident="inc-4", outcome="waiting")],
            "sent": [*_GOOD.sent, Sent("e-4", 1)],
            "items": [LedgerItem("node#ml-a#i-1", 2_000.0, "inc-4")],
        },
    ],
)
def test_what_may_happen_is_no_violation(change: dict[str, Any]) -> None:
    assert violations(replace(_GOOD, **change)) == []


def test_a_plan_is_the_same_for_the_same_seed_and_fits_its_clusters() -> None:
    """Every kind of act is in it, within its time; nodes exist, logical IDs are for Continuous clusters only."""
    acts = plan(7, 120, _PLACES)
    assert acts == plan(7, 120, _PLACES) != plan(8, 120, _PLACES)
    assert len(acts) == 120 * ACTS_PER_SECOND
    times = [act.at for act in acts]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 120
    assert len({act.do for act in acts}) == 12
    places = {place.name: place for place in _PLACES}
    for act in acts:
        place = places[act.what["cluster"]]
        assert hasattr(Performer, act.do)
        assert act.what.get("node", 0) < place.nodes
        assert not act.what.get("by_logical_id") or place.continuous
        assert "repair" not in act.what or place.repairs


def _event(kind: str = "x", source: str = "aws.sagemaker", **detail: Any) -> str:
    return json.dumps({"id": "e-1", "source": source, "detail-type": kind, "detail": detail})


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (_event(InstanceId="i-1"), [Sent("e-1", 1)]),
        (_event(source="aws.cloudwatch", alarmName="hyperpod-reboot-1", state={"value": "OK"}), [Sent("e-1", 1)]),
        (_event(source="aws.cloudwatch", alarmName="hyperpod-reboot-1", state={"value": "INSUFFICIENT_DATA"}), []),
        (_event(source="aws.cloudwatch", alarmName="node-1", state={"value": "ALARM"}), []),
        (
            _event(
                source="aws.cloudwatch",
                alarmName="hyperpod-reboot-1",
                state={"value": "ALARM"},
                configuration={"alarmRule": "TRUE"},
            ),
            [Sent("e-1", None)],
        ),
        (_event(source="hyperpod.node-remediation", NodeIds=["i-1"], NodeLogicalIds=["a", "b"]), [Sent("e-1", 3)]),
        ("{", [Sent("m-1", 1)]),
        ('{"node": "i-1"}', [Sent("m-1", 1)]),
    ],
)
def test_a_message_is_counted_by_the_reports_in_it(body: str, sent: list[Sent]) -> None:
    """Events that the rules do not deliver are none."""
    assert sent_by(body, "m-1") == sent


def test_every_act_can_be_carried_out(aws: LocalAws, unique: str) -> None:
    """On a local AWS without the function: what is said arrives on the queues that listen."""
    sqs, topic = aws.client("sqs"), aws.client("sns").create_topic(Name=unique)["TopicArn"]
    queues = {name: sqs.create_queue(QueueName=f"{unique}-{name}")["QueueUrl"] for name in ("intake", "dead")}
    table = aws.client("dynamodb").create_table(
        TableName=unique,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )["TableDescription"]["TableName"]
    outputs = {"FailureTopicArn": topic, "LedgerTableName": table}
    outputs |= {"IntakeQueueUrl": queues["intake"], "DeadLetterQueueUrl": queues["dead"]}
    performer = Performer(aws, outputs)
    seen: set[str] = set()
    for act in plan(3, 60, performer.places):
        if act.do not in seen or act.do in ("alarm", "child", "series"):
            performer.perform(act)
            seen.add(act.do)
    assert len(seen) == 12
    evidence = performer.evidence(_LIMITS)
    assert evidence.nodes == {"ml-east": 40, "ml-west": 25, "ml-slurm": 20, "ml-auto": 16}
    assert {sent.reports for sent in evidence.sent} >= {None, 1}
    assert evidence.waiting == 2
    aws.admin("POST", "/_local/hyperpod/reset")
