"""One local AWS for the tests that need real edges."""

from collections.abc import Iterator

import pytest

from local.aws import LocalAws


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as running:
        yield running
