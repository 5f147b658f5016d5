"""Makes the clusters, alarms and queues of a run, carries out its acts, and collects what is seen from outside."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from local.aws import LocalAws, LocalAwsError
from local.chaos.acts import BEATS, CHILDREN, SERIES, SINGLE, Act, Place
from local.chaos.verdict import Findings, Limits, SeenReboot, Sent, sent_by
from local.observing import FAILED_LISTS, DeadLetter, Observer, RebootCall, read_log, read_notice
from local.staging import SimulatedCluster, cluster_entry, health_entry, series_entry

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
_WATCHED = {"EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold"}
_QUERY = "SELECT MAX(unhealthy) FROM Health GROUP BY HyperPodClusterName, InstanceId"
_REFUSED = (404, 409)
_LISTS_OF_FAILURES = (*FAILED_LISTS, "Refused", "Unreadable")


class Performer:
    """Carries out acts, with a method for each kind."""

    def __init__(self, aws: LocalAws, outputs: Mapping[str, str]) -> None:
        self._aws, self._outputs = aws, outputs
        self._sqs, self._cloudwatch = aws.client("sqs"), aws.client("cloudwatch")
        # A message that the function could not hand back comes again after this time; it may be in hand for 60 s.
        timeout = {"VisibilityTimeout": "65"}
        self._sqs.set_queue_attributes(QueueUrl=outputs["IntakeQueueUrl"], Attributes=timeout)
        self.observer = Observer(aws, outputs)
        self.observer.listen_to_bus()
        self._delivered: list[str] = []
        self._sent: list[Sent] = []
        self._in_alarm: dict[str, frozenset[int]] = {}
        made = (SimulatedCluster.make(aws, **{"reboot_seconds": 1.0, **each}) for each in CLUSTERS)
        self._clusters = {cluster.name: cluster for cluster in made}
        for cluster in self._clusters.values():
            self._make_alarms(cluster)

    @property
    def places(self) -> list[Place]:
        return [Place(each.name, len(each.nodes), each.continuous, each.repairs) for each in self._clusters.values()]

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

    def breaks(self, cluster: SimulatedCluster, node: int, **how: Any) -> None:
        self._admin("break", cluster, node, how)

    def heals(self, cluster: SimulatedCluster, node: int) -> None:
        self._admin("heal", cluster, node, {})

    def fails(self, cluster: SimulatedCluster, node: int, **how: Any) -> None:
        self._admin("set", cluster, node, how)

    def replaces(self, cluster: SimulatedCluster, node: int, lag_seconds: float) -> None:
        self._admin("replace", cluster, node, {"lag_seconds": lag_seconds})

    def _admin(self, verb: str, cluster: SimulatedCluster, node: int, how: Mapping[str, Any]) -> None:
        body = {"cluster": cluster.name, "node": _named(cluster, node, by_logical_id=True), **how}
        self._aws.admin("POST", f"/_local/hyperpod/nodes/{verb}", body)

    # -- what is said on the bus

    def says(self, cluster: SimulatedCluster, node: int | None, status: str, late: float) -> None:
        self._put(health_entry(cluster, None if node is None else cluster.nodes[node], status), late)

    def event(self, cluster: SimulatedCluster, node: int, *, by_logical_id: bool, late: float) -> None:
        id_ = _named(cluster, node, by_logical_id=by_logical_id)
        self._put(cluster_entry(cluster, *((None, id_) if by_logical_id else (id_, None))), late)

    def _put(self, entry: Mapping[str, Any], late: float = 0) -> None:
        self._aws.put_events({**entry, "Time": int(time.time() - late)})

    # -- what alarms do

    def _make_alarms(self, cluster: SimulatedCluster) -> None:
        """Make alarms on one node each, composite alarms that speak for such alarms, and one alarm of many series."""
        for prefix, numbers in (("hyperpod-reboot", SINGLE), ("node", CHILDREN), ("node", BEATS)):
            for number in numbers:
                dimensions = [
                    {"Name": name, "Value": value} for name, value in cluster.dimensions(cluster.nodes[number]).items()
                ]
                metric = {"Namespace": "Health", "MetricName": "unhealthy", "Statistic": "Maximum", "Period": 60}
                name = f"{prefix}-{cluster.name}-{number}"
                self._cloudwatch.put_metric_alarm(AlarmName=name, **metric, Dimensions=dimensions, **_WATCHED)
        metrics = [{"Id": "q1", "Expression": _QUERY, "Period": 60, "ReturnData": True}]
        self._cloudwatch.put_metric_alarm(
            AlarmName=f"hyperpod-reboot-series-{cluster.name}", Metrics=metrics, **_WATCHED
        )
        # These two are in ALARM while a heartbeat is missing; it is there to begin with.
        for number in BEATS:
            self._set(f"node-{cluster.name}-{number}", "ALARM")
        rules = {
            "rack": " OR ".join(f'ALARM("node-{cluster.name}-{number}")' for number in CHILDREN),
            "beat": " OR ".join(f'NOT ALARM("node-{cluster.name}-{number}")' for number in BEATS),
        }
        for name, rule in rules.items():
            self._cloudwatch.put_composite_alarm(AlarmName=f"hyperpod-reboot-{name}-{cluster.name}", AlarmRule=rule)

    def alarm(self, cluster: SimulatedCluster, number: int, state: str) -> None:
        self._set(f"hyperpod-reboot-{cluster.name}-{number}", state)

    def child(self, cluster: SimulatedCluster, number: int, state: str) -> None:
        self._set(f"node-{cluster.name}-{number}", state)

    def series(self, cluster: SimulatedCluster, nodes: Sequence[int]) -> None:
        """Let these series of the alarm be in ALARM and no others; each that changed has an event."""
        name, now_in_alarm = f"hyperpod-reboot-series-{cluster.name}", frozenset(nodes)
        before = self._in_alarm.get(name, frozenset())
        self._in_alarm[name] = now_in_alarm
        self._set(name, "ALARM" if nodes else "OK")
        attributes = {node: {"HyperPodClusterName": cluster.name, "InstanceId": cluster.nodes[node]} for node in SERIES}
        found = [{"attributes": attributes[node]} for node in nodes]
        self._aws.admin("POST", "/_local/contributors", {"alarm": name, "contributors": found})
        for node in sorted(before ^ now_in_alarm):
            state = "ALARM" if node in now_in_alarm else "OK"
            self._put(series_entry(self._aws, name, attributes[node], state))

    def _set(self, alarm: str, state: str) -> None:
        self._cloudwatch.set_alarm_state(AlarmName=alarm, StateValue=state, StateReason="set by chaos")

    # -- what is put on the intake queue

    def request(self, cluster: SimulatedCluster, nodes: Sequence[int], *, by_logical_id: bool) -> None:
        ids = [_named(cluster, node, by_logical_id=by_logical_id) for node in nodes]
        detail = {"ClusterName": cluster.name, "NodeLogicalIds" if by_logical_id else "NodeIds": ids, "Reason": "chaos"}
        event = {"version": "1", "id": f"request-{len(self._sent)}", "source": "hyperpod.node-remediation"}
        self._send(json.dumps(event | {"detail-type": "HyperPod Node Reboot Requested", "detail": detail}))

    def again(self, _cluster: SimulatedCluster, draw: float) -> None:
        """Deliver once more what the bus has delivered before."""
        self._hear()
        if self._delivered:
            self._send(self._delivered[int(draw * len(self._delivered))])

    def nonsense(self, cluster: SimulatedCluster, node: int, draw: int) -> None:
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
        for message in self.observer.heard_on_bus():
            if sent := sent_by(message["Body"], message["MessageId"]):
                self._delivered.append(message["Body"])
                self._sent += sent

    def evidence(self, limits: Limits) -> Findings:
        """Return all that can be seen."""
        self._hear()
        look = self.observer
        items, at = look.items(), time.time()
        calls = [RebootCall.read(call) for call in look.logged_calls()]
        told = [entry for message in look.heard_on_topic() for entry in read_notice(message["Body"])]
        return Findings(
            limits=limits,
            at=at,
            nodes={cluster.name: len(cluster.nodes) for cluster in self._clusters.values()},
            same={node["instance_id"]: node["logical_id"] or node["instance_id"] for node in look.nodes()},
            reboots=[SeenReboot(each["cluster"], each["node"], each["started"]) for each in look.reboots()],
            failed=[
                (call.cluster, node, reason.code)
                for call in calls
                if call.answered
                for node, reason in call.failed.items()
            ],
            sent=self._sent,
            lines=read_log(look.printed()),
            letters=[DeadLetter.read(message) for message in look.take_letters()],
            told=[entry for entry in told if entry.list in _LISTS_OF_FAILURES],
            items=items,
            waiting=sum(look.queued().values()),
        )


def _named(cluster: SimulatedCluster, node: int, *, by_logical_id: bool) -> str:
    return (by_logical_id and cluster.logical_ids[node]) or cluster.nodes[node]
