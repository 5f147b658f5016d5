"""Gap: functions run on the emulator's own interpreter, with its site-packages and its whole environment, so that a
dependency missing from the asset or a variable missing from the template goes unnoticed.

Touches: `lambda_runtime._detect_runtime_binary`, `lambda_runtime.subprocess`.
"""

import functools
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime

_log = logging.getLogger("local.function_runtime")
_ISOLATED = ("-I", "-S")  # neither environment, working directory, user site nor site-packages
_PROBE_SECONDS = 10
_LAMBDA_ENVIRONMENT = {"LANG": "en_US.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": ":UTC"}


class _WorkerProcesses:
    """Stands in for the module `subprocess` in the emulator's worker."""

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    @staticmethod
    def Popen(command: list[str], *, env: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:  # noqa: N802
        """Start a worker isolated from this process: flags, environment, and signals meant for this terminal."""
        if command[-1].endswith(".py"):
            command = [command[0], *_ISOLATED, *command[1:]]
        return subprocess.Popen(command, env=function_environment(env, os.environ), **options)


def apply() -> None:
    """Run Python functions on a bare interpreter of their own version."""
    detect = lambda_runtime._detect_runtime_binary

    def detect_bare(runtime: str) -> tuple[str, str]:
        binary, script = detect(runtime)
        return (_interpreter(runtime), script) if runtime.startswith("python") else (binary, script)

    lambda_runtime._detect_runtime_binary = detect_bare
    lambda_runtime.subprocess = _WorkerProcesses()


def function_environment(given: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Return the function's environment, without what the emulator merely passes on from its own.

    The worker sets the function's own variables itself, so that none of them can be lost here.
    """
    kept = {name: value for name, value in given.items() if own.get(name) != value}
    return {**_LAMBDA_ENVIRONMENT, **kept}


@functools.cache
def _interpreter(runtime: str) -> str:
    executable, remark = interpreter_for(runtime)
    _log.warning("%s", remark or f"function runs on {runtime}: {executable}")
    return executable


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
            [executable, *_ISOLATED, "-c", code], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
