"""What the ledger remembers of a node and of a cluster's budget, and how that changes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Self

from node_remediation.model import NodeKey, Result
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


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node: when it was rebooted (or may have been), last reported, and what is going on with it.

    `claims` is by owner. `told` has the time at which people were last told each code. `version` counts writes; 0 is a
    record that was never written.
    """

    key: NodeKey
    version: int = 0
    reboots: tuple[datetime, ...] = ()
    unhealthy_at: datetime | None = None
    healthy_at: datetime | None = None
    repairing_until: datetime | None = None
    told: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    claims: Mapping[str, Claim] = field(default_factory=lambda: MappingProxyType({}))

    def seen(self, *, healthy: bool, time: datetime) -> Self:
        """With the time of a report, if it is the latest of its kind."""
        if healthy:
            return replace(self, healthy_at=max(time, self.healthy_at or time))
        return replace(self, unhealthy_at=max(time, self.unhealthy_at or time))

    def claimed(self, owner: str, *, at: datetime, lease_until: datetime) -> Self:
        """Held by a report that is about to call; it counts as rebooted from now on."""
        return replace(self, reboots=(*self.reboots, at), claims={**self.claims, owner: Claim(at, lease_until)})

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
    """The records that a batch is judged by, as they were read and as the batch changes them."""

    nodes: dict[NodeKey, NodeRecord] = field(default_factory=dict)
    budgets: dict[str, BudgetRecord] = field(default_factory=dict)

    def node(self, key: NodeKey) -> NodeRecord:
        return self.nodes.get(key) or NodeRecord(key)

    def budget(self, cluster: str) -> BudgetRecord:
        return self.budgets.get(cluster) or BudgetRecord(cluster)

    def put(self, *records: Record) -> None:
        for record in records:
            if isinstance(record, NodeRecord):
                self.nodes[record.key] = record
            else:
                self.budgets[record.cluster] = record
