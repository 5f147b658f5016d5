"""Synthesizes once per configuration and session, because the CDK needs seconds to start."""

import pytest

from tests.infra.template import FULL, RULES, Template, synthesize


@pytest.fixture(scope="session")
def default(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return synthesize({}, tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return synthesize(FULL, tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return synthesize(RULES, tmp_path_factory.mktemp("ruled"))


@pytest.fixture(scope="session")
def no_alarms(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return synthesize({"alarm_name_prefixes": []}, tmp_path_factory.mktemp("no-alarms"))
