"""What the unit tests share: made-up AWS surroundings, and the function's own handler built in them."""

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import settings

from node_remediation.settings import Settings

settings.register_profile("unit", deadline=None, database=None)
settings.load_profile("unit")

ENVIRONMENT = {
    **Settings().to_env(),
    "INTAKE_QUEUE_URL": "https://sqs.us-west-2.amazonaws.com/111122223333/intake",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.us-west-2.amazonaws.com/111122223333/dead",
    "EVENT_BUS": "default",
    "FAILURE_TOPIC_ARN": "arn:aws:sns:us-west-2:111122223333:failures",
    "LEDGER_TABLE": "ledger",
    "MODE_PARAMETER": "/hyperpod-node-remediation/mode",
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_ACCESS_KEY_ID": "unit",
    "AWS_SECRET_ACCESS_KEY": "unit",
}


@pytest.fixture(scope="session")
def environment() -> Iterator[dict[str, str]]:
    """The environment of the deployed function."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        yield ENVIRONMENT


@pytest.fixture(scope="session")
def handler(environment: dict[str, str]) -> ModuleType:
    """The handler module, imported as the runtime does it."""
    return importlib.import_module("node_remediation.handler")
