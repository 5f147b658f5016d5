"""Builds the function's asset: its pinned dependencies and its code, reproducible to the byte.

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
from infra.sdk_data import trim_data
from node_remediation.aws import OPERATIONS

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "lambda" / "requirements.txt"
CODE = ROOT / "lambda" / "node_remediation"
HANDLER = "node_remediation.handler.lambda_handler"
BUILDS = ROOT / "build" / "function"
# Wheels for the function's platform, on every build platform. The runtime's C library is newer than all three.
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64")
# Not needed at run time, and different between builds or machines. Licences stay.
UNNEEDED = (
    "bin",
    "*.dist-info/RECORD",
    "*.dist-info/INSTALLER",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
)
# Large parts that the function never imports. The build fails if one is gone: find out what replaced it.
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
    "aws_lambda_powertools/utilities/parser",
    "aws_lambda_powertools/utilities/streaming",
    "aws_lambda_powertools/utilities/validation",
    "boto3/data",  # the models of boto3's resources: the function uses clients
    "boto3/examples",
    "dateutil/zoneinfo",  # time zones: all times here are in UTC
)
NO_INTERPRETER = (
    f"function asset: no Python {RUNTIME_VERSION} on PATH, in pyenv or uv: built without .pyc: each cold start"
    " compiles the modules, which takes a second or two, and the asset's hash differs from a build with .pyc;"
    f" to get it: uv python install {RUNTIME_VERSION}, or pyenv install {RUNTIME_VERSION}"
)
# The dependencies' part of the asset depends on these files and on the pins.
RECIPE = (
    "infra/function_asset.py",
    "infra/interpreter.py",
    "infra/sdk_data.py",
    "lambda/node_remediation/aws/__init__.py",
)


def function_asset(builds: Path = BUILDS, *, full_sdk: bool = False, wheels: Path | None = None) -> Path:
    """Return the directory to ship, built from the given or downloaded wheels. Raises PackagingError.

    With `full_sdk` it has the dependencies as pip installs them, otherwise only the parts that the function uses.
    """
    if not REQUIREMENTS.is_file():
        raise PackagingError("function asset: no lambda/ beside infra/: pip install -e CHECKOUT, editable")
    interpreter = find_interpreter(os.environ)
    if interpreter is None:
        print(NO_INTERPRETER, file=sys.stderr)  # noqa: T201  a builder reads it beside the CDK's own words
    compiler = interpreter.version if interpreter else "none"
    wheels = wheels or downloaded_wheels(builds)
    words = f"{compiler}, {'full' if full_sdk else 'trimmed'}"
    packages = Kept(builds / "packages", ROOT).get(
        inputs=_build_files, words=words, build=lambda target: _packages(target, wheels, interpreter, full_sdk)
    )
    return Kept(builds / "asset", ROOT).get(
        inputs=lambda: [*_build_files(), *_code_files()],
        words=words,
        build=lambda target: _asset(target, packages, interpreter),
    )


def downloaded_wheels(builds: Path = BUILDS) -> Path:
    """Return the directory of the pinned wheels, with checked hashes. Raises PackagingError."""
    return Kept(builds / "wheels", ROOT).get(
        inputs=_build_files, words="", build=lambda target: _pip("download", "--dest", str(target))
    )


def _packages(target: Path, wheels: Path, interpreter: Interpreter | None, full_sdk: bool) -> None:
    """Install and compile the dependencies alone."""
    _pip("install", "--no-index", "--find-links", str(wheels), "--no-compile", "--target", str(target))
    remove_unneeded(target)
    if not full_sdk:
        remove_unused(target)
        trim_data(target / "botocore" / "data", OPERATIONS)
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
    """Run pip for exactly the pinned wheels of the function's platform. None of their code is run."""
    platform = [word for each in PLATFORMS for word in ("--platform", each)]
    platform += ["--implementation", "cp", "--python-version", RUNTIME_VERSION]
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    pins = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--requirement", str(REQUIREMENTS)]
    ran = _run([sys.executable, "-m", "pip", command, *options, *platform, *pins, *arguments], env=None)
    if ran.returncode:
        if ran.stderr.rstrip().endswith("No module named pip"):
            raise PackagingError(
                f"function asset: {sys.executable} has no pip: uv pip install pip, or python3 -m ensurepip"
            )
        said = [line for line in ran.stderr.splitlines() if line.startswith("ERROR:")]
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
            raise PackagingError(f"function asset: {name} is no longer there to be removed")
        shutil.rmtree(target / name)


def compile_all(target: Path, interpreter: Interpreter | None) -> None:
    """Compile all modules for /var/task, never checked against their source at run time, with reproducible bytes.

    The sources stay: tracebacks quote them, and without the runtime's Python there are no .pyc files.
    """
    if interpreter is None:
        return
    options = ["-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(target), "-p", "/var/task"]
    command = [str(interpreter.path), "-S", "-m", "compileall", *options, str(target)]
    ran = _run(command, env={"PYTHONHASHSEED": "0"})
    if ran.returncode:
        raise PackagingError(f"function asset: {interpreter.path} could not compile it: {ran.stdout.strip()[-300:]}")


def make_readable(target: Path) -> None:
    """Make all files readable: Lambda runs as another user, and the builder's umask may be strict."""
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
