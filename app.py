"""Runs the CDK application: reads the settings, builds the function's asset, synthesizes the stack."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT / "lambda")]  # `cdk` may run it with any search path; lambda/ is an import root
os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")

from aws_cdk import App  # noqa: E402

from infra.context import merged_context  # noqa: E402
from infra.errors import ContextError, PackagingError  # noqa: E402
from infra.function_asset import function_asset  # noqa: E402
from infra.stack import RemediationStack  # noqa: E402
from node_remediation.settings import Settings, SettingsError  # noqa: E402

STACK = "HyperPodNodeRemediation"


def main() -> None:
    app = App()
    try:
        settings = Settings.from_context(merged_context(app.node.get_all_context()))
        RemediationStack(app, STACK, settings=settings, asset=function_asset(full_sdk=settings.full_sdk))
    except (ContextError, SettingsError, PackagingError) as error:
        sys.exit(str(error))
    app.synth()


if __name__ == "__main__":
    main()
