"""The whole loop, searched: days of random events, failures, losses, kills, rivals and sweeps, then the promises.

`LOOP_SEARCH=thorough` in the environment looks further.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from enum import Enum

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from node_remediation.remediate import Effect
from node_remediation.settings import Override, Settings, SettingsError
from tests.loop.outside import CallFault, FakeCluster, Slot, Takes, denied, throttled
from tests.loop.promises import broken, broken_at_the_end
from tests.loop.world import HOUR, MINUTE, SECOND, A, B, Trouble, World, Write

_ALWAYS = settings(
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=set(Phase) - {Phase.explain},
)
SEARCHES = {
    "quick": settings(_ALWAYS, max_examples=150, stateful_step_count=40),
    "thorough": settings(_ALWAYS, max_examples=3_000, stateful_step_count=60, derandomize=False),
}


class Rival(Enum):
    """Another invocation that comes first at a write."""

    SWEEP = "a sweep"
    OTHERS = "other messages"
    TWIN = "the same messages, delivered twice"


def _minutes(*values: float) -> st.SearchStrategy[timedelta]:
    return st.sampled_from([timedelta(minutes=value) for value in values])


def _valid(**values: object) -> Settings | None:
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except SettingsError:
        return None


ASK, WAIT = Override(source="hyperpod", action="ask"), Override(wait=timedelta(minutes=2))
NO_ALARMS, REPLACE = Override(source="alarm:*", action="none"), Override(source="alarm:*", action="replace")
limits = (
    st.builds(
        _valid,
        cooldown=_minutes(5, 30, 60),
        max_reboots_per_node=st.integers(1, 3),
        budget_percent=st.sampled_from([10, 30, 100]),
        budget_window=_minutes(60, 180),
        verify_after=_minutes(5, 15, 20),
        verify_timeout=_minutes(20, 45, 120),
        repair_timeout=_minutes(10, 90),
        max_report_age=_minutes(10, 60),
        retry_attempts=st.integers(0, 3),
        retry_delay=_minutes(0.5, 2, 15),
        notify_rebooted=st.booleans(),
        automatic_grace=_minutes(0, 5),
        overrides=st.sampled_from(
            [(), (), (ASK,), (ASK, WAIT), (WAIT,), (NO_ALARMS,), (Override(source="alarm:*"), ASK), (REPLACE,)]
        ),
        ask_timeout=_minutes(1, 15, 60),
        on_no_answer=st.sampled_from(["refuse", "reboot"]),
        escalation=st.sampled_from(["none", "replace"]),
        replace_budget=st.integers(1, 2),
    )
    .filter(lambda limits: limits is not None)
    .map(lambda limits: limits or Settings())
)
slots = st.tuples(st.sampled_from([A, A, B]), st.integers(1, 2))
lateness = _minutes(0, 0, 0, 0.5, 20, 70)
copies = st.sampled_from([1, 1, 1, 2])
# How much earlier or later than now an event says that it happened.
shifts = _minutes(0, 0, 0, -0.2, -10, -40, 1_200)
answers = st.lists(
    st.sampled_from(["started", "InstanceIdInUse", "InternalServerError", "NoCapacity", "both", "twice", "unnamed"]),
    max_size=3,
)
takes = st.sampled_from([Takes.ALL, Takes.ALL, Takes.ALL, Takes.NONE, Takes.LOST, Takes.FIRST])
troubles = st.builds(
    Trouble,
    kill=st.none() | st.none() | st.sampled_from(Effect),
    nth=st.integers(1, 2),
    writes=st.dictionaries(st.integers(1, 4), st.sampled_from(Write), max_size=2),
    letters=takes,
    topic=takes,
    bus=takes,
    ledger_down=st.sampled_from([False, False, False, True]),
    intake_down=st.booleans(),
    seconds=st.sampled_from([60.0, 60.0, 60.0, 30.0, 20.0, 4.0]),
)
modes = st.dictionaries(
    st.sampled_from(["*", "*", A, "ml-*/workers", f"{B}/other"]),
    st.sampled_from(["active", "paused", "observe"]),
    max_size=2,
)
OPERATIONS = (
    "describe_cluster",
    "describe_cluster_node",
    "list_cluster_nodes",
    "batch_reboot_cluster_nodes",
    "batch_replace_cluster_nodes",
)
ASKED = ("describe_alarms", "describe_alarm_contributors")


class Machine(RuleBasedStateMachine):
    """A story told by rules; what breaks is shown with the whole of its log."""

    world: World

    @initialize(limits=limits, protected=st.booleans(), healthy_for=_minutes(0, 2, 15))
    def begin(self, limits: Settings, protected: bool, healthy_for: timedelta) -> None:
        clusters = (
            FakeCluster(A, nodes=10, protected=("controllers",) if protected else ()),
            FakeCluster(B, 10, automatic=True),
        )
        self.world = World(limits, *clusters, nodes=2, healthy_for=healthy_for)
        self.world.log(f"{limits}")

    def slot(self, place: tuple[str, int]) -> Slot:
        return self.world.node(place[1], place[0])

    # -- what happens

    @rule(place=slots, late=lateness, copies=copies, shift=shifts, repair=st.sampled_from([None, None, "Replace"]))
    def hyperpod_complains(
        self, place: tuple[str, int], late: timedelta, copies: int, shift: timedelta, repair: str | None
    ) -> None:
        at = self.world.now + shift
        self.world.unhealthy(self.slot(place), at=at, repair=repair, late=late, copies=copies)

    @rule(place=slots, late=lateness, copies=copies, shift=shifts)
    def hyperpod_withdraws(self, place: tuple[str, int], late: timedelta, copies: int, shift: timedelta) -> None:
        self.world.healthy(self.slot(place), at=self.world.now + shift, late=late, copies=copies)

    @rule(
        place=slots,
        state=st.sampled_from(["ALARM", "ALARM", "OK", "OK", "INSUFFICIENT_DATA"]),
        kind=st.sampled_from(["gpu", "disk", "logical", "series"]),
        muted=st.none() | st.none() | _minutes(0.5, 20, 300),
        late=lateness | lateness | st.none(),
    )
    def alarm_changes(
        self, place: tuple[str, int], state: str, kind: str, muted: timedelta | None, late: timedelta | None
    ) -> None:
        """The event of it is late, or (None) lost."""
        node = self.slot(place)
        name = "hyperpod-reboot-fleet" if kind == "series" else f"hyperpod-reboot-{kind}-{node.cluster}-{node.logical}"
        until = self.world.now + muted if muted else None
        series = kind == "series"
        if series and state not in ("ALARM", "OK"):
            return
        self.world.alarm(
            node,
            state,
            name=name,
            logical=kind == "logical",
            series=series,
            muted_until=until,
            unheard=late is None,
            late=late or timedelta(0),
        )

    @rule(place=slots, state=st.sampled_from(["ALARM", "OK"]), late=lateness)
    def composite_changes(self, place: tuple[str, int], state: str, late: timedelta) -> None:
        node = self.slot(place)
        child = f"hyperpod-reboot-gpu-{node.cluster}-{node.logical}"
        if child in self.world.cloudwatch.alarms:
            self.world.composite(f"hyperpod-reboot-any-{node.cluster}-{node.logical}", state, [child], late=late)

    @rule(place=slots, other=slots, logical=st.booleans())
    def person_asks(self, place: tuple[str, int], other: tuple[str, int], logical: bool) -> None:
        node, second = self.slot(place), self.slot((place[0], other[1]))
        ids = dict.fromkeys([node.logical if logical else node.instance, second.instance])
        self.world.request(*ids, cluster=node.cluster)

    @rule(
        which=st.integers(0, 3),
        verdict=st.sampled_from(["Approved", "Approved", "Vetoed"]),
        late=lateness,
        copies=copies,
    )
    def proposal_is_answered(self, which: int, verdict: str, late: timedelta, copies: int) -> None:
        told = [notice.entry["IncidentId"] for notice in self.world.notices if notice.list == "Proposed"]
        incident = told[-1 - which] if which < len(told) else "of-another-stack"
        self.world.answer(incident, verdict, late=late, copies=copies)

    @rule(place=slots, progress=st.sampled_from(["in progress", "completed successfully", "failed"]), late=lateness)
    def hyperpod_tells_of_a_reboot(self, place: tuple[str, int], progress: str, late: timedelta) -> None:
        node = self.slot(place)
        words = f"Instance reboot {node.instance} in Cluster {node.cluster} and IG workers {progress}"
        self.world.reboot_event(node, words, late=late)

    @rule(place=slots, status=st.sampled_from(["firing", "firing", "resolved"]), late=lateness, copies=copies)
    def alert_is_sent(self, place: tuple[str, int], status: str, late: timedelta, copies: int) -> None:
        self.world.alert(self.slot(place), status, late=late, copies=copies)

    @precondition(lambda self: self.world.letters)
    @rule(which=st.integers(0, 5))
    def letter_is_redriven(self, which: int) -> None:
        letters = self.world.letters
        self.world.redrive(letters[-1 - which % len(letters)])

    @rule(place=slots, lag=_minutes(0, 0, 3, 20))
    def node_is_replaced(self, place: tuple[str, int], lag: timedelta) -> None:
        self.world.is_replaced(self.slot(place), lag=lag)

    @rule(place=slots, status=st.sampled_from(["Running", "Failure", "Pending"]))
    def status_changes(self, place: tuple[str, int], status: str) -> None:
        self.slot(place).status = status

    @rule(place=slots, answers=answers)
    def api_will_answer(self, place: tuple[str, int], answers: list[str]) -> None:
        self.slot(place).answers = list(answers)

    @rule(faults=st.lists(st.sampled_from(CallFault), min_size=1, max_size=5))
    def calls_will_fail(self, faults: list[CallFault]) -> None:
        self.world.sagemaker.faults = list(faults)

    @rule(modes=modes, end=st.none() | _minutes(-5, 0.5, 7, 100), down=st.sampled_from([False, False, True]))
    def operator_sets_mode(self, modes: Mapping[str, str], end: timedelta | None, down: bool) -> None:
        until = f" until {(self.world.now + end).isoformat(timespec='seconds')}" if end else ""
        value = json.dumps({pattern: word + until for pattern, word in modes.items()})
        self.world.log(f"mode {value}{', which cannot be read' if down else ''}")
        self.world.mode.value, self.world.mode.down = value, down

    @rule(cluster=st.sampled_from([A, B]), automatic=st.booleans())
    def operator_sets_recovery(self, cluster: str, automatic: bool) -> None:
        self.world.log(f"{cluster}: automatic recovery {automatic}")
        self.world.sagemaker.clusters[cluster].automatic = automatic

    @rule(
        operations=st.lists(st.sampled_from(OPERATIONS), max_size=2),
        asked=st.lists(st.sampled_from(ASKED), max_size=1),
        final=st.booleans(),
    )
    def services_are_down(self, operations: list[str], asked: list[str], final: bool) -> None:
        trouble = denied() if final else throttled()
        self.world.log(f"down: {operations} {asked} {trouble}")
        self.world.sagemaker.down = dict.fromkeys(operations, trouble)
        self.world.cloudwatch.down = dict.fromkeys(asked, trouble)

    @rule(letters=takes, topic=takes, bus=takes)
    def queue_topic_and_bus_take(self, letters: Takes, topic: Takes, bus: Takes) -> None:
        self.world.log(f"letters taken: {letters.value}, notices taken: {topic.value}, events taken: {bus.value}")
        outside = self.world.outside
        outside.letters_take, outside.topic_takes, outside.bus_takes = letters, topic, bus

    @precondition(lambda self: self.world.acknowledged)
    @rule(which=st.integers(0, 5))
    def message_comes_again(self, which: int) -> None:
        ids = list(self.world.acknowledged)
        self.world.comes_again(ids[-1 - which % len(ids)])

    # -- the function's invocations

    @rule(
        trouble=troubles,
        rival=st.sampled_from(Rival),
        which=st.none() | st.lists(st.integers(0, 10), min_size=1, max_size=3),
    )
    def deliver(self, trouble: Trouble, rival: Rival, which: list[int] | None) -> None:
        trouble = replace(trouble, rival=self._rival(rival))
        self.world.log(f"delivery: {trouble}")
        visible = [id_ for id_, each in self.world.queue.items() if each.visible_at <= self.world.now]
        only = None if which is None else [visible[place % len(visible)] for place in which if visible]
        self.world.deliver(trouble, only=None if only is None else dict.fromkeys(only))
        self._must_hold(broken(self.world))

    @rule(trouble=troubles, rival=st.sampled_from(Rival), late=st.sampled_from([0, 0, 90, 200]))
    def sweep(self, trouble: Trouble, rival: Rival, late: int) -> None:
        trouble = replace(trouble, rival=self._rival(rival))
        self.world.log(f"sweep: {trouble}")
        self.world.sweep(trouble, sent=self.world.now - late * SECOND)
        self._must_hold(broken(self.world))

    def _rival(self, rival: Rival) -> Callable[[], object]:
        if rival is Rival.SWEEP:
            return self.world.sweep
        return self.world.deliver if rival is Rival.OTHERS else self.world.twin

    @rule(time=_minutes(0.05, 0.5, 1.5, 4, 16, 31, 70))
    def time_passes_without_the_function(self, time: timedelta) -> None:
        self.world.skips(time)

    @rule(time=_minutes(1, 7, 31, 100), sweeps=st.sampled_from(["each minute", "each minute", "never", "twice"]))
    def time_passes(self, time: timedelta, sweeps: str) -> None:
        world = self.world
        world.log(f"time passes, sweeps: {sweeps}")
        twice = Trouble(writes={1: Write.RIVAL}, rival=world.sweep)
        world.sweeps = {"each minute": world.sweep, "never": None, "twice": lambda: world.sweep(twice)}[sweeps]
        world.passes(time)
        world.sweeps = world.sweep
        self._must_hold(broken(world))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.log("from here on all is well")
        world.sagemaker.down, world.cloudwatch.down, world.sagemaker.faults = {}, {}, []
        world.outside.letters_take = world.outside.topic_takes = world.outside.bus_takes = Takes.ALL
        world.mode.down = False
        world.sweep()
        world.passes(24 * HOUR + MINUTE)
        self._must_hold(broken_at_the_end(world))

    def _must_hold(self, faults: list[str]) -> None:
        assert not faults, "\n".join([*faults, "", *self.world.lines])


@pytest.mark.filterwarnings("ignore:.*HealthCheck.*")
def test_promises_hold_whatever_arrives_and_whatever_goes_wrong() -> None:
    """No reboot storm, nothing lost, every incident one end, nothing called recovered without proof."""
    run_state_machine_as_test(Machine, settings=SEARCHES[os.environ.get("LOOP_SEARCH", "quick")])
