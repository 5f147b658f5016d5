"""Scripts the night: what happens, and what must become of each node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from local.demo import guarded, reports
from local.demo.checks import Expected, Fate
from local.demo.clusters import Clusters, Node
from local.demo.readings import Readings
from local.demo.step import Scene, Step

_RACK = slice(60, 90)
_SICK_OF_RESEARCH = 12


@dataclass(frozen=True, slots=True)
class Group:
    """Holds nodes that had the same fate in the night, and must have the same one after the redrive."""

    title: str
    claim: str
    expected: tuple[Expected, ...]


@dataclass(frozen=True, slots=True)
class Night:
    """Holds the scenes in their order, the steps that later parts return to, and the node in use for a while."""

    scenes: tuple[Scene, ...]
    busy: Node
    budget: Step
    storm: Step
    slurm: Step
    pause: Step

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for scene in self.scenes for step in scene)

    @property
    def expected(self) -> tuple[Expected, ...]:
        return tuple(one for step in self.steps for one in step.expected)

    @property
    def reboots(self) -> tuple[int, ...]:
        """Return how many nodes are to be rebooted in each step that has some."""
        return tuple(step.reboots for step in self.steps if step.reboots)

    def after_redrive(self, night: Readings) -> tuple[Group, ...]:
        """Return what must become of the letters that the night left."""
        freed = [one for one in self.expected if one.node == self.busy.instance_id]
        over_budget = [one for one in self.budget.expected if night.letters_of(one.node)]
        failing = [one for one in self.expected if one.fate is Fate.FAILED and one not in freed]
        spared = [one for one in self.slurm.expected if one.fate is Fate.REFUSED]
        return (
            Group("was in use", "the node that was in use is rebooted", _now(Fate.REBOOTED, freed)),
            Group(
                "over the budget",
                f"the {len(over_budget)} nodes that were over the budget are rebooted",
                _now(Fate.REBOOTED, over_budget),
            ),
            Group(
                "reported in the pause",
                "the node that was reported in the pause is rebooted",
                _now(Fate.REBOOTED, self.pause.expected),
            ),
            Group(
                "Slurm controller",
                "the Slurm controller is refused again",
                _now(Fate.REFUSED_AGAIN, spared),
            ),
            Group(
                "the others",
                "the others failed again, and are on the topic",
                _now(Fate.FAILED_AGAIN, failing),
            ),
        )


def plan_night(clusters: Clusters, outputs: Mapping[str, str]) -> Night:
    """Return the script."""
    training, nodes = clusters.training, clusters.training.nodes
    busy = nodes[101]
    budget = guarded.budget(clusters.research, _SICK_OF_RESEARCH)
    storm = guarded.storm(training, nodes[30])
    slurm, pause = guarded.slurm(clusters.slurm), guarded.pause(outputs, nodes[160])
    scenes = (
        (reports.reported(nodes[7]),),
        (reports.alarmed(nodes[23]),),
        (reports.contributors(nodes[40:43]),),
        (reports.rack(nodes[_RACK]),),
        (
            reports.in_use(busy),
            reports.gone(clusters.research.nodes[30]),
            reports.logical(training, nodes[130]),
            reports.malformed(training),
            reports.muted(nodes[150]),
        ),
        (budget,),
        (storm, guarded.managed(clusters.managed, clusters.managed.nodes[3]), slurm),
        (pause,),
    )
    return Night(scenes, busy, budget, storm, slurm, pause)


def _now(fate: Fate, expected: Sequence[Expected]) -> tuple[Expected, ...]:
    return tuple(replace(one, fate=fate) for one in expected)
