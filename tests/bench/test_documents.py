"""The documents are true of whatever was measured."""

from pathlib import Path

import pytest

from bench import growth, limits, report
from bench.cold import Cold
from bench.markdown import prose, ranged, table
from bench.results import load, save
from bench.rie import CPU_SHARE
from bench.scaling import Scaling
from bench.sweep import Sweeps
from bench.tools import BenchError
from tests.bench.measured import cold, measured, point, scaling, storm, taken


def test_range_has_the_median_of_an_even_number_of_values_between_the_middle_two() -> None:
    """With the least and the largest."""
    assert ranged([4, 1, 3, 2], 1) == "2.5 (1.0 to 4.0)"


def test_range_of_no_values_raises() -> None:
    """Better an error than a made-up number."""
    with pytest.raises(ValueError, match="nothing was measured"):
        ranged([])


def test_paragraphs_and_items_are_filled_and_tables_kept() -> None:
    """No line of prose is longer than the project's lines."""
    rows = table(["a"], [["x" * 200]])
    filled = prose(f"{'word ' * 60}\n\n- {'one ' * 40}\n- two\n\n{rows}")
    assert rows in filled
    assert "\n- two" in filled
    assert max(len(line) for line in filled.replace(rows, "").splitlines()) <= 120


def test_benchmarks_that_reach_all_targets_say_so() -> None:
    """Without any miss."""
    text = report.text(taken(measured()), scaling())
    assert "All 13 are reached." in text
    assert "missed" not in text


def test_missed_targets_are_named_first() -> None:
    """Init and first event as long as the naive build's, three reports lost."""
    text = " ".join(report.text(taken(measured(ours_init=1800, lost=3)), scaling()).split())
    assert "2 of 13 missed: init and first event, of the naive build's; storm over one cluster: reports lost." in text
    assert "**missed by 0.60 (150%)**: the SDK's imports" in text


def test_documents_have_no_long_line_beside_tables() -> None:
    """As the project's other documents."""
    texts = report.text(taken(measured()), scaling()), growth.text(taken(scaling()), measured().storm)
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 120] == []


def test_tightest_limit_comes_first() -> None:
    """6 write units a report let 666 reports a second through; an item of 20 kB costs 40 units for 50 nodes."""
    found = limits.limits(scaling(), 0.02)
    assert [limit.per_second for limit in found] == sorted(limit.per_second for limit in found)
    rates = {limit.name.partition(" ")[0]: limit.per_second for limit in found}
    assert rates["`max_concurrency`"] == pytest.approx(500 / (16 * 0.02 + 0.2 / CPU_SHARE))
    assert rates["new"] == pytest.approx(4000 / 6)
    assert rates["one"] == 50 * 1000 / (2 * 20)


def test_batch_is_bounded_by_payload_and_by_time() -> None:
    """1,000 bytes, 2 ms of work and 0.16 calls a report; 35 s."""
    by_size, by_time = limits.most_in_a_batch(point())
    assert by_size == 6_291
    assert by_time == int(35 / (0.002 / CPU_SHARE + 0.16 * 0.02))


def test_growth_marks_what_goes_stale() -> None:
    """A million reports take longer than an hour at 100 ms a call."""
    text = growth.text(taken(scaling()), measured().storm)
    assert "| 1,000,000 | 22.2 | 38.2 | **64.9** |" in text


@pytest.mark.parametrize(
    ("part", "value", "kind"),
    [("cold", cold(), Cold), ("sweep", measured().sweep, Sweeps), ("scaling", scaling(), Scaling)],
)
def test_measurements_read_back_as_they_were_saved(
    part: str, value: object, kind: type[object], tmp_path: Path
) -> None:
    """Documents can be written again without measuring again."""
    save(part, value, tmp_path)
    assert load(part, kind, tmp_path).value == value


def test_part_without_measurements_is_named(tmp_path: Path) -> None:
    """With the command that measures it."""
    with pytest.raises(BenchError, match=r"no measurements .* python -m bench cold"):
        load("cold", Cold, tmp_path)


def test_measurements_of_another_version_are_refused(tmp_path: Path) -> None:
    """A field is missing: they must be taken again."""
    save("cold", storm(), tmp_path)
    with pytest.raises(BenchError, match="of another version: python -m bench cold"):
        load("cold", Cold, tmp_path)
