"""Messages into cases: each read, completed by lookups, and, where that is all there is to it, decided."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from node_remediation import codes, events
from node_remediation.events.fields import UnreadableEventError
from node_remediation.model import (
    Case,
    Composite,
    Ending,
    Message,
    Outcome,
    Postponed,
    Report,
    Settled,
    Trigger,
    TryAgain,
)
from node_remediation.resolve import Resolved, Resolver
from node_remediation.settings import Settings

_LATE = "the function ran out of time before the call"


class Reader:
    """Reads messages; what it must look up goes through the resolver."""

    def __init__(self, *, settings: Settings, resolver: Resolver, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._resolver = resolver
        self._clock = clock

    def read(self, messages: Sequence[Message], *, may_call: Callable[[], bool]) -> list[Resolved]:
        """What the messages report, in their order; no lookup starts once `may_call` says no."""
        return [part for message in messages for part in self._read(message, may_call)]

    def _read(self, message: Message, may_call: Callable[[], bool]) -> list[Resolved]:
        try:
            readings = self._due(events.read(message.body, message_id=message.id, sent=message.sent), message)
        except UnreadableEventError as error:
            return [_unreadable(message, str(error))]
        resolved: list[Resolved] = []
        for reading in readings:
            asking = self._without_unwatched(reading)
            if may_call() or isinstance(asking, Settled):
                resolved += self._resolver.resolve(message, asking)
            else:
                resolved.append(TryAgain(Case(message, _placeholder(asking)), codes.DEADLINE_EXCEEDED, _LATE))
        return resolved

    def _due(self, readings: Sequence[events.Reading], message: Message) -> list[Report | Composite | Settled]:
        """Readings, with what was muted read as if it had not been, if its window is over. Raises as `events.read`."""
        due: list[Report | Composite | Settled] = []
        for reading in readings:
            if not isinstance(reading, Postponed):
                due.append(reading)
            elif reading.until > self._clock():
                due.append(_still_muted(reading))
            else:
                again = events.read(reading.body, message_id=message.id, sent=message.sent, unmuted=True)
                due += [replace(each, check=reading.check) for each in again if not isinstance(each, Postponed)]
        return due

    def _without_unwatched(self, reading: Report | Composite | Settled) -> Report | Composite | Settled:
        """A topic or a direct action may bring alarms that nobody asked this system to act on."""
        alarm, own = reading.alarm, reading.check or (isinstance(reading, Report) and reading.on_demand)
        if alarm is None or own or self._settings.watches(alarm.name):
            return reading
        reason = f"alarm {alarm.name} matches none of the setting alarm_name_prefixes"
        return Settled(reading.trigger, Outcome.IGNORED, reason, alarm=alarm)


def _still_muted(postponed: Postponed) -> Settled:
    return Settled(
        postponed.trigger,
        Outcome.WAITING,
        f"the mute window lasts until {postponed.until:%Y-%m-%d %H:%M:%S} UTC",
        muted_until=postponed.until,
        check=postponed.check,
        postponed=postponed.body,
    )


def _unreadable(message: Message, why: str) -> Ending:
    trigger = Trigger("", "", message.id, message.sent)
    return Ending(Case(message, Settled(trigger, Outcome.UNREADABLE, why)), Outcome.UNREADABLE, why, codes.UNREADABLE)


def _placeholder(reading: Report | Composite) -> Report | Settled:
    if isinstance(reading, Report):
        return reading
    outcome = Outcome.CLEARED if reading.healthy else Outcome.FAILED
    return Settled(reading.trigger, outcome, _LATE, alarm=reading.alarm)
