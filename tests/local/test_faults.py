"""`local.faults`: calls that go wrong on order, in every protocol, and the count of calls."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from local.aws import LocalAws, LocalAwsError
from tests.local.support import Queue

MakeQueue = Callable[..., Queue]


@pytest.fixture(autouse=True)
def _no_faults_left(aws: LocalAws) -> Iterator[None]:
    yield
    aws.admin("DELETE", "/_local/faults")


def _calls(aws: LocalAws) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """One call per protocol that the project speaks: JSON, query, REST."""
    return {
        "sqs:ListQueues": (aws.client("sqs").list_queues, {}),
        "sns:ListTopics": (aws.client("sns").list_topics, {}),
        "cloudwatch:DescribeAlarms": (aws.client("cloudwatch").describe_alarms, {}),
        "dynamodb:ListTables": (aws.client("dynamodb").list_tables, {}),
        "sagemaker:ListClusters": (aws.client("sagemaker").list_clusters, {}),
        "ssm:DescribeParameters": (aws.client("ssm").describe_parameters, {}),
        "lambda:ListFunctions": (aws.client("lambda").list_functions, {}),
    }


_EVERY_CALL = [
    "sqs:ListQueues",
    "sns:ListTopics",
    "cloudwatch:DescribeAlarms",
    "dynamodb:ListTables",
    "sagemaker:ListClusters",
    "ssm:DescribeParameters",
    "lambda:ListFunctions",
]


@pytest.mark.parametrize("name", _EVERY_CALL)
def test_an_injected_error_reaches_the_caller_as_the_services_own(name: str, aws: LocalAws) -> None:
    """With status, code and message, as often as it says; then all is well again, and every call was counted."""
    service, action = name.split(":")
    call, arguments = _calls(aws)[name]
    before = aws.calls().get(name, 0)
    fault = {"service": service, "action": f"^{action}$", "count": 2, "status": 400}
    aws.faults({**fault, "code": "ThrottlingException", "message": "Rate exceeded"})
    for _ in range(2):
        with pytest.raises(ClientError) as refused:
            call(**arguments)
        error = refused.value.response
        assert (error["Error"]["Code"], error["Error"]["Message"]) == ("ThrottlingException", "Rate exceeded")
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    call(**arguments)
    assert aws.calls()[name] - before == 3


@pytest.mark.parametrize("after", [False, True])
def test_a_reset_closes_the_connection_without_an_answer(after: bool, aws: LocalAws, make_queue: MakeQueue) -> None:
    """Before the call is carried out or after it: the caller cannot tell."""
    queue = make_queue()
    aws.faults({"service": "sqs", "action": "SendMessage", "reset": True, "after": after})
    with pytest.raises(ConnectionClosedError):
        queue.client.send_message(QueueUrl=queue.url, MessageBody="x")
    assert queue.count() == int(after)


def test_an_answer_can_be_lost_after_the_call_was_carried_out(aws: LocalAws, make_queue: MakeQueue) -> None:
    """With an error in its place."""
    queue = make_queue()
    aws.faults({"service": "sqs", "action": "SendMessageBatch", "status": 503, "after": True})
    with pytest.raises(ClientError) as refused:
        queue.send("x")
    assert refused.value.response["Error"]["Code"] == "InternalFailure"
    assert queue.count() == 1


def test_a_delay_alone_only_delays(aws: LocalAws) -> None:
    """The call is carried out then."""
    aws.faults({"service": "sqs", "action": "ListQueues", "delay": 0.3})
    started = time.monotonic()
    aws.client("sqs").list_queues()
    assert time.monotonic() - started >= 0.3


def test_faults_choose_their_calls_by_action_and_body_and_are_met_in_order(
    aws: LocalAws, make_queue: MakeQueue
) -> None:
    """What does not match passes."""
    queue = make_queue()
    fault = {"service": "sqs", "action": "SendMessage", "body": "poison", "status": 400}
    aws.faults({**fault, "code": "First"}, {**fault, "code": "Second"})
    queue.send("fine")
    for code in ("First", "Second"):
        with pytest.raises(ClientError) as refused:
            queue.send("poison")
        assert refused.value.response["Error"]["Code"] == code
    assert aws.admin("GET", "/_local/faults") == []
    assert queue.count() == 1


def test_a_fault_that_is_not_understood_is_refused(aws: LocalAws) -> None:
    """And none of its neighbours is added."""
    with pytest.raises(LocalAwsError, match="actoin"):
        aws.faults({"service": "sqs"}, {"service": "sqs", "actoin": "x"})
    with pytest.raises(LocalAwsError, match="service is missing"):
        aws.faults({"action": "x"})
    assert aws.admin("GET", "/_local/faults") == []


def test_the_log_of_calls_keeps_their_order(aws: LocalAws) -> None:
    """Each with service, action and time."""
    aws.client("sqs").list_queues()
    aws.client("dynamodb").list_tables()
    last = aws.admin("GET", "/_local/calls?log=1")[-2:]
    assert [(call["service"], call["action"]) for call in last] == [("sqs", "ListQueues"), ("dynamodb", "ListTables")]


def test_an_unknown_admin_path_is_an_error(aws: LocalAws) -> None:
    """It says which."""
    with pytest.raises(LocalAwsError, match="GET /_local/nothing is not known"):
        aws.admin("GET", "/_local/nothing")
