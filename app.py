"""Runs the CDK application: reads the settings, builds the function's asset, synthesizes the stack. Calls no AWS."""

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT / "lambda")]  # `cdk` may run it with any search path; lambda/ is an import root
os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")

try:
    from aws_cdk import App

    from infra.alarm_topics import refuse_topics_elsewhere
    from infra.context import merged_context
    from infra.errors import ContextError, PackagingError
    from infra.function_asset import function_asset
    from infra.stack import RemediationStack
    from node_remediation.settings import Settings, SettingsError
except ModuleNotFoundError as missing:
    sys.exit(
        f"app.py: {sys.executable} has no module {missing.name}: activate the virtual environment "
        "(. .venv/bin/activate) or use make (make synth, make deploy)"
    )

STACK = "HyperPodNodeRemediation"


def main() -> None:
    app = App()
    try:
        settings = Settings.from_context(merged_context(app.node.get_all_context()))
        # The CDK CLI sets both where there are credentials.
        account, region = os.environ.get("CDK_DEFAULT_ACCOUNT"), os.environ.get("CDK_DEFAULT_REGION")
        refuse_topics_elsewhere(settings.alarm_topic_arns, account=account, region=region)
        RemediationStack(app, STACK, settings=settings, asset=function_asset(full_sdk=settings.full_sdk))
    except (ContextError, SettingsError, PackagingError) as error:
        sys.exit(str(error))
    remove_flag_report(Path(app.synth().directory))


def remove_flag_report(assembly: Path) -> None:
    """Remove the CDK's report of feature flags: the CLI would count the unset ones in a warning at each run."""
    manifest = assembly / "manifest.json"
    content = json.loads(manifest.read_text())
    content["artifacts"].pop("aws-cdk-lib/feature-flag-report", None)
    manifest.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
