"""Contracts of `local.patches.function_runtime` and `async_failures`: functions run as on Lambda."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local.aws import LocalAws
from local.patches.function_runtime import interpreter_for
from tests.local.support import Queue, RecordingFunction

MakeFunction = Callable[..., RecordingFunction]
MakeQueue = Callable[..., Queue]
_OF_LAMBDA = {
    "LANG",
    "PATH",
    "TZ",
    "LC_CTYPE",  # Python sets it itself
    "LAMBDA_TASK_ROOT",
}


def test_a_function_sees_the_standard_library_and_its_own_code_only(aws: LocalAws, make_function: MakeFunction) -> None:
    """No site-packages: a dependency missing from the asset fails here too."""
    function = make_function()
    aws.client("lambda").invoke(FunctionName=function.name, Payload=b"{}")
    (seen,) = function.await_invocations(1)
    assert not [path for path in seen["path"] if "site-packages" in path or "dist-packages" in path]
    assert str(Path.cwd()) not in seen["path"]


def test_a_function_sees_lambdas_environment_only(aws: LocalAws, make_function: MakeFunction, unique: str) -> None:
    """Its own variables, the runtime's, and the endpoint of the local AWS; nothing of this shell's."""
    function = make_function()
    aws.client("lambda").invoke(FunctionName=function.name, Payload=b"{}")
    env = function.await_invocations(1)[0]["env"]
    assert env["AWS_ENDPOINT_URL"] == aws.endpoint
    assert (env["AWS_REGION"], env["AWS_LAMBDA_FUNCTION_NAME"]) == (aws.region, unique)
    foreign = {name for name in env if not name.startswith(("AWS_", "_LAMBDA_", "_X_AMZN_", "_MINISTACK_"))}
    assert foreign - _OF_LAMBDA == {"OUT", "ANSWER"}


@pytest.mark.parametrize("runtime", ["python3.12", "python3.13"])
def test_a_function_runs_on_its_runtimes_python_where_there_is_one(
    runtime: str, aws: LocalAws, make_function: MakeFunction
) -> None:
    """Else on the running one's base, and the server's log says so."""
    executable, remark = interpreter_for(runtime)
    function = make_function(Runtime=runtime)
    aws.client("lambda").invoke(FunctionName=function.name, Payload=b"{}")
    version = "{}.{}".format(*function.await_invocations(1)[0]["version"])
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert version == (running if remark else runtime.removeprefix("python"))
    assert (remark or executable) in aws.log.read_text()


def test_a_missing_version_falls_back_to_the_running_one() -> None:
    """And says what was wanted."""
    executable, remark = interpreter_for("python3.0")
    assert Path(executable).exists()
    assert remark is not None
    assert "no Python 3.0 found" in remark


def test_a_shim_that_runs_nothing_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version managers put one on PATH for every version that any project uses."""
    shim = tmp_path / "python3.0"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    executable, _ = interpreter_for("python3.0")
    assert executable != str(shim)


def test_a_failed_asynchronous_invocation_is_retried_and_then_kept_as_it_was(
    aws: LocalAws, make_function: MakeFunction, make_queue: MakeQueue
) -> None:
    """Three attempts; the dead-letter queue gets the event itself, with attributes that say why."""
    dead = make_queue("dead")
    function = make_function("1 / 0", DeadLetterConfig={"TargetArn": dead.arn})
    event = {"node": "i-1", "nested": {"n": [1, None]}}
    payload = json.dumps(event).encode()
    aws.client("lambda").invoke(FunctionName=function.name, InvocationType="Event", Payload=payload)
    (message,) = dead.take()
    assert json.loads(message["Body"]) == event
    assert message["MessageAttributes"]["ErrorMessage"]["StringValue"] == "division by zero"
    assert message["MessageAttributes"].keys() == {"RequestID", "ErrorCode", "ErrorMessage"}
    assert [seen["event"] for seen in function.invocations()] == [event] * 3
