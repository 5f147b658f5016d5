"""CloudWatch alarms, in the three forms that they arrive in: one shape is made of them, and read once.

EventBridge (`detail`), a direct Lambda action (`alarmData`, the same fields) and an SNS action (fields of its own).
Samples: tests/samples/alarm-*.json; the SNS form: "Notifying users on alarm changes", CloudWatch User Guide.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from node_remediation import codes
from node_remediation.events.fields import (
    ClusterName,
    Envelope,
    UnreadableEventError,
    find_cluster,
    find_node,
    mapping,
    read_time,
    report_time,
    text,
)
from node_remediation.model import Alarm, Composite, Node, Outcome, Report, Settled, Trigger

_GROUP_BY = re.compile(r"\bGROUP\s+BY\b", re.IGNORECASE)


class Series(NamedTuple):
    """What an alarm watches: the dimensions of each of its metrics, and whether a query groups them into series."""

    dimensions: tuple[Mapping[str, Any], ...]
    grouped: bool = False


class _Change(NamedTuple):
    """An alarm's change of state, whichever way it came; `children` is None unless the alarm is composite."""

    trigger: Trigger
    alarm: Alarm
    state: str
    series: Series
    muted: str | None
    muted_until: datetime | None
    replay: str | None
    children: tuple[str, ...] | None


def read_state_change(envelope: Envelope) -> list[Report | Composite | Settled]:
    """Read a `CloudWatch Alarm State Change` or `CloudWatch Alarm Contributor State Change`."""
    arn = next((arn for arn in envelope.resources if ":alarm:" in arn), None)
    return _read_detail(envelope, envelope.object_detail(), arn)


def read_lambda_action(event: Mapping[str, Any], sent: datetime) -> list[Report | Composite | Settled]:
    """Read what an alarm invokes a function with directly."""
    data, arn = mapping(event, "alarmData"), text(event, "alarmArn")
    timestamp = text(mapping(data, "state"), "timestamp")
    envelope = Envelope(
        source=text(event, "source") or "aws.cloudwatch",
        detail_type="CloudWatch Alarm Lambda Action",
        event_id=f"{arn or text(data, 'alarmName')}@{timestamp}",
        time=read_time(event.get("time")) or sent,
        detail=data,
    )
    return _read_detail(envelope, data, arn)


def read_sns_action(event: Mapping[str, Any], event_id: str, sent: datetime) -> list[Report | Composite | Settled]:
    """Read the JSON that an alarm publishes to an SNS topic."""
    envelope = Envelope("aws.cloudwatch", "CloudWatch Alarm SNS Action", event_id, sent, event)
    name = _required(event, "AlarmName")
    trigger = envelope.trigger(
        f"alarm {name}: {text(event, 'NewStateReason') or ''}", report_time(event.get("StateChangeTime"), sent)
    )
    attributes = mapping(event, "AlarmContributorAttributes")
    children = _arns(event, "TriggeringChildren", "Arn") if "AlarmRule" in event else None
    change = _Change(
        trigger=trigger,
        alarm=Alarm(name, text(event, "AlarmArn"), by_series=bool(attributes)),
        state=_required(event, "NewStateValue"),
        series=Series((attributes,)) if attributes else _sns_series(mapping(event, "Trigger")),
        replay=None,
        muted=None,  # a muted or suppressed alarm takes no action
        muted_until=None,
        children=children,
    )
    return [_read_change(change)]


def _read_detail(envelope: Envelope, detail: Mapping[str, Any], arn: str | None) -> list[Report | Composite | Settled]:
    name, state = _required(detail, "alarmName"), mapping(detail, "state")
    configuration = mapping(detail, "configuration")
    attributes = mapping(mapping(detail, "alarmContributor"), "attributes")
    change = _Change(
        trigger=envelope.trigger(
            f"alarm {name}: {text(state, 'reason') or ''}", report_time(state.get("timestamp"), envelope.time)
        ),
        alarm=Alarm(name, arn, _tags(detail.get("alarmTags")), by_series=bool(attributes)),
        state=_required(state, "value"),
        series=Series((attributes,)) if attributes else _series(configuration),
        muted=_muted(detail, state),
        muted_until=read_time(mapping(detail, "muteDetail").get("muteWindowEnd")),
        replay=envelope.replay,
        children=_children(state) if "alarmRule" in configuration else None,
    )
    return [_read_change(change)]


def _read_change(change: _Change) -> Report | Composite | Settled:
    if change.state not in ("ALARM", "OK"):
        return _settled(change, Outcome.IGNORED, f"alarm {change.alarm.name} is {change.state}")
    if change.children is not None:
        return _read_composite(change, change.children)
    found = find_in_series(change.series)
    if isinstance(found, str) and change.muted:
        return _settled(change, Outcome.DEFERRED, change.muted)
    if isinstance(found, str):
        return _read_without_node(change, found)
    node, cluster = found
    return Report(
        trigger=change.trigger,
        node=node,
        cluster=cluster.name,
        cluster_is_hyperpod=cluster.hyperpod,
        healthy=change.state == "OK",
        muted=change.muted,
        muted_until=change.muted_until if change.state == "ALARM" else None,
        replay=change.replay,
        alarm=change.alarm,
    )


def _read_composite(change: _Change, children: tuple[str, ...]) -> Composite | Settled:
    if change.muted:
        return _settled(change, Outcome.DEFERRED, change.muted)
    if not children:
        return _read_without_node(change, codes.NODE_NOT_RESOLVED)
    return Composite(change.trigger, change.alarm, children, healthy=change.state == "OK", replay=change.replay)


def _read_without_node(change: _Change, code: str) -> Settled:
    """An alarm that names no node, or more than one: its series may speak for it, else a person should know."""
    if change.state == "OK":
        return _settled(change, Outcome.IGNORED, f"alarm {change.alarm.name} is OK and names no single node")
    if change.series.grouped and code == codes.NODE_NOT_RESOLVED:
        return _settled(
            change, Outcome.IGNORED, f"alarm {change.alarm.name} has several series; each reports by itself"
        )
    return _settled(change, Outcome.REFUSED, refusal_text(change.alarm.name, code), code)


def refusal_text(alarm: str, code: str) -> str:
    """One line on why an alarm cannot be acted on."""
    if code == codes.AMBIGUOUS_NODES:
        return f"alarm {alarm} names more than one node or cluster over its metrics; it must name exactly one"
    return f"alarm {alarm} names no node: no metric of it has a dimension InstanceId, NodeId, NodeName or NodeLogicalId"


def _settled(change: _Change, outcome: Outcome, reason: str, code: str | None = None) -> Settled:
    until = change.muted_until if outcome is Outcome.DEFERRED and change.state == "ALARM" else None
    return Settled(change.trigger, outcome, reason, code, alarm=change.alarm, muted_until=until)


def find_in_series(series: Series) -> tuple[Node, ClusterName] | str:
    """The one node that an alarm's metrics name, with its cluster; else the code that says what is wrong."""
    nodes = {node for dimensions in series.dimensions if (node := find_node(dimensions))}
    clusters = {cluster for dimensions in series.dimensions if (cluster := find_cluster(dimensions)).name}
    if not nodes:
        return codes.NODE_NOT_RESOLVED
    hyperpod = {cluster for cluster in clusters if cluster.hyperpod} or clusters
    if len(nodes) > 1 or len(hyperpod) > 1:
        return codes.AMBIGUOUS_NODES
    return nodes.pop(), hyperpod.pop() if hyperpod else ClusterName()


def _series(configuration: Mapping[str, Any]) -> Series:
    """The metrics of an EventBridge event or Lambda action."""
    metrics = _objects(configuration, "metrics")
    stats = [mapping(mapping(metric, "metricStat"), "metric") for metric in metrics]
    return _make_series(
        [stat.get("dimensions") for stat in stats], [text(metric, "expression") or "" for metric in metrics]
    )


def _sns_series(trigger: Mapping[str, Any]) -> Series:
    """The metrics of an SNS action: one in Trigger itself, or several in Trigger.Metrics."""
    metrics = _objects(trigger, "Metrics")
    stats = [mapping(mapping(metric, "MetricStat"), "Metric") for metric in metrics]
    return _make_series(
        [trigger.get("Dimensions"), *(stat.get("Dimensions") for stat in stats)],
        [text(metric, "Expression") or "" for metric in metrics],
    )


def read_described(alarm: Mapping[str, Any]) -> Series:
    """The metrics of a MetricAlarm as DescribeAlarms answers it."""
    return _sns_series(alarm)


def _make_series(dimensions: list[object], expressions: list[str]) -> Series:
    named = tuple(found for value in dimensions if (found := _dimensions(value)))
    return Series(named, grouped=any(_GROUP_BY.search(expression) for expression in expressions))


def _dimensions(value: object) -> dict[str, Any]:
    """Dimensions as an object, or as a list of {name, value} (SNS) or {Name, Value} (DescribeAlarms)."""
    if isinstance(value, dict):
        return value
    pairs = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return {name: text(pair, "value", "Value") for pair in pairs if (name := text(pair, "name", "Name"))}


def find_in_contributor(attributes: Mapping[str, Any]) -> Node | None:
    """The node that one series of an alarm is about (DescribeAlarmContributors' ContributorAttributes)."""
    return find_node(attributes)


def _muted(detail: Mapping[str, Any], state: Mapping[str, Any]) -> str | None:
    mute = detail.get("muteDetail")
    if mute is not None:
        rule = text(mute, "mutedByArn") if isinstance(mute, dict) else None
        return f"muted by {rule or 'a mute rule'}"
    suppressed = text(state, "actionsSuppressedBy")
    return f"suppressed by {suppressed}: {text(state, 'actionsSuppressedReason') or ''}" if suppressed else None


def _children(state: Mapping[str, Any]) -> tuple[str, ...]:
    """The alarms that set off a composite one: `reasonData` is a JSON string that lists them."""
    return children_of(text(state, "reasonData"))


def children_of(reason_data: str | None) -> tuple[str, ...]:
    """The ARNs in a composite alarm's reason data; none where it cannot be read."""
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
    """An alarm's tags as an object, or as a list of key and value; None where the event has none to tell."""
    if not isinstance(value, dict | list):
        return None
    if isinstance(value, dict):
        return tuple((key, tag) for key, tag in value.items() if isinstance(tag, str))
    pairs = ((text(item, "key", "Key"), text(item, "value", "Value")) for item in value if isinstance(item, dict))
    return tuple((key, tag) for key, tag in pairs if key and tag)


def _required(fields: Mapping[str, Any], key: str) -> str:
    value = text(fields, key)
    if value is None:
        raise UnreadableEventError(f"{key}: takes a string that is not empty; it is missing")
    return value
