"""The edge to the mode: an SSM parameter that an operator may set, to pause, to observe, to resume."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from node_remediation import awserrors
from node_remediation.awserrors import CallError, Meaning
from node_remediation.lookup import Cache, LookupFailedError
from node_remediation.settings import MODES

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient

_REMEMBERED_FOR = timedelta(seconds=60)
_PAUSED = "paused"


class Mode(Protocol):
    """Knows whether this system acts, observes or is paused."""

    def get(self) -> str:
        """`active`, `observe` or `paused`. Raises LookupFailedError where that cannot be found out for now."""


class ParameterMode:
    """Mode from an SSM parameter that need not exist; what it says is remembered for up to a minute.

    What nobody can read as a mode, and a parameter that may not be read, mean paused: when in doubt, nothing reboots.
    """

    def __init__(self, client: "SSMClient", *, name: str, default: str, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._name = name
        self._default = default
        self._modes: Cache[str] = Cache(clock)

    def get(self) -> str:
        return self._modes.recall(self._name) or self._ask()

    def _ask(self) -> str:
        try:
            answer = self._client.get_parameter(Name=self._name)
        except awserrors.CALL_ERRORS as error:
            read = awserrors.read(error)
            if read.passing:
                raise LookupFailedError(read) from error
            if read.code != "ParameterNotFound":
                return _PAUSED  # not remembered: what is denied may be allowed soon
            return self._modes.remember(self._name, self._default, _REMEMBERED_FOR)
        if "Parameter" not in answer:  # botocore takes half an answer for an empty one
            raise LookupFailedError(CallError(Meaning.UNKNOWN, "ResponseParserError", "an answer without a parameter"))
        mode = answer["Parameter"].get("Value", "").strip().lower()
        return self._modes.remember(self._name, mode if mode in MODES else _PAUSED, _REMEMBERED_FOR)
