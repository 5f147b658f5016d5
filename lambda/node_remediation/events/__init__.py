"""Reads what can arrive on the intake queue: one pure parser per kind of event, told apart here.

EventBridge envelopes by source and detail-type, alarm actions by their fields; SNS envelopes are unwrapped first.
Unknown extra fields are allowed everywhere.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from node_remediation.events import alarm, health, own
from node_remediation.events.fields import Envelope, UnreadableEventError, read_time, text
from node_remediation.model import Composite, Outcome, Postponed, Report, Settled

Reading = Report | Composite | Settled | Postponed

_Parser = Callable[[Envelope], Sequence[Reading]]

_PARSERS: dict[tuple[str, str], _Parser] = {
    ("aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event"): health.read_node_health,
    ("aws.sagemaker", "SageMaker HyperPod Cluster Event"): health.read_cluster_event,
    ("aws.cloudwatch", "CloudWatch Alarm State Change"): alarm.read_state_change,
    ("aws.cloudwatch", "CloudWatch Alarm Contributor State Change"): alarm.read_state_change,
    (own.SOURCE, own.REQUESTED): own.read_request,
    (own.SOURCE, own.FAILED): own.read_dead_letter,
    (own.SOURCE, own.REFUSED): own.read_dead_letter,
    (own.SOURCE, own.CHECK): own.read_check,
    (own.SOURCE, own.ALARM_CHECK): own.read_alarm_check,
}


def read(body: str, *, message_id: str, sent: datetime, unmuted: bool = False) -> Sequence[Reading]:
    """Read one message's body into what it reports: one reading per node, or one that says why there is none.

    `message_id` and `sent` stand in for an event ID and a time where the body has none of its own; with `unmuted` an
    alarm's event is read as if nothing had muted it. Raises UnreadableEventError, whose one line says what is wrong.
    """
    event = _object(body, "the body")
    envelope_id, envelope_time = message_id, sent
    if event.get("Type") == "Notification" and isinstance(event.get("Message"), str):
        envelope_id = text(event, "MessageId") or message_id
        envelope_time = read_time(event.get("Timestamp")) or sent
        event = _object(event["Message"], "the SNS envelope's Message")
    if unmuted:
        event = {key: _without_mute(value) for key, value in event.items()}
    try:
        return _read_event(event, envelope_id, envelope_time)
    except RecursionError:
        raise UnreadableEventError("the body is nested too deeply") from None


def _without_mute(value: Any) -> Any:
    return {key: each for key, each in value.items() if key != "muteDetail"} if isinstance(value, dict) else value


def _object(body: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableEventError(f"{what} is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise UnreadableEventError(f"{what} is JSON but not an object")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _read_event(event: dict[str, Any], envelope_id: str, sent: datetime) -> Sequence[Reading]:
    if isinstance(event.get("alarmData"), dict):
        return alarm.read_lambda_action(event, sent)
    if "AlarmName" in event and "NewStateValue" in event:
        return alarm.read_sns_action(event, envelope_id, sent)
    source, detail_type = text(event, "source"), text(event, "detail-type")
    if not source or not detail_type:
        raise UnreadableEventError("the body is no event: it has neither source and detail-type, nor an alarm's fields")
    envelope = Envelope(
        source=source,
        detail_type=detail_type,
        event_id=text(event, "id") or envelope_id,
        time=read_time(event.get("time")) or sent,
        detail=event.get("detail"),
        resources=_texts(event.get("resources")),
        replay=text(event, "replay-name"),
    )
    if source == own.SOURCE and detail_type == own.REQUESTED:
        envelope = replace(envelope, time=sent)  # it was asked for when it was sent, whatever a copied example says
    parser = _PARSERS.get((source, detail_type))
    if parser is None:
        reason = f"no part of this system acts on {detail_type} of {source}"
        return [Settled(envelope.trigger(""), Outcome.IGNORED, reason)]
    return parser(envelope)
