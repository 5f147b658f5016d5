"""The topic's messages: JSON for machines, and the mail that a person is woken by."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_remediation import codes
from node_remediation.advice import advice_for
from node_remediation.deadletter import Origin, Redrive
from node_remediation.mail import Frame
from node_remediation.model import Case, Ending, IdKind, Node, Outcome, Report, Trigger
from node_remediation.notification import MOST_BYTES, Notification, notify
from tests.unit.fakes import NOW, case, ending, instance_id, message, settled_case

FRAME = Frame(
    NOW,
    Origin("111122223333", "us-west-2"),
    Redrive("arn:aws:sqs:us-west-2:111122223333:dead", "arn:aws:sqs:us-west-2:111122223333:intake"),
)
LISTS = ("Failed", "FailedNodeLogicalIds", "Refused", "Rebooted", "Observed", "Recovered")
HOSTILE = '\x00\x1b\ud800\U0001f4a5é\u2028\r\n\x7f"\\'


def one(endings: Sequence[Ending]) -> Notification:
    ((notification, told),) = notify(endings, FRAME)
    assert list(told) == list(endings)
    return notification


def node(number: int) -> Node:
    return Node(IdKind.NODE_ID, instance_id(number))


LOGICAL = Node(IdKind.LOGICAL_ID, "df268d19-f035")
NIGHT = [
    ending(case(node(1))),
    ending(case(LOGICAL), code="InternalServerError", reason="Try again."),
    ending(
        case(node(2), recommendation="Please Replace the Faulty Node."),
        Outcome.REFUSED,
        "ClusterNotAllowed",
        "cluster ml-a matches none of the setting clusters: ml-b",
    ),
    ending(case(node(3)), Outcome.REBOOTED, None, "SageMaker started the reboot"),
]


def test_json_holds_every_entry_in_the_apis_shape() -> None:
    """Every field, compared whole; lists that are empty are there."""
    assert json.loads(one(NIGHT).json) == {
        "ClusterName": "ml-a",
        "AccountId": "111122223333",
        "Region": "us-west-2",
        "Time": "2026-11-23T02:14:07Z",
        "Failed": [{"NodeId": instance_id(1), "ErrorCode": "InstanceIdInUse", "Message": "The node is busy."}],
        "FailedNodeLogicalIds": [
            {"NodeLogicalId": "df268d19-f035", "ErrorCode": "InternalServerError", "Message": "Try again."}
        ],
        "Refused": [
            {
                "NodeId": instance_id(2),
                "ErrorCode": "ClusterNotAllowed",
                "Message": "cluster ml-a matches none of the setting clusters: ml-b",
            }
        ],
        "Rebooted": [{"NodeId": instance_id(3), "Message": "SageMaker started the reboot"}],
        "Observed": [],
        "Recovered": [],
    }


def test_attributes_name_cluster_most_pressing_kind_and_each_code_once() -> None:
    """So that a filter policy can route."""
    notification = one([*NIGHT, ending(case(node(4)))])
    assert notification.cluster == "ml-a"
    assert notification.kind == "failed"
    assert notification.error_codes == ("InstanceIdInUse", "InternalServerError", "ClusterNotAllowed")


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REFUSED, Outcome.UNREADABLE, Outcome.REBOOTED])
def test_kind_of_a_message_of_one_kind_is_that(outcome: Outcome) -> None:
    """Whatever else a message could have."""
    assert one([ending(outcome=outcome)]).kind == outcome.value


def test_unreadable_message_is_told_without_node_or_cluster() -> None:
    """There is nothing to name, and the lists that others rely on are still all there."""
    notification = one([ending(settled_case(), Outcome.UNREADABLE, "Unreadable", "the body is not JSON")])
    body = json.loads(notification.json)
    assert body["ClusterName"] is None
    assert body["Unreadable"] == [{"ErrorCode": "Unreadable", "Message": "the body is not JSON"}]
    assert all(body[name] == [] for name in LISTS)
    assert (notification.subject, notification.cluster) == ("HyperPod cluster unknown: 1 unreadable", "unknown")


def test_message_has_a_form_for_each_protocol() -> None:
    """SNS gives e-mail the text and everything else the JSON."""
    notification = one(NIGHT)
    assert json.loads(notification.message) == {"default": notification.json, "email": notification.text}


MAIL = f"""\
HyperPod cluster ml-a, account 111122223333, us-west-2
2026-11-23 02:14:07 UTC

2 nodes could not be rebooted:

  {instance_id(1)}  InstanceIdInUse
    The node is busy.
    Reported 2026-11-23 02:14:07 UTC by SageMaker HyperPod Cluster Node Health Event: Xid 79

  df268d19-f035  InternalServerError
    Try again.
    Reported 2026-11-23 02:14:07 UTC by SageMaker HyperPod Cluster Node Health Event: Xid 79

1 report was refused, nothing was rebooted for it:

  {instance_id(2)}  ClusterNotAllowed
    cluster ml-a matches none of the setting clusters: ml-b
    Reported 2026-11-23 02:14:07 UTC by SageMaker HyperPod Cluster Node Health Event: Xid 79
    HyperPod recommends: "Please Replace the Faulty Node."

1 node is being rebooted:

  {instance_id(3)}
    SageMaker started the reboot
    Reported 2026-11-23 02:14:07 UTC by SageMaker HyperPod Cluster Node Health Event: Xid 79

What usually helps:

  InstanceIdInUse
    Another operation is running on the node, often a repair or a reboot of HyperPod's own. Wait
    until it is over (aws sagemaker describe-cluster-node shows the status), then redrive.

  InternalServerError
    SageMaker failed by itself. Redrive; if it fails again, open a case with AWS Support.

  ClusterNotAllowed
    The setting clusters does not name this cluster. If it should be looked after, add it and
    deploy, then redrive; else delete the message from the dead-letter queue.

Each node or message above that failed, did not recover, was refused or could not be read is also in
the dead-letter queue. To try everything in that queue again:

  aws sqs start-message-move-task \\
    --source-arn arn:aws:sqs:us-west-2:111122223333:dead \\
    --destination-arn arn:aws:sqs:us-west-2:111122223333:intake \\
    --region us-west-2
"""


def test_mail_says_what_failed_why_and_what_to_do() -> None:
    """The whole mail of one night."""
    assert one(NIGHT).text == MAIL


GONE = Ending(case(node(1)), Outcome.SUPERSEDED, "the cluster has no such node any more: it was replaced")
WELL = Ending(case(node(2)), Outcome.RECOVERED, "reported healthy at 2026-11-23 02:10:00 UTC")
AGAIN = Ending(
    case(node(3)), Outcome.RETRYING, "The node is busy.", "InstanceIdInUse", again_at=NOW + timedelta(minutes=2)
)
STUCK = Ending(
    case(node(4)),
    Outcome.NOT_RECOVERED,
    "it did not come back within 45m: status Failure (no lights), never reported healthy",
    "NotRecovered",
)
REPORTED = "Reported 2026-11-23 02:14:07 UTC by SageMaker HyperPod Cluster Node Health Event: Xid 79"


def body_of(text: str) -> str:
    """A mail without its first two lines."""
    return text.split("\n\n", 1)[1]


def test_mail_of_a_node_that_did_not_come_back_says_what_was_seen_and_what_to_do() -> None:
    """Whoever is woken by it reads what it is now, that a redrive alone will not help, and where the message is."""
    notification = one([STUCK])
    assert notification.subject == "HyperPod ml-a: 1 not recovered"
    assert (notification.kind, notification.error_codes) == ("failed", ("NotRecovered",))
    text = body_of(notification.text)
    assert text.startswith(f"""\
1 node did not recover:

  {instance_id(4)}  NotRecovered
    it did not come back within 45m: status Failure (no lights), never reported healthy
    {REPORTED}

What usually helps:

  NotRecovered
    The reboot, or HyperPod's own repair, did not bring the node back.""")
    assert "batch-replace-cluster-nodes" in text
    assert "start-message-move-task" in text
    assert json.loads(notification.json)["Failed"] == [
        {"NodeId": instance_id(4), "ErrorCode": "NotRecovered", "Message": STUCK.reason}
    ]


def test_mail_of_a_retry_says_when_and_asks_for_nothing() -> None:
    """It is no letter yet: no advice, no redrive. Machines find the failure with the others, and when it is tried."""
    notification = one([AGAIN])
    assert notification.subject == "HyperPod ml-a: 1 to be tried again"
    assert notification.kind == "retrying"
    lines = body_of(notification.text).splitlines()
    assert lines[:4] == [
        "1 node could not be rebooted yet and is tried again:",
        "",
        f"  {instance_id(3)}  InstanceIdInUse",
        "    The node is busy.",
    ]
    assert "2026-11-23 02:16:07 UTC" in lines[4]
    assert lines[5:] == [f"    {REPORTED}"]
    body = json.loads(notification.json)
    assert body["Failed"] == [
        {"NodeId": instance_id(3), "ErrorCode": "InstanceIdInUse", "Message": "The node is busy."}
    ]
    assert body["Retrying"] == [
        {"NodeId": instance_id(3), "ErrorCode": "InstanceIdInUse", "NextAttempt": "2026-11-23T02:16:07Z"}
    ]


def test_retry_of_a_logical_node_is_named_so() -> None:
    """In both lists."""
    body = json.loads(one([replace(AGAIN, case=case(LOGICAL))]).json)
    assert [entry["NodeLogicalId"] for entry in body["FailedNodeLogicalIds"]] == ["df268d19-f035"]
    assert [entry["NodeLogicalId"] for entry in body["Retrying"]] == ["df268d19-f035"]
    assert body["Failed"] == []


def test_retries_at_different_times_are_told_apart() -> None:
    """What is said of two nodes is not the same then."""
    later = replace(AGAIN, case=case(node(5)), again_at=NOW + timedelta(minutes=4))
    text = one([AGAIN, later]).text
    assert ("02:16:07" in text, "02:18:07" in text) == (True, True)


def test_mail_of_a_recovery_is_good_news_and_asks_for_nothing() -> None:
    """Who was woken may go back to sleep."""
    notification = one([WELL])
    assert (notification.subject, notification.kind) == ("HyperPod ml-a: 1 recovered", "recovered")
    assert (
        body_of(notification.text)
        == f"""\
1 node has recovered:

  {instance_id(2)}
    reported healthy at 2026-11-23 02:10:00 UTC
    {REPORTED}
"""
    )
    assert json.loads(notification.json)["Recovered"] == [{"NodeId": instance_id(2), "Message": WELL.reason}]


def test_mail_of_a_node_that_is_gone_says_so_and_asks_for_nothing() -> None:
    """It was replaced, which is an end too."""
    notification = one([GONE])
    assert (notification.subject, notification.kind) == ("HyperPod ml-a: 1 replaced", "superseded")
    assert (
        body_of(notification.text)
        == f"""\
1 node is gone:

  {instance_id(1)}
    the cluster has no such node any more: it was replaced
    {REPORTED}
"""
    )
    assert json.loads(notification.json)["Superseded"] == [{"NodeId": instance_id(1), "Message": GONE.reason}]


def test_most_pressing_kind_names_a_message_of_many() -> None:
    """What needs a person before what tells one."""
    order = [
        (ending(), "failed"),
        (STUCK, "failed"),
        (ending(outcome=Outcome.REFUSED, code="Paused"), "refused"),
        (AGAIN, "retrying"),
        (GONE, "superseded"),
        (WELL, "recovered"),
    ]
    for first in range(len(order)):
        assert one([each for each, _ in reversed(order[first:])]).kind == order[first][1]
    assert one([each for each, _ in order]).subject == (
        "HyperPod ml-a: 1 not rebooted, 1 not recovered, 1 refused, 1 to be tried again, 1 replaced, 1 more"
    )


def test_advice_is_for_what_needs_a_person_not_for_what_is_tried_again() -> None:
    """The same code may be both: of two nodes that are in use, one has no tries left."""
    text = one([AGAIN, STUCK]).text
    assert "  NotRecovered\n    The reboot" in text
    assert "Another operation is running" not in text
    assert "Another operation is running" in one([AGAIN, ending()]).text


def test_nodes_of_which_the_same_is_to_be_said_share_a_paragraph() -> None:
    """Thirty nodes refused for one budget are a list to read, not thirty paragraphs; another reason has its own."""
    cases = [case(node=node(number)) for number in range(31)]
    alike = [ending(each, Outcome.REFUSED, "ClusterBudgetExceeded", "20 spent") for each in cases[:30]]
    other = ending(cases[30], Outcome.REFUSED, "ProtectedNode", "in group brain")
    text = one([*alike, other]).text
    assert all(each.case.node and each.case.node.id in text for each in [*alike, other])
    assert (text.count("20 spent"), text.count("in group brain")) == (1, 1)
    assert len(text.splitlines()) < 70


def test_each_code_of_this_system_has_advice_of_its_own() -> None:
    """Whoever is woken by a refusal reads what to do about just that."""
    own = {value for name, value in vars(codes).items() if name.isupper() and isinstance(value, str)}
    texts = {code: advice_for(code) for code in own}
    assert len(set(texts.values())) == len(texts)
    assert advice_for("SomethingNew") not in texts.values()


def test_mail_of_reboots_alone_asks_for_nothing() -> None:
    """With notify_rebooted a night without trouble is a list of nodes: no advice, no redrive."""
    text = one([ending(case(node(3)), Outcome.REBOOTED, None, "SageMaker started the reboot")]).text
    assert "1 node is being rebooted:" in text
    assert "redrive" not in text
    assert "start-message-move-task" not in text


def test_code_without_advice_still_has_some() -> None:
    """AWS may answer with a code that nobody has seen."""
    for code, advice in (("BrandNewException", "API reference"), ("Throttling", "Redrive in a few minutes.")):
        assert advice in " ".join(one([ending(code=code)]).text.split())


texts = st.text(max_size=40) | st.sampled_from([HOSTILE, "x" * 500, "\U0001f4a5" * 200])
big = st.integers(0, 4).map(lambda n: "\U0001f4a5" * (n * 9_000)) | st.just("\x00" * 30_000)


def over(node_id: str, kind: IdKind, outcome: Outcome, reason: str, number: int) -> Ending:
    trigger = Trigger("s", "d", "e", NOW - timedelta(days=1), reason)
    report = Report(trigger=trigger, node=Node(kind, node_id), cluster="ml-a", recommendation=reason)
    code = None if outcome in (Outcome.REBOOTED, Outcome.RECOVERED) else "Code"
    return Ending(Case(message({}, id=f"m-{number}"), report), outcome, reason, code)


TOLD = [Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.REFUSED, Outcome.REBOOTED, Outcome.RECOVERED]


@settings(max_examples=25)
@given(st.lists(st.tuples(texts, st.sampled_from(IdKind), st.sampled_from(TOLD), texts | big), min_size=1, max_size=8))
def test_long_lists_are_split_not_cut(rows: list[tuple[str, IdKind, Outcome, str]]) -> None:
    """Over all parts each entry is there exactly once, each part fits, and its endings are those that it tells of."""
    endings = [over(*row, number) for number, row in enumerate(rows)]
    parts = notify(endings, FRAME)
    assert [told for _, part in parts for told in part] == endings
    for notification, part in parts:
        body = json.loads(notification.json)
        entries = [entry for name in LISTS for entry in body[name]]
        assert len(entries) == len(part)
        assert notification.size == len(notification.message.encode()) <= MOST_BYTES
        if len(part) > 1 or len(part[0].reason) < 100:
            for each in part:
                node = each.case.node
                assert node
                entry = {node.kind.value: node.id, "Message": each.reason} | (
                    {"ErrorCode": each.code} if each.code else {}
                )
                assert entry in entries


def test_thousand_failures_are_all_told() -> None:
    """A whole cluster's worth of failures, each entry once and verbatim, in a few messages."""
    endings = [ending(case(node(number)), reason=f"{number} " + "words " * 40) for number in range(1000)]
    parts = notify(endings, FRAME)
    entries = [entry for notification, _ in parts for entry in json.loads(notification.json)["Failed"]]
    assert entries == [
        {"NodeId": instance_id(n), "ErrorCode": "InstanceIdInUse", "Message": f"{n} " + "words " * 40}
        for n in range(1000)
    ]
    assert 1 < len(parts) < 20


@pytest.mark.parametrize("field", ["reason", "node", "cluster", "trigger", "detail_type", "recommendation", "all"])
@pytest.mark.parametrize("character", ["x", "\U0001f4a5", "\x00", "é "])
def test_entry_that_is_too_long_by_itself_still_fits(field: str, character: str) -> None:
    """SNS would refuse it for good: people get its beginning, the dead letter has it whole."""
    long = {
        name: character * 300_000 if field in (name, "all") else "short"
        for name in ("reason", "node", "cluster", "trigger", "detail_type", "recommendation")
    }
    trigger = Trigger("s", long["detail_type"], "e", NOW, long["trigger"] if field != "detail_type" else "")
    report = Report(
        trigger=trigger,
        node=Node(IdKind.NODE_ID, long["node"]),
        cluster=long["cluster"],
        recommendation=long["recommendation"],
    )
    notification = one([Ending(Case(message({}), report), Outcome.FAILED, long["reason"], "Code")])
    assert notification.size <= MOST_BYTES
    entry = json.loads(notification.json)["Failed"][0]
    assert long["reason"].startswith(entry["Message"])
    assert entry["Message"]
    assert long["node"].startswith(entry["NodeId"])


@given(
    cluster=st.none() | st.text(max_size=130) | st.just("ml-" * 60),
    outcomes=st.lists(
        st.sampled_from([*TOLD, Outcome.UNREADABLE, Outcome.RETRYING, Outcome.SUPERSEDED]), min_size=1, max_size=30
    ),
)
def test_subject_is_one_sns_takes(cluster: str | None, outcomes: list[Outcome]) -> None:
    """Under 100 printable ASCII characters, whatever the cluster's name; what there is no room for is added up."""
    subject = one([ending(case(cluster=cluster), outcome) for outcome in outcomes]).subject
    assert len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
    assert subject[0].isalnum()
    if Outcome.FAILED in outcomes:
        assert f": {outcomes.count(Outcome.FAILED)} not rebooted" in subject
    counts = re.findall(r"(?:: |, )([0-9]+) ", subject[subject.rindex(": ") :])
    assert sum(map(int, counts)) == len(outcomes)


def test_subject_says_what_happened_to_how_many() -> None:
    """What a person reads on a locked screen."""
    assert one(NIGHT).subject == "HyperPod ml-a: 2 not rebooted, 1 refused, 1 rebooting"


@given(st.text(max_size=60), st.text(max_size=60))
def test_mail_is_text_that_sns_takes(reason: str, words: str) -> None:
    """No control characters but line breaks, nothing that UTF-8 cannot write."""
    text = one([ending(case(Node(IdKind.NODE_ID, words), recommendation=words), reason=reason)]).text
    text.encode()
    assert all(character == "\n" or character.isprintable() for character in text)
