"""The messages of the dead-letter queue: one per node, each a valid input of this system. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from node_remediation import codes
from node_remediation.events import own
from node_remediation.model import Alarm, Case, Ending, Outcome, Report

_DETAIL_TYPES = {Outcome.FAILED: own.FAILED, Outcome.NOT_RECOVERED: own.FAILED, Outcome.REFUSED: own.REFUSED}
# A node that did not come back is to machines and filters what failed is.
_KINDS = {Outcome.NOT_RECOVERED: Outcome.FAILED}
# SQS takes no empty string as an attribute's value.
_NO_CLUSTER = "unknown"
# What SQS and SNS do not take in an attribute (SendMessage, API reference): one such would spoil a whole batch call.
# Named one by one: the complement of all that they take compiles ten times as long.
_NOT_SENDABLE = "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
# An attribute holds at most this many characters here; a longer cluster name is no cluster's.
_LONGEST_ATTRIBUTE = 256
# A refusal that a redrive brings back stays away this long, or the redrive would chase it round: SQS's longest delay.
_REFUSED_AGAIN_DELAY = 900


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message for the dead-letter queue: its body, its string attributes and its delay in seconds."""

    body: str
    attributes: dict[str, str]
    delay: int = 0


class Origin(NamedTuple):
    """Where this system runs."""

    account: str
    region: str


class Redrive(NamedTuple):
    """The two queues of the redrive command."""

    dead_letter_arn: str
    intake_arn: str

    def command(self, region: str) -> str:
        return (
            "aws sqs start-message-move-task \\\n"
            f"    --source-arn {self.dead_letter_arn} \\\n"
            f"    --destination-arn {self.intake_arn} \\\n"
            f"    --region {region}"
        )


def is_reported(ending: Ending) -> bool:
    """Whether an ending belongs into the dead-letter queue."""
    return ending.outcome in (Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.REFUSED, Outcome.UNREADABLE)


def kind(outcome: Outcome) -> str:
    """An outcome as the attribute Kind of a message names it."""
    return _KINDS.get(outcome, outcome).value


def dead_letter(ending: Ending, *, letter_id: UUID, now: datetime, origin: Origin) -> DeadLetter:
    """The dead letter of a failed, refused or unreadable case.

    What names no node or no cluster goes in as it came: only the original says what there is to act on.
    """
    case, code = ending.case, ending.code or codes.UNREADABLE
    attributes = {
        "ClusterName": attribute(case.cluster or _NO_CLUSTER),
        "ErrorCode": attribute(code),
        "Kind": kind(ending.outcome),
    }
    again = case.message.redriven is not None and ending.outcome is not Outcome.FAILED
    delay = _REFUSED_AGAIN_DELAY if again else 0
    if case.node is None or case.cluster is None or ending.outcome not in _DETAIL_TYPES:
        return DeadLetter(case.message.body, attributes, delay)
    detail = {
        "ClusterName": case.cluster,
        case.node.kind.value: case.node.id,
        "ErrorCode": code,
        "Message": ending.reason,
        "Retryable": codes.is_retryable(code),
        "Attempt": case.reading.attempt if isinstance(case.reading, Report) else 1,
        "Trigger": quoted_trigger(case),
    } | _binding(case)
    event = own_event(_DETAIL_TYPES[ending.outcome], detail, event_id=letter_id, now=now, origin=origin)
    return DeadLetter(json.dumps(event), attributes, delay)


def own_event(
    detail_type: str, detail: Mapping[str, Any], *, event_id: UUID, now: datetime, origin: Origin
) -> dict[str, Any]:
    """An event of this system's own, in EventBridge's envelope."""
    return {
        "version": "1",
        "id": str(event_id),
        "source": own.SOURCE,
        "detail-type": detail_type,
        "time": iso(now),
        "account": origin.account,
        "region": origin.region,
        "resources": [],
        "detail": detail,
    }


def quoted_trigger(case: Case) -> dict[str, str]:
    """The event that a case was first reported by, as messages quote it."""
    trigger = case.trigger
    return {
        "Source": trigger.source,
        "DetailType": trigger.detail_type,
        "EventId": trigger.event_id,
        "Time": trigger.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "Reason": trigger.reason,
    }


def _binding(case: Case) -> dict[str, Any]:
    """What binds a later attempt too: what HyperPod advised, and the alarm that is to be OK again."""
    report = case.reading
    if not isinstance(report, Report):
        return {}
    told = {"RepairAction": report.repair_action, "Alarm": quoted_alarm(report.alarm)}
    return {key: value for key, value in told.items() if value}


def quoted_alarm(alarm: Alarm | None) -> dict[str, Any] | None:
    """The alarm behind a report, as this system's own messages name it."""
    return {"Name": alarm.name, "Arn": alarm.arn, "BySeries": alarm.by_series} if alarm else None


def attribute(value: str) -> str:
    """The value as an attribute of a message can hold it."""
    return re.sub(_NOT_SENDABLE, "?", value)[:_LONGEST_ATTRIBUTE]


def iso(time: datetime) -> str:
    """A time as AWS events write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
