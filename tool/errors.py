"""Defines the exit status of each ending, and the error that a person is told of in one line."""

OK = 0
FAILED = 1
USAGE = 2
TROUBLE = 3  # `status` found something that a person should look at
NOT_FOUND = 4
INTERRUPTED = 130  # the exit status that shells give


class ToolError(Exception):
    """Says in one line why a command could not do what it was asked for."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status
