"""The parameter by which an operator sets the mode.

The stack names it and does not create it: CloudFormation would write its own value over an operator's.
"""

from aws_cdk import Stack


def mode_parameter_name(stack: Stack) -> str:
    """Fixed by the stack's name. Not at the top of the hierarchy: a name there must not begin with "aws" or "ssm"."""
    return f"/hyperpod-node-remediation/{stack.stack_name}/mode"


def mode_parameter_arn(stack: Stack) -> str:
    return stack.format_arn(
        service="ssm", resource="parameter", resource_name=mode_parameter_name(stack).removeprefix("/")
    )
