"""Runs a function on the real Lambda runtime: interface emulator, interface client, the runtime's own Python."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Self

from bench.tools import BenchError, Build, Runtime
from node_remediation.settings import FUNCTION_MEMORY_MB, FUNCTION_TIMEOUT

TIMEOUT_SECONDS = int(FUNCTION_TIMEOUT.total_seconds())
# "At 1,769 MB, a function has the equivalent of one vCPU" (Lambda, Configure function memory).
CPU_SHARE = FUNCTION_MEMORY_MB / 1_769
_PATH = "/2015-03-31/functions/function/invocations"
_INIT = re.compile(r"INIT REPORT\(durationMs: ([0-9.]+)\)")
_INVOKED = re.compile(r"INVOKE RTDONE\(status: (\w+), produced bytes: \d+, duration: ([0-9.]+)ms\)")
_START_SECONDS = 10.0
_THROTTLE_SECONDS = 0.002
_PERIOD_MS = 20.0


@dataclass(frozen=True, slots=True)
class Invoked:
    """Holds an answer, and how long the function took for it, in milliseconds: `cpu_ms` of that on a processor."""

    answer: Any
    duration_ms: float
    cpu_ms: float


def on_lambda(duration: float, cpu: float) -> float:
    """Return a duration as it is with the share of a core that Lambda gives: work takes longer, waiting does not."""
    return duration + cpu * (1 / CPU_SHARE - 1)


class Function:
    """Runs one execution environment, from its start to its end; the first invocation initializes it.

    With a `cpu_share` under 1, each invocation after the first gets no more of a core, as on Lambda.
    """

    def __init__(self, runtime: Runtime, build: Build, environment: Mapping[str, str], *, cpu_share: float = 1) -> None:
        self._runtime = runtime
        self._build = build
        self._environment = environment
        self._cpu_share = cpu_share
        self._port, self._api_port = _free_ports(2)
        self._log: IO[bytes] = TemporaryFile()  # noqa: SIM115  # as long as the process
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        addresses = [f"--runtime-interface-emulator-address=127.0.0.1:{self._port}"]
        addresses += [f"--runtime-api-address=127.0.0.1:{self._api_port}"]
        command = [str(self._runtime.python.path), "-m", "awslambdaric", self._build.handler]
        self._process = subprocess.Popen(
            [str(self._runtime.emulator), *addresses, *command],
            cwd=self._build.asset,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._log.close()

    def invoke(self, event: object) -> Invoked:
        """Invoke the function. Raises BenchError when it fails."""
        before = self._cpu_ms()
        with self._throttled(before):
            status, body = self._post(json.dumps(event).encode())
        answer = json.loads(body) if status == http.client.OK else None
        if answer is None or "errorMessage" in answer:
            raise BenchError(f"{self._build.name}: {body[:300]!r}; its log ends with: {self.log()[-1500:]}")
        return Invoked(answer, self._durations()[-1], self._cpu_ms() - before)

    def init_ms(self) -> float:
        found = _INIT.findall(self.log())
        if len(found) != 1:
            raise BenchError(f"{self._build.name}: {len(found)} initializations in the emulator's log, not one")
        return float(found[0])

    def peak_memory_bytes(self) -> int:
        """Return the most that the runtime's process had resident so far."""
        status = Path(f"/proc/{self._child()}/status").read_text()
        return int(re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024

    def log_bytes(self) -> int:
        """Return the size of what CloudWatch Logs would hold: all but the emulator's own lines."""
        return sum(len(line.encode()) + 1 for line in self.log().splitlines() if "(rapid)" not in line)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _durations(self) -> list[float]:
        """Read them from the log, to which the emulator may write a moment after it has answered."""
        deadline = time.monotonic() + 1
        while True:
            found = _INVOKED.findall(self.log())
            if (found and found[-1][0] == "success") or time.monotonic() > deadline:
                return [float(duration) for _, duration in found]
            time.sleep(0.005)

    @contextlib.contextmanager
    def _throttled(self, spent_ms: float) -> Iterator[None]:
        """Stop the function's process whenever it has had more than its share, until it has not."""
        if self._cpu_share == 1 or not spent_ms:
            yield
            return
        done, pid = threading.Event(), self._child()

        def throttle() -> None:
            quota = _PERIOD_MS * self._cpu_share
            credit, spent, last = quota, spent_ms, time.monotonic()
            while not done.wait(_THROTTLE_SECONDS):
                now, so_far = time.monotonic(), self._cpu_ms()
                # What was not used in a period is lost, as the kernel's bandwidth control has it.
                credit = min(quota, credit + (now - last) * 1000 * self._cpu_share) - (so_far - spent)
                last, spent = now, so_far
                os.kill(pid, signal.SIGSTOP if credit < 0 else signal.SIGCONT)
            os.kill(pid, signal.SIGCONT)

        thread = threading.Thread(target=throttle)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _cpu_ms(self) -> float:
        """Return the time that the function's thread was on a processor so far; nothing before it has started."""
        children = self._children()
        spent = Path(f"/proc/{children[0]}/schedstat").read_text().split()[0] if children else "0"
        return int(spent) / 1e6

    def _children(self) -> list[str]:
        pid = self._process.pid if self._process else 0
        # Children belong to the thread that started them.
        return [word for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]

    def _child(self) -> int:
        children = self._children()
        if len(children) != 1:
            raise BenchError(f"the runtime interface emulator has {len(children)} child processes, not one")
        return int(children[0])

    def _variables(self) -> dict[str, str]:
        """Return what Lambda sets and what the stack gives the function, and nothing of this machine's."""
        return {
            "LAMBDA_TASK_ROOT": str(self._build.asset),
            "PYTHONPATH": f"{self._build.asset}:{self._runtime.client}",
            "PYTHONDONTWRITEBYTECODE": "1",  # /var/task is read-only
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(FUNCTION_MEMORY_MB),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(TIMEOUT_SECONDS),
            **self._environment,
        }

    def _post(self, body: bytes) -> tuple[int, bytes]:
        self._await_start()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS + 30)
        with contextlib.closing(connection):
            connection.request("POST", _PATH, body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _await_start(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port)).close()
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise BenchError(f"the runtime interface emulator does not start: {self.log()[-500:]}") from None
                time.sleep(0.01)
            else:
                return


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as probes:
        bound = [probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in bound]
