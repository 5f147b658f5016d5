"""DynamoDB's units are reckoned from request and answer."""

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
def test_size_of_an_item_is_that_of_its_names_and_values(item: dict[str, Any], size: int) -> None:
    """By the rules of "DynamoDB item sizes and formats"."""
    assert item_size(item) == size


def test_transaction_costs_two_units_per_item_and_begun_kilobyte() -> None:
    """Each item is prepared, then committed."""
    small, large = {"pk": {"S": "a"}}, {"pk": {"S": "x" * 1023}}
    assert units_of("dynamodb:TransactWriteItems", written(small, large), b"{}") == Units(2 + 4, 0, 1025)


def test_item_that_is_due_costs_two_more_writes_of_the_index() -> None:
    """Its old place is deleted, its new one put."""
    due = {"pk": {"S": "a"}, "shard": {"S": "1"}, "due": {"N": "1"}}
    assert units_of("dynamodb:TransactWriteItems", written(due), b"{}").writes == 2 + 2


def test_consistent_read_costs_a_unit_for_absent_items_too() -> None:
    """Of three keys one is found, and it is large."""
    request = {"RequestItems": {"ledger": {"Keys": [{"pk": {"S": key}} for key in "abc"], "ConsistentRead": True}}}
    answer = {"Responses": {"ledger": [{"pk": {"S": "x" * 5000}}]}}
    found = units_of("dynamodb:BatchGetItem", json.dumps(request).encode(), json.dumps(answer).encode())
    assert found == Units(reads=2 + 2)


@pytest.mark.parametrize(("found", "units"), [(0, 0.5), (1, 0.5), (60, 1.0)])
def test_question_to_the_index_costs_half_a_unit_per_begun_four_kilobytes(found: int, units: float) -> None:
    """Also where nothing is due."""
    answer = {"Items": [{"pk": {"S": "x" * 98}}] * found}
    assert units_of("dynamodb:Query", b"{}", json.dumps(answer).encode()) == Units(reads=units)


def test_other_calls_cost_no_units() -> None:
    """Their bodies are not even read."""
    assert units_of("sagemaker:DescribeCluster", b"no JSON", b"") == NO_UNITS
