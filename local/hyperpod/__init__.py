"""Serves a simulated SageMaker HyperPod inside the local AWS: the API, and an admin API that scripts it."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from local.hyperpod import emulator
from local.hyperpod.admin import Admin
from local.hyperpod.simulator import PutEvent, Reply, Simulator

_simulator = Simulator(
    clock=time.time,
    scope=emulator.scope,
    wake=lambda delay, transition: asyncio.get_running_loop().call_later(delay, transition),
)
_admin = Admin(_simulator)


async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any) -> Reply:  # noqa: ARG001 -- the emulator's signature for a service
    """Answer a request whose `x-amz-target` is SageMaker.OPERATION."""
    operation = headers.get("x-amz-target", "").partition(".")[2]
    return _simulator.serve(operation, body, emulator.principal(headers))


async def admin(method: str, path: str, body: bytes) -> tuple[int, object]:
    """Answer a request under /_local/hyperpod/ with a status and a JSON value."""
    return _admin.serve(method, path, body)


def cluster_arn(name_or_arn: str) -> str:
    """Return the ARN that IAM judges a request by; that of an unknown cluster has an ID of zeros."""
    return _simulator.arn(name_or_arn)


def install(put_event: PutEvent) -> None:
    """Give the simulation the function that puts one `aws.*` entry on the event bus."""
    _simulator.install(put_event)
