"""Breaks the code on purpose, one break at a time, and fails where a test that the break names stays green.

breaks.toml lists the breaks: a name, a file, the text in it to find (exactly once) and its replacement, and the tests
that must fail. Each break is made in a copy of the project; the project itself is never touched.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

BREAKS = Path(__file__).resolve().with_name("breaks.toml")
PROJECT = BREAKS.parents[2]
_COPIED = (
    "lambda",
    "infra",
    "local",
    "smoke",
    "tool",
    "examples",
    "docs",
    "tests",
    "app.py",
    "cdk.json",
    "pyproject.toml",
)
_PASSED, _FAILED = 0, 1  # pytest's exit codes; anything else says nothing about the code


@dataclass(frozen=True, slots=True)
class Break:
    """One text in one file with its replacement, and the tests that must then fail."""

    name: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]


def read_breaks(file: Path) -> list[Break]:
    """Return all breaks of a file. Raises SystemExit for one that lacks a field or has an unknown one."""
    breaks = []
    for number, fields in enumerate(tomllib.loads(file.read_text())["break"], start=1):
        try:
            breaks.append(Break(**{**fields, "tests": tuple(fields["tests"])}))
        except (TypeError, KeyError) as error:
            sys.exit(f"{file.name}: break {number} takes name, file, find, replace and tests: {error}")
    return breaks


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.breaks.run", description=__doc__)
    parser.add_argument("--seconds", type=float, help="start no break after this many seconds, and say which are left")
    parser.add_argument("names", nargs="*", help="only these breaks")
    options = parser.parse_args(arguments)
    chosen = [each for each in read_breaks(BREAKS) if not options.names or each.name in options.names]
    with tempfile.TemporaryDirectory(prefix="breaks-") as scratch:
        whole = _copy(Path(scratch) / "whole")
        green = sorted({test for each in chosen for test in each.tests})
        if _pytest(whole, green) != _PASSED:
            print("breaks: the tests that the breaks name do not pass as the code is")
            return 1
        return _break_all(chosen, whole, Path(scratch), options.seconds)


def _break_all(breaks: Sequence[Break], whole: Path, scratch: Path, seconds: float | None) -> int:
    """Try as many at once as there are cores."""
    deadline = time.monotonic() + seconds if seconds is not None else math.inf
    survivors: list[str] = []
    left: list[str] = []

    def look(each: Break) -> None:
        if time.monotonic() > deadline:
            left.append(each.name)
            return
        verdict = _try(each, whole, scratch / each.name)
        print(f"{'ok  ' if verdict is None else 'FAIL'} {each.name}{f': {verdict}' if verdict else ''}", flush=True)
        survivors.extend([each.name] if verdict else [])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(look, breaks))
    if left:
        print(f"breaks: out of time, not tried: {', '.join(left)} (make breaks tries all)")
    print(f"breaks: {len(breaks) - len(left) - len(survivors)} of {len(breaks)} seen by their tests")
    return 1 if survivors else 0


def _try(each: Break, whole: Path, copy: Path) -> str | None:
    """Return why a break is not seen as it should be; None where it is."""
    shutil.copytree(whole, copy, symlinks=True)
    try:
        file = copy / each.file
        found = file.read_text().count(each.find)
        if found != 1:
            return f"its text is {found} times in {each.file}, and must be there once"
        file.write_text(file.read_text().replace(each.find, each.replace))
        green = [test for test in each.tests if _pytest(copy, [test]) != _FAILED]
        return f"stays green: {', '.join(green)}" if green else None
    finally:
        shutil.rmtree(copy)


def _copy(to: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", ".hypothesis")
    to.mkdir()
    for name in _COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=ignored)
        else:
            shutil.copy(source, to / name)
    return to


def _pytest(project: Path, tests: Sequence[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", *tests]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (_PASSED, _FAILED):
        print(done.stdout[-2000:], done.stderr[-2000:])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
