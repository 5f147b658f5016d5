"""Serves the admin API under `/_local/`, without credentials: things that AWS offers no call for."""

import json
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from ministack.core import responses
from ministack.services import eventbridge

from local import hyperpod
from local.faults import Chaos, Traffic
from local.patches import alarm_contributors, mail
from local.sweeps import Sweeps

PREFIX = "/_local/"
Answer = tuple[int, object]


class AdminApi:
    """Answers admin requests with a status and what becomes JSON."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        sweeps = Sweeps()
        self._waited_for: dict[tuple[str, str], Callable[[Any], Awaitable[object]]] = {
            ("POST", "sweeps"): lambda body: sweeps.every(body["rule"], body["seconds"]),
            ("POST", "sweeps/once"): lambda body: sweeps.once(body["rule"]),
        }
        self._routes: dict[tuple[str, str], Callable[[dict[str, list[str]], Any], Answer]] = {
            ("GET", "health"): lambda _query, _body: (200, {"status": "ready", "pid": os.getpid()}),
            ("POST", "events"): lambda _query, body: _put_events(body),
            ("GET", "mail"): lambda _query, _body: (200, mail.sent()),
            ("DELETE", "mail"): lambda _query, _body: _done(mail.clear),
            ("GET", "contributors"): lambda _query, _body: (200, alarm_contributors.scripted()),
            ("POST", "contributors"): lambda _query, body: (200, alarm_contributors.script(body)),
            ("DELETE", "contributors"): lambda _query, _body: _done(alarm_contributors.clear),
            ("GET", "faults"): lambda _query, _body: (200, traffic.faults()),
            ("POST", "faults"): lambda _query, body: self._add_faults(body),
            ("DELETE", "faults"): lambda _query, _body: _done(traffic.clear_faults),
            ("POST", "chaos"): lambda _query, body: _done(partial(traffic.begin_chaos, Chaos.parse(body))),
            ("DELETE", "chaos"): lambda _query, _body: (200, traffic.end_chaos()),
            ("GET", "calls"): lambda query, _body: (200, traffic.log() if query.get("log") else traffic.counts()),
        }

    async def handle(self, method: str, path: str, query: str, body: bytes) -> Answer:
        """Answer one request, in the one account and region of the local AWS."""
        responses.set_request_account_id(responses.get_account_id())
        responses.set_request_region(responses.get_region())
        if path.startswith(f"{PREFIX}hyperpod/"):
            return await hyperpod.admin(method, path, body)
        name = (method, path.removeprefix(PREFIX).rstrip("/"))
        try:
            if waited_for := self._waited_for.get(name):
                return 200, await waited_for(json.loads(body or b"null"))
            if route := self._routes.get(name):
                return route(parse_qs(query), json.loads(body or b"null"))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            return 400, {"error": str(error)}
        return 404, {"error": f"{method} {path} is not known"}

    def _add_faults(self, faults: Any) -> Answer:
        self._traffic.add(faults)
        return 200, self._traffic.faults()


def _done(act: Callable[[], None]) -> Answer:
    act()
    return 200, {}


def _put_events(request: Any) -> Answer:
    """Put events on the bus, also those of AWS's own sources."""
    status, _, body = eventbridge._put_events(request, allow_aws_source=True)
    return status, json.loads(body)
