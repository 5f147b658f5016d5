"""Gap: metric alarms are described without StateTransitionedTimestamp, and the times of all alarms are whole seconds,
so that a change of state right after a reboot looks older than it.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html
Touches: `cloudwatch._dispatch_alarm_actions`, `cloudwatch._put_metric_alarm`, `cloudwatch._alarms`.
"""

import time
from typing import Any

from ministack.services import cloudwatch

_UPDATED, _TRANSITIONED = "StateUpdatedTimestamp", "StateTransitionedTimestamp"


def apply() -> None:
    """Note each change of state to the millisecond; an alarm that is put again keeps its times."""
    dispatch, put = cloudwatch._dispatch_alarm_actions, cloudwatch._put_metric_alarm

    def dispatch_and_note(alarm: dict[str, Any], *change: str) -> None:
        alarm[_UPDATED] = alarm[_TRANSITIONED] = round(time.time(), 3)
        dispatch(alarm, *change)

    def put_metric_alarm(params: Any, data: dict[str, Any], *protocol: bool) -> Any:
        before = cloudwatch._alarms.get(data.get("AlarmName"), {})
        answer = put(params, data, *protocol)
        alarm = cloudwatch._alarms.get(data.get("AlarmName"))
        if alarm and _TRANSITIONED in before:
            alarm.setdefault(_TRANSITIONED, before[_TRANSITIONED])
        return answer

    cloudwatch._dispatch_alarm_actions = dispatch_and_note
    cloudwatch._put_metric_alarm = put_metric_alarm
