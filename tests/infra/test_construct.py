"""Tests the construct in somebody else's application."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from aws_cdk import App, Environment, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns

import app
from infra.errors import PackagingError
from infra.function_asset import function_asset
from infra.remediation import NodeRemediation
from node_remediation.settings import Settings, SettingsError
from tests.infra.template import TOPIC, Template

ROOT = Path(app.__file__).parent


def test_example_synthesizes_with_the_project_installed_from_its_checkout(tmp_path: Path) -> None:
    """Two regions of two accounts, and nothing of the project on the search path."""
    function_asset()
    venv = tmp_path / "venv"
    python = str(venv / "bin/python")
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", str(ROOT)], check=True)
    # What the project depends on comes from this environment: to install it again would take minutes.
    env = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib"), "CDK_OUTDIR": str(tmp_path / "out")}
    example = ROOT / "examples/two_regions/app.py"
    subprocess.run([python, str(example)], cwd=tmp_path, env=env, check=True, capture_output=True)
    for name, mode in (("research", None), ("production", "observe")):
        template = json.loads((tmp_path / f"out/ml-{name}.template.json").read_text())
        (function,) = [each for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Function"]
        settings = json.loads(function["Properties"]["Environment"]["Variables"]["REMEDIATION_SETTINGS"])
        assert settings.get("mode") == mode


def test_construct_takes_topics_and_a_key_of_others(tmp_path: Path) -> None:
    """It makes none of its own then, and the function may use the key of the topic, too."""
    (tmp_path / "asset").mkdir()
    (tmp_path / "asset" / "empty.py").touch()
    team = App(outdir=str(tmp_path / "out"))
    stack = Stack(team, "team")
    key, other = kms.Key(stack, "Key"), kms.Key(stack, "Other")
    topic, operations = sns.Topic(stack, "Topic", master_key=other), sns.Topic(stack, "Operations")
    settings = Settings()
    NodeRemediation(
        stack, "R", settings=settings, asset=tmp_path / "asset", topic=topic, operations_topic=operations, key=key
    )
    resources = team.synth().get_stack_by_name("team").template["Resources"]
    kinds = [each["Type"] for each in resources.values()]
    assert (kinds.count("AWS::KMS::Key"), kinds.count("AWS::SNS::Topic")) == (2, 2)
    alarms = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert {each["AlarmActions"][0]["Ref"][:10] for each in alarms} == {"Operations"}
    (used,) = [each for kind, each in Template({"Resources": resources}).statements() if each.get("Sid") == "UseKey"]
    assert used["Resource"] == ["<Key.Arn>", "<Other.Arn>"]


def test_installation_that_is_not_editable_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has the modules alone, without what the asset is built from."""
    monkeypatch.setattr("infra.function_asset.REQUIREMENTS", tmp_path / "requirements.txt")
    with pytest.raises(PackagingError, match=r"^function asset: no lambda/ beside infra/: pip install -e CHECKOUT"):
        function_asset()


def test_construct_refuses_alarm_topics_of_another_region_than_its_stacks(tmp_path: Path) -> None:
    """Whoever uses it has no app.py of ours."""
    stack = Stack(App(outdir=str(tmp_path)), "team", env=Environment(account="111122223333", region="eu-west-1"))
    with pytest.raises(SettingsError, match=r"^remediation\.alarm_topic_arns: takes topics of the stack's own region"):
        NodeRemediation(stack, "R", settings=Settings(alarm_topic_arns=(TOPIC,)), asset=tmp_path)
