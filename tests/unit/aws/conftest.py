"""Clients as the function makes them, with made-up credentials; nothing that they send leaves the process."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config


@pytest.fixture(scope="session")
def make_client() -> Callable[..., Any]:
    """Makes clients: `make_client("sqs", attempts=3)`."""
    session: Any = boto3.Session(aws_access_key_id="unit", aws_secret_access_key="unit", region_name="us-west-2")

    def make(service: str, *, attempts: int = 1) -> Any:
        retries: Any = {"mode": "standard", "total_max_attempts": attempts}
        return session.client(service, config=Config(retries=retries))

    return make
