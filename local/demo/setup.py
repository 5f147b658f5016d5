"""Starts the local AWS and deploys to it, and shows what goes on."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console

from local.aws import LocalAws
from local.demo.progress import cdk_update, cdk_work, work
from local.deploy import STACK, deploy

_TOOLKIT = "CDKToolkit"


@contextmanager
def local_aws(console: Console) -> Iterator[LocalAws]:
    """Run a local AWS that is gone at the end, however it comes."""
    aws = LocalAws()
    try:
        with work(console, "local AWS") as line:
            aws.start()
            line.detail = aws.endpoint
        yield aws
    finally:
        # A second Ctrl-C would leave half of it running.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        aws.stop()
        signal.signal(signal.SIGINT, handler)


def update_stack(console: Console, aws: LocalAws, context: Mapping[str, str]) -> None:
    """Deploy once more with other settings."""
    with cdk_update(console) as cdk:
        deploy(aws, context=context, on_line=cdk.read, bootstrap=False)
        cdk.lines[-1].detail = f"stack {STACK}, updated"


def deploy_stack(console: Console, aws: LocalAws, context: Mapping[str, str]) -> dict[str, str]:
    """Bootstrap and deploy; return the stack's outputs."""
    with cdk_work(console) as cdk:
        outputs = deploy(aws, context=context, on_line=cdk.read)
        cloudformation = aws.client("cloudformation")
        for line, stack in zip(cdk.lines, (_TOOLKIT, STACK), strict=False):
            made = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
            line.detail = f"stack {stack}, {len(made)} resources"
    return outputs
