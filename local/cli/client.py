"""Calls the admin API of a running local AWS."""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 30.0
_VARIABLE = "AWS_ENDPOINT_URL"


class CommandError(Exception):
    """Reports a command that cannot be carried out; the message is one line for people."""


class AdminClient:
    """Sends JSON over HTTP to /_local/, without credentials and without a proxy."""

    def __init__(self, endpoint: str) -> None:
        try:
            url = urlsplit(endpoint)
            self._address = url.hostname or "", url.port or 80
        except ValueError:
            self._address = "", 0
        if not endpoint.startswith("http://") or not self._address[0]:
            raise CommandError(f"{_VARIABLE}: {endpoint!r} is not an address such as http://127.0.0.1:4566")
        self._endpoint = endpoint

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "AdminClient":
        """Return a client of the local AWS at AWS_ENDPOINT_URL. Raises CommandError if that is not set."""
        if not env.get(_VARIABLE):
            raise CommandError(f"{_VARIABLE} is not set: run `make local`, and here the `source` line that it prints")
        return cls(env[_VARIABLE])

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to /_local/PATH. Raises CommandError without an answer, or with the answer's error."""
        connection = http.client.HTTPConnection(*self._address, timeout=_TIMEOUT_SECONDS)
        payload = None if body is None else json.dumps(body)
        try:
            connection.request(method, f"/_local/{path}", payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(f"no local AWS answers at {self._endpoint}: {error}") from None
        finally:
            connection.close()
        return self._value(status, text)

    def _value(self, status: int, text: bytes) -> Any:
        try:
            value = json.loads(text)
        except ValueError:
            raise CommandError(f"what answers at {self._endpoint} is not a local AWS of this project") from None
        if status != http.HTTPStatus.OK:
            raise CommandError(value["error"] if isinstance(value, dict) and "error" in value else f"{status}: {value}")
        return value
