"""Tests the settings for a company's own rules: VPC, environment, concurrency, boundary, tags, names, retention."""

from typing import Any

import pytest

from node_remediation.settings import Settings, SettingsError
from tests.infra.template import BOUNDARY, RULES, Template

STORES = ("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::Logs::LogGroup", "AWS::SQS::Queue")


def test_function_is_in_the_subnets_with_its_security_groups(ruled: Template, default: Template) -> None:
    """By default it is in no VPC."""
    (function,) = ruled.of("AWS::Lambda::Function").values()
    assert function["VpcConfig"] == {
        "SubnetIds": RULES["vpc_subnet_ids"],
        "SecurityGroupIds": RULES["security_group_ids"],
    }
    (function,) = default.of("AWS::Lambda::Function").values()
    assert "VpcConfig" not in function


def test_role_may_make_network_interfaces_only_in_a_vpc(ruled: Template, default: Template) -> None:
    """They are in its subnets and groups alone, and only Lambda makes them, not the function's code."""

    def network(template: Template) -> list[dict[str, Any]]:
        found = (statement for kind, statement in template.statements() if kind == "AWS::IAM::Role")
        return [each for each in found if "ec2:" in str(each["Action"])]

    ec2 = "arn:<AWS::Partition>:ec2:<AWS::Region>"
    assert network(default) == []
    assert {each["Sid"]: (each["Action"], each["Resource"]) for each in network(ruled)} == {
        "MakeInterfaces": (
            "ec2:CreateNetworkInterface",
            [
                f"{ec2}:<AWS::AccountId>:network-interface/*",
                f"{ec2}:*:subnet/subnet-0123456789abcdef0",
                f"{ec2}:*:subnet/subnet-0123456789abcdef1",
                f"{ec2}:*:security-group/sg-0123456789abcdef0",
            ],
        ),
        "ChangeInterfaces": (
            ["ec2:AssignPrivateIpAddresses", "ec2:DeleteNetworkInterface", "ec2:UnassignPrivateIpAddresses"],
            f"{ec2}:<AWS::AccountId>:*/*",
        ),
        "FindInterfaces": (["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"], "*"),
    }
    by_lambda = {"Null": {"lambda:SourceFunctionArn": "true"}}
    assert [each["Condition"] for each in network(ruled)] == [by_lambda] * 3


def test_function_has_the_variables_and_the_concurrency(ruled: Template) -> None:
    """Beside its own, which none of them can replace."""
    (function,) = ruled.of("AWS::Lambda::Function").values()
    variables = function["Environment"]["Variables"]
    assert variables["AWS_CA_BUNDLE"] == "/opt/ca.pem"
    assert variables["LEDGER_TABLE"] == "<LedgerTable>"
    assert function["ReservedConcurrentExecutions"] == 10


def test_variable_that_the_stack_sets_is_refused(default: Template) -> None:
    """Its value would be lost without a word."""
    (function,) = default.of("AWS::Lambda::Function").values()
    for name in function["Environment"]["Variables"]:
        with pytest.raises(SettingsError, match=rf"^remediation\.environment: {name}: "):
            Settings.from_context({"environment": {name: "x"}})


def test_stack_and_all_that_is_named_after_it_have_the_name_of_the_setting(ruled: Template) -> None:
    """Two stacks in one account and region have no name in common."""
    (alias,) = ruled.of("AWS::KMS::Alias").values()
    assert alias["AliasName"] == "alias/ml-remediation"
    assert ruled.outputs["ModeParameterName"] == "/hyperpod-node-remediation/ml-remediation/mode"
    alarms = ruled.of("AWS::CloudWatch::Alarm").values()
    assert all(alarm["AlarmName"].startswith("ml-remediation-") for alarm in alarms)


def test_every_role_has_the_boundary(ruled: Template) -> None:
    """A company's control may refuse a role without it."""
    assert {role.get("PermissionsBoundary") for role in ruled.of("AWS::IAM::Role").values()} == {BOUNDARY}


def test_every_resource_that_takes_tags_has_them(ruled: Template) -> None:
    """For cost and ownership."""
    for kind in (*STORES, "AWS::Lambda::Function", "AWS::SNS::Topic", "AWS::IAM::Role"):
        for name, properties in ruled.of(kind).items():
            tags = {(each["Key"], each["Value"]) for each in properties["Tags"]}
            assert {("team", "ml"), ("cost-center", "42")} <= tags, name


@pytest.mark.parametrize("kind", STORES)
def test_stores_survive_the_stack_with_retain_and_go_with_it_without(
    ruled: Template, default: Template, kind: str
) -> None:
    """The table is protected from a deletion by hand, too."""
    for template, policy in ((ruled, "Retain"), (default, "Delete")):
        kept = [each for each in template.resources.values() if each["Type"] == kind]
        assert {(each["DeletionPolicy"], each["UpdateReplacePolicy"]) for each in kept} == {(policy, policy)}
    (table,) = ruled.of("AWS::DynamoDB::Table").values()
    assert table["DeletionProtectionEnabled"] is True
