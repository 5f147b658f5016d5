"""Fires a scheduled rule as often as tests want it, where EventBridge fires it once a minute at most.

The rule's own target is invoked, with its input and only if the function's policy allows the rule. The rule's schedule
stands still from then on. Touches: `eventbridge._rules`, `eventbridge._targets`, `eventbridge._rule_key`,
`eventbridge._rule_last_fired`, `eventbridge._invoke_target`, `eventbridge._dispatch_to_lambda`,
`lambda_svc._execute_function_with_config_scope`.
"""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

from ministack.core.concurrency import run_reentrant
from ministack.core.responses import get_account_id, get_region, new_uuid
from ministack.services import eventbridge, lambda_svc

from local.patches.rule_targets import function_record

_log = logging.getLogger("local.sweeps")
Invocation = Callable[[], dict[str, Any]]
_fired: ContextVar[list[Invocation] | None] = ContextVar("local_fired", default=None)


class Sweeps:
    """Fires one rule, never twice at the same time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._driver: asyncio.Task[None] | None = None
        dispatch = eventbridge._dispatch_to_lambda

        def dispatch_or_keep(arn: str, payload: str) -> None:
            if (fired := _fired.get()) is None:
                dispatch(arn, payload)
                return
            execute = lambda_svc._execute_function_with_config_scope
            fired.append(partial(execute, function_record(arn), json.loads(payload)))

        eventbridge._dispatch_to_lambda = dispatch_or_keep

    async def every(self, rule: str, seconds: float | None) -> None:
        """Fire the rule now, and again so many seconds after the end of each sweep. None: never.

        Returns once a sweep under way has ended. Raises ValueError for a rule that does not exist.
        """
        _take_over(rule)
        if self._driver:
            self._driver.cancel()
        self._driver = None
        async with self._turn:
            if seconds is not None:
                self._driver = asyncio.create_task(self._drive(rule, seconds))

    async def once(self, rule: str) -> dict[str, Any]:
        """Fire the rule and return {"error": whether its function failed, "answer": what it returned}.

        Raises ValueError for a rule that does not exist or may not invoke its function.
        """
        async with self._turn:
            invocations = _fire(rule)
            if not invocations:
                raise ValueError(f"sweeps: the rule {rule!r} has no function that it may invoke")
            results = [await run_reentrant(invocation) for invocation in invocations]
        return {"error": bool(results[0].get("error")), "answer": results[0].get("body")}

    async def _drive(self, rule: str, seconds: float) -> None:
        while True:
            try:
                swept = await self.once(rule)
            except ValueError as error:
                _log.warning("%s; no more sweeps", error)
                return
            if swept["error"]:
                _log.warning("sweep failed: %s", swept["answer"])
            await asyncio.sleep(seconds)


def _take_over(name: str) -> dict[str, Any]:
    """Return the rule, whose own schedule does not fire it any more."""
    key = eventbridge._rule_key(name, "default")
    rule: dict[str, Any] | None = eventbridge._rules.get(key)
    if rule is None:
        raise ValueError(f"sweeps: no rule {name!r}")
    eventbridge._rule_last_fired[get_account_id(), get_region(), key] = math.inf
    return rule


def _fire(name: str) -> list[Invocation]:
    """Deliver a scheduled event to the rule's targets; return the invocations of functions, still to be made."""
    rule = _take_over(name)
    event = {
        "EventId": new_uuid(),
        "Source": "aws.events",
        "DetailType": "Scheduled Event",
        "Detail": "{}",
        "EventBusName": "default",
        "Time": time.time(),
        "Resources": [rule["Arn"]],
        "Account": get_account_id(),
        "Region": get_region(),
    }
    fired: list[Invocation] = []
    token = _fired.set(fired)
    try:
        for target in eventbridge._targets.get(eventbridge._rule_key(name, "default"), []):
            eventbridge._invoke_target(target, event, rule)
    finally:
        _fired.reset(token)
    return fired
