"""docs/approval.md: its settings are taken, and its commands run as they are written."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

from local.aws import PROJECT
from local.schedulers import StandIn, kubectl, scontrol
from node_remediation.settings import Settings
from tests.hooks.conftest import Desk

TEXT = (PROJECT / "docs/approval.md").read_text(encoding="utf-8")
SETTINGS = re.findall(r'```json\n("overrides".*?)```', TEXT, re.DOTALL)
COMMANDS = re.findall(r"^python examples/hooks/(\w+)\.py (.*)$", TEXT, re.MULTILINE)


def test_each_example_has_its_settings_and_its_command() -> None:
    """None is left out of what the other tests look at."""
    scripts = sorted(path.stem for path in (PROJECT / "examples/hooks").glob("*.py") if path.stem != "proposals")
    assert sorted(script for script, _ in COMMANDS) == scripts
    assert len(SETTINGS) == len(scripts)


@pytest.mark.parametrize("written", SETTINGS)
def test_settings_of_an_example_are_taken_and_ask(written: str) -> None:
    """As they would be in cdk.json."""
    settings = Settings.from_context(json.loads(f"{{{written}}}"))
    assert [override.action for override in settings.overrides] == ["ask"]


@pytest.mark.usefixtures("calendar")
@pytest.mark.parametrize(("script", "written"), COMMANDS, ids=[script for script, _ in COMMANDS])
def test_command_of_an_example_runs(
    script: str, written: str, desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With an empty queue."""
    for tool, node in {"scontrol": scontrol.IDLE, "kubectl": kubectl.READY}.items():
        monkeypatch.setenv("PATH", StandIn(tmp_path, tool, {"node-1": node}).environment["PATH"])
    written = written.replace("$HOOK_QUEUE_URL", desk.queue_url).replace("$INTAKE_QUEUE_URL", desk.intake_url)
    assert importlib.import_module(script).main([*shlex.split(written), "--every=1", "--once"]) == 0
