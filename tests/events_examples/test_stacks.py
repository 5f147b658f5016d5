"""Tests the templates of the examples: the events that they match, and who may do what."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, Validations
from cdk_nag import AwsSolutionsChecks
from ministack.services import eventbridge

from examples.events.hub import HubStack, MemberStack
from examples.events.opsitem import OpsItemStack
from examples.events.webhook import WebhookStack
from tests.events_examples.conftest import envelope
from tests.infra.template import Template

ROOT = Path(__file__).parents[2]
BUS = "arn:aws:events:us-west-2:444455556666:event-bus/incidents"
HUB = "arn:aws:events:eu-west-1:999988887777:event-bus/hyperpod-incidents"
HOOK = "https://hooks.example.com"
# The commands of the document, each on one line.
COMMANDS = re.findall(
    r'^cdk deploy --app "python examples/events/.*$',
    (ROOT / "docs/messages.md").read_text(encoding="utf-8").replace("\\\n", ""),
    re.MULTILINE,
)
Event = dict[str, Any]

STACKS: dict[str, Callable[[App], Stack]] = {
    "opsitem": lambda app: OpsItemStack(app, "example", leave_open=["refused", "failed"]),
    "opsitem of a bus": lambda app: OpsItemStack(app, "example", bus_arn=BUS),
    "webhook": lambda app: WebhookStack(app, "example", url=HOOK, secret_name="key"),
    "webhook of a bus": lambda app: WebhookStack(
        app, "example", url=HOOK, secret_name="key", states=["refused", "proposed"], bus_arn=BUS
    ),
    "hub of accounts": lambda app: HubStack(app, "example", accounts=["111122223333", "444455556666"]),
    "hub of an organization": lambda app: HubStack(app, "example", organization="o-exampleorgid"),
    "member": lambda app: MemberStack(app, "example", hub_bus_arn=HUB),
}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Template]:
    made = {}
    for name, stack in STACKS.items():
        app = App(outdir=str(tmp_path_factory.mktemp("out")))
        stack(app)
        made[name] = Template(app.synth().get_stack_by_name("example").template)
    return made


def _rule(template: Template) -> dict[str, Any]:
    (rule,) = template.of("AWS::Events::Rule").values()
    return rule  # type: ignore[no-any-return]


def _matches(template: Template, event: Event) -> bool:
    pattern = json.dumps(_rule(template)["EventPattern"])
    assert eventbridge._event_pattern_error(pattern) is None
    return bool(eventbridge._matches_pattern(pattern, eventbridge._event_from_test_payload(event)))


def _allowed(template: Template, kind: str) -> list[tuple[list[str], Any]]:
    """Return what the statements of this type of resource allow: actions and resources."""
    found = [each for of, each in template.statements() if of == kind and each["Effect"] == "Allow"]
    actions = [each["Action"] if isinstance(each["Action"], list) else [each["Action"]] for each in found]
    return [(action, each["Resource"]) for action, each in zip(actions, found, strict=True)]


@pytest.mark.parametrize("name", STACKS)
def test_rule_matches_every_event_of_an_incident_and_no_other(
    name: str, templates: dict[str, Template], recovered: list[Event], many: list[Event]
) -> None:
    """Of the states that were asked for, where there is a filter."""
    states = {event["State"] for event in recovered + many}
    assert {"claimed", "proposed", "retrying", "refused", "recovered"} <= states
    wanted = {"refused", "proposed"} if name == "webhook of a bus" else states
    events = [envelope(event) for event in recovered + many]
    assert {event["detail"]["State"] for event in events if _matches(templates[name], event)} == wanted
    assert not _matches(templates[name], events[0] | {"detail-type": "HyperPod Node Remediation Sweep"})
    assert not _matches(templates[name], events[0] | {"source": "aws.sagemaker"})


def test_rules_are_on_the_bus_that_the_setting_event_bus_arn_names(templates: dict[str, Template]) -> None:
    """And else on the account's default bus; the hub's is on its own."""
    buses = {name: _rule(template).get("EventBusName") for name, template in templates.items()}
    assert buses == {
        "opsitem": None,
        "opsitem of a bus": "incidents",
        "webhook": None,
        "webhook of a bus": "incidents",
        "hub of accounts": "<Bus>",
        "hub of an organization": "<Bus>",
        "member": None,
    }


@pytest.mark.parametrize("name", STACKS)
def test_event_that_was_not_delivered_goes_to_an_encrypted_queue_that_lets_in_this_rule_alone(
    name: str, templates: dict[str, Template]
) -> None:
    """Over TLS."""
    template = templates[name]
    (target,) = _rule(template)["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": "<Failed.Arn>"}
    for queue in template.of("AWS::SQS::Queue").values():
        assert queue == {"MessageRetentionPeriod": 14 * 86_400, "SqsManagedSseEnabled": True}
    for policy in template.of("AWS::SQS::QueuePolicy").values():
        refusal, letting_in = policy["PolicyDocument"]["Statement"]
        assert (refusal["Effect"], refusal["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
        assert letting_in["Principal"] == {"Service": "events.amazonaws.com"}
        assert letting_in["Condition"] == {"ArnEquals": {"aws:SourceArn": "<Rule.Arn>"}}


def test_function_of_the_ops_items_may_write_ops_items_its_log_and_its_queue(templates: dict[str, Template]) -> None:
    """Nothing else; and runs once at a time."""
    template = templates["opsitem"]
    items = "arn:<AWS::Partition>:ssm:<AWS::Region>:<AWS::AccountId>:opsitem/*"
    assert _allowed(template, "AWS::IAM::Policy") == [
        (["logs:CreateLogStream", "logs:PutLogEvents"], "<Logs.Arn>"),
        (["sqs:SendMessage"], "<Failed.Arn>"),
        (["ssm:CreateOpsItem", "ssm:GetOpsItem", "ssm:UpdateOpsItem"], items),
        (["ssm:DescribeOpsItems"], "*"),
    ]
    (role,) = template.of("AWS::IAM::Role").values()
    assert "ManagedPolicyArns" not in role
    (function,) = template.of("AWS::Lambda::Function").values()
    assert function["ReservedConcurrentExecutions"] == 1
    assert function["DeadLetterConfig"] == {"TargetArn": "<Failed.Arn>"}
    assert function["Environment"] == {"Variables": {"LEAVE_OPEN": "refused failed"}}
    assert function["Code"] == {"ZipFile": (ROOT / "examples/events/opsitem_function.py").read_text()}


def test_webhook_gets_json_with_the_whole_detail(templates: dict[str, Template], recovered: list[Event]) -> None:
    """Whatever the reason has in it, and for a logical ID too."""
    (target,) = _rule(templates["webhook"])["Targets"]
    by_logical_id = {key: value for key, value in recovered[0].items() if key != "NodeId"}
    quoted = {**by_logical_id, "NodeLogicalId": "gpu-7", "Reason": 'alarm "hot": 1\n> 0 \\'}
    for detail, node in ((recovered[0], recovered[0]["NodeId"]), (quoted, "gpu-7")):
        view = eventbridge._pattern_event_view(eventbridge._event_from_test_payload(envelope(detail)))
        body = eventbridge._apply_input_transformer(target["InputTransformer"], {}, view)
        assert json.loads(body) == {
            "text": f"HyperPod node {node} of ml-a: claimed",
            "account": "111122223333",
            "region": "us-west-2",
            "detail": detail,
        }


def test_webhook_has_a_rate_limit_and_its_key_from_the_secret(templates: dict[str, Template]) -> None:
    """The key itself is in no template."""
    template = templates["webhook"]
    (webhook,) = template.of("AWS::Events::ApiDestination").values()
    assert webhook == {
        "ConnectionArn": "<Connection.Arn>",
        "HttpMethod": "POST",
        "InvocationEndpoint": HOOK,
        "InvocationRateLimitPerSecond": 5,
    }
    (connection,) = template.of("AWS::Events::Connection").values()
    assert connection["AuthParameters"]["ApiKeyAuthParameters"] == {
        "ApiKeyName": "x-api-key",
        "ApiKeyValue": "{{resolve:secretsmanager:key:SecretString:::}}",
    }
    assert _allowed(template, "AWS::IAM::Policy") == [(["events:InvokeApiDestination"], "<WebhookApiDestination.Arn>")]


@pytest.mark.parametrize(
    ("name", "principal", "condition"),
    [
        (
            "hub of accounts",
            {"AWS": [f"arn:<AWS::Partition>:iam::{account}:root" for account in ("111122223333", "444455556666")]},
            {},
        ),
        ("hub of an organization", "*", {"aws:PrincipalOrgID": "o-exampleorgid"}),
    ],
)
def test_hub_lets_in_its_members_with_events_of_this_source_alone(
    name: str, principal: object, condition: dict[str, str], templates: dict[str, Template]
) -> None:
    """They may put events, and make no rules."""
    (policy,) = templates[name].of("AWS::Events::EventBusPolicy").values()
    assert policy["EventBusName"] == "<Bus>"
    assert policy["Statement"] == {
        "Sid": policy["StatementId"],
        "Effect": "Allow",
        "Action": "events:PutEvents",
        "Principal": principal,
        "Resource": "<Bus.Arn>",
        "Condition": {"StringEquals": {"events:source": "hyperpod.node-remediation", **condition}},
    }


def test_hub_takes_accounts_or_an_organization() -> None:
    """Without either everyone would be let in."""
    for members in ({}, {"accounts": ["111122223333"], "organization": "o-exampleorgid"}):
        with pytest.raises(ValueError, match="takes either accounts or an organization"):
            HubStack(App(), "example", **members)  # type: ignore[arg-type]  # one of two


def test_member_may_put_events_on_the_hubs_bus_of_another_region_and_no_more(templates: dict[str, Template]) -> None:
    """By a role that EventBridge takes for the rule."""
    template = templates["member"]
    (target,) = _rule(template)["Targets"]
    (role,) = template.of("AWS::IAM::Role")
    assert (target["Arn"], target["RoleArn"]) == (HUB, f"<{role}.Arn>")
    assert _allowed(template, "AWS::IAM::Policy") == [(["events:PutEvents"], HUB)]


@pytest.mark.parametrize("name", STACKS)
def test_findings_of_cdk_nag_are_known(name: str, tmp_path: Path) -> None:
    """IAM5: OpsItems of any ID. L1: Python 3.13. SQS3: the pack does not count what rules send to the queue."""
    app = App(outdir=str(tmp_path))
    STACKS[name](app)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(Exception, match="ValidationFailed"):
        app.synth()
    found = set(re.findall(r"AwsSolutions-(\w+)", (tmp_path / "validation-report.json").read_text()))
    assert found == ({"IAM5", "L1"} if name.startswith("opsitem") else {"SQS3"})


def test_templates_pass_cfn_lint(templates: dict[str, Template], tmp_path: Path) -> None:
    """W3005: the CDK writes each dependency out, also where a reference implies it."""
    paths = [tmp_path / f"{number}.json" for number in range(len(templates))]
    for path, template in zip(paths, templates.values(), strict=True):
        path.write_text(json.dumps(template.body))
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", "W3005", "--", *map(str, paths)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("", 0), ran.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_command_synthesizes(command: str, tmp_path: Path) -> None:
    """As cdk runs the script, with nothing of the project on the search path."""
    _, _, _, app, *options = shlex.split(command)
    assert options[::2] == ["-c"] * (len(options) // 2)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    context = dict(option.split("=", 1) for option in options[1::2])
    env |= {"CDK_OUTDIR": str(tmp_path / "out"), "CDK_CONTEXT_JSON": json.dumps(context)}
    script = app.removeprefix("python ")
    subprocess.run([sys.executable, str(ROOT / script)], cwd=tmp_path, env=env, check=True, capture_output=True)
    (template,) = (tmp_path / "out").glob("*.template.json")
    text = template.read_text()
    # Each value is in the template: a name that the script does not read would be ignored.
    assert [word for value in context.values() for word in value.split(",") if word not in text] == []


def test_every_script_is_documented() -> None:
    """A stack that no document tells of is not found."""
    scripts = {path.stem for path in (ROOT / "examples/events").glob("*.py")} - {"opsitem_function"}
    assert {Path(shlex.split(command)[3].split()[1]).stem for command in COMMANDS} == scripts
