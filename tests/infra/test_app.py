"""The application as the CDK CLI runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import app
from infra.function_asset import function_asset
from node_remediation.settings import Settings

ROOT = Path(app.__file__).parent


def _run(directory: Path, context: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """With the context as the CLI hands it over: cdk.json's, the command line's options beside it."""
    merged = {**json.loads((ROOT / "cdk.json").read_text())["context"], **context}
    env = {**os.environ, "CDK_OUTDIR": str(directory), "CDK_CONTEXT_JSON": json.dumps(merged)}
    env.pop("PYTHONPATH", None)
    return subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_synth_says_nothing_and_takes_overrides_from_the_command_line(tmp_path: Path) -> None:
    """No account, region or credentials are asked for."""
    function_asset()
    ran = _run(tmp_path, {"remediation.batch_size": "50", "remediation.clusters": "a,b*"})
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    template = json.loads((tmp_path / "HyperPodNodeRemediation.template.json").read_text())
    (function,) = [each for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Function"]
    settings = Settings.from_env(function["Properties"]["Environment"]["Variables"])
    assert settings == Settings(batch_size=50, clusters=("a", "b*"))


@pytest.mark.parametrize(
    ("context", "line"),
    [
        (
            {"remediation.batch_size": "many"},
            'remediation.batch_size: takes a whole number from 1 to 10000, not "many"',
        ),
        (
            {"remediation.alarm_name_prefixes": "gpu-,HyperPod"},
            "remediation.alarm_name_prefixes: takes no prefix of this stack's own alarm"
            ' "HyperPodNodeRemediation-dead-letters": "HyperPod"',
        ),
    ],
    ids=["value", "own alarm"],
)
def test_bad_setting_ends_synth_with_one_line(tmp_path: Path, context: dict[str, object], line: str) -> None:
    """No traceback: whoever mistyped it reads it."""
    ran = _run(tmp_path, context)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", line + "\n")


@pytest.mark.parametrize("context", [{"remediation": "all"}, {"remediation": ["x"]}])
def test_settings_that_are_no_object_are_left_for_the_parser_to_refuse(context: dict[str, object]) -> None:
    """Merging must not trip over them first."""
    assert app.merged_context({**context, "remediation.batch_size": "1"}) == context["remediation"]


def test_override_of_a_key_that_only_resembles_ours_is_not_ours() -> None:
    """Other tools keep context in the same file."""
    assert app.merged_context({"remediation": {"batch_size": 1}, "remediations.batch_size": "2"}) == {"batch_size": 1}


def test_cdk_json_spells_out_every_setting_with_its_default() -> None:
    """It is where an operator looks for what can be set."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]["remediation"]
    assert list(context) == list(Settings().to_context())
    assert Settings.from_context(context) == Settings()
