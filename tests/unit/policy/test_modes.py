"""The mode parameter: what it takes, what each entry is worth, and what becomes of text that nobody understands."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.policy.modes import ModeEntry, Modes, read_modes
from node_remediation.settings import MODES

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
END = datetime(2026, 12, 1, 6, 0, tzinfo=UTC)
TAKES = 'takes active, observe or paused, alone or with an end and its zone as in "paused until 2026-12-01T06:00Z"'


def read(text: str, default: str = "active") -> Modes:
    return read_modes(text, default=default)


def word(modes: Modes, cluster: str = "ml-a", group: str = "workers", now: datetime = NOW) -> str:
    return modes.of(cluster, group, now).word


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        (" Paused\n", [ModeEntry("paused")]),
        ("paused until 2026-12-01T06:00Z", [ModeEntry("paused", until=END)]),
        ("PAUSED  UNTIL 2026-12-01t06:00:00z ", [ModeEntry("paused", until=END)]),
        ("observe until 2026-12-01T07:30+01:30", [ModeEntry("observe", until=END)]),
        ("{}", []),
        (
            ' {"ml-a": "paused until 2026-12-01T06:00Z", "ml-b/gpu-*": " Observe "}',
            [ModeEntry("paused", "ml-a", END), ModeEntry("observe", "ml-b/gpu-*")],
        ),
    ],
)
def test_parameter_is_a_mode_or_modes_by_cluster_and_group(text: str, entries: list[ModeEntry]) -> None:
    """Each with an end or without; case and spaces are as people type them."""
    assert read(text) == Modes("active", tuple(entries))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("actve", f'it {TAKES}, not "actve"'),
        ("paused until tomorrow", f'it {TAKES}, not "paused until tomorrow"'),
        ("paused until 2026-12-01T06:00", f'it {TAKES}, not "paused until 2026-12-01T06:00"'),
        ("paused until 2026-02-30T06:00Z", f'it {TAKES}, not "paused until 2026-02-30T06:00Z"'),
        ("active until 0001-01-01T00:00+14:00", f'it {TAKES}, not "active until 0001-01-01T00:00+14:00"'),
        ('["paused"]', f'it {TAKES}, not "[\\"paused\\"]"'),
        ('{"ml-a": "paused"', "Expecting ',' delimiter: line 1 column 18 (char 17)"),
        ('{"ml-b": "active", "ml-a": "pausd"}', f'entry "ml-a" {TAKES}, not "pausd"'),
        ('{"ml-a": null}', f'entry "ml-a" {TAKES}, not null'),
        ('{"ml-a": {"mode": "paused"}}', f'entry "ml-a" {TAKES}, not [["mode", "paused"]]'),
        ('{"": "active"}', 'entry "" takes a name CLUSTER or CLUSTER/GROUP, "*" standing for any part'),
        ('{"ml-a/": "active"}', 'entry "ml-a/" takes a name CLUSTER or CLUSTER/GROUP, "*" standing for any part'),
        ('{"ml a": "active"}', 'entry "ml a" takes a name CLUSTER or CLUSTER/GROUP, "*" standing for any part'),
        ('{"ml-a": "active", "ml-a": "active"}', 'entry "ml-a" is there twice'),
    ],
)
def test_text_that_cannot_be_understood_pauses_everything_and_says_why(text: str, why: str) -> None:
    """In one line, which names the entry."""
    assert read(text).entries == (ModeEntry("paused", fault=f"cannot be understood: {why}"),)


def test_deeply_nested_text_pauses_everything() -> None:
    """Python's parser gives up on it in a way of its own."""
    assert [word(read('{"ml-a":' + inner * 2_000)) for inner in ("[", '{"a":')] == ["paused", "paused"]


names = st.sampled_from(["ml-a", "ml-b", "ml-*", "*", "ml-a/workers", "ml-a/gpu-*", "*/workers", "ml-b/*"])
ends = st.none() | st.integers(-3, 3).map(lambda hours: NOW + timedelta(hours=hours))
entries = st.lists(
    st.builds(ModeEntry, st.sampled_from(MODES), names, ends), max_size=5, unique_by=lambda of: of.pattern
)
modes = st.builds(Modes, st.sampled_from(MODES), entries.map(tuple))
nodes = st.tuples(st.sampled_from(["ml-a", "ml-b", "dl-c"]), st.sampled_from(["workers", "gpu-1", "login", ""]))


def strictness(mode: str) -> int:
    return MODES.index(mode)


def written(of: Modes) -> str:
    return json.dumps(
        {each.pattern: each.word + (f" until {each.until.isoformat()}" if each.until else "") for each in of.entries}
    )


@given(st.text() | st.recursive(st.text() | st.none() | st.integers(), lambda of: st.dictionaries(st.text(), of)))
def test_whatever_the_text_it_is_read_or_everything_is_paused(given_: Any) -> None:
    """Never an error: reports would wait for somebody to mend the parameter."""
    read_ = read(given_ if isinstance(given_, str) else json.dumps(given_))
    if any(each.fault for each in read_.entries):
        assert word(read_) == "paused"
        (entry,) = read_.entries
        assert len(entry.fault.splitlines()) == 1


@given(modes)
def test_modes_that_are_written_are_read_again(of: Modes) -> None:
    """Each entry with its name and its end."""
    assert read(written(of), of.default) == of


@given(modes, nodes)
def test_strictest_entry_that_matches_counts_and_else_the_setting(of: Modes, node: tuple[str, str]) -> None:
    """Whatever their order, and only while they hold."""
    alone = [Modes("active", (each,)) for each in of.entries if each.until is None or each.until > NOW]
    found = [each.of(*node, NOW) for each in alone]
    matching = [each for each in found if each in of.entries]
    counts = of.of(*node, NOW)
    assert counts in matching if matching else counts == ModeEntry(of.default)
    assert all(strictness(counts.word) >= strictness(each.word) for each in matching)
    assert Modes(of.default, of.entries[::-1]).of(*node, NOW).word == counts.word


@given(modes, nodes)
def test_entry_past_its_end_is_as_if_it_were_not_there(of: Modes, node: tuple[str, str]) -> None:
    """So is its pause, and so is what it allowed."""
    holding = tuple(each for each in of.entries if each.until is None or each.until > NOW)
    rest = Modes(of.default, holding)
    assert of.of(*node, NOW) == rest.of(*node, NOW)
    assert of.of_cluster(node[0], NOW) == rest.of_cluster(node[0], NOW)
    assert set(of.ended(NOW - timedelta(days=1), NOW)) == set(of.entries) - set(holding)


@given(modes, nodes)
def test_what_is_said_of_a_whole_cluster_is_so_for_each_of_its_groups(of: Modes, node: tuple[str, str]) -> None:
    """A pause of all is one of each; any other mode counts if it is the strictest. Else the group must be known."""
    of_all, counts = of.of_cluster(node[0], NOW), of.of(*node, NOW)
    if of_all is None:
        assert any(each.group != "*" for each in of.entries)
    else:
        assert of_all.word == counts.word
    assert of.may_pause(node[0], NOW) or counts.word != "paused"


def test_end_is_told_for_as_long_as_it_is_asked_for() -> None:
    """From the moment on at which the entry no longer holds."""
    of = read('{"ml-a": "paused until 2026-11-23T02:14:07Z", "ml-b": "paused"}')
    assert [word(of, now=NOW - timedelta(seconds=1)), word(of)] == ["paused", "active"]
    day = timedelta(days=1)
    times = [NOW - timedelta(seconds=1), NOW, NOW + day - timedelta(seconds=1), NOW + day]
    assert [len(of.ended(now - day, now)) for now in times] == [0, 1, 1, 0]
