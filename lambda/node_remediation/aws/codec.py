"""Turns records into DynamoDB items and back. Pure.

An item has its record's fields under their own names, less those that have their default: a field that is added later
is read from older items too, and an attribute that is not known is ignored. Times are in milliseconds since 1970.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from node_remediation.model import CUT, LONGEST_API_TEXT, LONGEST_TEXT, NodeKey, bounded
from node_remediation.policy.record import Budget, NodeRecord, Record

# DynamoDB takes items of 400 KB; what is left over is for keys and for what a later version may add.
MOST_BYTES = 300_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# The last time leaves room for durations that are added to it.
_LAST_TIME = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
# No number here has a meaning beyond this, and DynamoDB takes 38 digits.
_MOST = 10**15
# Fields with texts for people, which are cut before names and IDs are: those are compared.
_TEXTS = frozenset({"excerpt", "history", "message", "note", "reason", "recommendation", "story"})
# An alarm's tags only serve to find its cluster, which is known here.
_NOT_KEPT = frozenset({"tags"})

AnyRecord = TypeVar("AnyRecord", bound=Record)


class UnreadableItemError(ValueError):
    """Reports that an item of the ledger is not one of this system's records."""


class _Room(NamedTuple):
    """The most bytes of a text for people, and of any other string."""

    texts: int
    names: int


# A string is cut to the first of these with which its item fits. At its bounds, a record fits with the last.
_ROOMS = (_Room(49_152, 4_096), _Room(1_024, 4_096), _Room(256, 4_096), _Room(256, 1_024), _Room(256, 256))

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def encode(record: Record) -> dict[str, Any]:
    """Return the record as attributes of an item, at most MOST_BYTES long."""
    return {name: _serialize(value) for name, value in _fitted(record).items()}


def decode(item: Mapping[str, Any]) -> Record:
    """Return the record of an item. Raises UnreadableItemError."""
    try:
        plain = {name: _deserialize(value) for name, value in item.items()}
        record: Record = _read(NodeRecord if "key" in plain else Budget, plain)
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise UnreadableItemError(f"{type(error).__name__}: {error}") from error
    return record


def fitted(record: AnyRecord) -> AnyRecord:
    """Return the record as its item holds it: times in whole milliseconds, strings cut, with a mark, where too long."""
    kept: AnyRecord = _read(type(record), _fitted(record))
    return kept


def to_ms(at: datetime) -> int:
    """Return a time in milliseconds since 1970. One out of range is the first or the last that an item can hold."""
    return min(max((at - _EPOCH) // _MILLISECOND, 0), _LAST_TIME)


def from_ms(ms: int) -> datetime:
    """Return the time of a number of milliseconds since 1970, whatever the number."""
    return _EPOCH + min(max(ms, 0), _LAST_TIME) * _MILLISECOND


def _fitted(record: Record) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for room in _ROOMS:
        plain = _plain(record, room, "")
        # JSON has at least as many bytes as DynamoDB counts.
        if len(json.dumps(plain, ensure_ascii=False).encode()) <= MOST_BYTES:
            break
    return plain


def _plain(value: object, room: _Room, field: str) -> Any:
    match value:
        case None | bool():
            return value
        case datetime():
            return to_ms(value)
        case int():
            return min(max(value, -_MOST), _MOST)
        case str():
            return _cut(str(value), room, field)
        case tuple() if not hasattr(value, "_fields"):
            return [_plain(each, room, field) for each in value]
        case Mapping():
            return {_cut(key, room, field): _plain(each, room, field) for key, each in value.items()}
    kind: Any = type(value)
    room = _ROOMS[0] if kind is NodeKey else room  # it is the item's own name
    kept = ((name, getattr(value, name), default) for name, _, default in _fields(kind) if name not in _NOT_KEPT)
    return {name: _plain(each, room, name) for name, each, default in kept if default is MISSING or each != default}


def _cut(text: str, room: _Room, field: str) -> str:
    text = bounded(text, LONGEST_API_TEXT if field == "message" else LONGEST_TEXT)
    encoded, most = text.encode(), room.texts if field in _TEXTS else room.names
    return text if len(encoded) <= most else encoded[: most - len(CUT.encode())].decode(errors="ignore") + CUT


def _read(kind: Any, value: Any) -> Any:
    """Return a plain value as one of the annotated kind."""
    arguments = get_args(kind)
    if NoneType in arguments:
        return None if value is None else _read(arguments[0], value)
    if get_origin(kind) is tuple:
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(_read(each, part) for each, part in zip(kinds, value, strict=True))
    if arguments:
        return {key: _read(arguments[1], each) for key, each in value.items()}
    if kind is datetime:
        return from_ms(int(value))
    if issubclass(kind, Enum) or kind is int:
        return kind(value)
    if kind is str or kind is bool:
        if isinstance(value, kind):
            return value
        raise TypeError(f"takes {kind.__name__}, not {value!r}")
    return kind(**{name: _read(hint, value[name]) for name, hint, _ in _fields(kind) if name in value})


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any, Any], ...]:
    """Return name, kind and default of each field of a dataclass or a NamedTuple."""
    kinds = get_type_hints(kind)
    if issubclass(kind, tuple):
        return tuple((name, kinds[name], kind._field_defaults.get(name, MISSING)) for name in kinds)
    defaults = {
        each.name: each.default if each.default_factory is MISSING else each.default_factory() for each in fields(kind)
    }
    return tuple((name, kinds[name], default) for name, default in defaults.items())
