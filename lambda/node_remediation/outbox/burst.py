"""Bursts: many nodes of one cluster within minutes. One sentence says first what became of them. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

from node_remediation import codes
from node_remediation.model import Outcome
from node_remediation.outbox.mail import by_section
from node_remediation.policy.answers import BURST, MANY_NODES
from node_remediation.policy.record import Entry

# Times and numbers of claims, as the cluster's budget has them.
Spends = Iterable[tuple[datetime, int]]
_MINUTE = timedelta(minutes=1)


class Burst(NamedTuple):
    """Tells how many nodes a notification stands for, within how many minutes, and what became of them."""

    nodes: int
    minutes: int
    summary: str


def burst_of(entries: Sequence[Entry], spends: Spends, now: datetime) -> Burst | None:
    """Return the burst that one cluster's entries are of, with the reboots of which nothing else is told; or None.

    `spends` has the claims of nodes with an entry, too: their entries have the same times.
    """
    claims = [(at, nodes) for at, nodes in spends if at > now - BURST]
    fates: dict[object, str] = {}
    for section in by_section(entries):
        for entry in section.entries:
            if entry.node and not (entry.outcome is Outcome.RECURRING and _claims(entry, now)):
                fates.setdefault(entry.node, _fate(entry))
    told = {entry.node: _claims(entry, now) for entry in entries if entry.node in fates}
    quiet = max(sum(nodes for _, nodes in claims) - sum(told.values()), 0)
    nodes = len(fates) + quiet
    if nodes < MANY_NODES or entries[0].cluster is None:
        return None
    counts = {_REBOOTED: quiet} if quiet else {}
    for fate in sorted(fates.values(), key=lambda fate: fate != _REBOOTED):
        counts[fate] = counts.get(fate, 0) + 1
    minutes = max(ceil((now - min(entry.at for entry in entries)) / _MINUTE), 1)
    if claims:
        minutes = max(minutes, ceil((now - claims[0][0]) / _MINUTE))
    return Burst(nodes, minutes, _sentence(entries[0].cluster, nodes, minutes, counts))


_REBOOTED = Outcome.REBOOTED.value


def _claims(entry: Entry, now: datetime) -> int:
    return sum(at > now - BURST for at in entry.reboots)


def _fate(entry: Entry) -> str:
    words = entry.outcome.replace("_", " ")
    return f"{words}: {entry.code}" if entry.code and entry.code != codes.NOT_RECOVERED else words


def _sentence(cluster: str, nodes: int, minutes: int, counts: Mapping[str, int]) -> str:
    time = f"{minutes} minutes" if minutes > 1 else "1 minute"
    return f"{nodes} nodes of {cluster} in {time}: {', '.join(f'{count} {fate}' for fate, count in counts.items())}"
