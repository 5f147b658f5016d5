"""The letters of the dead-letter queue: their bodies are an interface, and SQS must take each."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.model import Alarm, Outcome, Trigger
from node_remediation.outbox.letters import Letter, attribute, letter, raw_letter, size
from node_remediation.policy.record import Entry
from tests.unit.outbox.makers import HEALTH, HOME, HOSTILE, LOGICAL, NOW, entries, entry, node

MOST = 1_048_576


def written(of: Entry) -> Letter:
    return letter(of, now=NOW, home=HOME)


def bytes_of(sent: Letter) -> int:
    """A message's bytes as SQS counts them."""
    attributes = sum(len((name + "String" + value).encode()) for name, value in sent.attributes.items())
    return len(sent.body.encode()) + attributes


def raw(body: str, cluster: str | None = None, code: str = "Unreadable", kind: str = "unreadable") -> Letter:
    return raw_letter(body, cluster=cluster, code=code, kind=kind)


def test_failed_node_is_an_event_that_can_be_put_back() -> None:
    """Every field of the body, every attribute and the delay are as documented."""
    at = NOW - timedelta(seconds=1, milliseconds=500)
    failed = entry(
        message='The node is "busy".\nWait.',
        attempt=3,
        instance_id=node(1).id,
        repair_action="Replace",
        alarm=Alarm(
            "hyperpod-reboot-xid", "arn:aws:cloudwatch:us-west-2:111122223333:alarm:hyperpod-reboot-xid", by_series=True
        ),
        trigger=Trigger("aws.sagemaker", HEALTH, "event-1", at, "Xid 79"),
        delay=900,
    )
    found = written(failed)
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
            "IncidentId": "0a7d0c8e-6a5b-5d35-8a43-6a4ef9d9c1aa",
            "ClusterName": "ml-a",
            "NodeId": node(1).id,
            "InstanceId": node(1).id,
            "ErrorCode": "InstanceIdInUse",
            "Message": 'The node is "busy".\nWait.',
            "Retryable": True,
            "Attempt": 3,
            "RepairAction": "Replace",
            "Alarm": {
                "Name": "hyperpod-reboot-xid",
                "Arn": "arn:aws:cloudwatch:us-west-2:111122223333:alarm:hyperpod-reboot-xid",
                "BySeries": True,
            },
            "Trigger": {
                "Source": "aws.sagemaker",
                "DetailType": HEALTH,
                "EventId": "event-1",
                "Time": "2026-11-23T02:14:05.500Z",
                "Reason": "Xid 79",
            },
        },
    }
    assert found.attributes == {"ClusterName": "ml-a", "ErrorCode": "InstanceIdInUse", "Kind": "failed"}
    assert found.delay == 900


def test_refused_logical_node_says_so() -> None:
    """The kind of ID names its field; a refusal has a detail-type and a Kind of its own."""
    found = written(entry(Outcome.REFUSED, node=LOGICAL))
    event = json.loads(found.body)
    assert event["detail-type"] == "HyperPod Node Reboot Refused"
    assert event["detail"]["NodeLogicalId"] == LOGICAL.id
    assert "NodeId" not in event["detail"]
    assert found.attributes == {"ClusterName": "ml-a", "ErrorCode": "ClusterNotAllowed", "Kind": "refused"}
    assert found.delay == 0


def test_node_that_did_not_recover_is_told_as_failed() -> None:
    """Scripts and filters need no further kind."""
    found = written(entry(Outcome.NOT_RECOVERED))
    assert json.loads(found.body)["detail-type"] == "HyperPod Node Reboot Failed"
    assert found.attributes == {"ClusterName": "ml-a", "ErrorCode": "NotRecovered", "Kind": "failed"}


def test_entry_sent_again_is_the_same_letter() -> None:
    """A rival or a repeat that sends it too adds no letter with another ID."""
    ids = [json.loads(letter(entry(), now=now, home=HOME).body)["id"] for now in (NOW, NOW + timedelta(hours=1))]
    assert ids == [entry().id, entry().id]


def test_message_without_a_node_goes_in_as_it_came() -> None:
    """Only the original says what there is to act on."""
    assert raw(' {"é": "\U0001f4a5"}\n') == Letter(
        ' {"é": "\U0001f4a5"}\n', {"ClusterName": "unknown", "ErrorCode": "Unreadable", "Kind": "unreadable"}, 0
    )
    refused = raw_letter("{", cluster="ml-a", code="NodeNotResolved", kind=Outcome.REFUSED, delay=900)
    attributes = {"ClusterName": "ml-a", "ErrorCode": "NodeNotResolved", "Kind": "refused"}
    assert refused == Letter("{", attributes, 900)


@given(st.text(max_size=60), st.none() | st.text(max_size=300), st.text(max_size=300))
def test_size_counts_bytes_of_body_and_attributes(body: str, cluster: str | None, code: str) -> None:
    """SQS counts UTF-8, and each attribute's name, type and value."""
    sent = raw(body, cluster, code)
    assert size(sent) == bytes_of(sent)


def test_size_of_a_known_letter_is_what_sqs_counts() -> None:
    """Six characters of two bytes, and three attributes counted by hand."""
    assert size(raw("éééééé", "é", "C", "failed")) == 12 + (11 + 6 + 2) + (9 + 6 + 1) + (4 + 6 + 6)


@pytest.mark.parametrize("character", ["x", "é", "€", "\U0001f4a5"])
@pytest.mark.parametrize("more", range(-1, 6))
def test_raw_body_is_cut_only_where_sqs_would_not_take_it(character: str, more: int) -> None:
    """The limit is in bytes and includes the attributes; the beginning is kept as it came, as much as fits."""
    room = MOST - size(raw("", cluster="é" * 256))
    body = character * ((room + more) // len(character.encode()))
    body += "x" * (room + more - len(body.encode()))
    sent = raw(body, cluster="é" * 256)
    assert bytes_of(sent) <= MOST
    if more <= 0:
        assert sent.body == body
    else:
        beginning, mark = sent.body[: -len("…[cut]")], sent.body[-len("…[cut]") :]
        assert mark == "…[cut]"
        assert body.startswith(beginning)
        assert bytes_of(sent) > MOST - 4


def test_body_of_a_full_mebibyte_is_sent() -> None:
    """SQS delivers it without attributes; with ours it would be too long to be reported at all."""
    sent = raw("\U0001f4a5" * (MOST // 4))
    assert MOST - 4 < bytes_of(sent) <= MOST


def test_raw_body_has_no_character_that_sqs_refuses() -> None:
    """A direct invocation's payload may hold what no queue would have delivered."""
    assert raw(HOSTILE).body == '????\U0001f4a5é\u2028\r\n\x7f"\\'


@given(entries().filter(lambda each: each.node is not None and each.cluster is not None))
def test_any_entry_is_a_letter_that_sqs_takes(any_entry: Entry) -> None:
    """Under the limit, valid JSON in sendable characters, attributes of one to 256 characters."""
    found = written(any_entry)
    json.loads(found.body)
    assert bytes_of(found) <= MOST
    assert all(attribute(character) == character for character in set(found.body))
    assert all(1 <= len(value) <= 256 and attribute(value) == value for value in found.attributes.values())


def test_odd_characters_survive_in_the_body() -> None:
    """Escaped where SQS would refuse them; a lone surrogate is no character."""
    found = written(replace(entry(), message=HOSTILE))
    assert json.loads(found.body)["detail"]["Message"] == HOSTILE.replace("\ud800", "?")


@pytest.mark.parametrize(
    ("value", "sent"), [(None, "unknown"), ("", "unknown"), ("x" * 9_000, "x" * 256), ("ml\x00\n", "ml?\n")]
)
def test_attribute_is_one_that_sqs_takes(value: str | None, sent: str) -> None:
    """SQS refuses a whole batch for an empty or an odd one; no cluster's name is longer than 256 characters."""
    assert attribute(value) == sent


def test_attribute_holds_what_sqs_and_sns_take_of_any_text() -> None:
    """Each other code point is one question mark."""
    taken = {0x9, 0xA, 0xD, *range(0x20, 0xD800), *range(0xE000, 0xFFFE), *range(0x10000, 0x110000)}
    lines = [range(start, start + 256) for start in range(0, 0x110000, 256)]  # as many as an attribute can hold
    kept = ["".join(chr(each) if each in taken else "?" for each in line) for line in lines]
    assert [attribute("".join(map(chr, line))) for line in lines] == kept
