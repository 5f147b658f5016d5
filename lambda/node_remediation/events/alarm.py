"""Reads CloudWatch alarms in the three forms that they arrive in: one shape is made of them, and read once.

EventBridge (`detail`), a direct Lambda action (`alarmData`, the same fields) and an SNS action (fields of its own).
Samples: tests/samples/alarm-*.json; the SNS form: "Notifying users on alarm changes", CloudWatch User Guide.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from node_remediation import codes
from node_remediation.events.fields import (
    ClusterName,
    Envelope,
    UnreadableEventError,
    find_cluster,
    find_nodes,
    is_arn,
    mapping,
    read_time,
    text,
    whole_text,
)
from node_remediation.model import LONGEST_TEXT, Alarm, Composite, Node, NoReport, Outcome, Report, Trigger, bounded

_GROUP_BY = re.compile(r"\bGROUP\s+BY\b", re.IGNORECASE)
# The most tags that an AWS resource has.
_MOST_TAGS = 50
# No mute window that is looked at lasts longer.
_LONGEST_MUTE = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Series:
    """The metrics of an alarm: the dimensions of each. `grouped` marks a query that groups them into several series."""

    dimensions: tuple[Mapping[str, Any], ...]
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class _Change:
    """An alarm's change of state, in whatever form it came. `children` is None unless the alarm is composite."""

    trigger: Trigger
    alarm: Alarm
    state: str
    series: Series
    children: tuple[str, ...] | None
    muted: str | None = None
    muted_until: datetime | None = None
    replay: str | None = None


def read_state_change(envelope: Envelope) -> list[Report | Composite | NoReport]:
    """Read a `CloudWatch Alarm State Change` or `CloudWatch Alarm Contributor State Change`."""
    arn = next((arn for arn in envelope.resources if ":alarm:" in arn), None)
    return _read_detail(envelope, envelope.object_detail(), arn)


def read_lambda_action(event: Mapping[str, Any], sent: datetime) -> list[Report | Composite | NoReport]:
    """Read the payload of an alarm's Lambda action."""
    data, arn = mapping(event, "alarmData"), text(event, "alarmArn")
    timestamp = text(mapping(data, "state"), "timestamp")
    envelope = Envelope(
        source=text(event, "source") or "aws.cloudwatch",
        detail_type="CloudWatch Alarm Lambda Action",
        event_id=bounded(f"{arn or text(data, 'alarmName')}@{timestamp}"),
        sent=sent,
        detail=data,
        time=event.get("time"),
    )
    return _read_detail(envelope, data, arn)


def read_sns_action(event: Mapping[str, Any], event_id: str, sent: datetime) -> list[Report | Composite | NoReport]:
    """Read the JSON that an alarm publishes to an SNS topic. A muted or suppressed alarm publishes none."""
    envelope = Envelope("aws.cloudwatch", "CloudWatch Alarm SNS Action", event_id, sent, event)
    name, attributes = _required(event, "AlarmName"), mapping(event, "AlarmContributorAttributes")
    of_series = attributes if attributes or text(event, "AlarmContributorId") else None
    change = _Change(
        trigger=envelope.trigger(f"alarm {name}: {text(event, 'NewStateReason') or ''}", event.get("StateChangeTime")),
        alarm=_alarm(name, text(event, "AlarmArn"), None, of_series),
        state=_required(event, "NewStateValue"),
        series=Series((attributes,)) if of_series is not None else read_described(mapping(event, "Trigger")),
        children=_arns(event, "TriggeringChildren", "Arn") if "AlarmRule" in event else None,
    )
    return [_read_change(change)]


def _read_detail(envelope: Envelope, detail: Mapping[str, Any], arn: str | None) -> list[Report | Composite | NoReport]:
    name, state = _required(detail, "alarmName"), mapping(detail, "state")
    configuration = mapping(detail, "configuration")
    has_contributor = isinstance(detail.get("alarmContributor"), dict)
    attributes = mapping(mapping(detail, "alarmContributor"), "attributes")
    change = _Change(
        trigger=envelope.trigger(f"alarm {name}: {text(state, 'reason') or ''}", state.get("timestamp")),
        alarm=_alarm(name, arn, _tags(detail.get("alarmTags")), attributes if has_contributor else None),
        state=_required(state, "value"),
        series=Series((attributes,)) if has_contributor else _series(configuration),
        children=children_of(whole_text(state, "reasonData")) if "alarmRule" in configuration else None,
        muted=_muted(detail, state),
        muted_until=_mute_end(detail, envelope.sent),
        replay=envelope.replay,
    )
    return [_read_change(change)]


def _alarm(
    name: str, arn: str | None, tags: tuple[tuple[str, str], ...] | None, of_series: Mapping[str, Any] | None
) -> Alarm:
    series = None if of_series is None else series_of(of_series)
    return Alarm(name, bounded(arn) if arn else None, tags, by_series=of_series is not None, series=series)


def series_of(attributes: Mapping[str, object]) -> str:
    """Return the name of one series of an alarm: its attributes as JSON, or a hash of that if it is too long.

    Events and DescribeAlarmContributors' ContributorAttributes of the same series give the same.
    """
    name = json.dumps(attributes, sort_keys=True, separators=(",", ":"))
    return name if len(name) <= LONGEST_TEXT else f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def _read_change(change: _Change) -> Report | Composite | NoReport:
    if change.state not in ("ALARM", "OK"):
        return _no_report(change, Outcome.IGNORED, f"alarm {change.alarm.name} is {change.state}")
    healthy = change.state == "OK"
    muted_until = None if healthy else change.muted_until
    if change.children:
        return Composite(
            trigger=change.trigger,
            alarm=change.alarm,
            children=change.children,
            healthy=healthy,
            muted=change.muted,
            muted_until=muted_until,
            replay=change.replay,
        )
    found = find_in_series(change.series)
    if isinstance(found, str):
        return _read_without_node(change, found)
    node, cluster = found
    return Report(
        trigger=change.trigger,
        node=node,
        cluster=cluster.name,
        cluster_is_hyperpod=cluster.hyperpod,
        healthy=healthy,
        muted=change.muted,
        muted_until=muted_until,
        replay=change.replay,
        alarm=change.alarm,
    )


def _read_without_node(change: _Change, code: str) -> NoReport:
    """Read an alarm that names no node, or several: its series may report by themselves, else a person should know."""
    name = change.alarm.name
    if change.muted:
        return _no_report(change, Outcome.DEFERRED, change.muted)
    if change.state == "OK":
        return _no_report(change, Outcome.IGNORED, f"alarm {name} is OK and names no single node")
    if change.series.grouped and code == codes.NODE_NOT_RESOLVED:
        return _no_report(change, Outcome.IGNORED, f"alarm {name} has several series; each reports by itself")
    if change.children is not None:
        return _no_report(change, Outcome.REFUSED, f"composite alarm {name} lists no alarm that set it off", code)
    return _no_report(change, Outcome.REFUSED, refusal_text(name, code), code)


def refusal_text(alarm: str, code: str) -> str:
    """Say in one line why an alarm cannot be acted on."""
    if code == codes.AMBIGUOUS_NODES:
        return bounded(f"alarm {alarm} names more than one node or cluster over its metrics; it must name exactly one")
    dimensions = "a dimension InstanceId, NodeId, NodeName or NodeLogicalId, or a label with an instance ID"
    return bounded(f"alarm {alarm} names no node: no metric of it has {dimensions}")


def _no_report(change: _Change, outcome: Outcome, reason: str, code: str | None = None) -> NoReport:
    return NoReport(change.trigger, outcome, bounded(reason), code, alarm=change.alarm)


def find_in_series(series: Series) -> tuple[Node, ClusterName] | str:
    """Find the one node that an alarm's metrics name, and its cluster; else return the code that says why not."""
    nodes = {node for dimensions in series.dimensions for node in find_nodes(dimensions)}
    clusters = {cluster for dimensions in series.dimensions if (cluster := find_cluster(dimensions)).name}
    if not nodes:
        return codes.NODE_NOT_RESOLVED
    # A HyperPod name or an ARN wins over one that may be EKS's.
    clusters = {cluster for cluster in clusters if cluster.hyperpod or is_arn(cluster.name)} or clusters
    if len(nodes) > 1 or len(clusters) > 1:
        return codes.AMBIGUOUS_NODES
    return nodes.pop(), clusters.pop() if clusters else ClusterName()


def read_described(alarm: Mapping[str, Any]) -> Series:
    """Read the metrics of a MetricAlarm as DescribeAlarms answers it, or of an SNS action's Trigger.

    There is one metric in the alarm itself, or there are several in Metrics.
    """
    metrics = _objects(alarm, "Metrics")
    stats = [mapping(mapping(metric, "MetricStat"), "Metric") for metric in metrics]
    dimensions = [alarm.get("Dimensions"), *(stat.get("Dimensions") for stat in stats)]
    queries = [whole_text(metric, "Expression") for metric in metrics]
    return _make_series(dimensions, queries, alarm.get("EvaluationCriteria"))


def _series(configuration: Mapping[str, Any]) -> Series:
    """Read the metrics of an EventBridge event or Lambda action."""
    metrics = _objects(configuration, "metrics")
    stats = [mapping(mapping(metric, "metricStat"), "metric") for metric in metrics]
    queries = [whole_text(metric, "expression") for metric in metrics]
    return _make_series([stat.get("dimensions") for stat in stats], queries, configuration.get("evaluationCriteria"))


def _make_series(dimensions: list[object], queries: list[str | None], criteria: object) -> Series:
    """Make a Series. An alarm with evaluation criteria (PromQL) always has several."""
    named = tuple(found for value in dimensions if (found := _dimensions(value)))
    grouped = isinstance(criteria, dict) or any(_GROUP_BY.search(query or "") for query in queries)
    return Series(named, grouped)


def _dimensions(value: object) -> Mapping[str, Any]:
    """Read dimensions, an object or a list of {name, value} (SNS) or {Name, Value} (DescribeAlarms)."""
    if isinstance(value, dict):
        return value
    pairs = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return {name: text(pair, "value", "Value") for pair in pairs if (name := text(pair, "name", "Name"))}


def _muted(detail: Mapping[str, Any], state: Mapping[str, Any]) -> str | None:
    mute = detail.get("muteDetail")
    if mute is not None:
        rule = text(mute, "mutedByArn") if isinstance(mute, dict) else None
        return bounded(f"muted by {rule or 'a mute rule'}")
    suppressed = text(state, "actionsSuppressedBy")
    reason = text(state, "actionsSuppressedReason") or "no reason given"
    return bounded(f"suppressed by {suppressed}: {reason}") if suppressed else None


def _mute_end(detail: Mapping[str, Any], sent: datetime) -> datetime | None:
    end = read_time(mapping(detail, "muteDetail").get("muteWindowEnd"))
    return min(end, sent + _LONGEST_MUTE) if end else None


def children_of(reason_data: str | None) -> tuple[str, ...]:
    """Return the ARNs in a composite alarm's reason data, which is JSON; none if it cannot be read."""
    try:
        data = json.loads(reason_data or "{}")
    except (ValueError, RecursionError):
        return ()
    return _arns(data, "triggeringAlarms", "arn") if isinstance(data, dict) else ()


def _arns(fields: Mapping[str, Any], key: str, arn_key: str) -> tuple[str, ...]:
    arns = (text(child, arn_key) for child in _objects(fields, key))
    return tuple(dict.fromkeys(arn for arn in arns if arn))


def _objects(fields: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = fields.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _tags(value: object) -> tuple[tuple[str, str], ...] | None:
    """Read an alarm's tags, an object or a list of key and value; None if the event does not carry them."""
    if isinstance(value, dict):
        value = [{"key": key, "value": tag} for key, tag in value.items()]
    if not isinstance(value, list):
        return None
    pairs = ((text(item, "key", "Key"), text(item, "value", "Value")) for item in value if isinstance(item, dict))
    return tuple((key, tag) for key, tag in pairs if key and tag)[:_MOST_TAGS]


def _required(fields: Mapping[str, Any], key: str) -> str:
    value = text(fields, key)
    if value is None:
        raise UnreadableEventError(f"{key}: takes a string that is not empty; it is missing")
    return value
