"""Reads the JSON bodies of the admin API. An error names the wrong, missing or unknown field in one line."""

import json
from typing import Any, TypeVar

from local.hyperpod.errors import AdminError

_Value = TypeVar("_Value")
_NAMES: dict[type, str] = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
_NAMES |= {dict: "an object", list: "a list"}
_REQUIRED: Any = object()


class Fields:
    """Holds the fields of one object; `done` raises for those that were not taken."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise AdminError(400, f"{where}: takes a JSON object")
        self._values: dict[str, Any] = dict(values)
        self._where = where

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, type_: type[_Value], default: _Value = _REQUIRED) -> _Value:
        """Take the value under `key`; without a default it must be there."""
        if key not in self._values:
            if default is _REQUIRED:
                raise AdminError(400, f"{self._where}: {key} is missing")
            return default
        value = self._values.pop(key)
        if type_ is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, type_) or (isinstance(value, bool) and type_ is not bool):
            raise AdminError(400, f"{self._where}: {key} takes {_NAMES[type_]}")
        return value

    def take_or_null(self, key: str, type_: type[_Value], default: _Value | None = None) -> _Value | None:
        """Take the value under `key`, which may also be null."""
        if key in self._values and self._values[key] is None:
            del self._values[key]
            return None
        return self.take(key, type_, default) if default is not None or key in self._values else None

    def take_any(self, key: str) -> object:
        return self._values.pop(key)

    def take_one_of(self, key: str, values: tuple[str, ...], default: str = _REQUIRED) -> str:
        value = self.take(key, str, default)
        if value not in values:
            raise AdminError(400, f"{self._where}: {key} takes one of {', '.join(values)}")
        return value

    def take_seconds(self, key: str, default: float = _REQUIRED) -> float:
        seconds = self.take(key, float, default)
        if not 0 <= seconds < float("inf"):
            raise AdminError(400, f"{self._where}: {key} takes seconds from 0")
        return seconds

    def done(self) -> None:
        if self._values:
            raise AdminError(400, f"{self._where}: unknown field {', '.join(sorted(self._values))}")


def read_fields(body: bytes, where: str) -> Fields:
    try:
        values = json.loads(body or b"{}")
    except ValueError:
        values = None
    return Fields(values, where)
