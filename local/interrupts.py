"""Ends in order when interrupted: Ctrl-C and SIGTERM leave no process and no temporary directory."""

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INTERRUPTED = 130  # the exit status that shells give
_REMOVE_SECONDS = 5.0
_POLL_SECONDS = 0.05


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt meanwhile, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until this is done. Processes started meanwhile heed both."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    held = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _frame: came.append(number)) for number in held}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def scratch_directory(prefix: str) -> Iterator[Path]:
    """Make a temporary directory that is gone at the end, however it comes."""
    made: Path | None = None
    try:
        with uninterrupted():
            made = Path(tempfile.mkdtemp(prefix=prefix))
        yield made
    finally:
        with uninterrupted():
            if made is not None:
                remove(made)


def remove(directory: Path) -> None:
    """Remove a directory in which processes that were just killed may have written until now."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            time.sleep(_POLL_SECONDS)
