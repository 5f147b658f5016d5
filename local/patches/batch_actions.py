"""Gap: the emulator authorises batch calls by their own names; AWS has no such IAM actions.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
Touches: `iam_actions.extract_iam_action`.
"""

import json
from typing import Any

from ministack.core import iam_actions

_AUTHORISED_AS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sns:PublishBatch": "sns:Publish",
}
_PARTIQL = ("dynamodb:ExecuteStatement", "dynamodb:BatchExecuteStatement")


def apply() -> None:
    """Authorise each batch call as the single action it stands for."""
    extract = iam_actions.extract_iam_action

    def extract_single(  # noqa: PLR0917  # the emulator's signature
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> str | None:
        action: str | None = extract(service, method, path, headers, body, query)
        if action in _PARTIQL:
            return _partiql_action(body)
        return _AUTHORISED_AS.get(action, action) if action else action

    iam_actions.extract_iam_action = extract_single


def _partiql_action(body: bytes) -> str:
    """Return `dynamodb:PartiQLSelect` and the like: the verb of the (first) statement decides."""
    request = json.loads(body or b"{}")
    first = (request.get("Statements") or [request])[0]
    verb = (first.get("Statement") or "").strip().split(" ")[0]
    return f"dynamodb:PartiQL{verb.capitalize()}"
