"""Gap: PutMetricAlarm drops `Metrics`, so that a metric-math alarm has neither expression nor dimensions, and
CloudFormation refuses such alarms. Metric alarms are described without StateTransitionedTimestamp, and the times of all
alarms are whole seconds, so that a change of state right after a reboot looks older than it.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html
Touches: `cloudwatch._put_metric_alarm`, `cloudwatch._alarms`, `cloudwatch._dispatch_alarm_actions`,
`provisioners._cw_metric_alarm_record`.
"""

import time
from typing import Any

from ministack.services import cloudwatch
from ministack.services.cloudformation import provisioners

_OK = 200
_SINGLE_METRIC = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit")
_UPDATED, _TRANSITIONED = "StateUpdatedTimestamp", "StateTransitionedTimestamp"


def apply() -> None:
    """Store and describe `Metrics` and times; metric-math alarms change state by SetAlarmState only."""
    dispatch, put = cloudwatch._dispatch_alarm_actions, cloudwatch._put_metric_alarm
    record = provisioners._cw_metric_alarm_record

    def dispatch_and_note(alarm: dict[str, Any], *change: str) -> None:
        alarm[_UPDATED] = alarm[_TRANSITIONED] = round(time.time(), 3)
        dispatch(alarm, *change)

    def put_metric_alarm(params: Any, data: dict[str, Any], *protocol: bool) -> Any:
        before = cloudwatch._alarms.get(data.get("AlarmName"), {})
        answer = put(params, data, *protocol)
        alarm = cloudwatch._alarms.get(data.get("AlarmName"))
        if alarm and _TRANSITIONED in before:
            alarm.setdefault(_TRANSITIONED, before[_TRANSITIONED])
        if alarm and answer[0] == _OK and data.get("Metrics"):
            _use_metrics(alarm, data["Metrics"])
        return answer

    def template_alarm(name: str, properties: dict[str, Any]) -> dict[str, Any]:
        metrics = properties.get("Metrics")
        single = {"MetricName": "placeholder", "Namespace": "placeholder", "Metrics": None} if metrics else {}
        alarm: dict[str, Any] = record(name, {**properties, **single})
        if metrics:
            _use_metrics(alarm, metrics)
        return alarm

    cloudwatch._dispatch_alarm_actions = dispatch_and_note
    cloudwatch._put_metric_alarm = put_metric_alarm
    provisioners._cw_metric_alarm_record = template_alarm


def _use_metrics(alarm: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
    for key in _SINGLE_METRIC:
        alarm.pop(key, None)
    alarm["Metrics"] = [{"ReturnData": True, **metric} for metric in metrics]
