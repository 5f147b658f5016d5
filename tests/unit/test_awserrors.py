"""What each exception of a client says about its call: only what is known to be safe counts as safe."""

import ssl

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker

from node_remediation import awserrors, codes
from node_remediation.awserrors import CallError, Meaning

URL = "https://api.sagemaker.us-west-2.amazonaws.com"


def answered(code: str, status: int, message: str = "words") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "BatchRebootClusterNodes",
    )


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (answered("ResourceNotFound", 400), Meaning.REJECTED),
        (answered("ValidationException", 400), Meaning.REJECTED),
        (answered("AccessDeniedException", 403), Meaning.REJECTED),
        (answered("ThrottlingException", 400), Meaning.THROTTLED),
        (answered("TooManyRequestsException", 429), Meaning.THROTTLED),
        (answered("Anything", 429), Meaning.THROTTLED),
        (answered("SlowDown", 503), Meaning.THROTTLED),
        (answered("InternalServerError", 500), Meaning.UNKNOWN),
        (answered("ServiceUnavailable", 503), Meaning.UNKNOWN),
        (answered("504", 504), Meaning.UNKNOWN),
        (answered("ResourceNotFound", 200), Meaning.UNKNOWN),
        (answered("301", 301), Meaning.UNKNOWN),
        (exceptions.ConnectTimeoutError(endpoint_url=URL), Meaning.NOT_SENT),
        (exceptions.EndpointConnectionError(endpoint_url=URL), Meaning.NOT_SENT),
        (exceptions.ProxyConnectionError(proxy_url=URL), Meaning.NOT_SENT),
        (exceptions.SSLError(endpoint_url=URL, error=ssl.SSLCertVerificationError("expired")), Meaning.NOT_SENT),
        (exceptions.SSLError(endpoint_url=URL, error=OSError(ssl.SSLCertVerificationError())), Meaning.NOT_SENT),
        (exceptions.SSLError(endpoint_url=URL, error=ssl.SSLError("reset half way")), Meaning.UNKNOWN),
        (exceptions.ReadTimeoutError(endpoint_url=URL), Meaning.UNKNOWN),
        (exceptions.ConnectionClosedError(endpoint_url=URL), Meaning.UNKNOWN),
        (exceptions.ResponseStreamingError(error="cut"), Meaning.UNKNOWN),
        (exceptions.HTTPClientError(error="odd"), Meaning.UNKNOWN),
        (ResponseParserError("no JSON"), Meaning.UNKNOWN),
        (exceptions.ParamValidationError(report="too short"), Meaning.REJECTED),
        (exceptions.NoCredentialsError(), Meaning.REJECTED),
        (exceptions.NoRegionError(), Meaning.REJECTED),
    ],
    ids=lambda value: f"{value}"[:60],
)
def test_meaning_of_an_error(error: Exception, meaning: Meaning) -> None:
    """Turned away, never sent, said no, or nobody knows."""
    assert isinstance(error, awserrors.CALL_ERRORS)
    assert awserrors.read(error).meaning is meaning


def test_aws_code_and_words_are_kept_verbatim() -> None:
    """What people get is what AWS said."""
    error = answered("ResourceNotFound", 400, 'Cluster "a"\n not found')
    assert awserrors.read(error) == CallError(Meaning.REJECTED, "ResourceNotFound", 'Cluster "a"\n not found')


def test_answer_without_code_still_has_one() -> None:
    """A load balancer's error has no code of AWS's."""
    error = ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "X")  # type: ignore[typeddict-item]
    assert awserrors.read(error) == CallError(Meaning.REJECTED, "Unknown", "")
    assert awserrors.read(ClientError({}, "X")).meaning is Meaning.UNKNOWN


def test_botocore_error_is_known_by_its_name_in_one_line() -> None:
    """Errors that AWS did not send have no code of AWS's."""
    read = awserrors.read(exceptions.ParamValidationError(report="first\nsecond"))
    assert read.code == "ParamValidationError"
    assert "\n" not in read.message
    assert "first second" in read.message


@pytest.mark.parametrize("meaning", Meaning)
def test_everything_but_a_no_is_passing(meaning: Meaning) -> None:
    """Only AWS's no will be a no again."""
    assert CallError(meaning, "c", "m").passing is (meaning is not Meaning.REJECTED)


def test_throttling_codes_are_botocores() -> None:
    """The list of what counts as throttling is the SDK's own."""
    assert set(vars(ThrottledRetryableChecker)["_THROTTLED_ERROR_CODES"]) == codes.THROTTLING
