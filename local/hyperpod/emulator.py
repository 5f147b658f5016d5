"""Asks the emulator around the simulation for a request's caller, account and region.

Looked up in modules that the emulator has loaded, never imported: without it the simulation stands on its own.
"""

import os
import re
import sys
from collections.abc import Mapping

from local.hyperpod.world import Scope

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")


def scope() -> Scope:
    """Return the account and region of the current request."""
    responses = sys.modules.get("ministack.core.responses")
    if responses:
        return Scope(responses.get_account_id(), responses.get_region())
    account = os.environ.get("MINISTACK_ACCOUNT_ID", "000000000000")
    return Scope(account, os.environ.get("MINISTACK_REGION", "us-east-1"))


def principal(headers: Mapping[str, str]) -> str | None:
    """Return the ARN behind a role's session key, another access key as it is, None for an unsigned request."""
    found = _CREDENTIAL.search(headers.get("authorization", ""))
    if not found:
        return None
    sts = sys.modules.get("ministack.services.sts")
    session = sts._sessions.get(found[1]) if sts else None
    return str(session.get("Arn") or found[1]) if session else found[1]
