"""Shows and changes the mode parameter, as the function reads it."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from node_remediation.policy.modes import ModeEntry, Modes, read_modes
from node_remediation.settings import MODES, matches
from smoke.stack import Stack
from tool.errors import NOT_FOUND, ToolError
from tool.times import iso

# An entry that has ended is kept as long, so that the function can tell of its end.
_KEPT_AFTER_END = timedelta(hours=1)


def view(stack: Stack, now: datetime) -> dict[str, Any]:
    """Return the mode parameter's entries, and the mode of the nodes that none of them matches."""
    text = stack.read_mode()[0]
    modes = read_modes(text, default=stack.settings.mode) if text is not None else Modes(stack.settings.mode)
    return {
        "parameter": stack.outputs["ModeParameterName"],
        "default": modes.default,
        "fault": next((each.fault for each in modes.entries if each.fault), None),
        "entries": [
            {"of": each.pattern, "mode": each.word, "until": iso(each.until), "holds": each.holds(now)}
            for each in modes.entries
        ],
    }


def set_mode(stack: Stack, entry: ModeEntry, now: datetime) -> None:
    """Write one entry, and keep the others. Raises ToolError where that would not do what it says."""
    text, version = stack.read_mode()
    entries = _kept(stack, text, now) if entry.pattern != "*" else _readable(stack, text, now)
    others = [each for each in entries if each.pattern != entry.pattern]
    for each in others:
        covers = matches(each.cluster, entry.cluster) and matches(each.group, entry.group)
        if covers and each.holds(now) and MODES.index(each.word) > MODES.index(entry.word):
            raise ToolError(
                f"{entry.pattern} would stay {each.word}: the entry {each.pattern} is stricter, and the strictest "
                "counts. Clear or change that one"
            )
    _write(stack, [*others, entry], version)


def clear_mode(stack: Stack, pattern: str | None, now: datetime) -> None:
    """Remove one entry, or all, so that the setting `mode` holds again. Raises ToolError if there is no such entry."""
    text, version = stack.read_mode()
    entries = _kept(stack, text, now) if pattern else []
    others = [each for each in entries if each.pattern != pattern]
    if text is None or (pattern and len(others) == len(entries)):
        there_are = ", ".join(each.pattern for each in entries) or "none"
        raise ToolError(f"the mode parameter has no entry {pattern or '*'}; it has: {there_are}", NOT_FOUND)
    if others:
        _write(stack, others, version)
    else:
        stack.client("ssm").delete_parameter(Name=stack.outputs["ModeParameterName"])


def _kept(stack: Stack, text: str | None, now: datetime) -> list[ModeEntry]:
    """Return the entries to keep. Raises ToolError for a parameter that cannot be understood."""
    entries = read_modes(text, default=stack.settings.mode).entries if text is not None else ()
    if fault := next((each.fault for each in entries if each.fault), None):
        raise ToolError(f"the mode parameter {fault}; replace all of it: mode set MODE, or mode clear")
    return [each for each in entries if each.until is None or each.until > now - _KEPT_AFTER_END]


def _readable(stack: Stack, text: str | None, now: datetime) -> list[ModeEntry]:
    """Return the entries to keep; none where the parameter cannot be understood and is replaced."""
    try:
        return _kept(stack, text, now)
    except ToolError:
        return []


def _write(stack: Stack, entries: list[ModeEntry], version: int) -> None:
    text = _text(entries)
    # The function takes what it does not understand for paused: what it would read must be what is meant.
    understood = read_modes(text, default=stack.settings.mode).entries
    if [replace(each, fault="") for each in understood] != entries or any(each.fault for each in understood):
        problem = next((each.fault for each in understood if each.fault), "would read otherwise")
        raise ToolError(f"not written: the mode parameter {problem}")
    written = stack.client("ssm").put_parameter(
        Name=stack.outputs["ModeParameterName"], Value=text, Type="String", Overwrite=True
    )
    if written["Version"] != version + 1:
        raise ToolError("written, but the parameter was changed meanwhile too, and that change is lost: look at `mode`")


def _text(entries: list[ModeEntry]) -> str:
    """Write entries as a word where one holds for all, else as JSON."""
    values = {each.pattern: each.word + (f" until {iso(each.until)}" if each.until else "") for each in entries}
    return values["*"] if list(values) == ["*"] else json.dumps(values)
