"""Finds a Python of the runtime's minor version. The runtime ignores .pyc files of any other version."""

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
    version: str  # the full version: the compiled bytes depend on it


def find_interpreter(environ: Mapping[str, str]) -> Interpreter | None:
    """Return the first one of PATH, pyenv and uv that runs and has the runtime's minor version."""
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
    """Return its full version, or None if it does not run, like a pyenv shim of a version that is not selected."""
    code = "import platform; print(platform.python_version(), platform.python_implementation())"
    try:
        ran = subprocess.run([path, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version, _, implementation = ran.stdout.strip().partition(" ")
    return version if implementation == "CPython" else None
