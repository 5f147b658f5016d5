"""DynamoDB's request units of a call, from what was asked and answered. Pure."""

import json
from dataclasses import dataclass
from typing import Any

_WRITE_UNIT = 1024  # bytes
_READ_UNIT = 4096
# "Consumed capacity for transactions": each item is prepared, then committed.
_TRANSACTIONAL = 2


@dataclass(frozen=True, slots=True)
class Units:
    """Write and strongly consistent read request units, and the largest item that was written, in bytes."""

    writes: int = 0
    reads: int = 0
    largest_item: int = 0

    def __add__(self, other: "Units") -> "Units":
        largest = max(self.largest_item, other.largest_item)
        return Units(self.writes + other.writes, self.reads + other.reads, largest)


NO_UNITS = Units()


def units_of(call: str, request: bytes, answer: bytes) -> Units:
    """What a call costs; nothing if it is no call that the ledger makes."""
    if call == "dynamodb:TransactWriteItems":
        return _written(json.loads(request))
    if call == "dynamodb:BatchGetItem":
        return _read(json.loads(request), json.loads(answer))
    return NO_UNITS


def _written(request: dict[str, Any]) -> Units:
    sizes = [item_size(action["Put"]["Item"]) for action in request["TransactItems"] if "Put" in action]
    return Units(writes=_TRANSACTIONAL * sum(_units(size, _WRITE_UNIT) for size in sizes), largest_item=max(sizes))


def _read(request: dict[str, Any], answer: dict[str, Any]) -> Units:
    """An item that is not there costs a unit too."""
    asked = sum(len(table["Keys"]) for table in request["RequestItems"].values())
    found = [item for items in answer.get("Responses", {}).values() for item in items]
    reads = sum(_units(item_size(item), _READ_UNIT) for item in found)
    return Units(reads=reads + max(0, asked - len(found)))


def _units(size: int, unit: int) -> int:
    return max(1, -(-size // unit))


def item_size(item: dict[str, Any]) -> int:
    """An item's size, as "DynamoDB item sizes and formats" counts it."""
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
