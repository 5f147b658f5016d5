"""The meaning of a client's exceptions: only what is known to be safe counts as safe."""

import ssl
from typing import Any

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker

from node_remediation import codes
from node_remediation.aws import errors
from node_remediation.aws.errors import CallError, LookupFailedError, Meaning

URL = "https://api.sagemaker.us-west-2.amazonaws.com"


def answered(code: Any, status: int, message: Any = "words") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "BatchRebootClusterNodes")


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
def test_error_has_the_meaning_that_is_safe(error: Exception, meaning: Meaning) -> None:
    """Turned away, never sent, rejected, or unknown."""
    assert isinstance(error, errors.CALL_ERRORS)
    assert errors.read(error).meaning is meaning


def test_aws_code_and_message_are_kept_verbatim() -> None:
    """People get what AWS said."""
    error = answered("ResourceNotFound", 400, 'Cluster "a"\n not found')
    assert errors.read(error) == CallError(Meaning.REJECTED, "ResourceNotFound", 'Cluster "a"\n not found')


def test_answer_without_code_still_has_one() -> None:
    """A load balancer's error has no code of AWS's."""
    assert errors.read(answered(None, 400, None)) == CallError(Meaning.REJECTED, "Unknown", "")
    assert errors.read(ClientError({}, "X")).meaning is Meaning.UNKNOWN


def test_code_and_message_of_any_type_and_length_are_bounded_text() -> None:
    """They are stored, logged and sent: no surrogate, no list and no megabyte must get that far."""
    read = errors.read(answered(["a"], 400, "\ud800" * 20_000))
    assert read.code == "['a']"
    assert len(read.message) == 12_288
    assert read.message.startswith("???")
    assert errors.read(answered("c\udc00", 400, 7)) == CallError(Meaning.REJECTED, "c?", "7")


def test_botocore_error_is_known_by_its_name_in_one_line() -> None:
    """Errors that AWS did not send have no code of AWS's."""
    read = errors.read(exceptions.ParamValidationError(report="first\nsecond"))
    assert read.code == "ParamValidationError"
    assert "first second" in read.message


@pytest.mark.parametrize("meaning", Meaning)
def test_everything_but_a_rejection_is_passing(meaning: Meaning) -> None:
    """Only AWS's no will be a no again."""
    assert CallError(meaning, "c", "m").passing is (meaning is not Meaning.REJECTED)


def test_throttling_codes_are_those_of_botocore() -> None:
    """The list is the SDK's own, with the codes that only the models of SNS and SQS have."""
    of_models = {"KMSThrottling", "KmsThrottled", "Throttled"}
    assert {*vars(ThrottledRetryableChecker)["_THROTTLED_ERROR_CODES"], *of_models} == codes.THROTTLING


@pytest.mark.parametrize("answer", [{}, {"Other": 1}, {"Items": None}])
def test_answer_without_what_it_must_have_is_no_answer(answer: dict[str, Any]) -> None:
    """An answer that was cut off reads as an empty one: no items, no nodes."""
    with pytest.raises(LookupFailedError) as raised:
        errors.ask(lambda **_: answer, "Items")
    assert raised.value.error.meaning is Meaning.UNKNOWN
