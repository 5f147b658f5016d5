"""Makes any records that the ledger may hold, from the types of their fields."""

from datetime import UTC, datetime, timedelta
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from node_remediation.model import Alarm
from node_remediation.policy.record import Budget, NodeRecord

_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    int: st.integers(-(10**15), 10**15),
    bool: st.booleans(),
    datetime: st.integers(0, 2**43).map(lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)),
}


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return any value of an annotated kind; the tags of alarms are not kept."""
    arguments = get_args(kind)
    if kind in _LEAVES:
        return _LEAVES[kind]
    if NoneType in arguments:
        return st.none() | any_of(arguments[0])
    if get_origin(kind) is tuple:
        if arguments[-1] is ...:
            return st.lists(any_of(arguments[0]), max_size=2).map(tuple)
        return st.tuples(*map(any_of, arguments))
    if arguments:
        return st.dictionaries(any_of(arguments[0]), any_of(arguments[1]), max_size=2)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    parts = {name: any_of(hint) for name, hint in get_type_hints(kind).items()}
    return st.builds(kind, **parts | ({"tags": st.none()} if kind is Alarm else {}))


node_records: st.SearchStrategy[NodeRecord] = any_of(NodeRecord)
records: st.SearchStrategy[NodeRecord | Budget] = node_records | any_of(Budget)
