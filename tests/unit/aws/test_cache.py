"""The cache of a warm function."""

from datetime import UTC, datetime, timedelta

from node_remediation.aws.errors import Cache

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)


def test_value_is_recalled_until_its_age_is_over() -> None:
    """Each has an age limit of its own; an empty value is a value."""
    now = NOW
    cache = Cache[str](lambda: now)
    cache.remember("short", "", timedelta(seconds=1))
    cache.remember("long", "b", timedelta(seconds=2))
    assert cache.recall("short") == ""
    now += timedelta(seconds=1)
    assert cache.recall("short") is None
    assert cache.recall("long") == "b"


def test_flood_of_names_drops_the_oldest() -> None:
    """Names come from events, and a function may stay warm for days."""
    cache = Cache[int](lambda: NOW)
    for number in range(2_000):
        cache.remember(str(number), number, timedelta(minutes=5))
    assert cache.recall("0") is None
    assert cache.recall("1999") == 1_999
    assert len(cache._entries) == 1_000
