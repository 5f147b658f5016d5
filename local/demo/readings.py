"""Holds what can be seen from outside: calls, events, letters, the topic, mail, the log. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

# The words of the function's log: outcomes of reports, states of incidents, ends after a reboot or repair.
REBOOTED, DEFERRED, REFUSED, DUPLICATE, CLEARED = "rebooted", "deferred", "refused", "duplicate", "cleared"
RETRYING, REPAIRING = "retrying", "repairing"
RECOVERED, NOT_RECOVERED, SUPERSEDED, UNVERIFIED = "recovered", "not_recovered", "superseded", "unverified"
ENDS = (RECOVERED, NOT_RECOVERED, SUPERSEDED, UNVERIFIED)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Says why a node was not rebooted, in the API's or the function's own words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Call:
    """Describes one BatchRebootClusterNodes call: what was asked for, started and refused."""

    time: float
    asked: tuple[str, ...]
    started: tuple[str, ...]
    refused: Mapping[str, Refusal]

    @classmethod
    def read(cls, logged: Mapping[str, Any]) -> Self:
        asked = (*(logged["node_ids"] or ()), *(logged["logical_ids"] or ()))
        if logged["error"]:
            error = Refusal(logged["error"]["code"], logged["error"]["message"])
            return cls(logged["time"], asked, (), dict.fromkeys(asked, error))
        answer = logged["answer"]
        started = (*answer.get("Successful", ()), *answer.get("SuccessfulNodeLogicalIds", ()))
        entries = (*answer.get("Failed", ()), *answer.get("FailedNodeLogicalIds", ()))
        refused = {_id(entry) or "": Refusal(entry["ErrorCode"], entry["Message"]) for entry in entries}
        return cls(logged["time"], asked, started, refused)


@dataclass(frozen=True, slots=True)
class Letter:
    """Holds a message of the dead-letter queue; one that names no node is there as it came in."""

    node: str | None
    refusal: Refusal
    kind: str
    attempt: int
    retryable: bool

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> Self:
        detail = _object(_object(message["Body"]).get("detail"))
        attributes = message.get("MessageAttributes", {})
        code, kind = (attributes.get(name, {}).get("StringValue", "") for name in ("ErrorCode", "Kind"))
        return cls(
            node=_id(detail),
            refusal=Refusal(detail.get("ErrorCode", code), detail.get("Message", message["Body"])),
            kind=kind,
            attempt=detail.get("Attempt", 1),
            retryable=detail.get("Retryable", False),
        )


@dataclass(frozen=True, slots=True)
class Told:
    """Holds one entry of one of the lists in a topic message."""

    list: str
    node: str | None
    refusal: Refusal


def read_told(body: str) -> list[Told]:
    """Return the entries that a queue subscribed to the topic finds in one message of the function's."""
    lists = _object(_object(body).get("Message"))
    return [
        Told(name, _id(entry), Refusal(entry.get("ErrorCode", ""), entry.get("Message", "")))
        for name, entries in lists.items()
        if isinstance(entries, list)
        for entry in entries
    ]


@dataclass(frozen=True, slots=True)
class Event:
    """Holds an event seen on the bus; `time` is when it was delivered, in seconds since 1970."""

    time: float
    id: str
    detail_type: str
    is_recovery: bool
    text: str

    @classmethod
    def read(cls, body: str, time: float) -> Self:
        event = _object(body)
        detail = _object(event.get("detail"))
        health, alarm = (_object(detail.get(name)) for name in ("HealthSummary", "state"))
        is_recovery = health.get("HealthStatus") == "Healthy" or alarm.get("value") == "OK"
        return cls(time, event.get("id", ""), event.get("detail-type", ""), is_recovery, body)


@dataclass(frozen=True, slots=True)
class Mail:
    """Holds an e-mail as it reached its reader."""

    to: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """Holds a line of the function's log: a report with its `outcome`, or an incident that came to a `state` or end."""

    node: str | None
    outcome: str | None
    state: str | None
    code: str | None
    reason: str
    event_id: str = ""
    incident: str | None = None

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> Self:
        return cls(
            line.get("node"),
            line.get("outcome"),
            line.get("state"),
            line.get("code"),
            line.get("reason") or "",
            line.get("event_id") or "",
            line.get("incident"),
        )

    @property
    def is_end(self) -> bool:
        """Tell whether it says how an incident ended after a reboot or a repair."""
        return self.state in ENDS


def read_log(messages: Sequence[str]) -> list[LogLine]:
    """Return the lines among a log's messages that are about a report or an incident."""
    return [LogLine.read(line) for line in map(_object, messages) if "outcome" in line or "state" in line]


def read_recoveries(messages: Sequence[str]) -> list[float]:
    """Return the seconds of the metric TimeToRecovery, from the lines that CloudWatch makes metrics of."""
    lines = [line for line in map(_object, messages) if "_aws" in line]
    return [seconds for line in lines for seconds in _numbers(line.get("TimeToRecovery", ()))]


def _numbers(value: Any) -> list[float]:
    return list(value) if isinstance(value, list | tuple) else [value]


@dataclass(frozen=True, slots=True)
class Readings:
    """Holds everything seen up to one moment.

    The letters, `well` (the healthy nodes that run) and the queues' depths are as of that moment. `waiting` counts the
    messages of the intake queue, `delayed` the letters that are invisible yet. `recoveries` has the metric
    TimeToRecovery, in seconds.
    """

    events: Sequence[Event] = ()
    calls: Sequence[Call] = ()
    letters: Sequence[Letter] = ()
    told: Sequence[Told] = ()
    mails: Sequence[Mail] = ()
    log: Sequence[LogLine] = ()
    recoveries: Sequence[float] = ()
    well: frozenset[str] = field(default_factory=frozenset)
    waiting: int = 0
    delayed: int = 0

    def since(self, earlier: "Readings") -> "Readings":
        """Return what was not there already."""
        return replace(
            self,
            events=self.events[len(earlier.events) :],
            calls=self.calls[len(earlier.calls) :],
            told=self.told[len(earlier.told) :],
            mails=self.mails[len(earlier.mails) :],
            log=self.log[len(earlier.log) :],
            recoveries=self.recoveries[len(earlier.recoveries) :],
        )

    def started(self, node: str) -> list[Call]:
        return [call for call in self.calls if node in call.started]

    def refusal(self, node: str) -> Refusal | None:
        """Return what the API said of the node last, if that was a no."""
        return next((call.refused[node] for call in reversed(self.calls) if node in call.refused), None)

    def letters_of(self, node: str) -> list[Letter]:
        return [letter for letter in self.letters if letter.node == node]

    def told_of(self, node: str) -> list[Told]:
        return [told for told in self.told if told.node == node]

    def events_of(self, *names: str) -> list[Event]:
        """Return the events that name any of these nodes or alarms; not those that say a node is well again."""
        return [e for e in self.events if any(name in e.text for name in names) and not e.is_recovery]

    def said_well(self, node: str) -> bool:
        """Tell whether HyperPod reported the node healthy."""
        return any(event.is_recovery and node in event.text for event in self.events)

    @property
    def outcomes(self) -> list[LogLine]:
        """Return the log's lines of reports."""
        return [line for line in self.log if line.outcome]

    def outcomes_of(self, events: Sequence[Event]) -> list[LogLine]:
        """Return the log's lines of these events."""
        ids = {event.id for event in events}
        return [line for line in self.outcomes if line.event_id in ids]

    def outcomes_of_node(self, node: str) -> list[LogLine]:
        return [line for line in self.outcomes if line.node == node]

    def story_of(self, node: str) -> list[LogLine]:
        """Return the log's lines of a node's incidents, in their order."""
        return [line for line in self.log if line.node == node and line.state]

    def ends_of(self, node: str) -> list[LogLine]:
        return [line for line in self.story_of(node) if line.is_end]


def _id(entry: Mapping[str, Any]) -> str | None:
    return entry.get("NodeId") or entry.get("NodeLogicalId")


def _object(value: Any) -> Mapping[str, Any]:
    """Return the object that a value is, or holds as JSON; an empty one where it is anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
