"""Tests the list of operations against the calls in the function's code."""

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from botocore import xform_name

from infra import function_asset as packaging
from node_remediation.aws import OPERATIONS

EDGES = sorted((packaging.CODE / "aws").glob("*.py"))
# The ways in which an edge has its client, and those in which clients are made.
_HELD = re.compile(r'client: "\w+Client"|self\._client(\.\w| = client$)|boto3_client=client|_Parameters\(client, ')
_MADE = re.compile(r'^def client\(|^\w+: \w+Client = clients\.client\("')
# Where boto3's name of a service is not that of its client's type.
_SERVICES = {"EventBridge": "events"}
# Powertools' provider calls an operation for us.
_PROVIDED = {"SSMProvider": ("ssm", "get_parameter")}


def _calls(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each service and method that the file calls. One service's client is in a file, as `self._client`."""
    source = path.read_text()
    services = set(re.findall(r'\bclient: "(\w+)Client"', source))
    for service in services:
        yield from ((_SERVICES.get(service, service.lower()), name) for name in re.findall(r"\b_client\.(\w+)", source))
    yield from (call for provider, call in _PROVIDED.items() if provider in source)
    assert len(services) <= 1, f"{path.name} holds clients of more than one service"


def test_operations_on_the_list_are_those_that_the_code_calls() -> None:
    """A missing one would raise AttributeError in the deployed function; one too many would only be shipped."""
    used = {call for path in EDGES for call in _calls(path)}
    listed = {(service, xform_name(name)) for service, names in OPERATIONS.items() for name in names}
    assert used - listed == set(), "called, but not in aws/__init__.py"
    assert listed - used == set(), "in aws/__init__.py, but not called"


def test_clients_are_held_in_no_way_in_which_a_call_would_not_be_found() -> None:
    """The test above finds `self._client.method` in aws/, so a client has no other name and is in no other file."""
    for path in packaging.CODE.rglob("*.py"):
        with path.open("rb") as source:
            names = [each for each in tokenize.tokenize(source.readline) if each.type == tokenize.NAME]
        held = [each.line.strip() for each in names if each.string in ("client", "_client")]
        known = _HELD if path in EDGES else _MADE
        assert [line for line in held if re.search(r"\b_?client\b", known.sub("", line))] == [], path.name


def test_clients_are_made_of_services_on_the_list_only() -> None:
    """The trimmed asset has no other service's model, and an edge is given a client of its own service's type."""
    made = re.findall(r'(\w+)Client = clients\.client\("(\w+)"', (packaging.CODE / "wiring.py").read_text())
    assert {service for _, service in made} == set(OPERATIONS)
    assert all(service == _SERVICES.get(kind, kind.lower()) for kind, service in made)
    assert not [path for path in packaging.CODE.rglob("*.py") if ".resource(" in path.read_text()]
