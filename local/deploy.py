"""Deploys the CDK app to a local AWS with the real CDK CLI."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from local.aws import PROJECT, SWEEP_SECONDS, LocalAws
from local.interrupts import scratch_directory, uninterrupted

STACK = "HyperPodNodeRemediation"
_TAIL_LINES = 40
_NONE: Mapping[str, str] = MappingProxyType({})
# Settings of cdk.json that name what only a real account has; and the outputs are found by the stack's usual name.
_NOT_HERE = dict.fromkeys(
    (
        "remediation.stack_name",
        "remediation.vpc_subnet_ids",
        "remediation.security_group_ids",
        "remediation.permissions_boundary_arn",
    ),
    "",
)
OnLine = Callable[[str], None]


class DeployFailed(Exception):  # noqa: N818  # says what happened; the name that callers agreed on
    """Reports that the CDK CLI is missing or failed; the message ends with its last output."""


def deploy(
    aws: LocalAws,
    *,
    context: Mapping[str, str] = _NONE,
    on_line: OnLine | None = None,
    app_dir: Path = PROJECT,
    stack: str = STACK,
    bootstrap: bool = True,
    sweep_every: float | None = SWEEP_SECONDS,
) -> dict[str, str]:
    """Bootstrap, deploy all stacks of the app and return the outputs of one. Raises DeployFailed.

    `sweep_every`: how many seconds after a sweep the next one starts, where the stack has a sweep rule; None: never.
    """
    with scratch_directory("cdk-") as scratch:
        quiet = ["--no-notices", "--progress=events", "--ci"]
        # What the CLI leaves there when it is interrupted goes too.
        environment = _environment(aws) | {"TMPDIR": str(scratch)}
        if bootstrap:
            # From an empty directory: with an app in sight the CLI would synthesize it for nothing.
            _run(environment, scratch, ["bootstrap", f"aws://{aws.account}/{aws.region}", *quiet], on_line)
        outputs = scratch / "outputs.json"
        files = [f"--outputs-file={outputs}", f"--output={scratch}/assembly"]
        everything = {**(_NOT_HERE if app_dir == PROJECT else {}), **context}
        settings = [f"--context={key}={value}" for key, value in everything.items()]
        _run(environment, app_dir, ["deploy", "--all", "--require-approval=never", *quiet, *files, *settings], on_line)
        found = _outputs(outputs, stack)
    if rule := found.get("SweepRuleName"):
        aws.sweep_rule = rule
        aws.sweep_every(sweep_every)
    return found


def _run(environment: Mapping[str, str], directory: Path, arguments: list[str], on_line: OnLine | None) -> None:
    """Run a CLI command and pass on its output line by line. Raises DeployFailed."""
    cdk = shutil.which("cdk", path=environment["PATH"])
    if cdk is None:
        raise DeployFailed("the CDK CLI is not installed: make setup")
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    process: subprocess.Popen[str] | None = None
    try:
        with uninterrupted():
            process = subprocess.Popen(
                [cdk, *arguments],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C is for this process, which then ends the CLI and what that started
            )
        for line in process.stdout or ():
            tail.append(line.rstrip())
            if on_line is not None:
                on_line(line.rstrip())
    except BaseException:
        if process is not None:
            with uninterrupted():
                _kill_all(process.pid)
        raise
    finally:
        if process is not None:
            with process:
                process.wait()
    if process.returncode != 0:
        raise DeployFailed(f"cdk {arguments[0]} failed ({process.returncode}):\n" + "\n".join(tail))


def _kill_all(ancestor: int) -> None:
    """Kill a process and all that it started; they are stopped first, so that none starts another meanwhile."""
    stopped: set[int] = set()
    while found := {ancestor, *_descendants(ancestor)} - stopped:
        _signal(found, signal.SIGSTOP)
        stopped |= found
    _signal(stopped, signal.SIGKILL)


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _descendants(ancestor: int) -> list[int]:
    """Return the processes that one started, and theirs: the CLI's app has a session of its own."""
    try:
        table = subprocess.run(["ps", "-A", "-o", "pid=", "-o", "ppid="], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []  # they end by themselves when they find the CLI gone
    parents = {int(pid): int(parent) for pid, parent in map(str.split, table.stdout.splitlines())}
    found = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {ancestor})


def _environment(aws: LocalAws) -> dict[str, str]:
    """Return an environment with the project's own Python, Node and CLI, whatever the shell's PATH says."""
    environment = aws.env
    return environment | {
        "PATH": f"{PROJECT / '.venv/bin'}:{PROJECT / 'node_modules/.bin'}:{environment.get('PATH', '')}",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
        "NO_COLOR": "1",
    }


def _outputs(file: Path, stack: str) -> dict[str, str]:
    outputs: dict[str, dict[str, str]] = json.loads(file.read_text()) if file.exists() else {}
    if stack not in outputs:
        raise DeployFailed(f"the app has no stack {stack} with outputs, only {sorted(outputs)}")
    return outputs[stack]
