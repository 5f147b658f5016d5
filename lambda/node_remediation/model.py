"""The values that events are read into: nodes, alarms, reports and the messages that carry them."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

# Patterns of the API's ClusterNodeId and ClusterNodeLogicalId shapes (botocore, sagemaker 2017-07-24).
INSTANCE_ID = re.compile(r"i-[a-f0-9]{8}(?:[a-f0-9]{9})?")
LOGICAL_ID = re.compile(r"(?=.{1,128}\Z)[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]")

# The longest string that the ledger keeps; an entry of the API's own may be longer.
LONGEST_TEXT = 1_024
LONGEST_API_TEXT = 12_288
CUT = "…[cut]"

# HyperPod as a source of complaints; the others are an alarm (Alarm.source) and a person's request.
HYPERPOD = "hyperpod"
REQUEST = "request"


def bounded(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return `text` as it can be stored, logged and sent: lone surrogates replaced, at most `longest` characters.

    A cut is marked at the end.
    """
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= longest else clean[: longest - len(CUT)] + CUT


class Outcome(StrEnum):
    """The outcome of a report, one each; and in a group of their own the ends that only an incident can have."""

    REBOOTED = "rebooted"
    FAILED = "failed"
    RETRYING = "retrying"
    REFUSED = "refused"
    DEFERRED = "deferred"
    WAITING = "waiting"
    DUPLICATE = "duplicate"
    OBSERVED = "observed"
    CLEARED = "cleared"
    IGNORED = "ignored"
    UNREADABLE = "unreadable"

    RECOVERED = "recovered"
    SUPERSEDED = "superseded"
    NOT_RECOVERED = "not_recovered"
    UNVERIFIED = "unverified"

    # Only with the setting escalation, or an override, that replaces.
    REPLACED = "replaced"

    # On the topic alone: a reboot that waits for an answer; a node that keeps failing for the same reason; an entry of
    # the mode parameter whose end has passed; the last 24 hours.
    PROPOSED = "proposed"
    RECURRING = "recurring"
    RESUMED = "resumed"
    DAILY_SUMMARY = "daily_summary"


# Ends that an incident can have before a reboot: a report can have them too. Then ends that only an incident has.
EARLY_ENDS = frozenset({Outcome.CLEARED, Outcome.REFUSED, Outcome.FAILED, Outcome.OBSERVED})
LATE_ENDS = frozenset({Outcome.RECOVERED, Outcome.SUPERSEDED, Outcome.NOT_RECOVERED, Outcome.UNVERIFIED})
ENDS = EARLY_ENDS | LATE_ENDS


def metric_name(outcome: str) -> str:
    """Return an outcome or end as metrics and machines name it: `NotRecovered` for `not_recovered`."""
    return "".join(word.capitalize() for word in outcome.split("_"))


class IdKind(StrEnum):
    """The two kinds of ID that BatchRebootClusterNodes takes, by the name of the field in its answers."""

    NODE_ID = "NodeId"
    LOGICAL_ID = "NodeLogicalId"


@dataclass(frozen=True, slots=True)
class Node:
    """A node by an ID that was reported."""

    kind: IdKind
    id: str

    @property
    def well_formed(self) -> bool:
        """Tell whether the ID matches the API's pattern; one that does not is sent alone, as it may spoil a call."""
        pattern = INSTANCE_ID if self.kind is IdKind.NODE_ID else LOGICAL_ID
        return pattern.fullmatch(self.id) is not None


class NodeKey(NamedTuple):
    """The key of a node in the ledger: its cluster's name and its instance ID, or its logical ID while no instance is
    known. A report that names no node has the key `("", message ID)`; what concerns a cluster's notices as a whole has
    the key `(cluster, "")`."""

    cluster: str
    id: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """The CloudWatch alarm behind a report.

    `tags` is None where the event does not carry them. `by_series` marks an alarm with several series, of which one
    reported: `series` holds that series' attributes as JSON with sorted keys, and is None in a redriven letter.
    With `alertmanager` it is an alert of Prometheus or Grafana, and `series` is its fingerprint.
    """

    name: str
    arn: str | None = None
    tags: tuple[tuple[str, str], ...] | None = None
    by_series: bool = False
    series: str | None = None
    alertmanager: bool = False

    @property
    def source(self) -> str:
        """The source of complaints that this alarm or alert, or one series of it, is."""
        name = f"alert:{self.name}" if self.alertmanager else f"alarm:{self.name}"
        return f"{name}#{self.series}" if self.series else name

    @property
    def can_be_asked(self) -> bool:
        """Tell whether CloudWatch knows its state; an alert's is known only from what Alertmanager sends."""
        return not self.alertmanager


@dataclass(frozen=True, slots=True)
class Trigger:
    """The event that a report was read from, as people and letters quote it. `time` is the report's time."""

    source: str
    detail_type: str
    event_id: str
    time: datetime
    reason: str = ""


class Progress(StrEnum):
    """The progress of a reboot, as an event of HyperPod's tells it."""

    IN_PROGRESS = "in progress"
    COMPLETED = "completed"
    FAILED = "failed"


class Answered(StrEnum):
    """The answers to a proposed reboot."""

    APPROVED = "approved"
    VETOED = "vetoed"


class Origin(StrEnum):
    """The way in which a report was made."""

    EVENT = "event"
    REQUEST = "request"
    LETTER = "letter"


@dataclass(frozen=True, slots=True)
class Report:
    """One node reported unhealthy or, with `healthy`, well again; or, with `progress`, a word about its reboot.

    `cluster` is the name as reported; only with `cluster_is_hyperpod` is it known not to be an EKS cluster's name.
    `instance_id` is the node's where a letter knew it. `muted` says by what an alarm was muted or suppressed,
    `muted_until` when its mute window ends. `replay` names the archive replay that an event comes from. `attempt`
    counts from 1. `letter_id` is the redriven letter's own ID. `cluster_event` is the ID by which DescribeClusterEvent
    may tell more than the event did. With `answer` it answers the proposal of `incident`, `answered_by` somebody.
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
    origin: Origin = Origin.EVENT
    letter_id: str | None = None
    progress: Progress | None = None
    cluster_event: str | None = None
    answer: Answered | None = None
    incident: str | None = None
    answered_by: str | None = None

    @property
    def complains(self) -> bool:
        """Tell whether it reports the node unhealthy."""
        return not (self.healthy or self.progress or self.answer)

    @property
    def outcome_without_node(self) -> Outcome | None:
        """The outcome where its node cannot be found, for a report that asks for no reboot; None for a complaint."""
        if self.progress or self.answer:
            return Outcome.IGNORED
        if self.healthy:
            return Outcome.CLEARED
        return Outcome.DEFERRED if self.muted else None

    @property
    def source(self) -> str:
        """The source that complains or withdraws: HyperPod, an alarm or a series of it, or a person's request.

        A redriven letter complains as the source of its trigger did.
        """
        if self.alarm:
            return self.alarm.source
        if self.origin is Origin.REQUEST or self.trigger.source not in ("aws.sagemaker", "aws.cloudwatch"):
            return REQUEST
        return HYPERPOD

    @property
    def on_demand(self) -> bool:
        """Tell whether a person asked for it: it is judged at once and always answered."""
        return self.origin is not Origin.EVENT


@dataclass(frozen=True, slots=True)
class Composite:
    """A composite alarm's change of state. Its nodes are those of the child alarms, which are looked up."""

    trigger: Trigger
    alarm: Alarm
    children: tuple[str, ...]
    healthy: bool = False
    muted: str | None = None
    muted_until: datetime | None = None
    replay: str | None = None


@dataclass(frozen=True, slots=True)
class NoReport:
    """An event that reports no node: it asks for nothing, or does not say which node it is about.

    `outcome` is IGNORED, REFUSED, DEFERRED, CLEARED, FAILED or UNREADABLE. `node` is for the log alone. `canary` marks
    the stack's own daily event.
    """

    trigger: Trigger
    outcome: Outcome
    reason: str
    code: str | None = None
    cluster: str | None = None
    alarm: Alarm | None = None
    node: Node | None = None
    canary: bool = False


Reading = Report | Composite | NoReport


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the intake queue, or one direct invocation's payload.

    `receives` counts from 1. `redriven` marks a message with a letter's attribute Kind. `direct` has no queue to go
    back to.
    """

    id: str
    body: str
    sent: datetime
    receives: int = 1
    receipt_handle: str | None = None
    redriven: bool = False
    direct: bool = False


class Failure(NamedTuple):
    """An error code, AWS's own or one of codes.py, with its message."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Case:
    """A report with the message that it came in, and the ledger's key of its node.

    `failure` is AWS's final no to a look-up without which the report's cluster or node cannot be known.
    """

    message: Message
    report: Report
    key: NodeKey
    failure: Failure | None = None

    @property
    def handled_as(self) -> str | None:
        """The ID that marks what a person asked for as handled: the letter's, else the message's; None for events."""
        if not self.report.on_demand:
            return None
        return self.report.letter_id or self.message.id


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one report, as it is logged, counted and answered. `incident` is the ID of the node's incident."""

    message: Message
    trigger: Trigger
    outcome: Outcome
    reason: str
    code: str | None = None
    cluster: str | None = None
    node: Node | None = None
    incident: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an incident's state, as it is logged and counted.

    `state` is an incident's state or its end. `seconds` is the time from the first complaint to the reboot or recovery.
    `counted` is False where the result of a report says the same, so that no metric counts it twice. `recurring` marks
    the change by which a node recurs.
    """

    incident: str
    cluster: str
    node: str
    state: str
    reason: str
    code: str | None = None
    seconds: float | None = None
    counted: bool = True
    recurring: bool = False


class CallResult(StrEnum):
    """The outcome of a call that reboots or replaces, for one node."""

    STARTED = "started"  # the API started the reboot or replacement
    FAILED = "failed"  # the API said no, for this node or for the whole call
    UNKNOWN = "unknown"  # the answer was lost: it may have started
    NOT_CALLED = "not called"  # nothing was done: throttled, no connection, or no time left


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's part of the answer, with the API's code and message, verbatim.

    A node that the answer lists as successful and as failed is STARTED with the failure's code and message.
    """

    node: Node
    result: CallResult
    code: str | None = None
    message: str = ""


class NodeFacts(NamedTuple):
    """Holds what SageMaker says of a node (DescribeClusterNode, ListClusterNodes).

    `updated_at` is when its software was last updated (UpdateClusterSoftware), if it was.
    """

    instance_id: str | None
    logical_id: str | None
    group: str | None
    status: str
    message: str = ""
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """Holds what SageMaker says of a cluster (DescribeCluster).

    `nodes` counts all its nodes. With `automatic` HyperPod repairs them itself. Nodes of `protected_groups` are never
    rebooted. `continuous` marks a cluster whose nodes have logical IDs, too (NodeProvisioningMode), `eks` one that EKS
    orchestrates; the others run Slurm.
    """

    nodes: int
    automatic: bool
    protected_groups: frozenset[str] = frozenset()
    continuous: bool = False
    eks: bool | None = None
    created_at: datetime | None = None


class AlarmState(NamedTuple):
    """The state of an alarm, or of one series of it, as asked now: OK, ALARM, INSUFFICIENT_DATA, or "gone", or
    "denied". `since` is when it changed, where that is known."""

    state: str
    since: datetime | None = None
