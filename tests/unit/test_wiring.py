"""Wiring: the clients that the function is built with, and what it refuses to start without."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError

from node_remediation.settings import SettingsError
from node_remediation.wiring import build
from tests.unit.wire import Reply, wired


class Keeping:
    """A session that keeps the clients that it makes."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    def client(self, service_name: str, *, config: Any) -> Any:
        session: Any = boto3.Session()
        self.made[service_name] = session.client(service_name, config=config)
        return self.made[service_name]


@pytest.fixture
def clients(environment: dict[str, str]) -> dict[str, Any]:
    session = Keeping()
    build(environment, session=session)
    return session.made


def lost(_: object) -> Reply:
    return ReadTimeoutError(endpoint_url="https://aws")


def test_reboot_call_is_sent_once_whatever_happens_to_its_answer(clients: dict[str, Any]) -> None:
    """The SDK's own retries would reboot a node twice."""
    with wired(clients["sagemaker"], lost) as sent, pytest.raises(ReadTimeoutError):
        clients["sagemaker"].batch_reboot_cluster_nodes(ClusterName="ml-a", NodeIds=["i-0123456789abcdef0"])
    assert len(sent) == 1


def test_write_to_the_ledger_is_sent_again_under_its_token(clients: dict[str, Any]) -> None:
    """A transaction with a token is carried out once, however often it is sent."""
    write = {"Put": {"TableName": "ledger", "Item": {"pk": {"S": "a"}}}}
    with wired(clients["dynamodb"], lost) as sent, pytest.raises(ReadTimeoutError):
        clients["dynamodb"].transact_write_items(TransactItems=[write], ClientRequestToken="t-1")
    assert [body["ClientRequestToken"] for body in sent] == ["t-1"] * 3


def test_missing_variable_stops_the_start_and_is_named(environment: dict[str, str]) -> None:
    """An incomplete deployment is found at once."""
    with pytest.raises(KeyError, match="LEDGER_TABLE"):
        build({name: value for name, value in environment.items() if name != "LEDGER_TABLE"})


def test_wrong_setting_stops_the_start_and_is_named(environment: dict[str, str]) -> None:
    """No default stands in for a setting that cannot be read."""
    with pytest.raises(SettingsError, match=r"remediation\.cooldown"):
        build(environment | {"REMEDIATION_SETTINGS": '{"cooldown": "soon"}'})


def test_mails_lead_to_the_runbook_that_the_team_hosts_or_to_the_projects(environment: dict[str, str]) -> None:
    """The setting reaches what writes them."""
    hosted = build(environment | {"REMEDIATION_SETTINGS": '{"runbook_url": "https://wiki.example.com/runbook"}'})
    assert hosted._places.runbook == "https://wiki.example.com/runbook"
    assert build(environment)._places.runbook == "docs/runbook.md"
