"""Tests the settings for a company's own rules: VPC, environment, concurrency, boundary, tags, names, retention."""

import pytest

from tests.infra.template import Template, synthesize

BOUNDARY = "arn:aws:iam::111122223333:policy/boundary"
RULES: dict[str, object] = {
    "vpc_subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "security_group_ids": ["sg-0123456789abcdef0"],
    "environment": {"AWS_CA_BUNDLE": "/opt/ca.pem"},
    "reserved_concurrency": 10,
    "permissions_boundary_arn": BOUNDARY,
    "tags": {"team": "ml", "cost-center": "42"},
    "retain": True,
}
STORES = ("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::Logs::LogGroup", "AWS::SQS::Queue")


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return synthesize(RULES, tmp_path_factory.mktemp("ruled"), nag=True)


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
    """In this account and region, as far as EC2 has resource levels."""

    def network(template: Template) -> list[tuple[list[str] | str, list[str] | str]]:
        found = (statement for kind, statement in template.statements() if kind == "AWS::IAM::Role")
        return [(each["Action"], each["Resource"]) for each in found if "ec2:" in str(each["Action"])]

    here = "arn:<AWS::Partition>:ec2:<AWS::Region>:<AWS::AccountId>"
    assert network(default) == []
    assert network(ruled) == [
        (
            [
                "ec2:AssignPrivateIpAddresses",
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:UnassignPrivateIpAddresses",
            ],
            [f"{here}:network-interface/*", f"{here}:security-group/*", f"{here}:subnet/*"],
        ),
        ("ec2:DescribeNetworkInterfaces", "*"),
    ]


def test_function_has_the_variables_and_the_concurrency(ruled: Template) -> None:
    """Beside its own, which none of them can replace."""
    (function,) = ruled.of("AWS::Lambda::Function").values()
    variables = function["Environment"]["Variables"]
    assert variables["AWS_CA_BUNDLE"] == "/opt/ca.pem"
    assert variables["LEDGER_TABLE"] == "<LedgerTable>"
    assert function["ReservedConcurrentExecutions"] == 10


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
