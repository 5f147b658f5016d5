"""Defines the log group of the function."""

from typing import cast

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct

from node_remediation.settings import Settings


class FunctionLogs(Construct):
    """Makes a log group that has its retention from the first line on. With `retain` it outlives the stack."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        super().__init__(scope, construct_id)
        removal = RemovalPolicy.RETAIN if settings.retain else RemovalPolicy.DESTROY
        self.log_group = logs.LogGroup(self, "LogGroup", removal_policy=removal)
        # The L2 construct takes names (THREE_MONTHS); the setting, like CloudWatch Logs, takes days.
        resource = cast("logs.CfnLogGroup", self.log_group.node.default_child)
        resource.retention_in_days = settings.log_retention_days
