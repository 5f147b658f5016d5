"""Provides what the bench needs besides the project: pinned wheels, the runtime's own Python, the runtime itself."""

import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.interpreter import RUNTIME_VERSION, Interpreter, find_interpreter
from infra.kept import Kept

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
WORK = ROOT / "build" / "bench"
RUNTIME_REQUIREMENTS = BENCH / "requirements.txt"
NAIVE_REQUIREMENTS = BENCH / "naive" / "requirements.txt"
_RIE_IN_WHEEL = "samcli/local/rapid/aws-lambda-rie-x86_64"
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64", "manylinux1_x86_64")


class BenchError(Exception):
    """Reports, in one line, why the bench cannot measure here and what would help."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Holds the Lambda runtime: its Python, the interface client, the interface emulator."""

    python: Interpreter
    client: Path
    emulator: Path


def runtime() -> Runtime:
    """Return the real runtime, downloaded once. Raises BenchError where it cannot run."""
    check_machine(platform.system(), platform.machine())
    python = find_interpreter(os.environ)
    if python is None:
        raise BenchError(
            f"no Python {RUNTIME_VERSION} on PATH, in pyenv or uv: the bench runs the runtime's own version"
        )
    made = _kept("runtime", [RUNTIME_REQUIREMENTS], python, lambda target: _unpack_runtime(target, python))
    return Runtime(python, made / "client", made / "aws-lambda-rie")


def check_machine(system: str, machine: str) -> None:
    """Raise BenchError where the runtime interface emulator of the pinned wheel does not run."""
    if (system, machine) != ("Linux", "x86_64"):
        raise BenchError(f"the pinned runtime interface emulator is for Linux on x86_64, not for {system} on {machine}")


def naive_packages(python: Interpreter) -> Path:
    """Return the naive build's dependencies as pip leaves them for the runtime's platform."""
    wheels = _kept("naive-wheels", [NAIVE_REQUIREMENTS], python, lambda target: download(NAIVE_REQUIREMENTS, target))
    return _kept("naive-packages", [NAIVE_REQUIREMENTS], python, lambda target: _install(wheels, target))


def compile_all(directory: Path, python: Interpreter) -> None:
    """Compile for the runtime, so that the read-only asset does not compile at each start."""
    command = [str(python.path), "-S", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    run([*command, str(directory)])


def download(requirements: Path, target: Path) -> None:
    """Download pinned wheels, with checked hashes."""
    run([*_pip("download"), *_pins(requirements), "--dest", str(target)])


def run(command: Sequence[str]) -> None:
    """Run a command. Raises BenchError with the last line of its output."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        words = [line for line in ran.stderr.splitlines() if line.strip()] or ["no output"]
        raise BenchError(f"{Path(command[0]).name} {' '.join(command[1:4])} failed: {words[-1].strip()}")


def _unpack_runtime(target: Path, python: Interpreter) -> None:
    wheels = target / "wheels"
    download(RUNTIME_REQUIREMENTS, wheels)
    emulator = target / "aws-lambda-rie"
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            if _RIE_IN_WHEEL in archive.namelist():
                emulator.write_bytes(archive.read(_RIE_IN_WHEEL))
            else:
                archive.extractall(target / "client")  # its hash was checked
    if not emulator.exists():
        raise BenchError(f"the pinned aws-sam-cli carries no {_RIE_IN_WHEEL}")
    emulator.chmod(0o755)
    compile_all(target / "client", python)


def _install(wheels: Path, target: Path) -> None:
    """Install without .pyc: pip would compile them for the Python that it runs on, which is not the runtime's."""
    options = ["--no-index", "--find-links", str(wheels), "--no-compile", "--target", str(target)]
    run([*_pip("install"), *_pins(NAIVE_REQUIREMENTS), *options])


def _pip(command: str) -> list[str]:
    return [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-input"]


def _pins(requirements: Path) -> list[str]:
    platforms = [word for each in _PLATFORMS for word in ("--platform", each)]
    pins = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--requirement", str(requirements)]
    return [*platforms, "--implementation", "cp", "--python-version", RUNTIME_VERSION, *pins]


def _kept(name: str, files: list[Path], python: Interpreter, build: Callable[[Path], None]) -> Path:
    inputs = [*files, Path(__file__)]
    return Kept(WORK / name, ROOT).get(inputs=lambda: inputs, words=python.version, build=build)
