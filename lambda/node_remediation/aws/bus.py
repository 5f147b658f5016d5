"""Puts events on an event bus."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from node_remediation.aws.errors import MayCall
from node_remediation.aws.queues import send_all
from node_remediation.events import own
from node_remediation.outbox.events import BusEvent
from node_remediation.outbox.letters import byte_count
from node_remediation.settings import STATE_CHANGE_DETAIL_TYPE as DETAIL_TYPE

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient

# PutEvents takes this many bytes per call (quota "PutEvents entry size", before it was raised to 1 MB).
_MOST_BYTES = 262_144


class Bus(Protocol):
    """Tells other systems what becomes of incidents."""

    def put(self, events: Sequence[BusEvent], *, may_call: MayCall = lambda: True) -> dict[int, str]:
        """Put events. Return the positions of those that may not have arrived, with the reason."""


class EventBridgeBus:
    """A bus of EventBridge, by its name or ARN."""

    def __init__(self, client: "EventBridgeClient", *, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, events: Sequence[BusEvent], *, may_call: MayCall = lambda: True) -> dict[int, str]:
        def send(positions: Sequence[int]) -> Mapping[str, Any]:
            entries: Any = [self._entry(events[position]) for position in positions]
            answers = self._client.put_events(Entries=entries)["Entries"]
            named = [{"Id": str(place), **answer} for place, answer in zip(positions, answers, strict=False)]
            failed = [
                {"Id": each["Id"], "Code": each.get("ErrorCode"), "Message": each.get("ErrorMessage")} for each in named
            ]
            return {"Successful": [each for each in named if each.get("EventId")], "Failed": failed}

        # EventBridge counts the time as 14 bytes ("Calculating PutEvents event entry size").
        sizes = [14 + byte_count(own.SOURCE, DETAIL_TYPE, event.detail) for event in events]
        missed = send_all(sizes, _MOST_BYTES, send, may_call=may_call)
        return {position: f"event bus: {why}" for position, why in missed.items()}

    def _entry(self, event: BusEvent) -> Mapping[str, Any]:
        return {
            "Time": event.time,
            "Source": own.SOURCE,
            "DetailType": DETAIL_TYPE,
            "Detail": event.detail,
            "EventBusName": self._name,
        }
