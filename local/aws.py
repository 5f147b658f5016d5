"""Starts and stops the local AWS. It speaks only HTTP to the server that it starts."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import botocore.config
import botocore.session

from local.interrupts import remove, uninterrupted

PROJECT = Path(__file__).resolve().parent.parent
ACCOUNT = "000000000000"
SWEEP_SECONDS = 1.0
_HOST = "127.0.0.1"
_KEY = "test"  # the emulator's word for an account's root
_START_SECONDS = 60.0
_ANSWER_SECONDS = 60.0
_STOP_SECONDS = 8.0
_HEALTH_SECONDS = 2.0
_POLL_SECONDS = 0.05
_LOG_TAIL_LINES = 30


class LocalAwsError(Exception):
    """Reports that the local AWS does not start, or refuses an admin request."""


class LocalAws:
    """Runs a local AWS in a child process, from `start` (or `with`) to `stop`.

    `log` is where the server writes; without it the log goes with the server. `retry_delay` is the time in seconds
    before the first retry of an asynchronous invocation.
    """

    def __init__(self, *, region: str = "us-east-1", log: Path | None = None, retry_delay: float = 0.2) -> None:
        self.region = region
        self.account = ACCOUNT
        self.port = _free_port()
        self.endpoint = f"http://{_HOST}:{self.port}"
        self.sweep_rule: str | None = None  # by `deploy`
        self._retry_delay = retry_delay
        self._given_log = log
        self._scratch: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the server and wait until it answers. Raises LocalAwsError with the end of its log."""
        try:
            with uninterrupted():
                self._launch()
            self._await_health()
        except BaseException:
            self.stop()
            raise
        return self

    def _launch(self) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="local-aws-"))
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "local.server", *self._arguments()],
                cwd=PROJECT,
                env={**os.environ, "TMPDIR": str(self._scratch)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which then stops the server in order
            )

    def _arguments(self) -> list[str]:
        options: dict[str, object] = {"port": self.port, "region": self.region, "retry-delay": self._retry_delay}
        options |= {"parent": os.getpid(), "orphaned": self._scratch}
        return [f"--{name}={value}" for name, value in options.items()]

    def _await_health(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self._server is not None:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, LocalAwsError):
                # Whoever else has the port may answer too.
                if self.admin("GET", "/_local/health", seconds=_HEALTH_SECONDS).get("pid") == self._server.pid:
                    return
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise LocalAwsError(f"the local AWS did not start:\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End the server and all that it started, and remove what it wrote. Does nothing the second time."""
        with uninterrupted():
            self._end()

    def _end(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(_STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)  # whoever of its group is left
            server.wait()
        if self._scratch is not None:
            remove(self._scratch)

    @property
    def log(self) -> Path:
        """Return the server's log file."""
        if self._given_log is not None:
            return self._given_log
        if self._scratch is None:
            raise LocalAwsError("the local AWS was not started")
        return self._scratch / "server.log"

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    @property
    def env(self) -> dict[str, str]:
        """Return this process's environment, turned to the local AWS: for the CDK CLI, boto3 and the AWS CLI."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
        return inherited | self.exports

    @property
    def exports(self) -> dict[str, str]:
        """Return only the variables that turn a program to the local AWS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _KEY,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": _HOST,
            "no_proxy": _HOST,
        }

    def client(self, service: str, *, key: str = _KEY, secret: str = _KEY, token: str | None = None) -> Any:
        """Make a boto3 client as the account's root, or with the credentials given. It reads no file of the user."""
        session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
        session.set_config_variable("config_file", os.devnull)
        session.set_config_variable("credentials_file", os.devnull)
        typeless: Any = boto3.session.Session(botocore_session=session)  # its types want literal service names
        return typeless.client(
            service,
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=botocore.config.Config(proxies={}, retries={"total_max_attempts": 1}),
        )

    def admin(self, method: str, path: str, body: object = None, *, seconds: float = _ANSWER_SECONDS) -> Any:
        """Send an admin request, JSON in and out. Raises LocalAwsError if refused, OSError if there is no answer."""
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=seconds)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise LocalAwsError(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)

    def put_events(self, *entries: Mapping[str, Any]) -> None:
        """Put events on the bus, those of AWS's own sources too; at most 10. Raises LocalAwsError if one is refused."""
        answer = self.admin("POST", "/_local/events", {"Entries": list(entries)})
        if answer.get("FailedEntryCount") != 0:
            raise LocalAwsError(f"put_events: {answer}")

    def faults(self, *faults: Mapping[str, Any]) -> None:
        """Inject faults, with the fields of `local.faults.Fault`."""
        self.admin("POST", "/_local/faults", list(faults))

    def chaos(self, *, function: str, seed: int, rate: float) -> None:
        """Let the services fail at random, for one function's calls only: see `local.faults.Chaos`."""
        self.admin("POST", "/_local/chaos", {"function": function, "seed": seed, "rate": rate})

    def end_chaos(self) -> dict[str, int]:
        """End it; return how many calls met a fault, by service and kind."""
        met: dict[str, int] = self.admin("DELETE", "/_local/chaos")
        return met

    def sweep_every(self, seconds: float | None) -> None:
        """Fire the deployed sweep rule so many seconds after the end of each sweep; None: never.

        Returns once a sweep under way has ended. `deploy` has called it.
        """
        self.admin("POST", "/_local/sweeps", {"rule": self._named_rule(), "seconds": seconds})

    def sweep(self) -> dict[str, Any]:
        """Fire the deployed sweep rule once and wait: {"error": whether the function failed, "answer": its answer}."""
        swept: dict[str, Any] = self.admin("POST", "/_local/sweeps/once", {"rule": self._named_rule()})
        return swept

    @contextlib.contextmanager
    def no_sweeps(self, *, then_every: float | None = SWEEP_SECONDS) -> Iterator[None]:
        """Fire no sweep meanwhile but with `sweep`."""
        self.sweep_every(None)
        try:
            yield
        finally:
            self.sweep_every(then_every)

    def _named_rule(self) -> str:
        if self.sweep_rule is None:
            raise LocalAwsError("no sweep rule: nothing was deployed that has the output SweepRuleName")
        return self.sweep_rule

    def mail(self) -> list[dict[str, Any]]:
        """Return the e-mails of subscribers: to, topic_arn, subject, message, time."""
        mail: list[dict[str, Any]] = self.admin("GET", "/_local/mail")
        return mail

    def calls(self) -> dict[str, int]:
        """Return the numbers of API calls since the start, by `service:Action`."""
        calls: dict[str, int] = self.admin("GET", "/_local/calls")
        return calls


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
