"""What can be seen from outside: the simulator's call log, the bus, both ends of the topic, the dead letters. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

RECOVERED, NOT_RECOVERED, SUPERSEDED = "recovered", "not_recovered", "superseded"
ENDS = (RECOVERED, NOT_RECOVERED, SUPERSEDED)  # how a node can end, in the words of the function's log


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the API did not reboot a node, in its own words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Call:
    """One BatchRebootClusterNodes call: what it asked for, what was started, what was refused and why."""

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
    """A message in the dead-letter queue; one that names no node is there as it came in."""

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
    """One entry of one of the lists in a topic message."""

    list: str
    node: str | None
    refusal: Refusal


def read_told(body: str) -> list[Told]:
    """The entries that a queue subscribed to the topic finds in one message; none in what is not our function's."""
    lists = _object(_object(body).get("Message"))
    return [
        Told(name, _id(entry), Refusal(entry.get("ErrorCode", ""), entry.get("Message", "")))
        for name, entries in lists.items()
        if isinstance(entries, list)
        for entry in entries
    ]


@dataclass(frozen=True, slots=True)
class Event:
    """An event seen on the bus; `time` is when it was delivered, in seconds since 1970."""

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
    """An e-mail as it reached its reader."""

    to: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """The function's structured log line about one outcome; `by_check`: its own check came to it, not a report."""

    event_id: str
    node: str | None
    outcome: str
    code: str | None
    reason: str
    by_check: bool = False

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> Self:
        id_, node, reason = line.get("event_id", ""), line.get("node"), line.get("reason", "")
        return cls(id_, node, line["outcome"], line.get("code"), reason, "check" in line)

    @property
    def is_end(self) -> bool:
        """Whether it tells how a node ended, which is no outcome of a report."""
        return self.outcome in ENDS


def read_log(messages: Sequence[str]) -> list[LogLine]:
    """The lines among a log's messages that tell an outcome."""
    return [LogLine.read(line) for line in map(_object, messages) if "outcome" in line]


def read_recoveries(messages: Sequence[str]) -> list[float]:
    """The seconds of the metric TimeToRecovery, from the lines that CloudWatch makes metrics of."""
    lines = [line for line in map(_object, messages) if "_aws" in line]
    return [seconds for line in lines for seconds in _numbers(line.get("TimeToRecovery", ()))]


def _numbers(value: Any) -> list[float]:
    return list(value) if isinstance(value, list | tuple) else [value]


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything seen up to one moment; the letters, `well` (the healthy nodes that run) and the queues' depths
    are as of that moment. `waiting` counts what the intake queue has, without the checks that are not due yet;
    `delayed` the dead letters to be seen later. `recoveries` has the metric TimeToRecovery, in seconds."""

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
        """Without what was there already."""
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
        """What the API said of the node last, if that was a no."""
        return next((call.refused[node] for call in reversed(self.calls) if node in call.refused), None)

    def letters_of(self, node: str) -> list[Letter]:
        return [letter for letter in self.letters if letter.node == node]

    def told_of(self, node: str) -> list[Told]:
        return [told for told in self.told if told.node == node]

    def events_of(self, *names: str) -> list[Event]:
        """The events that name any of these nodes or alarms; not those that say a node is well again."""
        return [e for e in self.events if any(name in e.text for name in names) and not e.is_recovery]

    def said_well(self, node: str) -> bool:
        """Whether HyperPod reported the node healthy."""
        return any(event.is_recovery and node in event.text for event in self.events)

    @property
    def outcomes(self) -> list[LogLine]:
        """What the log tells of reports: neither what their checks came to, nor how nodes ended."""
        return [line for line in self.log if not line.by_check and not line.is_end]

    def outcomes_of(self, events: Sequence[Event]) -> list[LogLine]:
        """What the log tells of these events."""
        ids = {event.id for event in events}
        return [line for line in self.outcomes if line.event_id in ids]

    def ends_of(self, node: str) -> list[LogLine]:
        return [line for line in self.log if line.node == node and line.is_end]


def _id(entry: Mapping[str, Any]) -> str | None:
    return entry.get("NodeId") or entry.get("NodeLogicalId")


def _object(value: Any) -> Mapping[str, Any]:
    """The object that a value is, or holds as JSON; an empty one where it is anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}
