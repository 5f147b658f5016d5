"""Sets the mode as an operator does: the command that is shown is the command that is run."""

import shlex
import time
from collections.abc import Mapping

from local.demo.stage import Stage


def mode_command(outputs: Mapping[str, str], value: str) -> str:
    """Return the AWS CLI command that sets the mode."""
    name = outputs["ModeParameterName"]
    return f"aws ssm put-parameter --type String --overwrite --name {name} --value {value}"


def set_mode(stage: Stage, command: str) -> None:
    """Do what the command says."""
    name, value = (option(command, wanted) for wanted in ("--name", "--value"))
    stage.aws.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)


def forget_mode(stage: Stage) -> None:
    """Let the function forget the mode, which it remembers for up to a minute.

    A changed environment leads to new instances of it, which remember nothing.
    """
    functions, function = stage.aws.client("lambda"), stage.outputs["FunctionName"]
    variables = functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    changed = {"Variables": variables | {"DEMO_MODE_SET_AT": f"{time.time():.3f}"}}
    functions.update_function_configuration(FunctionName=function, Environment=changed)


def option(command: str, name: str) -> str:
    """Return what follows an option of a command."""
    words = shlex.split(command)
    return words[words.index(name) + 1]
