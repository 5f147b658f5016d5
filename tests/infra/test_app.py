"""Tests the application as the CDK CLI runs it."""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import app
from infra.alarm_topics import refuse_topics_elsewhere
from infra.context import merged_context
from infra.errors import ContextError
from infra.function_asset import NO_INTERPRETER, function_asset
from infra.interpreter import find_interpreter
from local import deploy
from local.deploy import DeployFailed
from node_remediation.settings import Settings, SettingsError
from tests.infra.template import TOPIC

ROOT = Path(app.__file__).parent
QUIET = "" if find_interpreter(os.environ) else f"{NO_INTERPRETER}\n"
DURATION = 'a duration from "1s" to "24h" such as "90s", "30m", "7d"'


def _run(directory: Path, context: dict[str, object]) -> subprocess.CompletedProcess[str]:
    """Run it with the context as the CLI gives it: cdk.json's, and beside it the command line's options."""
    merged = {**json.loads((ROOT / "cdk.json").read_text())["context"], **context}
    env = {**os.environ, "CDK_OUTDIR": str(directory), "CDK_CONTEXT_JSON": json.dumps(merged)}
    env.pop("PYTHONPATH", None)
    return subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_synth_prints_nothing_and_takes_overrides_from_the_command_line(tmp_path: Path) -> None:
    """It needs no account, region or credentials."""
    function_asset()
    ran = _run(tmp_path, {"remediation.cooldown": "20m", "remediation.clusters": "a,b*"})
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", QUIET)
    template = json.loads((tmp_path / "HyperPodNodeRemediation.template.json").read_text())
    (function,) = [each for each in template["Resources"].values() if each["Type"] == "AWS::Lambda::Function"]
    settings = Settings.from_env(function["Properties"]["Environment"]["Variables"])
    assert settings == Settings(cooldown=timedelta(minutes=20), clusters=("a", "b*"))


def test_synth_with_full_sdk_ships_the_full_asset(tmp_path: Path) -> None:
    """The CDK copies the asset to its output: the file of a service that the function does not call tells."""
    for value, shipped in (("false", False), ("true", True)):
        out = tmp_path / value
        ran = _run(out, {"remediation.full_sdk": value})
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", QUIET)
        assert bool(list(out.glob("asset.*/botocore/data/ec2"))) is shipped


def _without_credentials() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    return {**env, **files, "AWS_EC2_METADATA_DISABLED": "true", "NO_COLOR": "1", "CDK_DISABLE_CLI_TELEMETRY": "true"}


def test_cli_without_credentials_synthesizes_and_warns_of_nothing(tmp_path: Path) -> None:
    """The CLI would count the feature flags that are not set."""
    env = _without_credentials() | {"PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}
    command = ["cdk", "synth", "--quiet", "--no-notices", "--output", str(tmp_path)]
    told = [*command, "-c", "remediation.notification_emails=oncall@example.com"]
    ran = subprocess.run(told, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", QUIET)
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert "WARNING nobody is told of failures: set notification_emails" in ran.stderr


@pytest.mark.parametrize(
    ("topics", "home", "region"),
    [
        ([TOPIC, TOPIC.replace("us-east-1", "eu-west-1")], (None, None), "us-east-1"),
        ([TOPIC], ("111122223333", "us-west-2"), "us-west-2"),
        ([TOPIC], ("999999999999", "us-east-1"), "us-east-1"),
    ],
)
def test_alarm_topic_of_another_region_or_account_is_refused_at_synth(
    topics: list[str], home: tuple[str | None, str | None], region: str
) -> None:
    """A deploy would fail, after minutes; where the stack goes is known with credentials alone."""
    with pytest.raises(SettingsError) as raised:
        refuse_topics_elsewhere(topics, account=home[0], region=home[1])
    account = home[0] or "111122223333"
    assert str(raised.value) == (
        f"remediation.alarm_topic_arns: takes topics of the stack's own region and account ({region}, {account}), not "
        f'"{topics[-1]}": deploy this stack there too; the nodes that its alarms watch are there'
    )
    refuse_topics_elsewhere([TOPIC], account=None, region="us-east-1")
    refuse_topics_elsewhere([], account=None, region=None)


@pytest.mark.parametrize(
    ("options", "env", "code", "line"),
    [
        ([], {}, 1, "AWS credentials: none found; use aws configure, aws sso login or export AWS_PROFILE=NAME .*"),
        (["--all", "--profile", "no"], {}, 1, r"AWS credentials: The config profile \(no\) could not be found"),
        (["--all"], {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}, 0, ""),
    ],
    ids=["none", "no such profile", "some"],
)
def test_deployment_without_credentials_ends_before_the_synthesis_in_one_line(
    options: list[str], env: dict[str, str], code: int, line: str
) -> None:
    """`make deploy` passes on the CDK CLI's options."""
    command = [sys.executable, "-m", "infra.credentials", *options]
    env = {**_without_credentials(), **env}
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert re.fullmatch(line, ran.stderr.rstrip())


def test_deployment_to_the_local_aws_without_the_cli_names_the_command_that_installs_it(tmp_path: Path) -> None:
    """A virtual environment that `make setup` did not make has the Python packages alone."""
    with pytest.raises(DeployFailed, match=r"^the CDK CLI is not installed: make setup$"):
        deploy._run({"PATH": str(tmp_path)}, tmp_path, ["deploy"], None)


def test_app_outside_the_virtual_environment_says_in_one_line_what_to_do() -> None:
    """An isolated interpreter finds the modules no more than the system's own does."""
    ran = subprocess.run([sys.executable, "-I", "-S", "app.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (
        1,
        f"app.py: {sys.executable} has no module aws_cdk: activate the virtual environment (. .venv/bin/activate) "
        "or use make (make synth, make deploy)\n",
    )


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
            ' "HyperPodNodeRemediation-undelivered": "HyperPod"',
        ),
        (
            {"remediation.cooldwn": "5m"},
            f"remediation.cooldwn: no such setting; did you mean remediation.cooldown, which takes {DURATION}?",
        ),
        (
            {"remediaton.cooldown": "5m"},
            f"remediaton.cooldown: no such setting; did you mean remediation.cooldown, which takes {DURATION}?",
        ),
    ],
    ids=["value", "own alarm", "key", "prefix"],
)
def test_wrong_setting_ends_synth_with_one_line(tmp_path: Path, context: dict[str, object], line: str) -> None:
    """There is no traceback: the reader is the person who made the mistake."""
    ran = _run(tmp_path, context)
    assert (ran.returncode, ran.stdout, ran.stderr.removeprefix(QUIET)) == (1, "", line + "\n")


@pytest.mark.parametrize("context", [{"remediation": "all"}, {"remediation": ["x"]}])
def test_settings_that_are_no_object_are_left_to_the_parser(context: dict[str, object]) -> None:
    """The parser refuses them with its own line."""
    assert merged_context({**context, "remediation.batch_size": "1"}) == context["remediation"]


MEANT = f"did you mean remediation.cooldown, which takes {DURATION}?"


@pytest.mark.parametrize(
    ("keys", "meant"),
    [
        ("remediaton.cooldown remediations.cooldown Remediation.cooldown REMEDIATION.COOLDOWN", MEANT),
        ("remediation:cooldown remediation-cooldown remediation_cooldown hyperpod.cooldown cooldown", MEANT),
        ("remediaton Remediation remediations", "did you mean remediation, which takes an object of settings?"),
    ],
    ids=["prefix", "separator", "object"],
)
def test_misspelt_prefix_is_refused_with_what_was_probably_meant(keys: str, meant: str) -> None:
    """Without an error the deployment would silently use the defaults."""
    for key in keys.split():
        with pytest.raises(ContextError) as raised:
            merged_context({"remediation": {}, key: "5m"})
        assert str(raised.value) == f"{key}: no such setting; {meant}"


@pytest.mark.parametrize(
    "key",
    [
        "@aws-cdk/core:checkSecretUsage",
        "aws:cdk:enable-path-metadata",
        "availability-zones:account=111122223333:region=us-east-1",
        "region",
        "other-tool.size",
    ],
)
def test_context_of_others_is_ignored(key: str) -> None:
    """The CDK and an operator's ~/.cdk.json add keys of their own."""
    assert merged_context({"remediation": {"batch_size": 1}, key: "2"}) == {"batch_size": 1}


def test_cdk_json_lists_every_setting_with_its_default() -> None:
    """An operator sees there what can be set."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]["remediation"]
    assert list(context) == list(Settings().to_context())
    assert Settings.from_context(context) == Settings()
