"""Finds a Python of a function's runtime, to be run with nothing but its standard library."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ISOLATED = ("-I", "-S")  # neither environment, working directory, user site nor site-packages
_PROBE_SECONDS = 10


def interpreter_for(runtime: str) -> tuple[str, str | None]:
    """Return an executable for a runtime such as `python3.13`, and a remark if it is not that version."""
    wanted = runtime.removeprefix("python")
    for candidate in _candidates(wanted):
        if _version(candidate) == wanted:
            return str(candidate), None
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    executable = getattr(sys, "_base_executable", None) or sys.executable
    return executable, f"function runs on Python {running}: no Python {wanted} found"


def _candidates(version: str) -> Iterator[Path]:
    """Yield the running interpreter's base, then those of PATH, pyenv and uv."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        yield Path(getattr(sys, "_base_executable", None) or sys.executable)
    name = f"python{version}"
    if found := shutil.which(name):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"), reverse=True)
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local/share/uv/python")
    yield from sorted(uv.glob(f"cpython-{version}.*/bin/{name}"), reverse=True)


def _version(executable: Path) -> str | None:
    """Return a candidate's version by running it: a version manager's shim may exist and still run nothing."""
    code = "import ssl, sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [executable, *ISOLATED, "-c", code], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
