"""Defines what the ledger keeps: one record per node with its incident and its outbox, one budget per cluster. Pure.

Every part is bounded, so that an item stays under DynamoDB's 400 KB: see the constants below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Self
from uuid import UUID, uuid5

from node_remediation.model import (
    REQUEST,
    Alarm,
    AlarmState,
    ClusterFacts,
    Failure,
    Node,
    NodeFacts,
    NodeKey,
    Outcome,
    Trigger,
    bounded,
)
from node_remediation.policy.modes import ModeEntry, Modes
from node_remediation.settings import LEDGER_RETENTION

# Item bounds (design: an item stays under 300 KB).
MOST_COMPLAINTS = 20
MOST_ENTRIES = 20
MOST_HISTORY = 50
MOST_PAST = 12
MOST_EVENTS = 20
# A node recurs with as many incidents of one reason; more of one reason are not kept.
RECURRENCES = 3
LONGEST_REASON = 200
_LONGEST_LINE = 500  # characters
MOST_TOLD_REBOOTS = 5
MOST_HANDLED = 100
MOST_SOURCES = 50
MOST_CODES = 50
MOST_SPENDS = 400
MOST_LOGICAL_IDS = 500
# The window of the setting replace_budget.
REPLACE_WINDOW = timedelta(hours=24)
# A handled message can come again for as long as the intake queue keeps it.
HANDLED_FOR = timedelta(days=4)
# Longer than a letter can wait (14 days) and then wait on the intake queue (4 days).
SIGNS_KEPT_FOR = timedelta(days=21)
# Incident and letter IDs are derived from what they are about, so that a decision that is made again has the same.
_IDS = UUID("4a1d3c1e-5f0b-5b7a-9a57-0c2f7f1c6d10")


def derived_id(*parts: object) -> str:
    """Return a UUID that is the same for the same parts."""
    return str(uuid5(_IDS, "\x1f".join(map(str, parts)).encode("utf-8", "replace").decode()))


class State(StrEnum):
    """The state of an incident. The first in this order wins where two records turn out to be of one node."""

    CLAIMED = "claimed"
    REPLACED = "replaced"
    REBOOTED = "rebooted"
    REPAIRING = "repairing"
    RETRYING = "retrying"
    PROPOSED = "proposed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One source's complaint about a node. `made_at` is when it was last made, `first_made_at` when it was first made
    where it was repeated since, `withdrawn_at` when the source took it back. `muted_until` is the end of the alarm's
    mute window."""

    source: str
    made_at: datetime
    trigger: Trigger
    alarm: Alarm | None = None
    repair_action: str | None = None
    recommendation: str | None = None
    withdrawn_at: datetime | None = None
    muted_until: datetime | None = None
    first_made_at: datetime | None = None

    @property
    def began_at(self) -> datetime:
        """The time since when it has stood, if it was not withdrawn."""
        return self.first_made_at or self.made_at

    @property
    def withdrawn(self) -> bool:
        """Tell whether the source has taken the complaint back since it was last made."""
        return self.withdrawn_at is not None and self.withdrawn_at >= self.made_at

    @property
    def announces_repair(self) -> bool:
        """Tell whether it names a repair action. HyperPod carries it out if NodeRecovery is Automatic."""
        return self.repair_action not in (None, "None")


@dataclass(frozen=True, slots=True)
class Incident:
    """One node's incident, from its first complaint to its end.

    `node` is the ID that the reboot call uses: the one that was reported first. `since` is when the state began:
    the claim in `claimed`, `rebooted` and `replaced`, the repair in `repairing`. `until` is the state's time-out.
    `lease_until` is when a claim without an answer counts as unknown. `attempt` is the number that letters give;
    `tries` counts failed tries in a row, `waits` the times that a fact could not be had, `lacks_since` is when that
    began. `told` marks that people know of the reboot. `note` is the reason why it was not rebooted again, or what
    is waited for. `failure` is what the API last said of a node that is tried again, or that it refused to reboot
    again. `approved` says why a proposed reboot may be made. `redriven` marks an incident that a redriven letter
    took over. `rebooted_at` is the claim of the reboot before this one, to which the incident returns if this one
    fails. `repair_at` is when HyperPod said, since the claim, that it repairs the node. `dropped` marks that there
    were more complaints than are kept, `replacing` that its claim is for a replacement, not a reboot.
    """

    id: str
    state: State
    node: Node
    opened_at: datetime
    complaints: tuple[Complaint, ...]
    since: datetime
    due: datetime
    until: datetime | None = None
    lease_until: datetime | None = None
    attempt: int = 1
    tries: int = 0
    waits: int = 0
    lacks_since: datetime | None = None
    told: bool = False
    note: str = ""
    failure: Failure | None = None
    redriven: bool = False
    approved: str | None = None
    rebooted_at: datetime | None = None
    repair_at: datetime | None = None
    dropped: bool = False
    replacing: bool = False

    def complaint(self, source: str) -> Complaint | None:
        """Return the complaint of a source, if it made one."""
        return next((each for each in self.complaints if each.source == source), None)

    def with_complaint(self, complaint: Complaint) -> Self:
        """Return the incident with the later of a source's two complaints; when full, the oldest is dropped.

        A repair action that the source has named holds until it names another or withdraws. A dropped complaint that
        was not withdrawn stays silent for good: the incident cannot end as recovered.
        """
        if mine := self.complaint(complaint.source):
            earlier, complaint = sorted((mine, complaint), key=lambda each: (each.made_at, each.withdrawn))
            if earlier.announces_repair and not earlier.withdrawn and not complaint.announces_repair:
                complaint = replace(complaint, repair_action=earlier.repair_action)
            if not earlier.withdrawn and earlier.began_at < complaint.began_at:
                complaint = replace(complaint, first_made_at=earlier.began_at)
        others, dropped = [each for each in self.complaints if each.source != complaint.source], self.dropped
        if len(others) >= MOST_COMPLAINTS:
            oldest = min(others, key=lambda each: (not each.withdrawn, each.made_at))
            others, dropped = [each for each in others if each is not oldest], dropped or not oldest.withdrawn
        return replace(self, complaints=(*others, complaint), dropped=dropped)

    def restarted(self, complaint: Complaint) -> Self:
        """Return the incident with a complaint that stands since it was last made: it was withdrawn before that."""
        others = (each for each in self.complaints if each.source != complaint.source)
        return replace(self, complaints=(*others, replace(complaint, first_made_at=None)))

    @property
    def about(self) -> str | None:
        """The reason of the first complaint: the alarm's name, or HyperPod's words; None where a person asked."""
        first = min(self.complaints, key=lambda each: each.began_at)
        if first.source == REQUEST:
            return None
        reason = replace(first.alarm, series=None).source if first.alarm else first.trigger.reason
        return bounded(reason or first.source, LONGEST_REASON)

    @property
    def standing(self) -> tuple[Complaint, ...]:
        """The complaints that were not withdrawn, oldest first."""
        return tuple(sorted((each for each in self.complaints if not each.withdrawn), key=lambda each: each.made_at))


@dataclass(frozen=True, slots=True)
class Past:
    """An incident that counts: of a node that was rebooted or replaced, or that HyperPod repairs; or one that ended
    refused, failed or observed.

    `about` is its reason, `at` the time since when it counts, `story` what became of it, in one line.
    """

    incident: str
    about: str
    at: datetime
    story: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the outbox: a letter for the DLQ, a notice for the topic, or both.

    `id` is the letter's ID: sent again, it is the same letter. `outcome` names the kind. `node` is None where the
    report named none. `letter` and `topic` mark what is still to be sent. `again_at` is when a failed try is made
    again, `delay` how long a letter stays invisible, in seconds. From `due` on, the sweep may send it; `sends` counts
    the times that this failed.

    `replacing` marks what is about a replacement, not a reboot. For people: `reboots` has the node's latest claims,
    `repair_since` the beginning of HyperPod's own repair, `group` the instance group. `eks` and `automatic` tell
    the cluster's orchestrator and NodeRecovery, where they are known. `message_id` and `excerpt` are of a message
    that names no node or cannot be read. `history` has the stories of a recurring node's latest incidents with the
    reason in `message`, or the lines of a daily summary, whose numbers are in `counts`. `mode` is an entry of the mode
    parameter whose end has passed.
    """

    id: str
    incident: str | None
    outcome: Outcome
    cluster: str | None
    node: Node | None
    code: str | None
    message: str
    trigger: Trigger
    at: datetime
    due: datetime
    letter: bool = False
    topic: bool = False
    instance_id: str | None = None
    attempt: int = 1
    repair_action: str | None = None
    recommendation: str | None = None
    alarm: Alarm | None = None
    again_at: datetime | None = None
    delay: int = 0
    sends: int = 0
    times: int = 1
    reboots: tuple[datetime, ...] = ()
    repair_since: datetime | None = None
    group: str | None = None
    eks: bool | None = None
    automatic: bool | None = None
    history: tuple[str, ...] = ()
    message_id: str = ""
    excerpt: str = ""
    replacing: bool = False
    mode: ModeEntry | None = None
    counts: tuple[tuple[str, int], ...] = ()

    @property
    def unsent(self) -> bool:
        return self.letter or self.topic


@dataclass(frozen=True, slots=True)
class StateEvent:
    """A change of an incident's state that is still to be put on the event bus.

    `state` is an incident's state or, with `ended`, its end. `previous` is the state that the ledger had before; None
    for a new incident. From `due` on, the sweep may put it; `sends` counts the times that this failed.
    """

    id: str
    incident: str
    state: str
    previous: str | None
    ended: bool
    node: Node
    opened_at: datetime
    at: datetime
    due: datetime
    code: str | None = None
    reason: str = ""
    sends: int = 0


@dataclass(frozen=True, slots=True)
class Sign:
    """The times at which one source last reported a node healthy and unhealthy."""

    healthy_at: datetime | None = None
    unhealthy_at: datetime | None = None

    @property
    def latest(self) -> datetime:
        return max((at for at in (self.healthy_at, self.unhealthy_at) if at), default=datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """All that is known of one node.

    `node` is the ID that was first reported. `logical_id` and `group`, the instance group, are the node's where
    they are known. `advice` is HyperPod's latest complaint that names a repair action; it outlives its incident.
    `events` has what is still to be put on the event bus; of more than MOST_EVENTS the oldest are dropped.
    `reboots` has the claims that count for cooldown and limit, `replacements` those of replacements, for the
    cooldown; `last_claim` is the latest claim, also one that was given back: a report that is not later is a
    duplicate. `signs` is by source. `told` has the time at which each code was last told; in a cluster's own
    record, at which people were last told of each node. `past` has the incidents that count, the latest last.
    `handled` has the IDs of requests and letters that were dealt with. `put_off` counts sweeps that failed on this
    record in a row, `put_off_until` is when it is looked at again. `proposal_of` is the key of the node whose
    incident has this record's ID in its key: an answer to a proposal names the incident alone. `version` counts
    writes; 0 was never written. `written_by` is the token of the write that made this version.
    """

    key: NodeKey
    version: int = 0
    node: Node | None = None
    logical_id: str | None = None
    group: str | None = None
    incident: Incident | None = None
    advice: Complaint | None = None
    outbox: tuple[Entry, ...] = ()
    events: tuple[StateEvent, ...] = ()
    reboots: tuple[datetime, ...] = ()
    replacements: tuple[datetime, ...] = ()
    last_claim: datetime | None = None
    signs: Mapping[str, Sign] = field(default_factory=lambda: MappingProxyType({}))
    told: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    handled: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    history: tuple[tuple[datetime, str], ...] = ()
    past: tuple[Past, ...] = ()
    put_off: int = 0
    put_off_until: datetime | None = None
    proposal_of: NodeKey | None = None
    written_by: str | None = field(default=None, compare=False)

    @property
    def full(self) -> bool:
        """Tell whether as many entries are unsent as are kept: nothing that may have to be said can be decided."""
        return sum(entry.unsent for entry in self.outbox) >= MOST_ENTRIES

    @property
    def due(self) -> datetime | None:
        """The next time that matters; None only without an incident and with nothing to send."""
        times = [entry.due for entry in self.outbox if entry.unsent] + [event.due for event in self.events]
        if self.incident:
            times.append(self.incident.due)
        if not times:
            return None
        return max(min(times), self.put_off_until) if self.put_off_until else min(times)

    def sign(self, source: str) -> Sign:
        return self.signs.get(source) or Sign()

    def seen(self, source: str, *, healthy: bool, at: datetime) -> Self:
        """Return the record with a source's report, if that is the latest of its kind."""
        sign = self.sign(source)
        if healthy:
            sign = replace(sign, healthy_at=max(at, sign.healthy_at or at))
        else:
            sign = replace(sign, unhealthy_at=max(at, sign.unhealthy_at or at))
        return replace(self, signs={**self.signs, source: sign})

    def advised(self, complaint: Complaint) -> Self:
        """Return the record with a complaint that names a repair action, if it is the latest such one."""
        latest = complaint.announces_repair and (self.advice is None or self.advice.made_at <= complaint.made_at)
        return replace(self, advice=complaint) if latest else self

    @property
    def standing_advice(self) -> Complaint | None:
        """The repair action that HyperPod advised, unless it has reported health or the node was rebooted since."""
        if self.advice is None:
            return None
        healthy_at = self.sign(self.advice.source).healthy_at
        over = [at for at in (healthy_at, *self.reboots) if at and at >= self.advice.made_at]
        return None if over else self.advice

    def noted(self, at: datetime, text: str) -> Self:
        """Return the record with a line of history."""
        return replace(self, history=(*self.history, (at, text[:_LONGEST_LINE]))[-MOST_HISTORY:])

    def pruned(self, now: datetime) -> Self:
        """Return the record within its bounds, without the parts that no decision needs any more."""
        oldest, handled_from, signs_from = now - LEDGER_RETENTION, now - HANDLED_FOR, now - SIGNS_KEPT_FOR
        signs = {source: sign for source, sign in self.signs.items() if sign.latest > signs_from}
        told = {code: at for code, at in self.told.items() if at > oldest}
        return replace(
            self,
            advice=advice if (advice := self.standing_advice) and advice.made_at > signs_from else None,
            outbox=tuple(entry for entry in self.outbox if entry.unsent),
            events=self.events[-MOST_EVENTS:],
            reboots=tuple(at for at in self.reboots if at > oldest),
            replacements=tuple(at for at in self.replacements if at > oldest),
            signs=dict(sorted(signs.items(), key=lambda each: each[1].latest)[-MOST_SOURCES:]),
            told=dict(sorted(told.items(), key=lambda each: each[1])[-MOST_CODES:]),
            handled={id_: at for id_, at in self.handled.items() if at > handled_from},
            history=self.history[-MOST_HISTORY:],
            past=_latest_of_each([each for each in self.past if each.at > oldest])[-MOST_PAST:],
        )

    def written(self) -> Self:
        """Return the record as it is in the ledger after a write."""
        return replace(self, version=self.version + 1)


@dataclass(frozen=True, slots=True)
class Budget:
    """One cluster's reboots in the budget window: a time and a number of nodes for each claim.

    `observed` has what mode `observe` would have spent; it counts for that mode alone. `replacements` and
    `observed_replacements` are the same for replacements, over REPLACE_WINDOW. `logical_ids` has the logical
    IDs of claimed nodes, or instance IDs whose logical ID was not known, and when they were claimed. `handled` has the
    requests and letters for logical IDs that were dealt with: should such a message come again, the logical ID may have
    another instance. Where the lists grow long, the oldest spends are joined at the later of their times, so that a
    spend never ends early.
    """

    cluster: str
    version: int = 0
    spends: tuple[tuple[datetime, int], ...] = ()
    observed: tuple[tuple[datetime, int], ...] = ()
    logical_ids: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    handled: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    replacements: tuple[tuple[datetime, int], ...] = ()
    observed_replacements: tuple[tuple[datetime, int], ...] = ()
    written_by: str | None = field(default=None, compare=False)

    def spent(self, *, now: datetime, window: timedelta, observe: bool = False) -> int:
        """Return how many nodes were claimed in the window, in mode `observe` with those observed."""
        spends = (*self.spends, *self.observed) if observe else self.spends
        return sum(nodes for at, nodes in spends if at > now - window)

    def replaced(self, *, now: datetime, observe: bool = False) -> int:
        """Return how many nodes were replaced in REPLACE_WINDOW, in mode `observe` with those observed."""
        spends = (*self.replacements, *self.observed_replacements) if observe else self.replacements
        return sum(nodes for at, nodes in spends if at > now - REPLACE_WINDOW)

    def charged(self, at: datetime, nodes: int = 1, *, observe: bool = False, replacing: bool = False) -> Self:
        """Return the budget with nodes more spent at a time."""
        if replacing and observe:
            return replace(self, observed_replacements=_charged(self.observed_replacements, at, nodes))
        if replacing:
            return replace(self, replacements=_charged(self.replacements, at, nodes))
        if observe:
            return replace(self, observed=_charged(self.observed, at, nodes))
        return replace(self, spends=_charged(self.spends, at, nodes))

    def refunded(self, at: datetime, *, replacing: bool = False) -> Self:
        """Return the budget with one node given back that was claimed at a time and not rebooted or replaced after all.

        A spend that was joined with others is not given back: the budget is never larger than it should be.
        """
        if replacing:
            return replace(self, replacements=_refunded(self.replacements, at))
        return replace(self, spends=_refunded(self.spends, at))

    def pruned(self, now: datetime, *, window: timedelta, cooldown: timedelta) -> Self:
        """Return the budget within its bounds, without spends older than one window."""
        claimed = {id_: at for id_, at in self.logical_ids.items() if at > now - cooldown}
        return replace(
            self,
            spends=_joined(self.spends, now - window),
            observed=_joined(self.observed, now - window),
            replacements=_joined(self.replacements, now - REPLACE_WINDOW),
            observed_replacements=_joined(self.observed_replacements, now - REPLACE_WINDOW),
            logical_ids=_latest(claimed),
            handled=_latest({id_: at for id_, at in self.handled.items() if at > now - HANDLED_FOR}),
        )

    def written(self) -> Self:
        """Return the budget as it is in the ledger after a write."""
        return replace(self, version=self.version + 1)


def _latest_of_each(past: Sequence[Past]) -> tuple[Past, ...]:
    """Return the latest incidents of each reason, so that those of a bouncing alarm push no other reason's out."""
    later = (past[place:] for place in range(len(past)))
    kept = ([each.about for each in rest].count(rest[0].about) <= RECURRENCES for rest in later)
    return tuple(each for each, is_kept in zip(past, kept, strict=True) if is_kept)


def _latest(times: Mapping[str, datetime]) -> dict[str, datetime]:
    return dict(sorted(times.items(), key=lambda each: each[1])[-MOST_LOGICAL_IDS:])


def _refunded(spends: tuple[tuple[datetime, int], ...], at: datetime) -> tuple[tuple[datetime, int], ...]:
    left = ((spent_at, nodes - (spent_at == at)) for spent_at, nodes in spends)
    return tuple((spent_at, nodes) for spent_at, nodes in left if nodes)


def _charged(spends: tuple[tuple[datetime, int], ...], at: datetime, nodes: int) -> tuple[tuple[datetime, int], ...]:
    by_time = dict(spends)  # one spend for each time: a refund gives one node back, not one of each
    by_time[at] = by_time.get(at, 0) + nodes
    return tuple(sorted(by_time.items()))


def _joined(spends: tuple[tuple[datetime, int], ...], oldest: datetime) -> tuple[tuple[datetime, int], ...]:
    kept = [spend for spend in spends if spend[0] > oldest]
    while len(kept) > MOST_SPENDS:
        halves = zip(kept[0:MOST_SPENDS:2], kept[1:MOST_SPENDS:2], strict=True)
        kept = [(later, one + other) for (_, one), (later, other) in halves] + kept[MOST_SPENDS:]
    return tuple(kept)


Record = NodeRecord | Budget


@dataclass(frozen=True, slots=True)
class Book:
    """Records as they were read or written.

    `unreadable` names items that exist but are no records of this system, by node key, cluster or key in the table,
    with the reason. Nothing can be decided about them.
    """

    nodes: Mapping[NodeKey, NodeRecord] = field(default_factory=dict)
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    unreadable: Mapping[NodeKey | str, str] = field(default_factory=dict)

    def node(self, key: NodeKey) -> NodeRecord:
        return self.nodes.get(key) or NodeRecord(key)

    def budget(self, cluster: str) -> Budget:
        return self.budgets.get(cluster) or Budget(cluster)

    def updated(self, *records: Record) -> Self:
        """Return the book with these records in place of what it has of them."""
        nodes = {record.key: record for record in records if isinstance(record, NodeRecord)}
        budgets = {record.cluster: record for record in records if isinstance(record, Budget)}
        return replace(self, nodes={**self.nodes, **nodes}, budgets={**self.budgets, **budgets})


class Missing(NamedTuple):
    """A fact that could not be had, with the error's code and message; `final` when asking again will not help."""

    code: str
    message: str
    final: bool = False


# The cluster has no such node (any more).
GONE = NodeFacts(None, None, None, "NotFound")


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one cluster.

    `nodes` and `logical_ids` are by the ID in the record's key, `alarms` by that ID and then by the complaint's source.
    """

    mode: Modes | Missing | None = None
    cluster: ClusterFacts | Missing | None = None
    nodes: Mapping[str, NodeFacts | Missing] = field(default_factory=dict)
    logical_ids: Mapping[str, str] = field(default_factory=dict)
    alarms: Mapping[str, Mapping[str, AlarmState | Missing]] = field(default_factory=dict)
