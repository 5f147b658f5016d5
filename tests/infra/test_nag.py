"""Tests that each finding of cdk-nag's AwsSolutions pack is acknowledged, with its reason, beside the resource."""

import re
from pathlib import Path

import cdk_nag
import pytest
from aws_cdk import App, Stack, Validations
from aws_cdk import aws_sqs as sqs
from cdk_nag import AwsSolutionsChecks

from infra.function_asset import ROOT
from infra.stack import RemediationStack
from node_remediation.settings import Settings
from tests.infra.template import FULL, RULES, STACK, synthesize


@pytest.mark.parametrize(
    "context", [{}, FULL, RULES, {"alarm_name_prefixes": []}], ids=["default", "full", "rules", "no alarms"]
)
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


@pytest.mark.parametrize("pack", ["HIPAASecurityChecks", "NIST80053R5Checks"])
def test_findings_of_other_packs_are_those_that_the_document_explains(pack: str, tmp_path: Path) -> None:
    """docs/security.md has each with the reason why it stays, or the setting that changes it."""
    (tmp_path / "asset").mkdir()
    (tmp_path / "asset" / "empty.py").touch()
    app = App(outdir=str(tmp_path / "out"))
    RemediationStack(app, STACK, settings=Settings(), asset=tmp_path / "asset")
    Validations.of(app).add_plugins(getattr(cdk_nag, pack)(app))
    with pytest.raises(Exception, match="ValidationFailed"):
        app.synth()
    found = set(re.findall(r"(?:HIPAA\.Security|NIST\.800\.53\.R5)-(\w+)", _report(tmp_path / "out")))
    page = (ROOT / "docs" / "security.md").read_text()
    assert found == set(re.findall(r"^\| `(\w+)` \|", page.partition("## Other rule packs")[2], re.MULTILINE))


def _report(directory: Path) -> str:
    return (directory / "validation-report.json").read_text()
