"""Notifications on their way to the topic, over botocore's Stubber."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from node_remediation.aws.topic import SnsTopic
from node_remediation.outbox.notifications import MOST_BYTES, Notification

ARN = "arn:aws:sns:us-west-2:111122223333:failures"


@pytest.fixture(scope="module")
def client(make_client: Callable[..., Any]) -> Any:
    return make_client("sns")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def topic(client: Any, stub: Stubber) -> SnsTopic:
    return SnsTopic(client, topic_arn=ARN)


def notification(text: str = "text", codes: tuple[str, ...] = ("InstanceIdInUse", "Paused")) -> Notification:
    return Notification("a subject", '{"Failed": []}', text, "ml-a", "failed", codes)


def expect(stub: Stubber, sent: dict[int, Notification], *, fail: tuple[int, ...] = ()) -> None:
    """Expect a batch of these notifications, by position; those to `fail` are listed as failed."""
    entries = []
    for position, each in sent.items():
        attributes = {"ClusterName": ("String", each.cluster), "Kind": ("String", each.kind)}
        if each.error_codes:
            attributes["ErrorCodes"] = ("String.Array", '["InstanceIdInUse", "Paused"]')
        entries.append(
            {
                "Id": str(position),
                "Subject": each.subject,
                "Message": each.message,
                "MessageStructure": "json",
                "MessageAttributes": {
                    name: {"DataType": kind, "StringValue": value} for name, (kind, value) in attributes.items()
                },
            }
        )
    taken = [{"Id": str(each), "MessageId": "m"} for each in sent if each not in fail]
    failed = [{"Id": str(each), "SenderFault": False, "Code": "InternalError", "Message": "oops"} for each in fail]
    answer = {"Successful": taken, "Failed": failed}
    stub.add_response("publish_batch", answer, {"TopicArn": ARN, "PublishBatchRequestEntries": entries})


def test_notification_goes_out_with_what_filter_policies_match(topic: SnsTopic, stub: Stubber) -> None:
    """In batches of ten; codes are a list, which an empty one would not be."""
    sent = [notification(str(number)) for number in range(10)] + [notification("last", ())]
    expect(stub, dict(enumerate(sent[:10])))
    expect(stub, {10: sent[10]})
    assert topic.publish(sent) == {}
    assert topic.publish([]) == {}


def test_notifications_that_were_not_taken_are_known_by_position(topic: SnsTopic, stub: Stubber) -> None:
    """With the reason."""
    sent = [notification("a"), notification("b")]
    expect(stub, {0: sent[0], 1: sent[1]}, fail=(1,))
    expect(stub, {1: sent[1]}, fail=(1,))
    expect(stub, {1: sent[1]}, fail=(1,))
    assert topic.publish(sent) == {1: "topic: InternalError: oops"}


@pytest.mark.parametrize("character", ["x", "ü"])
def test_batch_is_at_most_256_kib_with_attributes(topic: SnsTopic, stub: Stubber, character: str) -> None:
    """In bytes, with subject and attributes; two notifications that fit to the byte share a call."""
    rest = len(
        'a subject{"default": "{\\"Failed\\": []}", "email": ""}'
        'ClusterNameStringml-aKindStringfailedErrorCodesString.Array["InstanceIdInUse", "Paused"]'
    )
    text = character * ((MOST_BYTES // 2 - rest) // len(character.encode()))
    fits, over = notification(text), notification(text + "xx")
    expect(stub, {0: fits, 1: fits})
    assert topic.publish([fits, fits]) == {}
    expect(stub, {0: over})
    expect(stub, {1: over})
    assert topic.publish([over, over]) == {}


def test_nothing_is_published_without_time(topic: SnsTopic, stub: Stubber) -> None:
    """The sweep publishes it."""
    assert set(topic.publish([notification()], may_call=lambda: False)) == {0}
