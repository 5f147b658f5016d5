"""DynamoDB's units are counted from what crosses the wire."""

import json
from typing import Any

import pytest

from bench.capacity import NO_UNITS, Units, item_size, units_of


def written(*items: dict[str, Any]) -> bytes:
    return json.dumps({"TransactItems": [{"Put": {"TableName": "ledger", "Item": item}} for item in items]}).encode()


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"pk": {"S": "node#a"}}, 2 + 6),
        ({"at": {"N": "1795477513738"}}, 2 + 8),
        ({"ok": {"BOOL": True}}, 2 + 1),
        ({"no": {"NULL": True}}, 2 + 1),
        ({"l": {"L": [{"N": "12"}]}}, 1 + 3 + 1 + 2),
        ({"m": {"M": {"ab": {"S": "cde"}}}}, 1 + 3 + 1 + 2 + 3),
    ],
)
def test_an_items_size_is_its_names_and_values(item: dict[str, Any], size: int) -> None:
    """By the rules of "DynamoDB item sizes and formats"."""
    assert item_size(item) == size


def test_a_transaction_costs_two_units_per_item_and_begun_kilobyte() -> None:
    """Each item is prepared, then committed."""
    small, large = {"pk": {"S": "a"}}, {"pk": {"S": "x" * 1023}}
    assert units_of("dynamodb:TransactWriteItems", written(small, large), b"{}") == Units(2 + 4, 0, 1025)


def test_a_consistent_read_costs_a_unit_for_absent_items_too() -> None:
    """Of three keys one is found, and it is large."""
    request = {"RequestItems": {"ledger": {"Keys": [{"pk": {"S": key}} for key in "abc"], "ConsistentRead": True}}}
    answer = {"Responses": {"ledger": [{"pk": {"S": "x" * 5000}}]}}
    found = units_of("dynamodb:BatchGetItem", json.dumps(request).encode(), json.dumps(answer).encode())
    assert found == Units(reads=2 + 2)


def test_other_calls_cost_no_units() -> None:
    """Their bodies are not even read."""
    assert units_of("sagemaker:DescribeCluster", b"no JSON", b"") == NO_UNITS
