"""Targets are judged by the measurements."""

import pytest

from bench.cost import Month
from bench.targets import Target, judged, percentile
from tests.bench.measured import measured

IDLE = Month(0.1, 0.3, 0.1, 0.0, 0.0, 0.0, 1.0, watching=0.7)


def values(**given: float) -> dict[str, Target]:
    return {target.what: target for target in judged(measured(**given), IDLE)}  # type: ignore[arg-type]  # integers


def test_targets_are_reached_by_values_at_most_as_large() -> None:
    """Init and first event 500 of 2,000 ms, and so on."""
    found = values()
    assert all(target.met for target in found.values())
    assert found["init and first event, of the naive build's"].value == 0.25
    assert found["seconds from the event on the bus to its reboot call, warm, 95th percentile"].bound == 6
    assert found["storm over one cluster: AWS calls a report"].value == 0.2
    assert found["storm over 10 clusters: AWS calls a report"].bound == 0.55
    assert found["AWS calls a node and sweep, of 1,000 watched nodes in 5 clusters"].value == 0.1


def test_idle_month_leaves_metrics_and_alarm_aside() -> None:
    """The issue's own words."""
    found = values()["an idle month in dollars, the key included, alarms and custom metrics aside"]
    assert found.value == pytest.approx(1.5)


def test_nodes_left_after_two_sweeps_are_a_miss_with_its_reason() -> None:
    """By how many, and why."""
    target = values(left=7)["nodes not looked at within two sweeps"]
    assert target.verdict.startswith("**missed by 7**: to read and write")


def test_miss_of_a_bound_over_nought_has_its_share() -> None:
    """A twentieth more than half."""
    assert Target("what", 0.5, 0.525, "why").verdict == "**missed by 0.03 (5%)**: why"


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (20, 19), (21, 20), (40, 38), (100, 95)])
def test_percentile_is_the_nearest_rank(count: int, expected: int) -> None:
    """Of one value, that value."""
    assert percentile(list(range(count, 0, -1)), 0.95) == expected
