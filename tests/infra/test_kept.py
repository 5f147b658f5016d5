"""Tests that builds are kept once per input, complete, and under the right name."""

import os
import threading
import time
from pathlib import Path

import pytest

from infra.kept import UNUSED_SECONDS, Kept


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    (tmp_path / "input").write_text("1")
    return Kept(tmp_path / "kept", tmp_path)


def _get(kept: Kept, content: str = "made", log: list[str] | None = None) -> Path:
    def build(target: Path) -> None:
        if log is not None:
            log.append(content)
        time.sleep(0.02)
        (target / "file").write_text(content)

    return kept.get(inputs=lambda: [kept.root / "input"], words="", build=build)


def test_same_input_is_built_once(kept: Kept) -> None:
    """The second call does not build."""
    log: list[str] = []
    assert _get(kept, log=log) == _get(kept, log=log)
    assert log == ["made"]


def test_changed_input_is_built_again_beside_the_first(kept: Kept) -> None:
    """Another process may still use the first."""
    first = _get(kept)
    (kept.root / "input").write_text("2")
    second = _get(kept)
    assert first != second
    assert first.is_dir()


def test_concurrent_builds_get_one_whole_directory(kept: Kept) -> None:
    """It does not matter which of them finishes first."""
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(_get(kept))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == len(threads)
    assert len(set(found)) == 1
    assert [path.name for path in kept.parent.iterdir()] == [found[0].name]


def test_input_edited_while_it_is_built_is_built_again(kept: Kept) -> None:
    """Otherwise the old bytes would be kept under the new name, or the reverse."""
    source, log = kept.root / "input", list[str]()

    def build(target: Path) -> None:
        log.append(source.read_text())
        (target / "file").write_text(log[-1])
        source.write_text("2")

    built = kept.get(inputs=lambda: [source], words="", build=build)
    assert log == ["1", "2"]
    assert (built / "file").read_text() == "2"
    assert list(kept.parent.iterdir()) == [built]


def test_failed_build_leaves_nothing(kept: Kept) -> None:
    """The next one starts again from nothing."""

    def build(target: Path) -> None:
        (target / "half").touch()
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError, match="no space"):
        kept.get(inputs=lambda: [kept.root / "input"], words="", build=build)
    assert list(kept.parent.iterdir()) == []


def test_build_that_was_not_used_for_long_is_removed(kept: Kept) -> None:
    """Each build has tens of megabytes."""
    first = _get(kept)
    long_ago = time.time() - UNUSED_SECONDS - 1
    os.utime(first, (long_ago, long_ago))
    (kept.root / "input").write_text("2")
    second = _get(kept)
    assert list(kept.parent.iterdir()) == [second]
