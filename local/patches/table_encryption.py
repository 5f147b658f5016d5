"""Gap: a table that a template makes is described as not encrypted, whatever its SSESpecification.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_SSEDescription.html
Touches: `provisioners._RESOURCE_HANDLERS`, `dynamodb._tables`, `dynamodb._sse_description_from_spec`.
"""

from typing import Any

from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners


def apply() -> None:
    """Describe the encryption as for a table that CreateTable makes."""
    handlers = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
    create = handlers["create"]

    def encrypted(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        name, attributes = create(logical_id, props, stack_name)
        if given := props.get("SSESpecification"):
            spec = {"Enabled": given.get("SSEEnabled"), **given}  # the template's own word for it
            dynamodb._tables[name]["SSEDescription"] = dynamodb._sse_description_from_spec(spec)
        return name, attributes

    handlers["create"] = encrypted
