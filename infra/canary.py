"""Defines the canary: a harmless event that goes daily the way that reports go."""

import json

from aws_cdk import aws_events as events
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from node_remediation.settings import CANARY_DETAIL_TYPE, SWEEP_SOURCE


class Canary(Construct):
    """Sends the function an event through the intake queue each day. An alarm rings where none came through."""

    def __init__(self, scope: Construct, construct_id: str, *, intake: sqs.IQueue, undelivered: sqs.IQueue) -> None:
        super().__init__(scope, construct_id)
        fields = {"source": SWEEP_SOURCE, "detail-type": CANARY_DETAIL_TYPE, "time": "TIME"}
        # As for the other rules, the L1 construct: the L2 target would grant more than a delivery needs.
        self.rule = events.CfnRule(
            self,
            "Rule",
            description="Sends the node remediation function a daily event that shows that reports arrive",
            schedule_expression="rate(1 day)",
            targets=[
                events.CfnRule.TargetProperty(
                    id="Intake",
                    arn=intake.queue_arn,
                    input_transformer=events.CfnRule.InputTransformerProperty(
                        input_paths_map={"time": "$.time"},
                        input_template=json.dumps(fields).replace('"TIME"', "<time>"),
                    ),
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=undelivered.queue_arn),
                )
            ],
        )
