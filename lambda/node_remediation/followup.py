"""What comes after an outcome: which check is sent next, and what the ledger then remembers of the node. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from node_remediation import codes
from node_remediation.deadletter import Origin, is_reported, own_event, quoted_alarm, quoted_trigger
from node_remediation.events import own
from node_remediation.model import ENDS, Case, Check, Ending, Outcome, Report, Settled
from node_remediation.record import NodeRecord, Stage, Watch
from node_remediation.resume import lost_owner
from node_remediation.settings import LONGEST_DELAY, MOST_ROUNDS, Settings
from node_remediation.watch import current, next_check, opened, rounds

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A check to send for a case: of a node with its watch, or (`until`) of a muted alarm.

    `opens` marks a watch that is not in the ledger yet.
    """

    case: Case
    check: Check
    watch: Watch | None = None
    until: datetime | None = None
    opens: bool = False

    def delay(self, now: datetime) -> int:
        """Whole seconds, as SQS takes them."""
        return min(max(0, round((self.check.due - now) / _SECOND)), LONGEST_DELAY // _SECOND)


def retried(ending: Ending, record: NodeRecord, settings: Settings, now: datetime, jitter: float) -> Ending:
    """A failed try as one that is made again, where its code, the tries and the rounds that are left allow it.

    `jitter`, from 0 to 1, makes the wait up to a fifth shorter, so that a rack's nodes do not all come back at once.
    """
    if ending.outcome is not Outcome.FAILED or ending.code not in codes.PASSING:
        return ending
    watch, case = record.watch, ending.case
    if watch and watch.id == case.owner and watch.stage is Stage.RETRYING and not watch.end:
        return replace(ending, outcome=Outcome.RETRYING, again_at=watch.next_at)
    tries = _tries(case, record)
    # The retry itself is a round, and what it reboots must then be seen to its end.
    rounds_left = MOST_ROUNDS - rounds(case) - 1
    if tries >= settings.retry_attempts or rounds_left < settings.rounds_to_verify:
        return ending
    wait = min(settings.retry_delay * 2**tries, LONGEST_DELAY) * (1 - jitter / 5)
    again_at = now + max(_SECOND, wait // _SECOND * _SECOND)
    return replace(ending, outcome=Outcome.RETRYING, again_at=again_at)


def _tries(case: Case, record: NodeRecord) -> int:
    watch = current(case, record)
    return watch.tries if watch and watch.stage is Stage.RETRYING else 0


def follow_up(ending: Ending, record: NodeRecord | None, settings: Settings, now: datetime) -> FollowUp | None:
    """The check that an outcome asks for, if it does; `record` is None where no node is named."""
    if ending.told:
        return None
    if record is None or ending.case.reading.muted_until:
        return _after_mute(ending, now)
    watch = _watch_after(ending, record, settings, now)
    following = next_check(ending.case, watch, record, settings, now) if watch else None
    follow = check_of(ending.case, following) if following else None
    if follow is None or following is None:
        return None
    return replace(follow, opens=record.watch is None or record.watch.id != following.id)


def check_of(case: Case, watch: Watch) -> FollowUp | None:
    """The check that a watch says is the next; None if it says none."""
    if watch.next_at is None:
        return None
    return FollowUp(case, Check(watch.id, watch.checks, watch.next_at, watch.stage is Stage.RETRYING), watch)


def _watch_after(ending: Ending, record: NodeRecord, settings: Settings, now: datetime) -> Watch | None:
    """What is waited for after an outcome: a watch that goes on, or a new one."""
    case, watch = ending.case, record.watch
    is_open = watch is not None and watch.is_open(now)
    own_watch = current(case, record)
    if ending.outcome is Outcome.WAITING:
        return own_watch if own_watch and not own_watch.end else None
    if ending.outcome is Outcome.REBOOTED or ending.code == codes.OUTCOME_UNKNOWN:
        return _reboot_watch(case, record, settings, now)
    if ending.outcome is Outcome.RETRYING and ending.again_at:
        retry = opened(Stage.RETRYING, case, record, since=case.trigger.time, now=now, settings=settings)
        until = ending.again_at + settings.verify_timeout
        return replace(retry, until=until, next_at=ending.again_at, tries=_tries(case, record) + 1)
    muted = isinstance(case.reading, Report) and case.reading.muted
    if ending.outcome is Outcome.DEFERRED and not muted and (own_watch or not is_open):
        return opened(Stage.REPAIRING, case, record, since=case.trigger.time, now=now, settings=settings)
    if ending.outcome is Outcome.DUPLICATE and not is_open and _came_after_reboot(ending, record, settings, now):
        # Since the reboot, so that this report counts as one that came after it.
        return opened(Stage.REBOOTED, case, record, since=max(record.reboots), now=now, settings=settings)
    # A second reboot that the API said no to does not end the story of the first.
    goes_on = own_watch and own_watch.stage is Stage.REBOOTED and not own_watch.end and ending.outcome is Outcome.FAILED
    return own_watch if goes_on else None


def _reboot_watch(case: Case, record: NodeRecord, settings: Settings, now: datetime) -> Watch | None:
    """The watch of a reboot, which was opened when its answer was recorded, unless there was no answer."""
    owner = case.owner if case.owner in record.claims else lost_owner(record, now)
    if owner is None:
        return None
    if record.watch and record.watch.id == owner:
        return record.watch if not record.watch.end else None
    if record.claims[owner].result is not None:
        return None  # the watch that was opened with the answer is over already
    lost = opened(Stage.REBOOTED, case, record, since=record.claims[owner].at, now=now, settings=settings)
    return replace(lost, id=owner)


def _came_after_reboot(ending: Ending, record: NodeRecord, settings: Settings, now: datetime) -> bool:
    """Whether a report is swallowed by the cooldown although the node seems to be ill again since its reboot."""
    last = max(record.reboots, default=None)
    in_cooldown = last is not None and last > now - settings.cooldown
    return ending.code is None and in_cooldown and last is not None and ending.case.trigger.time > last


def _after_mute(ending: Ending, now: datetime) -> FollowUp | None:
    reading, done = ending.case.reading, 0
    until = reading.muted_until if isinstance(reading, Settled | Report) else None
    if until is None or ending.outcome not in (Outcome.DEFERRED, Outcome.WAITING):
        return None
    if reading.check:
        done = reading.check.round
    if not is_in_reach(until, now, done):
        return None
    due = min(now + LONGEST_DELAY, until + _SECOND)
    return FollowUp(ending.case, Check(None, done + 1, due), until=until)


def is_in_reach(until: datetime, now: datetime, done: int = 0) -> bool:
    """Whether checks can wait for a mute window's end."""
    return done < MOST_ROUNDS and until - now < LONGEST_DELAY * (MOST_ROUNDS - done)


def check_event(follow: FollowUp, *, event_id: UUID, now: datetime, origin: Origin) -> dict[str, Any]:
    """The body of a check: an event of this system's own, which says all that its report said."""
    check: dict[str, Any] = {"Round": follow.check.round, "Due": _precise(follow.check.due)}
    if follow.until:
        detail = check | {"Until": _precise(follow.until), "Event": _original(follow.case)}
        return own_event(own.ALARM_CHECK, detail, event_id=event_id, now=now, origin=origin)
    case, report = follow.case, follow.case.reading
    assert isinstance(report, Report)  # noqa: S101  only reports of a node are watched
    assert case.node  # noqa: S101  which names it
    told = {"InstanceId": report.instance_id, "RepairAction": report.repair_action, "Alarm": quoted_alarm(report.alarm)}
    detail = check | {
        "Watch": follow.check.watch,
        "Retry": follow.check.retry,
        "ClusterName": case.cluster,
        case.node.kind.value: case.node.id,
        "Attempt": report.attempt,
        "Trigger": quoted_trigger(case),
    }
    detail |= {key: value for key, value in told.items() if value}
    return own_event(own.CHECK, detail, event_id=event_id, now=now, origin=origin)


def _original(case: Case) -> str:
    reading = case.reading
    return reading.postponed if isinstance(reading, Settled) and reading.postponed else case.message.body


def _precise(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def settled(record: NodeRecord, ending: Ending, follow: FollowUp | None, settings: Settings) -> NodeRecord:
    """The record once an outcome is reported and its check is sent: what is waited for, and whether people know."""
    watch = record.watch
    if watch and ending.outcome in ENDS:
        is_over = watch.ended_by == ending.case.owner or (watch.end is None and current(ending.case, record))
        return record.watching(None if is_over else watch)
    if follow and follow.watch and may_replace(watch, follow.watch, opens=follow.opens):
        watch = replace(follow.watch, well_at=_latest(follow.watch, record))
    elif watch and watch.stage is Stage.RETRYING and not watch.end and current(ending.case, record):
        watch = None  # the retry was made, and nothing is waited for
    if watch and is_told(ending, settings):
        watch = replace(watch, told=True)
    return record.watching(watch)


def may_replace(watch: Watch | None, by: Watch, *, opens: bool) -> bool:
    """A watch gives way to itself with more checks sent, and to a new one that began later; one that is over does not
    come back."""
    if watch and watch.id == by.id:
        return watch.end is None and watch.checks <= by.checks
    return opens and (watch is None or watch.end is not None or watch.since <= by.since)


def _latest(by: Watch, record: NodeRecord) -> datetime | None:
    """A sign of health that was noted meanwhile."""
    noted = record.watch.well_at if record.watch and record.watch.id == by.id else None
    heard = record.healthy_at if by.alarm is None and record.healthy_at and record.healthy_at >= by.since else None
    return max((at for at in (by.well_at, noted, heard) if at), default=None)


def is_told(ending: Ending, settings: Settings) -> bool:
    """Whether people are told of an outcome."""
    return (
        is_reported(ending)
        or ending.outcome is Outcome.RETRYING
        or (ending.outcome is Outcome.REBOOTED and settings.notify_rebooted)
    )
