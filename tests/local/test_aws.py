"""`local.aws` and `local.server`: the local AWS starts, serves this machine only, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local import server
from local.aws import PROJECT, LocalAws, LocalAwsError
from tests.local.support import RecordingFunction, wait_for

MakeFunction = Callable[..., RecordingFunction]
_PARENT = """
import sys, time
from pathlib import Path
from local.aws import LocalAws

aws = LocalAws().start()
Path(sys.argv[1]).write_text(f"{aws._server.pid} {aws.port} {aws._scratch}")
time.sleep(600)
"""


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_stop_ends_everything_and_can_be_called_twice(tmp_path: Path) -> None:
    """Port, process and files are gone; a given log stays."""
    log = tmp_path / "server.log"
    aws = LocalAws(log=log).start()
    process, scratch = aws._server, aws._scratch
    assert process is not None
    assert scratch is not None
    assert _listens(aws.port)
    aws.stop()
    aws.stop()
    assert process.returncode == 0
    assert not _listens(aws.port)
    assert not scratch.exists()
    assert "available on port" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_with_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    """Also when the parent had no time to stop it."""
    told = tmp_path / "told"
    with subprocess.Popen([sys.executable, "-c", _PARENT, told], cwd=PROJECT) as parent:
        wait_for("the server's process", lambda: told.exists() and told.read_text())
        words = told.read_text().split()
        process, port, scratch = int(words[0]), int(words[1]), Path(words[2])
        assert _listens(port)
        parent.send_signal(number)
    wait_for("the end of the server", lambda: not _listens(port) and not _runs(process))
    assert not scratch.exists()


def test_a_port_in_use_is_an_error_that_ends_with_the_log() -> None:
    """No waiting for a server that ended."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        aws = LocalAws()
        aws.port = taken.getsockname()[1]
        with pytest.raises(LocalAwsError, match="ddress already in use"):
            aws.start()


def test_another_version_of_the_emulator_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patches are for the pinned one."""
    monkeypatch.setattr(server, "version", lambda _name: "9.9.9")
    with pytest.raises(SystemExit, match=r"^local.server: .* 1\.5\.33, not 9\.9\.9$"):
        server.main(["--port", "1"])


def test_it_serves_this_machine_only(aws: LocalAws) -> None:
    """No other address answers."""
    other = socket.gethostbyname(socket.gethostname())
    if other.startswith("127."):
        other = "127.0.0.2"
    with socket.socket() as probe:
        probe.settimeout(1)
        assert probe.connect_ex((other, aws.port)) != 0


def test_the_environment_holds_nothing_of_the_users_aws(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """No profile, no endpoint, no session of theirs; the rest is kept."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "https://sqs.example.com")
    monkeypatch.setenv("CDK_DEFAULT_ACCOUNT", "123456789012")
    env = aws.env
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_SQS", "CDK_DEFAULT_ACCOUNT"} & env.keys()
    assert (env["AWS_ENDPOINT_URL"], env["AWS_ENDPOINT_URL_S3"]) == (aws.endpoint, aws.endpoint)
    assert env["PATH"] == os.environ["PATH"]
    assert aws.client("sts").get_caller_identity()["Account"] == aws.account


def test_it_writes_to_its_own_directory_only(aws: LocalAws, make_function: MakeFunction) -> None:
    """Objects, code and state are below the directory that goes with it."""
    function = make_function()
    aws.client("lambda").invoke(FunctionName=function.name, Payload=b"{}")
    (seen,) = function.await_invocations(1)
    assert aws._scratch is not None
    assert Path(seen["env"]["LAMBDA_TASK_ROOT"]).is_relative_to(aws._scratch)
