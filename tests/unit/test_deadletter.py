"""The body of a dead letter is an interface: it is compared whole."""

import json
from datetime import timedelta
from uuid import UUID

import pytest

from node_remediation import codes
from node_remediation.deadletter import DeadLetter, Origin, attribute, dead_letter, is_reported
from node_remediation.model import Ending, IdKind, Node, Outcome
from tests.unit.fakes import NOW, case, ending, instance_id, settled_case

LETTER_ID = UUID("6fa0b3a8-3f8a-4a0c-9a3e-5d1f1b0e0c11")


def letter(of: Ending) -> DeadLetter:
    return dead_letter(of, letter_id=LETTER_ID, now=NOW, origin=Origin("111122223333", "us-west-2"))


def test_failed_node_is_an_event_that_can_be_put_back() -> None:
    """Every field of the body and every attribute, as the design has them."""
    sick = case(attempt=3, time=NOW - timedelta(seconds=1, milliseconds=500), on_demand=True, cluster_is_hyperpod=True)
    found = letter(ending(sick, reason='The node is "busy".\nWait.'))
    assert json.loads(found.body) == {
        "version": "1",
        "id": "6fa0b3a8-3f8a-4a0c-9a3e-5d1f1b0e0c11",
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Reboot Failed",
        "time": "2026-11-23T02:14:07Z",
        "account": "111122223333",
        "region": "us-west-2",
        "resources": [],
        "detail": {
            "ClusterName": "ml-a",
            "NodeId": instance_id(1),
            "ErrorCode": "InstanceIdInUse",
            "Message": 'The node is "busy".\nWait.',
            "Retryable": True,
            "Attempt": 3,
            "Trigger": {
                "Source": "aws.sagemaker",
                "DetailType": "SageMaker HyperPod Cluster Node Health Event",
                "EventId": "event-1",
                "Time": "2026-11-23T02:14:05.500Z",
                "Reason": "Xid 79",
            },
        },
    }
    assert found.attributes == {"ClusterName": "ml-a", "ErrorCode": "InstanceIdInUse", "Kind": "failed"}
    assert found.delay == 0


def test_what_hyperpod_advised_is_kept_for_the_next_attempt() -> None:
    """A redrive of a refused replacement meets the same guard; a report without advice has no such field."""
    advised = json.loads(letter(ending(case(repair_action="Replace"), Outcome.REFUSED, "ReplacementAdvised")).body)
    assert advised["detail"]["RepairAction"] == "Replace"
    assert "RepairAction" not in json.loads(letter(ending()).body)["detail"]


def test_refused_logical_node_says_so() -> None:
    """The kind of ID names its field; a refusal has a detail-type and a Kind of its own."""
    sick = case(Node(IdKind.LOGICAL_ID, "group-1"))
    found = letter(ending(sick, Outcome.REFUSED, "ClusterNotAllowed"))
    event = json.loads(found.body)
    assert event["detail-type"] == "HyperPod Node Reboot Refused"
    assert event["detail"]["NodeLogicalId"] == "group-1"
    assert "NodeId" not in event["detail"]
    assert (event["detail"]["Attempt"], event["detail"]["Retryable"]) == (1, False)
    assert found.attributes == {"ClusterName": "ml-a", "ErrorCode": "ClusterNotAllowed", "Kind": "refused"}


@pytest.mark.parametrize(
    ("over", "attributes"),
    [
        (ending(settled_case(body="{"), Outcome.UNREADABLE, "Unreadable"), ("unknown", "Unreadable", "unreadable")),
        (
            ending(settled_case(Outcome.REFUSED, "NodeNotResolved", body="{"), Outcome.REFUSED, "NodeNotResolved"),
            ("unknown", "NodeNotResolved", "refused"),
        ),
        (
            ending(case(cluster=None, body="{"), Outcome.REFUSED, "ClusterNotResolved"),
            ("unknown", "ClusterNotResolved", "refused"),
        ),
        (
            ending(case(cluster=None, body="{"), Outcome.FAILED, "AccessDeniedException"),
            ("unknown", "AccessDeniedException", "failed"),
        ),
    ],
)
def test_what_names_no_node_or_cluster_goes_in_as_it_came(over: Ending, attributes: tuple[str, str, str]) -> None:
    """Only the original says what there is to act on; the attributes are the same three."""
    found = letter(over)
    assert found.body == "{"
    assert found.attributes == dict(zip(("ClusterName", "ErrorCode", "Kind"), attributes, strict=True))


@pytest.mark.parametrize(
    ("outcome", "redriven", "delay"),
    [
        (Outcome.REFUSED, "refused", 900),
        (Outcome.UNREADABLE, "unreadable", 900),
        (Outcome.REFUSED, None, 0),
        (Outcome.UNREADABLE, None, 0),
        (Outcome.FAILED, "failed", 0),
    ],
)
def test_refusal_that_a_redrive_brought_back_stays_away(outcome: Outcome, redriven: str | None, delay: int) -> None:
    """Or the redrive that is still running would take it round again."""
    assert letter(ending(case(redriven=redriven), outcome, "ClusterNotAllowed")).delay == delay


@pytest.mark.parametrize("outcome", Outcome)
def test_only_what_a_person_must_act_on_is_a_dead_letter(outcome: Outcome) -> None:
    """The table of outcomes, its last column."""
    expected = outcome in {Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.REFUSED, Outcome.UNREADABLE}
    assert is_reported(ending(outcome=outcome)) is expected


def test_body_survives_every_character() -> None:
    """What cannot be written as UTF-8 is escaped, not lost."""
    hostile = "\x00\ud800\U0001f4a5é\n"
    found = letter(ending(case(Node(IdKind.NODE_ID, hostile), "ml" + hostile), reason=hostile))
    assert found.body.isascii()
    assert json.loads(found.body)["detail"]["NodeId"] == hostile
    assert found.attributes["ClusterName"] == "ml??\U0001f4a5é\n"


def test_attributes_are_never_too_long() -> None:
    """A cluster name that is no cluster's must not spoil the batch that it is in."""
    assert letter(ending(case(cluster="x" * 9000))).attributes["ClusterName"] == "x" * 256


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        *((code, True) for code in sorted(codes.THROTTLING)),
        ("InstanceIdInUse", True),
        ("InvalidInstanceStatus", True),
        ("InternalServerError", True),
        ("OutcomeUnknown", True),
        ("InProgress", True),
        ("LedgerBusy", True),
        ("Paused", True),
        ("CoolingDown", True),
        ("StaleReport", True),
        ("ClusterBudgetExceeded", True),
        ("RebootLimitReached", False),
        ("ReplacementAdvised", False),
        ("ProtectedNode", False),
        ("DeadlineExceeded", True),
        ("InstanceIdNotFound", False),
        ("ResourceNotFound", False),
        ("ValidationException", False),
        ("AccessDeniedException", False),
        ("ClusterNotAllowed", False),
        ("ClusterNotResolved", False),
        ("NodeNotResolved", False),
        ("AmbiguousNodes", False),
        ("NotRecovered", False),
    ],
)
def test_retryable_is_what_another_try_may_change(code: str, retryable: bool) -> None:
    """Machines redrive by this."""
    assert json.loads(letter(ending(code=code)).body)["detail"]["Retryable"] is retryable


def test_attribute_holds_what_sqs_and_sns_take_of_any_text() -> None:
    """Each other code point is one question mark: one such would spoil a whole batch call."""
    taken = {0x9, 0xA, 0xD, *range(0x20, 0xD800), *range(0xE000, 0xFFFE), *range(0x10000, 0x110000)}
    lines = [range(start, start + 256) for start in range(0, 0x110000, 256)]  # as many as an attribute can hold
    kept = ["".join(chr(each) if each in taken else "?" for each in line) for line in lines]
    assert [attribute("".join(map(chr, line))) for line in lines] == kept
