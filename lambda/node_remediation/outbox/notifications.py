"""Notifications: the topic's messages, JSON for machines and text for people, one per cluster. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from node_remediation.model import IdKind, Outcome
from node_remediation.outbox.burst import Burst, Spends, burst_of
from node_remediation.outbox.letters import attribute, bounded_entry, byte_count, json_text, kind_of
from node_remediation.outbox.mail import Frame, Section, by_section, mail_text
from node_remediation.policy.record import Entry

# SNS takes this many bytes per message and per batch call, attributes included.
MOST_BYTES = 262_144
# SNS wants the subject of an e-mail under 100 characters, printable ASCII, without line breaks.
_LONGEST_SUBJECT = 99
_LONGEST_NODE = 19  # an instance ID

_LISTS = ("Failed", "FailedNodeLogicalIds", "Refused", "Rebooted", "Observed", "Recovered")
_FAILURES = (Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.RETRYING)


@dataclass(frozen=True, slots=True)
class Notification:
    """A message for the topic: subject, JSON for machines, text for e-mail, and the attributes that filters match."""

    subject: str
    json: str
    text: str
    cluster: str
    kind: str
    error_codes: tuple[str, ...]

    @property
    def message(self) -> str:
        """The body to publish with MessageStructure json: each protocol gets its own form."""
        return json_text({"default": self.json, "email": self.text})

    @property
    def attributes(self) -> dict[str, dict[str, str]]:
        """The MessageAttributes to publish. SNS refuses none of them: a message without codes has no ErrorCodes."""
        attributes = {
            "ClusterName": {"DataType": "String", "StringValue": self.cluster},
            "Kind": {"DataType": "String", "StringValue": self.kind},
        }
        if self.error_codes:
            attributes["ErrorCodes"] = {"DataType": "String.Array", "StringValue": json.dumps(self.error_codes)}
        return attributes

    @property
    def size(self) -> int:
        """The bytes of subject, body and attributes."""
        attributes = ("".join([name, *value.values()]) for name, value in self.attributes.items())
        return byte_count(self.subject, self.message, *attributes)


def notify(
    entries: Sequence[Entry], frame: Frame, spends: Mapping[str | None, Spends] = MappingProxyType({})
) -> list[tuple[Notification, Sequence[Entry]]]:
    """Return one notification per cluster, each with its entries; several where one would be too long for SNS.

    Proposals have one of their own: a script that answers them subscribes by the attribute Kind, which is only one.
    `spends` has the reboots of each cluster, of most of which there is no entry.
    """
    together: dict[tuple[str | None, bool], list[Entry]] = {}
    for entry in entries:
        together.setdefault((entry.cluster, entry.outcome is Outcome.PROPOSED), []).append(entry)
    return [
        part
        for (cluster, _), alike in together.items()
        for part in _split(alike, frame, burst_of(alike, spends.get(cluster, ()), frame.now))
    ]


def _split(entries: Sequence[Entry], frame: Frame, burst: Burst | None) -> list[tuple[Notification, Sequence[Entry]]]:
    """Return the notifications for one cluster. An entry by itself always fits: it is bounded."""
    notification = _compose([bounded_entry(entry) for entry in entries], frame, burst)
    if notification.size <= MOST_BYTES or len(entries) == 1:
        return [(notification, entries)]
    middle = len(entries) // 2
    return [*_split(entries[:middle], frame, burst), *_split(entries[middle:], frame, burst)]


def _compose(entries: Sequence[Entry], frame: Frame, burst: Burst | None) -> Notification:
    sections = by_section(entries)
    return Notification(
        subject=_subject(entries, sections, frame, burst),
        json=json_text(_machine_body(entries, frame, burst)),
        text=mail_text(entries, frame, summary=burst.summary if burst else ""),
        cluster=attribute(entries[0].cluster),
        kind=kind_of(sections[0].outcome),
        error_codes=tuple(dict.fromkeys(attribute(entry.code) for entry in entries if entry.code)),
    )


def _machine_body(entries: Sequence[Entry], frame: Frame, burst: Burst | None) -> dict[str, object]:
    lists: dict[str, list[Mapping[str, object]]] = {name: [] for name in _LISTS}
    for entry in entries:
        id_: dict[str, object] = {entry.node.kind.value: entry.node.id} if entry.node else {}
        if entry.mode:
            id_ = {"Pattern": entry.mode.pattern, "Mode": entry.mode.word, "Until": _iso(entry.trigger.time)}
        code = {"ErrorCode": entry.code} if entry.code else {}
        if entry.outcome is Outcome.PROPOSED:
            proposal = {"IncidentId": entry.incident or "", "Reason": entry.message}
            expires = {"Expires": _iso(entry.again_at)} if entry.again_at else {}
            lists.setdefault("Proposed", []).append(id_ | proposal | expires)
            continue
        if entry.outcome is Outcome.DAILY_SUMMARY:
            day = {"Until": _iso(entry.trigger.time), "InShort": entry.message, "Lines": list(entry.history)}
            lists.setdefault("DailySummary", []).append({**day, **dict(entry.counts)})
            continue
        if entry.outcome is Outcome.RECURRING:
            recurring = {"IncidentId": entry.incident or "", "Reason": entry.message, "History": list(entry.history)}
            lists.setdefault("Recurring", []).append(id_ | recurring)
            continue
        lists.setdefault(_list_of(entry), []).append(id_ | code | {"Message": entry.message})
        if entry.outcome is Outcome.RETRYING:
            next_attempt = {"NextAttempt": _iso(entry.again_at)} if entry.again_at else {}
            lists.setdefault("Retrying", []).append(id_ | code | next_attempt)
    return {
        "ClusterName": entries[0].cluster,
        "AccountId": frame.home.account,
        "Region": frame.home.region,
        "Time": _iso(frame.now),
        **({"Summary": burst.summary} if burst else {}),
        **lists,
    }


def _list_of(entry: Entry) -> str:
    if entry.outcome in _FAILURES:
        return "FailedNodeLogicalIds" if entry.node and entry.node.kind is IdKind.LOGICAL_ID else "Failed"
    return entry.outcome.value.capitalize()


def _iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _subject(entries: Sequence[Entry], sections: Sequence[Section], frame: Frame, burst: Burst | None) -> str:
    """Return region, cluster, the node or their number, the most pressing words, and how many others there are."""
    first = sections[0]
    nodes, all_of_them = {entry.node for entry in entries}, burst.nodes if burst else len(entries)
    summary = first.headline
    if len(first.entries) < all_of_them:
        summary += f" ({len(first.entries)} of {all_of_them})"
    if burst:
        which = f" {burst.nodes} nodes in {burst.minutes} min"
    elif len(nodes if nodes != {None} else entries) == 1:
        which = "".join(f" {_cut(node.id, _LONGEST_NODE)}" for node in nodes if node)
    else:
        which = f" {len(entries)} reports" if None in nodes else f" {len(nodes)} nodes"
        which = f" {len(entries)} modes" if all(entry.mode for entry in entries) else which
    before, after = f"[{_ascii(frame.home.region)}] ", f"{_ascii(which)}: {summary}"
    name = "all clusters" if entries[0].cluster == "*" else _ascii(entries[0].cluster or "cluster unknown")
    return f"{before}{_cut(name, _LONGEST_SUBJECT - len(before) - len(after))}{after}"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _ascii(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text.encode("ascii", "replace").decode())
