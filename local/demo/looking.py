"""Looks at what happened, from outside, and keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from local.aws import LocalAws
from local.observing import (
    DeadLetter,
    LogLine,
    Observer,
    Reason,
    RebootCall,
    TopicEntry,
    parse,
    read_log,
    read_metric,
    read_notice,
)

ENDS_AFTER_REBOOT = ("recovered", "not_recovered", "superseded", "unverified")


@dataclass(frozen=True, slots=True)
class BusEvent:
    """Holds an event seen on the bus; `time` is when it was delivered, in seconds since 1970."""

    time: float
    id: str
    kind: str
    is_recovery: bool
    text: str

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> Self:
        event, time = parse(message["Body"]), int(message["Attributes"]["SentTimestamp"]) / 1000
        detail = event.get("detail") or {}
        health, alarm = detail.get("HealthSummary") or {}, detail.get("state") or {}
        is_recovery = health.get("HealthStatus") == "Healthy" or alarm.get("value") == "OK"
        return cls(time, event["id"], event["detail-type"], is_recovery, message["Body"])


@dataclass(frozen=True, slots=True)
class Email:
    """Holds an e-mail as it reached its reader."""

    to: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Readings:
    """Holds everything seen up to one moment.

    The letters, `well` (the healthy nodes that run) and the queues' depths are as of that moment. `waiting` counts the
    messages of the intake queue, `delayed` the letters that are invisible yet. `recoveries` has the metric
    TimeToRecovery, in seconds.
    """

    events: Sequence[BusEvent] = ()
    calls: Sequence[RebootCall] = ()
    letters: Sequence[DeadLetter] = ()
    told: Sequence[TopicEntry] = ()
    mails: Sequence[Email] = ()
    log: Sequence[LogLine] = ()
    recoveries: Sequence[float] = ()
    well: frozenset[str] = frozenset()
    waiting: int = 0
    delayed: int = 0

    def since(self, earlier: "Readings") -> "Readings":
        """Return what was not there already."""
        lists = ("events", "calls", "told", "mails", "log", "recoveries")
        news: dict[str, Any] = {name: getattr(self, name)[len(getattr(earlier, name)) :] for name in lists}
        return replace(self, **news, letters=[letter for letter in self.letters if letter not in earlier.letters])

    def started(self, node: str) -> list[RebootCall]:
        return [call for call in self.calls if node in call.started]

    def answer(self, node: str) -> Reason | None:
        """Return what the API said of the node last, if that was a no."""
        return next((call.failed[node] for call in reversed(self.calls) if node in call.failed), None)

    def letters_of(self, node: str) -> list[DeadLetter]:
        return [letter for letter in self.letters if letter.node == node]

    def told_of(self, node: str) -> list[TopicEntry]:
        return [entry for entry in self.told if entry.node == node]

    def events_of(self, *names: str) -> list[BusEvent]:
        """Return the events that name any of these nodes or alarms; not those that say a node is well again."""
        return [e for e in self.events if any(name in e.text for name in names) and not e.is_recovery]

    @property
    def reports(self) -> list[LogLine]:
        """Return the log's lines of reports."""
        return [line for line in self.log if line["outcome"]]

    def reports_of(self, events: Sequence[BusEvent]) -> list[LogLine]:
        ids = {event.id for event in events}
        return [line for line in self.reports if line["event_id"] in ids]

    def story_of(self, node: str) -> list[LogLine]:
        """Return the log's lines of a node, in their order: outcomes of reports, and states of incidents."""
        return [line for line in self.log if line["node"] == node]

    def ends_of(self, node: str) -> list[LogLine]:
        """Return the lines that say how the node's incidents ended after a reboot or a repair."""
        return [line for line in self.story_of(node) if is_end(line)]


def is_end(line: LogLine) -> bool:
    return not line["outcome"] and line["state"] in ENDS_AFTER_REBOOT


class Watch:
    """Looks again and again; what the topic and the bus brought it keeps."""

    def __init__(self, aws: LocalAws, outputs: Mapping[str, str]) -> None:
        self._aws, self.observer = aws, Observer(aws, outputs)
        self.observer.listen_to_bus()
        self._told: list[TopicEntry] = []
        self._events: list[BusEvent] = []

    def look(self) -> Readings:
        """Return everything as of now."""
        look = self.observer
        self._events += map(BusEvent.read, look.heard_on_bus())
        waiting = sum(look.queued().values())  # first: what became of what left the queue shows below
        calls = [RebootCall.read(call) for call in look.logged_calls()]
        letters = [DeadLetter.read(message) for message in look.see_letters()]
        self._told += (entry for message in look.heard_on_topic() for entry in read_notice(message["Body"]))
        printed = look.printed()
        well = (node["instance_id"] for node in look.nodes() if node["healthy"] and not node["rebooting"])
        return Readings(
            events=tuple(self._events),
            calls=calls,
            letters=letters,
            told=tuple(self._told),
            mails=[Email(mail["to"], mail["subject"], mail["message"]) for mail in self._aws.mail()],
            log=[line for line in read_log(printed) if line["outcome"] or line["state"]],
            recoveries=read_metric(printed, "TimeToRecovery"),
            well=frozenset(well),
            waiting=waiting,
            delayed=look.queued("DeadLetterQueueUrl")["Delayed"],
        )
