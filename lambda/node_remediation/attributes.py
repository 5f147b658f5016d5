"""Values as DynamoDB's API writes them (AttributeValue, API reference): those kinds that the ledger has. Pure."""

from collections.abc import Mapping
from typing import Any

Value = str | int | bool | None | list["Value"] | dict[str, "Value"]


def typed(value: Value) -> dict[str, Any]:
    """`3` as `{"N": "3"}`, and so on."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case list():
            return {"L": [typed(each) for each in value]}
        case dict():
            return {"M": {name: typed(each) for name, each in value.items()}}


def plain(typed_value: Mapping[str, Any]) -> Any:
    """`{"N": "3"}` as `3`. Raises ValueError for a kind that the ledger never writes."""
    ((kind, value),) = typed_value.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return int(value)
        case "S" | "BOOL":
            return value
        case "L":
            return [plain(each) for each in value]
        case "M":
            return {name: plain(each) for name, each in value.items()}
    raise ValueError(f"the ledger holds no values of DynamoDB's kind {kind}")
