"""A function on the real Lambda runtime: the interface emulator, the interface client, the runtime's own Python."""

import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any, Self

from bench.builds import Build
from bench.tools import BenchError, Runtime

TIMEOUT_SECONDS = 60
_PATH = "/2015-03-31/functions/function/invocations"
_INIT = re.compile(r"INIT REPORT\(durationMs: ([0-9.]+)\)")
_INVOKED = re.compile(r"INVOKE RTDONE\(status: (\w+), produced bytes: \d+, duration: ([0-9.]+)ms\)")
_START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Invocation:
    """An answer, and how long the function took for it, in milliseconds."""

    answer: Any
    duration_ms: float


class Function:
    """One execution environment, from its start to its end; the first invocation initializes it."""

    def __init__(self, runtime: Runtime, build: Build, environment: Mapping[str, str]) -> None:
        self._runtime = runtime
        self._build = build
        self._environment = environment
        self._port, self._api_port = _free_ports(2)
        self._log: IO[bytes] = TemporaryFile()  # noqa: SIM115  # as long as the process
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        addresses = [f"--runtime-interface-emulator-address=127.0.0.1:{self._port}"]
        addresses += [f"--runtime-api-address=127.0.0.1:{self._api_port}"]
        command = [str(self._runtime.python.path), "-m", "awslambdaric", self._build.handler]
        self._process = subprocess.Popen(
            [str(self._runtime.emulator), *addresses, *command],
            cwd=self._build.trusting,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._log.close()

    def invoke(self, event: object) -> Invocation:
        """Raises BenchError when the function fails."""
        status, body = self._post(json.dumps(event).encode())
        answer = json.loads(body) if status == http.client.OK else None
        if answer is None or "errorMessage" in answer:
            raise BenchError(f"{self._build.name}: {body[:300]!r}; its log ends with: {self.log()[-1500:]}")
        return Invocation(answer, self._durations()[-1])

    def init_ms(self) -> float:
        found = _INIT.findall(self.log())
        if len(found) != 1:
            raise BenchError(f"{self._build.name}: {len(found)} initializations in the emulator's log, not one")
        return float(found[0])

    def peak_memory_bytes(self) -> int:
        """The most that the runtime's process had resident so far."""
        status = Path(f"/proc/{self._child()}/status").read_text()
        return int(re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024

    def log_bytes(self) -> int:
        """What CloudWatch Logs would hold: all but the emulator's own lines."""
        return sum(len(line.encode()) + 1 for line in self.log().splitlines() if "(rapid)" not in line)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _durations(self) -> list[float]:
        """The emulator may write the line a moment after it has answered."""
        deadline = time.monotonic() + 1
        while True:
            found = _INVOKED.findall(self.log())
            if (found and found[-1][0] == "success") or time.monotonic() > deadline:
                return [float(duration) for _, duration in found]
            time.sleep(0.005)

    def _child(self) -> int:
        pid = self._process.pid if self._process else 0
        # Children belong to the thread that started them.
        children = [word for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]
        if len(children) != 1:
            raise BenchError(f"the runtime interface emulator has {len(children)} child processes, not one")
        return int(children[0])

    def _variables(self) -> dict[str, str]:
        """What Lambda sets, what the stack gives the function, and nothing of this machine's."""
        return {
            "LAMBDA_TASK_ROOT": str(self._build.trusting),
            "PYTHONPATH": f"{self._build.trusting}:{self._runtime.client}",
            "PYTHONDONTWRITEBYTECODE": "1",  # /var/task is read-only
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(TIMEOUT_SECONDS),
            **self._environment,
        }

    def _post(self, body: bytes) -> tuple[int, bytes]:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS + 30)
            try:
                connection.connect()
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise BenchError(f"the runtime interface emulator does not start: {self.log()[-500:]}") from None
                time.sleep(0.01)
                continue
            try:
                connection.request("POST", _PATH, body)
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                connection.close()


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
