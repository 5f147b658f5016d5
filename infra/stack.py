"""Defines the stack: one construct, and a company's rules around it."""

from pathlib import Path

from aws_cdk import Stack, Tags
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.remediation import NodeRemediation
from node_remediation.settings import Settings


class RemediationStack(Stack):
    """Remediates HyperPod nodes, in any account, region and partition that it is deployed to."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, asset: Path) -> None:
        description = "HyperPod node remediation: reboots unhealthy nodes"
        super().__init__(scope, construct_id, stack_name=settings.stack_name, description=description)
        for name, value in settings.tags:
            Tags.of(self).add(name, value)
        if settings.permissions_boundary_arn:
            boundary = iam.ManagedPolicy.from_managed_policy_arn(self, "Boundary", settings.permissions_boundary_arn)
            iam.PermissionsBoundary.of(self).apply(boundary)
        # CDK leaves "Default" out of logical IDs and outputs' names.
        NodeRemediation(self, "Default", settings=settings, asset=asset)
