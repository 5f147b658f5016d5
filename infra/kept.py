"""Directories that are built once for the same inputs and kept, whoever asks and however many at once."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

UNUSED_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Kept:
    """Builds under `parent`, each named by a hash of its inputs: files below `root`, and words."""

    parent: Path
    root: Path

    def get(self, *, inputs: Callable[[], Iterable[Path]], words: str, build: Callable[[Path], None]) -> Path:
        """The directory built from these inputs, now or before. Raises what `build` raises, and keeps nothing then."""
        self.parent.mkdir(parents=True, exist_ok=True)
        while not (kept := self.parent / self._name(inputs(), words)).is_dir():
            with tempfile.TemporaryDirectory(dir=self.parent, prefix="building-") as scratch:
                made = Path(scratch) / "made"
                made.mkdir()
                build(made)
                # An input that was edited meanwhile would be kept under a name that is not its own: build again.
                if self._name(inputs(), words) == kept.name:
                    _move(made, kept)
        os.utime(kept)
        self._forget_unused()
        return kept

    def _name(self, inputs: Iterable[Path], words: str) -> str:
        digest = hashlib.sha256(words.encode())
        for path in inputs:
            content = path.read_bytes()
            digest.update(f"\0{path.relative_to(self.root).as_posix()}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:16]

    def _forget_unused(self) -> None:
        for path in self.parent.iterdir():
            try:
                if path.stat().st_mtime < time.time() - UNUSED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
            except FileNotFoundError:  # another process's, finished or forgotten
                continue


def _move(made: Path, kept: Path) -> None:
    try:
        made.rename(kept)
    except OSError:
        if not kept.is_dir():  # else another process was first, with the same bytes
            raise
