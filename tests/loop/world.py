"""A queue, a clock and sweeps around the loop, in memory: stories are told with it, and promises judged by its logs.

Nothing here decides what the function should do.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, cast

from node_remediation.aws.alarms import CloudWatchAlarms
from node_remediation.aws.codec import from_ms
from node_remediation.aws.errors import CallError, LookupFailedError, Meaning
from node_remediation.aws.hyperpod import SageMakerHyperPod
from node_remediation.events.fields import Home
from node_remediation.lookups import Edges
from node_remediation.model import Change, Message, NodeKey, Outcome, Result
from node_remediation.outbox.mail import Places
from node_remediation.policy.record import Budget, Incident, NodeRecord, Record
from node_remediation.remediate import Effect, Handling, Remediator, Services
from node_remediation.settings import FUNCTION_TIMEOUT, MAX_RECEIVES, Settings
from tests.fakes import MemoryLedger, lost, refused
from tests.loop.outside import (
    ACCOUNT,
    REGION,
    CloudWatch,
    FakeAlarm,
    FakeCluster,
    FakeMode,
    Kept,
    Notice,
    Outside,
    SageMaker,
    Slot,
    Takes,
    instance_id,
)

START = datetime(2026, 11, 23, 2, 14, 3, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_SOME_SECONDS = 10  # less is no time to answer in
VISIBILITY_TIMEOUT = 6 * FUNCTION_TIMEOUT + 5 * SECOND
A, B = "ml-a", "ml-b"
ENDS = {
    Outcome.CLEARED,
    Outcome.REFUSED,
    Outcome.FAILED,
    Outcome.OBSERVED,
    Outcome.RECOVERED,
    Outcome.SUPERSEDED,
    Outcome.NOT_RECOVERED,
    Outcome.UNVERIFIED,
}


class KilledError(BaseException):
    """Ends the function as a kill does: no handler of its errors sees it."""


class Write(Enum):
    """The ways in which a write to the ledger can go wrong."""

    KILLED_BEFORE = "the function is killed before it"
    KILLED_AFTER = "the function is killed after it"
    LOST_BEFORE = "not written, the answer lost"
    LOST_AFTER = "written, the answer lost"
    DOWN = "turned away"
    REFUSED = "refused for good"
    BUDGET_REFUSED = "refused for good because of the budget"
    RIVAL = "another invocation comes first"


@dataclass(frozen=True)
class Trouble:
    """The troubles of one invocation; none, unless told.

    `kill` is the effect before which it is killed, at its `nth` time. `writes` says what becomes of its writes, by
    their number from 1. `rival` is what the other invocation does. `ledger_down` turns reads away too. `seconds` is
    the time that it has.
    """

    kill: Effect | None = None
    nth: int = 1
    writes: Mapping[int, Write] = field(default_factory=dict)
    rival: Callable[[], object] = lambda: None
    ledger_down: bool = False
    letters: Takes = Takes.ALL
    topic: Takes = Takes.ALL
    bus: Takes = Takes.ALL
    intake_down: bool = False
    seconds: float = FUNCTION_TIMEOUT.total_seconds()


CALM = Trouble()


@dataclass
class _Invocation:
    trouble: Trouble
    batch: Sequence[Message] = ()
    effects: list[Effect] = field(default_factory=list)
    writes: int = 0


@dataclass
class Queued:
    """A message on the intake queue, and when it may be received next."""

    message: Message
    visible_at: datetime


@dataclass(frozen=True)
class Said:
    """A source's word on a node in an event: that it is well, or that it is not."""

    event_id: str
    slot: Slot
    instance: str
    source: str
    healthy: bool
    at: datetime


@dataclass
class Delivery:
    """One receive of a message: the results that it came to. `crashed` where the invocation was killed."""

    message: Message
    at: datetime
    results: list[Result] = field(default_factory=list)
    handed_back: bool = False
    crashed: bool = False


class World:
    """One account with its clusters, alarms and queues, and the function in it.

    A withdrawal proves recovery at once unless a story gives `healthy_for`.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *clusters: FakeCluster,
        at: datetime = START,
        nodes: int = 6,
        healthy_for: timedelta = timedelta(0),
    ) -> None:
        self.settings = replace(settings or Settings(), healthy_for=healthy_for)
        self.now = at
        self.sagemaker = SageMaker(lambda: self.now, on_replaced=self._note_replaced)
        self.cloudwatch = CloudWatch()
        self.mode = FakeMode(lambda: self.now)
        self.outside = Outside(lambda: self.now, on_come_again=self._come_again)
        self.ledger = MemoryLedger(
            settings=self.settings,
            before_load=self._before_load,
            before_save=self._before_save,
            after_save=self._after_save,
        )
        for cluster in clusters or (FakeCluster(A),):
            self.sagemaker.clusters[cluster.name] = cluster
        for number in range(1, nodes + 1):
            for place, name in enumerate(self.sagemaker.clusters):
                self.sagemaker.slots.append(Slot(name, f"node-{number}", instance_id(number + 1000 * place)))
        self._places = {id_: slot.logical for slot in self.sagemaker.slots for id_ in slot.ids}
        self.queue: dict[str, Queued] = {}
        self.aside: list[Message] = []
        self.deliveries: list[Delivery] = []
        self.acknowledged: dict[str, Message] = {}
        self.said: list[Said] = []
        self.effects: list[Effect] = []
        self.opened: dict[str, tuple[NodeKey, datetime]] = {}
        self.closed: dict[str, list[datetime]] = {}
        self.united: set[str] = set()
        self.repeated: set[str] = set()
        self.unsent_at_last: set[str] = set()
        self.may_repeat_letters = self.may_repeat_notices = False
        self.heard: dict[str, datetime] = {}
        self.taken_in: dict[str, datetime] = {}
        self.asked: list[str] = []
        self.by_composite: set[str] = set()
        self.doubtful: set[str] = set()
        self.sent: dict[str, datetime] = {}
        self._event_of: dict[str, str] = {}
        self.lines: list[str] = []
        self.sweeps: Callable[[], object] | None = self.sweep
        self.trouble = CALM
        self.killed = 0
        self._incident_of: dict[NodeKey, str] = {}
        self._invocations: list[_Invocation] = []
        self._coming: list[tuple[datetime, int, Callable[[], object]]] = []
        self._serial = 0
        self.remediator = self._build()

    def _build(self) -> Remediator:
        edges = Edges(
            hyperpod=SageMakerHyperPod(
                cast("Any", self.sagemaker),
                protects=self.settings.protects,
                clock=lambda: self.now,
                sleep=lambda _: None,
            ),
            alarms=CloudWatchAlarms(cast("Any", self.cloudwatch), clock=lambda: self.now),
            mode=self.mode,
        )
        outside = self.outside
        return Remediator(
            settings=self.settings,
            services=Services(
                ledger=self.ledger,
                letters=outside,
                topic=outside,
                intake=outside,
                telemetry=outside,
                edges=edges,
                bus=outside,
            ),
            home=Home(ACCOUNT, REGION),
            places=Places("https://intake", "https://dead", "/mode", "aws"),
            clock=lambda: self.now,
            sleep=lambda _: None,
            jitter=lambda: 0.0,
            on_effect=self._on_effect,
        )

    # -- nodes

    def node(self, number: int = 1, cluster: str = A) -> Slot:
        """Return a place in a cluster, by its number from 1."""
        return next(
            slot for slot in self.sagemaker.slots if (slot.cluster, slot.logical) == (cluster, f"node-{number}")
        )

    def _note_replaced(self, slot: Slot) -> None:
        self._places[slot.instance] = slot.logical

    def is_replaced(self, slot: Slot, *, lag: timedelta = timedelta(0)) -> None:
        """HyperPod puts another instance in the place of a node's."""
        old = slot.instance
        number = int(old.removeprefix("i-"), 16) + 16**6
        self.sagemaker.replace(slot, instance_id(number), lag=lag)
        self._note_replaced(slot)
        if lag:
            self.doubtful.add(slot.instance)
        self.log(f"{old} is replaced by {slot.instance}")

    def place(self, id_: str | None) -> str | None:
        """Return what a node's IDs have in common, whichever instance it has, or had."""
        return self._places.get(id_, id_) if id_ else None

    def leaves(self, slot: Slot) -> None:
        """A node goes, and nothing takes its place."""
        self.sagemaker.slots.remove(slot)

    # -- what is reported. Each puts a message on the intake queue, if not told otherwise, and returns its ID.

    def unhealthy(self, slot: Slot, *, at: datetime | None = None, repair: str | None = None, **how: Any) -> str:
        """Report a node unhealthy, as HyperPod does."""
        return self._health(slot, "Unhealthy", at, repair, how)

    def healthy(self, slot: Slot, *, at: datetime | None = None, **how: Any) -> str:
        """Report a node healthy, as HyperPod does."""
        return self._health(slot, "Healthy", at, None, how)

    def _health(self, slot: Slot, status: str, at: datetime | None, repair: str | None, how: Mapping[str, Any]) -> str:
        detail = {
            "ClusterName": slot.cluster,
            "InstanceId": slot.instance,
            "EventTime": (at or self.now).isoformat(timespec="milliseconds"),
            "HealthSummary": {
                "HealthStatus": status,
                "HealthStatusReason": "Xid 79",
                "RepairAction": repair,
                "Recommendation": "look at it",
            },
        }
        event = self._event("aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event", detail)
        self._note(event, slot, "hyperpod", healthy=status == "Healthy", at=at)
        return self.post(event, **how)

    def cluster_event(
        self,
        slot: Slot,
        words: str = "is unhealthy.",
        *,
        logical: bool = False,
        event_id: str | None = None,
        **how: Any,
    ) -> str:
        """Report a node in words, as HyperPod does on clusters with node provisioning mode Continuous."""
        node = {"EventMetadata": {"Instance": {"NodeLogicalId": slot.logical}}} if logical else {}
        details: dict[str, Any] = {
            "ClusterName": slot.cluster,
            "EventId": event_id,
            "ResourceType": "Instance",
            "Description": f"Instance {slot.instance} {words}",
            "EventTime": self.now.isoformat(timespec="milliseconds"),
            "EventDetails": node,
        }
        if not logical:
            details["InstanceId"] = slot.instance
        event = self._event("aws.sagemaker", "SageMaker HyperPod Cluster Event", {"EventDetails": details})
        self._note(event, slot, "hyperpod", healthy=False)
        return self.post(event, **how)

    def reboot_event(self, slot: Slot, words: str, **how: Any) -> str:
        """Tell how a reboot goes, as HyperPod does on clusters with node provisioning mode Continuous."""
        details = {
            "ClusterName": slot.cluster,
            "InstanceId": slot.instance,
            "ResourceType": "Instance",
            "Description": words,
            "EventTime": self.now.isoformat(timespec="milliseconds"),
        }
        event = self._event("aws.sagemaker", "SageMaker HyperPod Cluster Event", {"EventDetails": details})
        return self.post(event, **how)

    def alert(self, slot: Slot, status: str = "firing", *, name: str = "hyperpod-reboot-xid", **how: Any) -> str:
        """Let Alertmanager say that an alert about a node fires, or is resolved."""
        labels = {"alertname": name, "node": f"hyperpod-{slot.instance}", "HyperPodClusterName": slot.cluster}
        fingerprint, id_ = f"f-{slot.instance}", self._new("e")
        alert = {"status": status, "labels": labels, "annotations": {"summary": "Xid 79"}, "fingerprint": fingerprint}
        body = json.dumps({"receiver": "default", "status": status, "alerts": [alert]})
        self._note({"id": id_}, slot, f"alert:{name}#{fingerprint}", healthy=status == "resolved")
        sns = {"Type": "Notification", "MessageId": id_, "Timestamp": _stamp(self.now), "Message": body}
        return self.post(sns | {"id": id_}, **how)

    def alarm(
        self,
        slot: Slot,
        state: str = "ALARM",
        *,
        name: str = "hyperpod-reboot-gpu",
        logical: bool = False,
        series: bool = False,
        muted_until: datetime | None = None,
        muted: bool = False,
        tags: Mapping[str, str] | None = None,
        unheard: bool = False,
        cluster: Mapping[str, str] | None = None,
        **how: Any,
    ) -> str:
        """Let an alarm about a node change its state; with `series`, one series of an alarm about many nodes.

        With `unheard`, the event of it is lost.
        """
        dimensions = {"HyperPodClusterName": slot.cluster} if cluster is None else dict(cluster)
        dimensions |= {"NodeLogicalId": slot.logical} if logical else {"InstanceId": slot.instance}
        alarm = self.cloudwatch.alarms.get(name) or FakeAlarm(name, {} if series else dimensions, tags or {})
        self.cloudwatch.change(alarm, state, self.now, dimensions if series else None)
        detail: dict[str, Any] = {
            "alarmName": name,
            "state": {"value": state, "reason": "threshold", "timestamp": _stamp(self.now)},
            "configuration": {"metrics": [{"metricStat": {"metric": {"dimensions": dimensions}}}]},
        }
        if tags is None:
            detail["alarmTags"] = {}
        kind = "CloudWatch Alarm State Change"
        if series:
            kind = "CloudWatch Alarm Contributor State Change"
            detail["alarmContributor"] = {"id": "c", "attributes": dimensions}
        if muted or muted_until:
            detail["muteDetail"] = {"mutedByArn": "arn:mute"}
            if muted_until:
                detail["muteDetail"]["muteWindowEnd"] = _stamp(muted_until)
        event = self._event("aws.cloudwatch", kind, detail, resources=[alarm.arn])
        source = f"alarm:{name}#{_series_name(dimensions)}" if series else f"alarm:{name}"
        if unheard or state not in ("ALARM", "OK"):
            return "" if unheard else self.post(event, **how)
        self._note(event, slot, source, healthy=state == "OK")
        return self.post(event, **how)

    def composite(self, name: str, state: str, children: Sequence[str], *, suppressed: bool = False, **how: Any) -> str:
        """Let a composite alarm over other alarms change its state."""
        alarm = self.cloudwatch.alarms.get(name) or FakeAlarm(name)
        alarm.children = tuple(children)
        self.cloudwatch.change(alarm, state, self.now)
        arns = [{"arn": self.cloudwatch.alarms[child].arn} for child in children]
        detail: dict[str, Any] = {
            "alarmName": name,
            "state": {
                "value": state,
                "reason": "children",
                "timestamp": _stamp(self.now),
                "reasonData": json.dumps({"triggeringAlarms": arns}),
            },
            "configuration": {"alarmRule": "…"},
        }
        if suppressed:
            detail["state"] |= {"actionsSuppressedBy": "WaitPeriod"}
        event = self._event("aws.cloudwatch", "CloudWatch Alarm State Change", detail, resources=[alarm.arn])
        for child in children:
            self._note_child(event, child, name, state)
        return self.post(event, **how)

    def _note_child(self, event: Mapping[str, Any], child: str, parent: str, state: str) -> None:
        agrees = self.cloudwatch.alarms[child].state()[0] == state
        dimensions = self.cloudwatch.alarms[child].dimensions
        slot = self.sagemaker.slot(dimensions.get("HyperPodClusterName", A), dimensions.get("InstanceId", ""))
        if slot:
            self.by_composite.add(event["id"])
            self._note(event, slot, f"alarm:{child if agrees else parent}", healthy=state == "OK")

    def request(self, *ids: str, cluster: str = A, **how: Any) -> str:
        """Ask for reboots, as a person does."""
        nodes = {"NodeIds": [id_ for id_ in ids if id_.startswith("i-")]}
        nodes["NodeLogicalIds"] = [id_ for id_ in ids if not id_.startswith("i-")]
        detail = {"ClusterName": cluster, **nodes, "Reason": "maintenance"}
        event = self._event("hyperpod.node-remediation", "HyperPod Node Reboot Requested", detail)
        self.asked.append(json.dumps(event))
        return self.post(event, **how)

    def answer(self, incident: str, verdict: str, *, reason: str = "", **how: Any) -> str:
        """Answer a proposed reboot, as a person or a script does."""
        detail = {"IncidentId": incident, "By": "jo", "Reason": reason}
        return self.post(self._event("hyperpod.node-remediation", f"HyperPod Node Reboot {verdict}", detail), **how)

    def redrive(self, letter: Kept, **how: Any) -> str:
        """Put a letter back on the intake queue."""
        self.asked.append(letter.body)
        return self.post(letter.body, redriven=True, **how)

    def _event(
        self, source: str, detail_type: str, detail: Mapping[str, Any], *, resources: Sequence[str] = ()
    ) -> dict[str, Any]:
        return {
            "version": "0",
            "id": self._new("e"),
            "source": source,
            "detail-type": detail_type,
            "account": ACCOUNT,
            "region": REGION,
            "time": self.now.isoformat(timespec="seconds"),
            "resources": list(resources),
            "detail": detail,
        }

    def _note(
        self, event: Mapping[str, Any], slot: Slot, source: str, *, healthy: bool, at: datetime | None = None
    ) -> None:
        self.said.append(Said(event["id"], slot, slot.instance, source, healthy, at or self.now))
        self.log(f"{source}: {slot.instance} is {'healthy' if healthy else 'unhealthy'} ({event['id']})")

    def post(self, body: object, *, late: timedelta = timedelta(0), redriven: bool = False, copies: int = 1) -> str:
        """Put a message on the intake queue, `late` after now; with `copies`, the same event several times."""
        id_ = ""
        for _ in range(copies):
            id_ = self._new("m")
            sent = self.now + late
            message = Message(
                id=id_,
                body=body if isinstance(body, str) else json.dumps(body),
                sent=sent,
                receives=0,
                receipt_handle="held",
                redriven=redriven,
            )
            self.queue[id_] = Queued(message, sent)
            self._event_of[id_] = body["id"] if isinstance(body, dict) and "id" in body else ""
            self.sent[self._event_of[id_]] = sent
        return id_

    def comes_again(self, message_id: str) -> None:
        """Put an acknowledged message on the queue once more: SQS delivers at least once."""
        self.repeated.add(message_id)
        self.queue[message_id] = Queued(self.acknowledged[message_id], self.now)

    def _new(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}-{self._serial}"

    # -- the function's invocations

    def deliver(self, trouble: Trouble | None = None, *, only: Iterable[str] | None = None) -> list[str]:
        """Invoke the function with all visible messages (or some of them); returns the outcomes of their reports.

        An outcome has its code behind it: `failed InstanceIdInUse`. A killed invocation has none.
        """
        ids = [id_ for id_, each in self.queue.items() if each.visible_at <= self.now]
        ids = ids if only is None else [id_ for id_ in only if id_ in ids]
        batch = [message for id_ in ids if (message := self._receive(id_))]
        if not batch:
            return []
        trouble = trouble or self.trouble
        handling = self._invoke(lambda: self.remediator.handle(batch, seconds_left=self._seconds_left), trouble, batch)
        self._finish(batch, handling)
        takes = {trouble.letters, trouble.topic, self.outside.letters_take, self.outside.topic_takes}
        if handling and (takes != {Takes.ALL} or trouble.seconds < _SOME_SECONDS):
            last = {message.id for message in batch if message.receives >= MAX_RECEIVES}
            self.unsent_at_last |= last & set(handling.handed_back)
        return [] if handling is None else _words(handling.results)

    def twin(self) -> None:
        """Invoke the function with the messages that are under way in another invocation, at the same time."""
        batch = self._invocations[-1].batch
        self.repeated |= {message.id for message in batch}
        handling = self._invoke(lambda: self.remediator.handle(batch, seconds_left=self._seconds_left), CALM, batch)
        self._finish(batch, handling)

    def _receive(self, id_: str) -> Message | None:
        message = self.queue[id_].message
        if message.receives >= MAX_RECEIVES:
            self.log(f"{id_} goes to the dead-letter queue as it is")
            self.aside.append(self.queue.pop(id_).message)
            return None
        message = replace(message, receives=message.receives + 1)
        self.heard.setdefault(self._event_of[id_], self.now)
        self.queue[id_] = Queued(message, self.now + VISIBILITY_TIMEOUT)
        return message

    def _finish(self, batch: Sequence[Message], handling: Handling | None) -> None:
        for message in batch:
            delivery = Delivery(message, self.now, crashed=handling is None)
            self.deliveries.append(delivery)
            if handling is None:
                continue
            delivery.results = [result for result in handling.results if result.message.id == message.id]
            delivery.handed_back = message.id in handling.handed_back
            if delivery.handed_back:
                self.log(f"{message.id} is handed back: {handling.handed_back[message.id]}")
            elif message.id in self.queue:
                self.acknowledged[message.id] = self.queue.pop(message.id).message
                self.taken_in.setdefault(self._event_of[message.id], self.now)
            for result in delivery.results:
                self.log(f"{message.id}: {result.outcome} {result.code or ''} {result.reason}")

    def invoke(self, event: Mapping[str, Any], trouble: Trouble = CALM) -> list[str]:
        """Invoke the function with one event directly."""
        message = Message(self._new("m"), json.dumps(event), sent=self.now, direct=True)
        handling = self._invoke(lambda: self.remediator.handle([message], seconds_left=self._seconds_left), trouble)
        return [] if handling is None else _words(handling.results)

    def sweep(self, trouble: Trouble | None = None, *, sent: datetime | None = None) -> None:
        """Invoke the function as the clock does."""
        self._invoke(
            lambda: self.remediator.sweep(sent or self.now, seconds_left=self._seconds_left), trouble or self.trouble
        )

    def _invoke(self, run: Callable[[], Any], trouble: Trouble, batch: Sequence[Message] = ()) -> Any:
        outside = self.outside
        taken = outside.letters_take, outside.topic_takes, outside.bus_takes
        outside.letters_take = trouble.letters if trouble.letters is not Takes.ALL else outside.letters_take
        outside.topic_takes = trouble.topic if trouble.topic is not Takes.ALL else outside.topic_takes
        outside.bus_takes = trouble.bus if trouble.bus is not Takes.ALL else outside.bus_takes
        self.may_repeat_letters |= (
            trouble.kill is not None
            or trouble.ledger_down
            or any(write is not Write.RIVAL for write in trouble.writes.values())
            or Takes.LOST in (outside.letters_take, trouble.letters)
        )
        self.may_repeat_notices |= self.may_repeat_letters or Takes.LOST in (outside.topic_takes, trouble.topic)
        self._invocations.append(_Invocation(trouble, batch))
        try:
            return run()
        except KilledError:
            self.killed += 1
            self.log("… killed")
            return None
        finally:
            self.effects = self._invocations.pop().effects
            outside.letters_take, outside.topic_takes, outside.bus_takes = taken

    def _seconds_left(self) -> float:
        return self._invocations[-1].trouble.seconds

    def _on_effect(self, effect: Effect) -> None:
        invocation = self._invocations[-1]
        invocation.effects.append(effect)
        trouble = invocation.trouble
        if effect is trouble.kill and invocation.effects.count(effect) == trouble.nth:
            raise KilledError

    def _come_again(self, messages: Sequence[Message]) -> str | None:
        if self._invocations[-1].trouble.intake_down:
            return "the intake queue is down"
        for message in messages:
            if message.id in self.queue:
                self.queue[message.id].visible_at = self.now + 30 * SECOND * message.receives
        return None

    # -- the ledger's hooks

    def _before_load(self) -> None:
        if self._invocations and self._invocations[-1].trouble.ledger_down:
            raise LookupFailedError(_TURNED_AWAY)

    def _before_save(self, records: Sequence[Record]) -> None:
        if not self._invocations:
            return
        invocation = self._invocations[-1]
        invocation.writes += 1
        write = invocation.trouble.writes.get(invocation.writes)
        if write is Write.DOWN or invocation.trouble.ledger_down:
            raise LookupFailedError(_TURNED_AWAY)
        if write is Write.KILLED_BEFORE:
            raise KilledError
        if write is Write.LOST_BEFORE:
            raise lost()
        if write in (Write.REFUSED, Write.BUDGET_REFUSED):
            raise refused(of_budget=write is Write.BUDGET_REFUSED)
        if write is Write.RIVAL:
            invocation.trouble.rival()

    def _after_save(self, _: Sequence[Record]) -> None:
        self._note_written(self.ledger.writes[-1])
        if not self._invocations:
            return
        invocation = self._invocations[-1]
        write = invocation.trouble.writes.get(invocation.writes)
        if write is Write.KILLED_AFTER:
            raise KilledError
        if write is Write.LOST_AFTER:
            raise lost()

    def _note_written(self, records: Sequence[Record]) -> None:
        nodes = [record for record in records if isinstance(record, NodeRecord)]
        before = {record.key: self._incident_of.get(record.key) for record in nodes}
        after = {record.key: record.incident.id for record in nodes if record.incident}
        for key, id_ in after.items():
            if id_ not in self.opened:
                self.opened[id_] = key, self.now
                self.closed[id_] = []
        for id_ in {id_ for id_ in before.values() if id_} - set(after.values()):
            self.closed[id_].append(self.now)
            if len(nodes) > 1 and any(not record.incident and record.key.id[:2] != "i-" for record in nodes):
                self.united.add(id_)
        for record in nodes:
            self._incident_of[record.key] = after.get(record.key, "")

    # -- time

    def passes(self, time: timedelta) -> None:
        """Let time pass: messages are delivered as they become visible, sweeps come each minute."""
        self.until(self.now + time)

    def until(self, end: datetime | str) -> None:
        """Let time pass up to a time, given whole or as HH:MM:SS of the story's first day."""
        end = self.time(end) if isinstance(end, str) else end
        while (time := self._next()) is not None and time <= end:
            self.now = max(time, self.now)
            if self._coming and min(self._coming)[0] <= self.now:
                first = min(self._coming)
                self._coming.remove(first)
                first[2]()
            elif any(each.visible_at <= self.now for each in self.queue.values()):
                self.deliver()
            elif self.sweeps:
                self._swept = self.now
                self.sweeps()
        self.now = max(self.now, end)

    _swept: datetime | None = None

    def time(self, words: str) -> datetime:
        """Return a time of the story's first day."""
        hour, minute, second = map(int, words.split(":"))
        return START.replace(hour=hour, minute=minute, second=second)

    def skips(self, time: timedelta) -> None:
        """Let time pass in which nothing is delivered and no sweep comes."""
        self.now += time

    def later(self, after: timedelta, happens: Callable[[], object]) -> None:
        """Let something happen while time passes."""
        self._serial += 1
        self._coming.append((self.now + after, self._serial, happens))

    def _next(self) -> datetime | None:
        times = [each[0] for each in self._coming] + [each.visible_at for each in self.queue.values()]
        if self.sweeps and (due := self.next_due()) is not None:
            # Sweeps at which nothing is due change nothing, and are left out.
            times.append(self._next_sweep(max(due, self.now)))
        if self.sweeps:
            ends = (end for end in self.mode.ends() if end > (self._swept or START))
            times += [self._next_sweep(max(end, self.now)) for end in ends]
        return min(times, default=None)

    def _next_sweep(self, from_: datetime) -> datetime:
        if self._swept is not None and from_ < self._swept + MINUTE:
            return self._swept + MINUTE
        return from_

    def next_due(self) -> datetime | None:
        """Return the first time that something in the ledger is due."""
        dues = (int(item["due"]["N"]) for item in self.ledger.items.values() if "due" in item)
        first = min(dues, default=None)
        return None if first is None else from_ms(first)

    # -- what is seen from outside

    @property
    def reboots(self) -> list[str]:
        """The instances that were rebooted, in order."""
        return [reboot.instance for reboot in self.sagemaker.reboots]

    def sagemaker_calls(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return when each reboot call came, as HH:MM:SS, and its IDs."""
        return [(f"{at:%H:%M:%S}", ids) for at, _, ids in self.sagemaker.calls]

    @property
    def letters(self) -> list[Kept]:
        return self.outside.letters

    @property
    def codes(self) -> list[str]:
        """The codes of the letters in the dead-letter queue."""
        return [letter.code for letter in self.letters]

    @property
    def notices(self) -> list[Notice]:
        return self.outside.notices

    @property
    def events(self) -> list[str]:
        """The states and ends that the event bus was told, each event once."""
        events = {event["EventId"]: event for event in self.outside.events}
        return [event["State"] for event in events.values()]

    @property
    def told(self) -> list[str]:
        """Return the list and the code of each entry that the topic was told."""
        return [f"{notice.list} {notice.code}" if notice.code else notice.list for notice in self.notices]

    @property
    def outcomes(self) -> list[str]:
        """The outcomes of all reports up to now."""
        return _words(result for _, result in self.outside.results)

    @property
    def changes(self) -> list[Change]:
        return [change for _, change in self.outside.changes]

    @property
    def states(self) -> list[str]:
        """The states and ends that incidents came to, in order."""
        return [change.state for change in self.changes]

    @property
    def ends(self) -> list[str]:
        """The ends of incidents, in order."""
        return [state for state in self.states if state in ENDS]

    def record(self, slot: Slot) -> NodeRecord:
        """Return what the ledger has of a node, by its instance."""
        return self.known(NodeKey(slot.cluster, slot.instance))

    def known(self, key: NodeKey) -> NodeRecord:
        """Return what the ledger has under a key."""
        return self.ledger.load([key], []).node(key)

    def known_budget(self, cluster: str) -> Budget:
        """Return what the ledger has of a cluster's budget."""
        return self.ledger.load([], [cluster]).budget(cluster)

    def incident(self, slot: Slot) -> Incident:
        """Return a node's incident."""
        incident = self.record(slot).incident
        assert incident
        return incident

    def due(self, slot: Slot) -> str | None:
        """Return when a node is due, as HH:MM:SS."""
        due = self.record(slot).due
        return f"{due:%H:%M:%S}" if due else None

    def log(self, line: str) -> None:
        """Keep a line of the story, which a failing test shows."""
        self.lines.append(f"{self.now:%d %H:%M:%S}  {line}")


_TURNED_AWAY = CallError(Meaning.THROTTLED, "ThrottlingException", "the ledger is down")


def _words(results: Iterable[Result]) -> list[str]:
    return [f"{result.outcome} {result.code}" if result.code else str(result.outcome) for result in results]


def _stamp(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


def _series_name(attributes: Mapping[str, str]) -> str:
    return json.dumps(dict(attributes), sort_keys=True, separators=(",", ":"))
