"""The commands' own logic: wrong usage, errors, exit statuses, JSON and colour."""

import json
import os
import pty
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from smoke.stack import SmokeError
from tests.tool.fakes import INTAKE, FakeSqs, FakeSsm, stack
from tool import commands
from tool.__main__ import main
from tool.errors import FAILED, NOT_FOUND, OK, USAGE, ToolError

ROOT = Path(__file__).resolve().parents[2]
_INCIDENT = "0a7d0c8e-6a5b-5d35-8a43-6a4ef9d9c1aa"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on a stack with these clients; gives exit status, output and errors."""

    def running(line: str, **clients: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(commands, "connect", lambda *_, **__: stack(**clients))
        status = main(line.split())
        out, err = capsys.readouterr()
        return status, out, err

    return running


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("stat", "No such command 'stat'"),
        ("status --jason", "No such option: --jason"),
        ("explain", "Missing argument 'NODE|INCIDENT'"),
        ("incidents --since soon", "takes a duration such as 90s, 30m, 24h or 7d, not 'soon'"),
        ("incidents --since 0m", "takes a duration such as 90s, 30m, 24h or 7d, not '0m'"),
        ("mode set pausd", "takes one of active, observe, paused, not 'pausd'"),
        ("mode set paused --until tomorrow", "takes a time with its zone, such as 2026-12-01T06:00Z, not 'tomorrow'"),
        ("mode set paused --until 2026-12-01T06:00", "takes a time with its zone"),
        ("mode set paused --until 2020-01-01T00:00Z", "--until takes a time to come, not 2020-01-01T00:00:00Z"),
        ("mode set paused --until 2999-01-01T00:00Z --for 2h", "takes one of --until and --for"),
        ("mode set paused --group gpu-*", "--group takes --cluster beside it"),
        ("mode --region eu-west-1 set paused", "options follow the subcommand: mode set"),
        ("dlq --code Paused redrive", "options follow the subcommand: dlq redrive"),
        ("dlq --most 0", "Invalid value for '--most'"),
        ("approve some-incident", "Invalid value for 'INCIDENT'"),
        ("request ml-a i-1", "Missing option '--reason'"),
        ("request ml-a --reason x", "Missing argument 'NODE...'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run: Run, line: str, problem: str) -> None:
    """Nothing is done, and nothing is printed where a script reads."""
    status, out, err = run(line)
    assert (status, out, err.count("\n")) == (USAGE, "", 1)
    assert err.startswith("hyperpod-remediation: ")
    assert problem in err


def test_help_is_shown_without_a_command(run: Run) -> None:
    status, out, err = run("")
    assert (status, err) == (OK, "")
    names = "status incidents explain mode approve veto request dlq simulate smoke watch"
    assert all(f"  {name} " in out for name in names.split())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SmokeError("there is no\nstack X"), FAILED),
        (ToolError("there is no stack X", NOT_FOUND), NOT_FOUND),
        (KeyError("there is no stack X"), FAILED),
    ],
)
def test_error_is_one_line_with_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, status: int
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(commands, "connect", fails)
    assert main(["dlq"]) == status
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err.strip("'\n")[-13:]) == ("", 1, "is no stack X")


def test_missing_region_and_missing_profile_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the AWS CLI says it, and before any call."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    assert main(["status"]) == FAILED
    assert main(["status", "--profile", "nobody"]) == FAILED
    first, second = capsys.readouterr().err.splitlines()
    assert first == "hyperpod-remediation: no region: use --region or export AWS_REGION=NAME"
    assert "nobody" in second


def test_request_names_each_kind_of_id_and_is_an_envelope_of_ours(run: Run) -> None:
    """EKS's name of a node is its instance ID."""
    sqs = FakeSqs()
    status, out, _ = run(
        "request ml-a i-0123456789abcdef0 hyperpod-i-0123456789abcdef1 worker-1 --reason drill --json", sqs=sqs
    )
    (body,) = map(json.loads, sqs.bodies(INTAKE))
    assert (status, json.loads(out)) == (OK, {"message": "sent-1"})
    assert (body["source"], body["detail-type"]) == ("hyperpod.node-remediation", "HyperPod Node Reboot Requested")
    assert body["detail"] == {
        "ClusterName": "ml-a",
        "NodeIds": ["i-0123456789abcdef0", "i-0123456789abcdef1"],
        "NodeLogicalIds": ["worker-1"],
        "Reason": "drill",
    }


def test_mode_until_or_for_is_written_with_its_end(run: Run) -> None:
    ssm = FakeSsm("active", 3)
    assert run("mode set paused --cluster ml-a --until 2999-12-01T06:00+01:00", ssm=ssm)[0] == OK
    assert json.loads(ssm.value or "")["ml-a"] == "paused until 2999-12-01T05:00:00Z"
    status, out, _ = run("mode set observe --cluster ml-b --group gpu-* --for 2h --json", ssm=ssm)
    assert (status, [each["of"] for each in json.loads(out)["entries"]]) == (OK, ["*", "ml-a", "ml-b/gpu-*"])


def test_dry_run_of_a_redrive_says_what_would_go_and_sends_nothing(run: Run) -> None:
    sqs = FakeSqs()
    sqs.letter("Paused")
    sqs.letter("NotRecovered")
    status, out, _ = run("dlq redrive --code Paused --dry-run --json", sqs=sqs)
    view = json.loads(out)
    assert (status, view["dry_run"], [each["code"] for each in view["letters"]]) == (OK, True, ["Paused"])
    assert (sqs.bodies(INTAKE), sqs.moves, sqs.hidden) == ([], [], set())


def test_redrive_that_leaves_a_letter_behind_ends_with_status_1(run: Run) -> None:
    sqs = FakeSqs()
    sqs.refuses = frozenset({sqs.letter("Paused")})
    status, out, _ = run("dlq redrive --code Paused", sqs=sqs)
    assert status == FAILED
    assert "! ml-a/i-1 (Paused) was not sent" in out


def test_dlq_says_when_there_are_more_letters_than_it_looked_at(run: Run) -> None:
    sqs = FakeSqs()
    for number in range(3):
        sqs.letter("Paused", node=f"i-{number}")
    assert "only the first 2 letters were looked at" in run("dlq --most 2", sqs=sqs)[1]


@pytest.mark.parametrize("package", ["simulate", "smoke"])
def test_options_of_simulate_and_smoke_are_their_own(run: Run, package: str) -> None:
    status, out, _ = run(f"{package} --help")
    assert status == OK
    assert out.startswith(f"usage: hyperpod-remediation {package}")
    assert "--json" in out
    assert run(f"{package} --no-such-option")[0] == USAGE


def test_simulate_plays_a_captured_event(run: Run) -> None:
    status, out, _ = run(f"simulate {ROOT / 'docs/node-health.json'} --json")
    assert status == OK
    assert json.loads(out)["counts"]["reboots"] == 1


def test_colour_is_for_terminals_only() -> None:
    """The same command, once to a file and once to a terminal."""
    view = {"fault": "cannot be understood", "default": "paused", "entries": []}
    script = f"from tool.text import mode, print_lines; print_lines(mode({view}))"
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    command, options = [sys.executable, "-c", script], {"cwd": ROOT, "env": env | {"TERM": "xterm-256color"}}
    plain = subprocess.run(command, capture_output=True, check=True, **options).stdout  # type: ignore[call-overload]
    ours, theirs = pty.openpty()
    subprocess.run(command, stdout=theirs, check=True, **options)  # type: ignore[call-overload]
    os.close(theirs)
    coloured = os.read(ours, 4_096)
    os.close(ours)
    assert b"\x1b[" not in plain
    assert b"\x1b[1;31m" in coloured


def test_entry_point_of_the_project_is_the_tool() -> None:
    """What `pip install` makes a command of."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["scripts"].items()
    assert (name, EntryPoint(name, value, "console_scripts").load()) == (commands.PROGRAM, main)
