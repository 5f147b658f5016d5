"""How rebooted and deferred nodes end, searched: days of reports, losses, crashes and lateness, then the promises."""

from collections.abc import Iterable
from datetime import timedelta

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from node_remediation.model import Outcome
from node_remediation.settings import Settings, SettingsError
from node_remediation.steps import Step
from tests.ledger.promises import broken_at_the_end, broken_promises
from tests.ledger.story import CALM, Becomes, Plan, Source, Story, Trouble, Way
from tests.unit.fakes import DENIED, NOW, THROTTLED

# The same stories in every check; long enough for several chains of checks at once.
_SEARCH = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=set(Phase) - {Phase.explain},
)


def _minutes(*values: float) -> st.SearchStrategy[timedelta]:
    return st.sampled_from([timedelta(minutes=value) for value in values])


def _valid(**values: object) -> Settings | None:
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except SettingsError:
        return None


limits = (
    st.builds(
        _valid,
        cooldown=_minutes(10, 30, 60, 180),
        max_reboots_per_node=st.integers(1, 3),
        max_reboots_window=_minutes(180, 1440),
        budget_percent=st.just(100),
        budget_window=_minutes(180),
        verify_after=_minutes(1, 5, 15, 20, 40),
        verify_timeout=_minutes(1, 15, 45, 75, 120, 150),
        retry_attempts=st.integers(0, 3),
        retry_delay=_minutes(0.5, 2, 15),
        notify_rebooted=st.booleans(),
    )
    .filter(lambda limits: limits is not None)
    .map(lambda limits: limits or Settings())
)
ways = st.builds(
    Way,
    lost=st.sampled_from([False, False, True]),
    copies=st.sampled_from([1, 1, 2]),
    late=_minutes(0, 0, 0, 2, 20, 70),
)
plans = st.builds(Plan, becomes=st.sampled_from(Becomes), after=_minutes(0.1, 5, 12, 40, 200), way=ways)
answers = st.lists(
    st.sampled_from(
        ["started", "lost", "lost before", "InstanceIdInUse", "InstanceIdInUse", "InternalServerError", "NoCapacity"]
    ),
    max_size=4,
)
troubles = st.one_of(
    st.just(CALM),
    st.builds(Trouble, crash=st.sampled_from(Step)),
    st.builds(
        Trouble,
        crash=st.none() | st.sampled_from(Step),
        rival_at=st.none() | st.sampled_from(Step),
        rival_at_save=st.none() | st.integers(1, 4),
        letters_down=st.sampled_from([False, False, True]),
        topic_down=st.sampled_from([False, False, True]),
        intake_down=st.sampled_from([False, False, True]),
        ledger_down=st.none() | st.sampled_from([Step.CLAIM, Step.RECORD, Step.END, Step.SETTLE]),
        nodes=st.sampled_from([None, None, THROTTLED, DENIED]),
        alarms=st.sampled_from([None, None, THROTTLED, DENIED]),
    ),
)
slots = st.integers(0, 2)


class Machine(RuleBasedStateMachine):
    """A story told by rules; what breaks is shown with the whole of its log."""

    story: Story

    @initialize(limits=limits)
    def begin(self, limits: Settings) -> None:
        self.story = Story(limits)
        for name in ("cooldown", "max_reboots_per_node", "verify_after", "verify_timeout", "retry_attempts"):
            self.story.log(f"{name} {getattr(limits, name)}")

    @rule(
        slot=slots,
        source=st.sampled_from(Source),
        way=ways,
        action=st.sampled_from(["None", "None", "Reboot", "Replace"]),
        muted=st.none() | st.none() | _minutes(5, 100, 400),
        then=plans,
        repair=plans,
    )
    def falls_ill(  # noqa: PLR0917  hypothesis gives them by name
        self, slot: int, source: Source, way: Way, action: str, muted: timedelta | None, then: Plan, repair: Plan
    ) -> None:
        node = self.story.slots[slot]
        node.plan, node.repair = then, repair
        self.story.falls_ill(node, source, way, action=action, muted=muted)

    @rule(slot=slots, answers=answers)
    def api_will_answer(self, slot: int, answers: list[str]) -> None:
        self.story.slots[slot].answers = answers

    @rule(slot=slots, way=ways)
    def gets_well_by_itself(self, slot: int, way: Way) -> None:
        self.story.gets_well(self.story.slots[slot], way)

    @rule(slot=slots)
    def is_replaced(self, slot: int) -> None:
        self.story.is_replaced(self.story.slots[slot])

    @rule(slot=slots)
    def operator_asks(self, slot: int) -> None:
        self.story.asks(self.story.slots[slot])

    @precondition(lambda self: self.story.noted.letters)
    @rule(which=st.integers(0, 5))
    def redrive(self, which: int) -> None:
        self.story.redrives(which)

    @rule(mode=st.sampled_from(["active", "active", "paused", "observe"]))
    def operator_sets_mode(self, mode: str) -> None:
        self.story.log(f"mode {mode}")
        self.story.world.mode.mode = mode

    @rule(jitter=st.sampled_from([0.0, 0.5, 0.99]))
    def luck_changes(self, jitter: float) -> None:
        self.story.world.jitter = jitter

    @rule(time=_minutes(0.5, 3, 14, 35, 70))
    def time_passes(self, time: timedelta) -> None:
        """Without a delivery: what is on the queue comes late."""
        self.story.passes(time)

    @precondition(lambda self: self.story.acknowledged)
    @rule(which=st.integers(0, 3))
    def comes_twice(self, which: int) -> None:
        self.story.comes_twice(which)

    @rule(trouble=troubles)
    def deliver_next(self, trouble: Trouble) -> None:
        """As soon as there is something."""
        if (time := self.story.next_time()) is not None:
            self.story.passes(max(time - self.story.now, timedelta(0)))
            self._deliver(self.story.ready(), trouble)

    @rule(trouble=troubles, which=st.lists(st.integers(0, 10), min_size=1, max_size=4))
    def deliver_some(self, trouble: Trouble, which: list[int]) -> None:
        """Any of what is there, in any order."""
        ready = self.story.ready()
        self._deliver(dict.fromkeys(ready[index % len(ready)] for index in which) if ready else (), trouble)

    @rule(hours=st.sampled_from([0.5, 1, 3]))
    def all_goes_well_for_a_while(self, hours: float) -> None:
        end = self.story.now + timedelta(hours=hours)
        while (time := self.story.next_time()) is not None and time <= end:
            self.story.passes(max(time - self.story.now, timedelta(0)))
            self._deliver(self.story.ready(), CALM)
        self.story.passes(end - self.story.now)

    def teardown(self) -> None:
        if hasattr(self, "story"):
            self.story.runs_out()
            self._must_hold(broken_at_the_end(self.story))

    def _deliver(self, ids: Iterable[str], trouble: Trouble) -> None:
        self.story.deliver(list(ids)[:10], trouble)
        self._must_hold(broken_promises(self.story))

    def _must_hold(self, broken: list[str]) -> None:
        assert not broken, "\n".join([*broken, "", *self.story.lines])


def test_every_story_ends_once_whatever_is_lost_doubled_or_late() -> None:
    """Recovered, not recovered or superseded: one of them for each node that was rebooted, deferred or tried again."""
    run_state_machine_as_test(Machine, settings=_SEARCH)


# What the search has found, each in its shortest form.

SICK_FOR_GOOD = Plan(Becomes.SICK, timedelta(days=1), Way(lost=True))


def _goes_on_until(story: Story, minutes: float) -> None:
    while (time := story.next_time()) is not None and time - NOW < timedelta(minutes=minutes):
        story.passes(time - story.now)
        story.deliver(story.ready())
    story.passes(NOW + timedelta(minutes=minutes) - story.now)


def _ends(story: Story) -> list[Outcome]:
    story.runs_out()
    broken = broken_at_the_end(story)
    assert not broken, "\n".join([*broken, "", *story.lines])
    return [end for ends in story.noted.ends.values() for end in ends]


def test_watch_that_ended_before_its_reboot_was_reported_does_not_begin_again() -> None:
    """Killed after the answer was recorded; the node was well before the message came again."""
    story = Story(Settings())
    story.falls_ill(story.slots[2])
    story.deliver(story.ready(), Trouble(crash=Step.END))
    assert _ends(story) == [Outcome.RECOVERED]


def test_operators_request_that_is_refused_does_not_make_a_well_node_ill() -> None:
    """What a person asks for says nothing of the node's health: no second reboot, no alarm in the night."""
    story = Story(Settings(cooldown=timedelta(minutes=10)))
    story.falls_ill(story.slots[2], Source.HEALTH)
    story.slots[2].plan = Plan(after=timedelta(minutes=1), way=Way(late=timedelta(seconds=1)))
    story.deliver(story.ready())
    story.passes(timedelta(minutes=1))
    story.asks(story.slots[2])
    story.passes(timedelta(seconds=2))
    assert _ends(story) == [Outcome.RECOVERED]
    assert len(story.noted.reboots) == 1


def test_recovery_is_told_to_people_who_hear_of_the_reboot_only_afterwards() -> None:
    """Killed between the lost answer and its report; the health event came first."""
    story = Story(Settings())
    story.slots[2].answers = ["lost"]
    story.falls_ill(story.slots[2])
    story.deliver(story.ready(), Trouble(crash=Step.END))
    assert _ends(story) == [Outcome.RECOVERED]


def test_end_of_a_retry_that_another_delivery_decided_stays_until_it_is_told() -> None:
    """The retry's own check came between the decision and its report."""
    story = Story(Settings(retry_attempts=1))
    node = story.slots[2]
    node.answers = ["InstanceIdInUse"]
    story.falls_ill(node)
    story.deliver(story.ready())
    story.gets_well(node)
    story.deliver(story.ready(), Trouble(crash=Step.DEAD_LETTER))
    assert _ends(story) == [Outcome.RECOVERED]


def test_last_check_does_not_end_the_reboot_that_the_same_batch_began() -> None:
    """The check gives up the first reboot while a new report has the node rebooted."""
    story = Story(Settings(cooldown=timedelta(hours=1), verify_timeout=timedelta(hours=2)))
    node = story.slots[2]
    node.plan = SICK_FOR_GOOD
    story.falls_ill(node)
    _goes_on_until(story, 119)
    node.plan = Plan()
    story.falls_ill(node)
    story.passes(timedelta(minutes=2))
    story.deliver(story.ready())
    assert _ends(story) == [Outcome.RECOVERED]


def test_deferred_node_that_was_reported_well_meanwhile_is_not_given_up() -> None:
    """Another invocation took in the health event while this one left the node to HyperPod."""
    story = Story(Settings())
    node = story.slots[0]
    node.repair = SICK_FOR_GOOD
    story.falls_ill(node, action="Reboot")
    ill = story.ready()
    story.passes(timedelta(minutes=1))
    story.gets_well(node)
    story.deliver(ill, Trouble(rival_at=Step.SEND_ON))
    assert _ends(story) == [Outcome.RECOVERED]


def test_check_at_its_last_receive_does_not_contradict_an_end_that_another_wrote() -> None:
    """The node could not be asked for; meanwhile its health was reported."""
    story = Story(Settings())
    node = story.slots[2]
    node.plan = SICK_FOR_GOOD
    story.falls_ill(node)
    _goes_on_until(story, 45)
    story.passes(timedelta(seconds=1))
    for _ in range(4):
        story.deliver(story.ready(), Trouble(nodes=THROTTLED))
        story.passes(timedelta(minutes=4))
    last = story.ready()
    story.gets_well(node)
    story.deliver(last, Trouble(nodes=THROTTLED, rival_at=Step.END))
    assert _ends(story) == [Outcome.RECOVERED]


def test_check_that_goes_on_is_sent_beside_a_retry_that_the_ledger_does_not_take_up() -> None:
    """An older report is carried on with in the batch of the check of a newer reboot."""
    story = Story(Settings(retry_attempts=1, retry_delay=timedelta(seconds=30), verify_after=timedelta(minutes=6)))
    node = story.slots[2]
    node.plan = SICK_FOR_GOOD
    node.answers = ["InstanceIdInUse", "InstanceIdInUse", "started"]
    story.falls_ill(node)
    story.deliver(story.ready())
    story.passes(timedelta(seconds=20))
    story.asks(node)
    story.deliver(story.ready(), Trouble(crash=Step.END))
    story.passes(timedelta(seconds=12))
    story.deliver(story.ready())
    story.passes(timedelta(minutes=7))
    story.deliver(story.ready()[::-1])
    assert _ends(story) == [Outcome.NOT_RECOVERED]


def test_second_reboot_that_the_api_refuses_does_not_end_the_story_of_the_first() -> None:
    """The cooldown is over and the node is still ill, but busy: people hear of that, and at last of the end."""
    story = Story(Settings(cooldown=timedelta(minutes=10)))
    node = story.slots[2]
    node.plan = Plan(Becomes.SICK, timedelta(minutes=1))
    node.answers = ["started", *["InstanceIdInUse"] * 9]
    story.falls_ill(node)
    assert _ends(story) == [Outcome.NOT_RECOVERED]
