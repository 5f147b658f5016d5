"""Synthesizes the stack and reads its template, with intrinsic functions as plain text."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.stack import RemediationStack
from node_remediation.settings import Settings

STACK = "HyperPodNodeRemediation"
TOPIC = "arn:aws:sns:us-east-1:111122223333:ops-alarms"
FULL: dict[str, object] = {
    "clusters": ["train-*", "lab"],
    "default_cluster": "lab",
    "alarm_name_prefixes": ["hyperpod-reboot-", "gpu/"],
    "alarm_topic_arns": [TOPIC, "arn:aws:sns:us-east-1:111122223333:other"],
    "batch_size": 10,
    "batch_window": "0s",
    "max_concurrency": 2,
    "notification_emails": ["oncall@example.com"],
    "cluster_tag": "team=ml",
    "log_retention_days": 7,
    "max_report_age": "24h",
    "overrides": [{"reason": "*Xid 79*", "action": "replace"}],
}
# Every setting for a company's own rules.
BOUNDARY = "arn:aws:iam::111122223333:policy/boundary"
RULES: dict[str, object] = {
    "vpc_subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "security_group_ids": ["sg-0123456789abcdef0"],
    "environment": {"AWS_CA_BUNDLE": "/opt/ca.pem"},
    "reserved_concurrency": 10,
    "permissions_boundary_arn": BOUNDARY,
    "tags": {"team": "ml", "cost-center": "42"},
    "retain": True,
    "stack_name": "ml-remediation",
}


@dataclass(frozen=True)
class Template:
    body: Mapping[str, Any]

    @property
    def resources(self) -> dict[str, Any]:
        """Map each logical ID, without CDK's hash, to its resource."""
        return {_name(key): _plain(value) for key, value in self.body["Resources"].items()}

    @property
    def outputs(self) -> dict[str, str]:
        return {key: _plain(value["Value"]) for key, value in self.body["Outputs"].items()}

    def of(self, kind: str) -> dict[str, Any]:
        """Map each logical ID of one type of resource, without CDK's hash, to its properties."""
        return {key: each["Properties"] for key, each in self.resources.items() if each["Type"] == kind}

    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each statement of each policy, with its resource's type."""
        for resource in self.resources.values():
            for document in _documents(resource.get("Properties")):
                yield from ((resource["Type"], statement) for statement in document["Statement"])


def synthesize(context: Mapping[str, object], directory: Path, *, nag: bool = False) -> Template:
    """Synthesize the template for this `remediation` context, with an almost empty asset."""
    asset = directory / "asset"
    asset.mkdir()
    (asset / "empty.py").touch()
    app = App(outdir=str(directory / "cdk.out"))
    RemediationStack(app, STACK, settings=Settings.from_context(context), asset=asset)
    if nag:
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()
    return Template(json.loads((directory / "cdk.out" / f"{STACK}.template.json").read_text()))


def event_rules(template: Template) -> dict[str, Any]:
    """Return the rules that match events, by name: all but the sweep's."""
    return {name: rule for name, rule in template.of("AWS::Events::Rule").items() if "EventPattern" in rule}


def sweep_rule(template: Template) -> dict[str, Any]:
    """Return the rule that starts the sweep."""
    (rule,) = [rule for name, rule in template.of("AWS::Events::Rule").items() if name.startswith("Sweep")]
    return rule  # type: ignore[no-any-return]  # a template is JSON


def words(value: str | list[str]) -> list[str]:
    """Return a policy's value, which is a string or a list of strings, as a list."""
    return [value] if isinstance(value, str) else value


def _documents(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "Statement" in value:
            yield value
        for each in value.values():
            yield from _documents(each)
    elif isinstance(value, list):
        for each in value:
            yield from _documents(each)


def _name(logical_id: str) -> str:
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Ref"}:
        return f"<{_name(value['Ref'])}>"
    if value.keys() == {"Fn::GetAtt"}:
        name, attribute = value["Fn::GetAtt"]
        return f"<{_name(name)}.{attribute}>"
    if value.keys() == {"Fn::Join"}:
        separator, parts = value["Fn::Join"]
        return separator.join(map(_plain, parts))
    return {key: _plain(each) for key, each in value.items()}
