"""The admin API under `/_local/`: what AWS keeps to itself, for tests and demonstrations. No credentials asked."""

import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from ministack.core import responses
from ministack.services import eventbridge

from local import hyperpod
from local.faults import Traffic
from local.patches import alarm_contributors, mail

PREFIX = "/_local/"
Answer = tuple[int, object]


class Admin:
    """Answers admin requests with a status and what becomes JSON."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
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
            ("GET", "calls"): lambda query, _body: (200, traffic.log() if query.get("log") else traffic.counts()),
        }

    async def handle(self, method: str, path: str, query: str, body: bytes) -> Answer:
        """One request, in the one account and region of the local AWS."""
        responses.set_request_account_id(responses.get_account_id())
        responses.set_request_region(responses.get_region())
        if path.startswith(f"{PREFIX}hyperpod/"):
            return await hyperpod.admin(method, path, body)
        route = self._routes.get((method, path.removeprefix(PREFIX).rstrip("/")))
        if route is None:
            return 404, {"error": f"{method} {path} is not known"}
        try:
            return route(parse_qs(query), json.loads(body or b"null"))
        except (ValueError, TypeError, AttributeError) as error:
            return 400, {"error": str(error)}

    def _add_faults(self, faults: Any) -> Answer:
        self._traffic.add(faults)
        return 200, self._traffic.faults()


def _done(forget: Callable[[], None]) -> Answer:
    forget()
    return 200, {}


def _put_events(request: Any) -> Answer:
    """PutEvents, for AWS's own sources too."""
    status, _, body = eventbridge._put_events(request, allow_aws_source=True)
    return status, json.loads(body)
