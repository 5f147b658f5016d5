"""Faults that are injected into the local AWS's answers, and a count of the calls that reach it."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ministack import app

# The emulator's own reading of a request: taken before a patch maps batch calls to the actions that authorise them.
from ministack.core.iam_actions import extract_iam_action

Headers = dict[str, str]
Response = tuple[int, Headers, Any]
Handler = Callable[[str, str, Headers, bytes, dict[str, Any]], Awaitable[Response]]
_BOTO_NAMES = {"monitoring": "cloudwatch"}  # the emulator calls services by their endpoints


class ConnectionDropped(BaseException):
    """The answer must be a closed connection. Not an `Exception`: the emulator would turn that into a 500."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next `count` calls that match.

    `action` (without prefix) and `body` are regular expressions. `after` carries the call out first; then its answer is
    late by `delay` seconds, lost (`reset`) or replaced by an error (`status`, `code`, `message`).
    """

    service: str
    action: str = "."
    body: str = ""
    count: int = 1
    delay: float = 0
    after: bool = False
    reset: bool = False
    status: int | None = None
    code: str = "InternalFailure"
    message: str = "injected"

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Fault":
        """From a request. Raises ValueError naming what it does not know or lacks."""
        unknown = given.keys() - {field.name for field in fields(cls)}
        if unknown or "service" not in given:
            raise ValueError(f"unknown: {sorted(unknown)}" if unknown else "service is missing")
        return cls(**given)

    def matches(self, service: str, action: str, body: bytes) -> bool:
        """Whether it concerns this call."""
        return (
            self.service == service
            and re.search(self.action, action) is not None
            and re.search(self.body, body.decode("utf-8", "replace")) is not None
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One API call; `time` in seconds since 1970."""

    service: str
    action: str
    time: float


class Traffic:
    """All calls that came, and the faults still to be met."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._calls: list[Call] = []

    def add(self, faults: list[Mapping[str, Any]]) -> None:
        """Queue faults behind those still there. Raises ValueError, adding none, if one is not understood."""
        self._faults += [Fault.parse(fault) for fault in faults]

    def faults(self) -> list[dict[str, Any]]:
        """Those still to be met."""
        return [asdict(fault) for fault in self._faults]

    def clear_faults(self) -> None:
        """Forget them."""
        self._faults.clear()

    def counts(self) -> dict[str, int]:
        """Calls per `service:Action`, those that met a fault included."""
        return dict(Counter(f"{call.service}:{call.action}" for call in self._calls))

    def log(self) -> list[dict[str, Any]]:
        """Every call in its order."""
        return [asdict(call) for call in self._calls]

    def watch(self, service: str, handler: Handler) -> Handler:
        """The handler of a service, with counting and faults around it."""

        name = _BOTO_NAMES.get(service, service)

        async def watched(method: str, path: str, headers: Headers, body: bytes, query: dict[str, Any]) -> Response:
            action = api_action(service, method, path, headers, body, query)
            self._calls.append(Call(name, action, time.time()))
            fault = self._next(name, action, body)
            if fault is None:
                return await handler(method, path, headers, body, query)
            return await _meet(fault, headers, lambda: handler(method, path, headers, body, query))

        return watched

    def _next(self, service: str, action: str, body: bytes) -> Fault | None:
        for index, fault in enumerate(self._faults):
            if fault.matches(service, action, body):
                self._faults[index : index + 1] = [replace(fault, count=fault.count - 1)] if fault.count > 1 else []
                return fault
        return None


async def _meet(fault: Fault, headers: Headers, carry_out: Callable[[], Awaitable[Response]]) -> Response:
    done = await carry_out() if fault.after else None
    await asyncio.sleep(fault.delay)
    if fault.reset:
        raise ConnectionDropped
    if fault.status is not None:
        return error_response(fault.status, fault.code, fault.message, headers)
    return done or await carry_out()


def api_action(  # noqa: PLR0917  # the emulator passes a request so
    service: str, method: str, path: str, headers: Headers, body: bytes, query: dict[str, Any]
) -> str:
    """The API's name of the call, such as `SendMessageBatch`; `METHOD path` where the emulator knows none."""
    if target := headers.get("x-amz-target"):
        return target.rsplit(".", 1)[-1]
    params = app._routing_params(method, path, headers, body, query)
    action: str | None = extract_iam_action(service, method, path, headers, body, params)
    return action.split(":", 1)[1] if action else f"{method} {path}"


def error_response(status: int, code: str, message: str, headers: Headers) -> Response:
    """An error in the protocol that the caller speaks: query (XML) or JSON."""
    if "urlencoded" in headers.get("content-type", ""):
        kind = "Sender" if status < 500 else "Receiver"  # noqa: PLR2004  # HTTP's own border
        error = f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f"<ErrorResponse>{error}<RequestId>injected</RequestId></ErrorResponse>"
        return status, {"Content-Type": "text/xml"}, body.encode()
    json_headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": code}
    return status, json_headers, json.dumps({"__type": code, "message": message}).encode()
