"""The mode as operators write it: a word for all, or entries by cluster and instance group, each perhaps with an end.

Pure. Of several entries that match a node, the strictest counts: a wrong reboot costs more than a late one.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from node_remediation.model import bounded
from node_remediation.settings import MODES, matches

_, OBSERVE, PAUSED = MODES
_NAME = r"[A-Za-z0-9*-]{1,63}"
_PATTERN = re.compile(rf"{_NAME}(?:/{_NAME})?")
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
_VALUE = re.compile(rf"({'|'.join(MODES)})(?:\s+until\s+({_TIME}))?", re.ASCII | re.IGNORECASE)
_TAKES = 'takes active, observe or paused, alone or with an end and its zone as in "paused until 2026-12-01T06:00Z"'


@dataclass(frozen=True, slots=True)
class ModeEntry:
    """An entry of the mode parameter, or the whole of it: the mode of some nodes, until its end if it has one.

    `pattern` is CLUSTER or CLUSTER/GROUP. `fault` says why a parameter that cannot be understood or read is `paused`.
    """

    word: str
    pattern: str = "*"
    until: datetime | None = None
    fault: str = ""

    @property
    def cluster(self) -> str:
        return self.pattern.partition("/")[0]

    @property
    def group(self) -> str:
        return self.pattern.partition("/")[2] or "*"

    def holds(self, now: datetime) -> bool:
        """Tell whether it counts: past its end, it is as if it were not there."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Modes:
    """The modes of all nodes: those that entries give, and for nodes that none matches the setting `mode`."""

    default: str
    entries: tuple[ModeEntry, ...] = ()

    def of(self, cluster: str, group: str, now: datetime) -> ModeEntry:
        """Return what counts for the nodes of an instance group."""
        return self._strictest(each for each in self._holding(cluster, now) if matches(each.group, group))

    def of_cluster(self, cluster: str, now: datetime) -> ModeEntry | None:
        """Return what counts for all nodes of a cluster; None where that depends on the instance group."""
        holding = list(self._holding(cluster, now))
        of_all = [each for each in holding if each.group == "*"]
        is_sure = len(of_all) == len(holding) or any(each.word == PAUSED for each in of_all)
        return self._strictest(of_all) if is_sure else None

    def may_pause(self, cluster: str, now: datetime) -> bool:
        """Tell whether any node of a cluster may be paused."""
        return any(each.word == PAUSED for each in (ModeEntry(self.default), *self._holding(cluster, now)))

    def ended(self, since: datetime, now: datetime) -> list[ModeEntry]:
        """Return the entries whose end has passed since a time."""
        return [each for each in self.entries if each.until and since < each.until <= now]

    def _holding(self, cluster: str, now: datetime) -> Iterator[ModeEntry]:
        return (each for each in self.entries if each.holds(now) and matches(each.cluster, cluster))

    def _strictest(self, entries: Iterable[ModeEntry]) -> ModeEntry:
        return max(entries, key=lambda each: MODES.index(each.word), default=ModeEntry(self.default))


def read_modes(text: str, *, default: str) -> Modes:
    """Read the mode parameter. Never raises: text that cannot be understood pauses everything, and says why."""
    try:
        return Modes(default, tuple(_read_entries(text.strip())))
    except (ValueError, OverflowError, RecursionError) as error:
        return all_paused(f"cannot be understood: {error}", default=default)


def all_paused(fault: str, *, default: str) -> Modes:
    """Return the modes while the parameter cannot be used."""
    return Modes(default, (ModeEntry(PAUSED, fault=bounded(fault)),))


def _read_entries(text: str) -> Iterator[ModeEntry]:
    """Read a mode, or a JSON object of modes. Raises ValueError, OverflowError, RecursionError."""
    if not text.startswith("{"):
        yield _read_entry("*", text, named="it ")
        return
    seen: set[str] = set()
    for pattern, value in json.loads(text, object_pairs_hook=tuple):
        named = f"entry {_shown(pattern)} "
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f'{named}takes a name CLUSTER or CLUSTER/GROUP, "*" standing for any part')
        if pattern in seen:
            raise ValueError(f"{named}is there twice")
        seen.add(pattern)
        yield _read_entry(pattern, value, named=named)


def _read_entry(pattern: str, value: object, *, named: str) -> ModeEntry:
    match, until = _VALUE.fullmatch(value.strip()) if isinstance(value, str) else None, None
    try:
        if match and match[2]:
            until = datetime.fromisoformat(match[2].upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        match = None  # no such day, hour or zone
    if match is None:
        raise ValueError(f"{named}{_TAKES}, not {_shown(value)}")
    return ModeEntry(match[1].lower(), pattern, until)


def _shown(value: object) -> str:
    return bounded(json.dumps(value), 80)
