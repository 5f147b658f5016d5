"""The mode parameter, read and changed as the function understands it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from node_remediation.policy.modes import ModeEntry, read_modes
from node_remediation.settings import Settings
from tests.tool.fakes import FakeSsm, stack
from tool.errors import NOT_FOUND, ToolError
from tool.modes import clear_mode, set_mode, view

NOW = datetime(2026, 12, 1, 2, 0, tzinfo=UTC)
LATER = datetime(2026, 12, 1, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "entry", "after"),
    [
        (None, ModeEntry("paused"), "paused"),
        ("observe", ModeEntry("active"), "active"),
        (None, ModeEntry("paused", "*", LATER), "paused until 2026-12-01T06:00:00Z"),
        (None, ModeEntry("paused", "ml-a"), {"ml-a": "paused"}),
        ("active", ModeEntry("paused", "ml-a", LATER), {"*": "active", "ml-a": "paused until 2026-12-01T06:00:00Z"}),
        ('{"ml-a": "paused"}', ModeEntry("observe", "ml-b/gpu-*"), {"ml-a": "paused", "ml-b/gpu-*": "observe"}),
        ('{"ml-a": "paused"}', ModeEntry("active", "ml-a"), {"ml-a": "active"}),
        ('{"ml-a": "paused"}', ModeEntry("paused"), {"ml-a": "paused", "*": "paused"}),
        ('{"ml-a": "paused until 2026-11-01T00:00Z"}', ModeEntry("observe", "ml-b"), {"ml-b": "observe"}),
        ("broken {", ModeEntry("paused"), "paused"),
    ],
)
def test_one_entry_is_written_and_the_others_stay(before: str | None, entry: ModeEntry, after: Any) -> None:
    """A word stays a word as long as it holds for all; what has ended long ago goes."""
    ssm = FakeSsm(before, 3 if before else 0)
    set_mode(stack(ssm=ssm), entry, NOW)
    assert ssm.value is not None
    assert (json.loads(ssm.value) if isinstance(after, dict) else ssm.value) == after
    assert entry in read_modes(ssm.value, default="active").entries


@pytest.mark.parametrize(
    ("before", "entry", "problem"),
    [
        ("paused", ModeEntry("observe", "ml-a"), r"ml-a would stay paused: the entry \* is stricter"),
        ('{"ml-*": "observe"}', ModeEntry("active", "ml-a/gpu-1"), r"ml-a/gpu-1 would stay observe: the entry ml-\*"),
        ("broken", ModeEntry("paused", "ml-a"), "the mode parameter cannot be understood: .*; replace all of it"),
        (None, ModeEntry("paused", "ml a"), "not written: the mode parameter cannot be understood: entry"),
    ],
)
def test_what_would_not_do_what_it_says_is_not_written(before: str | None, entry: ModeEntry, problem: str) -> None:
    """The strictest entry counts, and text that is not understood pauses everything."""
    ssm = FakeSsm(before, 3 if before else 0)
    with pytest.raises(ToolError, match=problem):
        set_mode(stack(ssm=ssm), entry, NOW)
    assert ssm.value == before


def test_change_that_another_made_between_read_and_write_is_told() -> None:
    """Parameter Store has no conditional write; the version shows it."""
    ssm = FakeSsm("active", 3, rival="paused")
    with pytest.raises(ToolError, match="changed meanwhile too"):
        set_mode(stack(ssm=ssm), ModeEntry("paused", "ml-a"), NOW)


def test_cleared_entry_goes_and_the_last_takes_the_parameter_with_it() -> None:
    """Then the setting holds again."""
    ssm = FakeSsm('{"*": "active", "ml-a": "paused", "ml-b": "observe"}', 3)
    clear_mode(stack(ssm=ssm), "ml-a", NOW)
    assert json.loads(ssm.value or "") == {"*": "active", "ml-b": "observe"}
    clear_mode(stack(ssm=ssm), "ml-b", NOW)
    assert ssm.value == "active"
    clear_mode(stack(ssm=ssm), None, NOW)
    assert ssm.value is None
    with pytest.raises(ToolError, match=r"no entry \*; it has: none") as raised:
        clear_mode(stack(ssm=ssm), None, NOW)
    assert raised.value.status == NOT_FOUND


def test_entry_that_is_not_there_is_not_cleared_and_the_others_are_named() -> None:
    ssm = FakeSsm('{"ml-b": "observe"}', 3)
    with pytest.raises(ToolError, match="no entry ml-a; it has: ml-b") as raised:
        clear_mode(stack(ssm=ssm), "ml-a", NOW)
    assert (raised.value.status, ssm.value) == (NOT_FOUND, '{"ml-b": "observe"}')


def test_view_names_the_setting_the_entries_and_which_of_them_hold() -> None:
    ssm = FakeSsm('{"ml-a": "paused until 2026-12-01T01:00Z", "ml-b": "observe"}', 3)
    shown = view(stack(Settings(mode="observe"), ssm=ssm), NOW)
    assert shown == {
        "parameter": "ModeParameterName",
        "default": "observe",
        "fault": None,
        "entries": [
            {"of": "ml-a", "mode": "paused", "until": "2026-12-01T01:00:00Z", "holds": False},
            {"of": "ml-b", "mode": "observe", "until": None, "holds": True},
        ],
    }
