"""Builds what the function ships: its pinned dependencies and its code, the same bytes from the same tree.

Each step is kept under build/function, so that a second synth downloads and installs nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.errors import PackagingError
from infra.interpreter import RUNTIME_VERSION, Interpreter, find_interpreter
from infra.kept import Kept
from infra.roots import write_amazon_roots
from infra.sdk_data import trim_data
from node_remediation.sdk import AMAZON_ROOTS, OPERATIONS

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "lambda" / "requirements.txt"
CODE = ROOT / "lambda" / "node_remediation"
BUILDS = ROOT / "build" / "function"
# Wheels for the function's platform, whatever platform builds it; the runtime's own C library is newer than all three.
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64")
# Never needed at run time, and different from one build to the next or one machine to the next. Licences stay.
UNNEEDED = (
    "bin",
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
)
# What the function never imports, where it is large. The build fails when one is gone: then look what took its place.
UNUSED = (
    "aws_lambda_powertools/event_handler",
    "aws_lambda_powertools/utilities/auth_alpha",
    "aws_lambda_powertools/utilities/batch",
    "aws_lambda_powertools/utilities/circuit_breaker",
    "aws_lambda_powertools/utilities/data_classes",
    "aws_lambda_powertools/utilities/data_masking",
    "aws_lambda_powertools/utilities/feature_flags",
    "aws_lambda_powertools/utilities/idempotency",
    "aws_lambda_powertools/utilities/kafka",
    "aws_lambda_powertools/utilities/metadata",
    "aws_lambda_powertools/utilities/parameters",
    "aws_lambda_powertools/utilities/parser",
    "aws_lambda_powertools/utilities/streaming",
    "aws_lambda_powertools/utilities/validation",
    "dateutil/zoneinfo",  # time zones: the system has its own, and all times here are in UTC
)
# What decides the dependencies' part of the asset, besides their pins.
RECIPE = (
    "infra/function_asset.py",
    "infra/interpreter.py",
    "infra/roots.py",
    "infra/sdk_data.py",
    "lambda/node_remediation/sdk.py",
)


def function_asset(builds: Path = BUILDS, *, wheels: Path | None = None) -> Path:
    """The directory to ship; from these wheels, if they are here already. Raises PackagingError."""
    interpreter = find_interpreter(os.environ)
    if interpreter is None:
        print(f"function asset: no Python {RUNTIME_VERSION} on PATH, in pyenv or uv: built without .pyc", file=sys.stderr)  # fmt: skip  # noqa: E501, T201
    compiler = interpreter.version if interpreter else "none"
    wheels = wheels or downloaded_wheels(builds)
    packages = Kept(builds / "packages", ROOT).get(
        inputs=_build_files, words=compiler, build=lambda target: _packages(target, wheels, interpreter)
    )
    return Kept(builds / "asset", ROOT).get(
        inputs=lambda: [*_build_files(), *_code_files()],
        words=compiler,
        build=lambda target: _asset(target, packages, interpreter),
    )


def downloaded_wheels(builds: Path = BUILDS) -> Path:
    """The pinned wheels, their hashes checked. Raises PackagingError."""
    return Kept(builds / "wheels", ROOT).get(
        inputs=_build_files, words="", build=lambda target: _pip("download", "--dest", str(target))
    )


def _packages(target: Path, wheels: Path, interpreter: Interpreter | None) -> None:
    """The dependencies alone, cut down to what the function uses of them."""
    _pip("install", "--no-index", "--find-links", str(wheels), "--no-compile", "--target", str(target))
    remove_unneeded(target)
    remove_unused(target)
    botocore = target / "botocore"
    trim_data(botocore / "data", OPERATIONS)
    write_amazon_roots(botocore / "cacert.pem", botocore / AMAZON_ROOTS)
    compile_all(target, interpreter)


def _asset(target: Path, packages: Path, interpreter: Interpreter | None) -> None:
    shutil.copytree(packages, target, dirs_exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        code = Path(scratch) / CODE.name
        shutil.copytree(CODE, code, ignore=shutil.ignore_patterns("__pycache__"))
        compile_all(Path(scratch), interpreter)
        shutil.copytree(code, target / CODE.name)
    make_readable(target)


def _pip(command: str, *arguments: str) -> None:
    """Exactly the pinned wheels, for the function's platform; nothing is built and nothing of theirs is run."""
    platform = [word for each in PLATFORMS for word in ("--platform", each)]
    platform += ["--implementation", "cp", "--python-version", RUNTIME_VERSION]
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    pins = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--requirement", str(REQUIREMENTS)]
    ran = _run([sys.executable, "-m", "pip", command, *options, *platform, *pins, *arguments], env=None)
    if ran.returncode:
        said = [line for line in ran.stderr.splitlines() if line.startswith("ERROR:") or "No module" in line]
        raise PackagingError(f"function asset: pip {command} failed: {' '.join(said) or ran.stderr.strip()[-300:]}")


def remove_unneeded(target: Path) -> None:
    for path in [found for pattern in UNNEEDED for found in target.glob(pattern)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_unused(target: Path) -> None:
    for name in UNUSED:
        if not (target / name).is_dir():
            raise PackagingError(f"function asset: {name} is no longer there to be left out")
        shutil.rmtree(target / name)


def compile_all(target: Path, interpreter: Interpreter | None) -> None:
    """Never checked against the source at run time, under the paths it has there; no byte by a random seed.

    The sources stay beside it: tracebacks quote them, and without the runtime's Python there is nothing else.
    """
    if interpreter is None:
        return
    options = ["-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(target), "-p", "/var/task"]
    command = [str(interpreter.path), "-S", "-m", "compileall", *options, str(target)]
    ran = _run(command, env={"PYTHONHASHSEED": "0"})
    if ran.returncode:
        raise PackagingError(f"function asset: {interpreter.path} could not compile it: {ran.stdout.strip()[-300:]}")


def make_readable(target: Path) -> None:
    """Lambda runs as another user than the one who built it, whose umask may have been strict."""
    target.chmod(0o755)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _run(command: Sequence[str], *, env: dict[str, str] | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def _build_files() -> Iterator[Path]:
    yield REQUIREMENTS
    yield from (ROOT / name for name in RECIPE)


def _code_files() -> list[Path]:
    return [path for path in sorted(CODE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
