"""How the simulated service, and the API that scripts it, say no."""

from dataclasses import dataclass


class ApiError(Exception):
    """An error of the AWS API, in the words that a client gets to see."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def validation(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def not_found(message: str) -> ApiError:
    return ApiError("ResourceNotFound", message)


class AdminError(Exception):
    """A request to the admin API that cannot be carried out; the message is one line for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class NodeError:
    """Why one node of a batch was not rebooted: an ErrorCode of the API and its message."""

    code: str
    message: str
