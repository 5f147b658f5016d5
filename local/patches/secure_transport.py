"""Gap: over plain http the condition key `aws:SecureTransport` is false, so every policy that enforces TLS denies.

On this machine http stands for https: the key is always true, for callers and for deliveries between services.
Touches: `iam_evaluator._request_origin`, `iam_evaluator.pin_request_origin`, `app.pin_request_origin`.
"""

from contextvars import ContextVar

from ministack import app
from ministack.core import iam_evaluator

_LOOPBACK = "127.0.0.1"


def apply() -> None:
    """Pin secure transport for requests and for what the services do among themselves."""
    # Its default is what deliveries see that no request started.
    iam_evaluator._request_origin = ContextVar("local_request_origin", default=(_LOOPBACK, True))
    pin = iam_evaluator.pin_request_origin

    def pin_secure(source_ip: str, secure_transport: bool) -> None:  # noqa: ARG001  # the emulator's signature
        pin(source_ip, True)

    iam_evaluator.pin_request_origin = pin_secure
    app.pin_request_origin = pin_secure
