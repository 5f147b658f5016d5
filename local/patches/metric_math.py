"""Gap: PutMetricAlarm drops `Metrics`, so that a metric-math alarm has neither expression nor dimensions, and
CloudFormation refuses such alarms.

Touches: `cloudwatch._put_metric_alarm`, `cloudwatch._alarms`, `provisioners._cw_metric_alarm_record`.
"""

from typing import Any

from ministack.services import cloudwatch
from ministack.services.cloudformation import provisioners

_OK = 200
_SINGLE_METRIC = ("MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Period", "Dimensions", "Unit")


def apply() -> None:
    """Store and describe `Metrics`; such alarms change state by SetAlarmState only."""
    put, record = cloudwatch._put_metric_alarm, provisioners._cw_metric_alarm_record

    def put_metric_alarm(params: Any, data: dict[str, Any], is_cbor: bool, is_json: bool = False) -> Any:
        answer = put(params, data, is_cbor, is_json)
        if answer[0] == _OK and data.get("Metrics"):
            _use_metrics(cloudwatch._alarms[data["AlarmName"]], data["Metrics"])
        return answer

    def template_alarm(name: str, properties: dict[str, Any]) -> dict[str, Any]:
        metrics = properties.get("Metrics")
        single = {"MetricName": "placeholder", "Namespace": "placeholder", "Metrics": None} if metrics else {}
        alarm: dict[str, Any] = record(name, {**properties, **single})
        if metrics:
            _use_metrics(alarm, metrics)
        return alarm

    cloudwatch._put_metric_alarm = put_metric_alarm
    provisioners._cw_metric_alarm_record = template_alarm


def _use_metrics(alarm: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
    for key in _SINGLE_METRIC:
        alarm.pop(key, None)
    alarm["Metrics"] = [{"ReturnData": True, **metric} for metric in metrics]
