"""Finds the runtime's own Python, whose compiled files the function can load; any other's it would ignore."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

RUNTIME_VERSION = "3.13"


@dataclass(frozen=True, slots=True)
class Interpreter:
    path: Path
    version: str  # as precise as it gets: it decides the compiled bytes


def find_interpreter(environ: Mapping[str, str]) -> Interpreter | None:
    """The first of PATH's, pyenv's and uv's that runs and is of the runtime's minor version."""
    for path in _candidates(environ):
        version = _version(path)
        if version and version.startswith(f"{RUNTIME_VERSION}."):
            return Interpreter(path=path, version=version)
    return None


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    name = f"python{RUNTIME_VERSION}"
    home = Path(environ.get("HOME", "~")).expanduser()
    for directory in environ.get("PATH", "").split(os.pathsep):
        if found := shutil.which(name, path=directory):
            yield Path(found)
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{RUNTIME_VERSION}*/bin/{name}"))
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    uv = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    yield from sorted(uv.glob(f"cpython-{RUNTIME_VERSION}*/bin/{name}"))


def _version(path: Path) -> str | None:
    """Its full version; None where it does not run, as pyenv's shims do not for a version that is not selected."""
    code = "import platform; print(platform.python_version(), platform.python_implementation())"
    try:
        ran = subprocess.run([path, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version, _, implementation = ran.stdout.strip().partition(" ")
    return version if implementation == "CPython" else None
