"""Sorts and pages the answers of the List operations."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from local.hyperpod.errors import validation

_Item = TypeVar("_Item")
# Small, so that a client that forgets to page finds out on a cluster of eleven nodes.
_DEFAULT_PAGE = 10


def page(
    items: Iterable[_Item],
    request: Mapping[str, Any],
    *,
    created: Callable[[_Item], float],
    name: Callable[[_Item], str],
) -> tuple[list[_Item], dict[str, str]]:
    """Return the items that a List request asks for, and the NextToken field if there are more.

    Raises a ValidationException for a token that no answer carried.
    """
    chosen = [item for item in items if _in_time(created(item), request)]
    key: Callable[[_Item], Any] = name if request.get("SortBy") == "NAME" else created
    chosen.sort(key=key, reverse=request.get("SortOrder") == "Descending")
    start = _read_token(request.get("NextToken"))
    end = start + int(request.get("MaxResults", _DEFAULT_PAGE))
    return chosen[start:end], {"NextToken": _token(end)} if end < len(chosen) else {}


def _in_time(created: float, request: Mapping[str, Any]) -> bool:
    after, before = request.get("CreationTimeAfter"), request.get("CreationTimeBefore")
    return (after is None or created > after) and (before is None or created < before)


def _token(start: int) -> str:
    return base64.b64encode(f"start:{start}".encode()).decode()


def _read_token(token: str | None) -> int:
    if token is None:
        return 0
    try:
        word, _, start = base64.b64decode(token, validate=True).decode().partition(":")
        if word == "start" and start.isdecimal():
            return int(start)
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise validation("The NextToken is not valid")
