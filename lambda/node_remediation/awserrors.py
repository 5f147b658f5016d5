"""What an exception of a boto3 client means for the call that raised it."""

import ssl
from enum import Enum
from typing import NamedTuple

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

# Everything a client call can raise for AWS's or the network's sake; anything else is a fault of ours.
CALL_ERRORS = (ClientError, BotoCoreError, ResponseParserError)

_TOO_MANY_REQUESTS = 429


class Meaning(Enum):
    """What is known about a call that raised."""

    THROTTLED = "turned away before it was carried out"
    NOT_SENT = "never reached AWS"
    REJECTED = "answered, or stopped before it was sent, with an error that says no"
    UNKNOWN = "may or may not have been carried out"


class CallError(NamedTuple):
    """A call's failure: its meaning, AWS's error code (or botocore's error name) and the message."""

    meaning: Meaning
    code: str
    message: str

    @property
    def passing(self) -> bool:
        """Whether the same call may well succeed later."""
        return self.meaning is not Meaning.REJECTED


def read(error: Exception) -> CallError:
    """Tell what `error`, one of CALL_ERRORS, says about the call that raised it.

    What is not known to be safe is UNKNOWN: a read time-out, a lost connection, an answer that cannot be read.
    """
    if isinstance(error, ClientError):
        return _read_answer(error)
    return CallError(_meaning(error), type(error).__name__, " ".join(str(error).split()))


def _meaning(error: Exception) -> Meaning:
    if isinstance(error, ConnectTimeoutError | EndpointConnectionError | ProxyConnectionError):
        return Meaning.NOT_SENT
    if isinstance(error, SSLError) and _is_certificate(error.kwargs.get("error")):
        return Meaning.NOT_SENT
    if isinstance(error, ParamValidationError | NoCredentialsError | NoRegionError):
        return Meaning.REJECTED
    return Meaning.UNKNOWN


def _is_certificate(error: object) -> bool:
    """A certificate is checked before the request is sent; ssl's error comes wrapped by urllib3 and botocore."""
    inner: tuple[object, ...] = getattr(error, "args", ())
    return any(isinstance(each, ssl.SSLCertVerificationError) for each in (error, *inner))


def _read_answer(error: ClientError) -> CallError:
    details = error.response.get("Error", {})
    code, message = details.get("Code") or "Unknown", details.get("Message") or ""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in codes.THROTTLING or status == _TOO_MANY_REQUESTS:
        return CallError(Meaning.THROTTLED, code, message)
    answered_no = 400 <= status < 500  # noqa: PLR2004  HTTP's range of client errors
    return CallError(Meaning.REJECTED if answered_no else Meaning.UNKNOWN, code, message)
