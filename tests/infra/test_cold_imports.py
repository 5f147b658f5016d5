"""What starting the function takes from the disk and the network: no more than a cold event needs."""

import os
import subprocess
import sys

import pytest

from infra.function_asset import CODE
from tests.unit.conftest import ENVIRONMENT

_STARTED = """
import socket, sys
def refuse(*_): raise AssertionError("the function connected while it started")
socket.socket.connect = refuse
import node_remediation.handler
print(*sys.modules)
"""
# Large, and not for a report that leads to a reboot: SDK layers, Powertools' other utilities, texts for people.
_NOT_NEEDED = (
    "boto3",
    "s3transfer",
    "multiprocessing",
    "pydantic",
    "aws_xray_sdk",
    "aws_lambda_powertools.utilities.batch",
    "aws_lambda_powertools.utilities.data_classes",
    "aws_lambda_powertools.utilities.parameters",
    "aws_lambda_powertools.utilities.parser",
    "node_remediation.advice",
    "node_remediation.mail",
    "node_remediation.notification",
)


@pytest.fixture(scope="module")
def modules() -> set[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CODE.parent), **ENVIRONMENT}
    command = [sys.executable, "-c", _STARTED]
    return set(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("name", _NOT_NEEDED)
def test_start_does_not_import_what_a_cold_event_does_not_need(modules: set[str], name: str) -> None:
    """Each would make nearly every reboot later."""
    assert "botocore.client" in modules
    assert name not in modules
