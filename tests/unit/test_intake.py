"""When a message that is handed back comes again, over botocore's Stubber."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from node_remediation.intake import SqsIntake
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
    return SqsIntake(client, queue_url=URL)


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
