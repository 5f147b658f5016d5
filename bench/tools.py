"""Provides what the bench needs besides the project: the Lambda runtime, and the builds that are compared."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.function_asset import CODE, HANDLER, function_asset
from infra.interpreter import RUNTIME_VERSION, Interpreter, find_interpreter
from infra.kept import Kept

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
WORK = ROOT / "build" / "bench"
RUNTIME_REQUIREMENTS = BENCH / "requirements.txt"
NAIVE_REQUIREMENTS = BENCH / "naive" / "requirements.txt"
OURS, NAIVE, NAIVE_COMPILED = "ours", "naive", "naive + .pyc"
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


@dataclass(frozen=True, slots=True)
class Build:
    """Holds a build's asset as a directory and as the zip file of an upload."""

    name: str
    asset: Path
    archive: Path
    handler: str

    @property
    def takes_batches(self) -> bool:
        return self.name == OURS


def runtime() -> Runtime:
    """Return the real runtime, downloaded once. Raises BenchError where it cannot run."""
    check_machine(platform.system(), platform.machine())
    python = find_interpreter(os.environ)
    if python is None:
        raise BenchError(f"no Python {RUNTIME_VERSION} on PATH, in pyenv or uv: uv python install {RUNTIME_VERSION}")
    made = _kept("runtime", RUNTIME_REQUIREMENTS, python, lambda target: _unpack_runtime(target, python))
    return Runtime(python, made / "client", made / "aws-lambda-rie")


def check_machine(system: str, machine: str) -> None:
    """Raise BenchError where the runtime interface emulator of the pinned wheel does not run."""
    if (system, machine) != ("Linux", "x86_64"):
        raise BenchError(f"the pinned runtime interface emulator is for Linux on x86_64, not for {system} on {machine}")


def all_builds(python: Interpreter) -> dict[str, Build]:
    """Return ours as it is deployed, the naive one as pip leaves it, and the naive one compiled."""
    directory = WORK / "assets"
    shutil.rmtree(directory, ignore_errors=True)
    naive, compiled = directory / "naive", directory / "naive-compiled"
    _copy(_kept("naive-packages", NAIVE_REQUIREMENTS, python, _install_naive), naive)
    _copy(CODE, naive / CODE.name)
    _copy(BENCH / "naive", naive / "naive")
    _copy(naive, compiled)
    _compile_all(compiled, python)
    assets = {OURS: function_asset(), NAIVE: naive, NAIVE_COMPILED: compiled}
    return {name: _build(name, asset, directory) for name, asset in assets.items()}


def run(command: Sequence[str]) -> None:
    """Run a command. Raises BenchError with the last line of its output."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        words = [line for line in ran.stderr.splitlines() if line.strip()] or ["no output"]
        raise BenchError(f"{Path(command[0]).name} {' '.join(command[1:4])} failed: {words[-1].strip()}")


def _build(name: str, asset: Path, directory: Path) -> Build:
    handler = HANDLER if name == OURS else "naive.handler.lambda_handler"
    archive = directory / f"{name.replace(' ', '')}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(path for path in asset.rglob("*") if path.is_file()):
            file.write(path, path.relative_to(asset))
    return Build(name, asset, archive, handler)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "requirements.txt"))


def _unpack_runtime(target: Path, python: Interpreter) -> None:
    wheels, emulator = target / "wheels", target / "aws-lambda-rie"
    _pip("download", RUNTIME_REQUIREMENTS, "--dest", str(wheels))
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            if _RIE_IN_WHEEL in archive.namelist():
                emulator.write_bytes(archive.read(_RIE_IN_WHEEL))
            else:
                archive.extractall(target / "client")  # its hash was checked
    if not emulator.exists():
        raise BenchError(f"the pinned aws-sam-cli carries no {_RIE_IN_WHEEL}")
    emulator.chmod(0o755)
    _compile_all(target / "client", python)


def _install_naive(target: Path) -> None:
    """Install without .pyc: pip would compile them for the Python that it runs on, which is not the runtime's."""
    _pip("install", NAIVE_REQUIREMENTS, "--no-compile", "--target", str(target))


def _pip(command: str, requirements: Path, *options: str) -> None:
    """Run pip for pinned wheels of the runtime's platform, with checked hashes."""
    platforms = [word for each in _PLATFORMS for word in ("--platform", each)]
    pins = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--requirement", str(requirements)]
    target = [*platforms, "--implementation", "cp", "--python-version", RUNTIME_VERSION, *pins]
    run([sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *target, *options])


def _compile_all(directory: Path, python: Interpreter) -> None:
    """Compile for the runtime, so that the read-only asset does not compile at each start."""
    command = [str(python.path), "-S", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    run([*command, str(directory)])


def _kept(name: str, requirements: Path, python: Interpreter, build: Callable[[Path], None]) -> Path:
    return Kept(WORK / name, ROOT).get(inputs=lambda: [requirements, Path(__file__)], words=python.version, build=build)
