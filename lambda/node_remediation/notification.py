"""The topic's messages: JSON for machines, plain text for people, one per cluster and batch. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from node_remediation.deadletter import attribute, iso, kind
from node_remediation.mail import Frame, mail_text
from node_remediation.model import Ending, IdKind, Outcome

# SNS takes 262,144 bytes with the attributes; what is left over here is for them and for the wrapping.
MOST_BYTES = 240_000
# SNS wants the subject of an e-mail under 100 characters, printable ASCII, without line breaks.
_LONGEST_SUBJECT = 99
_LEAST_OF_A_NAME = 20

_LISTS = ("Failed", "FailedNodeLogicalIds", "Refused", "Rebooted", "Observed", "Recovered")
# The most pressing kind names a message that has several.
_KINDS = (
    Outcome.FAILED,
    Outcome.NOT_RECOVERED,
    Outcome.REFUSED,
    Outcome.UNREADABLE,
    Outcome.RETRYING,
    Outcome.OBSERVED,
    Outcome.REBOOTED,
    Outcome.SUPERSEDED,
    Outcome.RECOVERED,
)
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
        return json.dumps({"default": self.json, "email": self.text})

    @property
    def size(self) -> int:
        return len(self.message)  # ASCII only, so characters are bytes


def notify(endings: Sequence[Ending], frame: Frame) -> list[tuple[Notification, Sequence[Ending]]]:
    """The messages for one cluster's endings, each with those it tells of; several where one is too long for SNS."""
    notification = _compose(endings, frame, longest=None)
    longest = MOST_BYTES // 20
    while notification.size > MOST_BYTES and len(endings) == 1 and longest:
        # An entry alone is too long: people get its beginning, the dead letter has it whole.
        notification, longest = _compose(endings, frame, longest=longest), longest // 2
    if notification.size <= MOST_BYTES or len(endings) == 1:
        return [(notification, endings)]
    middle = len(endings) // 2
    return [part for half in (endings[:middle], endings[middle:]) for part in notify(half, frame)]


def _compose(endings: Sequence[Ending], frame: Frame, *, longest: int | None) -> Notification:
    cluster = endings[0].case.cluster
    kinds = [kind for kind in _KINDS if any(ending.outcome is kind for ending in endings)]
    return Notification(
        subject=_subject(endings, kinds, cluster),
        json=json.dumps(_machine_body(endings, frame, longest)),
        text=mail_text(endings, kinds, frame, longest=longest),
        cluster=attribute(cluster or "unknown"),
        kind=kind(kinds[0]),
        error_codes=tuple(dict.fromkeys(ending.code for ending in endings if ending.code)),
    )


def _machine_body(endings: Sequence[Ending], frame: Frame, longest: int | None) -> dict[str, object]:
    lists: dict[str, list[dict[str, str]]] = {name: [] for name in _LISTS}
    for ending in endings:
        lists.setdefault(_list_of(ending), []).append(_entry(ending, longest))
        if ending.again_at:
            lists.setdefault("Retrying", []).append(_retry(ending, ending.again_at, longest))
    cluster = endings[0].case.cluster
    return {
        "ClusterName": cluster and cluster[:longest],
        "AccountId": frame.origin.account,
        "Region": frame.origin.region,
        "Time": iso(frame.now),
        **lists,
    }


def _list_of(ending: Ending) -> str:
    if ending.outcome in _FAILURES:
        node = ending.case.node
        return "FailedNodeLogicalIds" if node and node.kind is IdKind.LOGICAL_ID else "Failed"
    return ending.outcome.value.capitalize()


def _entry(ending: Ending, longest: int | None) -> dict[str, str]:
    """An entry in the API's shape: the ID under its kind, ErrorCode and Message; a success has no code."""
    node = ending.case.node
    entry = {node.kind.value: node.id[:longest]} if node else {}
    if ending.code:
        entry["ErrorCode"] = ending.code
    return entry | {"Message": ending.reason[:longest]}


def _retry(ending: Ending, again_at: datetime, longest: int | None) -> dict[str, str]:
    """When a failed node is tried again; the failure itself is listed with the others."""
    node = ending.case.node
    return ({node.kind.value: node.id[:longest]} if node else {}) | {
        "ErrorCode": ending.code or "",
        "NextAttempt": iso(again_at),
    }


def _subject(endings: Sequence[Ending], kinds: Sequence[Outcome], cluster: str | None) -> str:
    words = {
        Outcome.FAILED: "not rebooted",
        Outcome.REFUSED: "refused",
        Outcome.UNREADABLE: "unreadable",
        Outcome.OBSERVED: "observed",
        Outcome.REBOOTED: "rebooting",
        Outcome.RETRYING: "to be tried again",
        Outcome.NOT_RECOVERED: "not recovered",
        Outcome.RECOVERED: "recovered",
        Outcome.SUPERSEDED: "replaced",
    }
    counts = [(sum(ending.outcome is kind for ending in endings), words[kind]) for kind in kinds]
    name = (cluster or "cluster unknown").encode("ascii", "replace").decode()
    name = "".join(character if character.isprintable() else "?" for character in name)
    summary = _summary(counts, _LONGEST_SUBJECT - len("HyperPod : ") - min(len(name), _LEAST_OF_A_NAME))
    room = _LONGEST_SUBJECT - len(f"HyperPod : {summary}")
    return f"HyperPod {name if len(name) <= room else name[: room - 3] + '...'}: {summary}"


def _summary(counts: Sequence[tuple[int, str]], room: int) -> str:
    """The counts, the most pressing first; what there is no room for is added up."""
    for shown in range(len(counts), 0, -1):
        more = sum(count for count, _ in counts[shown:])
        parts = [f"{count} {words}" for count, words in counts[:shown]] + ([f"{more} more"] if more else [])
        if len(summary := ", ".join(parts)) <= room:
            break
    return summary
