"""The values that travel between reading a report, judging it, rebooting its node and saying how it ended."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

# Patterns of the API's ClusterNodeId and ClusterNodeLogicalId shapes (botocore, sagemaker 2017-07-24).
INSTANCE_ID = re.compile(r"i-[a-f0-9]{8}(?:[a-f0-9]{9})?")
LOGICAL_ID = re.compile(r"(?=.{1,128}\Z)[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]")


class Outcome(StrEnum):
    """What became of one report, each of which has exactly one; and, in a group of their own, how a node ended."""

    REBOOTED = "rebooted"
    FAILED = "failed"
    RETRYING = "retrying"  # it failed, and is tried again by itself
    REFUSED = "refused"
    DEFERRED = "deferred"
    DUPLICATE = "duplicate"
    OBSERVED = "observed"
    CLEARED = "cleared"
    IGNORED = "ignored"
    UNREADABLE = "unreadable"
    WAITING = "waiting"  # of a check only: it found nothing to say yet, or nothing any more

    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    SUPERSEDED = "superseded"  # the node is gone, probably replaced


# How a node ended that was rebooted, left to HyperPod's own repair, or to be tried again.
ENDS = frozenset({Outcome.RECOVERED, Outcome.NOT_RECOVERED, Outcome.SUPERSEDED})


class Result(StrEnum):
    """What a reboot call came to for one node."""

    REBOOTED = "rebooted"  # the API said that the reboot was started
    FAILED = "failed"  # the API said no, for this node or for the whole call
    UNKNOWN = "unknown"  # the answer was lost: it may have been rebooted
    NOT_CALLED = "not called"  # passing trouble or the deadline came before an answer: nothing was done


class IdKind(StrEnum):
    """The two kinds of ID that BatchRebootClusterNodes takes, by the name of the field in its answers."""

    NODE_ID = "NodeId"
    LOGICAL_ID = "NodeLogicalId"


@dataclass(frozen=True, slots=True)
class Node:
    """A node by the ID that was reported."""

    kind: IdKind
    id: str

    @property
    def well_formed(self) -> bool:
        """Whether the ID matches the API's pattern; one that does not could spoil a whole call, so it is sent alone."""
        pattern = INSTANCE_ID if self.kind is IdKind.NODE_ID else LOGICAL_ID
        return pattern.fullmatch(self.id) is not None


class NodeKey(NamedTuple):
    """A node as the ledger knows it: by its instance ID where it has one, so that a node's two IDs are one node."""

    cluster: str
    id: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """The CloudWatch alarm behind a report; `tags` is None where the event does not carry them.

    With `by_series` the alarm has several series, of which one reported: its contributors are to be asked one by one.
    """

    name: str
    arn: str | None = None
    tags: tuple[tuple[str, str], ...] | None = None
    by_series: bool = False


@dataclass(frozen=True, slots=True)
class Trigger:
    """The event that a report was read from, as people and DLQ messages quote it."""

    source: str
    detail_type: str
    event_id: str
    time: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """What makes a report one of this system's own: a delayed message that it sent itself, to look again.

    `watch` is what it belongs to in the ledger, None for a muted alarm that is looked at again. `round` counts the
    messages of the chain from 1; `due` is when this one was meant to arrive. `retry` marks a failed try's next.
    """

    watch: str | None
    round: int
    due: datetime
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """One node reported unhealthy (or, with `healthy`, healthy again).

    `cluster` is the name as reported; only with `cluster_is_hyperpod` is it known not to be an EKS cluster's name.
    `instance_id` is the node's, where it was reported by its logical ID. `muted` says by what an alarm was muted or
    suppressed, `muted_until` when its mute window ends. `attempt` counts from 1; `on_demand` marks what a person asked
    for: a request or a redriven dead letter. `replay` names the archive replay that an event comes from.
    """

    trigger: Trigger
    node: Node
    cluster: str | None = None
    cluster_is_hyperpod: bool = False
    instance_id: str | None = None
    healthy: bool = False
    muted: str | None = None
    muted_until: datetime | None = None
    replay: str | None = None
    repair_action: str | None = None
    recommendation: str | None = None
    alarm: Alarm | None = None
    attempt: int = 1
    on_demand: bool = False
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Composite:
    """A composite alarm's change of state: its nodes are those of the child alarms that caused it."""

    trigger: Trigger
    alarm: Alarm
    children: tuple[str, ...]
    healthy: bool = False
    replay: str | None = None
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What reading alone decides: an event that asks for nothing, or that names no node to act on.

    `postponed` is the body of a muted alarm's event that a check goes on waiting with.
    """

    trigger: Trigger
    outcome: Outcome
    reason: str
    code: str | None = None
    cluster: str | None = None
    alarm: Alarm | None = None
    muted_until: datetime | None = None
    check: Check | None = None
    postponed: str | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """A muted alarm's change of state, as it came in `body`, to be looked at when the mute window ends, at `until`."""

    trigger: Trigger
    check: Check
    until: datetime
    body: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the intake queue, or one direct invocation's payload.

    `receives` counts from 1. `redriven` is the Kind attribute that a dead letter of ours carries.
    """

    id: str
    body: str
    sent: datetime
    receives: int = 1
    receipt_handle: str | None = None
    redriven: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A reading with the message that it came in; two cases are the same only if they are one object."""

    message: Message
    reading: Report | Settled

    @property
    def trigger(self) -> Trigger:
        return self.reading.trigger

    @property
    def cluster(self) -> str | None:
        return self.reading.cluster

    @property
    def node(self) -> Node | None:
        return self.reading.node if isinstance(self.reading, Report) else None

    @property
    def key(self) -> NodeKey | None:
        """Where the ledger keeps what was done to the node; None where the report names none."""
        reading = self.reading
        if not isinstance(reading, Report):
            return None
        return NodeKey(reading.cluster or "", reading.instance_id or reading.node.id)

    @property
    def owner(self) -> str:
        """Who claims a node for this report: its message, which stays the same however often it is delivered."""
        return self.message.id

    @property
    def check(self) -> Check | None:
        """What makes the case one of this system's own checks."""
        return self.reading.check

    @property
    def healthy(self) -> bool:
        """Whether all that this says is that a node is well again."""
        reading = self.reading
        return reading.healthy if isinstance(reading, Report) else reading.outcome is Outcome.CLEARED


@dataclass(frozen=True, slots=True)
class Ending:
    """The outcome of a case; `code` and `reason` hold the API's own words where the API spoke.

    `told` marks what an earlier delivery of the message has reported already, `quiet` what nobody waits to hear.
    `again_at` is when a failed try is made again; `took` the time from the report to its reboot, or to its recovery.
    """

    case: Case
    outcome: Outcome
    reason: str
    code: str | None = None
    told: bool = False
    quiet: bool = False
    again_at: datetime | None = None
    took: timedelta | None = None


class TryAgain(NamedTuple):
    """A case that passed trouble kept from its outcome: its message goes back to the queue if it may."""

    case: Case
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Handling:
    """What one batch came to: an ending per case that is over, and the messages that come again, with why."""

    endings: tuple[Ending, ...] = ()
    handed_back: dict[str, str] = field(default_factory=dict)

    def without(self, late: Mapping[str, str]) -> "Handling":
        """With these messages handed back, and why."""
        arrived = tuple(ending for ending in self.endings if ending.case.message.id not in late)
        return Handling(arrived, {**self.handed_back, **late})
