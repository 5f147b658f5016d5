"""Counts, in what was seen from outside, what must hold after a run of chaos. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from local.observing import ENDS, DeadLetter, Key, LedgerItem, LogLine, TopicEntry, parse

_OPENS = frozenset({"rebooted", "waiting", "retrying", "deferred"})
_TOLD_AS_FAILED = frozenset({"failed", "refused", "not_recovered"})
_UNKNOWN = "OutcomeUnknown"
# A sweep comes once a second, and takes some time.
_SWEEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Holds the settings that the counts rest on; times in seconds."""

    cooldown: float
    max_reboots_per_node: int
    budget_percent: int
    budget_min_nodes: int
    budget_window: float

    def budget(self, nodes: int) -> int:
        return max(self.budget_min_nodes, math.ceil(nodes * self.budget_percent / 100))


@dataclass(frozen=True, slots=True)
class SeenReboot:
    """Records a reboot that was started, whether or not the function got the answer."""

    cluster: str
    node: str
    at: float


@dataclass(frozen=True, slots=True)
class Sent:
    """Records a message for the intake queue; `reports`: how many reports are in it (None: at least one)."""

    event_id: str
    reports: int | None


def sent_by(body: str, message_id: str) -> list[Sent]:
    """Return what a message brings to the intake queue: nothing if it is an event that the stack's rules pass over."""
    event = parse(body)
    detail, event_id = event.get("detail") or {}, event.get("id", message_id)
    if event.get("source") == "aws.cloudwatch":
        passes = detail["alarmName"].startswith("hyperpod-reboot-") and detail["state"]["value"] in ("ALARM", "OK")
        composite = "alarmRule" in detail.get("configuration", {})
        return [Sent(event_id, None if composite else 1)] if passes else []
    nodes = [*detail.get("NodeIds", ()), *detail.get("NodeLogicalIds", ())]
    return [Sent(event_id, len(nodes) or 1)]


@dataclass(frozen=True, slots=True)
class Findings:
    """Holds all that was seen from outside.

    `nodes` is by cluster. `same` gives one name to all IDs of a node and its successors. `failed` has the failures in
    the API's answers. `waiting` is how many messages the intake queue still holds. `at` is when the ledger was read.
    """

    limits: Limits
    at: float
    nodes: Mapping[str, int] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    reboots: Sequence[SeenReboot] = ()
    failed: Sequence[Key] = ()
    sent: Sequence[Sent] = ()
    lines: Sequence[LogLine] = ()
    letters: Sequence[DeadLetter] = ()
    told: Sequence[TopicEntry] = ()
    items: Sequence[LedgerItem] = ()
    waiting: int = 0

    def named(self, key: Key) -> Key:
        """Return the key with the one name of its node."""
        cluster, node, code = key
        return cluster, self.same.get(node or "", node), code

    @property
    def reports(self) -> list[LogLine]:
        """Return the lines that give the outcome of a report."""
        return [line for line in self.lines if "outcome" in line.fields]

    @property
    def changes(self) -> list[LogLine]:
        """Return the lines that tell of a change of an incident."""
        return [line for line in self.lines if "state" in line.fields and "outcome" not in line.fields]


def violations(seen: Findings) -> list[str]:
    """Return one line for each thing that does not hold."""
    limits = (_cooldowns, _limits, _budgets)
    said = (_outcomes, _ends, _unanswered, _letters_and_topic, _letters_once)
    checks = (*limits, *said, _ledger)
    return [violation for check in checks for violation in check(seen)]


def _claimed(seen: Findings) -> list[SeenReboot]:
    """Return the reboots with the times of their claims, from which all limits count.

    A call may come seconds after its claim, on a busy machine or after faults.
    """
    claims: dict[Key, list[float]] = defaultdict(list)
    for item in seen.items:
        if item.claims:
            _, cluster, node = item.key.split("#", 2)
            claims[seen.named((cluster, node, None))] += item.claims

    def claimed_at(reboot: SeenReboot) -> float:
        of_node = claims[seen.named((reboot.cluster, reboot.node, None))]
        return max((at for at in of_node if at <= reboot.at), default=reboot.at)

    return [replace(each, at=claimed_at(each)) for each in seen.reboots]


def _by_node(seen: Findings) -> dict[tuple[str, str], list[float]]:
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for reboot in _claimed(seen):
        times[reboot.cluster, reboot.node].append(reboot.at)
    return {node: sorted(at) for node, at in times.items()}


def _cooldowns(seen: Findings) -> Iterator[str]:
    for (cluster, node), times in _by_node(seen).items():
        for earlier, later in pairwise(times):
            if later - earlier < seen.limits.cooldown:
                yield f"{cluster}/{node} was rebooted twice within {later - earlier:.1f} s"


def _limits(seen: Findings) -> Iterator[str]:
    for (cluster, node), times in _by_node(seen).items():
        if len(times) > seen.limits.max_reboots_per_node:
            yield f"{cluster}/{node} was rebooted {len(times)} times"


def _budgets(seen: Findings) -> Iterator[str]:
    window, reboots = seen.limits.budget_window, _claimed(seen)
    for cluster, nodes in seen.nodes.items():
        times = sorted(reboot.at for reboot in reboots if reboot.cluster == cluster)
        most = max((sum(at - window < other <= at for other in times) for at in times), default=0)
        if most > seen.limits.budget(nodes):
            yield f"{cluster}: {most} reboots within {window:g} s, its budget is {seen.limits.budget(nodes)}"


def _outcomes(seen: Findings) -> Iterator[str]:
    """Check that each report has one outcome. A message that came again may have `duplicate` besides, or, if its
    invocation crashed, any."""
    told, settled, crashed = Counter[str](), Counter[str](), set[str]()
    for line in seen.reports:
        told[line["event_id"]] += 1
        settled[line["event_id"]] += line["outcome"] != "duplicate"
        crashed |= {line["event_id"]} if line.crashed else set()
    messages, least, open_end = Counter[str](), Counter[str](), set[str]()
    for message in seen.sent:
        messages[message.event_id] += 1
        least[message.event_id] += 1 if message.reports is None else message.reports
        open_end |= {message.event_id} if message.reports is None else set()
    for event_id, number in least.items():
        if told[event_id] < number:
            yield f"event {event_id}: {told[event_id]} outcomes of {number} reports in {messages[event_id]} messages"
        elif settled[event_id] > number and event_id not in open_end | crashed:
            yield f"event {event_id}: {settled[event_id]} outcomes, only {number} reports"


def _ends(seen: Findings) -> Iterator[str]:
    """Check that each incident ends once, or is still in the ledger."""
    opened = {line["incident"] for line in seen.reports if line["outcome"] in _OPENS or line["code"] == _UNKNOWN}
    opened |= {line["incident"] for line in seen.changes}
    ends: dict[str, list[str]] = defaultdict(list)
    for line in seen.changes:
        if line["state"] in ENDS and not line.crashed:
            ends[line["incident"]].append(line["state"])
    waiting = {item.incident for item in seen.items if item.incident}
    for incident in sorted(opened - {None}):
        if len(ends[incident]) > 1:
            yield f"incident {incident} ended as {' and '.join(ends[incident])}"
        elif not ends[incident] and incident not in waiting:
            yield f"incident {incident} neither ended nor is in the ledger"
        elif ends[incident] and incident in waiting:
            yield f"incident {incident} ended as {ends[incident][0]}, and is still in the ledger"


def _unanswered(seen: Findings) -> Iterator[str]:
    """Check that each failure in an answer is on the topic, or, if the answer was lost, OutcomeUnknown is."""
    told = {seen.named(told.key) for told in seen.told}
    for cluster, node, code in sorted(set(map(seen.named, seen.failed)), key=str):
        if not {(cluster, node, code), (cluster, node, _UNKNOWN)} & told:
            yield f"{cluster}/{node}: the API answered {code}, of which the topic did not hear"


def _letters_and_topic(seen: Findings) -> Iterator[str]:
    """Check that the topic heard of each letter, and that what it heard, and what the log tells, has a letter."""
    letters = {seen.named(letter.key) for letter in seen.letters}
    for cluster, node, code in sorted(letters - {seen.named(told.key) for told in seen.told}, key=str):
        yield f"{cluster}/{node}: there is a letter with {code}, of which the topic did not hear"
    final = {seen.named(told.key) for told in seen.told if not told.retrying}
    for cluster, node, code in sorted(_unwritten(seen, final), key=str):
        yield f"{cluster}/{node}: the topic told of {code}, and there is no letter"
    failures = {seen.named((line["cluster"], line["node"], line["code"])) for line in filter(_is_failure, seen.lines)}
    for cluster, node, code in sorted(_unwritten(seen, failures), key=str):
        if node:
            yield f"{cluster}/{node}: the log tells of {code}, and there is no letter"


def _unwritten(seen: Findings, keys: set[Key]) -> set[Key]:
    """Return those without a letter. When tries end with a refusal, the letter has the last try's failure."""
    letters = {seen.named(letter.key) for letter in seen.letters}
    retried = {seen.named(told.key) for told in seen.told if told.retrying} & letters
    return {key for key in keys - letters if not any(key[:2] == failure[:2] for failure in retried)}


def _letters_once(seen: Findings) -> Iterator[str]:
    """Check that a failure has no two letters with different IDs.

    A letter is of an incident, or of a report that has an answer of its own, such as a request that was refused.
    """
    letters: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for letter in seen.letters:
        if letter.id:
            own = (letter.event_id, *letter.key)
            letters[(letter.incident, letter.key[2]) if letter.incident else own].add(letter.id)
    reports, changes = Counter[tuple[Any, ...]](), Counter[tuple[Any, ...]]()
    for line in seen.reports:
        reports[line["incident"], line["code"]] += 1
        reports[line["event_id"], line["cluster"], line["node"], line["code"]] += 1
    for line in seen.changes:
        changes[line["incident"], line["code"]] += 1
    for about, ids in letters.items():
        if len(ids) > (said := max(reports[about], changes[about])):
            yield f"{len(ids)} letters about {about}, the log tells of {said}"


def _is_failure(line: LogLine) -> bool:
    return line["code"] == _UNKNOWN or bool({line["outcome"], line["state"]} & _TOLD_AS_FAILED)


def _ledger(seen: Findings) -> Iterator[str]:
    for item in seen.items:
        if item.due is not None and item.due < seen.at - _SWEEP_SECONDS:
            yield f"ledger item {item.key} has been due for {seen.at - item.due:.0f} s"
        if item.due is None and item.incident:
            yield f"ledger item {item.key} has an incident and waits for nothing"
        if item.unsent:
            yield f"ledger item {item.key} has {item.unsent} unsent entries"
    if seen.waiting:
        yield f"{seen.waiting} messages are still on the intake queue"
