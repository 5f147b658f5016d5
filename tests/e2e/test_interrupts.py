"""Ctrl-C, at any time: everything that runs a local AWS ends, and leaves nothing in the system's temporary folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws import PROJECT
from local.interrupts import INTERRUPTED

_PATIENCE_SECONDS = 60.0
_CHAOS, _DEMO, _UP = ["local.chaos", "--seconds", "60"], ["local", "demo"], ["local", "up"]


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Let a process that is started heed Ctrl-C, also where the tests run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _has(directory: Path, pattern: str) -> bool:
    return any(directory.glob(pattern))


@pytest.mark.parametrize(
    ("command", "begun"),
    [
        (_DEMO, "local-aws-*"),  # the local AWS starts
        (_DEMO, "cdk-*/assembly"),  # the CDK CLI synthesizes
        (_CHAOS, "cdk-*/assembly"),
        (_UP, "cdk-*/assembly"),
        (_DEMO, "cdk-*/assembly/manifest.json"),  # the CDK CLI deploys
    ],
)
def test_interrupted_command_ends_and_leaves_no_file(command: list[str], begun: str, tmp_path: Path) -> None:
    """The signal goes to the whole group, as the terminal's does, once the work under way shows in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _has(tmp_path, begun):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=_PATIENCE_SECONDS)  # the pipe ends with the last process that has it
    assert "Traceback" not in out
    assert process.returncode == (0 if command is _UP else INTERRUPTED)
    assert list(tmp_path.iterdir()) == []
