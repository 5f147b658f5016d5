"""When a message that is handed back comes again, over botocore's Stubber."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from node_remediation.intake import Delayed, SqsIntake
from node_remediation.model import Message
from tests.unit.fakes import NOW, message

URL = "https://sqs.us-west-2.amazonaws.com/111122223333/intake"
OPERATION = "change_message_visibility_batch"


@pytest.fixture(scope="module")
def client() -> Any:
    session = boto3.Session(aws_access_key_id="unit", aws_secret_access_key="unit", region_name="us-west-2")
    return session.client("sqs")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def intake(client: Any, stub: Stubber) -> SqsIntake:
    return SqsIntake(lambda: client, queue_url=URL)


def expected(messages: list[Message]) -> dict[str, Any]:
    entries = [
        {"Id": str(index), "ReceiptHandle": f"handle-{each.id}", "VisibilityTimeout": 30 * each.receives}
        for index, each in enumerate(messages)
    ]
    return {"QueueUrl": URL, "Entries": entries}


NOTHING: dict[str, Any] = {"Successful": [], "Failed": []}


def test_message_comes_again_after_30_s_times_its_receives(intake: SqsIntake, stub: Stubber) -> None:
    """The more often it came, the longer it stays away."""
    messages = [message({}, id=f"m-{receives}", receives=receives) for receives in (1, 2, 4)]
    params = expected(messages)
    assert [entry["VisibilityTimeout"] for entry in params["Entries"]] == [30, 60, 120]
    stub.add_response(OPERATION, NOTHING, params)
    assert intake.come_again(messages) is None


def test_more_than_ten_messages_take_several_calls(intake: SqsIntake, stub: Stubber) -> None:
    """SQS takes ten at a time; the ID of an entry is unique within its call."""
    messages = [message({}, id=f"m-{number}") for number in range(23)]
    for start in (0, 10, 20):
        stub.add_response(OPERATION, NOTHING, expected(messages[start : start + 10]))
    assert intake.come_again(messages) is None


def test_direct_payload_has_nothing_to_change(intake: SqsIntake, stub: Stubber) -> None:
    """What did not come from the queue does not go back there."""
    assert intake.come_again([Message("m-1", "{}", NOW)]) is None
    assert intake.come_again([]) is None


def test_trouble_of_one_call_is_told_and_does_not_stop_the_next(intake: SqsIntake, stub: Stubber) -> None:
    """Handing back is a courtesy: the visibility time-out brings the message back anyway."""
    messages = [message({}, id=f"m-{number}") for number in range(20)]
    stub.add_client_error(OPERATION, "AWS.SimpleQueueService.NonExistentQueue", "gone", 400)
    stub.add_response(OPERATION, NOTHING, expected(messages[10:]))
    assert "gone" in (intake.come_again(messages) or "")


def test_entry_that_could_not_be_changed_is_told(intake: SqsIntake, stub: Stubber) -> None:
    """A partial failure is trouble too."""
    failed = [{"Id": "0", "SenderFault": True, "Code": "ReceiptHandleIsInvalid"}]
    stub.add_response(OPERATION, {"Successful": [], "Failed": failed}, expected([message({})]))
    assert "ReceiptHandleIsInvalid" in (intake.come_again([message({})]) or "")


SEND = "send_message_batch"


def checks(number: int) -> list[Delayed]:
    return [Delayed(f'{{"check": {index}}}', index) for index in range(number)]


def batch(of: list[Delayed]) -> dict[str, Any]:
    entries = [
        {"Id": str(index), "MessageBody": each.body, "DelaySeconds": each.delay} for index, each in enumerate(of)
    ]
    return {"QueueUrl": URL, "Entries": entries}


def taken(positions: list[int], failed: dict[int, str] | None = None) -> dict[str, Any]:
    return {
        "Successful": [{"Id": str(at), "MessageId": f"id-{at}", "MD5OfMessageBody": "0"} for at in positions],
        "Failed": [
            {"Id": str(at), "SenderFault": True, "Code": code, "Message": "words"}
            for at, code in (failed or {}).items()
        ],
    }


def test_checks_are_sent_ten_at_a_time_each_with_its_delay(intake: SqsIntake, stub: Stubber) -> None:
    """In their order; the delay is each message's own."""
    wanted = checks(23)
    for start in (0, 10, 20):
        part = wanted[start : start + 10]
        stub.add_response(SEND, taken(list(range(len(part)))), batch(part))
    assert intake.send(wanted) == {}


def test_no_checks_call_nobody(intake: SqsIntake, stub: Stubber) -> None:
    """SQS takes no empty batch."""
    assert intake.send([]) == {}


def test_check_that_was_not_taken_is_sent_again_by_itself(intake: SqsIntake, stub: Stubber) -> None:
    """What was taken is not sent twice."""
    wanted = checks(3)
    stub.add_response(SEND, taken([0, 2], {1: "InternalError"}), batch(wanted))
    stub.add_response(SEND, taken([0]), batch(wanted[1:2]))
    assert intake.send(wanted) == {}


def test_check_that_stays_untaken_is_told_by_its_position(intake: SqsIntake, stub: Stubber) -> None:
    """Over all batches: the message that asked for it comes again."""
    wanted = checks(12)
    stub.add_response(SEND, taken(list(range(10))), batch(wanted[:10]))
    stub.add_response(SEND, taken([0], {1: "InternalError"}), batch(wanted[10:]))
    for _ in range(2):
        stub.add_response(SEND, taken([], {0: "InternalError"}), batch(wanted[11:]))
    assert intake.send(wanted) == {11: "intake queue: InternalError: words"}


def test_check_that_the_answer_does_not_name_is_not_taken(intake: SqsIntake, stub: Stubber) -> None:
    """Only what SQS says it has is sent."""
    for _ in range(3):
        stub.add_response(SEND, taken([]), batch(checks(1)))
    assert list(intake.send(checks(1))) == [0]


def test_queue_that_is_down_takes_no_check_and_does_not_stop_the_next_batch(intake: SqsIntake, stub: Stubber) -> None:
    """Each check that was not taken is told with AWS's words."""
    wanted = checks(11)
    stub.add_client_error(SEND, "ServiceUnavailable", "down", 503)
    stub.add_response(SEND, taken([0]), batch(wanted[10:]))
    assert intake.send(wanted) == dict.fromkeys(range(10), "intake queue: ServiceUnavailable: down")


def test_batch_that_is_rejected_whole_is_sent_one_by_one(intake: SqsIntake, stub: Stubber) -> None:
    """One check that SQS does not take holds up no other."""
    wanted = checks(3)
    stub.add_client_error(SEND, "InvalidMessageContents", "odd", 400)
    stub.add_response(SEND, taken([0]), batch(wanted[:1]))
    stub.add_client_error(SEND, "InvalidMessageContents", "odd", 400)
    stub.add_response(SEND, taken([0]), batch(wanted[2:]))
    assert intake.send(wanted) == {1: "intake queue: InvalidMessageContents: odd"}
