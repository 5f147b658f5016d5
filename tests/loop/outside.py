"""The services around the function, in memory, with all that can go wrong with them. They log what was done to them."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from node_remediation.aws.errors import LookupFailedError
from node_remediation.events.alarm import series_of
from node_remediation.model import INSTANCE_ID, Answer, Change, Message, Result
from node_remediation.outbox.events import BusEvent
from node_remediation.outbox.letters import Letter
from node_remediation.outbox.notifications import Notification
from node_remediation.policy.modes import Modes, read_modes
from tests.fakes import LOST, THROTTLED

ACCOUNT, REGION = "111122223333", "us-west-2"
_CACHED_FOR = timedelta(minutes=1)
Clock = Callable[[], datetime]


def instance_id(number: int) -> str:
    """Return a well-formed instance ID."""
    return f"i-{number:017x}"


def error(code: str, status: int = 400, message: str = "") -> ClientError:
    """Return an AWS error as boto3 raises it."""
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Operation")


def throttled() -> ClientError:
    return error("ThrottlingException", 400, "Rate exceeded")


def denied() -> ClientError:
    return error("AccessDeniedException", 403, "not authorized")


class CallFault(Enum):
    """The ways in which a whole call that reboots or replaces can go wrong."""

    THROTTLED = "turned away"
    UNREACHABLE = "never sent"
    DENIED = "rejected"
    ANSWER_LOST = "carried out, the answer lost"
    REQUEST_LOST = "not carried out, the answer lost"
    BROKEN = "carried out, answered with a 5xx"


_NOT_DONE: dict[CallFault | None, Callable[[], Exception]] = {
    CallFault.THROTTLED: throttled,
    CallFault.UNREACHABLE: lambda: EndpointConnectionError(endpoint_url="https://sagemaker"),
    CallFault.DENIED: denied,
    CallFault.REQUEST_LOST: lambda: ReadTimeoutError(endpoint_url="https://sagemaker"),
}
_DONE: dict[CallFault, Callable[[], Exception]] = {
    CallFault.ANSWER_LOST: lambda: ReadTimeoutError(endpoint_url="https://sagemaker"),
    CallFault.BROKEN: lambda: error("InternalFailure", 500),
}


class Reboot(NamedTuple):
    """A reboot that was carried out, whatever was answered."""

    at: datetime
    cluster: str
    instance: str


@dataclass
class Slot:
    """A place in a cluster: its logical ID stays when its instance is replaced.

    `answers` has the answers to its next reboots: `started` (also when there is none), an error code, `both` (listed as
    started and as failed), `twice` (a failure that is listed twice), `unnamed` (rebooted, and in no list). `shown` is
    the instance that DescribeClusterNode still shows until `shown_until`; a node that is not `listed` is not shown.
    """

    cluster: str
    logical: str
    instance: str
    group: str = "workers"
    status: str = "Running"
    answers: list[str] = field(default_factory=list)
    shown: str | None = None
    shown_until: datetime | None = None
    listed: bool = True
    updated: datetime | None = None

    @property
    def ids(self) -> tuple[str, str]:
        return self.instance, self.logical


@dataclass
class FakeCluster:
    """A HyperPod cluster. `protected` are its groups of Slurm controllers."""

    name: str
    nodes: int = 100
    automatic: bool = False
    protected: tuple[str, ...] = ()
    continuous: bool = True
    eks: str | None = None
    created: datetime | None = None

    @property
    def arn(self) -> str:
        letters = "".join(letter for letter in self.name if letter.isalnum())
        return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:cluster/{letters:0<12.12}"


@dataclass
class SageMaker:
    """SageMaker's HyperPod operations as a boto3 client has them.

    `faults` become of the next reboot calls, in order; `down` has an error by operation, `asked` counts calls by it.
    """

    clock: Clock
    clusters: dict[str, FakeCluster] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    faults: list[CallFault] = field(default_factory=list)
    down: dict[str, Exception] = field(default_factory=dict)
    reboots: list[Reboot] = field(default_factory=list)
    replacements: list[Reboot] = field(default_factory=list)
    on_replaced: Callable[[Slot], object] = lambda _: None
    calls: list[tuple[datetime, str, tuple[str, ...]]] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    strangers: list[dict[str, str]] = field(default_factory=list)
    failure_messages: dict[str, str] = field(default_factory=dict)

    def slot(self, cluster: str, id_: str) -> Slot | None:
        """Return the slot that has this ID now."""
        return next((slot for slot in self.slots if slot.cluster == cluster and id_ in slot.ids), None)

    def replace(self, slot: Slot, instance: str, *, lag: timedelta = timedelta(0)) -> None:
        """Give the slot a new instance. DescribeClusterNode shows the old one for a while."""
        slot.shown, slot.shown_until = slot.instance, self.clock() + lag
        slot.instance, slot.status = instance, "Running"

    def _ask(self, operation: str) -> None:
        self.asked[operation] = self.asked.get(operation, 0) + 1
        if operation in self.down:
            raise self.down[operation]

    def describe_cluster(self, *, ClusterName: str) -> dict[str, Any]:  # noqa: N803  boto3's names
        self._ask("describe_cluster")
        cluster = next((each for each in self.clusters.values() if ClusterName in (each.name, each.arn)), None)
        if cluster is None:
            raise error("ResourceNotFound", 400, f"no cluster {ClusterName}")
        controllers = [
            {"InstanceGroupName": name, "CurrentCount": 0, "SlurmConfig": {"NodeType": "Controller"}}
            for name in cluster.protected
        ]
        return {
            "ClusterName": cluster.name,
            "ClusterArn": cluster.arn,
            "NodeRecovery": "Automatic" if cluster.automatic else "None",
            "NodeProvisioningMode": "Continuous" if cluster.continuous else None,
            "InstanceGroups": [{"InstanceGroupName": "workers", "CurrentCount": cluster.nodes}, *controllers],
            **({"CreationTime": cluster.created} if cluster.created else {}),
            "Orchestrator": {"Eks": {"ClusterArn": f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{cluster.eks}"}},
        }

    def describe_cluster_event(self, *, ClusterName: str, EventId: str) -> dict[str, Any]:  # noqa: N803
        self._ask("describe_cluster_event")
        if ClusterName not in self.clusters or EventId not in self.failure_messages:
            raise error("ResourceNotFound", 400, f"no event {EventId}")
        instance = {"FailureMessage": self.failure_messages[EventId]}
        return {"EventDetails": {"EventDetails": {"EventMetadata": {"Instance": instance}}}}

    def list_clusters(self, **_: Any) -> dict[str, Any]:
        self._ask("list_clusters")
        return {
            "ClusterSummaries": [
                {"ClusterArn": each.arn, "ClusterName": each.name} for each in self.clusters.values() if each.eks
            ]
        }

    def describe_cluster_node(
        self,
        *,
        ClusterName: str,  # noqa: N803
        NodeId: str | None = None,  # noqa: N803
        NodeLogicalId: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        self._ask("describe_cluster_node")
        for slot in (slot for slot in self.slots if slot.listed):
            details = self._details(slot)
            asked = {"InstanceId": NodeId} if NodeId else {"NodeLogicalId": NodeLogicalId}
            if slot.cluster == ClusterName and asked.items() <= details.items():
                return {"NodeDetails": details}
        if ClusterName not in self.clusters:
            raise error("ResourceNotFound", 400, f"no cluster {ClusterName}")
        if NodeId and not INSTANCE_ID.fullmatch(NodeId):
            raise error("ValidationException", 400, f"{NodeId} does not match the pattern")
        raise error("ResourceNotFound", 400, f"no node {NodeId or NodeLogicalId}")

    def list_cluster_nodes(self, *, ClusterName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._ask("list_cluster_nodes")
        if ClusterName not in self.clusters:
            raise error("ResourceNotFound", 400, f"no cluster {ClusterName}")
        slots = [slot for slot in self.slots if slot.listed and slot.cluster == ClusterName]
        return {"ClusterNodeSummaries": [self._details(slot) for slot in slots]}

    def _details(self, slot: Slot) -> dict[str, Any]:
        lags = slot.shown_until is not None and self.clock() < slot.shown_until
        return {
            "InstanceId": slot.shown if lags else slot.instance,
            "NodeLogicalId": slot.logical,
            "InstanceGroupName": slot.group,
            "InstanceStatus": {"Status": slot.status},
            **({"LastSoftwareUpdateTime": slot.updated} if slot.updated else {}),
        }

    def batch_replace_cluster_nodes(
        self,
        *,
        ClusterName: str,  # noqa: N803
        NodeIds: Sequence[str],  # noqa: N803
    ) -> dict[str, Any]:
        """Replace at once what can be replaced; a slot's `answers` and `faults` count as for a reboot."""
        self._ask("batch_replace_cluster_nodes")
        fault = self.faults.pop(0) if self.faults else None
        if fault in _NOT_DONE:
            raise _NOT_DONE[fault]()  # noqa: RSE102  a function that makes one
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        for id_ in NodeIds:
            slot = self.slot(ClusterName, id_)
            code = (slot.answers.pop(0) if slot.answers else "started") if slot else "InstanceIdNotFound"
            if slot and code == "started":
                self.replacements.append(Reboot(self.clock(), ClusterName, slot.instance))
                self.replace(slot, instance_id(10**6 + len(self.replacements)))
                self.on_replaced(slot)
                answer["Successful"].append(id_)
            else:
                answer["Failed"].append({"NodeId": id_, "ErrorCode": code, "Message": f"{id_} says {code}"})
        if fault:
            raise _DONE[fault]()  # noqa: RSE102  a function that makes one
        return answer

    def batch_reboot_cluster_nodes(
        self,
        *,
        ClusterName: str,  # noqa: N803
        NodeIds: Sequence[str] = (),  # noqa: N803
        NodeLogicalIds: Sequence[str] = (),  # noqa: N803
    ) -> dict[str, Any]:
        self._ask("batch_reboot_cluster_nodes")
        self.calls.append((self.clock(), ClusterName, (*NodeIds, *NodeLogicalIds)))
        fault = self.faults.pop(0) if self.faults else None
        if fault in _NOT_DONE:
            trouble = _NOT_DONE[fault]
            raise trouble()
        odd = [id_ for id_ in NodeIds if not INSTANCE_ID.fullmatch(id_)]
        if odd:
            raise error("ValidationException", 400, f"{odd[0]} does not match the pattern")
        answer: dict[str, Any] = {"Successful": [], "Failed": list(self.strangers)}
        for id_ in NodeIds:
            self._reboot(ClusterName, id_, answer["Successful"], answer["Failed"], "NodeId", carried_out=fault)
        if NodeLogicalIds:
            answer |= {"SuccessfulNodeLogicalIds": [], "FailedNodeLogicalIds": []}
        for id_ in NodeLogicalIds:
            done, failed = answer["SuccessfulNodeLogicalIds"], answer["FailedNodeLogicalIds"]
            self._reboot(ClusterName, id_, done, failed, "NodeLogicalId", carried_out=fault)
        if fault:
            lost = _DONE[fault]
            raise lost()
        return answer

    def _reboot(
        self, cluster: str, id_: str, done: list[str], failed: list[Any], kind: str, *, carried_out: CallFault | None
    ) -> None:
        slot = self.slot(cluster, id_)
        answer = (slot.answers.pop(0) if slot.answers else "started") if slot else "InstanceIdNotFound"
        code = {"both": "InternalServerError", "twice": "InstanceIdInUse"}.get(answer, answer)
        entry = {kind: id_, "ErrorCode": code, "Message": f"{id_} says {code}"}
        if slot and (carried_out or answer in ("started", "both", "unnamed")):
            self.reboots.append(Reboot(self.clock(), cluster, slot.instance))
        if answer in ("started", "both"):
            done.append(id_)
        if answer not in ("started", "unnamed"):
            failed += [entry, dict(entry)] if answer == "twice" else [entry]


@dataclass
class FakeAlarm:
    """A CloudWatch alarm: its metric's dimensions, or its series, or its children.

    `said` has each change of state of the alarm (series "") and of its series.
    """

    name: str
    dimensions: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    children: tuple[str, ...] = ()
    said: list[tuple[datetime, str, str]] = field(default_factory=list)
    series: dict[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{self.name}"

    def was_ok(self, series: str, since: datetime, until: datetime) -> bool:
        """Tell whether the alarm, or one series of it, was OK at some time from `since` to `until`."""
        changes = [(at, state) for at, name, state in self.said if name == series]
        ends = [at for at, _ in changes[1:]] + [until]
        return any(
            state == "OK" and at <= until and end >= since for (at, state), end in zip(changes, ends, strict=False)
        )

    def state(self, series: str = "") -> tuple[str, datetime | None]:
        """Return the last state of the alarm or of one of its series, and since when."""
        of_series = [(state, at) for at, name, state in self.said if name == series]
        if self.series and not series:
            ringing = [at for name in self.series for state, at in [self.state(name)] if state == "ALARM"]
            return ("ALARM" if ringing else "OK", self.said[-1][0] if self.said else None)
        return of_series[-1] if of_series else ("INSUFFICIENT_DATA", None)


@dataclass
class CloudWatch:
    """CloudWatch's alarms as a boto3 client has them."""

    alarms: dict[str, FakeAlarm] = field(default_factory=dict)
    down: dict[str, Exception] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)

    def change(self, alarm: FakeAlarm, state: str, at: datetime, attributes: Mapping[str, str] | None = None) -> None:
        self.alarms[alarm.name] = alarm
        series = series_of(attributes) if attributes else ""
        if attributes:
            alarm.series[series] = attributes
        alarm.said.append((at, series, state))

    def _ask(self, operation: str) -> None:
        self.asked[operation] = self.asked.get(operation, 0) + 1
        if operation in self.down:
            raise self.down[operation]

    def describe_alarms(self, *, AlarmNames: Sequence[str], **_: Any) -> dict[str, Any]:  # noqa: N803
        self._ask("describe_alarms")
        answer: dict[str, Any] = {"MetricAlarms": [], "CompositeAlarms": []}
        for alarm in (self.alarms[name] for name in AlarmNames if name in self.alarms):
            state, since = alarm.state()
            described = {"AlarmName": alarm.name, "AlarmArn": alarm.arn, "StateValue": state}
            if since:
                described["StateTransitionedTimestamp"] = since  # type: ignore[assignment]
            if alarm.children:
                data = {"triggeringAlarms": [{"arn": self.alarms[name].arn} for name in alarm.children]}
                described |= {"AlarmRule": "…", "StateReasonData": json.dumps(data)}
            else:
                pairs = [{"Name": name, "Value": value} for name, value in alarm.dimensions.items()]
                described |= {"Dimensions": pairs}  # type: ignore[dict-item]
            answer["CompositeAlarms" if alarm.children else "MetricAlarms"].append(described)
        return answer

    def describe_alarm_contributors(self, *, AlarmName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._ask("describe_alarm_contributors")
        alarm = self.alarms[AlarmName]
        ringing = [
            {"ContributorAttributes": attributes, "StateTransitionedTimestamp": alarm.state(name)[1]}
            for name, attributes in alarm.series.items()
            if alarm.state(name)[0] == "ALARM"
        ]
        return {"AlarmContributors": ringing}

    def list_tags_for_resource(self, *, ResourceARN: str) -> dict[str, Any]:  # noqa: N803
        self._ask("list_tags_for_resource")
        alarm = next((each for each in self.alarms.values() if each.arn == ResourceARN), None)
        if alarm is None:
            raise error("ResourceNotFound", 404)
        return {"Tags": [{"Key": key, "Value": value} for key, value in alarm.tags.items()]}


@dataclass
class FakeMode:
    """The mode, remembered for a minute as the real one is.

    `value` is the parameter, `default` the setting. `asked` counts the times that the parameter was read.
    """

    clock: Clock
    value: str = "active"
    default: str = "active"
    down: bool = False
    asked: int = 0
    _cached: tuple[str, datetime] | None = None

    def get(self, *, fresh: bool = False) -> Modes:
        if fresh or not self._cached or self._cached[1] <= self.clock():
            if self.down:
                raise LookupFailedError(THROTTLED)
            self._cached = self.value, self.clock() + _CACHED_FOR
            self.asked += 1
        return read_modes(self._cached[0], default=self.default)

    def ends(self) -> list[datetime]:
        """Return when the entries of the parameter end."""
        return [each.until for each in read_modes(self.value, default=self.default).entries if each.until]


class Takes(Enum):
    """The ways in which a queue or a topic takes what is sent to it."""

    ALL = "all"
    NONE = "none: it is down"
    LOST = "all, but the answers are lost"
    FIRST = "the first only"


@dataclass(frozen=True)
class Kept:
    """A letter in the dead-letter queue. `number` orders all letters and notices by when they were taken."""

    number: int
    at: datetime
    body: str
    attributes: Mapping[str, str]
    delay: int

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    @property
    def id(self) -> str:
        return str(self.event["id"])

    @property
    def code(self) -> str:
        return self.attributes["ErrorCode"]

    @property
    def node(self) -> str | None:
        """The node's ID; None for a message that went in as it came."""
        try:
            detail = self.event["detail"]
        except (ValueError, KeyError, TypeError):
            return None
        if self.event.get("source") != "hyperpod.node-remediation" or "Trigger" not in detail:
            return None
        id_: str | None = detail.get("NodeId") or detail.get("NodeLogicalId")
        return id_


@dataclass(frozen=True)
class Notice:
    """One entry of a list in a message of the topic."""

    number: int
    at: datetime
    cluster: str | None
    list: str
    node: str | None
    code: str | None
    message: str
    mail: str
    entry: Mapping[str, str]


@dataclass
class Outside:
    """The dead-letter queue, the topic, the intake queue's visibility, the logs: whatever the function tells."""

    clock: Clock
    letters_take: Takes = Takes.ALL
    topic_takes: Takes = Takes.ALL
    bus_takes: Takes = Takes.ALL
    letters: list[Kept] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    canaries: list[datetime] = field(default_factory=list)
    results: list[tuple[datetime, Result]] = field(default_factory=list)
    changes: list[tuple[datetime, Change]] = field(default_factory=list)
    budget_used: list[Mapping[str, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unrecorded_answers: list[Answer] = field(default_factory=list)
    sweeps: list[tuple[float, float]] = field(default_factory=list)
    on_come_again: Callable[[Sequence[Message]], str | None] = lambda _: None
    _number: int = 0

    def _next(self) -> int:
        self._number += 1
        return self._number

    # -- DeadLetters

    def send(self, letters: Sequence[Letter], *, may_call: Callable[[], bool] = lambda: True) -> dict[int, str]:
        assert may_call()
        taken = _taken(self.letters_take, len(letters))
        for place in taken:
            letter = letters[place]
            self.letters.append(Kept(self._next(), self.clock(), letter.body, letter.attributes, letter.delay))
        return _missed(self.letters_take, len(letters), taken)

    # -- Topic

    def publish(
        self, notifications: Sequence[Notification], *, may_call: Callable[[], bool] = lambda: True
    ) -> dict[int, str]:
        assert may_call()
        taken = _taken(self.topic_takes, len(notifications))
        for place in taken:
            self._keep_notices(notifications[place])
        return _missed(self.topic_takes, len(notifications), taken)

    def _keep_notices(self, notification: Notification) -> None:
        body, number = json.loads(notification.json), self._next()
        for name, entries in body.items():
            for entry in entries if isinstance(entries, list) else ():
                node = entry.get("NodeId") or entry.get("NodeLogicalId")
                code, message = entry.get("ErrorCode"), entry.get("Message", "")
                kept = Notice(
                    number, self.clock(), body["ClusterName"], name, node, code, message, notification.text, entry
                )
                self.notices.append(kept)

    # -- Bus

    def put(self, events: Sequence[BusEvent], *, may_call: Callable[[], bool] = lambda: True) -> dict[int, str]:
        assert may_call()
        taken = _taken(self.bus_takes, len(events))
        self.events += [json.loads(events[place].detail) for place in taken]
        return _missed(self.bus_takes, len(events), taken)

    # -- Intake

    def come_again(self, messages: Sequence[Message]) -> str | None:
        return self.on_come_again(messages)

    # -- Telemetry

    def record(
        self,
        results: Sequence[Result],
        changes: Sequence[Change],
        *,
        nodes_per_call: Sequence[tuple[str, int]],
        budget_used: Mapping[str, float],
        handed_back: Mapping[str, str],
        now: datetime,
        trouble: str | None,
    ) -> None:
        self.results += [(now, result) for result in results]
        self.changes += [(now, change) for change in changes]
        self.budget_used.append(budget_used)

    def sweep(self, *, lag: float, oldest_unsent: float) -> None:
        self.sweeps.append((lag, oldest_unsent))

    def canary(self) -> None:
        self.canaries.append(self.clock())

    def unrecorded(self, cluster: str, answers: Sequence[Answer], *_: str) -> None:
        self.unrecorded_answers += answers

    def error(self, text: str, **fields: str | None) -> None:
        self.errors.append(f"{text} {fields}")


def _taken(takes: Takes, count: int) -> Collection[int]:
    return {Takes.ALL: range(count), Takes.LOST: range(count), Takes.NONE: range(0), Takes.FIRST: range(min(1, count))}[
        takes
    ]


def _missed(takes: Takes, count: int, taken: Collection[int]) -> dict[int, str]:
    return {place: f"{LOST}" for place in range(count) if takes is Takes.LOST or place not in taken}
