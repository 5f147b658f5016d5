"""Targets are judged by what was measured, and a miss says by how much."""

import pytest

from bench.builds import NAIVE
from bench.targets import Target, judged, least_calls
from tests.bench.measured import cold, count, counts, storm, storms


@pytest.mark.parametrize(("nodes", "calls"), [(1, 1), (25, 1), (26, 2), (30, 2), (500, 20)])
def test_the_fewest_calls_carry_25_nodes_each(nodes: int, calls: int) -> None:
    """The API's own limit."""
    assert least_calls(nodes) == calls


def test_a_target_that_is_met_exactly_is_reached() -> None:
    """At most means at most."""
    assert Target("x", 0.2, 0.2).verdict == "reached"


def test_a_missed_target_says_by_how_much() -> None:
    """In its own unit and as a share."""
    assert Target("x", 0.20, 0.25).verdict == "**missed by 0.05 (25%)**"
    assert Target("x", 0, 3, 0).verdict == "**missed by 3**"


def test_all_targets_are_reached_by_good_measurements() -> None:
    """Medians decide: one slow start among three does not."""
    assert [target.what for target in judged(cold(), counts(), storms()) if not target.met] == []


@pytest.mark.parametrize(
    ("missed", "judgement"),
    [
        ("init, of", judged(cold(ours_init=700), counts(), storms())),
        ("asset", judged(cold(zipped=3_600_000), counts(), storms())),
        ("⌈n/25⌉", judged(cold(), (*counts(), count(30, reboots=3)), storms())),
        ("lost", judged(cold(), counts(), (storm(lost=1), storm(NAIVE, calls=5000)))),
        ("twice", judged(cold(), counts(), (storm(twice=1), storm(NAIVE, calls=5000)))),
        ("calls per report", judged(cold(), counts(), (storm(calls=600), storm(NAIVE, calls=5000)))),
    ],
)
def test_each_target_can_be_missed(missed: str, judgement: list[Target]) -> None:
    """None is true by construction."""
    assert any(missed in target.what for target in judgement if not target.met)
