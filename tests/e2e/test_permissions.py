"""Tries what the deployed function's role may do to ledger, mode, queues and alarms, as IAM decides it."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.e2e import events
from tests.e2e.system import System

KEY: dict[str, Any] = {"pk": {"S": "node#ml-no-cluster#i-0123456789abcdef0"}}
ABSENT = {"ConditionExpression": "attribute_not_exists(pk)"}


@pytest.fixture(scope="module")
def as_function(system: System) -> dict[str, str]:
    """Return credentials of a user with the role's policy: only Lambda may assume the role itself."""
    role = system.aws.client("lambda").get_function_configuration(FunctionName=system.outputs["FunctionName"])["Role"]
    iam, name = system.aws.client("iam"), "as-function"
    (policy,) = iam.list_role_policies(RoleName=role.rsplit("/", 1)[1])["PolicyNames"]
    document = iam.get_role_policy(RoleName=role.rsplit("/", 1)[1], PolicyName=policy)["PolicyDocument"]
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName=policy, PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def _code(client: Any, call: str, **arguments: Any) -> str:
    """Return the code of a call's error; empty where there is none."""
    try:
        getattr(client, call)(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_role_reads_and_puts_items_of_the_ledger(system: System, as_function: dict[str, str]) -> None:
    """In transactions with conditions: those take no permission of their own."""
    dynamodb, table = system.aws.client("dynamodb", **as_function), system.outputs["LedgerTableName"]
    put = {"Put": {"TableName": table, "Item": KEY, **ABSENT}}
    dynamodb.transact_write_items(TransactItems=[put])
    assert _code(dynamodb, "transact_write_items", TransactItems=[put]) == "TransactionCanceledException"
    read = dynamodb.batch_get_item(RequestItems={table: {"Keys": [KEY], "ConsistentRead": True}})
    assert read["Responses"] == {table: [KEY]}


def test_role_queries_the_index_of_what_is_due_and_not_the_table(system: System, as_function: dict[str, str]) -> None:
    """A sweep needs the index alone."""
    dynamodb = system.aws.client("dynamodb", **as_function)
    table = {"TableName": system.outputs["LedgerTableName"], "ExpressionAttributeNames": {"#key": "shard"}}
    asked = table | {"KeyConditionExpression": "#key = :key", "ExpressionAttributeValues": {":key": {"S": "0"}}}
    assert _code(dynamodb, "query", **asked, IndexName="due") == ""
    asked |= {"ExpressionAttributeNames": {"#key": "pk"}, "ExpressionAttributeValues": {":key": KEY["pk"]}}
    assert _code(dynamodb, "query", **asked) == "AccessDeniedException"


@pytest.mark.parametrize("call", ["get_item", "update_item", "delete_item", "scan"])
def test_role_does_nothing_else_to_the_ledger(system: System, as_function: dict[str, str], call: str) -> None:
    """A mistake in the code cannot do what the code does not do."""
    arguments: dict[str, Any] = {} if call == "scan" else {"Key": KEY}
    dynamodb = system.aws.client("dynamodb", **as_function)
    assert _code(dynamodb, call, TableName=system.outputs["LedgerTableName"], **arguments) == "AccessDeniedException"


def test_role_touches_no_other_table(system: System, as_function: dict[str, str]) -> None:
    """Not even in a transaction with its own."""
    dynamodb = system.aws.client("dynamodb", **as_function)
    tables = (system.outputs["LedgerTableName"], "of-another-stack")
    puts = [{"Put": {"TableName": table, "Item": KEY}} for table in tables]
    assert _code(dynamodb, "transact_write_items", TransactItems=puts) == "AccessDeniedException"


def test_role_reads_this_stacks_mode_and_cannot_set_it(system: System, as_function: dict[str, str]) -> None:
    """Where it is not set, the role is told so, not that it may not know."""
    ssm, name = system.aws.client("ssm", **as_function), system.outputs["ModeParameterName"]
    own = _code(ssm, "get_parameter", Name=name)
    other = _code(ssm, "get_parameter", Name=name.replace("HyperPodNodeRemediation", "Another"))
    written = _code(ssm, "put_parameter", Name=name, Value="active", Type="String", Overwrite=True)
    assert own in ("ParameterNotFound", "")  # whichever test came before
    assert (other, written) == ("AccessDeniedException", "AccessDeniedException")


def test_role_sends_letters_and_nothing_elsewhere(system: System, as_function: dict[str, str]) -> None:
    """Not to its own intake queue either: nothing is ever sent to oneself."""
    sqs, body = system.aws.client("sqs", **as_function), json.dumps(events.health("ml-no-cluster", "i-0", "Marker"))
    other = system.observer.topic_queue
    assert _code(sqs, "send_message", QueueUrl=system.outputs["DeadLetterQueueUrl"], MessageBody=body) == ""
    for url in (system.outputs["IntakeQueueUrl"], other):
        assert "AccessDenied" in _code(sqs, "send_message", QueueUrl=url, MessageBody=body)


def test_role_asks_alarms_and_changes_none(system: System, as_function: dict[str, str]) -> None:
    """Their states, and the series that keep them in ALARM."""
    cloudwatch = system.aws.client("cloudwatch", **as_function)
    assert _code(cloudwatch, "describe_alarms", AlarmNames=["hyperpod-reboot-none"]) == ""
    assert "NotFound" in _code(cloudwatch, "describe_alarm_contributors", AlarmName="hyperpod-reboot-none")
    state = {"AlarmName": "hyperpod-reboot-none", "StateValue": "OK", "StateReason": "none"}
    assert "AccessDenied" in _code(cloudwatch, "set_alarm_state", **state)
