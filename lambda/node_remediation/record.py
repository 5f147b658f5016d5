"""What the ledger remembers of a node and of a cluster's budget, and how that changes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from node_remediation.model import NodeKey, Outcome, Result
from node_remediation.settings import LEDGER_RETENTION

# A claim that was reported is remembered for longer than a message can come again after it.
_SETTLED_REMEMBERED_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Claim:
    """One report's hold on a node: written before the call, answered after it, settled once it is reported.

    Without a result once `lease_until` has passed, nobody knows whether the node was rebooted.
    """

    at: datetime
    lease_until: datetime
    result: Result | None = None
    code: str | None = None
    message: str = ""
    settled: bool = False


class Stage(StrEnum):
    """What a watched node is waited for after."""

    REBOOTED = "rebooted"  # or perhaps rebooted
    REPAIRING = "repairing"  # HyperPod said that it repairs the node itself
    RETRYING = "retrying"  # the API said no, and is to be asked again


@dataclass(frozen=True, slots=True)
class Watch:
    """How a node ends is waited for, by checks: from `since` on signs of health count, `until` is the time-out.

    `id` is the message ID of the report that it began with, `reported_at` that report's time. `alarm` has to be OK
    again, if an alarm asked for the reboot; `well_at` is the latest such sign. `checks` is the round of the latest
    check that was sent, `next_at` when it is due, `tries` how many tries failed. `told` marks that people know of the
    reboot. `end`, once decided, was decided by the message `ended_by`, which is to report it.
    """

    id: str
    stage: Stage
    since: datetime
    until: datetime
    reported_at: datetime
    alarm: str | None = None
    well_at: datetime | None = None
    checks: int = 0
    next_at: datetime | None = None
    tries: int = 0
    told: bool = False
    end: Outcome | None = None
    ended_by: str | None = None
    reason: str = ""

    def is_open(self, now: datetime) -> bool:
        """Whether a check is still going to say how the node ended."""
        return self.end is None and now < self.until

    def heeds(self, alarm: str | None) -> bool:
        """Whether a report of health by this alarm (None: by HyperPod) is a sign of what is waited for."""
        return self.stage is not Stage.REBOOTED or self.alarm in (None, alarm)


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node: when it was rebooted (or may have been), last reported, and what is going on with it.

    `claims` is by owner. `told` has the time at which people were last told each code. `advised` is the RepairAction
    that HyperPod last named, until the node is well or rebooted. `version` counts writes; 0 is a record that was never
    written.
    """

    key: NodeKey
    version: int = 0
    reboots: tuple[datetime, ...] = ()
    unhealthy_at: datetime | None = None
    healthy_at: datetime | None = None
    repairing_until: datetime | None = None
    told: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    claims: Mapping[str, Claim] = field(default_factory=lambda: MappingProxyType({}))
    advised: str | None = None
    watch: Watch | None = None

    def seen(self, *, healthy: bool, time: datetime, alarm: str | None = None, advised: str | None = None) -> Self:
        """With what a report says, if it is the latest of its kind: by which alarm, or with which RepairAction."""
        if not healthy:
            advised = advised or self.advised
            return replace(self, unhealthy_at=max(time, self.unhealthy_at or time), advised=advised)
        well = replace(self, healthy_at=max(time, self.healthy_at or time), advised=None)
        watch = self.watch
        if watch is None or not watch.heeds(alarm):
            return well
        return replace(well, watch=replace(watch, well_at=max(time, watch.well_at or time)))

    def watching(self, watch: Watch | None) -> Self:
        """With another watch, or none."""
        return replace(self, watch=watch)

    def claimed(self, owner: str, *, at: datetime, lease_until: datetime) -> Self:
        """Held by a report that is about to call; it counts as rebooted from now on."""
        claims = {**self.claims, owner: Claim(at, lease_until)}
        return replace(self, reboots=(*self.reboots, at), claims=claims, advised=None)

    def answered(self, owner: str, result: Result, *, code: str | None = None, message: str = "") -> Self:
        """With what the call came to; a node that was not rebooted does not count as rebooted."""
        claim = self.claims[owner]
        reboots = self._without(claim.at) if result is Result.FAILED else self.reboots
        answered = replace(claim, result=result, code=code, message=message)
        return replace(self, reboots=reboots, claims={**self.claims, owner: answered})

    def released(self, owner: str) -> Self:
        """As if the claim had never been: nothing was called."""
        claims = {other: claim for other, claim in self.claims.items() if other != owner}
        return replace(self, reboots=self._without(self.claims[owner].at), claims=claims)

    def settled(self, owner: str) -> Self:
        """With the claim's answer reported to everybody."""
        return replace(self, claims={**self.claims, owner: replace(self.claims[owner], settled=True)})

    def telling(self, code: str, at: datetime) -> Self:
        """With people told of a code."""
        return replace(self, told={**self.told, code: at})

    def repairing(self, until: datetime) -> Self:
        """With HyperPod at work on the node."""
        return replace(self, repairing_until=max(until, self.repairing_until or until))

    def written(self) -> Self:
        """As it is in the ledger after a write."""
        return replace(self, version=self.version + 1)

    def _without(self, at: datetime) -> tuple[datetime, ...]:
        reboots = list(self.reboots)
        if at in reboots:
            reboots.remove(at)
        return tuple(reboots)

    def pruned(self, now: datetime) -> Self:
        """Without what no guard looks at any more."""
        oldest = now - LEDGER_RETENTION
        return replace(
            self,
            reboots=tuple(at for at in self.reboots if at > oldest),
            told={code: at for code, at in self.told.items() if at > oldest},
            claims={owner: claim for owner, claim in self.claims.items() if _is_needed(claim, now)},
        )


def _is_needed(claim: Claim, now: datetime) -> bool:
    age = _SETTLED_REMEMBERED_FOR if claim.settled else LEDGER_RETENTION
    return claim.lease_until > now - age


@dataclass(frozen=True, slots=True)
class BudgetRecord:
    """One cluster's reboots in the budget window: when and how many, by the call that they were claimed for."""

    cluster: str
    version: int = 0
    spends: Mapping[str, tuple[datetime, int]] = field(default_factory=lambda: MappingProxyType({}))

    def spent(self, *, now: datetime, window: timedelta) -> int:
        return sum(nodes for at, nodes in self.spends.values() if at > now - window)

    def charged(self, call: str, *, at: datetime, nodes: int) -> Self:
        return replace(self, spends={**self.spends, call: (at, nodes)})

    def refunded(self, call: str, nodes: int) -> Self:
        """With nodes given back that were not rebooted after all."""
        at, spent = self.spends.get(call, (None, 0))
        rest = {other: spend for other, spend in self.spends.items() if other != call}
        return replace(self, spends=rest | ({call: (at, spent - nodes)} if at and spent > nodes else {}))

    def written(self) -> Self:
        """As it is in the ledger after a write."""
        return replace(self, version=self.version + 1)

    def pruned(self, now: datetime) -> Self:
        oldest = now - LEDGER_RETENTION
        return replace(self, spends={call: spend for call, spend in self.spends.items() if spend[0] > oldest})


Record = NodeRecord | BudgetRecord


@dataclass(slots=True)
class Book:
    """The records that a batch is judged by, as they were read and as the batch changes them.

    `kept` are the nodes' records as the ledger has them, without what was only noted since.
    """

    nodes: dict[NodeKey, NodeRecord] = field(default_factory=dict)
    budgets: dict[str, BudgetRecord] = field(default_factory=dict)
    kept: dict[NodeKey, NodeRecord] = field(default_factory=dict)

    def node(self, key: NodeKey) -> NodeRecord:
        return self.nodes.get(key) or NodeRecord(key)

    def budget(self, cluster: str) -> BudgetRecord:
        return self.budgets.get(cluster) or BudgetRecord(cluster)

    def note(self, record: NodeRecord) -> None:
        """Change what is known of a node, without a write."""
        self.nodes[record.key] = record

    def put(self, *records: Record) -> None:
        """Take in records that were read or written."""
        for record in records:
            if isinstance(record, NodeRecord):
                self.nodes[record.key] = self.kept[record.key] = record
            else:
                self.budgets[record.cluster] = record
