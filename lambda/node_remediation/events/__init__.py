"""Reads what can arrive on the intake queue: one pure parser per kind of event, told apart here.

EventBridge envelopes by source and detail-type, alarm actions and alerts by their fields; SNS envelopes are unwrapped
first.
Unknown extra fields are allowed everywhere.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from node_remediation import codes
from node_remediation.events import alarm, alert, health, own
from node_remediation.events.fields import (
    Envelope,
    Home,
    UnreadableEventError,
    in_milliseconds,
    mapping,
    read_time,
    text,
    whole_text,
)
from node_remediation.model import Composite, Message, NoReport, Outcome, Reading, Report, bounded
from node_remediation.settings import CANARY_DETAIL_TYPE, SWEEP_DETAIL_TYPE, SWEEP_SOURCE

__all__ = ["Home", "Reading", "UnreadableEventError", "read"]

_Parser = Callable[[Envelope], Sequence[Reading]]

_PARSERS: dict[tuple[str, str], _Parser] = {
    ("aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event"): health.read_node_health,
    ("aws.sagemaker", "SageMaker HyperPod Cluster Event"): health.read_cluster_event,
    ("aws.cloudwatch", "CloudWatch Alarm State Change"): alarm.read_state_change,
    ("aws.cloudwatch", "CloudWatch Alarm Contributor State Change"): alarm.read_state_change,
    (own.SOURCE, own.REQUESTED): own.read_request,
    (own.SOURCE, own.APPROVED): own.read_answer,
    (own.SOURCE, own.VETOED): own.read_answer,
    (own.SOURCE, own.FAILED): own.read_letter,
    (own.SOURCE, own.REFUSED): own.read_letter,
    (own.SOURCE, CANARY_DETAIL_TYPE): own.read_canary,
}
# The attribute Kind of letters, which a redrive keeps.
_LETTER_KINDS = frozenset({Outcome.FAILED, Outcome.REFUSED, Outcome.UNREADABLE})
_MOST_RECEIVES = 1_000
# A message of unknown age counts as old: it is reported as stale rather than acted on.
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def read(body: str, *, message_id: str, sent: datetime, home: Home) -> Sequence[Reading]:
    """Read one message's body into what it reports: one reading per node, or one that says why there is none.

    `message_id` and `sent` stand in for an event ID and a time if the body has none of its own; no report's time is
    later than `sent`. Raises UnreadableEventError, whose one line says what is wrong.
    """
    event, envelope_id, sent = _object(body, "the body"), bounded(message_id), in_milliseconds(sent)
    if event.get("Type") == "Notification" and isinstance(event.get("Message"), str):
        envelope_id = text(event, "MessageId") or envelope_id
        sent = min(sent, read_time(event.get("Timestamp")) or sent)
        event = _object(event["Message"], "the SNS envelope's Message")
    try:
        readings = _read_event(event, envelope_id, sent)
    except RecursionError:
        raise UnreadableEventError("the body is nested too deeply") from None
    return _without_foreign(readings, event, home)


def _object(body: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableEventError(f"{name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UnreadableEventError(f"{name} is JSON but not an object")
    return value


def _read_event(event: dict[str, Any], envelope_id: str, sent: datetime) -> Sequence[Reading]:
    if isinstance(event.get("alarmData"), dict):
        return alarm.read_lambda_action(event, sent)
    if "AlarmName" in event and "NewStateValue" in event:
        return alarm.read_sns_action(event, envelope_id, sent)
    if alert.is_alertmanager(event):
        return alert.read_alerts(event, envelope_id, sent)
    source, detail_type = text(event, "source"), text(event, "detail-type")
    if not source or not detail_type:
        raise UnreadableEventError("the body is no event: it has neither source and detail-type, nor an alarm's fields")
    envelope = Envelope(
        source=source,
        detail_type=detail_type,
        event_id=text(event, "id") or envelope_id,
        sent=sent,
        detail=event.get("detail"),
        time=event.get("time"),
        resources=_resources(event),
        replay=text(event, "replay-name"),
    )
    parser = _PARSERS.get((source, detail_type))
    if parser:
        return parser(envelope)
    reason = f"no part of this system acts on {detail_type} of {source}"
    if (source, detail_type) == (SWEEP_SOURCE, SWEEP_DETAIL_TYPE):
        reason = "a sweep is an invocation of the function, not a message of its queue"
    return [NoReport(envelope.trigger(""), Outcome.IGNORED, bounded(reason))]


def _resources(event: Mapping[str, Any]) -> tuple[str, ...]:
    resources = event.get("resources")
    return tuple(each for each in resources if isinstance(each, str)) if isinstance(resources, list) else ()


def _without_foreign(readings: Sequence[Reading], event: Mapping[str, Any], home: Home) -> Sequence[Reading]:
    """Refuse the readings of another account or region: their cluster may have the name of one of ours.

    The envelope tells; for an alarm without one, the alarm's ARN does; so does an ARN that names the cluster.
    """
    accounts = [event.get(key) for key in ("account", "accountId", "AWSAccountId")]
    foreign = any(map(home.is_foreign, accounts)) or home.is_foreign(None, event.get("region"))
    with_envelope = any(isinstance(account, str) for account in accounts[:1])
    # However many nodes a foreign request names, it is refused once: its letter is the message as it came.
    judged = (_refused(each, home) if foreign or _is_foreign(each, home, with_envelope) else each for each in readings)
    return list(dict.fromkeys(judged))


def _is_foreign(reading: Reading, home: Home, with_envelope: bool) -> bool:
    arn = reading.alarm.arn if reading.alarm and not with_envelope else None
    cluster = None if isinstance(reading, Composite) else reading.cluster
    return home.is_foreign_arn(arn) or home.is_foreign_arn(cluster)


def _refused(reading: Reading, home: Home) -> NoReport:
    if isinstance(reading, NoReport) and reading.outcome is Outcome.IGNORED:
        return reading
    healthy = isinstance(reading, Report | Composite) and reading.healthy
    return NoReport(
        trigger=reading.trigger,
        outcome=Outcome.IGNORED if healthy else Outcome.REFUSED,
        reason=f"the event is of another account or region; this system acts in {home.account}, {home.region} only",
        code=codes.FOREIGN_EVENT,
        cluster=None if isinstance(reading, Composite) else reading.cluster,
        alarm=reading.alarm,
    )


def is_batch(event: object) -> bool:
    """Tell whether the event is a batch of an SQS event source mapping; anything else is one event by itself."""
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        return False
    return not records or any(isinstance(each, dict) and each.get("eventSource") == "aws:sqs" for each in records)


def messages_of_batch(event: Mapping[str, Any]) -> list[Message]:
    """Return the messages of a batch, as an event source mapping delivers it ("Using Lambda with Amazon SQS").

    A record with missing or malformed fields is a message too, as far as it can be read.
    """
    return [
        _message(record if isinstance(record, dict) else {"body": record}, f"record-{number}")
        for number, record in enumerate(event["Records"])
    ]


def _message(record: Mapping[str, Any], unnamed: str) -> Message:
    attributes = mapping(record, "attributes")
    body = record.get("body")
    kind = mapping(mapping(record, "messageAttributes"), "Kind").get("stringValue")
    sent = _number(attributes.get("SentTimestamp"))
    receives = _number(attributes.get("ApproximateReceiveCount"))
    return Message(
        id=text(record, "messageId") or unnamed,
        body=body if isinstance(body, str) else _json(body),
        sent=read_time(sent) or _LONG_AGO,
        receives=min(max(receives or 1, 1), _MOST_RECEIVES),
        receipt_handle=whole_text(record, "receiptHandle"),
        redriven=isinstance(kind, str) and kind in _LETTER_KINDS,
    )


def message_of_payload(event: object, message_id: str, now: datetime) -> Message:
    """Return a direct invocation's payload as a message that was sent now."""
    return Message(id=message_id, body=_json(event), sent=now, direct=True)


def _number(value: object) -> int | None:
    try:
        return int(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _json(value: object) -> str:
    """Write a value as JSON. One that cannot be written is replaced by the reason, which no parser can read."""
    try:
        return json.dumps(value)
    except (ValueError, TypeError, RecursionError) as error:
        return f"not JSON: {error}"
