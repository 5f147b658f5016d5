"""How a node ends that was rebooted, left to HyperPod, or is to be tried again: what a check decides. Pure.

Until `verify_timeout` only proof ends a watch: a sign of health, or that the node is gone. Then the status decides.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

from node_remediation import codes
from node_remediation.cluster import NodeState
from node_remediation.model import Case, Check, Ending, Outcome, Report
from node_remediation.record import NodeRecord, Stage, Watch
from node_remediation.settings import LONGEST_DELAY, MOST_ROUNDS, Settings, in_words

_SECOND = timedelta(seconds=1)
_RUNNING = "Running"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was asked for a check: the alarm's state (OK, ALARM, …) and since when; the node's, or that it is gone.

    `trouble` says what could not be found out.
    """

    alarm: str | None = None
    alarm_at: datetime | None = None
    node: NodeState | None = None
    gone: bool = False
    trouble: str = ""


NOTHING = Seen()


class Needs(NamedTuple):
    """What must be asked before a check can decide."""

    alarm: bool = False
    node: bool = False


def opened(
    stage: Stage, case: Case, record: NodeRecord, *, since: datetime, now: datetime, settings: Settings
) -> Watch:
    """A new watch for a report; what people know, and since when the node is ill, it has from the one before."""
    report, before = _report(case), _open_watch(record, now)
    reach = (MOST_ROUNDS - rounds(case)) * LONGEST_DELAY
    alarm = report.alarm.name if report.alarm else None
    return Watch(
        id=case.owner,
        stage=stage,
        since=since,
        until=now + min(settings.verify_timeout, reach),
        reported_at=min(before.reported_at, report.trigger.time) if before else report.trigger.time,
        alarm=alarm,
        well_at=record.healthy_at if alarm is None and record.healthy_at and record.healthy_at >= since else None,
        told=before is not None and before.told,
    )


def _open_watch(record: NodeRecord, now: datetime) -> Watch | None:
    return record.watch if record.watch and record.watch.is_open(now) else None


def rounds(case: Case) -> int:
    """How many messages of its chain came before what a case may send next."""
    return case.check.round if case.check else 0


def current(case: Case, record: NodeRecord) -> Watch | None:
    """The watch that a check belongs to; None if a later check, report or reboot has taken over."""
    check, watch = case.check, record.watch
    return watch if check and watch and watch.id == check.watch and check.round >= watch.checks else None


def is_overtaken(case: Case, record: NodeRecord) -> bool:
    """Whether a check is of a watch that another has taken the place of."""
    return case.check is not None and record.watch is not None and current(case, record) is None


def needs(case: Case, record: NodeRecord, settings: Settings, now: datetime) -> Needs:
    """What to ask before `decide`; nothing where the ledger knows already."""
    check = case.check
    if check is None or check.watch is None:
        return Needs(alarm=check is not None and _report(case).alarm is not None)
    watch = current(case, record)
    if watch is None or watch.end or _well_since(watch, record, NOTHING):
        return Needs()
    asks_alarm = watch.alarm is not None and watch.stage is not Stage.REPAIRING
    is_ill = asks_alarm or _unhealthy_since(watch, record, NOTHING, now) is not None
    may_be_judged = watch.stage is Stage.RETRYING or (is_ill and _is_cooled_down(record, settings, now))
    return Needs(alarm=asks_alarm, node=may_be_judged or _is_last(check, watch, now))


def decide(case: Case, record: NodeRecord, seen: Seen, settings: Settings, now: datetime) -> Ending | Case:
    """What a check comes to: an end, nothing yet (`waiting`), or a report that is to be judged now."""
    check = case.check
    assert check  # noqa: S101  only checks are decided here
    if check.watch is None:
        return _look_again(case, seen, now)
    watch = current(case, record)
    if watch is None:
        return Ending(case, Outcome.WAITING, "a later check, report or reboot of the node has taken over")
    if watch.end:
        return _ended(case, watch) if watch.ended_by == case.owner else Ending(case, Outcome.WAITING, "it has ended")
    # Since when one series of an alarm is OK nobody tells: now it is, whatever was reported before.
    seen = replace(seen, alarm_at=seen.alarm_at or now)
    return _decide(_Checked(case, check, watch, record, seen, now), settings)


class _Checked(NamedTuple):
    """A check of a watch that is its own, with all that is known."""

    case: Case
    check: Check
    watch: Watch
    record: NodeRecord
    seen: Seen
    now: datetime

    @property
    def is_last(self) -> bool:
        return _is_last(self.check, self.watch, self.now)

    @property
    def is_running(self) -> bool:
        return self.seen.node is not None and self.seen.node.status == _RUNNING

    def ends(self, outcome: Outcome, reason: str) -> Ending:
        return Ending(self.case, outcome, reason, quiet=not self.watch.told)


def _decide(checked: _Checked, settings: Settings) -> Ending | Case:
    watch, record, seen = checked.watch, checked.record, checked.seen
    well_at = _well_since(watch, record, seen)
    unhealthy_at = _unhealthy_since(watch, record, seen, checked.now)
    if well_at:
        return _recovered(checked.case, watch, well_at, _why_well(watch, seen, well_at))
    if seen.gone:
        return checked.ends(Outcome.SUPERSEDED, "the cluster has no such node any more: it was replaced")
    if watch.stage is Stage.RETRYING or (unhealthy_at and _may_reboot_again(checked, settings)):
        return judged_at(checked.case, record, unhealthy_at or checked.case.trigger.time)
    if not checked.is_last:
        return checked.ends(Outcome.WAITING, f"nothing says yet how the node ends; waiting until {_at(watch.until)}")
    if watch.stage is Stage.REBOOTED and checked.is_running and not unhealthy_at:
        reason = f"its status is {_RUNNING}, and nothing has reported it since, neither unhealthy nor healthy"
        return checked.ends(Outcome.RECOVERED, reason)
    return _not_recovered(checked)


def _may_reboot_again(checked: _Checked, settings: Settings) -> bool:
    """Whether the cooldown is over, and the rounds that are left would see another reboot to its end."""
    rounds_left = MOST_ROUNDS - checked.check.round
    cooled_down = _is_cooled_down(checked.record, settings, checked.now)
    return checked.watch.stage is Stage.REBOOTED and cooled_down and rounds_left >= settings.rounds_to_verify


def judged_at(case: Case, record: NodeRecord, unhealthy_at: datetime) -> Case:
    """A check as the report that its node is still unhealthy, with what HyperPod has advised meanwhile."""
    report = _report(case)
    trigger = replace(report.trigger, time=unhealthy_at)
    advised = record.advised or report.repair_action
    return Case(case.message, replace(report, trigger=trigger, repair_action=advised, attempt=report.attempt + 1))


def after_judgement(ending: Ending, record: NodeRecord, seen: Seen, now: datetime) -> Ending:
    """What a guard's no means for a reboot that is still watched: nothing yet, or that the node is given up."""
    case, check = ending.case, ending.case.check
    if check is None or check.watch is None:
        return ending
    watch = current(case, record)
    if watch is None or watch.end:
        return replace(ending, outcome=Outcome.WAITING, code=None)
    if watch.stage is Stage.RETRYING:
        return ending
    no = f"not rebooted again: {ending.code or ending.outcome.value}: {ending.reason}"
    checked = _Checked(case, check, watch, record, seen, now)
    if not checked.is_last:
        return checked.ends(Outcome.WAITING, no)
    given_up = _not_recovered(checked)
    return replace(given_up, reason=f"{given_up.reason}; {no}")


def healthy_end(case: Case, record: NodeRecord) -> Ending | None:
    """The end that a report of health brings to a node's watch, if it does."""
    watch = record.watch
    if watch is None or not case.healthy:
        return None
    if watch.end:
        return _ended(case, watch) if watch.ended_by == case.owner else None
    well_at = _well_since(watch, record, NOTHING)
    return _recovered(case, watch, well_at, f"reported healthy at {_at(well_at)}") if well_at else None


def ended(record: NodeRecord, ending: Ending) -> NodeRecord:
    """The record with an end decided, which the ending's message is to report."""
    assert record.watch  # noqa: S101  only what is watched ends
    end = replace(record.watch, end=ending.outcome, ended_by=ending.case.owner, reason=ending.reason)
    return record.watching(end)


def next_check(case: Case, watch: Watch, record: NodeRecord, settings: Settings, now: datetime) -> Watch | None:
    """The watch with its next check, whose round and time it says; None where the chain has no round left."""
    done = rounds(case)
    if done >= MOST_ROUNDS:
        return None
    if watch.stage is Stage.RETRYING and watch.next_at:
        return replace(watch, checks=done + 1)
    delay = _delay(watch, MOST_ROUNDS - done, now, settings)
    last = max(record.reboots, default=None)
    if last and watch.stage is Stage.REBOOTED:
        delay = _aligned(delay, last + settings.cooldown - now, watch.until - now, MOST_ROUNDS - done)
    return replace(watch, checks=done + 1, next_at=now + max(1, ceil(delay / _SECOND)) * _SECOND)


def _delay(watch: Watch, rounds_left: int, now: datetime, settings: Settings) -> timedelta:
    """First `verify_after`, then as often as that, or as the rounds that are left allow."""
    first, remaining = watch.until - settings.verify_timeout + settings.verify_after, watch.until - now
    wanted = first - now if now < first else max(settings.verify_after, remaining / rounds_left)
    # What the rounds after this one could not make up for.
    least = remaining - LONGEST_DELAY * (rounds_left - 1)
    return min(max(wanted, least), remaining, LONGEST_DELAY)


def _aligned(delay: timedelta, cooldown: timedelta, remaining: timedelta, rounds_left: int) -> timedelta:
    """Sooner, if the cooldown ends sooner and the rounds that are left still reach the time-out."""
    reaches = remaining - cooldown <= LONGEST_DELAY * (rounds_left - 1)
    return cooldown if timedelta(0) < cooldown < delay and reaches else delay


def _look_again(case: Case, seen: Seen, now: datetime) -> Ending | Case:
    """A muted alarm's report once the window is over: it stands if the alarm is still in ALARM."""
    report = _report(case)
    if report.alarm is None or seen.alarm == "ALARM":
        return Case(case.message, replace(report, trigger=replace(report.trigger, time=now)))
    if seen.alarm == "OK":
        return Ending(case, Outcome.CLEARED, f"the mute window is over, and alarm {report.alarm.name} is OK")
    state = seen.alarm or seen.trouble or "gone"
    return Ending(case, Outcome.IGNORED, f"the mute window is over, and alarm {report.alarm.name} is {state}")


def _well_since(watch: Watch, record: NodeRecord, seen: Seen) -> datetime | None:
    """The latest sign of health that counts, unless the node was reported unhealthy after it."""
    well_at = watch.well_at
    if seen.alarm == "OK":
        well_at = max(seen.alarm_at or watch.since, well_at or watch.since, watch.since)
    # Events have times in whole seconds, so one may seem to be a little older than it is.
    if well_at is None or well_at < watch.since.replace(microsecond=0):
        return None
    return None if record.unhealthy_at and record.unhealthy_at > max(well_at, watch.since) else well_at


def _unhealthy_since(watch: Watch, record: NodeRecord, seen: Seen, now: datetime) -> datetime | None:
    """When the node was last reported unhealthy since, if nothing has reported it healthy after that."""
    if seen.alarm == "ALARM":
        return now
    unhealthy_at = record.unhealthy_at
    if unhealthy_at is None or unhealthy_at <= watch.since or unhealthy_at <= (record.healthy_at or watch.since):
        return None
    return unhealthy_at


def _is_cooled_down(record: NodeRecord, settings: Settings, now: datetime) -> bool:
    return max(record.reboots, default=now - settings.cooldown) <= now - settings.cooldown


def _is_last(check: Check, watch: Watch, now: datetime) -> bool:
    return now >= watch.until or check.round >= MOST_ROUNDS


def _ended(case: Case, watch: Watch) -> Ending:
    """The end that an earlier delivery decided and may not have reported."""
    code = codes.NOT_RECOVERED if watch.end is Outcome.NOT_RECOVERED else None
    quiet = not watch.told and watch.end is not Outcome.NOT_RECOVERED
    return Ending(case, watch.end or Outcome.WAITING, watch.reason, code, quiet=quiet)


def _recovered(case: Case, watch: Watch, well_at: datetime, reason: str) -> Ending:
    took = max(well_at - watch.reported_at, timedelta(0))
    return Ending(case, Outcome.RECOVERED, reason, quiet=not watch.told, took=took)


def _why_well(watch: Watch, seen: Seen, well_at: datetime) -> str:
    if watch.well_at == well_at:
        return f"reported healthy at {_at(well_at)}"
    return f"alarm {watch.alarm} is {seen.alarm}"


_WAITED_FOR = {
    Stage.REBOOTED: "it did not come back",
    Stage.REPAIRING: "HyperPod's own repair came to nothing",
    Stage.RETRYING: "it was not tried again",
}


def _not_recovered(checked: _Checked) -> Ending:
    watch = checked.watch
    waited = in_words((checked.now - watch.since) // _SECOND * _SECOND)
    reason = f"{_WAITED_FOR[watch.stage]} within {waited}: {_what_was_seen(checked)}"
    return Ending(checked.case, Outcome.NOT_RECOVERED, reason, codes.NOT_RECOVERED)


def _what_was_seen(checked: _Checked) -> str:
    watch, record, seen, facts = checked.watch, checked.record, checked.seen, []
    if seen.node:
        facts.append(f"status {seen.node.status}" + (f" ({seen.node.message})" if seen.node.message else ""))
    if seen.alarm:
        facts.append(f"alarm {watch.alarm} {seen.alarm}")
    if record.unhealthy_at:
        facts.append(f"last reported unhealthy at {_at(record.unhealthy_at)}")
    facts.append(f"healthy at {_at(record.healthy_at)}" if record.healthy_at else "never reported healthy")
    return ", ".join([*facts, *([f"could not be asked: {seen.trouble}"] if seen.trouble else [])])


def _report(case: Case) -> Report:
    assert isinstance(case.reading, Report)  # noqa: S101  only reports of a node are watched
    return case.reading


def _at(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
