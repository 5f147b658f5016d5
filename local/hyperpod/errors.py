"""Defines the errors of the simulated service and of its admin API."""

from dataclasses import dataclass


class ApiError(Exception):
    """Reports an error of the AWS API, in the words that a client sees."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def validation(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def not_found(message: str) -> ApiError:
    return ApiError("ResourceNotFound", message)


class AdminError(Exception):
    """Reports a request to the admin API that cannot be carried out; the message is one line for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class NodeError:
    """Names the reason why a node of a batch was not rebooted: the API's ErrorCode and message."""

    code: str
    message: str
