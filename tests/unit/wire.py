"""Real boto3 clients whose requests never leave the process: answers are injected where botocore would send."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

Body = dict[str, Any]
# A status and a body, or what the network raises.
Reply = tuple[int, Body | bytes] | Exception


class _Raw(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


def error(code: str, message: str = "", status: int = 400) -> Reply:
    """An error as AWS's JSON protocols answer it."""
    return status, {"__type": code, "message": message}


@contextmanager
def wired(client: Any, reply: Callable[[Body], Reply]) -> Iterator[list[Body]]:
    """While it lasts, `reply` answers each request of a client that speaks JSON; yields the requests sent so far."""
    sent: list[Body] = []

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        body = json.loads(cast("str | bytes", request.body))
        sent.append(body)
        answer = reply(body)
        if isinstance(answer, Exception):
            raise answer
        status, content = answer
        headers = HTTPHeaders.from_pairs([("content-type", "application/x-amz-json-1.1")])
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return AWSResponse(request.url, status, headers, _Raw(raw))

    client.meta.events.register("before-send", send)
    try:
        yield sent
    finally:
        client.meta.events.unregister("before-send", send)
