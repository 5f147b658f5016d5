"""Medians, ranges and ratios. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Summary:
    """What many measurements of one thing come to."""

    median: float
    least: float
    most: float
    count: int


def summary(values: Iterable[float]) -> Summary:
    """Raises ValueError when there are none."""
    found = sorted(values)
    if not found:
        raise ValueError("nothing was measured")
    return Summary(median(found), found[0], found[-1], len(found))
