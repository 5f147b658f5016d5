"""How long the judgement is searched, and one local AWS for the tests that need real edges."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from local.aws import LocalAws

# The search that every check runs finds the same things each time; `--hypothesis-profile=thorough` looks further.
settings.register_profile(
    "quick", max_examples=300, stateful_step_count=25, derandomize=True, deadline=None, database=None
)
settings.register_profile("thorough", max_examples=10_000, stateful_step_count=50, deadline=None, database=None)


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as running:
        yield running
