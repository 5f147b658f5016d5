"""API calls for n nodes of one cluster: ours takes them in one batch, the naive build one by one."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.builds import NAIVE, OURS, Build
from bench.reports import Report, batch
from bench.rie import Function
from bench.world import Bench, World, world

NODES = (1, 25, 30, 500)
PROTECTED_NODES = 30


@dataclass(frozen=True, slots=True)
class Count:
    """What one build asked of AWS, in a new execution environment unless `warm`, for reports of `nodes` nodes.

    `log_bytes` is what goes to CloudWatch Logs: the function's lines and the platform's three per invocation.
    """

    build: str
    nodes: int
    protected: bool
    warm: bool
    invocations: int
    calls: dict[str, int]
    writes: int
    reads: int
    duration_ms: float
    log_bytes: int

    def of(self, service: str) -> int:
        return sum(count for name, count in self.calls.items() if name.startswith(f"{service}:"))

    @property
    def total(self) -> int:
        return sum(self.calls.values())

    @property
    def reboots(self) -> int:
        return self.calls.get("sagemaker:BatchRebootClusterNodes", 0)


def measure(bench: Bench) -> tuple[Count, ...]:
    """Calls do not depend on how late they are answered: here, at once."""
    counts: list[Count] = []
    with world(bench, seconds=0) as stage:
        for build in (bench.builds[NAIVE], bench.builds[OURS]):
            for nodes in NODES:
                counts += _both(stage, build, nodes)
            counts += _both(stage, build, PROTECTED_NODES, protected=1)
    return tuple(counts)


def _both(stage: World, build: Build, nodes: int, *, protected: int = 0) -> list[Count]:
    """As many nodes again, of the same cluster, in the execution environment that is warm then."""
    reports = stage.cluster(2 * nodes, protected=protected)
    with stage.function(build) as function:
        return [
            _count(stage, build, function, part, protected=bool(protected), warm=warm)
            for warm, part in ((False, reports[:nodes]), (True, reports[nodes:]))
        ]


def _count(
    stage: World, build: Build, function: Function, reports: Sequence[Report], *, protected: bool, warm: bool
) -> Count:
    stage.endpoint.forget()
    before = function.log_bytes()
    events = [batch(reports)] if build.takes_batches else [batch([each]) for each in reports]
    duration = sum(function.invoke(event).duration_ms for event in events)
    return Count(
        build=build.name,
        nodes=len(reports),
        protected=protected,
        warm=warm,
        invocations=len(events),
        calls=dict(stage.endpoint.calls),
        writes=stage.endpoint.units.writes,
        reads=stage.endpoint.units.reads,
        duration_ms=duration,
        log_bytes=function.log_bytes() - before,
    )
