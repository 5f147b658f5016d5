"""`local.deploy` runs the real CDK CLI against the local AWS."""

import json
from pathlib import Path

import pytest

from local.aws import LocalAws
from local.deploy import DeployFailed, _outputs, deploy
from tests.local.support import Queue, wait_for

_APP = Path(__file__).parent / "sample_app"


def test_deploy_returns_the_outputs_and_the_stack_works(aws: LocalAws) -> None:
    """Bootstrap, assets and every kind of resource that the project uses; then an event goes all the way, and sweeps
    come by themselves."""
    lines: list[str] = []
    outputs = deploy(
        aws, context={"word": "hello"}, on_line=lines.append, app_dir=_APP, stack="Sample", sweep_every=0.1
    )
    assert outputs["Word"] == "hello"
    assert any("CREATE_COMPLETE" in line for line in lines)
    assert not (_APP / "cdk.out").exists()

    before = len(_metrics(aws))
    aws.put_events({"Source": "aws.sagemaker", "DetailType": "test", "Detail": "{}"})
    queue = Queue(aws.client("sqs"), outputs["QueueUrl"], "")
    wait_for("the function to take the event", lambda: queue.count() == 0 and len(_metrics(aws)) > before)

    wait_for("sweeps", lambda: len(_metrics(aws)) > before + 3)
    aws.sweep_every(None)
    assert not aws.sweep()["error"]

    (alarm,) = aws.client("cloudwatch").describe_alarms(AlarmNames=[outputs["AlarmName"]])["MetricAlarms"]
    assert alarm["Metrics"][0]["Expression"] == "a + b"
    assert "widgets" in aws.client("cloudwatch").get_dashboard(DashboardName="Sample-dashboard")["DashboardBody"]


def _metrics(aws: LocalAws) -> list[object]:
    logs = aws.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/Sample")["logGroups"]
    return [
        event
        for group in groups
        for event in logs.filter_log_events(logGroupName=group["logGroupName"], filterPattern="REPORT")["events"]
    ]


def test_a_deployment_that_fails_says_why(aws: LocalAws) -> None:
    """The error ends with what the CLI said."""
    with pytest.raises(DeployFailed, match="DelaySeconds"):
        deploy(aws, context={"break": "1"}, app_dir=_APP, stack="Sample")


def test_an_app_without_the_stack_is_an_error(tmp_path: Path) -> None:
    """It names the stacks that there are."""
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps({"Sample": {"Word": "none"}}))
    with pytest.raises(DeployFailed, match=r"no stack Other with outputs, only \['Sample'\]"):
        _outputs(file, "Other")
