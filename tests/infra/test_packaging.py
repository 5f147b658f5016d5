"""Tests the function's asset: its content, that it is complete, and that builds are reproducible."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePath

import pytest

from infra import function_asset as packaging
from infra.errors import PackagingError
from infra.interpreter import Interpreter, find_interpreter
from node_remediation.aws import OPERATIONS
from node_remediation.settings import SWEEP_DETAIL_TYPE, SWEEP_SOURCE
from tests.infra.environment import ENVIRONMENT

SAMPLE = Path(__file__).parent.parent / "samples" / "node-health.documented.json"
MOST_BYTES = 5_000_000
# What the function needs: each listed operation, and its libraries from the asset only.
COMPLETE = """
import sys
sys.path.insert(0, sys.argv[1])
import aws_lambda_powertools, boto3, boto3.dynamodb.types, botocore, jmespath, six, urllib3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.parameters import GetParameterError, SSMProvider
from botocore import xform_name
from botocore.config import Config
from node_remediation.aws import OPERATIONS
import node_remediation.settings

session, once = boto3.Session(), Config(retries={"total_max_attempts": 1})
clients = {service: session.client(service, config=once) for service in OPERATIONS}
for service, names in OPERATIONS.items():
    for name in names:
        assert callable(getattr(clients[service], xform_name(name))), name
try:
    SSMProvider(boto3_client=clients["ssm"]).get("/mode", max_age=1)
except GetParameterError as error:
    assert "Could not connect" in str(error), error
assert boto3.dynamodb.types.TypeSerializer().serialize({"a": 1}) == {"M": {"a": {"N": "1"}}}
outside = [name for name, module in sys.modules.items()
           if name.partition(".")[0] in ("aws_lambda_powertools", "boto3", "botocore", "dateutil", "jmespath",
                                         "node_remediation", "s3transfer", "six", "urllib3")
           and not (getattr(module, "__file__", None) or sys.argv[1]).startswith(sys.argv[1])]
assert not outside, outside
print(len(session.get_available_services()))
"""
# No service answers: the function must still answer, also where that takes modules that it imports late.
STARTED = """
import json, sys
sys.path.insert(0, sys.argv[1])
from node_remediation import handler

class Context:
    aws_request_id = "1"
    function_name = "function"
    function_version = "$LATEST"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-west-2:111122223333:function:function"
    def get_remaining_time_in_millis(self):
        return 60_000

for event in json.load(sys.stdin):
    answer = handler.lambda_handler(event, Context())
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def asset() -> Path:
    return packaging.function_asset()


@pytest.fixture(scope="module")
def full_asset() -> Path:
    return packaging.function_asset(full_sdk=True)


@pytest.fixture(scope="module")
def wheels() -> Path:
    return packaging.downloaded_wheels()


def _digest(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in root.rglob("*")
        if path.is_file()
    }


def test_two_clean_builds_in_different_places_give_the_same_bytes(tmp_path: Path, asset: Path, wheels: Path) -> None:
    """The modes are the same too, with a stricter umask: a deployment replaces the asset if its hash changes."""
    umask = os.umask(0o077)
    try:
        again = packaging.function_asset(
            tmp_path / "a longer path than the other", wheels=packaging.downloaded_wheels()
        )
    finally:
        os.umask(umask)
    assert _digest(again) == _digest(asset)


def test_second_build_of_one_tree_runs_no_pip(asset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It returns the first build."""

    def never(*_: object, **__: object) -> None:
        pytest.fail("it ran pip")

    monkeypatch.setattr(packaging, "_pip", never)
    assert packaging.function_asset() == asset


def test_asset_holds_the_code_the_dependencies_their_licences_and_nothing_else(asset: Path) -> None:
    """It has nothing that differs between machines, no scripts, and no bytecode of another Python."""
    files = [path.relative_to(asset) for path in asset.rglob("*") if path.is_file()]
    tops = {path.parts[0] for path in files}
    distributions = {each.partition("-")[0] for each in tops if each.endswith(".dist-info")}
    modules = {"aws_lambda_powertools", "boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py"}
    modules |= {"typing_extensions.py", "urllib3"}
    assert {each for each in tops if not each.endswith(".dist-info")} - {"__pycache__"} == {
        *modules,
        "node_remediation",
    }
    assert len(distributions) == len(modules)
    assert not {path.name for path in files} & {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
    assert {path.suffixes[0] for path in files if path.suffix == ".pyc"} <= {".cpython-313"}
    assert any("licen" in path.name.lower() for path in files)


def test_asset_ships_the_functions_code_as_it_is(asset: Path) -> None:
    """The test compares file by file."""
    code = packaging.CODE
    sources = {path.relative_to(code): path.read_bytes() for path in code.rglob("*.py")}
    shipped = asset / code.name
    assert {path.relative_to(shipped): path.read_bytes() for path in shipped.rglob("*.py")} == sources


def test_bytecode_of_the_building_python_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is beside the sources after a test has imported them."""
    code, packages, built = (tmp_path / name for name in ("node_remediation", "packages", "built"))
    for directory in (code / "__pycache__", packages, built):
        directory.mkdir(parents=True)
    (code / "__init__.py").touch()
    (code / "__pycache__" / "left.cpython-311.pyc").touch()
    monkeypatch.setattr(packaging, "CODE", code)
    packaging._asset(built, packages, None)
    assert [path.name for path in built.rglob("*")] == ["node_remediation", "__init__.py"]


@pytest.mark.skipif(find_interpreter(os.environ) is None, reason="the runtime's own Python is not here")
def test_every_module_is_compiled_under_the_path_it_will_have(asset: Path) -> None:
    """A traceback names /var/task and no path of the build machine."""
    sources = {path for path in asset.rglob("*.py") if path.stem.isidentifier()}
    compiled = {path.parent.parent / f"{path.stem.split('.')[0]}.py": path for path in asset.rglob("*.pyc")}
    assert sources <= set(compiled)
    code = compiled[asset / "node_remediation" / "settings.py"].read_bytes()
    assert b"/var/task/node_remediation/settings.py" in code
    assert not [path for path in compiled.values() if str(packaging.ROOT).encode() in path.read_bytes()]
    unchecked_hash = (1).to_bytes(4, "little")
    assert code[4:8] == unchecked_hash


def _run(code: str, asset: Path, *, stdin: str = "") -> str:
    """Run code on an interpreter that has only the standard library, without any AWS to answer. Return its output."""
    found = find_interpreter(os.environ)
    command = [str(found.path) if found else sys.executable, "-I", "-S", "-c", code, str(asset)]
    env = {**ENVIRONMENT, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}
    ran = subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, check=False, cwd="/")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_asset_has_all_that_it_imports_and_the_listed_services_only(asset: Path) -> None:
    """It needs nothing but the interpreter's standard library."""
    assert int(_run(COMPLETE, asset)) == len(OPERATIONS)


def test_full_asset_has_every_service(full_asset: Path) -> None:
    """The function runs the same with it."""
    assert int(_run(COMPLETE, full_asset)) > 300


def test_full_asset_is_what_pip_installs(full_asset: Path, wheels: Path) -> None:
    """Only scripts and pip's own records are missing, because they differ between machines."""
    missing = {
        name
        for name in _installed(wheels)
        if not (full_asset / name).is_file() and not any(PurePath(name).match(each) for each in packaging.UNNEEDED)
    }
    assert missing == set()


def test_trimmed_asset_differs_from_the_full_one_in_sdk_data_and_unused_packages_alone(
    asset: Path, full_asset: Path
) -> None:
    """The certificate roots, for example, are botocore's own."""
    full, trimmed = _digest(full_asset), _digest(asset)
    left_out = ("botocore/data/", *(f"{each}/" for each in packaging.UNUSED))
    assert {name: each for name, each in full.items() if not name.startswith(left_out)} == {
        name: each for name, each in trimmed.items() if not name.startswith("botocore/data/")
    }


def _installed(wheels: Path) -> Iterator[str]:
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            yield from (name for name in archive.namelist() if not name.endswith("/") and ".data/" not in name)


def test_function_of_the_asset_starts_and_hands_back_a_message_when_no_service_answers(asset: Path) -> None:
    """Before that, a sweep ends without an error: it reads the same tables."""
    now = datetime.now(UTC)
    sweep = {"source": SWEEP_SOURCE, "detail-type": SWEEP_DETAIL_TYPE, "time": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    health = json.loads(SAMPLE.read_text()) | {"time": sweep["time"], "account": "111122223333", "region": "us-west-2"}
    record = {
        "messageId": "m-1",
        "receiptHandle": "r-1",
        "body": json.dumps(health),
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": f"{now.timestamp() * 1000:.0f}"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-west-2:111122223333:intake",
        "awsRegion": "us-west-2",
    }
    said = _run(STARTED, asset, stdin=json.dumps([sweep, {"Records": [record]}]))
    assert json.loads(said.splitlines()[-1]) == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}


def test_asset_is_small(asset: Path) -> None:
    """A cold start begins with its download."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        for path in asset.rglob("*"):
            written.write(path, path.relative_to(asset))
    assert len(archive.getvalue()) <= MOST_BYTES


def test_part_that_is_no_longer_there_to_leave_out_fails_the_build(tmp_path: Path) -> None:
    """Else its replacement would be shipped unnoticed."""
    with pytest.raises(
        PackagingError, match=r"^function asset: aws_lambda_powertools/event_handler is no longer there"
    ):
        packaging.remove_unused(tmp_path)


def test_pins_hold_for_every_python() -> None:
    """Pip evaluates markers for the Python that runs it, not for the one that it installs for."""
    lines = packaging.REQUIREMENTS.read_text().splitlines()
    assert [line for line in lines if ";" in line] == []


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("botocore==1.43.106", "hash"),
        ("botocore==1.43.106 --hash=sha256:" + "0" * 64, "hash"),
        ("no==such file", "requirement"),
    ],
    ids=["without a hash", "of other bytes", "unreadable"],
)
def test_pip_failure_is_one_line_that_says_why(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requirement: str, said: str
) -> None:
    """Pip itself writes several."""
    monkeypatch.setattr(packaging, "REQUIREMENTS", tmp_path / "requirements.txt")
    packaging.REQUIREMENTS.write_text(requirement)
    with pytest.raises(PackagingError, match=r"^function asset: pip install failed: [^\n]+$") as raised:
        packaging._pip("install", "--no-index", "--find-links", str(wheels), "--target", str(tmp_path / "built"))
    assert said in str(raised.value).lower()


def test_build_without_the_runtimes_python_has_no_bytecode_and_says_in_one_line_what_differs(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the cold start, the hash, and how to get that Python; a slower start is no reason to fail."""
    monkeypatch.setattr(packaging, "find_interpreter", lambda _: None)
    asset = packaging.function_asset(tmp_path, wheels=wheels)
    assert not list(asset.rglob("*.pyc"))
    assert len(list(asset.rglob("*.py"))) > 100
    assert re.fullmatch(
        r"function asset: no Python 3\.13 .*cold start.*hash.*: uv python install 3\.13, or pyenv install 3\.13\n",
        capsys.readouterr().err,
    )


def test_environment_without_pip_fails_in_one_line_that_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment made by uv has no pip until its requirements are installed."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = str(tmp_path / "venv" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(PackagingError) as raised:
        packaging.downloaded_wheels(tmp_path / "builds")
    assert str(raised.value) == f"function asset: {python} has no pip: uv pip install pip, or python3 -m ensurepip"


def _fake_python(path: Path, says: str, code: int = 0) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_interpreter_on_path_that_does_not_run_is_passed_over_for_pyenvs(tmp_path: Path) -> None:
    """A pyenv shim does not run for a version that is not selected, and PyPy has other bytecode."""
    _fake_python(tmp_path / "shims/python3.13", "pyenv: python3.13: command not found", 127)
    _fake_python(tmp_path / "other/python3.13", "3.13.7 PyPy")
    found = _fake_python(tmp_path / ".pyenv/versions/3.13.2/bin/python3.13", "3.13.2 CPython")
    environ = {"PATH": f"{tmp_path / 'shims'}:{tmp_path / 'other'}:", "HOME": str(tmp_path)}
    assert find_interpreter(environ) == Interpreter(path=found, version="3.13.2")


def test_interpreter_of_uv_is_found(tmp_path: Path) -> None:
    """It is in uv's default directory, or in the one that its variable names."""
    name = "cpython-3.13.9-linux-x86_64-gnu/bin/python3.13"
    home = _fake_python(tmp_path / "home/.local/share/uv/python" / name, "3.13.9 CPython")
    named = _fake_python(tmp_path / "named" / name, "3.13.9 CPython")
    environ = {"PATH": "", "HOME": str(tmp_path / "home")}
    assert find_interpreter(environ) == Interpreter(path=home, version="3.13.9")
    environ["UV_PYTHON_INSTALL_DIR"] = str(tmp_path / "named")
    assert find_interpreter(environ) == Interpreter(path=named, version="3.13.9")


def test_interpreter_of_another_minor_version_is_none(tmp_path: Path) -> None:
    """The runtime would ignore its bytecode."""
    path = _fake_python(tmp_path / "bin" / "python3.13", "3.12.1 CPython")
    assert find_interpreter({"PATH": str(path.parent), "HOME": str(tmp_path)}) is None
