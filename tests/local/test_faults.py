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


@pytest.mark.parametrize(
    ("service", "action", "method"),
    [
        ("sqs", "ListQueues", "list_queues"),
        ("sns", "ListTopics", "list_topics"),
        ("cloudwatch", "DescribeAlarms", "describe_alarms"),
        ("dynamodb", "ListTables", "list_tables"),
        ("sagemaker", "ListClusters", "list_clusters"),
        ("ssm", "DescribeParameters", "describe_parameters"),
        ("lambda", "ListFunctions", "list_functions"),
    ],
)
def test_an_injected_error_reaches_the_caller_as_the_services_own(
    service: str, action: str, method: str, aws: LocalAws
) -> None:
    """JSON, query, REST: as often as it says; then all is well again, and every call was counted in order."""
    call, name = getattr(aws.client(service), method), f"{service}:{action}"
    before = aws.calls().get(name, 0)
    fault = {"service": service, "action": f"^{action}$", "count": 2, "status": 400}
    aws.faults({**fault, "code": "ThrottlingException", "message": "Rate exceeded"})
    for _ in range(2):
        with pytest.raises(ClientError) as refused:
            call()
        error = refused.value.response
        assert (error["Error"]["Code"], error["Error"]["Message"]) == ("ThrottlingException", "Rate exceeded")
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    call()
    assert aws.calls()[name] - before == 3
    last = aws.admin("GET", "/_local/calls?log=1")[-3:]
    assert [(each["service"], each["action"]) for each in last] == [(service, action)] * 3


@pytest.mark.parametrize("after", [False, True])
def test_a_call_fails_before_it_is_carried_out_or_after(after: bool, aws: LocalAws, make_queue: MakeQueue) -> None:
    """With a closed connection or an error: the caller cannot tell."""
    queue = make_queue()
    fault = {"service": "sqs", "action": "SendMessage", "after": after}
    aws.faults({**fault, "reset": True}, {**fault, "status": 503})
    for error in (ConnectionClosedError, ClientError):
        with pytest.raises(error):
            queue.client.send_message(QueueUrl=queue.url, MessageBody="x")
    assert queue.count() == 2 * after


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


@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        ("POST", "faults", [{"service": "sqs"}, {"service": "sqs", "actoin": "x"}], "actoin"),
        ("POST", "faults", [{"action": "x"}], "service is missing"),
        ("POST", "chaos", {"function": "f", "seed": 1, "rate": 7}, "rate takes 0 to 1"),
        ("POST", "chaos", {"function": "f", "seeed": 1, "rate": 1}, "seeed"),
        ("GET", "nothing", None, "GET /_local/nothing is not known"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    *, method: str, path: str, body: Any, text: str, aws: LocalAws
) -> None:
    """And no fault beside it is added."""
    with pytest.raises(LocalAwsError, match=text):
        aws.admin(method, f"/_local/{path}", body)
    assert aws.admin("GET", "/_local/faults") == []


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
    queue, client_of = make_queue(), _as_function(aws, unique)
    sqs = client_of("sqs")
    aws.chaos(function=unique, seed=1, rate=1)
    fates = [_fate(sqs.send_message, QueueUrl=queue.url, MessageBody="x") for _ in range(60)]
    assert _fate(client_of("cloudwatch").describe_alarms) == "fine"
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
