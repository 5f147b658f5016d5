"""Targets are judged by the measurements."""

import pytest

from bench.cost import WATCHING
from bench.targets import Target, judged, percentile
from tests.bench.measured import measured

IDLE = {"function": 0.1, "queues": 0.3, "ledger": 0.1, "key": 1.0, WATCHING: 0.7}


def values(**given: float) -> dict[str, Target]:
    return {target.what: target for target in judged(measured(**given), IDLE)}  # type: ignore[arg-type]  # integers


def test_targets_are_reached_by_values_at_most_as_large() -> None:
    """Init and first event 500 of 2,000 ms, and so on."""
    found = values()
    assert {target.verdict for target in found.values()} == {"reached"}
    assert found["init and first event, of the naive build's"].value == 0.25
    assert found["seconds from the event on the bus to its reboot call, warm, 95th percentile"].bound == 6
    assert found["storm over one cluster: AWS calls a report"].value == 0.2
    assert found["storm over 10 clusters: AWS calls a report"].bound == 0.55
    assert found["AWS calls a node and sweep, of 1,000 watched nodes in 5 clusters"].value == 0.1


def test_idle_month_leaves_metrics_and_alarm_aside() -> None:
    """They depend on the clusters, not on the function."""
    found = values()["an idle month in dollars, with the key, without alarms and custom metrics"]
    assert found.value == pytest.approx(1.5)


def test_nodes_left_after_two_sweeps_are_a_miss_with_their_number() -> None:
    """The bound is none, so there is no share."""
    assert values(left=7)["nodes not looked at within two sweeps"].verdict == "**missed by 7**"


def test_miss_of_a_bound_over_nought_has_its_share() -> None:
    """A twentieth more than half."""
    assert Target("what", 0.5, 0.525).verdict == "**missed by 0.03** (5%)"


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (20, 19), (21, 20), (40, 38), (100, 95)])
def test_percentile_is_the_nearest_rank(count: int, expected: int) -> None:
    """Of one value, that value."""
    assert percentile(list(range(count, 0, -1)), 0.95) == expected
