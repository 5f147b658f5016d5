"""Makes the clusters, alarms and queues of a run, carries out its acts, and collects what is seen from outside."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.aws import LocalAws, LocalAwsError
from local.chaos.acts import BEATS, CHILDREN, SERIES, SINGLE, Act, Place
from local.chaos.reading import read_failed, read_item, read_letter, read_notice, read_stream, sent_by
from local.chaos.verdict import Evidence, Item, Limits, Line, Reboot, Sent

CLUSTERS: Sequence[Mapping[str, Any]] = (
    {"name": "ml-east", "nodes": 40},
    {"name": "ml-west", "nodes": 25, "continuous": False},
    {
        "name": "ml-slurm",
        "orchestrator": "slurm",
        "groups": [
            {"name": "workers", "count": 19, "slurm_node_type": "Compute"},
            {"name": "controller", "count": 1, "slurm_node_type": "Controller"},
        ],
    },
    {"name": "ml-auto", "nodes": 16, "node_recovery": "Automatic"},
)
_FAULT = "HyperPod Health Monitoring Agent (HMA) has detected fault type NvidiaErrorTerminate on this node"
_WATCHED = {"EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold"}
_QUERY = "SELECT MAX(unhealthy) FROM Health GROUP BY HyperPodClusterName, InstanceId"
_REFUSED = (404, 409)
_QUEUED = tuple(f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed"))
_SOURCES = ["aws.sagemaker", "aws.cloudwatch"]


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Describes a simulated cluster, with its nodes' IDs as they were made."""

    place: Place
    arn: str
    eks: str | None
    nodes: tuple[str, ...]
    logical_ids: tuple[str | None, ...]

    @classmethod
    def read(cls, made: Mapping[str, Any]) -> "_Cluster":
        orchestrator, nodes = made["orchestrator"], made["nodes"]
        place = Place(made["name"], len(nodes), made["continuous"], made["node_recovery"] == "Automatic")
        eks = None if orchestrator == "slurm" else orchestrator["eks"]
        ids = (tuple(node[key] for node in nodes) for key in ("instance_id", "logical_id"))
        return cls(place, made["arn"], eks, *ids)

    @property
    def name(self) -> str:
        return self.place.name

    def dimensions(self, node: int) -> dict[str, str]:
        """Name a node as Container Insights does, or as an alarm for Slurm would."""
        cluster = {"ClusterName": self.eks} if self.eks else {"HyperPodClusterName": self.name}
        return {**cluster, "InstanceId": self.nodes[node]}

    def named(self, node: int, *, by_logical_id: bool) -> str:
        return (self.logical_ids[node] if by_logical_id else None) or self.nodes[node]


class Stage:
    """Carries out acts, with a method for each kind."""

    def __init__(self, aws: LocalAws, outputs: Mapping[str, str]) -> None:
        self._aws, self._outputs = aws, outputs
        self._sqs, self._cloudwatch = aws.client("sqs"), aws.client("cloudwatch")
        # A message that the function could not hand back comes again after this time; it may be in hand for 60 s.
        timeout = {"VisibilityTimeout": "65"}
        self._sqs.set_queue_attributes(QueueUrl=outputs["IntakeQueueUrl"], Attributes=timeout)
        self._bus, self._topic = _listen_to_bus(aws), _listen_to_topic(aws, outputs["FailureTopicArn"])
        self._delivered: list[str] = []
        self._sent: list[Sent] = []
        self._in_alarm: dict[str, frozenset[int]] = {}
        made = (aws.admin("POST", "/_local/hyperpod/clusters", {"reboot_seconds": 1.0, **each}) for each in CLUSTERS)
        self._clusters = {cluster.name: cluster for cluster in map(_Cluster.read, made)}
        for cluster in self._clusters.values():
            self._make_alarms(cluster)

    @property
    def places(self) -> list[Place]:
        return [cluster.place for cluster in self._clusters.values()]

    def perform(self, act: Act) -> None:
        """Carry out an act; nothing happens where the node's present state does not allow it."""
        what = dict(act.what)
        cluster = self._clusters[what.pop("cluster")]
        try:
            getattr(self, act.do)(cluster, **what)
        except LocalAwsError as error:
            if not any(f": {status} " in str(error) for status in _REFUSED):
                raise

    # -- what happens in HyperPod

    def breaks(self, cluster: _Cluster, node: int, **how: Any) -> None:
        self._admin("break", cluster, node, how)

    def heals(self, cluster: _Cluster, node: int) -> None:
        self._admin("heal", cluster, node, {})

    def fails(self, cluster: _Cluster, node: int, **how: Any) -> None:
        self._admin("set", cluster, node, how)

    def replaces(self, cluster: _Cluster, node: int, lag_seconds: float) -> None:
        self._admin("replace", cluster, node, {"lag_seconds": lag_seconds})

    def _admin(self, verb: str, cluster: _Cluster, node: int, how: Mapping[str, Any]) -> None:
        named = cluster.named(node, by_logical_id=True)
        body = {"cluster": cluster.name, "node": named, **how}
        self._aws.admin("POST", f"/_local/hyperpod/nodes/{verb}", body)

    # -- what is said on the bus

    def says(self, cluster: _Cluster, node: int | None, status: str, late: float) -> None:
        summary = {"HealthStatus": status, "HealthStatusReason": _FAULT, "RepairAction": "None"}
        id_ = None if node is None else cluster.nodes[node]
        detail = {"ClusterName": cluster.name, "ClusterArn": cluster.arn, "InstanceId": id_, "HealthSummary": summary}
        self._put("aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event", cluster.arn, detail, late)

    def event(self, cluster: _Cluster, node: int, *, by_logical_id: bool, late: float) -> None:
        named = cluster.named(node, by_logical_id=by_logical_id)
        details = {
            "ClusterArn": cluster.arn,
            "ClusterName": cluster.name,
            "InstanceId": None if by_logical_id else named,
            "ResourceType": "Instance",
            "EventLevel": "Warn",
            "EventDetails": {"EventMetadata": {"Instance": {"NodeLogicalId": named}} if by_logical_id else None},
            "Description": f"Instance {named} is unhealthy. {_FAULT}.",
        }
        self._put("aws.sagemaker", "SageMaker HyperPod Cluster Event", cluster.arn, {"EventDetails": details}, late)

    def _put(self, source: str, kind: str, resource: str, detail: Mapping[str, Any], late: float = 0) -> None:
        entry = {"Source": source, "DetailType": kind, "Resources": [resource], "Detail": json.dumps(detail)}
        self._aws.put_events(entry | {"Time": int(time.time() - late)})

    # -- what alarms do

    def _make_alarms(self, cluster: _Cluster) -> None:
        """Make alarms on one node each, composite alarms that speak for such alarms, and one alarm of many series."""
        for prefix, numbers in (("hyperpod", SINGLE), ("node", CHILDREN), ("node", BEATS)):
            for number in numbers:
                dimensions = [{"Name": name, "Value": value} for name, value in cluster.dimensions(number).items()]
                metric = {"Namespace": "Health", "MetricName": "unhealthy", "Statistic": "Maximum", "Period": 60}
                name = f"{prefix}-{cluster.name}-{number}"
                self._cloudwatch.put_metric_alarm(AlarmName=name, **metric, Dimensions=dimensions, **_WATCHED)
        metrics = [{"Id": "q1", "Expression": _QUERY, "Period": 60, "ReturnData": True}]
        self._cloudwatch.put_metric_alarm(AlarmName=f"hyperpod-series-{cluster.name}", Metrics=metrics, **_WATCHED)
        # These two are in ALARM while a heartbeat is missing; it is there to begin with.
        for number in BEATS:
            self._set(f"node-{cluster.name}-{number}", "ALARM")
        rules = {
            "rack": " OR ".join(f'ALARM("node-{cluster.name}-{number}")' for number in CHILDREN),
            "beat": " OR ".join(f'NOT ALARM("node-{cluster.name}-{number}")' for number in BEATS),
        }
        for name, rule in rules.items():
            self._cloudwatch.put_composite_alarm(AlarmName=f"hyperpod-{name}-{cluster.name}", AlarmRule=rule)

    def alarm(self, cluster: _Cluster, number: int, state: str) -> None:
        self._set(f"hyperpod-{cluster.name}-{number}", state)

    def child(self, cluster: _Cluster, number: int, state: str) -> None:
        self._set(f"node-{cluster.name}-{number}", state)

    def series(self, cluster: _Cluster, nodes: Sequence[int]) -> None:
        """Let these series of the alarm be in ALARM and no others; each that changed has an event."""
        name, now_in_alarm = f"hyperpod-series-{cluster.name}", frozenset(nodes)
        before = self._in_alarm.get(name, frozenset())
        self._in_alarm[name] = now_in_alarm
        self._set(name, "ALARM" if nodes else "OK")
        attributes = {node: {"HyperPodClusterName": cluster.name, "InstanceId": cluster.nodes[node]} for node in SERIES}
        found = [{"attributes": attributes[node]} for node in nodes]
        self._aws.admin("POST", "/_local/contributors", {"alarm": name, "contributors": found})
        for node in sorted(before ^ now_in_alarm):
            state = {"value": "ALARM" if node in now_in_alarm else "OK", "reason": "set by chaos"}
            detail = {"alarmName": name, "alarmContributor": {"attributes": attributes[node]}, "state": state}
            arn = f"arn:aws:cloudwatch:{self._aws.region}:{self._aws.account}:alarm:{name}"
            self._put("aws.cloudwatch", "CloudWatch Alarm Contributor State Change", arn, detail)

    def _set(self, alarm: str, state: str) -> None:
        self._cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="set by chaos")

    # -- what is put on the intake queue

    def request(self, cluster: _Cluster, nodes: Sequence[int], *, by_logical_id: bool) -> None:
        ids = [cluster.named(node, by_logical_id=by_logical_id) for node in nodes]
        detail = {"ClusterName": cluster.name, "NodeLogicalIds" if by_logical_id else "NodeIds": ids, "Reason": "chaos"}
        event = {"version": "1", "id": f"request-{len(self._sent)}", "source": "hyperpod.node-remediation"}
        self._send(json.dumps(event | {"detail-type": "HyperPod Node Reboot Requested", "detail": detail}))

    def again(self, _cluster: _Cluster, draw: float) -> None:
        """Deliver once more what the bus has delivered before."""
        self._hear()
        if self._delivered:
            self._send(self._delivered[int(draw * len(self._delivered))])

    def nonsense(self, cluster: _Cluster, node: int, draw: int) -> None:
        """Send what is not JSON, what is no event, or an event that names no node."""
        if draw:
            self._send("{" if draw == 1 else json.dumps({"node": cluster.nodes[node]}))
        else:
            self.says(cluster, None, "Unhealthy", 0)

    def _send(self, body: str) -> None:
        answer = self._sqs.send_message(QueueUrl=self._outputs["IntakeQueueUrl"], MessageBody=body)
        self._sent += sent_by(body, answer["MessageId"])

    # -- what is seen

    def _hear(self) -> None:
        """Take what the bus has delivered, as far as the stack's rules deliver it to the intake queue."""
        for message in self._drain(self._bus):
            if sent := sent_by(message["Body"], message["MessageId"]):
                self._delivered.append(message["Body"])
                self._sent += sent

    def queued(self) -> int:
        """Return how many messages the intake queue holds, visible or not."""
        url = self._outputs["IntakeQueueUrl"]
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_QUEUED))["Attributes"]
        return sum(int(found[name]) for name in _QUEUED)

    def items(self) -> list[Item]:
        """Return the ledger's items."""
        pages = self._aws.client("dynamodb").get_paginator("scan").paginate(TableName=self._outputs["LedgerTableName"])
        return [read_item(item) for page in pages for item in page["Items"]]

    def evidence(self, limits: Limits) -> Evidence:
        """Return all that can be seen."""
        self._hear()
        items, at = self.items(), time.time()
        calls = self._aws.admin("GET", "/_local/hyperpod/calls")["calls"]
        reboots = self._aws.admin("GET", "/_local/hyperpod/reboots")
        return Evidence(
            limits=limits,
            at=at,
            nodes={cluster.name: len(cluster.nodes) for cluster in self._clusters.values()},
            same={
                node["instance_id"]: node["logical_id"] or node["instance_id"]
                for cluster in self._aws.admin("GET", "/_local/hyperpod/clusters")
                for node in cluster["nodes"]
            },
            reboots=[Reboot(each["cluster"], each["node"], each["started"]) for each in reboots],
            failed=[key for call in calls for key in read_failed(call)],
            sent=self._sent,
            lines=list(self._lines()),
            letters=[read_letter(message) for message in self._drain(self._outputs["DeadLetterQueueUrl"])],
            told=[told for message in self._drain(self._topic) for told in read_notice(message["Body"])],
            items=items,
            waiting=self.queued(),
        )

    def _lines(self) -> Iterator[Line]:
        """Read the function's log; the local AWS gives each invocation a stream of its own."""
        logs, streams = self._aws.client("logs"), dict[str, list[str]]()
        for group in logs.describe_log_groups()["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                for event in page["events"]:
                    streams.setdefault(event["logStreamName"], []).append(event["message"])
        for messages in streams.values():
            yield from read_stream(messages)

    def _drain(self, url: str) -> list[Mapping[str, Any]]:
        taken: list[Mapping[str, Any]] = []
        while messages := self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            taken += messages
        return taken


def _listen_to_bus(aws: LocalAws) -> str:
    """Return the URL of a queue that gets a copy of AWS's own events."""
    events = aws.client("events")
    rule = events.put_rule(Name="chaos-bus", EventPattern=json.dumps({"source": _SOURCES}))["RuleArn"]
    url, arn = _make_queue(aws, "chaos-bus", "events.amazonaws.com", rule)
    events.put_targets(Rule="chaos-bus", Targets=[{"Id": "queue", "Arn": arn}])
    return url


def _listen_to_topic(aws: LocalAws, topic: str) -> str:
    """Return the URL of a queue that is subscribed to the topic."""
    url, arn = _make_queue(aws, "chaos-topic", "sns.amazonaws.com", topic)
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def _make_queue(aws: LocalAws, name: str, service: str, source: str) -> tuple[str, str]:
    """Make a queue that a service may send to for one source; return its URL and ARN."""
    arn = f"arn:aws:sqs:{aws.region}:{aws.account}:{name}"
    statement: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage"}
    statement |= {"Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": source}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    url: str = aws.client("sqs").create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
    return url, arn
