"""DynamoDB's way of writing values, against the one that boto3 has."""

from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.attributes import Value, plain, typed

# boto3 reads numbers with a context of 38 digits, as DynamoDB keeps them.
_scalars = st.none() | st.booleans() | st.integers(-(10**37), 10**37) | st.text()
values: st.SearchStrategy[Value] = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


@given(values)
def test_value_is_written_as_boto3_writes_it_and_read_as_it_was(value: Value) -> None:
    """At any depth: an item that either wrote, the other reads."""
    assert typed(value) == TypeSerializer().serialize(value)
    assert plain(typed(value)) == value
    written: Any = typed(value)
    assert TypeDeserializer().deserialize(written) == value


def test_yes_and_no_are_not_numbers() -> None:
    """Python's own type hierarchy says otherwise."""
    assert [typed(value) for value in (True, 1, False, 0)] == [{"BOOL": True}, {"N": "1"}, {"BOOL": False}, {"N": "0"}]
    assert plain({"BOOL": True}) is True


@pytest.mark.parametrize("kind", ["B", "SS", "NS"])
def test_kind_that_the_ledger_never_writes_is_named(kind: str) -> None:
    """Somebody else has written the item."""
    with pytest.raises(ValueError, match=f"^the ledger holds no values of DynamoDB's kind {kind}$"):
        plain({kind: ["1"]})
