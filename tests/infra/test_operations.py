"""Tests the list of operations against the calls in the function's code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore import xform_name

from infra import function_asset as packaging
from node_remediation.aws import OPERATIONS

# Attributes of a client that are no operations (botocore.client.BaseClient).
_NO_OPERATIONS = {"can_paginate", "close", "exceptions", "generate_presigned_url", "get_waiter", "meta", "waiter_names"}
# Powertools' providers that call an operation for us.
_PROVIDERS = {"SSMProvider": ("ssm", "get_parameter")}


def _client_classes(tree: ast.AST) -> dict[str, str]:
    """Map the client types that the module imports to their services: `SQSClient` to `sqs`."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        each.asname or each.name: node.module.removeprefix("types_boto3_")
        for node in imports
        if node.module and node.module.startswith("types_boto3_")
        for each in node.names
        if each.name.endswith("Client")
    }


def _client_names(tree: ast.AST, classes: dict[str, str]) -> dict[str, str]:
    """Map the names and attributes that hold a client, or a function that makes one, to their services."""
    held: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target).rpartition(".")[2]
            for word in re.findall(r"\w+", ast.unparse(node.annotation)):
                if word in classes:
                    held[name] = classes[word]
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            service = _made(node.value) or held.get(ast.unparse(node.value).rpartition(".")[2])
            if service:
                held |= {ast.unparse(target).rpartition(".")[2]: service for target in node.targets}
    return held


def _made(node: ast.AST) -> str | None:
    """Return `sqs` for `session.client("sqs", …)`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "client" and node.args:
        first = node.args[0]
        return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
    return None


def _calls(source: str) -> Iterator[tuple[str, str]]:
    """Yield each service and method that the source calls, `get_paginator("list_x")` as `list_x`."""
    tree = ast.parse(source)
    held = _client_names(tree, _client_classes(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (_PROVIDERS[each.name] for each in node.names if each.name in _PROVIDERS)
        if isinstance(node, ast.Attribute):
            of = node.value.func if isinstance(node.value, ast.Call) else node.value
            service = _made(node.value) or held.get(ast.unparse(of).rpartition(".")[2], "")
            if service and node.attr not in _NO_OPERATIONS | {"get_paginator"}:
                yield service, node.attr
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get_paginator":
            service = held[ast.unparse(node.func.value).rpartition(".")[2]]
            yield service, ast.literal_eval(node.args[0])


def _used(code: Path) -> set[tuple[str, str]]:
    return {call for path in sorted(code.rglob("*.py")) for call in _calls(path.read_text())}


def _listed() -> set[tuple[str, str]]:
    return {(service, xform_name(name)) for service, names in OPERATIONS.items() for name in names}


def test_operations_on_the_list_are_those_that_the_code_calls() -> None:
    """A missing one would raise AttributeError in the deployed function; one too many would only be shipped."""
    used = _used(packaging.CODE)
    assert used - _listed() == set(), "called, but not in aws/__init__.py"
    assert _listed() - used == set(), "in aws/__init__.py, but not called"


def test_clients_are_made_of_services_on_the_list_only() -> None:
    """The trimmed asset has no other service's model."""
    trees = [ast.parse(path.read_text()) for path in packaging.CODE.rglob("*.py")]
    assert {service for tree in trees for node in ast.walk(tree) if (service := _made(node))} <= set(OPERATIONS)


def test_clients_are_passed_on_under_their_own_types() -> None:
    """The test above cannot find the calls of a client whose type is `Any`."""
    for path in packaging.CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg) and re.search(r"(^|_)client$", node.arg):
                assert node.annotation is not None, f"{path.name}: {node.arg} has no type"
                assert "Client" in ast.unparse(node.annotation), f"{path.name}: {node.arg} is no client by its type"


_HEAD = "from types_boto3_sqs import SQSClient\nclass Edge:\n    def __init__(self, {}):\n        self._kept = {}\n"


@pytest.mark.parametrize(
    ("argument", "kept", "call", "found"),
    [
        ('client: "SQSClient"', "client", "self._kept.delete_queue()", "delete_queue"),
        ("client: SQSClient", "client", "send = self._kept.delete_queue", "delete_queue"),
        ('client: Callable[[], "SQSClient"]', "client", "self._kept().delete_queue()", "delete_queue"),
        ("client: SQSClient", "client", "client.delete_queue()", "delete_queue"),
        ("client: SQSClient", "client", 'self._kept.get_paginator("list_queues").paginate()', "list_queues"),
        ("session: Session", 'session.client("sqs", config=X)', "self._kept.delete_queue()", "delete_queue"),
        ("session: Session", "session", 'session.client("sqs").delete_queue()', "delete_queue"),
    ],
    ids=["quoted", "without a call", "made when needed", "argument", "pages", "made by a session", "made in place"],
)
def test_call_is_found_for_each_way_to_hold_a_client(argument: str, kept: str, call: str, found: str) -> None:
    """The function's code holds its clients in these ways."""
    assert set(_calls(f"{_HEAD.format(argument, kept)}        {call}\n")) == {("sqs", found)}


def test_call_by_powertools_provider_is_found() -> None:
    """Its call is in Powertools' code, not in the function's."""
    source = "from aws_lambda_powertools.utilities.parameters import SSMProvider\n"
    assert set(_calls(source)) == {("ssm", "get_parameter")}


def test_method_of_another_object_is_no_call() -> None:
    """A method may have the name of an operation."""
    assert not list(_calls("class A:\n    def f(self, reporter: Reporter):\n        reporter.publish_batch()\n"))
