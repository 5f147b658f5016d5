"""The judgement, searched: reports, time, failures, crashes and rivals in any order, and after each step the promises.

What must hold is judged by a log of its own: what the simulated API started or may have started, and how reports ended.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count, pairwise
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from node_remediation.checks import Checks
from node_remediation.claims import Claimant
from node_remediation.cluster import Facts
from node_remediation.codes import OUTCOME_UNKNOWN
from node_remediation.deadletter import Origin, dead_letter, is_reported
from node_remediation.examine import Examiner
from node_remediation.guard import budget_limit
from node_remediation.model import ENDS, Ending, Handling, Message, NodeKey, Outcome
from node_remediation.reboot import SageMakerRebooter
from node_remediation.record import NodeRecord
from node_remediation.remediate import Remediator
from node_remediation.resolve import Resolver
from node_remediation.settings import MAX_RECEIVES, Settings
from node_remediation.steps import Step
from node_remediation.together import in_turn
from node_remediation.watching import Watcher
from tests.ledger.outside import CallFault, FakeApi, HyperPod, KilledError, Reboot, Trouble, WatchedLedger
from tests.unit.fakes import (
    NOW,
    FakeAlarms,
    FakeClusters,
    FakeIntake,
    FakeLedger,
    FakeMode,
    FakeReporter,
    FakeTelemetry,
    health_event,
    instance_id,
    request,
    sample,
    unmuted,
)

A, B = "ml-a", "ml-b"
NODES = {A: [instance_id(number) for number in range(1, 5)], B: [instance_id(number) for number in range(5, 8)]}
LOGICAL = {f"node-{number}": instance_id(number) for number in range(1, 8)}
FACTS = {
    A: Facts(nodes=10),
    B: Facts(nodes=3, recovers_by_itself=True, protected=frozenset({instance_id(7), "node-7"})),
}
KEYS = [NodeKey(cluster, node) for cluster, nodes in NODES.items() for node in nodes]
CODES = ("InstanceIdInUse", "InternalServerError")
ORIGIN = Origin("111122223333", "us-west-2")
# The queue hides a received message for minutes, so one that was received comes again long before this.
_COMES_AGAIN_WITHIN = timedelta(minutes=30)
_FUNCTION_LASTS = timedelta(seconds=60)
# In the reason of what is unknown because nobody is there any more who would know.
_ENDED = "the function ended before"

minutes = st.sampled_from([0.2, 0.6, 2.0, 11.0, 29.0, 61.0, 181.0]).map(lambda value: timedelta(minutes=value))
any_key = st.sampled_from(KEYS)
some_ids = st.lists(st.sampled_from([*NODES[A], *LOGICAL]), min_size=1, max_size=8, unique=True)
troubles = st.one_of(
    st.just(Trouble()),
    st.builds(Trouble, crash=st.sampled_from(Step)),
    st.builds(
        Trouble,
        crash=st.none() | st.sampled_from(Step),
        calls=st.lists(st.sampled_from(CallFault), max_size=3).map(tuple) | st.just((CallFault.THROTTLED,) * 9),
        letters_down=st.booleans(),
        topic_down=st.booleans(),
        ledger_down=st.none() | st.sampled_from([Step.CLAIM, Step.RECORD, Step.SETTLE]),
        rival_at_save=st.none() | st.integers(1, 3),
    ),
)
limits = st.builds(
    Settings,
    cooldown=st.sampled_from([timedelta(minutes=10), timedelta(minutes=30)]),
    max_reboots_per_node=st.integers(1, 3),
    max_reboots_window=st.sampled_from([timedelta(minutes=30), timedelta(hours=3)]),
    budget_percent=st.sampled_from([1, 20, 60]),
    budget_min_nodes=st.integers(1, 3),
    budget_window=st.sampled_from([timedelta(minutes=30), timedelta(hours=1)]),
    on_replacement_advised=st.sampled_from(["refuse", "reboot"]),
)


def key_of(cluster: str, id_: str) -> NodeKey:
    return NodeKey(cluster, LOGICAL.get(id_, id_))


class Machine(RuleBasedStateMachine):
    """The function, its queue and its ledger; `pending` are the messages that were not acknowledged yet."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.limits = Settings()
        self.mode = FakeMode()
        self.ledger = FakeLedger()
        self.hyperpod = HyperPod(key_of)
        self.counted: list[Reboot] = []
        self.reporter = FakeReporter()
        self.telemetry = FakeTelemetry()
        self.pending: dict[str, Message] = {}
        self.raced: set[str] = set()
        self.acknowledged: list[tuple[Message, list[Ending]]] = []
        self.said: list[tuple[datetime, Ending]] = []
        self.dead: list[tuple[str, str | None]] = []
        self.put_aside = False
        self.letters: dict[object, datetime] = {}
        self.published: dict[object, datetime] = {}
        self._serial = count(1)

    # -- what arrives

    @initialize(limits=limits)
    def set_limits(self, limits: Settings) -> None:
        self.limits = limits

    @rule(
        key=any_key,
        healthy=st.sampled_from([False] * 7 + [True]),
        repair=st.sampled_from([None, "None", "None", "Reboot", "Replace"]),
        age=minutes,
        copies=st.integers(1, 3),
    )
    def health_changes(self, key: NodeKey, healthy: bool, repair: str | None, age: timedelta, copies: int) -> None:
        """Late, early, or several times over."""
        event = health_event(key.id, key.cluster, "Healthy" if healthy else "Unhealthy")
        event["time"] = (self.now - age).isoformat()
        event["detail"]["HealthSummary"]["RepairAction"] = repair
        for _ in range(copies):
            self._send(event)

    @rule(key=any_key, state=st.sampled_from(["ALARM"] * 5 + ["OK"]), age=minutes)
    def alarm(self, key: NodeKey, state: str, age: timedelta) -> None:
        event = unmuted(sample("alarm-single-metric"))
        event["detail"]["alarmName"] = "hyperpod-xid"
        event["detail"]["state"] |= {"value": state, "timestamp": (self.now - age).isoformat()}
        metric = event["detail"]["configuration"]["metrics"][0]["metricStat"]["metric"]
        metric["dimensions"] = {"ClusterName": key.cluster, "InstanceId": key.id}
        self._send(event)

    @rule(ids=some_ids)
    def operator_asks(self, ids: list[str]) -> None:
        """For several nodes of one cluster, by either kind of ID, or by both."""
        self._send(request(*(id_ for id_ in ids if id_ not in LOGICAL), logical=[id_ for id_ in ids if id_ in LOGICAL]))

    @rule(body=st.sampled_from(["{", "[]", '{"Records": 1}', json.dumps(health_event() | {"replay-name": "archive"})]))
    def odd_message(self, body: str) -> None:
        self._send(body)

    @rule(which=st.integers(0, 20))
    def redrive(self, which: int) -> None:
        """A dead letter that the system wrote, or that the queue put aside, goes round again."""
        if self.dead:
            body, kind = self.dead.pop(which % len(self.dead))
            self._send(body, redriven=kind)

    @rule(which=st.integers(0, 20))
    def delivered_again_although_acknowledged(self, which: int) -> None:
        """Standard queues deliver at least once."""
        again = [message for message, _ in self.acknowledged if message.id not in self.pending]
        if again:
            message = again[-1 - which % min(len(again), 5)]
            if self.now - message.sent < _COMES_AGAIN_WITHIN and message.receives < MAX_RECEIVES:
                self.pending[message.id] = replace(message, receives=message.receives + 1)

    # -- what changes

    @rule(duration=minutes)
    def time_passes(self, duration: timedelta) -> None:
        in_flight = any(message.receives > 1 for message in self.pending.values())
        self.now += min(duration, timedelta(minutes=2)) if in_flight else duration

    @rule(mode=st.sampled_from(["active", "active", "active", "observe", "paused"]))
    def operator_sets_mode(self, mode: str) -> None:
        self.mode.mode = mode

    @rule(key=any_key, answer=st.sampled_from([None, *CODES, "poison"]))
    def node_changes(self, key: NodeKey, answer: str | None) -> None:
        """From now on the API starts its reboots, answers with a code, or rejects every call that names it."""
        self.hyperpod.codes.pop(key, None)
        self.hyperpod.poison.discard(key)
        if answer == "poison":
            self.hyperpod.poison.add(key)
        elif answer:
            self.hyperpod.codes[key] = answer

    # -- what the function does

    @rule(after=minutes, trouble=troubles)
    def deliver_all(self, after: timedelta, trouble: Trouble) -> None:
        self.time_passes(after)
        self._deliver(list(self.pending), trouble)

    @rule(trouble=troubles, which=st.lists(st.integers(0, 30), min_size=1, max_size=4))
    def deliver_some(self, trouble: Trouble, which: list[int]) -> None:
        ids = list(self.pending)
        self._deliver(list(dict.fromkeys(ids[index % len(ids)] for index in which)) if ids else [], trouble)

    def teardown(self) -> None:
        """Once nothing goes wrong any more, everything that is still on the queue comes to its end."""
        for _ in range(MAX_RECEIVES):
            self.now += timedelta(minutes=2)
            self._deliver(list(self.pending), Trouble())
            self.promises_hold()
        assert not self.pending
        self.every_reboot_was_told()

    # -- what must hold after every step

    @invariant()
    def promises_hold(self) -> None:
        self.no_node_is_rebooted_twice_within_its_cooldown()
        self.no_node_is_rebooted_too_often()
        self.no_cluster_is_over_its_budget()
        self.ledger_counts_what_happened()
        self.what_people_must_know_has_arrived()
        self.what_a_call_came_to_is_never_told_otherwise()
        self.nobody_gives_up_on_a_call_under_way()

    def no_node_is_rebooted_twice_within_its_cooldown(self) -> None:
        for times in self._times_by(lambda reboot: reboot.key):
            assert all(later - earlier >= self.limits.cooldown for earlier, later in pairwise(times))

    def no_node_is_rebooted_too_often(self) -> None:
        for times in self._times_by(lambda reboot: reboot.key):
            assert _most_within(times, self.limits.max_reboots_window) <= self.limits.max_reboots_per_node

    def no_cluster_is_over_its_budget(self) -> None:
        for cluster, facts in FACTS.items():
            for times in self._times_by(lambda reboot: reboot.key.cluster, only=cluster):
                assert _most_within(times, self.limits.budget_window) <= budget_limit(facts.nodes, self.limits)

    def ledger_counts_what_happened(self) -> None:
        """What was or may have been rebooted is remembered; what failed or was refused has cost nothing."""
        since = self.now - timedelta(hours=24)
        for key in KEYS:
            remembered = self.ledger.book.nodes.get(key, NodeRecord(key)).reboots
            counted = [reboot.at for reboot in self.counted if reboot.key == key]
            assert sorted(at for at in remembered if at > since) == sorted(at for at in counted if at > since), key
        for cluster in FACTS:
            window = self.limits.budget_window
            spent = self.ledger.book.budget(cluster).spent(now=self.now, window=window)
            counted = [each.at for each in self.counted if each.key.cluster == cluster and each.at > self.now - window]
            assert spent == len(counted), cluster

    def what_people_must_know_has_arrived(self) -> None:
        """Each failed, refused or unreadable report that was acknowledged is in both places."""
        for message, endings in self.acknowledged:
            for ending in filter(is_reported, endings):
                for place in (self.letters, self.published):
                    told = place.get(_news(ending))
                    assert told is not None, ending
                    assert told >= message.sent, ending

    def what_a_call_came_to_is_never_told_otherwise(self) -> None:
        answers: dict[object, object] = {}
        for _, ending in self.said:
            if ending.outcome is Outcome.REBOOTED or ending.code in CODES:
                answer = (ending.outcome, ending.code)
                assert answers.setdefault((ending.case.message.id, ending.case.node), answer) == answer
            elif ending.outcome is not Outcome.DUPLICATE and ending.case.message.id not in self.raced:
                assert (ending.case.message.id, ending.case.node) not in answers, ending

    def nobody_gives_up_on_a_call_under_way(self) -> None:
        """What is given up may be an older call than the node's latest, whose answer came at once."""
        answered = {(at, ending.case.key) for at, ending in self.said if ending.outcome is Outcome.REBOOTED}
        open_calls = [each for each in self.hyperpod.reboots if (each.at, each.key) not in answered]
        for at, ending in self.said:
            if ending.code == OUTCOME_UNKNOWN and _ENDED in ending.reason:
                begun = [each.at for each in open_calls if each.key == ending.case.key and each.at <= at]
                assert all(at - time >= _FUNCTION_LASTS for time in begun), ending

    def every_reboot_was_told(self) -> None:
        """As one, or as a failure that may have been one; but for messages that the queue itself put aside."""
        told = [(at, ending) for at, ending in self.said if ending.outcome in (Outcome.REBOOTED, Outcome.FAILED)]
        for reboot in self.counted if not self.put_aside else ():
            assert any(at >= reboot.at and ending.case.key == reboot.key for at, ending in told), reboot

    # -- how

    def _times_by(self, what: Callable[[Reboot], object], only: object = None) -> Iterable[list[datetime]]:
        """The times of reboots by node or cluster: those that the API saw, and those that nobody can rule out."""
        for reboots in (self.hyperpod.reboots, self.counted):
            for wanted in {what(reboot) for reboot in reboots} if only is None else {only}:
                yield sorted(reboot.at for reboot in reboots if what(reboot) == wanted)

    def _send(self, body: object, redriven: str | None = None) -> None:
        id_ = f"m-{next(self._serial)}"
        text = body if isinstance(body, str) else json.dumps(body)
        self.pending[id_] = Message(id_, text, self.now, redriven=redriven, receipt_handle=f"handle-{id_}")

    def _deliver(self, ids: Sequence[str], trouble: Trouble) -> None:
        batch = [self.pending.pop(id_) for id_ in ids]
        if not batch:
            return
        handling = self._handle(batch, trouble)
        self._take_reports()
        again = {message.id for message in batch} if handling is None else set(handling.handed_back)
        for message in batch:
            if message.id in again:
                self._come_again(message)
        if handling is not None:
            self._acknowledge([message for message in batch if message.id not in again], handling)

    def _handle(self, batch: Sequence[Message], trouble: Trouble) -> Handling | None:
        """None if the function was killed."""
        api = FakeApi(self.hyperpod, list(trouble.calls), self.now)
        ledger = WatchedLedger(self.ledger, trouble, api, lambda: self._rival(batch), self.counted)
        self.reporter.letters_broken = lambda _: trouble.letters_down
        self.reporter.broken = lambda _: trouble.topic_down
        remediator = self._remediator(api, ledger)
        try:
            handling = remediator.handle(batch, seconds_left=_FUNCTION_LASTS.total_seconds)
        except KilledError:
            return None
        finally:
            ledger.close()
        self._check_one_outcome_each(batch, handling)
        return handling

    def _remediator(self, api: FakeApi, ledger: WatchedLedger) -> Remediator:
        clusters, intake = FakeClusters(facts_of=FACTS, instances=LOGICAL), FakeIntake()
        checks = Checks(
            intake=intake, origin=ORIGIN, clock=lambda: self.now, new_id=lambda: UUID(int=next(self._serial))
        )
        return Remediator(
            settings=self.limits,
            resolver=Resolver(settings=self.limits, clusters=clusters, alarms=FakeAlarms()),
            clusters=clusters,
            mode=self.mode,
            ledger=ledger,
            claimant=Claimant(
                settings=self.limits,
                ledger=ledger,
                rebooter=SageMakerRebooter(api, sleep=lambda _: None),  # type: ignore[arg-type]  # of its one method
                clock=lambda: self.now,
                new_id=lambda: f"call-{next(self._serial)}",
                sleep=lambda _: None,
                on_step=ledger.on_step,
                checks=checks,
                together=in_turn,
            ),
            watcher=Watcher(
                settings=self.limits,
                examiner=Examiner(clusters=clusters, alarms=FakeAlarms()),
                ledger=ledger,
                checks=checks,
                clock=lambda: self.now,
                sleep=lambda _: None,
            ),
            reporter=self.reporter,
            intake=intake,
            telemetry=self.telemetry,
            together=in_turn,
            clock=lambda: self.now,
            sleep=lambda _: None,
            on_step=ledger.on_step,
        )

    def _rival(self, batch: Sequence[Message]) -> None:
        """Another invocation, from start to end: with all other messages, with one of the same, and with a copy."""
        broken = self.reporter.letters_broken, self.reporter.broken
        for message in batch[:1]:
            self.pending[message.id] = message
            self.raced.add(message.id)
        for message in batch[-1:]:
            self._send(message.body)
        self._deliver(list(self.pending), Trouble())
        for message in batch[:1]:
            self.pending.pop(message.id, None)
        self.reporter.letters_broken, self.reporter.broken = broken

    def _come_again(self, message: Message) -> None:
        """What was received as often as it may be, the queue itself puts aside, as it is."""
        if message.receives >= MAX_RECEIVES:
            self.dead.append((message.body, message.redriven))
            self.put_aside = True
        else:
            self.pending[message.id] = replace(message, receives=message.receives + 1)

    def _take_reports(self) -> None:
        """Note what the dead-letter queue and the topic got."""
        for ending in filter(is_reported, self.reporter.letters):
            letter = dead_letter(ending, letter_id=UUID(int=next(self._serial)), now=self.now, origin=ORIGIN)
            self.dead.append((letter.body, letter.attributes["Kind"]))
        self.said += [(self.now, ending) for handling in self.telemetry.handlings for ending in handling.endings]
        self.telemetry.handlings = []
        self.letters |= {_news(ending): self.now for ending in self.reporter.letters}
        self.published |= {_news(ending): self.now for ending in self.reporter.reported}
        self.reporter.letters, self.reporter.reported = [], []

    def _check_one_outcome_each(self, batch: Sequence[Message], handling: Handling) -> None:
        assert self.telemetry.handlings[-1] is handling
        assert {ending.case.message.id for ending in handling.endings} <= {message.id for message in batch}
        for message in batch:
            every = [ending for ending in handling.endings if ending.case.message is message]
            endings = [ending for ending in every if ending.outcome not in ENDS]
            expected = 0 if message.id in handling.handed_back else _reports_in(message.body)
            assert len(endings) == expected, f"{message.id} has {len(endings)} outcomes, not {expected}"
            # What says that a node is well may also say how its reboot ended.
            assert len(every) - len(endings) <= sum(ending.outcome is Outcome.CLEARED for ending in endings)

    def _acknowledge(self, messages: Iterable[Message], handling: Handling) -> None:
        for message in messages:
            endings = [ending for ending in handling.endings if ending.case.message is message]
            self.acknowledged.append((message, endings))


def _reports_in(body: str) -> int:
    """One, but for a request of several nodes."""
    read = json.loads(body) if body.startswith("{") and body != "{" else {}
    detail = read.get("detail", {})
    return len([*detail.get("NodeIds", ()), *detail.get("NodeLogicalIds", ())]) or 1


def _news(ending: Ending) -> tuple[object, ...]:
    """What an entry must say; that an outcome is unknown may be told by whoever finds it out."""
    node = ending.case.key or ending.case.message.body
    about = None if ending.code == OUTCOME_UNKNOWN else ending.case.message.id
    return about, node, ending.outcome, ending.code


def _most_within(times: Sequence[datetime], window: timedelta) -> int:
    return max((sum(last - window < at <= last for at in times) for last in times), default=0)


def test_promises_hold_whatever_arrives_and_whatever_goes_wrong(pytestconfig: pytest.Config) -> None:
    """No reboot storm, nothing lost, nothing told twice differently; `--hypothesis-profile=thorough` looks further."""
    profile = pytestconfig.getoption("--hypothesis-profile") or "quick"
    run_state_machine_as_test(Machine, settings=settings.get_profile(profile))
