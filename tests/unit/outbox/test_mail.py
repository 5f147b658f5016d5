"""The mail that a person is woken by."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.model import IdKind, Node, Outcome, Trigger
from node_remediation.outbox.mail import mail_text
from node_remediation.policy.record import Entry
from tests.unit.outbox.makers import DEAD, FRAME, HEALTH, LOGICAL, NOW, TOLD, entries, entry, node

REPORTED = f"Reported 2026-11-23 02:14:07 UTC by {HEALTH}: Xid 79"
REDRIVE = "aws sqs start-message-move-task"
LETTERED = {Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.REFUSED, Outcome.UNREADABLE}


def mail(*said: Entry) -> str:
    """A mail without its first two lines."""
    return mail_text(said, FRAME).split("\n\n", 1)[1]


def words_of(said: Sequence[Entry]) -> str:
    """A mail's words, wherever its lines break."""
    return " ".join(mail_text(said, FRAME).split())


MAIL = f"""\
HyperPod cluster ml-a, account 111122223333, us-west-2
2026-11-23 02:14:07 UTC

2 nodes could not be rebooted:

  {node(1).id}  InstanceIdInUse
    The node is busy.
    {REPORTED}

  df268d19-f035 (instance {node(9).id})  InternalServerError
    Try again.
    {REPORTED}

1 report was refused, and nothing was rebooted for it:

  {node(2).id}  ClusterNotAllowed
    cluster ml-a matches none of the setting clusters: ml-b
    {REPORTED}
    HyperPod recommends: "Please Replace the Faulty Node."

1 node is being rebooted:

  {node(3).id}
    SageMaker started the reboot
    {REPORTED}

What usually helps:

  InstanceIdInUse
    Another operation is running on the node, often a repair or a reboot by HyperPod itself. Wait
    until it is over (aws sagemaker describe-cluster-node shows the node's status), then redrive.

  InternalServerError
    SageMaker had an error of its own. Redrive. If it fails again, open a case with AWS Support.

  ClusterNotAllowed
    The setting clusters does not name this cluster. If this system should reboot its nodes, add it,
    deploy and redrive. Else delete the message from the dead-letter queue.

Each node or message above that failed, did not recover, was refused or could not be read has a
message in the dead-letter queue. To try all messages of that queue again (redrive):

  aws sqs start-message-move-task \\
    --source-arn arn:aws:sqs:us-west-2:111122223333:dead \\
    --destination-arn arn:aws:sqs:us-west-2:111122223333:intake \\
    --region us-west-2
"""


def test_mail_says_what_failed_why_and_what_to_do() -> None:
    """The whole mail of one night, the most pressing first."""
    night = [
        entry(Outcome.REBOOTED, node=node(3), message="SageMaker started the reboot"),
        entry(
            Outcome.REFUSED,
            node=node(2),
            message="cluster ml-a matches none of the setting clusters: ml-b",
            recommendation="Please Replace the Faulty Node.",
        ),
        entry(node=node(1), instance_id=node(1).id),
        entry(node=LOGICAL, instance_id=node(9).id, code="InternalServerError", message="Try again."),
    ]
    assert mail_text(night, FRAME) == MAIL


def test_node_that_did_not_recover_is_not_to_be_redriven() -> None:
    """The mail says what was seen and what helps; a redrive alone would only reboot the node once more."""
    text = mail(entry(Outcome.NOT_RECOVERED, message="status Failure (no lights)"))
    assert text.startswith(f"""\
1 node did not recover after its reboot or repair:

  {node(1).id}  NotRecovered
    status Failure (no lights)
    {REPORTED}

What usually helps:

  NotRecovered
    The reboot, or HyperPod's own repair, did not make the node well.""")
    assert "batch-replace-cluster-nodes" in text
    assert text.endswith(f"message in the dead-letter queue. Delete it there when you are done:\n\n  {DEAD}\n")
    assert REDRIVE not in text


def test_node_whose_call_was_lost_is_not_said_to_be_unrebooted() -> None:
    """A person who believed that would reboot it a second time."""
    text = mail(entry(code="OutcomeUnknown", message="no answer within 25 s"), entry(node=node(2)))
    assert text.startswith(f"1 node could not be rebooted:\n\n  {node(2).id}  InstanceIdInUse\n")
    assert (
        "1 node was perhaps rebooted, perhaps not. SageMaker's answer was lost:\n\n"
        f"  {node(1).id}  OutcomeUnknown\n    no answer within 25 s\n"
    ) in text


def test_unverified_node_is_not_called_recovered() -> None:
    """Nothing has said that it is well; on Slurm it may be down, and the mail says how to see that."""
    assert (
        mail(entry(Outcome.UNVERIFIED, message="status Running"))
        == f"""\
1 node has status Running after its reboot or repair, which does not prove that it is well:

  {node(1).id}
    status Running
    {REPORTED}

    Look whether it is. On Slurm, a node that was rebooted may still be down: sinfo shows it, and
    scontrol update nodename=NAME state=resume brings it back.
"""
    )


@pytest.mark.parametrize(
    ("outcome", "heading"),
    [
        (Outcome.RECOVERED, "1 node has recovered:"),
        (Outcome.SUPERSEDED, "1 node is no longer in the cluster, so there is nothing left to do for it:"),
        (Outcome.REBOOTED, "1 node is being rebooted:"),
        (Outcome.OBSERVED, "1 node would have been rebooted. The mode is observe, so nothing was done:"),
    ],
)
def test_mail_that_asks_for_nothing_has_no_advice(outcome: Outcome, heading: str) -> None:
    """A person who was woken may go back to sleep, whatever code the entry has."""
    assert mail(entry(outcome, message="said")) == f"{heading}\n\n  {node(1).id}\n    said\n    {REPORTED}\n"
    assert "What usually helps" not in mail(entry(outcome, code="Superseded"))


@pytest.mark.parametrize("outcome", [Outcome.RECOVERED, Outcome.SUPERSEDED])
def test_recommendation_is_not_quoted_once_the_incident_is_over(outcome: Outcome) -> None:
    """A person who reads "recovered" must not be told to replace the node."""
    assert "recommends" not in mail(entry(outcome, recommendation="Please Replace the Faulty Node."))


def test_mail_of_a_retry_says_when_and_asks_for_nothing() -> None:
    """There is no letter yet: no advice and no redrive."""
    assert (
        mail(entry(Outcome.RETRYING, again_at=NOW + timedelta(minutes=2)))
        == f"""\
1 node could not be rebooted yet. It will be tried again by itself:

  {node(1).id}  InstanceIdInUse
    The node is busy.
    The next try is at 2026-11-23 02:16:07 UTC.
    {REPORTED}
"""
    )


def test_advice_is_for_what_needs_a_person_not_for_what_is_tried_again() -> None:
    """The same code may be both: of two busy nodes, one has no tries left."""
    again = entry(Outcome.RETRYING, again_at=NOW)
    assert "Another operation is running" not in mail(again, entry(Outcome.NOT_RECOVERED))
    assert "Another operation is running" in mail(again, entry())


@pytest.mark.parametrize(
    ("code", "helps"),
    [
        ("InstanceIdInUse", True),
        ("Paused", True),
        ("ThrottlingException", True),
        ("BrandNewException", True),
        ("InstanceIdNotFound", False),
        ("RebootLimitReached", False),
        ("Unreadable", False),
    ],
)
def test_redrive_command_is_there_where_the_advice_says_to_redrive(code: str, helps: bool) -> None:
    """One code for which it helps is enough; without one, the mail names the queue to tidy up."""
    assert (REDRIVE in mail(entry(code=code))) is helps
    assert (f"\n\n  {DEAD}\n" in mail(entry(code=code))) is not helps
    assert REDRIVE in mail(entry(code=code), entry())


def test_letter_without_a_code_is_still_mentioned() -> None:
    """The queue holds it, advice or not."""
    text = mail(entry(code=None))
    assert "What usually helps" not in text
    assert DEAD in text


def test_entries_that_were_merged_are_said_to_be_many() -> None:
    """While the topic was down the same was to be said twice."""
    text = mail(entry(times=2))
    assert "\n    The node is busy.\n    This happened 2 times before this mail could be sent.\n" in text
    assert "before this mail could be sent" not in mail(entry())


def test_request_is_said_to_be_requested() -> None:
    """A person asked for it, and reads their own reason."""
    trigger = Trigger("hyperpod.node-remediation", "HyperPod Node Reboot Requested", "e", NOW, "Xid 79 seen by hand")
    assert "    Requested 2026-11-23 02:14:07 UTC: Xid 79 seen by hand\n" in mail(entry(trigger=trigger))
    assert "    Requested 2026-11-23 02:14:07 UTC\n" in mail(entry(trigger=replace(trigger, reason="")))


def test_unreadable_message_names_neither_node_nor_cluster() -> None:
    """It says what could not be read, and not that something was reported."""
    trigger = Trigger("", "", "m-1", NOW)
    said = entry(Outcome.UNREADABLE, node=None, cluster=None, message="the body is not JSON", trigger=trigger)
    assert mail_text([said], FRAME).startswith(
        "HyperPod, cluster not known, account 111122223333, us-west-2\n"
        "2026-11-23 02:14:07 UTC\n\n"
        "1 message could not be read:\n\n  (no node)  Unreadable\n    the body is not JSON\n\nWhat usually helps:"
    )


def test_nodes_of_which_the_same_is_to_be_said_share_a_paragraph() -> None:
    """Thirty nodes refused for one budget are a list to read; another reason has its own paragraph."""
    late = [replace(entry().trigger, time=NOW + timedelta(minutes=n)) for n in range(30)]
    alike = [
        entry(Outcome.REFUSED, node=node(n), code="ClusterBudgetExceeded", message="20 spent", trigger=late[29 - n])
        for n in range(30)
    ]
    text = mail(*alike, entry(Outcome.REFUSED, node=node(30), code="ProtectedNode", message="in group brain"))
    assert "31 reports were refused, and nothing was rebooted for them:" in text
    assert all(node(n).id in text for n in range(31))
    assert (text.count("20 spent"), text.count("in group brain")) == (1, 1)
    assert f"Reported from 2026-11-23 02:14:07 UTC to 2026-11-23 02:43:07 UTC by {HEALTH}: Xid 79" in " ".join(
        text.split()
    )


@pytest.mark.parametrize(
    "other",
    [
        {"again_at": NOW + timedelta(minutes=4)},
        {"times": 2},
        {"message": "another"},
        {"code": "Another"},
        {"recommendation": "another"},
        {"trigger": Trigger("s", HEALTH, "e", NOW, "another")},
        {"trigger": Trigger("s", "another", "e", NOW, "Xid 79")},
    ],
)
def test_nodes_of_which_something_else_is_to_be_said_have_their_own_paragraph(other: dict[str, object]) -> None:
    """Else a person would read of one node what is true of another."""
    again = entry(Outcome.RETRYING, again_at=NOW + timedelta(minutes=2))
    assert mail(again, replace(again, node=node(2))).count("The next try") == 1
    assert mail(again, replace(again, node=node(2), **other)).count("The next try") == 2  # type: ignore[arg-type]


@given(st.lists(entries(), min_size=1, max_size=4))
def test_mail_is_text_that_sns_takes(said: list[Entry]) -> None:
    """No control characters except line breaks, nothing that UTF-8 cannot write."""
    text = mail_text(said, FRAME)
    text.encode()
    assert all(character == "\n" or character.isprintable() for character in text)


@given(st.lists(st.sampled_from(list(TOLD)), min_size=1, max_size=12))
def test_every_node_is_named_and_only_letters_are_sent_to_the_queue(outcomes: list[Outcome]) -> None:
    """Nothing is told without its node, and the queue is named exactly where it has something."""
    said = [entry(outcome, node=Node(IdKind.NODE_ID, f"n-{n}.")) for n, outcome in enumerate(outcomes)]
    words = words_of(said)
    assert all(f"n-{n}." in words for n in range(len(said)))
    assert ("has a message in the dead-letter queue" in words) is any(each in LETTERED for each in outcomes)
