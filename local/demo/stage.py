"""Sets the stage: clusters of the demonstration's own, and subscribers of its own to the topic and the bus."""

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.aws import LocalAws
from local.demo.clusters import BUDGET_PERCENT, Clusters, Node

READER = "oncall@example.com"
# What the local AWS is deployed with besides cdk.json; a short window, so that no one waits for a batch to fill.
CONTEXT = {"remediation.batch_window": "1s", "remediation.notification_emails": READER}
# For one event: how it ended is to be known soon.
SOON = CONTEXT | {
    "remediation.verify_after": "2s",
    "remediation.healthy_for": "1s",
    "remediation.verify_timeout": "8s",
    "remediation.repair_timeout": "8s",
}
# How long a budget stays spent: longer than a slow machine takes for its reports, and yet short enough to wait for.
BUDGET_SECONDS = 30
# The cooldown may not be longer than the budget's window.
NIGHT = CONTEXT | {
    "remediation.budget_percent": str(BUDGET_PERCENT),
    "remediation.budget_window": f"{BUDGET_SECONDS}s",
    "remediation.cooldown": f"{BUDGET_SECONDS}s",
}
_SOURCES = ["aws.sagemaker", "aws.cloudwatch"]


@dataclass(frozen=True, slots=True)
class AlarmOn:
    """Holds an alarm in ALARM, by the node that it is about."""

    node: Node
    calm: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """Holds a deployed stack and clusters with nodes, for a script to act on."""

    aws: LocalAws
    outputs: Mapping[str, str]
    clusters: Clusters
    alarms: list[AlarmOn] = field(default_factory=list)

    def watch_metric(self, node: Node, calm: Callable[[], None]) -> None:
        """Note that an alarm is in ALARM because of a node; `calm` makes it OK again."""
        self.alarms.append(AlarmOn(node, calm))

    def calm(self, well: Container[str]) -> None:
        """Do what CloudWatch does when a node is well again: its metric falls, and its alarms are OK."""
        for alarm in [alarm for alarm in self.alarms if alarm.node.instance_id in well]:
            self.alarms.remove(alarm)
            alarm.calm()

    def break_node(self, node: Node, **how: object) -> None:
        """Make a node unhealthy; HyperPod says so on the bus, unless `event` is false."""
        self._nodes("break", node, how)

    def set_node(self, node: Node, **changes: object) -> None:
        """Script how a node answers; see local.hyperpod.scripting."""
        self._nodes("set", node, changes)

    def lose_answer(self, node: Node) -> None:
        """Let the answer to the next reboot call that names the node be lost on its way, after the call was made."""
        self.aws.faults(
            {"service": "sagemaker", "action": "BatchReboot", "body": node.instance_id, "after": True, "reset": True}
        )

    def _nodes(self, verb: str, node: Node, fields: Mapping[str, object]) -> None:
        asked = {"cluster": node.cluster, "node": node.instance_id, **fields}
        self.aws.admin("POST", f"/_local/hyperpod/nodes/{verb}", asked)


def subscribe_to_topic(aws: LocalAws, outputs: Mapping[str, str]) -> str:
    """Return the URL of a new queue that gets what the failure topic says."""
    topic = outputs["FailureTopicArn"]
    url, arn = _queue(aws, "demo-topic-subscriber", "sns.amazonaws.com", topic)
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def listen_to_bus(aws: LocalAws) -> str:
    """Return the URL of a new queue that gets a copy of AWS's own events."""
    events = aws.client("events")
    rule = events.put_rule(Name="demo-bus-listener", EventPattern=json.dumps({"source": _SOURCES}))["RuleArn"]
    url, arn = _queue(aws, "demo-bus-listener", "events.amazonaws.com", rule)
    events.put_targets(Rule="demo-bus-listener", Targets=[{"Id": "queue", "Arn": arn}])
    return url


def _queue(aws: LocalAws, name: str, service: str, source_arn: str) -> tuple[str, str]:
    """Make a queue that one service may write to for one source, and return its URL and ARN."""
    arn = f"arn:aws:sqs:{aws.region}:{aws.account}:{name}"
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": source_arn}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    url: str = aws.client("sqs").create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
    return url, arn
