"""Finds a deployed stack, with the caller's credentials."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from node_remediation.settings import Settings

OUTPUTS = (
    "IntakeQueueUrl",
    "DeadLetterQueueUrl",
    "FailureTopicArn",
    "FunctionName",
    "KeyArn",
    "LedgerTableName",
    "ModeParameterName",
)
_LONGEST_LINE = 400

MakeClient = Callable[[str], Any]


class SmokeError(Exception):
    """Says in one line why a check failed."""


# A misspelt endpoint is a ValueError, as are wrong settings and an answer that cannot be read.
ERRORS = (SmokeError, BotoCoreError, ClientError, KeyError, ValueError)


def in_one_line(error: Exception) -> str:
    """Return an error as one line, of AWS's own errors the operation and the code too."""
    if isinstance(error, ClientError):
        found = error.response.get("Error", {})
        text = f"{error.operation_name}: {found.get('Code')}: {found.get('Message', '')}"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())[:_LONGEST_LINE]


def code_of(error: Exception) -> str | None:
    """Return AWS's code of an error."""
    return error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployed stack: its outputs, and the settings, the role and the log group of its function."""

    name: str
    region: str
    outputs: Mapping[str, str]
    settings: Settings
    role: str
    log_group: str
    client: MakeClient

    @property
    def mode(self) -> str:
        """Ask for the mode: the operator's parameter, else the setting."""
        text, _ = self.read_mode()
        return self.settings.mode if text is None else text

    def read_mode(self) -> tuple[str | None, int]:
        """Return the mode parameter's text and version; no text and 0 if it does not exist."""
        try:
            found = self.client("ssm").get_parameter(Name=self.outputs["ModeParameterName"])["Parameter"]
        except ClientError as error:
            if code_of(error) == "ParameterNotFound":
                return None, 0
            raise
        return found["Value"], found["Version"]

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource in the stack's account and region."""
        _, partition, _, region, account, _ = self.outputs["FailureTopicArn"].split(":")
        return f"arn:{partition}:{service}:{region}:{account}:{resource}"


def connect(name: str, *, profile: str | None, region: str | None, endpoint_url: str | None = None) -> Stack:
    """Find a stack with the credentials and in the region that the AWS CLI would use. Raises what `find` raises."""
    # boto3 itself does not read AWS_REGION.
    session: Any = boto3.Session(profile_name=profile, region_name=region or os.environ.get("AWS_REGION"))
    if session.region_name is None:
        raise SmokeError("no region: use --region or export AWS_REGION=NAME")
    config = Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10, read_timeout=30)

    @cache
    def make(service: str) -> Any:
        return session.client(service, endpoint_url=endpoint_url, config=config)

    return find(name, session.region_name, make)


def find(name: str, region: str, client: MakeClient) -> Stack:
    """Find a stack by its name. Raises SmokeError, SettingsError and what a client raises."""
    try:
        [found] = client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if code_of(error) == "ValidationError":
            raise SmokeError(f"there is no stack {name} in {region}: deploy it, or name it with --stack") from error
        raise
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}
    if missing := [each for each in OUTPUTS if each not in outputs]:
        raise SmokeError(f"stack {name} ({found['StackStatus']}) has no output {', '.join(missing)}")
    function = client("lambda").get_function_configuration(FunctionName=outputs["FunctionName"])
    settings = Settings.from_env(function.get("Environment", {}).get("Variables", {}))
    log_group = function["LoggingConfig"]["LogGroup"]
    return Stack(name, region, outputs, settings, function["Role"], log_group, client)
