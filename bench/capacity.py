"""Reckons DynamoDB's request units of a call, from the request and the answer. Pure."""

import json
from dataclasses import dataclass
from typing import Any

_WRITE_UNIT = 1024  # bytes
_READ_UNIT = 4096
# "Consumed capacity for transactions": each item is prepared, then committed.
TRANSACTIONAL = 2
# A changed key of an index: the old entry is deleted, the new one is put ("Global secondary indexes").
_INDEX_WRITES = 2
# A read of an index is eventually consistent: half a unit.
_EVENTUAL = 0.5


@dataclass(frozen=True, slots=True)
class Units:
    """Holds write and read request units, and the largest item that was written, in bytes."""

    writes: int = 0
    reads: float = 0
    largest_item: int = 0

    def __add__(self, other: "Units") -> "Units":
        largest = max(self.largest_item, other.largest_item)
        return Units(self.writes + other.writes, self.reads + other.reads, largest)


NO_UNITS = Units()


def units_of(call: str, request: bytes, answer: bytes) -> Units:
    """Return the units of a call; none for a call that the ledger does not make."""
    if call == "dynamodb:TransactWriteItems":
        return _written(json.loads(request))
    if call == "dynamodb:BatchGetItem":
        return _read(json.loads(request), json.loads(answer))
    if call == "dynamodb:Query":
        size = sum(map(item_size, json.loads(answer).get("Items", ())))
        return Units(reads=_EVENTUAL * units(size, _READ_UNIT))
    return NO_UNITS


def _written(request: dict[str, Any]) -> Units:
    """Count an item that is due some time with its place in the index, taken to be another than before."""
    items = [action["Put"]["Item"] for action in request["TransactItems"]]
    sizes = [item_size(item) for item in items]
    indexed = sum("shard" in item for item in items)
    writes = TRANSACTIONAL * sum(units(size) for size in sizes) + _INDEX_WRITES * indexed
    return Units(writes=writes, largest_item=max(sizes))


def _read(request: dict[str, Any], answer: dict[str, Any]) -> Units:
    """Count consistent reads; an item that does not exist costs a unit too."""
    asked = sum(len(table["Keys"]) for table in request["RequestItems"].values())
    found = [item for items in answer.get("Responses", {}).values() for item in items]
    reads = sum(units(item_size(item), _READ_UNIT) for item in found)
    return Units(reads=reads + max(0, asked - len(found)))


def units(size: int, unit: int = _WRITE_UNIT) -> int:
    """Return how many units a size begins, at least one."""
    return max(1, -(-size // unit))


def item_size(item: dict[str, Any]) -> int:
    """Return an item's size, as "DynamoDB item sizes and formats" counts it."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(typed: dict[str, Any]) -> int:
    [(kind, value)] = typed.items()
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _value_size(each) for name, each in value.items())
    if kind == "L":
        return 3 + sum(1 + _value_size(each) for each in value)
    if kind == "N":
        return (len(value.strip("-0.")) + 1) // 2 + 1
    return len(str(value).encode()) if kind in ("S", "B") else 1
