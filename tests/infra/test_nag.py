"""Tests that each finding of cdk-nag's AwsSolutions pack is acknowledged, with its reason, beside the resource."""

from pathlib import Path

import pytest
from aws_cdk import App, Stack, Validations
from aws_cdk import aws_sqs as sqs
from cdk_nag import AwsSolutionsChecks

from tests.infra.template import FULL, synthesize


@pytest.mark.parametrize("context", [{}, FULL, {"alarm_name_prefixes": []}], ids=["default", "full", "no alarms"])
def test_stack_has_no_unexplained_finding(context: dict[str, object], tmp_path: Path) -> None:
    """Synthesis raises at the first one."""
    synthesize(context, tmp_path, nag=True)


def test_finding_of_the_pack_ends_the_synthesis(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    app = App(outdir=str(tmp_path))
    sqs.Queue(Stack(app, "Bad"), "Open")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(Exception, match="AwsSolutions-SQS4"):
        app.synth()
