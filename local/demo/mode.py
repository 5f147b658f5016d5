"""The mode as an operator sets it: the command that is shown is the command that is run."""

import shlex
import time
from collections.abc import Mapping

from local.demo.stage import Stage


def mode_command(outputs: Mapping[str, str], value: str) -> str:
    """The AWS CLI command that sets the mode."""
    name = outputs["ModeParameterName"]
    return f"aws ssm put-parameter --type String --overwrite --name {name} --value {value}"


def set_mode(stage: Stage, command: str) -> None:
    """Do what the command says, and let it be seen at once.

    A running function remembers the mode for up to a minute. New instances, which a changed environment leads to,
    remember nothing.
    """
    name, value = (option(command, wanted) for wanted in ("--name", "--value"))
    stage.aws.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
    functions, function = stage.aws.client("lambda"), stage.outputs["FunctionName"]
    variables = functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    changed = {"Variables": variables | {"DEMO_MODE_SET_AT": f"{time.time():.3f}"}}
    functions.update_function_configuration(FunctionName=function, Environment=changed)


def option(command: str, name: str) -> str:
    """What follows an option of a command."""
    words = shlex.split(command)
    return words[words.index(name) + 1]
