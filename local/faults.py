"""Injects faults into the local AWS's answers, on order or at random, and counts the calls that reach it."""

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ministack import app

# The emulator's own reading of a request: taken before a patch maps batch calls to the actions that authorise them.
from ministack.core.iam_actions import extract_iam_action

from local.hyperpod import principal

Headers = dict[str, str]
Response = tuple[int, Headers, Any]
Handler = Callable[[str, str, Headers, bytes, dict[str, Any]], Awaitable[Response]]
_BOTO_NAMES = {"monitoring": "cloudwatch"}  # the emulator calls services by their endpoints


class ConnectionDropped(BaseException):
    """Makes the answer a closed connection. Not an `Exception`: the emulator would turn that into a 500."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Describes a fault of the next `count` calls that match.

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
        """Read a fault from a request. Raises ValueError with what is unknown or missing."""
        unknown = given.keys() - {field.name for field in fields(cls)}
        if unknown or "service" not in given:
            raise ValueError(f"unknown: {sorted(unknown)}" if unknown else "service is missing")
        return cls(**given)

    def matches(self, service: str, action: str, body: bytes) -> bool:
        """Tell whether the fault concerns this call."""
        return (
            self.service == service
            and re.search(self.action, action) is not None
            and re.search(self.body, body.decode("utf-8", "replace")) is not None
        )


# What each service answers when it throttles, and when it fails: code and status, one of several.
_THROTTLES: Mapping[str, tuple[tuple[str, int], ...]] = {
    "sagemaker": (("ThrottlingException", 400),),
    "dynamodb": (("ThrottlingException", 400), ("ProvisionedThroughputExceededException", 400)),
    "sqs": (("RequestThrottled", 403),),
    "sns": (("Throttling", 400), ("KMSThrottling", 400)),
    "ssm": (("ThrottlingException", 400),),
}
_FAILURES: Mapping[str, tuple[tuple[str, int], ...]] = {
    "sagemaker": (("InternalFailure", 500), ("ServiceUnavailable", 503)),
    "dynamodb": (("InternalServerError", 500), ("ServiceUnavailable", 503)),
    "sqs": (("InternalFailure", 500), ("ServiceUnavailable", 503)),
    "sns": (("InternalError", 500), ("ServiceUnavailable", 503)),
    "ssm": (("InternalServerError", 500),),
}
_MARK = "injected at random"
# Services that the function calls so rarely that they would hardly meet a fault.
_RARELY_CALLED = ("sqs", "sns", "ssm")
_MORE_OFTEN = 3
_LASTING = 0.2  # of the faults
_LASTS_CALLS = (2, 10)


class Chaos:
    """Chooses faults at random for the calls that one function makes, with its own credentials.

    Each call meets a fault with the probability `rate`, or three times that where calls are rare. It is throttled, or
    it fails (half of the times after it was carried out), or it is carried out and the connection closes without an
    answer. Some faults last: the next calls to the service meet one too, which outlives an SDK's retries.
    """

    def __init__(self, *, function: str, seed: int, rate: float, services: list[str] | None = None) -> None:
        self._caller = f"/{function}"
        self._rate = rate
        self._services = frozenset(services or _THROTTLES)
        self._random = random.Random(seed)
        self._faults_to_come: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        if not 0 <= rate <= 1 or not self._services <= _THROTTLES.keys():
            raise ValueError(f"chaos: rate takes 0 to 1, services some of {', '.join(_THROTTLES)}")

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Chaos":
        """Read a request {"function", "seed", "rate", "services"?}. Raises ValueError, TypeError."""
        return cls(**given)

    def fault(self, service: str, headers: Headers) -> Fault | None:
        """Return the fault that this call meets, None for most calls and for those of everybody else."""
        if service not in self._services or not (principal(headers) or "").endswith(self._caller):
            return None
        if self._faults_to_come[service]:
            self._faults_to_come[service] -= 1
        elif self._random.random() >= self._rate * (_MORE_OFTEN if service in _RARELY_CALLED else 1):
            return None
        elif self._random.random() < _LASTING:
            self._faults_to_come[service] = self._random.randint(*_LASTS_CALLS)
        kind = self._random.choice(("throttled", "failed", "lost"))
        self.met[f"{service} {kind}"] += 1
        if kind == "lost":
            return Fault(service, reset=True, after=True)
        code, status = self._random.choice((_THROTTLES if kind == "throttled" else _FAILURES)[service])
        after = kind == "failed" and self._random.random() < 0.5  # noqa: PLR2004  # half of them
        return Fault(service, status=status, code=code, message=_MARK, after=after)


@dataclass(frozen=True, slots=True)
class ApiCall:
    """Names one API call; `time` is in seconds since 1970."""

    service: str
    action: str
    time: float


class Traffic:
    """Keeps all calls that came, and the faults still to be met."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._calls: list[ApiCall] = []
        self._chaos: Chaos | None = None

    def add(self, faults: list[Mapping[str, Any]]) -> None:
        """Queue faults behind those still there. Raises ValueError, adding none, if one is not understood."""
        self._faults += [Fault.parse(fault) for fault in faults]

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults still to be met."""
        return [asdict(fault) for fault in self._faults]

    def clear_faults(self) -> None:
        """Forget the faults still to be met."""
        self._faults.clear()

    def begin_chaos(self, chaos: Chaos) -> None:
        """Let faults happen at random; those on order come first."""
        self._chaos = chaos

    def end_chaos(self) -> dict[str, int]:
        """Let no more faults happen at random; return how many did, by service and kind."""
        met, self._chaos = self._chaos.met if self._chaos else {}, None
        return dict(met)

    def counts(self) -> dict[str, int]:
        """Return the numbers of calls per `service:Action`, those that met a fault included."""
        return dict(Counter(f"{call.service}:{call.action}" for call in self._calls))

    def log(self) -> list[dict[str, Any]]:
        """Return every call, in order."""
        return [asdict(call) for call in self._calls]

    def watch(self, service: str, handler: Handler) -> Handler:
        """Return the handler of a service with counting and faults around it."""

        name = _BOTO_NAMES.get(service, service)

        async def watched(method: str, path: str, headers: Headers, body: bytes, query: dict[str, Any]) -> Response:
            action = api_action(service, method, path, headers, body, query)
            self._calls.append(ApiCall(name, action, time.time()))
            fault = self._next(name, action, body)
            if fault is None and self._chaos:
                fault = self._chaos.fault(name, headers)
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
    """Return the API's name of the call, such as `SendMessageBatch`; `METHOD path` if the emulator knows none."""
    if target := headers.get("x-amz-target"):
        return target.rsplit(".", 1)[-1]
    params = app._routing_params(method, path, headers, body, query)
    action: str | None = extract_iam_action(service, method, path, headers, body, params)
    return action.split(":", 1)[1] if action else f"{method} {path}"


def error_response(status: int, code: str, message: str, headers: Headers) -> Response:
    """Return an error in the caller's protocol: query (XML) or JSON."""
    if "urlencoded" in headers.get("content-type", ""):
        kind = "Sender" if status < 500 else "Receiver"  # noqa: PLR2004  # HTTP's own border
        error = f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f"<ErrorResponse>{error}<RequestId>injected</RequestId></ErrorResponse>"
        return status, {"Content-Type": "text/xml"}, body.encode()
    json_headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": code}
    return status, json_headers, json.dumps({"__type": code, "message": message}).encode()
