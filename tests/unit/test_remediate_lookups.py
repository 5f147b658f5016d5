"""What is asked at once before a judgement: ledger, mode and clusters; each once, and no more than is needed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from node_remediation.cluster import Facts
from node_remediation.lookup import LookupFailedError
from node_remediation.model import Handling
from node_remediation.settings import Settings
from node_remediation.together import Task
from tests.unit.fakes import THROTTLED, FakeClusters, FakeMode, World, health_event, instance_id, message


@dataclass
class CountingMode(FakeMode):
    asked: int = 0

    def get(self) -> str:
        self.asked += 1
        return super().get()


@dataclass
class CountingClusters(FakeClusters):
    """`throttled` are the clusters that cannot be described for now."""

    throttled: tuple[str, ...] = ()

    def facts(self, name: str) -> Facts:
        if name in self.throttled:
            self.facts_asked.append(name)
            raise LookupFailedError(THROTTLED)
        return super().facts(name)


@dataclass
class Counter:
    """Runs tasks in turn, and keeps how many there were at once."""

    at_once: list[int] = field(default_factory=list)

    def __call__(self, tasks: Sequence[Task]) -> None:
        self.at_once.append(len(tasks))
        for task in tasks:
            task()


def _handle(world: World, *clusters: str, status: str = "Unhealthy") -> Handling:
    events = [health_event(instance_id(n), cluster=name, status=status) for n, name in enumerate(clusters)]
    return world.handle(*(message(event, id=f"m-{n}") for n, event in enumerate(events)))


def _world(**more: object) -> tuple[World, CountingMode, CountingClusters, Counter]:
    mode, clusters, counter = CountingMode(), CountingClusters(), Counter()
    world = World(mode=mode, clusters=clusters, together=counter, **more)  # type: ignore[arg-type]
    return world, mode, clusters, counter


def test_ledger_mode_and_clusters_are_asked_at_once_and_each_once() -> None:
    """Two clusters, the mode and the ledger; then the record and the check of the last call."""
    world, mode, clusters, counter = _world()
    handling = _handle(world, "ml-a", "ml-b", "ml-a")
    assert [each.outcome.value for each in handling.endings] == ["rebooted"] * 3
    assert counter.at_once == [4, 1, 2]
    assert (mode.asked, sorted(clusters.facts_asked)) == (1, ["ml-a", "ml-b"])


def test_report_of_health_asks_the_ledger_alone() -> None:
    """Nothing is judged."""
    world, mode, clusters, counter = _world()
    _handle(world, "ml-a", status="Healthy")
    assert (counter.at_once, mode.asked, clusters.facts_asked) == ([1], 0, [])


def test_cluster_that_is_not_allowed_is_not_described() -> None:
    """The settings say enough."""
    world, mode, clusters, counter = _world(settings=Settings(clusters=("ml-b",)))
    assert [each.code for each in _handle(world, "ml-a").endings] == ["ClusterNotAllowed"]
    assert (counter.at_once, mode.asked, clusters.facts_asked) == ([2], 1, [])


def test_mode_that_cannot_be_had_hands_back_and_is_not_asked_again() -> None:
    """Nor does it matter what the others answered."""
    world, mode, _, _ = _world()
    mode.error = THROTTLED
    assert list(_handle(world, "ml-a", "ml-b").handed_back) == ["m-0", "m-1"]
    assert (mode.asked, world.rebooter.calls) == (1, [])


def test_cluster_that_cannot_be_described_holds_up_no_other() -> None:
    """Its report comes again; it is not asked for twice."""
    world, _, clusters, _ = _world()
    clusters.throttled = ("ml-a",)
    handling = _handle(world, "ml-a", "ml-b")
    assert list(handling.handed_back) == ["m-0"]
    assert [(each.case.cluster, each.outcome.value) for each in handling.endings] == [("ml-b", "rebooted")]
    assert sorted(clusters.facts_asked) == ["ml-a", "ml-b"]
