"""How long the judgement is searched, and one local AWS for the tests that need real edges."""

from collections.abc import Iterator

import pytest
from hypothesis import Phase, settings

from local.aws import LocalAws

# The search that every check runs finds the same things each time; `--hypothesis-profile=thorough` looks further.
_ALWAYS = settings(deadline=None, database=None, phases=set(Phase) - {Phase.explain})
settings.register_profile("quick", _ALWAYS, max_examples=1_000, stateful_step_count=40, derandomize=True)
settings.register_profile("thorough", _ALWAYS, max_examples=10_000, stateful_step_count=60)


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as running:
        yield running
