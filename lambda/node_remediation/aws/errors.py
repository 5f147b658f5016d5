"""Reads the exceptions of boto3 clients by what they mean for the call that raised them, and remembers answers."""

import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ProxyConnectionError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from node_remediation import codes
from node_remediation.model import LONGEST_API_TEXT, bounded

# All that a client call raises because of AWS or the network. Anything else is a fault of this system.
CALL_ERRORS = (ClientError, BotoCoreError, ResponseParserError)

# Tells whether there is time left to begin a call.
MayCall = Callable[[], bool]

_TOO_MANY_REQUESTS = 429


class Meaning(Enum):
    """Tells what is known about a call that raised."""

    THROTTLED = "AWS turned it away before it was carried out"
    NOT_SENT = "it never reached AWS"
    REJECTED = "AWS, or botocore before sending it, said no"
    UNKNOWN = "it may or may not have been carried out"


class CallError(NamedTuple):
    """A call's failure: its meaning, AWS's error code (or botocore's error name) and the message."""

    meaning: Meaning
    code: str
    message: str

    @property
    def passing(self) -> bool:
        """Tell whether the same call may well succeed later."""
        return self.meaning is not Meaning.REJECTED

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class LookupFailedError(Exception):
    """Reports that AWS did not answer a question, or did not take a write; `error` says why."""

    def __init__(self, error: CallError) -> None:
        super().__init__(str(error))
        self.error = error


OUT_OF_TIME = CallError(Meaning.NOT_SENT, codes.DEADLINE_EXCEEDED, "the function ran out of time before the call")


def ask(call: Callable[..., Any], needed: str, **question: Any) -> Any:
    """Call a client's method that only reads, and return its answer. Raises LookupFailedError.

    So does an answer without the field that is needed: botocore reads half an answer as an empty one.
    """
    try:
        answer = call(**question)
    except CALL_ERRORS as error:
        raise LookupFailedError(read(error)) from error
    if answer.get(needed) is None:
        raise LookupFailedError(CallError(Meaning.UNKNOWN, ResponseParserError.__name__, f"an answer without {needed}"))
    return answer


def read(error: Exception) -> CallError:
    """Read `error`, one of CALL_ERRORS.

    All that is not known to be safe is UNKNOWN: a read time-out, a lost connection, an answer that cannot be parsed.
    """
    if isinstance(error, ClientError):
        return _read_answer(error)
    return CallError(_meaning(error), type(error).__name__, _text(" ".join(str(error).split())))


def _meaning(error: Exception) -> Meaning:
    if isinstance(error, ConnectTimeoutError | EndpointConnectionError | ProxyConnectionError):
        return Meaning.NOT_SENT
    if isinstance(error, SSLError) and _is_certificate(error.kwargs.get("error")):
        return Meaning.NOT_SENT
    if isinstance(error, ParamValidationError | NoCredentialsError | NoRegionError):
        return Meaning.REJECTED
    return Meaning.UNKNOWN


def _is_certificate(error: object) -> bool:
    """Tell whether a certificate was refused, before the request was sent. urllib3 and botocore wrap that error."""
    inner: tuple[object, ...] = getattr(error, "args", ())
    return any(isinstance(each, ssl.SSLCertVerificationError) for each in (error, *inner))


def _read_answer(error: ClientError) -> CallError:
    details = error.response.get("Error", {})
    code, message = bounded(str(details.get("Code") or "Unknown")), _text(str(details.get("Message") or ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in codes.THROTTLING or status == _TOO_MANY_REQUESTS:
        return CallError(Meaning.THROTTLED, code, message)
    answered_no = 400 <= status < 500  # noqa: PLR2004  HTTP's range of client errors
    return CallError(Meaning.REJECTED if answered_no else Meaning.UNKNOWN, code, message)


def _text(message: str) -> str:
    return bounded(message, LONGEST_API_TEXT)


Value = TypeVar("Value")

# Names come from events: a flood of odd ones must not fill the memory.
_MOST_ENTRIES = 1_000


class Cache(Generic[Value]):
    """A cache whose entries each have an age limit of their own."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[Value, datetime]] = {}

    def recall(self, key: str) -> Value | None:
        """Return the value remembered for `key`; None if there is none, or it is too old."""
        value, until = self._entries.get(key) or (None, None)
        return value if until and until > self._clock() else None

    def remember(self, key: str, value: Value, age: timedelta) -> Value:
        """Remember `value` for `age`, in place of the oldest entry if there are too many."""
        self._entries.pop(key, None)
        if len(self._entries) >= _MOST_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (value, self._clock() + age)
        return value
