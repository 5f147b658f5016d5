"""Reads the mode from an SSM parameter that an operator may set, to pause, to observe, to resume."""

from typing import TYPE_CHECKING, Any, Protocol

from aws_lambda_powertools.utilities.parameters import GetParameterError, SSMProvider
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from node_remediation.aws import errors
from node_remediation.aws.errors import CallError, LookupFailedError, Meaning
from node_remediation.policy.modes import Modes, all_paused, read_modes

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient

_MAX_AGE = 60  # seconds


class Mode(Protocol):
    """Knows where this system acts, observes or is paused."""

    def get(self, *, fresh: bool = False) -> Modes:
        """Return the modes, with `fresh` not from memory. Raises LookupFailedError if they cannot be had for now."""


class ParameterMode:
    """The mode as an SSM parameter gives it, remembered for up to a minute. The parameter need not exist.

    A value that cannot be understood, and a parameter that may not be read, mean paused: when in doubt, no node is
    rebooted.
    """

    def __init__(self, client: "SSMClient", *, name: str, default: str) -> None:
        self._parameters = _Parameters(client, default)
        self._name = name
        self._default = default

    def get(self, *, fresh: bool = False) -> Modes:
        try:
            value = self._parameters.get(self._name, max_age=_MAX_AGE, force_fetch=fresh)
        except GetParameterError as error:
            trouble = _trouble(error.__context__)
            if trouble.passing:
                raise LookupFailedError(trouble) from error
            return all_paused(f"may not be read: {trouble.code}: {trouble.message}", default=self._default)
        return read_modes(str(value), default=self._default)


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
