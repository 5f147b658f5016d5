"""Measures sweeps: one that finds nothing, and those that look at 10,000 rebooted nodes which are due at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.reports import DETAIL_TYPE, REASON, SOURCE, SentReport, sweep
from bench.rie import CPU_SHARE, Function
from bench.tools import OURS
from bench.world import LATENCY_SECONDS, Bench, BenchAccount, Work, world
from node_remediation.aws.codec import to_ms
from node_remediation.aws.ledger import as_written, make_item
from node_remediation.model import HYPERPOD, Alarm, IdKind, Node, NodeKey, Trigger
from node_remediation.policy.record import Budget, Complaint, Incident, NodeRecord, Record, Sign, State, derived_id
from node_remediation.settings import INDEX_NAME, SHARDS, Settings

NODES, CLUSTERS = 10_000, 50
# Every second node is complained about by an alarm of its own as well, which has no data since.
IDLE_SWEEPS = 20
# More sweeps are not made, whatever is left.
MOST_SWEEPS = 5
_ITEMS_PER_CALL = 25  # of BatchWriteItem
_TOKEN = "bench"  # noqa: S105  # it names a write
_PREFIX = "hyperpod-reboot-"
_ALARM: dict[str, Any] = {
    "Namespace": "ContainerInsights",
    "MetricName": "hyperpod_node_health_status_unschedulable_pending_reboot",
    "Statistic": "Maximum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
}


@dataclass(frozen=True, slots=True)
class Sweep:
    """Holds one sweep. `looked_at` nodes were due before it and are not any more."""

    looked_at: int
    work: Work


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Holds sweeps that find nothing, and those until all watched nodes were looked at, in order."""

    nodes: int
    clusters: int
    idle: tuple[Sweep, ...]
    full: tuple[Sweep, ...]


def measure(bench: Bench, *, nodes: int = NODES, clusters: int = CLUSTERS) -> Sweeps:
    """Sweep an empty ledger, fill it, and sweep until all is looked at; with the processor time that Lambda gives."""
    build = bench.builds[OURS]
    with world(bench, seconds=LATENCY_SECONDS) as stage, stage.function(build, cpu_share=CPU_SHARE) as function:
        _sweep(stage, function)  # the first starts the function
        idle = tuple(_sweep(stage, function) for _ in range(IDLE_SWEEPS))
        _fill(stage, nodes // clusters, clusters)
        return Sweeps(nodes, clusters, idle, tuple(_until_done(stage, function)))


def _until_done(stage: BenchAccount, function: Function) -> Iterator[Sweep]:
    for _ in range(MOST_SWEEPS):
        yield _sweep(stage, function)
        if not _due(stage):
            return


def _sweep(stage: BenchAccount, function: Function) -> Sweep:
    due, work = _due(stage), stage.work(function, [sweep()])
    return Sweep(due - _due(stage), work)


def _due(stage: BenchAccount) -> int:
    """Count what is due, past the endpoint that counts the function's calls."""
    pages = stage.aws.client("dynamodb").get_paginator("query")
    asked: dict[str, Any] = {
        "TableName": stage.outputs["LedgerTableName"],
        "IndexName": INDEX_NAME,
        "Select": "COUNT",
        "KeyConditionExpression": "#shard = :shard AND #due <= :now",
        "ExpressionAttributeNames": {"#shard": "shard", "#due": "due"},
    }
    now = {"N": str(to_ms(datetime.now(UTC)))}
    values = [{":shard": {"S": str(shard)}, ":now": now} for shard in range(SHARDS)]
    return sum(page["Count"] for each in values for page in pages.paginate(**asked, ExpressionAttributeValues=each))


def _fill(stage: BenchAccount, nodes_per_cluster: int, clusters: int) -> None:
    """Write rebooted nodes, each due for its first look, by the function's own codec."""
    settings, now = Settings(), datetime.now(UTC)
    rebooted_at = now - settings.verify_after
    table, cloudwatch = stage.aws.client("dynamodb"), stage.aws.client("cloudwatch")
    for _ in range(clusters):
        reports = stage.cluster(nodes_per_cluster)
        alarmed = {each.node for each in reports[::2]}
        for node in alarmed:
            dimensions = [{"Name": "InstanceId", "Value": node}]
            cloudwatch.put_metric_alarm(AlarmName=f"{_PREFIX}{node}", **_ALARM, Dimensions=dimensions)
        records: list[Record] = [_rebooted(each, rebooted_at, settings, each.node in alarmed) for each in reports]
        records.append(Budget(reports[0].cluster).charged(rebooted_at, nodes_per_cluster))
        written = [as_written(each, now=now, token=_TOKEN, settings=settings) for each in records]
        for start in range(0, len(written), _ITEMS_PER_CALL):
            some = written[start : start + _ITEMS_PER_CALL]
            puts = [{"PutRequest": {"Item": make_item(each, now)}} for each in some]
            table.batch_write_item(RequestItems={stage.outputs["LedgerTableName"]: puts})


def _rebooted(reported: SentReport, at: datetime, settings: Settings, alarmed: bool) -> NodeRecord:
    node, opened = Node(IdKind.NODE_ID, reported.node), at - timedelta(seconds=1)
    trigger = Trigger(SOURCE, DETAIL_TYPE, reported.event_id, opened, REASON)
    complaints = [Complaint(HYPERPOD, opened, trigger)]
    if alarmed:
        alarm = Alarm(f"{_PREFIX}{reported.node}")
        complaints.append(Complaint(alarm.source, opened, trigger, alarm=alarm))
    return NodeRecord(
        NodeKey(reported.cluster, reported.node),
        node=node,
        incident=Incident(
            id=derived_id(reported.event_id),
            state=State.REBOOTED,
            node=node,
            opened_at=opened,
            complaints=tuple(complaints),
            since=at,
            due=at + settings.verify_after,
            until=at + settings.verify_timeout,
        ),
        reboots=(at,),
        last_claim=at,
        signs={each.source: Sign(unhealthy_at=opened) for each in complaints},
        history=((at, "rebooted: SageMaker started the reboot"),),
    )
