"""Acts on the deployed system as HyperPod, CloudWatch and operators do."""

import json
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.aws import LocalAws
from local.demo.looking import Readings
from local.observing import Observer
from local.staging import SimulatedCluster, alarm_entry, health_entry, series_entry

STORM_REPORTS = 100
_MOST_PER_PUT = 10  # PutEvents takes no more
_NAMESPACE, _METRIC = "ContainerInsights", "hyperpod_node_health_status_unschedulable_pending_reboot"
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class SimulatedNode:
    """Names a node of a simulated cluster by its instance ID."""

    cluster: SimulatedCluster
    id: str

    @property
    def dimensions(self) -> dict[str, str]:
        return self.cluster.dimensions(self.id)

    @property
    def logical_id(self) -> str:
        return self.cluster.logical_ids[self.cluster.nodes.index(self.id)]


@dataclass(frozen=True, slots=True)
class Actors:
    """Acts on one local AWS with the stack; `in_alarm` has what ends the alarm about a node.

    `followers` are told all that is seen, at each look, and act on it.
    """

    aws: LocalAws
    outputs: Mapping[str, str]
    in_alarm: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    followers: list[Callable[[Readings], None]] = field(default_factory=list)

    def follow(self, seen: Readings) -> None:
        """Do what follows from what is seen."""
        self._calm(seen.well)
        for follower in [*self.followers]:
            follower(seen)

    # -- HyperPod

    def break_node(self, node: SimulatedNode, **how: object) -> None:
        """Make a node unhealthy; HyperPod says so on the bus, unless `event` is false."""
        self._nodes("break", node, how)

    def set_node(self, node: SimulatedNode, **changes: object) -> None:
        """Script how a node answers."""
        self._nodes("set", node, changes)

    def _nodes(self, verb: str, node: SimulatedNode, fields: Mapping[str, object]) -> None:
        self.aws.admin(
            "POST", f"/_local/hyperpod/nodes/{verb}", {"cluster": node.cluster.name, "node": node.id, **fields}
        )

    def lose_answer(self, node: SimulatedNode) -> None:
        """Let the answer to the next reboot call that names the node be lost on its way, after the call was made."""
        self.aws.faults(
            {"service": "sagemaker", "action": "BatchReboot", "body": node.id, "after": True, "reset": True}
        )

    # -- CloudWatch

    def set_off(self, alarm: str, node: SimulatedNode) -> None:
        """Make an alarm on the node's metric go into ALARM; it is OK once the node is well."""
        cloudwatch = self.aws.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName=alarm,
            Namespace=_NAMESPACE,
            MetricName=_METRIC,
            Dimensions=[{"Name": name, "Value": value} for name, value in node.dimensions.items()],
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
        )

        def set_state(state: str) -> None:
            cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="the node's metric")

        set_state("ALARM")
        self.in_alarm.append((node.id, lambda: set_state("OK")))

    def set_off_series(self, alarm: str, *nodes: SimulatedNode) -> None:
        """Let series of one alarm go into ALARM. CloudWatch sends an event for the alarm as a whole too."""
        query = f'SELECT MAX({_METRIC}) FROM "{_NAMESPACE}" GROUP BY ClusterName, InstanceId'  # noqa: S608 -- Metrics Insights, and no input in it
        metrics = [{"id": "q1", "expression": query, "returnData": True, "period": 60}]
        parent = alarm_entry(self.aws, alarm, {"configuration": {"metrics": metrics}})
        self.aws.put_events(parent, *(series_entry(self.aws, alarm, node.dimensions) for node in nodes))
        for node in nodes:
            self._calm_series_later(alarm, node)

    def _calm_series_later(self, alarm: str, node: SimulatedNode) -> None:
        well = (node.id, lambda: self.aws.put_events(series_entry(self.aws, alarm, node.dimensions, "OK")))
        self.in_alarm.append(well)

    def set_off_muted(self, alarm: str, node: SimulatedNode) -> None:
        """Let an alarm go off while a mute rule holds: its event reaches the bus all the same."""
        rule = f"arn:aws:cloudwatch:{self.aws.region}:{self.aws.account}:alarm-mute-rule:maintenance"
        metric = {"metric": {"namespace": _NAMESPACE, "name": _METRIC, "dimensions": node.dimensions}, "period": 60}
        metrics = [{"id": "m1", "metricStat": metric | {"stat": "Maximum"}, "returnData": True}]
        detail = {"configuration": {"metrics": metrics}, "muteDetail": {"mutedByArn": rule}}
        self.aws.put_events(alarm_entry(self.aws, alarm, detail))

    def report_often(self, alarm: str, node: SimulatedNode) -> None:
        """Let HyperPod and a series of an alarm report one node, over and over."""
        for _ in range(STORM_REPORTS // _MOST_PER_PUT):
            half = range(_MOST_PER_PUT // 2)
            series = (series_entry(self.aws, alarm, node.dimensions) for _ in half)
            self.aws.put_events(*(health_entry(node.cluster, node.id) for _ in half), *series)
        self._calm_series_later(alarm, node)

    def _calm(self, well: Container[str]) -> None:
        """Do what CloudWatch does when a node is well again: its metric falls, and its alarms are OK."""
        for alarm in [alarm for alarm in self.in_alarm if alarm[0] in well]:
            self.in_alarm.remove(alarm)
            alarm[1]()

    # -- operators

    def answer_later(self, node: SimulatedNode, verdict: str, reason: str) -> None:
        """Answer the proposal to reboot a node as soon as people are asked."""

        def answer(seen: Readings) -> None:
            for proposal in (entry for entry in seen.told_of(node.id) if entry.list == "Proposed"):
                self.followers.remove(answer)
                detail = {"IncidentId": proposal.incident, "By": "jo", "Reason": reason}
                kind = f"HyperPod Node Reboot {verdict}"
                event = {"source": "hyperpod.node-remediation", "detail-type": kind, "detail": detail}
                self.aws.client("sqs").send_message(
                    QueueUrl=self.outputs["IntakeQueueUrl"], MessageBody=json.dumps(event)
                )

        self.followers.append(answer)

    def set_mode(self, value: str) -> None:
        """Set the mode as `mode_command` says."""
        name = self.outputs["ModeParameterName"]
        self.aws.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def forget_mode(self) -> None:
        """Let the function forget the mode, which it remembers for up to a minute.

        A changed environment leads to new instances of it, which remember nothing.
        """
        functions, function = self.aws.client("lambda"), self.outputs["FunctionName"]
        variables = functions.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        changed: dict[str, Any] = {"Variables": variables | {"DEMO_MODE_SET_AT": f"{time.time():.3f}"}}
        functions.update_function_configuration(FunctionName=function, Environment=changed)

    def redrive(self, observer: Observer, patience: float) -> None:
        """Move the letters, and look at neither queue meanwhile: a message that is held is not moved."""
        source, destination = self.outputs["DeadLetterQueueArn"], self.outputs["IntakeQueueArn"]
        self.aws.client("sqs").start_message_move_task(SourceArn=source, DestinationArn=destination)
        deadline = time.monotonic() + patience
        while observer.is_redriving() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)


def mode_command(outputs: Mapping[str, str], value: str) -> str:
    """Return the AWS CLI command that sets the mode."""
    return f"aws ssm put-parameter --type String --overwrite --name {outputs['ModeParameterName']} --value {value}"
