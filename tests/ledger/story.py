"""Days of a simulated queue, HyperPod and alarms around the function, on a clock of their own, with a log of all of it.

Nothing here decides what the function should do; `promises` judges what it did by what this noted.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count
from typing import Any
from uuid import UUID

from node_remediation.awserrors import CallError
from node_remediation.cluster import Facts, NodeState
from node_remediation.deadletter import Origin, dead_letter, is_reported
from node_remediation.intake import Delayed
from node_remediation.lookup import LookupFailedError
from node_remediation.model import ENDS, Ending, Message, Node, NodeKey, Outcome, Result
from node_remediation.reboot import Answer, Answers
from node_remediation.record import Book, NodeRecord, Record, Stage, Watch
from node_remediation.settings import MAX_RECEIVES, Settings
from node_remediation.steps import Step
from tests.ledger.outside import KilledError
from tests.unit.fakes import LOST, NOW, FakeLedger, World, health_event, instance_id, request

AUTO, HANDS = "ml-auto", "ml-hands"
"""The cluster that HyperPod repairs by itself, and the one that it leaves to others."""
FLEET = "hyperpod-fleet"
"""The alarm that has a series per node."""
_VISIBILITY_TIMEOUT = timedelta(minutes=6)
_SECOND = timedelta(seconds=1)
# What SQS takes, and what Lambda lets a function send to itself with some to spare.
_LONGEST_DELAY, _MOST_ROUNDS = 900, 10


class Source(StrEnum):
    """Who reports a node."""

    HEALTH = "health event"
    ALARM = "alarm"
    LOGICAL = "alarm that names the logical ID"
    FLEET = "series of an alarm"


class Becomes(StrEnum):
    """What a reboot, or HyperPod's own repair, makes of a node."""

    WELL = "well"
    SICK = "still sick"
    GONE = "replaced"


@dataclass(frozen=True)
class Way:
    """How an event comes to the queue."""

    lost: bool = False
    copies: int = 1
    late: timedelta = timedelta(0)


@dataclass(frozen=True)
class Plan:
    """What happens to a node some time after it was rebooted, or is repaired."""

    becomes: Becomes = Becomes.WELL
    after: timedelta = timedelta(minutes=5)
    way: Way = Way()


@dataclass(frozen=True)
class Trouble:
    """What goes wrong during one delivery; nothing, unless told."""

    crash: Step | None = None
    rival_at: Step | None = None
    rival_at_save: int | None = None
    letters_down: bool = False
    topic_down: bool = False
    intake_down: bool = False
    ledger_down: Step | None = None
    nodes: CallError | None = None
    alarms: CallError | None = None


CALM = Trouble()


@dataclass
class Slot:
    """A place in a cluster: its logical ID stays when its instance is replaced."""

    number: int
    cluster: str
    instance: str
    well: bool = True
    alarms: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    plan: Plan = Plan()
    repair: Plan = Plan()
    answers: list[str] = field(default_factory=list)
    generation: int = 0

    @property
    def logical(self) -> str:
        return f"node-{self.number}"

    @property
    def key(self) -> NodeKey:
        return NodeKey(self.cluster, self.instance)


@dataclass
class Queued:
    """A message, when it may be received next, and how many of the system's own came before it."""

    message: Message
    visible_at: datetime


@dataclass
class Noted:
    """What was seen from outside, in its order: all that the promises are judged by."""

    reboots: list[tuple[int, datetime, NodeKey]] = field(default_factory=list)
    deferrals: dict[tuple[NodeKey, str], int] = field(default_factory=dict)
    said: list[tuple[int, datetime, Ending]] = field(default_factory=list)
    published: list[tuple[int, Ending]] = field(default_factory=list)
    letters: list[Ending] = field(default_factory=list)
    ends: dict[tuple[NodeKey, str], list[Outcome]] = field(default_factory=dict)
    decided: dict[tuple[NodeKey, str], list[Watch]] = field(default_factory=dict)
    watches: dict[tuple[NodeKey, str], Watch] = field(default_factory=dict)
    closed: dict[tuple[NodeKey, str], str] = field(default_factory=dict)
    checks: dict[tuple[str, int], int] = field(default_factory=dict)
    deliveries: dict[tuple[str, int], int] = field(default_factory=dict)
    unhealthy: dict[NodeKey, list[datetime]] = field(default_factory=dict)
    healthy: dict[NodeKey, list[tuple[datetime, str | None, int]]] = field(default_factory=dict)
    put_aside: set[str] = field(default_factory=set)
    by_logical_id: set[NodeKey] = field(default_factory=set)
    untrue: list[str] = field(default_factory=list)


class StoryLedger(FakeLedger):
    """Notes what becomes of watches."""

    def __init__(self, story: "Story") -> None:
        super().__init__()
        self._story = story

    def load(self, nodes: Collection[NodeKey], clusters: Collection[str]) -> Book:
        self._story.fail_if_ledger_is_down()
        return super().load(nodes, clusters)

    def save(self, records: Sequence[Record], *, now: datetime) -> bool:
        self._story.fail_if_ledger_is_down()
        self._story.rival_at_save()
        before = {record.key: self.book.node(record.key) for record in records if isinstance(record, NodeRecord)}
        saved = super().save(records, now=now)
        for key, record in before.items() if saved else ():
            self._story.note_watch(key, record.watch, self.book.node(key))
        return saved


@dataclass
class Hyperpod:
    """Clusters, alarms and the reboot API, all of one story."""

    story: "Story"

    def hyperpod_name(self, name: str) -> str:
        return name

    def facts(self, name: str) -> Facts:
        return Facts(nodes=10, recovers_by_itself=name == AUTO)

    def instance_id(self, cluster: str, logical_id: str) -> str | None:
        return next((slot.instance for slot in self.story.slots if slot.logical == logical_id), None)

    def node(self, cluster: str, node: Node) -> NodeState | None:
        if self.story.trouble.nodes:
            raise LookupFailedError(self.story.trouble.nodes)
        slot = self.story.slot_of(node)
        return NodeState("Running" if slot.well else "Failure", "" if slot.well else "it is sick") if slot else None

    def describe(self, names: Sequence[str]) -> list[dict[str, Any]]:
        if self.story.trouble.alarms:
            raise LookupFailedError(self.story.trouble.alarms)
        states: dict[str, tuple[str, datetime]] = {}
        for slot in self.story.slots:
            for name, (state, at) in slot.alarms.items():
                if name not in states or state == "ALARM":
                    states[name] = state, at
        return [
            {"AlarmName": name, "StateValue": state, "StateUpdatedTimestamp": at}
            for name, (state, at) in states.items()
            if name in names
        ]

    def contributors(self, name: str) -> list[dict[str, str]]:
        in_alarm = [slot for slot in self.story.slots if slot.alarms.get(name, ("",))[0] == "ALARM"]
        return [{"ClusterName": slot.cluster, "InstanceId": slot.instance} for slot in in_alarm]

    def tags(self, arn: str) -> dict[str, str]:
        return {}

    def reboot(self, cluster: str, nodes: Sequence[Node], *, may_call: Callable[[], bool]) -> Answers:
        return Answers([self._answer(cluster, node) for node in nodes], [len(nodes)])

    def _answer(self, cluster: str, node: Node) -> Answer:
        slot = self.story.slot_of(node)
        if slot is None:
            return Answer(node, Result.FAILED, "InstanceIdNotFound", "no such node")
        answer = slot.answers.pop(0) if slot.answers else "started"
        self.story.log(f"reboot call for {node.id}: {answer}")
        if answer not in ("started", "lost", "lost before"):
            return Answer(node, Result.FAILED, answer, f"{node.id} says {answer}")
        self.story.note_reboot(slot)
        if node.id == slot.logical:
            self.story.noted.by_logical_id.add(slot.key)
        if answer != "lost before":
            self.story.later(slot.plan.after, self.story.becoming(slot, slot.plan))
        if answer == "started":
            return Answer(node, Result.REBOOTED)
        return Answer(node, Result.UNKNOWN, "OutcomeUnknown", "timed out", LOST)


class StoryReporter:
    """The dead-letter queue and the topic, each of which may be down."""

    def __init__(self, story: "Story") -> None:
        self._story = story

    def send_letters(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        reported = [ending for ending in endings if is_reported(ending)]
        if self._story.trouble.letters_down:
            return dict.fromkeys(reported, "dead-letter queue: down")
        self._story.noted.letters += reported
        return {}

    def publish(self, endings: Sequence[Ending]) -> dict[Ending, str]:
        loud = [ending for ending in endings if self._story.is_loud(ending)]
        missed = dict.fromkeys(loud, "topic: down") if self._story.trouble.topic_down else {}
        for ending in endings:
            if ending not in missed:
                self._story.note_said(ending, loud=ending in loud)
        return missed


class StoryIntake:
    """Where checks are sent to."""

    def __init__(self, story: "Story") -> None:
        self._story = story

    def send(self, checks: Sequence[Delayed]) -> dict[int, str]:
        if self._story.trouble.intake_down:
            return dict.fromkeys(range(len(checks)), "intake queue: down")
        for check in checks:
            self._story.note_check(check)
        return {}

    def come_again(self, messages: Sequence[Message]) -> str | None:
        return None


class Story:
    """One world, whose clock is moved by whoever tells the story."""

    def __init__(self, settings: Settings, nodes: int = 3) -> None:
        self.settings = settings
        self.noted = Noted()
        self.trouble = CALM
        self.slots = [Slot(n, AUTO if n == 1 else HANDS, instance_id(n)) for n in range(1, nodes + 1)]
        self.queue: dict[str, Queued] = {}
        self.acknowledged: dict[str, Message] = {}
        self.lines: list[str] = []
        self._coming: list[tuple[datetime, int, Callable[[], None]]] = []
        self._serial = count(1)
        self._step: Step | None = None
        self._saves = 0
        self._is_over = False
        self._batch: list[Message] = []
        pod: Any = Hyperpod(self)
        reporter: Any = StoryReporter(self)
        intake: Any = StoryIntake(self)
        self.world = World(
            settings=settings, clusters=pod, alarms=pod, ledger=StoryLedger(self), rebooter=pod, reporter=reporter,
            intake=intake, now=NOW + timedelta(milliseconds=400), on_step=self._on_step,
        )  # fmt: skip

    # -- time

    @property
    def now(self) -> datetime:
        return self.world.now

    def passes(self, time: timedelta) -> None:
        """Time goes by, and the world goes on; the function is not called."""
        end = self.now + time
        while self._coming and min(self._coming)[0] <= end:
            first = min(self._coming)
            self._coming.remove(first)
            self.world.now = max(self.now, first[0])
            first[2]()
        self.world.now = end

    def later(self, after: timedelta, happens: Callable[[], None]) -> None:
        self._coming.append((self.now + after, next(self._serial), happens))

    def next_time(self) -> datetime | None:
        """When something happens next, if nothing new does."""
        times = [each[0] for each in self._coming] + [each.visible_at for each in self.queue.values()]
        return min(times, default=None)

    def log(self, line: str) -> None:
        self.lines.append(f"{self.now - NOW!s:>18}  {line}")

    # -- what happens to nodes

    def slot_of(self, node: Node) -> Slot | None:
        return next((slot for slot in self.slots if node.id in (slot.instance, slot.logical)), None)

    def falls_ill(
        self, slot: Slot, source: Source = Source.HEALTH, way: Way = Way(), *, action: str = "None",
        muted: timedelta | None = None,
    ) -> None:  # fmt: skip
        slot.well = False
        self.log(f"{slot.instance} falls ill, says its {source}")
        self._tell(slot, source, way, healthy=False, action=action, muted=muted)
        if slot.cluster == AUTO and action != "None":
            self.later(slot.repair.after, self.becoming(slot, slot.repair))

    def gets_well(self, slot: Slot, way: Way = Way()) -> None:
        slot.well = True
        self.log(f"{slot.instance} gets well")
        for name, (state, _) in list(slot.alarms.items()):
            if state == "ALARM":
                self._tell(slot, _source(name), way, healthy=True)
        self._tell(slot, Source.HEALTH, way, healthy=True)

    def is_replaced(self, slot: Slot) -> None:
        slot.generation += 1
        old, slot.instance = slot.instance, instance_id(slot.number + 16 * slot.generation)
        self.log(f"{old} is replaced by {slot.instance}")
        slot.alarms = dict.fromkeys(slot.alarms, ("INSUFFICIENT_DATA", self.now))
        slot.well = True

    def becoming(self, slot: Slot, plan: Plan) -> Callable[[], None]:
        instance = slot.instance

        def become() -> None:
            if slot.instance != instance:
                return
            if plan.becomes is Becomes.WELL:
                self.gets_well(slot, plan.way)
            elif plan.becomes is Becomes.GONE:
                self.is_replaced(slot)
            elif not slot.well and not self._is_over:
                self._tell(slot, Source.HEALTH, plan.way, healthy=False)

        return become

    def asks(self, slot: Slot) -> None:
        """An operator asks for a reboot."""
        body = request(slot.instance, cluster=slot.cluster, id=f"e-{next(self._serial)}")
        self._post(body, timedelta(0))

    def redrives(self, which: int) -> None:
        """A person puts a dead letter back."""
        ending = self.noted.letters[which % len(self.noted.letters)]
        origin = Origin("111122223333", "us-west-2")
        letter = dead_letter(ending, letter_id=UUID(int=next(self._serial)), now=self.now, origin=origin)
        body = json.loads(letter.body)
        if "Trigger" in body["detail"]:
            body["detail"]["Trigger"]["EventId"] = f"e-{next(self._serial)}"  # a report of its own
            self._post(body, timedelta(0), redriven=letter.attributes["Kind"])

    def _tell(
        self, slot: Slot, source: Source, way: Way, *, healthy: bool, action: str = "None",
        muted: timedelta | None = None,
    ) -> None:  # fmt: skip
        if source is Source.HEALTH:
            event = health_event(slot.instance, slot.cluster, "Healthy" if healthy else "Unhealthy")
            event["detail"]["HealthSummary"]["RepairAction"] = action
        else:
            event = self._alarm_event(slot, source, "OK" if healthy else "ALARM", muted)
        for _ in range(0 if way.lost else way.copies):
            time = self.now.isoformat(timespec="seconds")
            self._post(event | {"id": f"e-{next(self._serial)}", "time": time}, way.late)
        if way.lost:
            self.log(f"  … and that event is lost ({source}, {'healthy' if healthy else 'unhealthy'})")

    def _alarm_event(self, slot: Slot, source: Source, state: str, muted: timedelta | None) -> dict[str, Any]:
        name = (
            FLEET
            if source is Source.FLEET
            else f"hyperpod-{'logical' if source is Source.LOGICAL else 'gpu'}-{slot.number}"
        )
        slot.alarms[name] = (state, self.now)
        node = {"NodeLogicalId": slot.logical} if source is Source.LOGICAL else {"InstanceId": slot.instance}
        dimensions = {"ClusterName": slot.cluster} | node
        detail: dict[str, Any] = {
            "alarmName": name,
            "state": {"value": state, "timestamp": self.now.isoformat(timespec="milliseconds")},
            "configuration": {"metrics": [{"metricStat": {"metric": {"dimensions": dimensions}}}]},
            "alarmTags": {},
        }
        if source is Source.FLEET:
            detail["alarmContributor"] = {"attributes": dimensions}
        if muted:
            detail["muteDetail"] = {"mutedByArn": "arn:rule", "muteWindowEnd": (self.now + muted).isoformat()}
        kind = "Alarm Contributor" if source is Source.FLEET else "Alarm"
        return {"source": "aws.cloudwatch", "detail-type": f"CloudWatch {kind} State Change", "detail": detail}

    # -- the queue

    def _post(self, body: dict[str, Any], late: timedelta, redriven: str | None = None) -> None:
        id_ = f"m-{next(self._serial)}"
        sent = self.now + late
        message = Message(id_, json.dumps(body), sent, 1, f"handle-{id_}", redriven)
        self.queue[id_] = Queued(message, sent)

    def ready(self) -> list[str]:
        """The messages that can be received now."""
        return [id_ for id_, queued in self.queue.items() if queued.visible_at <= self.now]

    def comes_twice(self, which: int) -> None:
        """A message that was acknowledged is delivered once more."""
        ids = list(self.acknowledged)
        message = self.acknowledged.pop(ids[-1 - which % min(len(ids), 4)])
        self.queue[message.id] = Queued(replace(message, receives=message.receives + 1), self.now)

    def deliver(self, ids: Sequence[str], trouble: Trouble = CALM) -> None:
        """One invocation with a batch of messages."""
        batch = [self.queue[id_].message for id_ in ids if id_ in self.queue]
        if not batch:
            return
        outer = self.trouble, self._step, self._saves, self._batch
        self.trouble, self._step, self._saves, self._batch = trouble, None, 0, batch
        self.log(f"deliver {', '.join(_summary(message) for message in batch)}{_shown(trouble)}")
        for message in batch:
            self._note_delivery(message)
        try:
            handling = self.world.handle(*batch)
            again = handling.handed_back
            for id_, why in again.items():
                self.log(f"  {id_} goes back: {why}")
        except KilledError:
            self.log("  killed")
            again = {message.id: "" for message in batch}
        finally:
            clean = trouble.ledger_down is None
            self.trouble, self._step, self._saves, self._batch = outer
        waits = _SECOND * 30 if trouble.crash is None else _VISIBILITY_TIMEOUT
        for message in batch:
            if message.id in again:
                self._comes_again(message, waits if trouble.crash else waits * message.receives)
            else:
                self._acknowledge(message, clean=clean)

    def _comes_again(self, message: Message, wait: timedelta) -> None:
        if message.id not in self.queue:
            return
        if message.receives >= MAX_RECEIVES:
            self.log(f"  {message.id} is put aside by the queue")
            self.noted.put_aside.add(message.id)
            del self.queue[message.id]
        else:
            again = replace(message, receives=message.receives + 1)
            self.queue[message.id] = Queued(again, self.now + wait)

    def _acknowledge(self, message: Message, *, clean: bool) -> None:
        self.queue.pop(message.id, None)
        self.acknowledged[message.id] = message
        sign = self._sign(json.loads(message.body))
        if sign and sign[1] and clean:
            self.noted.healthy.setdefault(sign[0], []).append((sign[2], sign[3], next(self._serial)))

    def _note_delivery(self, message: Message) -> None:
        body = json.loads(message.body)
        root, round_ = _chain(body)
        self.noted.deliveries[root, round_] = self.noted.deliveries.get((root, round_), 0) + 1
        sign = self._sign(body)
        if sign and not sign[1]:
            self.noted.unhealthy.setdefault(sign[0], []).append(sign[2])

    def _sign(self, body: dict[str, Any]) -> tuple[NodeKey, bool, datetime, str | None] | None:
        """Which node an event says to be healthy or not, since when, and by which alarm."""
        detail = body["detail"]
        if "HealthSummary" in detail:
            key = NodeKey(detail["ClusterName"], detail["InstanceId"])
            healthy = detail["HealthSummary"]["HealthStatus"] == "Healthy"
            return key, healthy, datetime.fromisoformat(body["time"]), None
        if "alarmName" not in detail:
            return None
        found = detail["configuration"]["metrics"][0]["metricStat"]["metric"]["dimensions"]
        slot = next(s for s in self.slots if found.get("NodeLogicalId") in (None, s.logical))
        key = NodeKey(found["ClusterName"], found.get("InstanceId") or slot.instance)
        at = datetime.fromisoformat(detail["state"]["timestamp"])
        return key, detail["state"]["value"] == "OK", at, detail["alarmName"]

    # -- what goes wrong meanwhile

    def _on_step(self, step: Step) -> None:
        self._step = step
        if step is self.trouble.rival_at:
            self._rival()
        if step is self.trouble.crash:
            raise KilledError

    def rival_at_save(self) -> None:
        self._saves += 1
        if self._saves == self.trouble.rival_at_save:
            self._rival()

    def _rival(self) -> None:
        """Another invocation, from start to end, with the other messages and a copy of the first of these."""
        mine = [message.id for message in self._batch]
        self.deliver([*(id_ for id_ in self.ready() if id_ not in mine), mine[0]][:10])

    def fail_if_ledger_is_down(self) -> None:
        if self._step and self.trouble.ledger_down is self._step:
            raise LookupFailedError(LOST)

    # -- what is noted

    def is_loud(self, ending: Ending) -> bool:
        if ending.outcome is Outcome.REBOOTED:
            return self.settings.notify_rebooted
        if ending.outcome in (Outcome.RECOVERED, Outcome.SUPERSEDED):
            return not ending.quiet
        return is_reported(ending) or ending.outcome in (Outcome.OBSERVED, Outcome.RETRYING)

    def note_said(self, ending: Ending, *, loud: bool) -> None:
        noted, at, case = self.noted, next(self._serial), ending.case
        self.log(f"  says {'' if loud else 'quietly '}of {case.message.id}: {ending.outcome}: {ending.reason}")
        noted.said.append((at, self.now, ending))
        if loud:
            noted.published.append((at, ending))
        if ending.outcome is Outcome.REBOOTED and self._well_before_reboot(ending):
            noted.untrue.append(f"{case.key} was rebooted by a check, but it had been reported healthy")
        if case.key is None:
            return
        muted = getattr(case.reading, "muted", None)
        if ending.outcome is Outcome.DEFERRED and not muted:
            noted.deferrals.setdefault((case.key, case.message.id), at)
        if ending.outcome in ENDS:
            noted.ends.setdefault((case.key, self._watch_of(ending)), []).append(ending.outcome)

    def _watch_of(self, ending: Ending) -> str:
        if ending.case.check and ending.case.check.watch:
            return ending.case.check.watch
        ended = [
            watch.id for each in self.noted.decided.values() for watch in each if watch.ended_by == ending.case.owner
        ]
        return ended[-1] if ended else "of nobody"

    def note_watch(self, key: NodeKey, old: Watch | None, record: NodeRecord) -> None:
        new = record.watch
        if new and (old is None or old.id != new.id) and new.id not in record.claims:
            # A report that rebooted nothing, delivered again after all is over, is another story by the same name.
            for told_before in (self.noted.decided, self.noted.ends, self.noted.watches):
                told_before.pop((key, new.id), None)
        if new and (key, new.id) not in self.noted.watches:
            self.log(f"  watch {new.id} of {key.id}: {new.stage} until {new.until - NOW}")
        if new:
            self.noted.watches[key, new.id] = new
        if new and new.end and not (old and old.id == new.id and old.end):
            self.log(f"  ledger: watch {new.id} of {key.id} ended: {new.end} by {new.ended_by}")
            self.noted.decided.setdefault((key, new.id), []).append(new)
            if new.end is Outcome.NOT_RECOVERED and (at := self._well_at(key, new)):
                self.noted.untrue.append(f"{key.id} was given up, but it was reported healthy at {at}")
        if old and (new is None or new.id != old.id):
            self.noted.closed[key, old.id] = f"replaced by {new.id}" if new else "over"
            self.log(f"  ledger: watch {old.id} of {key.id} is {self.noted.closed[key, old.id]}")

    def _well_at(self, key: NodeKey, watch: Watch) -> datetime | None:
        """The latest sign of health that was taken in since the watch began, if no sign of illness came after it."""
        since = watch.since
        by_alarm = watch.stage is Stage.REBOOTED and watch.alarm is not None
        signs = self.noted.healthy.get(key, ())
        well = [at for at, alarm, _ in signs if at >= since and (not by_alarm or alarm == watch.alarm)]
        ill = [at for at in self.noted.unhealthy.get(key, ()) if at > watch.since]
        return max(well) if well and max(well) >= max(ill, default=since) else None

    def _well_before_reboot(self, ending: Ending) -> bool:
        """Whether a check had a node rebooted that was reported healthy, and not ill since."""
        case = ending.case
        if case.check is None or case.key is None or case.reading.alarm is not None:
            return False
        rebooted = max((at for at, _, key in self.noted.reboots if key == case.key), default=0)
        signs = self.noted.healthy.get(case.key, ())
        well = [at for at, alarm, taken_in in signs if alarm is None and taken_in < rebooted]
        ill = self.noted.unhealthy.get(case.key, [NOW])
        return bool(well) and max(well) > max(*ill, case.trigger.time)

    def note_reboot(self, slot: Slot) -> None:
        self.noted.reboots.append((next(self._serial), self.now, slot.key))

    def note_check(self, check: Delayed) -> None:
        body = json.loads(check.body)
        link = _chain(body)
        self.noted.checks[link] = self.noted.checks.get(link, 0) + 1
        due = datetime.fromisoformat(body["detail"]["Due"])
        # Only what should have come before now comes at once.
        if not (0 if due <= self.now else 1) <= check.delay <= _LONGEST_DELAY or link[1] > _MOST_ROUNDS:
            self.noted.untrue.append(f"round {link[1]} of {link[0]} is sent with a delay of {check.delay} s")
        self._post(body, check.delay * _SECOND)
        self.log(f"  sends round {link[1]} of {link[0]} in {check.delay} s")

    # -- the end

    def runs_out(self, days: int = 3) -> None:
        """Nothing goes wrong any more, and nothing new happens: everything comes to its end."""
        self._is_over, until = True, self.now + timedelta(days=days)
        while (time := self.next_time()) is not None:
            if time > until:
                return
            self.passes(max(time - self.now, timedelta(0)))
            while ready := self.ready():
                self.deliver(ready[:10])

    def open_watches(self) -> dict[NodeKey, Watch]:
        records = self.world.ledger.book.nodes.values()
        return {record.key: record.watch for record in records if record.watch}


def _source(alarm: str) -> Source:
    if alarm == FLEET:
        return Source.FLEET
    return Source.LOGICAL if "logical" in alarm else Source.ALARM


def _chain(body: dict[str, Any]) -> tuple[str, int]:
    """The report that a message goes back to, and its round: 0 is the report itself."""
    detail = body["detail"]
    if "Event" in detail:
        return json.loads(detail["Event"])["id"], detail["Round"]
    if "Round" in detail:
        return detail["Trigger"]["EventId"], detail["Round"]
    trigger = detail.get("Trigger")
    return (trigger["EventId"] if trigger else body["id"]), 0


def _summary(message: Message) -> str:
    body = json.loads(message.body)
    root, round_ = _chain(body)
    what = (
        f"round {round_} of {root}" if round_ else f"{body['detail-type'].removeprefix('SageMaker HyperPod ')} {root}"
    )
    if "HealthSummary" in body["detail"]:
        what += f" {body['detail']['HealthSummary']['HealthStatus']} {body['time'][11:19]}"
    elif "state" in body["detail"]:
        what += f" {body['detail']['state']['value']}"
    return f"{message.id} ({what}{f', receive {message.receives}' if message.receives > 1 else ''})"


def _shown(trouble: Trouble) -> str:
    set_ = {name: value for name, value in vars(trouble).items() if value}
    return f"  with {set_}" if set_ else ""
