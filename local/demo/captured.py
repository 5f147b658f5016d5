"""Reads a captured event, whichever way it came; moves its times to now, and its account and region to here."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from local.observing import parse

_OWN_SOURCE = "hyperpod.node-remediation"
_NODE_KEYS = frozenset({"InstanceId", "NodeId", "NodeName", "NodeIds"})
_LOGICAL_KEYS = frozenset({"NodeLogicalId", "NodeLogicalIds"})
_EKS_NODE_PREFIX = "hyperpod-"
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:?\d\d)?")
_ARN = re.compile(r"(?P<service>arn:[a-z-]+:[a-z0-9-]+):(?P<region>[a-z0-9-]+):(?P<account>\d{12}):")
_ACCOUNT_KEYS = frozenset({"account", "accountId", "AWSAccountId"})
_REGION_KEY = "region"
_SECONDS = range(10**9, 10**10)  # since 1970, in years that matter here
_MILLISECONDS = range(10**12, 10**13)


class BadCaptureError(Exception):
    """Reports, in one line, that a file holds no event."""


class Way(Enum):
    """Names how an event of its form comes in."""

    BUS = "on the event bus"
    QUEUE = "as a message on the intake queue"
    DIRECT = "by invoking the function"


@dataclass(frozen=True, slots=True)
class CapturedOrigin:
    """Names an account and a region."""

    account: str
    region: str

    def __str__(self) -> str:
        return f"{self.account}, {self.region}"


@dataclass(frozen=True, slots=True)
class Names:
    """Holds what an event names; `eks` is a cluster's name that may be that of its EKS cluster.

    `one_node` says that its instance ID and its logical ID are those of one node.
    """

    hyperpod: str | None
    eks: str | None
    nodes: tuple[str, ...]
    logical_ids: tuple[str, ...]
    one_node: bool
    alarm: str | None


@dataclass(frozen=True, slots=True)
class Capture:
    """Holds a captured event as it is in the file, when it was sent, and where it comes from, if it says so."""

    file: Path
    way: Way
    body: Mapping[str, Any]
    sent: datetime | None
    names: Names
    origin: CapturedOrigin | None

    def here(self, now: datetime, home: CapturedOrigin) -> dict[str, Any]:
        """Return the event as if it were sent now, in this account and region and about their resources."""
        moved: dict[str, Any] = _moved("", self.body, now - self.sent if self.sent else timedelta(), home)
        return moved

    @property
    def kind(self) -> str:
        if "detail-type" in self.body:
            return f"{self.body['source']} / {self.body['detail-type']}"
        return "alarm action, direct" if self.way is Way.DIRECT else "alarm action, through SNS"


def read_capture(file: Path) -> Capture:
    """Read the event in a file. Raises BadCaptureError."""
    try:
        body = json.loads(file.read_bytes())
    except OSError as error:
        raise BadCaptureError(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BadCaptureError(f"{file} is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadCaptureError(f"{file}: takes one event, a JSON object")
    inner = (parse(body["Message"]) or body) if body.get("Type") == "Notification" else body
    sent = next((time for key in ("time", "Timestamp", "StateChangeTime") if (time := _time(body.get(key)))), None)
    return Capture(file, _way(file, body), body, sent, _names(inner), _origin(inner))


def _moved(key: str, value: Any, by: timedelta, home: CapturedOrigin) -> Any:
    """Return the value with every time, account and region in it replaced, also those in JSON inside strings."""
    if isinstance(value, dict):
        return {key: _moved(key, item, by, home) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved("", item, by, home) for item in value]
    if isinstance(value, int):
        return value + _ticks(key, value, by)
    if not isinstance(value, str) or not value:
        return value
    if key in _ACCOUNT_KEYS or key == _REGION_KEY:
        return home.region if key == _REGION_KEY else home.account
    if value.startswith("{") and (inner := parse(value)):
        return json.dumps(_moved("", inner, by, home))
    if time := _time(value):
        return _like(value, time + by)
    return _ARN.sub(rf"\g<service>:{home.region}:{home.account}:", value)


def _origin(body: Mapping[str, Any]) -> CapturedOrigin | None:
    """Return the account and region that an event says it is of; what its envelope lacks is in its first ARN."""
    arn = _ARN.search(json.dumps(body))
    account = next((str(body[key]) for key in sorted(_ACCOUNT_KEYS) if body.get(key)), arn and arn["account"])
    region = body.get(_REGION_KEY) or (arn and arn["region"])
    return CapturedOrigin(account, region) if account and region else None


def _way(file: Path, body: Mapping[str, Any]) -> Way:
    if isinstance(body.get("alarmData"), dict):
        return Way.DIRECT
    if body.get("Type") == "Notification" or ("AlarmName" in body and "NewStateValue" in body):
        return Way.QUEUE
    missing = [key for key in ("source", "detail-type", "detail") if not body.get(key)]
    if missing:
        raise BadCaptureError(f"{file} is no event: it has no {', '.join(missing)}, nor an alarm's fields")
    return Way.QUEUE if body["source"] == _OWN_SOURCE else Way.BUS


def _names(body: Mapping[str, Any]) -> Names:
    pairs = list(_pairs(body))
    clusters = [value for key, value in pairs if key == "ClusterName"]
    hyperpod = [value for key, value in pairs if key == "HyperPodClusterName"]
    if body.get("source") in ("aws.sagemaker", _OWN_SOURCE):
        hyperpod, clusters = hyperpod + clusters, []
    return Names(
        hyperpod=next(iter(hyperpod), None),
        eks=next(iter(clusters), None),
        nodes=tuple(dict.fromkeys(v.removeprefix(_EKS_NODE_PREFIX) for k, v in pairs if k in _NODE_KEYS)),
        logical_ids=tuple(dict.fromkeys(v for k, v in pairs if k in _LOGICAL_KEYS)),
        one_node=any(key == "NodeLogicalId" for key, _ in pairs),
        alarm=next((value for key, value in pairs if key in ("alarmName", "AlarmName")), None),
    )


def _pairs(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each name with a string beside it, however deep: fields, lists of strings, dimensions as name and value."""
    if isinstance(value, list):
        for item in value:
            yield from _pairs(item)
    if not isinstance(value, dict):
        return
    name, text = (value.get(key, value.get(key.capitalize())) for key in ("name", "value"))
    if isinstance(name, str) and isinstance(text, str):
        yield name, text
    for key, item in value.items():
        yield from ((key, text) for text in (item if isinstance(item, list) else [item]) if isinstance(text, str))
        yield from _pairs(item)


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str) or not _ISO.fullmatch(value):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _like(spelling: str, time: datetime) -> str:
    """Write a time in the spelling of the one that it replaces."""
    match = _ISO.fullmatch(spelling)
    zone, fraction = (match["zone"] or "", match["fraction"] or "") if match else ("", "")
    digits = f"{time.microsecond:06d}"[: max(len(fraction) - 1, 0)]
    return time.strftime("%Y-%m-%dT%H:%M:%S") + (f".{digits}" if digits else "") + zone


def _ticks(key: str, value: int, by: timedelta) -> int:
    """Return how far to move a number: a time in seconds or milliseconds since 1970, under a name that says so."""
    if not key.lower().endswith(("time", "timestamp")):
        return 0
    return int(by.total_seconds()) * (1000 if value in _MILLISECONDS else 1 if value in _SECONDS else 0)
