"""Implements `python -m local up`: a local AWS with the stack in it, until it is interrupted."""

import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any, Protocol, Self

from rich.console import Console

from local.aws import PROJECT, LocalAws, LocalAwsError
from local.cli.client import CommandError
from local.deploy import DeployFailed, deploy

# Of 16 nodes, 20 percent in a budget window are four: one more than the commands below break.
SAMPLE_CLUSTER = {"name": "ml-cluster", "nodes": 16, "reboot_seconds": 5.0}
# What takes half an hour on AWS is seen in a minute here.
SETTINGS: Mapping[str, str] = {
    "remediation.notification_emails": "you@example.com",
    "remediation.batch_window": "1s",
    "remediation.cooldown": "30s",
    "remediation.verify_after": "10s",
    "remediation.verify_timeout": "30s",
    "remediation.healthy_for": "5s",
    "remediation.repair_timeout": "60s",
    "remediation.budget_window": "10m",
}
_SHELL_FILE = PROJECT / "build" / "local.sh"


class RunningAws(Protocol):
    """Names what `up` needs of LocalAws."""

    @property
    def exports(self) -> Mapping[str, str]: ...

    def admin(self, method: str, path: str, body: object = None) -> Any: ...

    def client(self, service: str) -> Any: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: Any) -> None: ...


def up(
    context: Mapping[str, str],
    say: Callable[[str], None],
    *,
    start: Callable[[], RunningAws] = LocalAws,
    deploy_to: Callable[..., Mapping[str, str]] = deploy,
    stay: Callable[[], object] = signal.pause,
    shell_file: Path = _SHELL_FILE,
) -> None:
    """Start, deploy, print how to use it, and stay until interrupted. Nothing is left behind. Raises CommandError."""
    # A shell script starts its background jobs deaf to SIGINT.
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Console().status("starting a local AWS") as status, start() as aws:
            status.update("deploying the stack to it: half a minute")
            outputs = {**deploy_to(aws, context={**SETTINGS, **context})}
            function = aws.client("lambda").get_function_configuration(FunctionName=outputs["FunctionName"])
            outputs["LogGroupName"] = function["LoggingConfig"]["LogGroup"]
            cluster = aws.admin("POST", "/_local/hyperpod/clusters", SAMPLE_CLUSTER)
            status.stop()
            with _written(shell_file, "\n".join(shell_lines(aws.exports, outputs)) + "\n"):
                for line in instructions(shell_file, cluster):
                    say(line)
                stay()
    except KeyboardInterrupt:
        say("stopped; nothing is left running")
    except (LocalAwsError, DeployFailed) as error:
        raise CommandError(str(error)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def shell_lines(exports: Mapping[str, str], outputs: Mapping[str, str]) -> Iterator[str]:
    """Return what turns a shell (sh, bash, zsh) to the local AWS; outputs by README's names, such as KEY_ARN."""
    yield "# The user's own AWS settings, which would win over some of these:"
    yield "export AWS_PAGER=''"
    yield "unset $(env | sed -n 's/^\\(AWS_[A-Za-z0-9_]*\\)=.*/\\1/p')"
    named = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper(): value for name, value in outputs.items()}
    for name, value in {**exports, "AWS_PAGER": "", **named}.items():
        yield f"export {name}={quote(value)}"
    yield f'export PATH={quote(str(PROJECT / ".venv" / "bin"))}:"$PATH"'
    yield "# AWS CLI before 1.29 and 2.13 does not read AWS_ENDPOINT_URL."
    yield 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }'


def instructions(shell_file: Path, cluster: Mapping[str, Any]) -> Iterator[str]:
    """Return lines that can be pasted into a shell as they are."""
    first, second, third, *_ = (node["instance_id"] for node in cluster["nodes"])
    file = shell_file.relative_to(PROJECT) if shell_file.is_relative_to(PROJECT) else shell_file
    yield from (
        "# The local AWS is up. In another shell, in this folder (AWS CLI 1 or 2):",
        f"source {quote(str(file))}",
        "# A node that is rebooted and well again; one that is refused, with a mail at",
        "# once; one that does not come back, with a mail in half a minute:",
        f"python -m local break {first}",
        f"python -m local break {second} --repair-action Replace",
        f"python -m local break {third} --ends stuck",
        "python -m local clusters",
        "python -m local calls",
        "python -m local mail",
        "# The tool looks here, too, as at a stack on AWS:",
        "hyperpod-remediation status",
        f"hyperpod-remediation explain {first}",
        "hyperpod-remediation dlq",
        "hyperpod-remediation watch",
        "# So does the AWS CLI. Logs Insights and JSON filter patterns do not filter here.",
        "# Durations are short here, and e-mail addresses need no confirmation.",
        "# Ctrl-C here ends it all.",
    )


@contextmanager
def _written(file: Path, text: str) -> Iterator[None]:
    """Keep the file meanwhile; one that another `make local` wrote over it stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    try:
        yield
    finally:
        if file.exists() and file.read_text() == text:
            file.unlink()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
