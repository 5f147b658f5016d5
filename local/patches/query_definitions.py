"""Gap: a template with a saved query of Logs Insights is refused, as the emulator does not know that type of resource.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-logs-querydefinition.html
Touches: `provisioners._RESOURCE_HANDLERS`, `provisioners._cfn_noop_delete`.
"""

import uuid
from typing import Any

from ministack.services.cloudformation import provisioners


def apply() -> None:
    """Take saved queries and keep nothing of them: there is no Logs Insights here that could run them."""
    provisioners._RESOURCE_HANDLERS["AWS::Logs::QueryDefinition"] = {
        "create": _create,
        "update": _update,
        "delete": provisioners._cfn_noop_delete,
    }


def _create(_logical_id: str, _props: dict[str, Any], _stack_name: str) -> tuple[str, dict[str, Any]]:
    return str(uuid.uuid4()), {}


def _update(
    physical_id: str, _old: dict[str, Any], _new: dict[str, Any], _stack_name: str
) -> tuple[str, dict[str, Any]]:
    return physical_id, {}
