"""The order of the steps: read, resolve, judge, reboot, report, hand back. Nothing else knows it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from node_remediation import codes, events
from node_remediation.batching import calls_for
from node_remediation.events.fields import UnreadableEventError
from node_remediation.guard import judge
from node_remediation.intake import Intake
from node_remediation.model import (
    Case,
    Composite,
    Ending,
    Handling,
    Message,
    Node,
    Outcome,
    Report,
    Settled,
    Trigger,
    TryAgain,
)
from node_remediation.reboot import Answer, Rebooter, Result
from node_remediation.report import Reporter
from node_remediation.resolve import Resolved, Resolver, give_up
from node_remediation.settings import MAX_RECEIVES, Settings
from node_remediation.telemetry import Telemetry

# No call starts with less than this left: one may take 10 s, and the dead-letter queue and the topic want their share.
CALL_RESERVE = 25.0  # seconds
_LATE = "the function ran out of time before the call"


class Remediator:
    """Handles batches of messages; what it needs of the world comes in as collaborators."""

    def __init__(
        self,
        *,
        settings: Settings,
        resolver: Resolver,
        rebooter: Rebooter,
        reporter: Reporter,
        intake: Intake,
        telemetry: Telemetry,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._rebooter = rebooter
        self._reporter = reporter
        self._intake = intake
        self._telemetry = telemetry
        self._clock = clock

    def handle(self, messages: Sequence[Message], *, seconds_left: Callable[[], float]) -> Handling:
        """Bring every message to its outcomes or hand it back; `seconds_left` counts down to the deadline."""

        def may_call() -> bool:
            return seconds_left() > CALL_RESERVE

        resolved = [part for message in messages for part in self._read(message, may_call)]
        over, open_cases = _divide(resolved)
        plan = judge(open_cases, self._settings)
        rebooted, sizes = self._reboot(plan.reboots, may_call)
        handling = self._report(_sort_out([*over, *plan.endings, *rebooted]))
        trouble = self._intake.come_again([message for message in messages if message.id in handling.handed_back])
        self._telemetry.record(handling, nodes_per_call=sizes, now=self._clock(), trouble=trouble)
        return handling

    def _read(self, message: Message, may_call: Callable[[], bool]) -> list[Resolved]:
        try:
            readings = events.read(message.body, message_id=message.id, sent=message.sent)
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

    def _without_unwatched(self, reading: events.Reading) -> events.Reading:
        """A topic or a direct action may bring alarms that nobody asked this system to act on."""
        alarm = reading.alarm
        if alarm is None or self._settings.watches(alarm.name):
            return reading
        reason = f"alarm {alarm.name} matches none of the setting alarm_name_prefixes"
        return Settled(reading.trigger, Outcome.IGNORED, reason, alarm=alarm)

    def _reboot(
        self, reboots: dict[str, list[Case]], may_call: Callable[[], bool]
    ) -> tuple[list[Ending | TryAgain], list[tuple[str, int]]]:
        results: list[Ending | TryAgain] = []
        sizes: list[tuple[str, int]] = []
        for cluster, cases in reboots.items():
            case_of = {case.node: case for case in cases if case.node}
            calls = calls_for(list(case_of))
            while calls:
                nodes = calls.pop(0)
                answers = self._rebooter.reboot(cluster, nodes, may_call=may_call)
                sizes += [(cluster, size) for size in answers.nodes_per_call]
                results += [_conclude(_case_for(answer.node, nodes, case_of), answer) for answer in answers.answers]
                if _is_in_trouble(answers.answers):
                    # What was not called yet is safe to call later; calling on would only lose more answers.
                    why = answers.answers[0]
                    left = [case_of[node] for call in calls for node in call]
                    results += [TryAgain(case, why.code or "", why.message) for case in left]
                    break
        return results, sizes

    def _report(self, handling: Handling) -> Handling:
        """Report what is over; a message of which any part did not arrive everywhere comes again, as a whole."""
        missed = self._reporter.report(handling.endings)
        late = {ending.case.message.id: why for ending, why in missed.items()}
        arrived = tuple(ending for ending in handling.endings if ending.case.message.id not in late)
        return Handling(arrived, handling.handed_back | late)


def _unreadable(message: Message, why: str) -> Ending:
    trigger = Trigger("", "", message.id, message.sent)
    return Ending(Case(message, Settled(trigger, Outcome.UNREADABLE, why)), Outcome.UNREADABLE, why, codes.UNREADABLE)


def _placeholder(reading: Report | Composite) -> Report | Settled:
    if isinstance(reading, Report):
        return reading
    outcome = Outcome.CLEARED if reading.healthy else Outcome.FAILED
    return Settled(reading.trigger, outcome, _LATE, alarm=reading.alarm)


def _divide(resolved: Sequence[Resolved]) -> tuple[list[Ending | TryAgain], list[Case]]:
    """What is over or must wait, and the reports that are to be judged."""
    over: list[Ending | TryAgain] = []
    open_cases: list[Case] = []
    for part in resolved:
        if not isinstance(part, Case):
            over.append(part)
        elif isinstance(part.reading, Settled):
            over.append(Ending(part, part.reading.outcome, part.reading.reason, part.reading.code))
        else:
            open_cases.append(part)
    return over, open_cases


def _case_for(node: Node, called: Sequence[Node], case_of: dict[Node, Case]) -> Case:
    """The case of an answered node; an answer for a node that was not asked for goes with the call's first."""
    if node in case_of:
        return case_of[node]
    first = case_of[called[0]]
    return Case(
        first.message, replace(first.reading, node=node) if isinstance(first.reading, Report) else first.reading
    )


def _conclude(case: Case, answer: Answer) -> Ending | TryAgain:
    if answer.result is Result.NOT_CALLED:
        return TryAgain(case, answer.code or "", answer.message)
    if answer.result is Result.REBOOTED:
        return Ending(case, Outcome.REBOOTED, "SageMaker started the reboot")
    return Ending(case, Outcome.FAILED, answer.message, answer.code)


def _is_in_trouble(answers: Sequence[Answer]) -> bool:
    """Whether a call came to no answer at all."""
    return all(answer.result in (Result.NOT_CALLED, Result.UNKNOWN) for answer in answers)


def _sort_out(results: Sequence[Ending | TryAgain]) -> Handling:
    """Decide by message: one that is to be tried again goes back whole, unless that would reboot a node again.

    A message with a node that was, or may have been, rebooted stays; so does one at its last permitted receive. What
    is open in these fails with the code that kept it open.
    """
    by_message: dict[str, list[Ending | TryAgain]] = {}
    for result in results:
        by_message.setdefault(result.case.message.id, []).append(result)
    endings: list[Ending] = []
    handed_back: dict[str, str] = {}
    for message_id, parts in by_message.items():
        waiting = [part for part in parts if isinstance(part, TryAgain)]
        if waiting and not _must_end(parts):
            handed_back[message_id] = f"{waiting[0].code}: {waiting[0].reason}"
            continue
        endings += [part if isinstance(part, Ending) else give_up(part.case, part.code, part.reason) for part in parts]
    return Handling(tuple(endings), handed_back)


def _must_end(parts: Sequence[Ending | TryAgain]) -> bool:
    if parts[0].case.message.receives >= MAX_RECEIVES:
        return True
    return any(
        isinstance(part, Ending) and (part.outcome is Outcome.REBOOTED or part.code == codes.OUTCOME_UNKNOWN)
        for part in parts
    )
