"""What the parsers share: the EventBridge envelope, times, and which node and cluster a set of fields names."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from node_remediation.model import INSTANCE_ID, IdKind, Node, Trigger

_A_DAY = timedelta(days=1)
# A number above this is milliseconds: as seconds it would be in the year 5138.
_MOST_SECONDS = 1e11

_NODE_KEYS = (("InstanceId", "instance_id"), ("NodeId", "node_id"), ("NodeName", "node_name"))
_LOGICAL_KEYS = ("NodeLogicalId", "node_logical_id")
_HYPERPOD_CLUSTER_KEYS = ("HyperPodClusterName", "hyperpod_cluster_name", "hyper_pod_cluster_name")
_CLUSTER_KEYS = ("ClusterName", "cluster_name")
# An EKS node's name is this and the instance ID.
_EKS_NODE_PREFIX = "hyperpod-"


class UnreadableEventError(ValueError):
    """The body cannot be read as any event; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """An EventBridge event, less what no parser needs."""

    source: str
    detail_type: str
    event_id: str
    time: datetime
    detail: Any
    resources: tuple[str, ...] = ()
    replay: str | None = None

    def trigger(self, reason: str, time: datetime | None = None) -> Trigger:
        return Trigger(self.source, self.detail_type, self.event_id, time or self.time, reason)

    def object_detail(self) -> Mapping[str, Any]:
        if not isinstance(self.detail, dict):
            raise UnreadableEventError(f"detail: takes an object, not {kind(self.detail)}")
        return self.detail


class ClusterName(NamedTuple):
    """A cluster as an event names it; only `hyperpod` ones are known not to be an EKS cluster's name."""

    name: str | None = None
    hyperpod: bool = False


def kind(value: object) -> str:
    """The JSON name of a value's type, for error messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def text(fields: Mapping[str, Any], *keys: str) -> str | None:
    """The first of `keys` that holds a string with something in it, without white space around it."""
    for key in keys:
        value = fields.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def mapping(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`; an empty one where there is none: fields of events may be null."""
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def read_time(value: object) -> datetime | None:
    """A time as AWS writes it: ISO 8601, or seconds or milliseconds since 1970; None where it is none."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if value > _MOST_SECONDS else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def report_time(claimed: object, envelope: datetime) -> datetime:
    """The time that the event claims, unless it has none or is over a day from its envelope's."""
    time = read_time(claimed)
    return time if time and abs(time - envelope) <= _A_DAY else envelope


def find_node(fields: Mapping[str, Any]) -> Node | None:
    """The node that event fields or metric dimensions name.

    The first of InstanceId, NodeId and NodeName that is an instance ID, else NodeLogicalId, else the first present:
    whether that is an ID is the API's to say.
    """
    present = [name.removeprefix(_EKS_NODE_PREFIX) for keys in _NODE_KEYS if (name := text(fields, *keys))]
    instance = next((name for name in present if INSTANCE_ID.fullmatch(name)), None)
    if instance:
        return Node(IdKind.NODE_ID, instance)
    logical = text(fields, *_LOGICAL_KEYS)
    if logical:
        return Node(IdKind.LOGICAL_ID, logical)
    return next((Node(IdKind.NODE_ID, name) for name in present if name), None)


def find_cluster(fields: Mapping[str, Any]) -> ClusterName:
    """The cluster that event fields or metric dimensions name; a HyperPod name wins over one that may be EKS's."""
    hyperpod = text(fields, *_HYPERPOD_CLUSTER_KEYS)
    return ClusterName(hyperpod, hyperpod=True) if hyperpod else ClusterName(text(fields, *_CLUSTER_KEYS))
