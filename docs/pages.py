"""Writes what is made from the code: docs/settings.md, docs/permissions.md and the dashboard's picture."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from docs.dashboard import dashboard_picture
from infra.role import PERMISSIONS
from node_remediation.settings import Settings
from tests.infra.template import Template, synthesize, words

_WRITTEN = "<!-- Written by `make docs`; edit {source}, not this file. -->"

# The page says once how a duration is written.
_SUCH_AS = ' such as "90s", "30m", "7d"'

# Each setting is in one group, in the order of the page.
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "Which nodes": ("clusters", "default_cluster", "cluster_tag", "protected_instance_groups"),
    "Which reports": ("alarm_name_prefixes", "alarm_topic_arns", "max_report_age"),
    "How many reboots": (
        "mode",
        "cooldown",
        "max_reboots_per_node",
        "max_reboots_window",
        "budget_percent",
        "budget_min_nodes",
        "budget_window",
        "on_replacement_advised",
        "automatic_grace",
        "overrides",
        "ask_timeout",
        "on_no_answer",
    ),
    "After a reboot, a repair or a failure": (
        "verify_after",
        "verify_timeout",
        "healthy_for",
        "escalation",
        "replace_budget",
        "repair_timeout",
        "retry_attempts",
        "retry_delay",
    ),
    "Notifications": (
        "notification_emails",
        "operations_topic_arn",
        "notify_rebooted",
        "daily_summary",
        "recurrence_window",
        "burst_window",
        "runbook_url",
        "event_bus_arn",
    ),
    "The function": ("batch_size", "batch_window", "max_concurrency", "log_retention_days", "dashboard", "full_sdk"),
    "Your company's rules": (
        "stack_name",
        "tags",
        "retain",
        "vpc_subnet_ids",
        "security_group_ids",
        "environment",
        "reserved_concurrency",
        "permissions_boundary_arn",
    ),
}

_SETTINGS = """# Settings

{written}

Settings are in [`cdk.json`](../cdk.json), in the object `remediation` under `context`. Change them there, then run
`make deploy`: so the next deploy has them too. To override a setting for a single deploy, write it on the command line,
lists separated by commas:

```bash
make deploy ARGS="-c remediation.cooldown=45m -c remediation.clusters=ml-training,ml-research"
```

Durations are written as `"90s"`, `"30m"`, `"24h"` or `"7d"`. An unknown key or a wrong value stops the deploy with one
line that names the key and what it takes.

{tables}

## Settings that belong together

- `batch_window` is at least `"1s"` where `batch_size` is over 10 (a limit of Lambda).
- `default_cluster` is a cluster that `clusters` allows.
- `cooldown` is at most `budget_window` and at most `max_reboots_window`. `verify_after` is at most `verify_timeout`.
- A cluster's budget in `budget_window` is `budget_percent` of its nodes, rounded up, but at least `budget_min_nodes`.
- `ask_timeout` and `on_no_answer` hold where `overrides` has the action `ask`. [Ask before a reboot](approval.md) has
  examples of the three.
- The setting `mode` holds where the [mode parameter](operating.md#pause-observe-resume) gives none: it does not
  exist, no entry matches, or the entry is past its end.
- A report that waited longer than `max_report_age` in the intake queue is refused as `StaleReport`. A fact that could
  not be looked up is waited for as long.
- Events of clusters that `clusters` does not allow are left out by the rules, so they make no log line and no mail. The
  function itself judges alarms, and clusters in a list that is too long for a rule.
- The function's settings that differ from their defaults, and `environment`, take at most 3,000 bytes; more stops the
  deploy.
- `vpc_subnet_ids` and `security_group_ids` belong together. The subnets need a way to SageMaker, SQS, SNS, DynamoDB,
  CloudWatch, EventBridge and SSM: a NAT gateway, or VPC endpoints.
- `reserved_concurrency` is more than `max_concurrency`: the sweep and alarms invoke the function, too.
- No prefix of `alarm_name_prefixes` may match the stack's own alarms, whose names begin with the stack's name.
- `retry_delay` doubles with each retry, up to 15 minutes. Only a node that failed with `InstanceIdInUse`,
  `InvalidInstanceStatus` or `InternalServerError` is retried.
"""

_PERMISSIONS = """# Permissions of the function

{written}

The function's role has one inline policy with these statements and nothing else: no managed policy, no wildcard action.
They are taken from the template with default settings, but in a VPC, where the last three belong, and with
`escalation` and `daily_summary`, without which there is no `Replace` and no `SumUp`. `REGION`,
`ACCOUNT` and `PARTITION` are those of the deployment; names in `<…>` are resources of the stack. For the policies of
the queues, the topic and the key, see [security.md](security.md).

| Statement | Actions | On | Why |
| --- | --- | --- | --- |
{statements}
"""


_ALL = {
    "escalation": "replace",
    "daily_summary": "08:00",
    "vpc_subnet_ids": "subnet-0123456789abcdef0",
    "security_group_ids": "sg-0123456789abcdef0",
}


def settings_page() -> str:
    """Return docs/settings.md. Raises KeyError for a setting that is in no group, or in none that exists."""
    left = {each.name: each.metadata for each in fields(Settings)}
    tables = [_table(title, {name: left.pop(name) for name in names}) for title, names in _GROUPS.items()]
    if left:
        raise KeyError(f"in no group of docs/pages.py: {', '.join(left)}")
    written = _WRITTEN.format(source="lambda/node_remediation/settings.py")
    return _SETTINGS.format(written=written, tables="\n\n".join(tables))


def _table(title: str, settings: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, each in settings.items():
        takes = each["kind"].takes.replace(_SUCH_AS, "")
        rows.append(f"| `{name}` | `{json.dumps(each['default'])}` | {takes} | {each['purpose']} |")
    return "\n".join([f"## {title}\n", "| Key | Default | Takes | Meaning |", "| --- | --- | --- | --- |", *rows])


def permissions_page() -> str:
    """Return docs/permissions.md, from the template and the reasons in infra/role.py."""
    with tempfile.TemporaryDirectory() as scratch:
        template = synthesize(_ALL, Path(scratch))
    statements = "\n".join(_statement(each) for each in _role_statements(template))
    return _PERMISSIONS.format(written=_WRITTEN.format(source="infra/role.py"), statements=statements)


def _role_statements(template: Template) -> Iterator[Mapping[str, Any]]:
    (role,) = template.of("AWS::IAM::Role").values()
    for policy in role["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def _statement(statement: Mapping[str, Any]) -> str:
    sid = statement["Sid"]
    actions, resources = words(statement["Action"]), [_named(each) for each in words(statement["Resource"])]
    cells = [f"`{sid}`", *("<br>".join(f"`{word}`" for word in each) for each in (actions, resources))]
    return f"| {' | '.join(cells)} | {PERMISSIONS[sid].reason} |"


def _named(resource: str) -> str:
    for pseudo, name in {"Partition": "PARTITION", "Region": "REGION", "AccountId": "ACCOUNT"}.items():
        resource = resource.replace(f"<AWS::{pseudo}>", name)
    return resource


DASHBOARD_DATA = Path(__file__).parent / "dashboard.json"


def dashboard_page() -> str:
    """Return docs/dashboard.svg: the template's dashboard with what `make picture` recorded of the demonstration."""
    with tempfile.TemporaryDirectory() as scratch:
        template = synthesize({}, Path(scratch))
    (dashboard,) = template.of("AWS::CloudWatch::Dashboard").values()
    return dashboard_picture(json.loads(dashboard["DashboardBody"]), json.loads(DASHBOARD_DATA.read_text()))


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "permissions.md": permissions_page,
    "dashboard.svg": dashboard_page,
}
