"""Tests which modules the stack and the function load."""

import ast
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.function_asset import CODE, ROOT, UNUSED
from tests.infra.environment import ENVIRONMENT

SHARED = {"node_remediation.settings", "node_remediation.aws"}
# The test records every request for an address or a connection, also where the function catches the error.
_START = """
import json, socket, sys
asked = []
def refuse(*wanted, **_):
    asked.append(str(wanted[-1] if isinstance(wanted[0], socket.socket) else wanted[0]))
    raise OSError("there is no network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
import node_remediation.handler
print(json.dumps({"modules": [*sys.modules], "asked": asked}))
"""
# What pip does not install for the function, although Powertools can use it.
_NOT_INSTALLED = ("pydantic", "aws_xray_sdk")


@dataclass(frozen=True)
class Start:
    """Holds the modules that a start loads and the addresses that it asks for."""

    modules: tuple[str, ...]
    asked: tuple[str, ...]


@pytest.fixture(scope="module")
def start() -> Start:
    found = json.loads(_run(_START))
    return Start(tuple(found["modules"]), tuple(found["asked"]))


def _run(code: str) -> str:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CODE.parent), **ENVIRONMENT}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_function_starts_without_packages_that_the_asset_does_not_have(start: Start) -> None:
    """They are installed for development, so that here the imports would succeed."""
    removed = {each.replace("/", ".") for each in UNUSED} | set(_NOT_INSTALLED)
    assert "boto3.session" in start.modules
    assert removed & set(start.modules) == set()


def test_function_starts_without_the_network(start: Start) -> None:
    """Every request at the start would delay the first event."""
    assert start.asked == ()


def test_settings_and_operations_load_nothing_of_the_function_or_the_sdk() -> None:
    """A synthesis needs neither."""
    code = f"import json, sys, {', '.join(sorted(SHARED))}; print(json.dumps([*sys.modules]))"
    loaded = {each for each in json.loads(_run(code)) if each.partition(".")[0] in ("node_remediation", "boto3")}
    assert loaded == SHARED | {"node_remediation", "node_remediation.aws"}


def _imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    modules = {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    return modules | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def test_stack_imports_only_settings_and_operations_of_the_function() -> None:
    """The function can then change without the stack."""
    imported = {name for path in [*ROOT.glob("infra/*.py"), ROOT / "app.py"] for name in _imported(path)}
    assert {name for name in imported if name.startswith("node_remediation")} == SHARED


def test_function_imports_nothing_of_the_stack() -> None:
    """The asset does not have it."""
    imported = {name for path in CODE.rglob("*.py") for name in _imported(path)}
    assert {name for name in imported if name.partition(".")[0] in ("infra", "local", "aws_cdk")} == set()
