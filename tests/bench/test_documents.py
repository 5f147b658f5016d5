"""The documents are true of whatever was measured."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import growth, limits, report
from bench.builds import NAIVE
from bench.markdown import prose, ranged, table
from bench.plot import Panel, chart, decades
from bench.results import load_calls, load_cold, load_scaling, load_storm, save
from bench.stats import summary
from bench.tools import BenchError
from tests.bench.measured import cold, counts, point, scaling, storm, storms, taken


def test_a_summary_is_the_median_and_the_range() -> None:
    """An even number of values has its median between the middle two."""
    assert ranged(summary([4, 1, 3, 2]), 1) == "2.5 (1.0 to 4.0)"


def test_nothing_measured_has_no_median() -> None:
    """Better an error than a made-up number."""
    with pytest.raises(ValueError, match="nothing was measured"):
        summary([])


def test_paragraphs_and_items_are_filled_and_tables_kept() -> None:
    """No line of prose is longer than the project's lines."""
    rows = table(["a"], [["x" * 200]])
    filled = prose(f"{'word ' * 60}\n\n- {'one ' * 40}\n- two\n\n{rows}")
    assert rows in filled
    assert "\n- two" in filled
    assert max(len(line) for line in filled.replace(rows, "").splitlines()) <= 120


def test_benchmarks_that_reach_everything_say_so() -> None:
    """With the command that made them."""
    text = report.text(taken(cold()), taken(counts()), taken(storms()), taken(scaling()))
    assert "All 11 are reached." in text
    assert "`make bench`" in text
    assert "missed" not in text


def test_what_calls_side_by_side_are_worth_is_said() -> None:
    """By the same asset with its calls in turn."""
    text = report.text(taken(cold()), taken(counts()), taken(storms()), taken(scaling()))
    assert "calls in turn takes 260 ms instead of 200 for the first event" in " ".join(text.split())


def test_a_missed_target_is_named_and_measured() -> None:
    """Nobody has to compare numbers to see it."""
    missed = (storm(lost=3), storm(NAIVE, calls=5000))
    text = report.text(taken(cold(ours_init=700)), taken(counts()), taken(missed), taken(scaling()))
    assert (
        "3 of 11 missed: init, of the naive build's; init and first event, of the naive build's; storm over one" in text
    )
    assert "**missed by 0.150 (75%)**" in text
    assert "**missed by 3**" in text


def test_the_tightest_limit_comes_first() -> None:
    """A batch of 100 in 0.5 s by five functions is 1,000 reports a second; 6 units a report let 666 through."""
    found = limits.limits(scaling(), 20.0)
    assert [limit.per_second for limit in found] == sorted(limit.per_second for limit in found)
    assert next(limit for limit in found if "max_concurrency" in limit.name).per_second == pytest.approx(1000)
    assert next(limit for limit in found if "table" in limit.name).per_second == pytest.approx(4000 / 6)


def test_a_budget_items_growth_is_read_from_the_measured_sums() -> None:
    """400 calls more made the item 20,000 bytes larger."""
    assert limits.budget_bytes_per_call(scaling().by_total) == 50
    assert limits.most_nodes_of_a_budget(scaling().by_total) == 400 * 1024 // 50 * 25


def test_a_batch_is_bounded_by_payload_and_by_time() -> None:
    """1,000 bytes and 5 ms a report."""
    assert limits.most_in_a_batch(point()) == (6_291, 7_000)


def test_growth_tells_what_binds_first_and_marks_what_goes_stale() -> None:
    """At 20 kB an item, 25 nodes cost 40 units of 1,000 a second; without that, a million reports take 17 minutes."""
    text = " ".join(growth.text(taken(scaling()), storms()).split())
    assert "First: one cluster's budget item after 10,100 reboots in `budget_window` (20 kB)" in text
    assert ", at 625 reports a second" in text
    assert "| 1,000,000 | 16.7 |" in text
    assert "scaling.svg" in text


def test_the_plot_is_well_formed_and_has_every_point() -> None:
    """Two rows of four panels."""
    svg = growth.plot(scaling())
    drawn = ET.fromstring(svg)  # noqa: S314  # it was written here
    assert len(drawn.findall(".//{*}polyline")) == 8
    assert len(drawn.findall(".//{*}circle")) == 2 * 8


def test_the_plot_escapes_its_words() -> None:
    """A title is text."""
    assert "a &lt; b" in chart([[Panel("a < b", "x", [(1, 1), (10, 10)])]])


@pytest.mark.parametrize(("values", "powers"), [([1], (0, 1)), ([0.2, 30], (-1, 2)), ([10, 100], (1, 2))])
def test_an_axis_goes_from_power_to_power(values: list[float], powers: tuple[int, int]) -> None:
    """At least one power of ten, so that a single value has a place."""
    assert decades(values) == powers


def test_measurements_read_back_as_they_were_saved(tmp_path: Path) -> None:
    """Documents can be written again without measuring again."""
    for part, value in (("cold", cold()), ("calls", counts()), ("storm", storms()), ("scaling", scaling())):
        save(part, value, tmp_path)
    assert load_cold(tmp_path).value == cold()
    assert load_calls(tmp_path).value == counts()
    assert load_storm(tmp_path).value == storms()
    assert load_scaling(tmp_path).value == scaling()


def test_a_part_that_was_not_measured_is_named(tmp_path: Path) -> None:
    """With the command that measures it."""
    with pytest.raises(BenchError, match="python -m bench cold"):
        load_cold(tmp_path)
