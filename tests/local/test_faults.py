"""`local.faults`: calls that go wrong on order or at random, in every protocol, and the count of calls."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import groupby
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
    aws.end_chaos()


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


def _as_function(aws: LocalAws, name: str) -> Callable[[str], Any]:
    """Makes clients with the credentials of a function of this name, which may do everything."""
    iam, allow = aws.client("iam"), {"Effect": "Allow", "Action": "*", "Resource": "*"}
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{aws.account}:root"}, "Action": "sts:AssumeRole"}
    policies = [json.dumps({"Version": "2012-10-17", "Statement": [statement]}) for statement in (trust, allow)]
    role = iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=policies[0])["Role"]
    iam.put_role_policy(RoleName=role["RoleName"], PolicyName="all", PolicyDocument=policies[1])
    session = aws.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName=name)["Credentials"]
    key, secret, token = (session[part] for part in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    return lambda service: aws.client(service, key=key, secret=secret, token=token)


def _fate(call: Callable[..., Any], **arguments: Any) -> str:
    try:
        call(**arguments)
    except ConnectionClosedError:
        return "lost"
    except ClientError as error:
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return "throttled" if status < 500 else "failed"
    return "fine"


def test_chaos_meets_the_functions_calls_and_nobody_elses(aws: LocalAws, unique: str, make_queue: MakeQueue) -> None:
    """Throttled, failed before or after the work, or without an answer: what was not throttled may have been done."""
    queue, sqs = make_queue(), _as_function(aws, unique)("sqs")
    aws.chaos(function=unique, seed=1, rate=1)
    fates = [_fate(sqs.send_message, QueueUrl=queue.url, MessageBody="x") for _ in range(60)]
    done, counted = queue.count(), {kind: fates.count(kind) for kind in ("throttled", "failed", "lost")}
    assert min(counted.values()) > 5
    assert counted["lost"] < done < counted["lost"] + counted["failed"]
    assert aws.end_chaos() == {f"sqs {kind}": number for kind, number in counted.items()}
    assert _fate(sqs.send_message, QueueUrl=queue.url, MessageBody="x") == "fine"


def test_chaos_speaks_each_services_protocol_and_repeats_itself(aws: LocalAws, unique: str) -> None:
    """The same seed brings the same faults in the same order; some last longer than a client's retries."""
    client_of = _as_function(aws, unique)
    sns, dynamodb = client_of("sns"), client_of("dynamodb")
    runs = []
    for seed in (1, 1, 2):
        aws.chaos(function=unique, seed=seed, rate=0.2)
        runs.append([_fate(call) for _ in range(20) for call in (sns.list_topics, dynamodb.list_tables)])
    assert runs[0] == runs[1] != runs[2]
    assert 10 <= runs[0].count("fine") <= 35
    in_a_row = max(
        len(list(same)) for of_one in (runs[0][::2], runs[0][1::2]) for fine, same in _runs(of_one) if not fine
    )
    assert in_a_row >= 3


def _runs(fates: list[str]) -> Any:
    return groupby(fate == "fine" for fate in fates)


def test_chaos_leaves_other_services_alone(aws: LocalAws, unique: str) -> None:
    client = _as_function(aws, unique)("cloudwatch")
    aws.chaos(function=unique, seed=1, rate=1)
    assert _fate(client.describe_alarms) == "fine"


def test_chaos_that_is_not_understood_is_refused(aws: LocalAws) -> None:
    with pytest.raises(LocalAwsError, match="rate takes 0 to 1"):
        aws.chaos(function="f", seed=1, rate=7)
    with pytest.raises(LocalAwsError, match="seeed"):
        aws.admin("POST", "/_local/chaos", {"function": "f", "seeed": 1, "rate": 1})
