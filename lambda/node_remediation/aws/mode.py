"""Reads the mode from an SSM parameter that an operator may set, to pause, to observe, to resume."""

from typing import TYPE_CHECKING, Any, Protocol

from aws_lambda_powertools.utilities.parameters import GetParameterError, SSMProvider
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from node_remediation.aws import errors
from node_remediation.aws.errors import CallError, LookupFailedError, Meaning
from node_remediation.settings import MODES

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient

_MAX_AGE = 60  # seconds
_PAUSED = "paused"


class Mode(Protocol):
    """Knows whether this system acts, observes or is paused."""

    def get(self, *, fresh: bool = False) -> str:
        """Return `active`, `observe` or `paused`. Raises LookupFailedError if that cannot be found out for now.

        With `fresh`, a `paused` that is remembered is read again.
        """


class ParameterMode:
    """The mode as an SSM parameter gives it, remembered for up to a minute. The parameter need not exist.

    A value that is no mode, and a parameter that may not be read, mean paused: when in doubt, no node is rebooted.
    """

    def __init__(self, client: "SSMClient", *, name: str, default: str) -> None:
        self._parameters = _Parameters(client, default)
        self._name = name

    def get(self, *, fresh: bool = False) -> str:
        mode = self._read(force=False)
        return self._read(force=True) if fresh and mode == _PAUSED else mode

    def _read(self, *, force: bool) -> str:
        try:
            value = self._parameters.get(self._name, max_age=_MAX_AGE, force_fetch=force)
        except GetParameterError as error:
            trouble = _trouble(error.__context__)
            if trouble.passing:
                raise LookupFailedError(trouble) from error
            return _PAUSED
        mode = str(value).strip().lower()
        return mode if mode in MODES else _PAUSED


class _Parameters(SSMProvider):
    """Powertools' provider, except that it remembers the absence of a parameter too: that is the usual case."""

    def __init__(self, client: "SSMClient", default: str) -> None:
        super().__init__(boto3_client=client)
        self._default = default

    def _get(self, name: str, decrypt: bool = False, **options: Any) -> str:
        try:
            return super()._get(name, decrypt, **options)
        except ClientError as error:
            if errors.read(error).code != "ParameterNotFound":
                raise
            return self._default


def _trouble(cause: BaseException | None) -> CallError:
    """Return the error behind Powertools' own, which has only its text."""
    if isinstance(cause, errors.CALL_ERRORS):
        return errors.read(cause)
    # botocore reads half an answer as an empty one.
    return CallError(Meaning.UNKNOWN, ResponseParserError.__name__, f"an answer without a parameter: {cause!r}")
