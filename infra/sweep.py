"""Defines the schedule that starts the function's sweep."""

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from node_remediation.settings import SWEEP_DETAIL_TYPE, SWEEP_EVERY, SWEEP_SOURCE


class Sweep(Construct):
    """Invokes the function every minute. A sweep that is late or fails is not repeated: the next one does its work."""

    def __init__(self, scope: Construct, construct_id: str, *, function: lambda_.IFunction) -> None:
        super().__init__(scope, construct_id)
        self.rule = events.Rule(
            self,
            "Rule",
            description="Makes the node remediation function look at what is due",
            schedule=events.Schedule.rate(Duration.seconds(int(SWEEP_EVERY.total_seconds()))),
        )
        # The target is the function, never the intake queue: sweeps would wait there behind reports.
        self.rule.add_target(
            targets.LambdaFunction(
                function,
                event=events.RuleTargetInput.from_object(
                    {
                        "source": SWEEP_SOURCE,
                        "detail-type": SWEEP_DETAIL_TYPE,
                        "time": events.EventField.from_path("$.time"),
                    }
                ),
                max_event_age=Duration.seconds(60),
                retry_attempts=0,
            )
        )
