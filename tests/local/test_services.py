"""What the project relies on and stock does as AWS does. An upgrade of the emulator that breaks one fails here."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import LocalAws


@pytest.fixture
def table(aws: LocalAws, unique: str) -> str:
    """A table with the key `pk`, and an index of the keys of items with `shard` and `due`."""
    index = {
        "IndexName": "due",
        "KeySchema": [{"AttributeName": "shard", "KeyType": "HASH"}, {"AttributeName": "due", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    types = {"pk": "S", "shard": "S", "due": "N"}
    aws.client("dynamodb").create_table(
        TableName=unique,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": type_} for name, type_ in types.items()],
        GlobalSecondaryIndexes=[index],
        BillingMode="PAY_PER_REQUEST",
    )
    return unique


def _due(table: str, until: int, shard: str = "3") -> dict[str, Any]:
    """A Query for the keys of a shard's items that are due."""
    return {
        "TableName": table,
        "IndexName": "due",
        "KeyConditionExpression": "#shard = :shard AND due <= :until",
        "ExpressionAttributeNames": {"#shard": "shard"},
        "ExpressionAttributeValues": {":shard": {"S": shard}, ":until": {"N": str(until)}},
    }


def test_an_index_has_the_keys_of_the_items_that_have_its_attributes(aws: LocalAws, table: str) -> None:
    """In the order of its sort key, page by page; an item that loses an attribute leaves it."""
    client = aws.client("dynamodb")
    for pk, due in (("late", 300), ("second", 200), ("first", 100)):
        client.put_item(
            TableName=table,
            Item={"pk": {"S": pk}, "shard": {"S": "3"}, "due": {"N": str(due)}, "more": {"S": "x"}},
        )
    client.put_item(TableName=table, Item={"pk": {"S": "calm"}, "shard": {"S": "3"}})
    first = client.query(**_due(table, 200), Limit=1)
    assert first["Items"] == [{"pk": {"S": "first"}, "shard": {"S": "3"}, "due": {"N": "100"}}]
    second = client.query(**_due(table, 200), Limit=1, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert [item["pk"]["S"] for item in second["Items"]] == ["second"]
    client.put_item(TableName=table, Item={"pk": {"S": "first"}, "more": {"S": "x"}})
    assert [item["pk"]["S"] for item in client.query(**_due(table, 250))["Items"]] == ["second"]
    assert client.query(**_due(table, 250, shard="4"))["Items"] == []


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


@pytest.mark.parametrize("size", [399_000, 410_000])
def test_an_item_is_400_kb_at_most_alone_and_in_a_transaction(size: int, aws: LocalAws, table: str) -> None:
    """One that is larger is refused for good, with all the items of its transaction."""
    client = aws.client("dynamodb")
    items = [_put(table, "small"), {"Put": {"TableName": table, "Item": {"pk": {"S": "big"}, "x": {"S": "x" * size}}}}]
    if size < 400_000:
        client.transact_write_items(TransactItems=items)
        return
    writes: list[Callable[[], Any]] = [
        lambda: client.transact_write_items(TransactItems=items),
        lambda: client.put_item(**items[1]["Put"]),
    ]
    for write in writes:
        with pytest.raises(ClientError, match="Item size has exceeded the maximum allowed size") as refused:
            write()
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert "Item" not in client.get_item(TableName=table, Key={"pk": {"S": "small"}}, ConsistentRead=True)


def test_a_transaction_that_is_sent_again_with_its_token_is_made_once(aws: LocalAws, table: str) -> None:
    """So that a retry after a lost answer does not fail on its own condition; boto3 makes a token for each call."""
    client = aws.client("dynamodb")
    new = _put(table, "new", ConditionExpression="attribute_not_exists(pk)")
    for _ in range(2):
        client.transact_write_items(TransactItems=[new], ClientRequestToken="token-of-this-test")
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        client.transact_write_items(TransactItems=[new])
