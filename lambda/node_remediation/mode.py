"""The edge to the mode: an SSM parameter that an operator may set, to pause, to observe, to resume."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from aws_lambda_powertools.utilities.parameters.ssm import SSMProvider

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
        self._provider = SSMProvider(boto3_client=client)
        self._name = name
        self._default = default
        self._absent: Cache[str] = Cache(clock)

    def get(self) -> str:
        return self._absent.recall(self._name) or self._ask()

    def _ask(self) -> str:
        try:
            value = self._provider.get(self._name, max_age=int(_REMEMBERED_FOR.total_seconds()))
        except GetParameterError as error:
            return self._without_value(error)
        mode = value.strip().lower() if isinstance(value, str) else ""
        return mode if mode in MODES else _PAUSED

    def _without_value(self, error: GetParameterError) -> str:
        """Powertools wraps what the client raised."""
        cause = error.__cause__ or error.__context__
        if isinstance(cause, awserrors.CALL_ERRORS):
            read = awserrors.read(cause)
        else:  # an answer without a parameter in it
            read = CallError(Meaning.UNKNOWN, type(cause).__name__, str(error))
        if read.code == "ParameterNotFound":
            return self._absent.remember(self._name, self._default, _REMEMBERED_FOR)
        if read.passing:
            raise LookupFailedError(read) from error
        return _PAUSED
