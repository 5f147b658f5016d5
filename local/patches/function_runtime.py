"""Gap: functions run on the emulator's own interpreter, with its site-packages and its whole environment, so that a
dependency missing from the asset or a variable missing from the template goes unnoticed.

Touches: `lambda_runtime._detect_runtime_binary`, `lambda_runtime.subprocess`.
"""

import functools
import logging
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from ministack.core import lambda_runtime

from local.patches.interpreters import ISOLATED, interpreter_for

_log = logging.getLogger("local.function_runtime")
_LAMBDA_ENVIRONMENT = {"LANG": "en_US.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": ":UTC"}


class _WorkerProcesses:
    """Stands in for the module `subprocess` in the emulator's worker."""

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    @staticmethod
    def Popen(command: list[str], *, env: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:  # noqa: N802
        """Start a worker isolated from this process: flags, environment, and signals meant for this terminal."""
        if command[-1].endswith(".py"):
            command = [command[0], *ISOLATED, *command[1:]]
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
