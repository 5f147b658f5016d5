"""Names the parameter with which an operator sets the mode.

The stack does not create it: CloudFormation would overwrite the operator's value.
"""

from aws_cdk import Stack


def mode_parameter_name(stack: Stack) -> str:
    """Return the name, made from the stack's. It has levels: one without must not begin with "aws" or "ssm"."""
    return f"/hyperpod-node-remediation/{stack.stack_name}/mode"


def mode_parameter_arn(stack: Stack) -> str:
    return stack.format_arn(
        service="ssm", resource="parameter", resource_name=mode_parameter_name(stack).removeprefix("/")
    )
