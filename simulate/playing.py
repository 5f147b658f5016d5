"""Plays captured events through the loop, and keeps each decision and its reason."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, zip_longest

from node_remediation import events
from node_remediation.events.fields import Home, UnreadableEventError
from node_remediation.lookups import Edges
from node_remediation.model import ENDS, Change, ClusterFacts, Composite, Message, Outcome, Reading, Report, Result
from node_remediation.outbox.mail import Places
from node_remediation.remediate import Remediator, Services
from node_remediation.settings import FUNCTION_TIMEOUT, Settings
from simulate.captured import Captured
from simulate.services import MemoryAlarms, MemoryHyperPod, MemoryLedger, Outside, nodes_of

_MINUTE = timedelta(minutes=1)
# No mute window that the function looks at is longer than a year.
_LONGEST = timedelta(days=400)


class _Anywhere(Home):
    """An account and a region that take every event for their own."""

    def is_foreign(self, account: object, region: object = None) -> bool:  # noqa: ARG002  as Home
        return False


_HOME = _Anywhere("000000000000", "us-east-1")


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a report, or a later change of an incident's state: its source is the sweep."""

    time: str
    cluster: str
    node: str
    source: str
    outcome: str
    code: str
    reason: str


@dataclass(slots=True)
class Played:
    """Everything that was decided, in order, and the numbers of reboots, replacements, refusals by code, and ends."""

    decisions: list[Decision] = field(default_factory=list)
    reboots: int = 0
    replacements: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)


def play(captured: Sequence[Captured], settings: Settings, *, nodes: int, automatic: bool) -> Played:
    """Play events in the order of their times, then what is due until nothing is. The same events give the same."""
    random.seed(0)  # the loop shuffles what it carries on with
    stage = _Stage(captured, settings, nodes, automatic)
    for at, together in groupby(captured, key=lambda each: each.at):
        stage.sweep_until(at)
        stage.handle(at, list(together))
    if captured:
        stage.sweep_until(captured[-1].at + _LONGEST)
    return stage.played


class _Stage:
    """The function with everything around it, and the clock."""

    def __init__(self, captured: Sequence[Captured], settings: Settings, nodes: int, automatic: bool) -> None:
        self.played = Played()
        self._settings = settings
        self._now = datetime.min.replace(tzinfo=UTC)
        self._readings = {each.place: _readings(each) for each in captured}
        reports = (each for found in self._readings.values() for each in found if isinstance(each, Report))
        by_id = nodes_of([each.node.id for each in reports], [each.event for each in captured])
        groups = {facts.group for facts in by_id.values() if facts.group}
        protected = frozenset(filter(settings.protects, groups))
        hyperpod = MemoryHyperPod(ClusterFacts(nodes, automatic, protected), by_id)
        self._alarms = MemoryAlarms()
        self._ledger = MemoryLedger(settings)
        outside = Outside(settings.mode, self._record, self._fail)
        self._remediator = Remediator(
            settings=settings,
            services=Services(
                ledger=self._ledger,
                letters=outside,
                topic=outside,
                intake=outside,
                telemetry=outside,
                edges=Edges(hyperpod, self._alarms, outside),
                bus=outside,
            ),
            home=_HOME,
            places=Places("INTAKE", "DEAD-LETTERS", "MODE", "aws"),
            clock=lambda: self._now,
            sleep=lambda _: None,
        )

    def handle(self, at: datetime, together: Sequence[Captured]) -> None:
        """Handle the events of one moment, in batches as large as the settings say."""
        self._now = at
        for start in range(0, len(together), self._settings.batch_size):
            batch = together[start : start + self._settings.batch_size]
            for reading in (reading for each in batch for reading in self._readings[each.place]):
                self._alarms.hear(reading)
            messages = [Message(each.place, each.body, at) for each in batch]
            self._remediator.handle(messages, seconds_left=FUNCTION_TIMEOUT.total_seconds)

    def sweep_until(self, end: datetime) -> None:
        """Sweep at each whole minute up to a time, as long as something is due; the minutes between are left out."""
        swept = self._now
        while (due := self._ledger.next_due()) is not None:
            at = max(_whole_minute(due), _whole_minute(swept + timedelta(milliseconds=1)))
            if at > end:
                return
            self._now = swept = at
            self._remediator.sweep(at, seconds_left=FUNCTION_TIMEOUT.total_seconds)

    def _record(self, results: Sequence[Result], changes: Sequence[Change], handed_back: Mapping[str, str]) -> None:
        self.played.ends.update(each.state for each in changes if each.state in ENDS)
        changes = [each for each in changes if each.counted]
        told = [self._of_result(each) for each in results]
        told += [self._decide(each.cluster, each.node, "sweep", each.state, each.code, each.reason) for each in changes]
        told += [self._decide("", "", place, "handed back", "", reason) for place, reason in handed_back.items()]
        # What one invocation tells is in no order: clusters are shuffled.
        self.played.decisions += sorted(told, key=lambda each: (each.cluster, each.node))
        self.played.reboots += sum(each.outcome == Outcome.REBOOTED for each in told)
        self.played.replacements += sum(each.outcome == Outcome.REPLACED for each in told)
        self.played.refusals.update(each.code for each in told if each.outcome == Outcome.REFUSED)

    def _of_result(self, result: Result) -> Decision:
        node, trigger = result.node.id if result.node else "", result.trigger
        readings = self._readings[result.message.id]
        found = [each for each in readings if _node(each) == node] or readings
        source = _source(found[0]) if found else trigger.source
        return self._decide(result.cluster, node, source, result.outcome, result.code, result.reason)

    def _fail(self, text: str) -> None:
        self.played.decisions.append(self._decide("", "", "function", "error", "", text))

    def _decide(  # noqa: PLR0917  in the order of the columns
        self, cluster: str | None, node: str, source: str, outcome: str, code: str | None, reason: str
    ) -> Decision:
        return Decision(f"{self._now:%F %T}", cluster or "", node, source, str(outcome), code or "", reason)


def _readings(captured: Captured) -> Sequence[Reading]:
    try:
        return events.read(captured.body, message_id=captured.place, sent=captured.at, home=_HOME)
    except UnreadableEventError:
        return ()


def _node(reading: Reading) -> str:
    return "" if isinstance(reading, Composite) or not reading.node else reading.node.id


def _source(reading: Reading) -> str:
    """Return who speaks: an alarm without its series, which is long."""
    if reading.alarm:
        return reading.alarm.source.partition("#")[0]
    return reading.source if isinstance(reading, Report) else reading.trigger.source


def _whole_minute(time: datetime) -> datetime:
    """Return the time, or the next whole minute if it is none."""
    whole = time.replace(second=0, microsecond=0)
    return whole if whole == time else whole + _MINUTE


Difference = tuple[Decision | None, Decision | None]


def compare(one: Played, other: Played) -> list[Difference]:
    """Return the decisions about a node at a time that differ between two runs; None where a run decides nothing."""
    found: list[Difference] = []
    by_moment = [_by_moment(each.decisions) for each in (one, other)]
    for moment in sorted({*by_moment[0], *by_moment[1]}):
        pairs = zip_longest(*(decisions[moment] for decisions in by_moment))
        found += [(left, right) for left, right in pairs if left != right]
    return found


def _by_moment(decisions: Sequence[Decision]) -> dict[tuple[str, ...], list[Decision]]:
    found: dict[tuple[str, ...], list[Decision]] = defaultdict(list)
    for each in decisions:
        found[each.time, each.cluster, each.node, each.source].append(each)
    return found
