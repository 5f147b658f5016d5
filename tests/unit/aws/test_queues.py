"""Letters to the dead-letter queue, and messages that come again, over botocore's Stubber."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber

from node_remediation.aws.queues import SqsDeadLetters, SqsIntake
from node_remediation.model import Message
from node_remediation.outbox.letters import MOST_BYTES, Letter

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
URL = "https://sqs.us-west-2.amazonaws.com/111122223333/queue"
ATTRIBUTES = {"ClusterName": "ml-a", "ErrorCode": "InstanceIdInUse", "Kind": "failed"}
# Name, the type String, and value of each attribute.
ATTRIBUTE_BYTES = len("ClusterNameStringml-a" + "ErrorCodeStringInstanceIdInUse" + "KindStringfailed")


@pytest.fixture(scope="module")
def client(make_client: Callable[..., Any]) -> Any:
    return make_client("sqs")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def letters(client: Any, stub: Stubber) -> SqsDeadLetters:
    return SqsDeadLetters(client, queue_url=URL)


@pytest.fixture
def intake(client: Any, stub: Stubber) -> SqsIntake:
    return SqsIntake(client, queue_url=URL)


def expect(stub: Stubber, sent: dict[int, Letter], *, fail: tuple[int, ...] = ()) -> None:
    """Expect a batch of these letters, by position; those to `fail` are listed as failed."""
    entries = [
        {
            "Id": str(position),
            "MessageBody": letter.body,
            "DelaySeconds": letter.delay,
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in letter.attributes.items()
            },
        }
        for position, letter in sent.items()
    ]
    taken = [{"Id": str(each), "MessageId": "m", "MD5OfMessageBody": "x"} for each in sent if each not in fail]
    failed = [{"Id": str(each), "SenderFault": False, "Code": "InternalError", "Message": "oops"} for each in fail]
    stub.add_response(
        "send_message_batch", {"Successful": taken, "Failed": failed}, {"QueueUrl": URL, "Entries": entries}
    )


def test_letter_goes_out_with_its_attributes_and_delay(letters: SqsDeadLetters, stub: Stubber) -> None:
    """In batches of ten."""
    sent = [Letter(f"body {number}", ATTRIBUTES, delay=number) for number in range(12)]
    expect(stub, dict(enumerate(sent[:10])))
    expect(stub, {10: sent[10], 11: sent[11]})
    assert letters.send(sent) == {}
    assert letters.send([]) == {}


def test_letters_that_were_not_taken_are_known_by_position(letters: SqsDeadLetters, stub: Stubber) -> None:
    """With the reason."""
    sent = [Letter("a", ATTRIBUTES), Letter("b", ATTRIBUTES)]
    expect(stub, {0: sent[0], 1: sent[1]}, fail=(1,))
    expect(stub, {1: sent[1]}, fail=(1,))
    expect(stub, {1: sent[1]}, fail=(1,))
    assert letters.send(sent) == {1: "dead-letter queue: InternalError: oops"}


@pytest.mark.parametrize("character", ["x", "ü"])
def test_batch_is_at_most_a_mebibyte_with_attributes(letters: SqsDeadLetters, stub: Stubber, character: str) -> None:
    """In bytes: SQS counts bodies and attributes, in UTF-8; two letters that fit to the byte share a call."""
    half = MOST_BYTES // 2 - ATTRIBUTE_BYTES
    fits = Letter((character * half)[: half // len(character.encode())], ATTRIBUTES)
    over = Letter(fits.body + "xx", ATTRIBUTES)
    expect(stub, {0: fits, 1: fits})
    assert letters.send([fits, fits]) == {}
    expect(stub, {0: over})
    expect(stub, {1: over})
    assert letters.send([over, over]) == {}


# -- messages that come again


def message(number: int, receives: int = 1) -> Message:
    return Message(f"m-{number}", "{}", NOW, receives=receives, receipt_handle=f"handle-{number}")


def expected(messages: list[Message]) -> dict[str, Any]:
    entries = [
        {"Id": str(index), "ReceiptHandle": each.receipt_handle, "VisibilityTimeout": 30 * each.receives}
        for index, each in enumerate(messages)
    ]
    return {"QueueUrl": URL, "Entries": entries}


OPERATION = "change_message_visibility_batch"
NOTHING: dict[str, Any] = {"Successful": [], "Failed": []}


def test_message_comes_again_after_30_s_times_its_receives(intake: SqsIntake, stub: Stubber) -> None:
    """The more often it came, the longer it stays away."""
    messages = [message(receives, receives) for receives in (1, 2, 4)]
    params = expected(messages)
    assert [entry["VisibilityTimeout"] for entry in params["Entries"]] == [30, 60, 120]
    stub.add_response(OPERATION, NOTHING, params)
    assert intake.come_again(messages) is None


def test_more_than_ten_messages_take_several_calls(intake: SqsIntake, stub: Stubber) -> None:
    """The ID of an entry is unique within its call."""
    messages = [message(number) for number in range(23)]
    for start in (0, 10, 20):
        stub.add_response(OPERATION, NOTHING, expected(messages[start : start + 10]))
    assert intake.come_again(messages) is None


def test_direct_payload_has_nothing_to_change(intake: SqsIntake, stub: Stubber) -> None:
    """It did not come from the queue and does not go back there."""
    assert intake.come_again([Message("m-1", "{}", NOW)]) is None
    assert intake.come_again([]) is None


def test_trouble_of_one_call_is_told_and_does_not_stop_the_next(intake: SqsIntake, stub: Stubber) -> None:
    """The visibility timeout brings the message back anyway."""
    messages = [message(number) for number in range(20)]
    stub.add_client_error(OPERATION, "AWS.SimpleQueueService.NonExistentQueue", "gone", 400)
    stub.add_response(OPERATION, NOTHING, expected(messages[10:]))
    assert intake.come_again(messages) == "AWS.SimpleQueueService.NonExistentQueue: gone"


def test_entry_that_could_not_be_changed_is_told(intake: SqsIntake, stub: Stubber) -> None:
    """An answer may list failures."""
    failed = {"Id": "0", "SenderFault": True, "Code": "ReceiptHandleIsInvalid", "Message": "expired"}
    stub.add_response(OPERATION, {"Successful": [], "Failed": [failed]}, expected([message(1)]))
    assert "expired" in (intake.come_again([message(1)]) or "")
