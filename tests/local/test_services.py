"""What the project relies on and stock does as AWS does. An upgrade of the emulator that breaks one fails here."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import LocalAws


@pytest.fixture
def table(aws: LocalAws, unique: str) -> str:
    """A table with the key `pk`."""
    aws.client("dynamodb").create_table(
        TableName=unique,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return unique


def _put(table: str, key: str, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": {"pk": {"S": key}}, **more}}


def test_a_transaction_fails_as_a_whole_and_says_which_condition_did(aws: LocalAws, table: str) -> None:
    """CancellationReasons in the order of the items, with the old item where asked for."""
    client = aws.client("dynamodb")
    client.put_item(TableName=table, Item={"pk": {"S": "node"}, "owner": {"S": "other"}})
    guarded = _put(
        table,
        "node",
        ConditionExpression="attribute_not_exists(pk)",
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    with pytest.raises(ClientError) as cancelled:
        client.transact_write_items(TransactItems=[_put(table, "budget"), guarded])
    response: Any = cancelled.value.response
    assert response["Error"]["Code"] == "TransactionCanceledException"
    reasons = response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert reasons[1]["Item"]["owner"] == {"S": "other"}
    assert "Item" not in client.get_item(TableName=table, Key={"pk": {"S": "budget"}}, ConsistentRead=True)


def test_a_transaction_whose_conditions_hold_writes_everything(aws: LocalAws, table: str) -> None:
    """Updates with conditions on numbers and missing attributes."""
    client = aws.client("dynamodb")
    update = {
        "TableName": table,
        "Key": {"pk": {"S": "budget"}},
        "UpdateExpression": "SET #n = if_not_exists(#n, :zero) + :one",
        "ConditionExpression": "attribute_not_exists(#n) OR #n < :limit",
        "ExpressionAttributeNames": {"#n": "used"},
        "ExpressionAttributeValues": {":zero": {"N": "0"}, ":one": {"N": "1"}, ":limit": {"N": "2"}},
    }
    for node in ("a", "b"):
        client.transact_write_items(TransactItems=[{"Update": update}, _put(table, node)])
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        client.transact_write_items(TransactItems=[{"Update": update}, _put(table, "c")])
    assert client.get_item(TableName=table, Key={"pk": {"S": "budget"}})["Item"]["used"] == {"N": "2"}


def test_a_parameter_that_is_absent_is_told_from_one_that_is_denied(aws: LocalAws, unique: str) -> None:
    """The mode's parameter need not exist."""
    client = aws.client("ssm")
    with pytest.raises(ClientError) as absent:
        client.get_parameter(Name=f"/{unique}/mode")
    assert absent.value.response["Error"]["Code"] == "ParameterNotFound"
    client.put_parameter(Name=f"/{unique}/mode", Value="observe", Type="String")
    assert client.get_parameter(Name=f"/{unique}/mode")["Parameter"]["Value"] == "observe"
