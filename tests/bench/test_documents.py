"""The documents are true of whatever was measured."""

from pathlib import Path

import pytest

from bench import documents, limits
from bench.cold import Cold
from bench.results import load, save
from bench.rie import CPU_SHARE
from bench.scaling import Scaling
from bench.sweep import Sweeps
from bench.tools import ROOT, BenchError
from tests.bench.measured import cold, measured, point, scaling, storm, taken


def test_range_has_the_median_of_an_even_number_of_values_between_the_middle_two() -> None:
    """With the least and the largest."""
    assert documents.ranged([4, 1, 3, 2], 1) == "2.5 (1.0 to 4.0)"


def test_blocks_replace_the_tables_and_nothing_else() -> None:
    """The text around them is written by hand."""
    text = "# Title\n\n<!-- measured: one -->\n\nold\n\n<!-- end -->\n\nText.\n"
    assert documents.filled(text, {"one": "new"}) == text.replace("old", "new")


@pytest.mark.parametrize("blocks", [{}, {"one": "", "two": ""}])
def test_block_without_a_place_or_place_without_a_block_is_refused(blocks: dict[str, str]) -> None:
    """A table would be missing, or would keep old numbers."""
    with pytest.raises(BenchError, match="has the blocks one, measured were"):
        documents.filled("<!-- measured: one -->\n<!-- end -->", blocks)


def test_projects_documents_have_a_place_for_each_block() -> None:
    """Else `make bench` would measure for half an hour and then fail."""
    blocks = documents.benchmarks(taken(measured()), scaling()), documents.growth(taken(scaling()), measured().storm)
    for name, measured_blocks in zip(("benchmarks.md", "scaling.md"), blocks, strict=True):
        text = documents.filled((ROOT / "docs" / name).read_text(), measured_blocks)
        assert all(block in text for block in measured_blocks.values())


def test_missed_targets_are_marked_in_the_table() -> None:
    """Init and first event as long as the naive build's, three reports lost."""
    text = documents.benchmarks(taken(measured(ours_init=1800, lost=3)), scaling())["targets"]
    assert "| init and first event, of the naive build's | 0.40 | 1.00 | **missed by 0.60** (150%) |" in text
    assert "| storm over one cluster: reports lost | 0 | 3 | **missed by 3** |" in text


def test_tightest_limit_comes_first() -> None:
    """6 write units a report let 666 reports a second through; an item of 20 kB costs 40 units for 50 nodes."""
    found = limits.limits(scaling(), 0.02)
    assert [per_second for _, per_second, _ in found] == sorted(per_second for _, per_second, _ in found)
    rates = {name.partition(" ")[0]: per_second for name, per_second, _ in found}
    assert rates["`max_concurrency`"] == pytest.approx(500 / (16 * 0.02 + 0.2 / CPU_SHARE))
    assert rates["new"] == pytest.approx(4000 / 6)
    assert rates["one"] == 50 * 1000 / (2 * 20)


def test_batch_is_bounded_by_payload_and_by_time() -> None:
    """1,000 bytes, 2 ms of work and 0.16 calls a report; 35 s."""
    by_size, by_time = limits.most_in_a_batch(point())
    assert by_size == 6_291
    assert by_time == int(35 / (0.002 / CPU_SHARE + 0.16 * 0.02))


def test_failure_marks_reports_that_become_stale() -> None:
    """A million reports take longer than an hour at 100 ms a call."""
    text = documents.growth(taken(scaling()), measured().storm)["failure"]
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
