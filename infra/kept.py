"""Keeps built directories, so that the same inputs are built once, also by concurrent processes."""

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
    """Keeps builds under `parent`, each named by a hash of its inputs: files below `root`, and words."""

    parent: Path
    root: Path

    def get(self, *, inputs: Callable[[], Iterable[Path]], words: str, build: Callable[[Path], None]) -> Path:
        """Return the directory built from these inputs, now or before. If `build` raises, nothing is kept."""
        self.parent.mkdir(parents=True, exist_ok=True)
        while not (kept := self.parent / self._name(inputs(), words)).is_dir():
            with tempfile.TemporaryDirectory(dir=self.parent, prefix="building-") as scratch:
                made = Path(scratch) / "made"
                made.mkdir()
                build(made)
                # If an input was edited during the build, its hash no longer fits: build again.
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
            except FileNotFoundError:  # another process has moved or removed it
                continue


def _move(made: Path, kept: Path) -> None:
    try:
        made.rename(kept)
    except OSError:
        if not kept.is_dir():  # otherwise another process was faster, with the same bytes
            raise
