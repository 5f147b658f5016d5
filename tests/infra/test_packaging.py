"""The function's asset: what is in it, that it is whole, and that it comes out the same."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra import function_asset as packaging
from infra.errors import PackagingError
from infra.interpreter import Interpreter, find_interpreter
from node_remediation.sdk import AMAZON_ROOTS
from tests.unit.conftest import ENVIRONMENT
from tests.unit.fakes import health_event

WHOLE = """
import sys
sys.path.insert(0, sys.argv[1])
import aws_lambda_powertools, botocore.session, node_remediation.settings
client = botocore.session.get_session().create_client("sagemaker", region_name="us-east-1")
assert hasattr(client, "batch_reboot_cluster_nodes")
outside = [m.__file__ for m in map(sys.modules.get, ("botocore", "aws_lambda_powertools", "six", "urllib3", "dateutil"))
           if not m.__file__.startswith(sys.argv[1])]
assert not outside, outside
"""

# Every edge is tried and none answers: what is imported only then is there too.
STARTED = """
import gc, json, os, sys
sys.path.insert(0, sys.argv[1])
collections = []
gc.callbacks.append(lambda phase, _: collections.append(phase))
from node_remediation import handler, wiring
assert collections == [], collections
assert gc.isenabled() and gc.get_freeze_count() > 10_000
remediator = wiring.build(os.environ)
clients = [remediator._claimant._rebooter._client, remediator._reader._resolver._alarms._client()]
print(*{os.path.basename(os.fspath(client._endpoint.http_session._verify)) for client in clients})

class Context:
    aws_request_id = "1"
    def get_remaining_time_in_millis(self):
        return 60_000

try:
    handler.lambda_handler(json.load(sys.stdin), Context())
except handler.HandBackError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def asset() -> Path:
    return packaging.function_asset()


@pytest.fixture(scope="module")
def wheels() -> Path:
    return packaging.downloaded_wheels()


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Requirements of the test's own, in a project of its own."""
    for name in packaging.RECIPE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    requirements = tmp_path / "requirements.txt"
    monkeypatch.setattr(packaging, "ROOT", tmp_path)
    monkeypatch.setattr(packaging, "REQUIREMENTS", requirements)
    return requirements


def _digest(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in root.rglob("*")
        if path.is_file()
    }


def test_two_clean_builds_in_different_places_give_the_same_bytes(tmp_path: Path, asset: Path, wheels: Path) -> None:
    """And the same modes, under a stricter umask: the hash of the asset decides whether a deploy changes anything."""
    umask = os.umask(0o077)
    try:
        again = packaging.function_asset(
            tmp_path / "a longer path than the other", wheels=packaging.downloaded_wheels()
        )
    finally:
        os.umask(umask)
    assert _digest(again) == _digest(asset)


def test_second_build_of_one_tree_runs_no_pip(asset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds the first."""

    def never(*_: object, **__: object) -> None:
        pytest.fail("it ran pip")

    monkeypatch.setattr(packaging, "_pip", never)
    assert packaging.function_asset() == asset


def test_asset_holds_the_code_the_dependencies_their_licences_and_nothing_else(asset: Path) -> None:
    """Nothing that differs from machine to machine, no scripts, no bytecode of another Python."""
    files = [path.relative_to(asset) for path in asset.rglob("*") if path.is_file()]
    tops = {path.parts[0] for path in files}
    distributions = {each.partition("-")[0] for each in tops if each.endswith(".dist-info")}
    modules = {"botocore", "aws_lambda_powertools", "jmespath", "dateutil", "six.py"}
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
    """File by file."""
    code = packaging.CODE
    sources = {path.relative_to(code): path.read_bytes() for path in code.rglob("*.py")}
    shipped = asset / code.name
    assert {path.relative_to(shipped): path.read_bytes() for path in shipped.rglob("*.py")} == sources


def test_bytecode_of_the_building_python_stays_behind(
    wheels: Path, pinned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies beside the sources as soon as a test has imported them."""
    real = Path(packaging.__file__).parents[1] / "lambda"
    pinned.write_bytes((real / "requirements.txt").read_bytes())
    code = tmp_path / "node_remediation"
    (code / "__pycache__").mkdir(parents=True)
    (code / "__init__.py").touch()
    (code / "__pycache__" / "left.cpython-311.pyc").touch()
    monkeypatch.setattr(packaging, "CODE", code)
    asset = packaging.function_asset(tmp_path / "builds", wheels=wheels)
    assert not list(asset.rglob("left.*"))
    assert (asset / "node_remediation" / "__init__.py").is_file()


@pytest.mark.skipif(find_interpreter(os.environ) is None, reason="the runtime's own Python is not here")
def test_every_module_is_compiled_under_the_path_it_will_have(asset: Path) -> None:
    """A traceback names /var/task, and nothing of the machine that built it."""
    sources = {path for path in asset.rglob("*.py") if path.stem.isidentifier()}
    compiled = {path.parent.parent / f"{path.stem.split('.')[0]}.py": path for path in asset.rglob("*.pyc")}
    assert sources <= set(compiled)
    code = compiled[asset / "node_remediation" / "settings.py"].read_bytes()
    assert b"/var/task/node_remediation/settings.py" in code
    assert not [path for path in compiled.values() if str(packaging.ROOT).encode() in path.read_bytes()]
    unchecked_hash = (1).to_bytes(4, "little")
    assert code[4:8] == unchecked_hash


def test_asset_brings_all_it_imports(asset: Path) -> None:
    """On an interpreter that has nothing but the standard library."""
    found = find_interpreter(os.environ)
    interpreter = str(found.path) if found else sys.executable
    subprocess.run([interpreter, "-I", "-S", "-c", WHOLE, str(asset)], check=True, cwd="/")


def test_function_of_the_asset_starts_and_meets_an_aws_that_is_not_there(asset: Path) -> None:
    """It trusts the few roots, collects no garbage while it starts, and hands back what it cannot look up."""
    found = find_interpreter(os.environ)
    command = [str(found.path) if found else sys.executable, "-I", "-S", "-c", STARTED, str(asset)]
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}
    event = json.dumps(health_event(time=datetime.now(UTC).isoformat()))
    ran = subprocess.run(
        command, input=event, env=ENVIRONMENT | nowhere, capture_output=True, text=True, check=False, cwd="/"
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == AMAZON_ROOTS
    assert lines[-1].startswith("EndpointConnectionError: Could not connect to the endpoint URL")


def test_asset_is_small(asset: Path) -> None:
    """A cold start begins with its download."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        for path in asset.rglob("*"):
            written.write(path, path.relative_to(asset))
    assert len(archive.getvalue()) < 3_500_000


def test_part_that_is_no_longer_there_to_leave_out_fails_the_build(tmp_path: Path) -> None:
    """What took its place would be shipped unseen."""
    with pytest.raises(
        PackagingError, match=r"^function asset: aws_lambda_powertools/event_handler is no longer there"
    ):
        packaging.remove_unused(tmp_path)


def test_pins_hold_for_every_python() -> None:
    """Pip reads markers for the Python that runs it, not for the one that it installs for."""
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
    wheels: Path, pinned: Path, tmp_path: Path, requirement: str, said: str
) -> None:
    """And nothing of it is kept."""
    pinned.write_text(requirement)
    with pytest.raises(PackagingError) as raised:
        packaging.function_asset(tmp_path / "builds", wheels=wheels)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("function asset: pip install failed: ")
    assert said in str(raised.value).lower()
    assert list((tmp_path / "builds" / "packages").iterdir()) == []


def test_build_without_the_runtimes_python_leaves_bytecode_out_and_says_so(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line: a slower start is no reason to fail."""
    monkeypatch.setattr(packaging, "find_interpreter", lambda _: None)
    asset = packaging.function_asset(tmp_path, wheels=wheels)
    assert not list(asset.rglob("*.pyc"))
    assert len(list(asset.rglob("*.py"))) > 100
    assert capsys.readouterr().err.count("\n") == 1


def _fake_python(path: Path, says: str, code: int = 0) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_interpreter_on_path_that_does_not_run_is_passed_over_for_pyenvs(tmp_path: Path) -> None:
    """As a pyenv shim does not run for a version that is not selected; PyPy's bytecode is another."""
    _fake_python(tmp_path / "shims/python3.13", "pyenv: python3.13: command not found", 127)
    _fake_python(tmp_path / "other/python3.13", "3.13.7 PyPy")
    found = _fake_python(tmp_path / ".pyenv/versions/3.13.2/bin/python3.13", "3.13.2 CPython")
    environ = {"PATH": f"{tmp_path / 'shims'}:{tmp_path / 'other'}:", "HOME": str(tmp_path)}
    assert find_interpreter(environ) == Interpreter(path=found, version="3.13.2")


def test_interpreter_of_uv_is_found(tmp_path: Path) -> None:
    """Under its default place and the one that its variable names."""
    name = "cpython-3.13.9-linux-x86_64-gnu/bin/python3.13"
    home = _fake_python(tmp_path / "home/.local/share/uv/python" / name, "3.13.9 CPython")
    named = _fake_python(tmp_path / "named" / name, "3.13.9 CPython")
    environ = {"PATH": "", "HOME": str(tmp_path / "home")}
    assert find_interpreter(environ) == Interpreter(path=home, version="3.13.9")
    environ["UV_PYTHON_INSTALL_DIR"] = str(tmp_path / "named")
    assert find_interpreter(environ) == Interpreter(path=named, version="3.13.9")


def test_interpreter_of_another_minor_version_is_none(tmp_path: Path) -> None:
    """Its bytecode would be ignored at run time."""
    path = _fake_python(tmp_path / "bin" / "python3.13", "3.12.1 CPython")
    assert find_interpreter({"PATH": str(path.parent), "HOME": str(tmp_path)}) is None
