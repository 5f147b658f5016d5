"""Implements `python -m local up`: a local AWS with the stack in it, until it is interrupted."""

import signal
from collections.abc import Callable, Iterator, Mapping
from shlex import quote
from typing import Any, Protocol, Self

from local.aws import LocalAws, LocalAwsError
from local.cli.client import CommandError
from local.deploy import DeployFailed, deploy

SAMPLE_CLUSTER = {"name": "ml-cluster", "nodes": 4, "reboot_seconds": 5.0}
_COMMAND = ".venv/bin/python -m local"


class Aws(Protocol):
    """Names what `up` needs of LocalAws."""

    @property
    def exports(self) -> Mapping[str, str]: ...

    def admin(self, method: str, path: str, body: object = None) -> Any: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: Any) -> None: ...


Deploy = Callable[..., Mapping[str, str]]


def up(
    context: Mapping[str, str],
    say: Callable[[str], None],
    *,
    start: Callable[[], Aws] = LocalAws,
    deploy_to: Deploy = deploy,
    stay: Callable[[], object] = signal.pause,
) -> None:
    """Start, deploy, print how to use it, and stay until interrupted. Nothing is left running. Raises CommandError."""
    say("# starting a local AWS and deploying the stack to it: some twenty seconds")
    terminated = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with start() as aws:
            outputs = deploy_to(aws, context=context)
            cluster = aws.admin("POST", "/_local/hyperpod/clusters", SAMPLE_CLUSTER)
            for line in instructions(aws.exports, outputs, cluster):
                say(line)
            stay()
    except KeyboardInterrupt:
        say("# stopped; nothing is left running")
    except (LocalAwsError, DeployFailed) as error:
        raise CommandError(str(error)) from None
    finally:
        signal.signal(signal.SIGTERM, terminated)


def instructions(exports: Mapping[str, str], outputs: Mapping[str, str], cluster: Mapping[str, Any]) -> Iterator[str]:
    """Return lines that can be pasted into a shell as they are; all but the exports are comments."""
    first, second = cluster["nodes"][0], cluster["nodes"][1]
    yield "# paste these lines into another shell:"
    yield from (f"export {name}={quote(value)}" for name, value in exports.items())
    yield "# the stack's outputs:"
    yield from (f"export {name}={quote(value)}" for name, value in outputs.items())
    yield "# then try:"
    yield f"#   {_COMMAND} clusters"
    yield f"#   {_COMMAND} break {first['instance_id']} --reason 'NVLink errors'"
    yield f"#   {_COMMAND} break {second['logical_id']} --repair-action Replace"
    yield f"#   {_COMMAND} calls"
    yield f"#   {_COMMAND} mail"
    yield f"#   {_COMMAND} event tests/samples/node-health.documented.json"
    yield "# Ctrl-C here ends it all"


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
