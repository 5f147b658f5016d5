"""Combines the emulator, our patches, the simulated HyperPod and the admin API in one ASGI application.

Importing it imports the emulator, which reads its settings from the environment then: `local.server` sets them first.
Touches: `app.SERVICE_HANDLERS`, `router.SERVICE_PATTERNS`, `iam_actions.SERVICE_TO_IAM_NAMESPACE`,
`iam_actions.extract_resource_arn`.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hypercorn.events import Closed
from ministack import app
from ministack.core import iam_actions, lambda_runtime, router
from ministack.services import eventbridge

from local import hyperpod, patches
from local.admin import PREFIX, AdminApi
from local.faults import ConnectionDropped, Traffic

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class LocalAwsApp:
    """Serves ASGI requests: `/_local/…` is the admin API, everything else AWS."""

    def __init__(self) -> None:
        patches.apply_all()
        _register_sagemaker()
        hyperpod.install(put_aws_event)
        traffic = Traffic()
        for service, handler in list(app.SERVICE_HANDLERS.items()):
            app.SERVICE_HANDLERS[service] = traffic.watch(service, handler)
        self._admin = AdminApi(traffic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await self._administer(scope, receive, send)
            return
        try:
            await app.app(scope, receive, send)
        except ConnectionDropped:
            # Two layers below the ASGI interface: no ASGI message closes a connection without an answer.
            await send.__self__.send.__self__.send(Closed())  # type: ignore[attr-defined]

    async def _administer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = scope.get("query_string", b"").decode()
        status, answer = await self._admin.handle(scope["method"], scope["path"], query, body)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def _register_sagemaker() -> None:
    """Make the simulated HyperPod a service like the others: routed, and its callers' permissions enforced."""
    app.SERVICE_HANDLERS["sagemaker"] = hyperpod.handle
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker"], "host_patterns": [r"sagemaker\."]}
    iam_actions.SERVICE_TO_IAM_NAMESPACE["sagemaker"] = "sagemaker"
    extract = iam_actions.extract_resource_arn

    def extract_resource_arn(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any
    ) -> str:
        if service != "sagemaker":
            arn: str = extract(service, method, path, headers, body, *rest)
            return arn
        name = json.loads(body or b"{}").get("ClusterName")
        return hyperpod.cluster_arn(name) if name else "*"

    iam_actions.extract_resource_arn = extract_resource_arn


def put_aws_event(entry: Mapping[str, object]) -> None:
    """Put one event of an AWS service on the bus."""
    eventbridge._put_events({"Entries": [dict(entry)]}, allow_aws_source=True)


def end_functions() -> None:
    """End every process in which a function runs."""
    lambda_runtime.reset()
