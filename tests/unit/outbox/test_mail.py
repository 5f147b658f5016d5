"""The mail that a person is woken by. The most telling ones are whole, in mails/, as they arrive."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from node_remediation import events
from node_remediation.model import Answered, IdKind, Node, Outcome, Report, Trigger
from node_remediation.outbox.advice import runbook_section
from node_remediation.outbox.burst import Spends
from node_remediation.outbox.mail import Frame, mail_text
from node_remediation.outbox.notifications import notify
from node_remediation.policy.draft import entry_of_end
from node_remediation.policy.modes import ModeEntry, Modes
from node_remediation.policy.record import Entry
from tests.unit.outbox.makers import (
    FRAME,
    HEALTH,
    HOME,
    INTAKE,
    KNOWN,
    LETTERED,
    LOGICAL,
    NOW,
    TOLD,
    entries,
    entry,
    node,
)

MAILS = Path(__file__).parent / "mails"
LATER = replace(FRAME, now=NOW + timedelta(minutes=62))
SEND, REPLACE = "aws sqs send-message", "aws sagemaker batch-replace-cluster-nodes"


def mail(*said: Entry, frame: Frame = FRAME) -> str:
    return mail_text(said, frame)


def words_of(*said: Entry, frame: Frame = FRAME) -> str:
    """A mail's words, wherever its lines break."""
    return " ".join(mail(*said, frame=frame).split())


SICK = entry(
    Outcome.NOT_RECOVERED,
    cluster="ml-training",
    message="not recovered 30m after the reboot at 2026-11-23 02:46:07 UTC: status Failure; HyperPod: still unhealthy "
    "(last complaint 2026-11-23 02:59:00 UTC); not rebooted again: RebootLimitReached: 2 of 2 reboots of the node in "
    "24h used, and it is still reported unhealthy",
    reboots=(NOW, NOW + timedelta(minutes=32)),
    group="workers",
    eks=True,
    automatic=False,
    repair_action="None",
    recommendation="Please Replace the Faulty Node.",
)
NIGHTS: dict[str, list[Entry]] = {
    "not-recovered": [SICK],
    "not-recovered-fifty": [replace(SICK, node=node(n), message=f"status Failure ({n})") for n in range(50)],
    "three-kinds": [
        entry(Outcome.REBOOTED, node=node(3), message="SageMaker started the reboot", reboots=(NOW,)),
        entry(
            Outcome.REFUSED,
            node=node(2),
            message="cluster ml-a matches none of the setting clusters: ml-b",
            recommendation="Please Replace the Faulty Node.",
        ),
        entry(node=node(1), instance_id=node(1).id),
        entry(node=LOGICAL, instance_id=node(9).id),
    ],
    "under-repair": [
        entry(
            Outcome.REFUSED,
            code="UnderRepair",
            message="HyperPod has been repairing the node since 2026-11-23 02:10:00 UTC",
            repair_action="Replace",
            recommendation="Please Replace the Faulty Node.",
            automatic=True,
            eks=False,
        )
    ],
    "outcome-unknown": [entry(code="OutcomeUnknown", message="no answer within 25 s", reboots=(NOW,), eks=False)],
    "proposed": [
        entry(Outcome.PROPOSED, message="Xid 79", again_at=NOW + timedelta(minutes=77), eks=True, group="workers"),
    ],
    "recurring": [
        entry(
            Outcome.RECURRING,
            message="Xid 79",
            history=(
                "2026-11-20 UTC: 02:14 reported, 02:14 rebooted, 02:31 recovered",
                "2026-11-21 UTC: 23:50 reported, 23:50 rebooted, 2026-11-22 00:35 not recovered (NotRecovered)",
                "2026-11-23 UTC: 02:14 reported, 02:14 rebooted",
            ),
            reboots=(NOW,),
            eks=True,
            group="workers",
        ),
    ],
    "burst": [
        entry(
            Outcome.REFUSED,
            code="ClusterBudgetExceeded",
            node=node(n),
            message="budget 9 of 45 nodes in 60m, 9 spent",
            at=NOW + timedelta(minutes=60),
            eks=False,
        )
        for n in range(3)
    ],
    "resumed": [
        entry_of_end(ended, Modes("active", (ModeEntry("observe", "ml-b"),)), NOW)
        for ended in (ModeEntry("paused", "ml-a/gpu-*", NOW), ModeEntry("paused", "ml-a/cpu", NOW))
    ],
    "resumed-all": [entry_of_end(ModeEntry("paused", until=NOW), Modes("active"), NOW)],
    "paused": [
        entry(
            Outcome.REFUSED,
            code="Paused",
            message='everything is paused, because the mode parameter cannot be understood: entry "ml-a" takes active, '
            'observe or paused, alone or with an end and its zone as in "paused until 2026-12-01T06:00Z", not "pausd"',
            eks=True,
        )
    ],
    "unreadable": [
        entry(
            Outcome.UNREADABLE,
            node=None,
            cluster=None,
            message="the body is not JSON: line 1, column 41",
            trigger=Trigger("", "", "m-1", NOW),
            message_id="0b1f6c0e-8c3d-4f3b-9c55-5a1f0e6f2b77",
            excerpt='{"detail-type": "HyperPod Node Reboot Req',
        )
    ],
}
# The reboots of the cluster, of most of which there is no entry.
SPENDS: dict[str, dict[str | None, Spends]] = {
    "burst": {"ml-a": ((NOW, 30), (NOW + timedelta(minutes=58), 4), (NOW + timedelta(minutes=60), 5))}
}


@pytest.mark.parametrize("name", NIGHTS)
def test_mail_of_a_night_reads_as_it_should(name: str) -> None:
    """What happened, what to do now, where to look and what is left to tidy up, with every command filled in."""
    ((notification, _),) = notify(NIGHTS[name], LATER, SPENDS.get(name, {}))
    assert f"Subject: {notification.subject}\n\n{notification.text}" == (MAILS / f"{name}.txt").read_text()


def test_answers_that_a_mail_gives_are_read_as_approvals_of_its_incidents() -> None:
    """One for each, ready to be pasted; with "Vetoed" in place of "Approved" it is a veto."""
    first, second = entry(Outcome.PROPOSED), entry(Outcome.PROPOSED, node=node(2), incident="incident-2")
    bodies = [command[-1] for command in commands_in(mail(first, second)) if "--message-body" in command]
    assert len(bodies) == 2
    for body, of in zip(bodies, (first, second), strict=True):
        for words, answer in (("Approved", Answered.APPROVED), ("Vetoed", Answered.VETOED)):
            (read,) = events.read(body.replace("Approved", words), message_id="m", sent=NOW, home=HOME)
            assert isinstance(read, Report)
            assert (read.answer, read.incident, read.answered_by) == (answer, of.incident, "YOUR NAME")


def test_each_section_of_a_mail_links_to_its_section_of_the_runbook_once() -> None:
    """At the URL that the team has set, else by the page's name in this project."""
    said = [entry(outcome, code=code) for outcome, code in TOLD.items()]
    hosted = replace(FRAME, places=FRAME.places._replace(runbook="https://wiki.example.com/runbook"))
    for frame, page in ((FRAME, "docs/runbook.md"), (hosted, "https://wiki.example.com/runbook")):
        links = [line.strip() for line in mail(*said, *said, frame=frame).splitlines() if "Runbook" in line]
        assert links == [f"Runbook: {page}#{runbook_section(outcome, code)}" for outcome, code in TOLD.items()]


# -- what happened


def test_most_pressing_comes_first_whatever_order_it_was_said_in() -> None:
    """A person may stop reading after the first screen."""
    text = mail(*(entry(outcome, code=code, message=f"said of {outcome}") for outcome, code in reversed(TOLD.items())))
    found = [text.index(f"said of {outcome}\n") for outcome in TOLD]
    assert found == sorted(found)


def test_node_whose_call_was_lost_is_not_said_to_be_unrebooted() -> None:
    """A person who believed that would reboot it a second time; and this system still watches it."""
    text = mail(entry(code="OutcomeUnknown", message="no answer within 25 s"))
    assert "\nPERHAPS REBOOTED, look at it\n" in text
    assert "Nothing more happens" not in text
    assert "a further mail says how this ends" in " ".join(text.split())


@pytest.mark.parametrize(
    "outcome",
    sorted(set(TOLD) - LETTERED - {Outcome.PROPOSED, Outcome.RESUMED, Outcome.UNVERIFIED, Outcome.RECURRING}),
)
def test_mail_that_asks_for_nothing_has_neither_advice_nor_command(outcome: Outcome) -> None:
    """A person who was woken may go back to sleep, whatever code the entry has."""
    text = mail(entry(outcome, code="InstanceIdInUse"))
    assert "nothing to do" in text
    assert not any(part in text for part in ("DO NOW", "LOOK", "AFTERWARDS", "aws ", "Nothing more happens"))


def test_unverified_node_is_to_be_looked_at_and_has_no_letter() -> None:
    """Nothing has said that it is well; on Slurm it may be down, and the mail says how to bring it back."""
    unverified = entry(Outcome.UNVERIFIED, message="status Running")
    assert "state=resume" in mail(unverified)
    assert "state=resume" not in mail(replace(unverified, eks=True))
    assert "describe-cluster-node" in mail(unverified)
    assert "dead-letter queue" not in mail(unverified)


def test_history_lists_reboots_and_the_beginning_of_hyperpods_own_repair() -> None:
    """Times of another day have their date."""
    yesterday = NOW - timedelta(days=1)
    words = words_of(entry(reboots=(yesterday, NOW, NOW + timedelta(minutes=32)), repair_since=NOW))
    assert "Reboot requested by this system at 2026-11-22 02:14, 02:14 and 02:46 UTC." in words
    assert "HyperPod announced its own repair at 02:14 UTC." in words
    assert "Reboot requested by this system at 02:14 UTC." in words_of(entry(reboots=(NOW,)))
    assert "Reboot requested" not in words_of(entry())


def test_nothing_more_is_promised_only_where_the_incident_is_over() -> None:
    """After a reboot whose answer listed a failure too, the node is still watched."""
    over = "Nothing more happens automatically, unless a new report or request comes."
    assert over in words_of(entry())
    assert over in words_of(entry(Outcome.NOT_RECOVERED, reboots=(NOW,)))
    for watched in (entry(reboots=(NOW,)), *(entry(Outcome.REFUSED, code=c) for c in ("CoolingDown", "UnderRepair"))):
        assert over not in words_of(watched)


def test_retry_says_when_the_next_try_is() -> None:
    """It comes without anybody's help."""
    again = entry(Outcome.RETRYING, again_at=NOW + timedelta(minutes=2))
    assert "The next try is at 02:16 UTC, automatically." in words_of(again)


def test_entries_that_were_merged_are_said_to_be_many() -> None:
    """While the topic was down the same was to be said twice."""
    assert "This happened 2 times before this mail could be sent." in words_of(entry(times=2))
    assert "before this mail could be sent" not in words_of(entry())


def test_request_is_said_to_be_requested() -> None:
    """A person asked for it, and reads their own reason."""
    trigger = Trigger("hyperpod.node-remediation", "HyperPod Node Reboot Requested", "e", NOW, "Xid 79 seen by hand")
    assert "    Requested at 02:14 UTC: Xid 79 seen by hand\n" in mail(entry(trigger=trigger))
    assert "    Requested at 02:14 UTC.\n" in mail(entry(trigger=replace(trigger, reason="")))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"repair_action": "None"},
            "HyperPod itself has announced no repair. Where it may, this system tries a reboot first",
        ),
        (
            {"repair_action": "Replace", "automatic": False},
            "NodeRecovery is None. Where it may, this system tries a reboot first",
        ),
        ({"repair_action": "Replace"}, "if the cluster's NodeRecovery is Automatic."),
        (
            {"outcome": Outcome.NOT_RECOVERED, "code": "NotRecovered", "repair_action": "Reboot", "automatic": True},
            "HyperPod does this itself, because the cluster's NodeRecovery is Automatic. That repair has not made the "
            "node healthy in time.",
        ),
        ({"code": "UnderRepair", "repair_action": "Replace"}, "HyperPod does this itself, because"),
        ({"code": "ReplacementAdvised", "repair_action": "Replace"}, "NodeRecovery is None."),
        ({"code": "RebootLimitReached"}, "This system tried a reboot first, and it did not help."),
        ({"code": "ProtectedNode"}, "This system reboots no protected node, so the choice is yours."),
    ],
)
def test_hyperpods_words_are_quoted_with_why_they_agree_with_the_mail(changes: dict[str, Any], why: str) -> None:
    """A person who reads "replace" from one and "reboot" from the other does neither."""
    words = words_of(
        entry(**{"outcome": Outcome.FAILED, "recommendation": "Please Replace the Faulty Node.", **changes})
    )
    assert 'HyperPod said: "Please Replace the Faulty Node."' in words
    assert why in words


@pytest.mark.parametrize("outcome", [Outcome.RECOVERED, Outcome.SUPERSEDED])
def test_recommendation_is_not_quoted_once_the_incident_is_over(outcome: Outcome) -> None:
    """A person who reads "recovered" must not be told to replace the node."""
    assert "HyperPod said" not in mail(entry(outcome, recommendation="Please Replace the Faulty Node."))


# -- many nodes


def test_nodes_of_which_the_same_is_to_be_said_share_a_paragraph() -> None:
    """Thirty nodes refused for one budget are a list to read; another reason has its own section."""
    alike = [entry(Outcome.REFUSED, node=node(n), code="ClusterBudgetExceeded", message="20 spent") for n in range(30)]
    text = mail(*alike, entry(Outcome.REFUSED, node=node(30), code="ProtectedNode", message="in group brain"))
    assert "REBOOT BUDGET IS SPENT, find the cause (30 nodes)" in text
    assert all(node(n).id in text for n in range(31))
    assert (text.count("20 spent"), text.count("in group brain")) == (1, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"again_at": NOW + timedelta(minutes=4)},
        {"times": 2},
        {"message": "another"},
        {"code": "Another"},
        {"recommendation": "another"},
        {"reboots": (NOW,)},
        {"trigger": Trigger("s", HEALTH, "e", NOW, "another")},
        {"trigger": Trigger("s", "another", "e", NOW, "Xid 79")},
    ],
)
def test_nodes_of_which_something_else_is_to_be_said_have_their_own_paragraph(other: dict[str, object]) -> None:
    """Else a person would read of one node what is true of another."""
    again = entry(Outcome.RETRYING, again_at=NOW + timedelta(minutes=2))
    assert mail(again, replace(again, node=node(2))).count("The next try") == 1
    assert mail(again, replace(again, node=node(2), **other)).count("The next try") == 2  # type: ignore[arg-type]


# -- commands


def commands_in(text: str) -> Iterator[list[str]]:
    """The commands of the AWS CLI in a mail, as a shell splits them."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("      aws "):
            yield shlex.split(paragraph.replace(" \\\n", " "))


def parsed(command: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """A command's operation and parameters, once botocore's model has taken them."""
    _, service, operation, *rest = command
    model: Any = botocore.session.get_session().get_service_model(service)
    (name,) = [name for name in model.operation_names if xform_name(name, "-") == operation]
    shape = model.operation_model(name).input_shape
    options: dict[str, list[str]] = {}
    for word in rest:
        options.setdefault(word, []) if word.startswith("--") else options[list(options)[-1]].append(word)
    assert options.pop("--region") == ["us-west-2"]
    members = {f"--{xform_name(name, '-')}": name for name in shape.members}
    values: dict[str, Any] = {}
    for option, words in options.items():
        match shape.members[members[option]].type_name:
            case "list":
                values[members[option]] = words
            case "boolean":
                values[members[option]] = True
            case "integer":
                values[members[option]] = int(*words)
            case _:
                (values[members[option]],) = words
    problems = ParamValidator().validate(values, shape)
    assert not problems.has_errors(), problems.generate_report()
    return operation, values


@pytest.mark.parametrize("code", [*sorted(KNOWN), "ThrottlingException", "BrandNewException"])
@pytest.mark.parametrize("nodes", [[node(1)], [LOGICAL], [*map(node, range(60))]], ids=["one", "logical", "sixty"])
def test_every_command_is_one_that_the_aws_cli_takes(code: str, nodes: list[Node]) -> None:
    """The operation's model has each parameter, and the values are within its bounds."""
    found = [*map(parsed, commands_in(mail(*(entry(Outcome.REFUSED, code=code, node=each) for each in nodes))))]
    assert {"receive-message"} < {operation for operation, _ in found}
    named = [values for operation, values in found if operation.startswith("batch-")]
    called = [
        id_ for values in named for ids in (values.get("NodeIds"), values.get("NodeLogicalIds")) for id_ in ids or ()
    ]
    assert called in ([], [each.id for each in nodes])


@pytest.mark.parametrize(
    ("code", "command"),
    [
        ("RebootLimitReached", REPLACE),
        ("NotRecovered", REPLACE),
        ("ReplacementAdvised", REPLACE),
        ("ProtectedNode", "aws sagemaker batch-reboot-cluster-nodes"),
        ("Paused", "aws ssm put-parameter"),
    ],
)
def test_advice_has_its_command_filled_in(code: str, command: str) -> None:
    """A person at night types nothing."""
    assert command in mail(entry(code=code))
    assert command not in mail(entry())


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        ("InstanceIdInUse", True),
        ("Paused", True),
        ("ThrottlingException", True),
        ("ClusterBudgetExceeded", True),
        ("BrandNewException", False),
        ("InstanceIdNotFound", False),
        ("RebootLimitReached", False),
        ("NotRecovered", False),
    ],
)
def test_reboot_can_be_requested_again_only_where_the_code_is_retryable(code: str, retryable: bool) -> None:
    """No mail moves the whole queue: other clusters' letters are none of this mail's business."""
    text = mail(entry(code=code))
    assert (SEND in text) is retryable
    assert "start-message-move-task" not in text


def test_command_requests_the_nodes_of_its_section_and_no_others() -> None:
    """The loop itself reads the request: each node once, by instance where that is known, odd IDs too."""
    odd = Node(IdKind.NODE_ID, 'it\'s "odd"; rm -rf \\ é')
    busy = [entry(node=each) for each in (*map(node, range(9)), node(0), odd)]
    logical = [entry(node=LOGICAL, instance_id=node(9).id), entry(node=replace(LOGICAL, id="df268d19-f036"))]
    text = mail(*busy, *logical, entry(node=node(77), code="RebootLimitReached"))
    [(_, values)] = [each for each in map(parsed, commands_in(text)) if each[0] == "send-message"]
    assert values["QueueUrl"] == INTAKE
    reports = events.read(values["MessageBody"], message_id="m", sent=NOW, home=HOME)
    assert all(isinstance(each, Report) and each.on_demand and each.cluster == "ml-a" for each in reports)
    assert [each.node for each in reports if isinstance(each, Report)] == [
        *map(node, range(9)),
        odd,
        node(9),
        replace(LOGICAL, id="df268d19-f036"),
    ]
    assert json.loads(values["MessageBody"])["detail"]["Reason"] == "again after InstanceIdInUse"


def test_what_names_no_node_can_only_be_sent_again_as_it_came() -> None:
    """The letter's body is the only one who knows what was reported."""
    text = mail(entry(node=None, code="ThrottlingException", message_id="m-1"))
    assert "--message-body file://body.json" in text
    assert "Message ID on the intake queue: m-1" in text


@pytest.mark.parametrize(("eks", "kubectl", "sinfo"), [(True, True, False), (False, False, True), (None, True, True)])
def test_orchestrator_decides_where_to_look(eks: bool | None, kubectl: bool, sinfo: bool) -> None:
    """Where it is not known, both are given, each with its condition; the Kubernetes name is claimed only on EKS."""
    text = mail(replace(SICK, eks=eks))
    assert (f"kubectl get node hyperpod-{node(1).id}" in text, "sinfo -N -l" in text) == (kubectl, sinfo)
    assert ("On EKS: kubectl get" in text, "On Slurm: sinfo" in text) == (eks is None, eks is None)
    assert (f"Kubernetes node hyperpod-{node(1).id}" in text) is (eks is True)
    assert ("kubectl drain" in text, "state=drain" in text) == (kubectl, sinfo)


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "us-west-2", "us-west-2.console.aws.amazon.com"),
        ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
        ("aws-iso", "us-iso-east-1", None),
    ],
)
def test_console_link_is_of_the_partition_and_region(partition: str, region: str, host: str | None) -> None:
    """A partition whose console is not known gets no link rather than a wrong one."""
    places = replace(FRAME, home=HOME._replace(region=region), places=FRAME.places._replace(partition=partition))
    link = f"Console: https://{host}/sagemaker/home?region={region}#/cluster-management/ml-a\n"
    text = mail(entry(), frame=places)
    assert (link in text) if host else ("https://console" not in text and "Console:" not in text)


# -- whatever comes


@given(st.lists(entries(), min_size=1, max_size=4))
def test_mail_is_text_that_sns_takes(said: list[Entry]) -> None:
    """No control characters except line breaks, nothing that UTF-8 cannot write."""
    text = mail(*said)
    text.encode()
    assert all(character == "\n" or character.isprintable() for character in text)


@given(st.lists(st.sampled_from(list(TOLD)), min_size=1, max_size=30))
def test_every_node_is_named_and_only_letters_are_spoken_of(outcomes: list[Outcome]) -> None:
    """Nothing is told without its node, and the queue is named exactly where it has something."""
    said = [entry(outcome, node=Node(IdKind.NODE_ID, f"n-{n}."), message=f"{n}") for n, outcome in enumerate(outcomes)]
    words = words_of(*said)
    assert all(f"n-{n}." in words for n in range(len(said)))
    assert ("has a letter in the dead-letter queue" in words) is any(each in LETTERED for each in outcomes)
