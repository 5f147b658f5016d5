"""Tests that cfn-lint finds nothing in the template."""

import json
import subprocess
import sys
from pathlib import Path

from tests.infra.template import Template

# W3005: the CDK writes each dependency out, also where a reference implies it.
IGNORED = "W3005"
# W3037: cfn-lint's list of IAM actions lacks this one, which is an operation of CloudWatch (botocore, cloudwatch
# 2010-08-01). Without it no series of an alarm could be asked for its state.
EXPECTED = [("W3037", "'describealarmcontributors' is not one of")]


def test_template_passes_cfn_lint(default: Template, full: Template, ruled: Template, tmp_path: Path) -> None:
    """What it warns of is known, and why it stays."""
    for name, template in (("default", default), ("full", full), ("ruled", ruled)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(template.body))
        cfn_lint = Path(sys.executable).with_name("cfn-lint")
        command = [str(cfn_lint), "--format", "json", "--ignore-checks", IGNORED, "--", str(path)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        found = [(each["Rule"]["Id"], each["Message"].partition(" [")[0]) for each in json.loads(ran.stdout)]
        assert found == EXPECTED, ran.stderr
