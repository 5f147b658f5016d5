"""Gap: the emulator authorises batch calls by their own names, which are no IAM actions on AWS, and ListTagsForResource
of an alarm and StartMessageMoveTask for every resource, where AWS does for the ARN of the alarm or the source queue. It
knows no condition keys of PutEvents.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html
Touches: `iam_actions.extract_iam_action`, `iam_actions.extract_resource_arn`, `iam_actions.request_tag_context`.
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
# The field that names the resource, by the emulator's name of the service and the operation.
_NAMED_IN = {("monitoring", "ListTagsForResource"): "ResourceARN", ("sqs", "StartMessageMoveTask"): "SourceArn"}

# The condition keys of PutEvents, by the field of an entry that has their value.
_KEYS_OF_ENTRIES = {"events:source": "Source", "events:detail-type": "DetailType"}


def apply() -> None:
    """Authorise each batch call as the single action it stands for, and others for what they name."""
    action_of, arn_of = iam_actions.extract_iam_action, iam_actions.extract_resource_arn
    context_of = iam_actions.request_tag_context

    def extract_single(*request: Any) -> str | None:
        action: str | None = action_of(*request)
        return _AUTHORISED_AS.get(action, action) if action else action

    def extract_named(  # the emulator's signature
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any
    ) -> str:
        field = _NAMED_IN.get((service, headers.get("x-amz-target", "").rpartition(".")[2]))
        if field:
            return str(json.loads(body or b"{}").get(field) or "*")
        arn: str = arn_of(service, method, path, headers, body, *rest)
        return arn

    def context_with_entries(service: str, action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        context: dict[str, Any] = context_of(service, action, body, params)
        if action == "events:PutEvents":
            entries = json.loads(body or b"{}").get("Entries") or []
            for key, field in _KEYS_OF_ENTRIES.items():
                # Entries that differ match no value: the call is denied as a whole.
                context[key] = ", ".join(sorted({str(entry.get(field)) for entry in entries}))
        return context

    iam_actions.request_tag_context = context_with_entries
    iam_actions.extract_iam_action = extract_single
    iam_actions.extract_resource_arn = extract_named
