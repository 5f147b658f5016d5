"""What starting the function takes from the disk and the network: no more than a cold event needs."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from infra.function_asset import CODE
from tests.unit.conftest import ENVIRONMENT

# Whoever asks for an address or a connection is noted, even where the error is caught.
_STARTED = """
import json, socket, sys
asked = []
def refuse(*wanted, **_):
    asked.append(str(wanted[-1] if isinstance(wanted[0], socket.socket) else wanted[0]))
    raise OSError("there is no network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import node_remediation.handler
print(json.dumps({"modules": [*sys.modules], "asked": asked}))
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


@dataclass(frozen=True)
class Start:
    """What a start came to: the modules that are loaded then, and whom it asked over the network."""

    modules: tuple[str, ...]
    asked: tuple[str, ...]


@pytest.fixture(scope="module")
def start() -> Start:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CODE.parent), **ENVIRONMENT}
    ran = subprocess.run([sys.executable, "-c", _STARTED], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    return Start(tuple(found["modules"]), tuple(found["asked"]))


@pytest.mark.parametrize("name", _NOT_NEEDED)
def test_start_does_not_import_what_a_cold_event_does_not_need(start: Start, name: str) -> None:
    """Each would make nearly every reboot later."""
    assert "botocore.client" in start.modules
    assert name not in start.modules


def test_start_asks_nobody_over_the_network(start: Start) -> None:
    """Whatever it asks would be waited for before the first event is looked at."""
    assert start.asked == ()
