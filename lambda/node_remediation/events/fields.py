"""Reads what all events share: the envelope, times, the node and the cluster that a set of fields names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from node_remediation.model import INSTANCE_ID, IdKind, Node, Trigger, bounded

_A_DAY = timedelta(days=1)
# A number above this is milliseconds: as seconds it would be in the year 5138.
_MOST_SECONDS = 1e11
# Times outside of these are no times of events, and would overflow where durations are added.
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_LONGEST_PROBLEM = 300

_NODE_KEYS = (("InstanceId", "instance_id"), ("NodeId", "node_id"), ("NodeName", "node_name"))
_LOGICAL_KEYS = ("NodeLogicalId", "node_logical_id")
_HYPERPOD_CLUSTER_KEYS = ("HyperPodClusterName", "hyperpod_cluster_name", "hyper_pod_cluster_name")
_CLUSTER_KEYS = ("ClusterName", "cluster_name", "k8s.cluster.name", "@resource.k8s.cluster.name")
# Labels of Prometheus and attributes of OpenTelemetry (semantic conventions: host.id, k8s.node.name).
_NODE_LABELS = ("instance", "node", "Hostname", "host.id", "k8s.node.name")
# An EKS node's name is this and the instance ID.
_EKS_NODE_PREFIX = "hyperpod-"

_ARN = re.compile(r"arn:[^:]*:[^:]*:([^:]*):([^:]*):")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")


class UnreadableEventError(ValueError):
    """Reports that a body cannot be read as any event, in one line."""

    def __init__(self, problem: str) -> None:
        super().__init__(bounded(" ".join(problem.split()), _LONGEST_PROBLEM))


class Home(NamedTuple):
    """The account and the region that the function runs in."""

    account: str
    region: str

    def is_foreign(self, account: object, region: object = None) -> bool:
        """Tell whether an account or a region is another one. A value that is neither is no evidence."""
        return _differs(account, self.account, _ACCOUNT) or _differs(region, self.region, _REGION)

    def is_foreign_arn(self, arn: object) -> bool:
        """Tell whether an ARN is of another account or region. Text that is no ARN is no evidence."""
        match = _ARN.match(arn) if isinstance(arn, str) else None
        return match is not None and self.is_foreign(match[2], match[1])


def _differs(value: object, own: str, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and value != own and pattern.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event, less what no parser needs. `sent` is when its message was sent, `time` what it says itself."""

    source: str
    detail_type: str
    event_id: str
    sent: datetime
    detail: Any
    time: object = None
    resources: tuple[str, ...] = ()
    replay: str | None = None

    def trigger(self, reason: str, *claims: object) -> Trigger:
        """Return the trigger of a report. `claims` are the times that the event gives, before the envelope's."""
        time = report_time(self.sent, *claims, self.time)
        return Trigger(self.source, self.detail_type, self.event_id, time, bounded(reason.strip()))

    def object_detail(self) -> Mapping[str, Any]:
        if not isinstance(self.detail, dict):
            raise UnreadableEventError(f"detail: takes an object, not {kind(self.detail)}")
        return self.detail


class ClusterName(NamedTuple):
    """A cluster as an event names it. `hyperpod` marks the name of a HyperPod cluster: not an EKS cluster's, no ARN."""

    name: str | None = None
    hyperpod: bool = False


def kind(value: object) -> str:
    """Return the JSON name of a value's type, for error messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def whole_text(fields: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first string among `keys` that is not blank, without white space around it, of any length."""
    for key in keys:
        value = fields.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def text(fields: Mapping[str, Any], *keys: str) -> str | None:
    """Return the first string among `keys` that is not blank, bounded: as a reading can hold it."""
    value = whole_text(fields, *keys)
    return bounded(value) if value else None


def mapping(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object under `key`, an empty one if there is none: fields of events may be null."""
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def in_milliseconds(time: datetime) -> datetime:
    """Round a time down to milliseconds, which is what the ledger keeps."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def read_time(value: object) -> datetime | None:
    """Read a time as AWS writes it: ISO 8601, or seconds or milliseconds since 1970. Return None if it is none."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            time = datetime.fromtimestamp(value / 1000 if value > _MOST_SECONDS else value, UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return min(in_milliseconds(time), _LATEST) if time >= _EARLIEST else None


def report_time(sent: datetime, *claims: object) -> datetime:
    """Return the first time claimed that is not over a day before `sent`, else `sent`; never a later one."""
    for claim in claims:
        time = read_time(claim)
        if time and time >= sent - _A_DAY:
            return min(time, sent)
    return sent


def find_node(fields: Mapping[str, Any]) -> Node | None:
    """Find the node that event fields or metric dimensions name.

    It is the first of InstanceId, NodeId and NodeName that is an instance ID, else NodeLogicalId, else the first
    present: the API decides whether that is an ID.
    """
    present = [name.removeprefix(_EKS_NODE_PREFIX) for keys in _NODE_KEYS if (name := text(fields, *keys))]
    instance = next((name for name in present if INSTANCE_ID.fullmatch(name)), None)
    if instance:
        return Node(IdKind.NODE_ID, instance)
    logical = text(fields, *_LOGICAL_KEYS)
    if logical:
        return Node(IdKind.LOGICAL_ID, logical)
    return next((Node(IdKind.NODE_ID, name) for name in present if name), None)


def find_nodes(fields: Mapping[str, Any]) -> set[Node]:
    """Find the nodes that a metric's dimensions or labels name.

    A label counts only where it holds an instance ID or an EKS node's name, and only where no dimension names an
    instance.
    """
    node = find_node(fields)
    if node and node.well_formed:
        return {node}
    labels = (text(fields, f"{prefix}{label}") for label in _NODE_LABELS for prefix in ("", "@resource."))
    hosts = {label.partition(":")[0].removeprefix(_EKS_NODE_PREFIX) for label in labels if label}
    instances = {Node(IdKind.NODE_ID, host) for host in hosts if INSTANCE_ID.fullmatch(host)}
    return instances or ({node} if node else set())


def is_arn(name: str | None) -> bool:
    return name is not None and name.startswith("arn:")


def find_cluster(fields: Mapping[str, Any]) -> ClusterName:
    """Find the cluster that event fields or metric dimensions name. A HyperPod name wins over one that may be EKS's."""
    name = text(fields, *_HYPERPOD_CLUSTER_KEYS)
    return ClusterName(name, hyperpod=not is_arn(name)) if name else ClusterName(text(fields, *_CLUSTER_KEYS))
