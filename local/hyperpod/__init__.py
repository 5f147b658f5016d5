"""Serves a simulated SageMaker HyperPod inside the local AWS: the API, and an admin API that scripts it.

The emulator around it is looked up in modules that it has loaded, never imported: without it the simulation stands on
its own.
"""

import asyncio
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from local.hyperpod.admin import HyperPodAdmin
from local.hyperpod.simulator import PutEvent, Reply, Simulator
from local.hyperpod.world import AccountRegion

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")


def account() -> AccountRegion:
    """Return the account and region of the current request."""
    responses = sys.modules.get("ministack.core.responses")
    if responses:
        return AccountRegion(responses.get_account_id(), responses.get_region())
    account_id = os.environ.get("MINISTACK_ACCOUNT_ID", "000000000000")
    return AccountRegion(account_id, os.environ.get("MINISTACK_REGION", "us-east-1"))


def principal(headers: Mapping[str, str]) -> str | None:
    """Return the ARN behind a role's session key, another access key as it is, None for an unsigned request."""
    found = _CREDENTIAL.search(headers.get("authorization", ""))
    if not found:
        return None
    sts = sys.modules.get("ministack.services.sts")
    session = sts._sessions.get(found[1]) if sts else None
    return str(session.get("Arn") or found[1]) if session else found[1]


_simulator = Simulator(
    clock=time.time,
    account=account,
    wake=lambda delay, transition: asyncio.get_running_loop().call_later(delay, transition),
)
_admin = HyperPodAdmin(_simulator)


async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, query: Any) -> Reply:  # noqa: ARG001 -- the emulator's signature for a service
    """Answer a request whose `x-amz-target` is SageMaker.OPERATION."""
    operation = headers.get("x-amz-target", "").partition(".")[2]
    return _simulator.serve(operation, body, principal(headers))


async def admin(method: str, path: str, body: bytes) -> tuple[int, object]:
    """Answer a request under /_local/hyperpod/ with a status and a JSON value."""
    return _admin.serve(method, path, body)


def cluster_arn(name_or_arn: str) -> str:
    """Return the ARN that IAM judges a request by; that of an unknown cluster has an ID of zeros."""
    return _simulator.arn(name_or_arn)


def install(put_event: PutEvent) -> None:
    """Give the simulation the function that puts one `aws.*` entry on the event bus."""
    _simulator.install(put_event)
