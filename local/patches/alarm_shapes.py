"""Makes the documented shapes in which an alarm's change of state leaves CloudWatch. Pure.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html
"""

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Alarm = dict[str, Any]  # as PutMetricAlarm or PutCompositeAlarm takes it, with AlarmArn and StateReasonData


@dataclass(frozen=True, slots=True)
class PublishedState:
    """Describes a state of an alarm; `at` is in seconds since 1970."""

    value: str
    reason: str
    at: float
    reason_data: str | None = None

    def described(self) -> dict[str, str]:
        """Return the state as events have it."""
        data = {} if self.reason_data is None else {"reasonData": self.reason_data}
        return {"value": self.value, "reason": self.reason, **data, "timestamp": timestamp(self.at)}


def timestamp(at: float) -> str:
    """Format a time as `2026-01-31T12:00:00.000+0000`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(at * 1000) % 1000:03d}+0000"


def alarm_data(alarm: Alarm, old: PublishedState, new: PublishedState) -> dict[str, Any]:
    """Return the `detail` of the event, which is also the `alarmData` of a Lambda action."""
    return {
        "alarmName": alarm["AlarmName"],
        "state": new.described(),
        "previousState": old.described(),
        "configuration": _configuration(alarm),
    }


def _configuration(alarm: Alarm) -> dict[str, Any]:
    description = {"description": alarm["AlarmDescription"]} if alarm.get("AlarmDescription") else {}
    if "AlarmRule" not in alarm:
        return {"metrics": [_metric(metric) for metric in _queries(alarm)], **description}
    return {"alarmRule": alarm["AlarmRule"], **description}


def _queries(alarm: Alarm) -> list[dict[str, Any]]:
    """Return the alarm's metrics as PutMetricAlarm's `Metrics`, also if it has a single one."""
    if alarm.get("Metrics"):
        return list(alarm["Metrics"])
    metric = {key: alarm.get(key) for key in ("Namespace", "MetricName", "Dimensions")}
    stat = {
        "Metric": metric,
        "Period": alarm.get("Period", 60),
        "Stat": alarm.get("ExtendedStatistic") or alarm.get("Statistic"),
        "Unit": alarm.get("Unit"),
    }
    return [{"Id": str(uuid.uuid5(uuid.NAMESPACE_URL, alarm["AlarmArn"])), "MetricStat": stat, "ReturnData": True}]


def _metric(query: dict[str, Any]) -> dict[str, Any]:
    plain = {key.lower(): query[key] for key in ("Id", "Expression", "Label", "Period") if query.get(key)}
    plain["returnData"] = query.get("ReturnData", True)
    if "MetricStat" not in query:
        return plain
    stat = query["MetricStat"]
    metric = {
        "namespace": stat["Metric"].get("Namespace"),
        "name": stat["Metric"].get("MetricName"),
        "dimensions": {d["Name"]: d["Value"] for d in stat["Metric"].get("Dimensions") or []},
    }
    unit = {"unit": stat["Unit"]} if stat.get("Unit") else {}
    return {**plain, "metricStat": {"metric": metric, "period": stat["Period"], "stat": stat["Stat"], **unit}}


def lambda_event(alarm: Alarm, account: str, region: str, old: PublishedState, new: PublishedState) -> dict[str, Any]:
    """Return the event of an alarm's Lambda action."""
    return {
        "source": "aws.cloudwatch",
        "alarmArn": alarm["AlarmArn"],
        "accountId": account,
        "time": timestamp(new.at),
        "region": region,
        "alarmData": alarm_data(alarm, old, new),
    }


def sns_message(alarm: Alarm, account: str, region: str, old: PublishedState, new: PublishedState) -> dict[str, Any]:
    """Return what an alarm publishes to a topic. AWS writes the region's display name; here it is its code."""
    message = {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription") or None,
        "AWSAccountId": account,
        "NewStateValue": new.value,
        "NewStateReason": new.reason,
        "StateChangeTime": timestamp(new.at),
        "Region": region,
        "AlarmArn": alarm["AlarmArn"],
        "OldStateValue": old.value,
        "OKActions": alarm.get("OKActions") or [],
        "AlarmActions": alarm.get("AlarmActions") or [],
        "InsufficientDataActions": alarm.get("InsufficientDataActions") or [],
    }
    if "AlarmRule" in alarm:
        children = json.loads(new.reason_data or "{}").get("triggeringAlarms", [])
        triggering = [
            {"Arn": c["arn"], "State": {"Value": c["state"]["value"], "Timestamp": c["state"]["timestamp"]}}
            for c in children
        ]
        return {**message, "AlarmRule": alarm["AlarmRule"], "TriggeringChildren": triggering}
    return {**message, "Trigger": _trigger(alarm)}


def _trigger(alarm: Alarm) -> dict[str, Any]:
    common = {
        "EvaluationPeriods": alarm.get("EvaluationPeriods", 1),
        "ComparisonOperator": alarm.get("ComparisonOperator"),
        "Threshold": alarm.get("Threshold"),
        "TreatMissingData": alarm.get("TreatMissingData", "missing"),
        "EvaluateLowSampleCountPercentile": "",
    }
    if alarm.get("Metrics"):
        return {"Period": 60, **common, "Metrics": [_trigger_metric(metric) for metric in alarm["Metrics"]]}
    return {
        "MetricName": alarm.get("MetricName"),
        "Namespace": alarm.get("Namespace"),
        "StatisticType": "Statistic",
        "Statistic": (alarm.get("Statistic") or "Average").upper(),
        "Unit": alarm.get("Unit"),
        "Dimensions": _dimensions(alarm.get("Dimensions")),
        "Period": alarm.get("Period", 60),
        **common,
    }


def _trigger_metric(query: dict[str, Any]) -> dict[str, Any]:
    if "MetricStat" not in query:
        return query
    stat = query["MetricStat"]
    metric = {**stat["Metric"], "Dimensions": _dimensions(stat["Metric"].get("Dimensions"))}
    return {**query, "MetricStat": {**stat, "Metric": metric}}


def _dimensions(dimensions: list[dict[str, str]] | None) -> list[dict[str, str]]:
    return [{"value": d["Value"], "name": d["Name"]} for d in dimensions or []]
