"""Gap: the emulator authorises a look at an alarm's tags for every resource; AWS does for the alarm's ARN.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html
Touches: `iam_actions.extract_resource_arn`.
"""

import json
from typing import Any

from ministack.core import iam_actions

_TARGET = ".ListTagsForResource"


def apply() -> None:
    """Authorise ListTagsForResource for the ARN that it names."""
    extract = iam_actions.extract_resource_arn

    def extract_alarm(  # the emulator's signature
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any
    ) -> str:
        if service == "monitoring" and headers.get("x-amz-target", "").endswith(_TARGET):
            return str(json.loads(body or b"{}").get("ResourceARN") or "*")
        arn: str = extract(service, method, path, headers, body, *rest)
        return arn

    iam_actions.extract_resource_arn = extract_alarm
