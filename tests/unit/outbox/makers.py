"""Entries to be said, for the tests of the outbox."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from node_remediation import codes
from node_remediation.events.fields import Home
from node_remediation.model import Alarm, IdKind, Node, Outcome, Trigger
from node_remediation.outbox.mail import Frame, Places
from node_remediation.policy.modes import ModeEntry
from node_remediation.policy.record import Entry

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
HOME = Home("111122223333", "us-west-2")
INTAKE = "https://sqs.us-west-2.amazonaws.com/111122223333/intake"
DEAD = "https://sqs.us-west-2.amazonaws.com/111122223333/dead"
FRAME = Frame(NOW, HOME, Places(INTAKE, DEAD, "/HyperPodNodeRemediation/mode", "aws"))
HEALTH = "SageMaker HyperPod Cluster Node Health Event"
ENDED = ModeEntry("paused", "ml-a", NOW)
LOGICAL = Node(IdKind.LOGICAL_ID, "df268d19-f035")
# The outcomes that are told, each with a code or without one as the policy gives it.
TOLD = {
    Outcome.FAILED: "InstanceIdInUse",
    Outcome.NOT_RECOVERED: "NotRecovered",
    Outcome.REFUSED: "ClusterNotAllowed",
    Outcome.UNREADABLE: "Unreadable",
    Outcome.PROPOSED: None,
    Outcome.UNVERIFIED: None,
    Outcome.REPLACED: None,
    Outcome.RECURRING: None,
    Outcome.RETRYING: "InstanceIdInUse",
    Outcome.RESUMED: None,
    Outcome.OBSERVED: None,
    Outcome.REBOOTED: None,
    Outcome.SUPERSEDED: None,
    Outcome.RECOVERED: None,
}
# The codes that have advice of their own.
KNOWN = {value for name, value in vars(codes).items() if name.isupper() and isinstance(value, str)} | {
    "InstanceIdInUse",
    "InstanceIdNotFound",
    "InvalidInstanceStatus",
    "InternalServerError",
    "ResourceNotFound",
    "ValidationException",
    "AccessDeniedException",
}
LETTERED = {Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.REFUSED, Outcome.UNREADABLE}


def node(number: int) -> Node:
    return Node(IdKind.NODE_ID, f"i-{number:017x}")


def entry(outcome: Outcome = Outcome.FAILED, **changes: Any) -> Entry:
    """An entry about node 1 of cluster ml-a, with the outcome's usual code."""
    usual = Entry(
        id="6fa0b3a8-3f8a-4a0c-9a3e-5d1f1b0e0c11",
        incident="0a7d0c8e-6a5b-5d35-8a43-6a4ef9d9c1aa",
        outcome=outcome,
        cluster="ml-a",
        node=node(1),
        code=TOLD[outcome],
        message="The node is busy.",
        trigger=Trigger("aws.sagemaker", HEALTH, "event-1", NOW, "Xid 79"),
        at=NOW,
        due=NOW,
    )
    return replace(usual, **changes)


HOSTILE = '\x00\x1b\ud800\uffff\U0001f4a5é\u2028\r\n\x7f"\\'
texts = st.text(max_size=40) | st.sampled_from([HOSTILE, "", "x" * 500, "\U0001f4a5" * 2_000, "\x00" * 12_288])
large = st.sampled_from(["\U0001f4a5" * 12_288, "\x01" * 12_288, "\\" * 300_000, "é " * 20_000])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Any entry: odd characters and lengths in every text."""
    odd = st.none() | texts
    alarm = st.none() | st.builds(Alarm, name=texts, arn=odd)
    return entry(
        draw(st.sampled_from(list(TOLD))),
        cluster=draw(odd | st.sampled_from(["ml-a", "ml-b"])),
        node=draw(st.none() | st.builds(Node, st.sampled_from(IdKind), texts)),
        code=draw(odd),
        message=draw(texts | large),
        trigger=draw(st.builds(Trigger, texts, texts, texts, st.just(NOW), texts | large)),
        instance_id=draw(odd),
        repair_action=draw(odd),
        recommendation=draw(odd | large),
        alarm=draw(alarm),
        again_at=draw(st.sampled_from([None, NOW])),
        times=draw(st.integers(1, 3)),
        reboots=draw(st.sampled_from([(), (NOW,), (NOW, NOW)])),
        group=draw(odd),
        eks=draw(st.none() | st.booleans()),
        automatic=draw(st.none() | st.booleans()),
        history=tuple(draw(st.lists(texts, max_size=3))),
        message_id=draw(texts),
        excerpt=draw(texts),
        mode=draw(st.sampled_from([None, None, ENDED])),
    )
