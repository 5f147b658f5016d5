"""The list of operations, against the calls in the code: one that is not on the list fails here, not at night."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore import xform_name

from infra import function_asset as packaging
from node_remediation.sdk import OPERATIONS

# What a client has besides its operations (botocore.client.BaseClient).
_NO_OPERATIONS = {"can_paginate", "close", "exceptions", "generate_presigned_url", "get_waiter", "meta", "waiter_names"}


def _client_classes(tree: ast.AST) -> dict[str, str]:
    """`SQSClient`: `sqs`, of what the module imports for its types."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        each.asname or each.name: node.module.removeprefix("types_boto3_")
        for node in imports
        if node.module and node.module.startswith("types_boto3_")
        for each in node.names
        if each.name.endswith("Client")
    }


def _client_names(tree: ast.AST, classes: dict[str, str]) -> dict[str, str]:
    """Names and attributes that hold a client, or what makes one, by their annotations."""
    held = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target).rpartition(".")[2]
            for word in re.findall(r"\w+", ast.unparse(node.annotation)):
                if word in classes:
                    held[name] = classes[word]
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in held:
            held |= {ast.unparse(target).rpartition(".")[2]: held[node.value.id] for target in node.targets}
    return held


def _calls(source: str) -> Iterator[tuple[str, str]]:
    """Each service and method of a client that the source calls, `get_paginator("list_x")` as `list_x`."""
    tree = ast.parse(source)
    held = _client_names(tree, _client_classes(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            of = node.value.func if isinstance(node.value, ast.Call) else node.value
            service = held.get(ast.unparse(of).rpartition(".")[2], "")
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
    """No fewer, or the call would raise AttributeError; no more, or the asset would carry them in vain."""
    used = _used(packaging.CODE)
    assert used - _listed() == set(), "called, but not in node_remediation/sdk.py"
    assert _listed() - used == set(), "in node_remediation/sdk.py, but not called"


def test_services_on_the_list_are_those_that_clients_are_made_of() -> None:
    """By name, where the function is wired."""
    made = {
        ast.literal_eval(node.args[0])
        for path in packaging.CODE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "create_client"
        and node.args
    }
    assert made == set(OPERATIONS)


def test_clients_are_passed_on_under_their_own_types() -> None:
    """Else the calls above would not be found: a client that is `Any` hides what is called."""
    for path in packaging.CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg) and re.search(r"(^|_)client$", node.arg):
                assert node.annotation is not None, f"{path.name}: {node.arg} has no type"
                assert "Client" in ast.unparse(node.annotation), f"{path.name}: {node.arg} is no client by its type"


_HEAD = "from types_boto3_sqs import SQSClient\nclass Edge:\n    def __init__(self, {}):\n        self._kept = client\n"


@pytest.mark.parametrize(
    ("argument", "call", "found"),
    [
        ('client: "SQSClient"', "self._kept.delete_queue()", "delete_queue"),
        ("client: SQSClient", "send = self._kept.delete_queue", "delete_queue"),
        ('client: Callable[[], "SQSClient"]', "self._kept().delete_queue()", "delete_queue"),
        ("client: SQSClient", "client.delete_queue()", "delete_queue"),
        ("client: SQSClient", 'self._kept.get_paginator("list_queues").paginate()', "list_queues"),
    ],
    ids=["quoted", "without a call", "made when needed", "argument itself", "pages"],
)
def test_call_is_found_however_the_client_is_held(argument: str, call: str, found: str) -> None:
    """As this code holds its clients."""
    assert set(_calls(f"{_HEAD.format(argument)}        {call}\n")) == {("sqs", found)}


def test_method_of_another_collaborator_is_no_call() -> None:
    """Whatever its name."""
    assert not list(_calls("class A:\n    def f(self, reporter: Reporter):\n        reporter.publish_batch()\n"))
