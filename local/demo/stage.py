"""What the demonstration plays on: a cluster of its own, and subscribers of its own to the topic and the bus."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.aws import LocalAws

CLUSTER = "ml-training"
EKS = f"{CLUSTER}-eks"
READER = "oncall@example.com"
NODES = 200
REBOOT_SECONDS = 2.0
# What this demonstration sets besides cdk.json; a short window so that nobody sits waiting for a batch to fill.
CONTEXT = {"remediation.batch_window": "1s", "remediation.notification_emails": READER}
_SOURCES = ["aws.sagemaker", "aws.cloudwatch"]


@dataclass(frozen=True, slots=True)
class Node:
    """A node by both of its IDs."""

    instance_id: str
    logical_id: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A deployed stack and a cluster with nodes, for a script to act on."""

    aws: LocalAws
    outputs: Mapping[str, str]
    cluster_arn: str
    nodes: tuple[Node, ...]

    def break_node(self, node: Node, *, event: bool = True) -> None:
        """Make a node unhealthy; with `event`, HyperPod says so on the bus."""
        self._nodes("break", node, event=event)

    def set_node(self, node: Node, **changes: object) -> None:
        """Script how a node answers; see local.hyperpod.scripting."""
        self._nodes("set", node, **changes)

    def _nodes(self, verb: str, node: Node, **fields: object) -> None:
        asked = {"cluster": CLUSTER, "node": node.instance_id, **fields}
        self.aws.admin("POST", f"/_local/hyperpod/nodes/{verb}", asked)


def make_cluster(aws: LocalAws, outputs: Mapping[str, str]) -> Stage:
    """The cluster that the night is about. Continuous, so that its nodes have logical IDs."""
    asked = {
        "name": CLUSTER,
        "nodes": NODES,
        "orchestrator": {"eks": EKS},
        "node_recovery": "None",
        "continuous": True,
        "reboot_seconds": REBOOT_SECONDS,
    }
    made = aws.admin("POST", "/_local/hyperpod/clusters", asked)
    nodes = (Node(node["instance_id"], node["logical_id"]) for node in made["nodes"])
    return Stage(aws, outputs, made["arn"], tuple(nodes))


def subscribe_to_topic(aws: LocalAws, outputs: Mapping[str, str]) -> str:
    """The URL of a new queue that gets what the failure topic says."""
    topic = outputs["FailureTopicArn"]
    url, arn = _queue(aws, "demo-topic-subscriber", "sns.amazonaws.com", topic)
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def listen_to_bus(aws: LocalAws) -> str:
    """The URL of a new queue that gets a copy of AWS's own events."""
    events = aws.client("events")
    rule = events.put_rule(Name="demo-bus-listener", EventPattern=json.dumps({"source": _SOURCES}))["RuleArn"]
    url, arn = _queue(aws, "demo-bus-listener", "events.amazonaws.com", rule)
    events.put_targets(Rule="demo-bus-listener", Targets=[{"Id": "queue", "Arn": arn}])
    return url


def _queue(aws: LocalAws, name: str, service: str, source_arn: str) -> tuple[str, str]:
    """A queue that one service may write to for one source: its URL and ARN."""
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
