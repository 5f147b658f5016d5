"""Scripts all that happens, scene by scene, and what must become of each node."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from local.aws import LocalAws
from local.demo import expectations as must
from local.demo.acting import STORM_REPORTS, Actors, SimulatedNode, mode_command
from local.demo.draining import DrainHook
from local.demo.expectations import LEFT_ALONE, REBOOTED, Expected, Fate, failed, refused
from local.demo.looking import Readings
from local.staging import SimulatedCluster, cluster_entry, health_entry

READER = "oncall@example.com"
# What the local AWS is deployed with besides cdk.json; short windows, so that no one waits for a batch to fill
# or a burst to end.
CONTEXT = {
    "remediation.batch_window": "1s",
    "remediation.burst_window": "1s",
    "remediation.notification_emails": READER,
    "remediation.healthy_for": "1s",
}
# How long a budget stays spent: longer than a slow machine takes for its reports, and yet short enough to wait for.
BUDGET_SECONDS = 30
_BUDGET_PERCENT, _RESEARCH_NODES = 20, 40
BUDGET_NODES = _RESEARCH_NODES * _BUDGET_PERCENT // 100
# The cooldown may not be longer than the budget's window.
NIGHT = CONTEXT | {
    "remediation.budget_percent": str(_BUDGET_PERCENT),
    "remediation.budget_window": f"{BUDGET_SECONDS}s",
    "remediation.cooldown": f"{BUDGET_SECONDS}s",
}
# All of it, as the CDK CLI remembers nothing of the context of the deploy before.
ENDINGS = NIGHT | {
    "remediation.cooldown": "8s",
    "remediation.verify_after": "3s",
    "remediation.verify_timeout": "14s",
    "remediation.repair_timeout": "14s",
    "remediation.retry_attempts": "2",
    "remediation.retry_delay": "3s",
    "remediation.overrides": '[{"source": "alarm:hyperpod-reboot-ask-*", "action": "ask"}]',
}
_SLOW = {"seconds": 5}  # not back at the first look, and long before the time-out
# Late enough for the report to be handled before the repair is over, also on a slow machine.
_REPAIR = {"after_seconds": 5, "seconds": 2, "ends": "recovers"}
_STUCK_REPAIR = {"ends": "stuck", "status": "Pending", "message": "No spare instance is available"}
_SICK_OF_RESEARCH = 12
_MALFORMED = "i-12345678abcdefghi"  # from AWS's documented sample event: g, h and i are no hexadecimal digits


@dataclass(frozen=True, slots=True)
class Clusters:
    """Holds a big one, one whose budget is soon spent, one that HyperPod repairs by itself, one on Slurm."""

    training: SimulatedCluster
    research: SimulatedCluster
    managed: SimulatedCluster
    slurm: SimulatedCluster

    @classmethod
    def make(cls, aws: LocalAws) -> "Clusters":
        """Make all four. Those on EKS are Continuous, so that their nodes have logical IDs."""
        on_eks = {"node_recovery": "None", "continuous": True, "reboot_seconds": 2.0}
        groups = [
            {"name": "controller", "count": 1, "slurm_node_type": "Controller"},
            {"name": "workers", "count": 8, "slurm_node_type": "Compute"},
        ]
        on_slurm = on_eks | {"continuous": False, "orchestrator": "slurm", "groups": groups}
        return cls(
            training=SimulatedCluster.make(aws, "ml-training", nodes=200, **on_eks),
            research=SimulatedCluster.make(aws, "ml-research", nodes=_RESEARCH_NODES, **on_eks),
            managed=SimulatedCluster.make(aws, "ml-managed", nodes=16, **on_eks | {"node_recovery": "Automatic"}),
            slurm=SimulatedCluster.make(aws, "ml-slurm", **on_slurm),
        )

    def about(self) -> Iterator[tuple[SimulatedCluster, str]]:
        yield self.training, "EKS, node recovery None"
        yield self.research, "EKS, node recovery None"
        yield self.managed, "EKS, node recovery Automatic"
        yield self.slurm, "Slurm, one of them the controller"


Check = Callable[[Readings], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Step:
    """Describes what happens, what must become of which nodes, and the claim of the verdict that this belongs to.

    `command` is an operator's. `alarm` has events that name none of the nodes. `rebooted` is how many are to be
    rebooted. `check` adds to what each node's fate says. `tallied` shows what became of each report besides.
    """

    title: str
    claim: str
    expected: tuple[Expected, ...]
    play: Callable[[Actors], None] = field(default=lambda _: None)
    alarm: str | None = None
    command: str = ""
    rebooted: int = 0
    check: Check | None = None
    tallied: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Return what its events are known by."""
        return (*(one.node for one in self.expected), *([self.alarm] if self.alarm else []))

    def problems(self, seen: Readings) -> list[str]:
        """Return everything that is not, or not yet, as it must be."""
        of_nodes = (problem for one in self.expected for problem in one.problems(seen))
        return [*of_nodes, *(self.check(seen) if self.check else ())]


Scene = tuple[Step, ...]  # steps that happen at the same time

_WELL = "each is healthy again, and the log says once that it recovered"
_FAILED = "4 could not be: in the DLQ, on the topic, mailed, in SageMaker's words"
_REFUSED = "2 more were refused, ProtectedNode and Paused: DLQ, topic, mail"
_ALONE = "2 were left alone: one of a muted alarm, one that HyperPod replaces"
_FREED = "redrive: those in use, over the budget or paused are rebooted now"
_AGAIN = "redrive: the controller is refused again, the 3 others fail again"


def _expect(fate: Fate, *nodes: SimulatedNode) -> tuple[Expected, ...]:
    return tuple(Expected(node.id, (fate,)) for node in nodes)


def _breaks(title: str, claim: str, fate: Fate, *nodes: SimulatedNode, **how: object) -> Step:
    """Return a step in which HyperPod reports nodes unhealthy; `how` they end is scripted."""

    def play(actors: Actors) -> None:
        for node in nodes:
            actors.break_node(node, **how)

    return Step(title, claim, _expect(fate, *nodes), play, rebooted=fate.reboots * len(nodes))


def _alarms(title: str, claim: str, fate: Fate, node: SimulatedNode, alarm: str) -> Step:
    def play(actors: Actors) -> None:
        actors.break_node(node, event=False)
        actors.set_off(alarm, node)

    return Step(title, claim, _expect(fate, node), play, rebooted=fate.reboots)


def _series(nodes: Sequence[SimulatedNode]) -> Step:
    alarm = "hyperpod-reboot-pending-nodes"

    def play(actors: Actors) -> None:
        for node in nodes:
            actors.break_node(node, event=False)
        actors.set_off_series(alarm, *nodes)

    title = f"One alarm over many nodes goes off for {len(nodes)} of them"
    return Step(title, _WELL, _expect(REBOOTED, *nodes), play, alarm, rebooted=len(nodes))


def _unwilling(title: str, node: SimulatedNode, code: str, **script: object) -> Step:
    """Return a step in which SageMaker does not reboot a node that HyperPod reports."""

    def play(actors: Actors) -> None:
        actors.set_node(node, **script)
        actors.break_node(node)

    return Step(title, _FAILED, _expect(failed(code), node), play)


def _logical(node: SimulatedNode) -> Step:
    def play(actors: Actors) -> None:
        actors.set_node(node, fail={"code": "InternalServerError"})
        actors.break_node(node, event=False)
        actors.aws.put_events(cluster_entry(node.cluster, None, node.logical_id))

    fate = failed("InternalServerError", topic="FailedNodeLogicalIds")
    title = "A cluster event has a logical ID only, and the reboot fails"
    return Step(title, _FAILED, (Expected(node.logical_id, (fate,)),), play)


def _malformed(cluster: SimulatedCluster) -> Step:
    expected = Expected(_MALFORMED, (failed("ValidationException"),))
    play = lambda actors: actors.aws.put_events(health_entry(cluster, _MALFORMED))  # noqa: E731  # one line says it
    return Step("An ID is malformed", _FAILED, (expected,), play)


def _muted(node: SimulatedNode, alarm: str) -> Step:
    play = partial(Actors.set_off_muted, alarm=alarm, node=node)
    return Step("An alarm goes off while it is muted", _ALONE, _expect(LEFT_ALONE, node), play)


def _budget(cluster: SimulatedCluster) -> Step:
    nodes = _nodes(cluster, slice(_SICK_OF_RESEARCH))
    expected = tuple(Expected(node.id, (REBOOTED, refused("ClusterBudgetExceeded"))) for node in nodes)
    over = len(nodes) - BUDGET_NODES
    return Step(
        f"{cluster.name}: {len(nodes)} of {len(cluster.nodes)} nodes fail; the budget is {_BUDGET_PERCENT} %",
        f"the budget let {BUDGET_NODES} of {len(nodes)} nodes be rebooted and refused the other {over}",
        expected,
        _breaks("", "", REBOOTED, *nodes).play,
        rebooted=BUDGET_NODES,
        check=partial(must.budget_problems, expected, BUDGET_NODES),
    )


def _storm(node: SimulatedNode) -> Step:
    def play(actors: Actors) -> None:
        actors.break_node(node, event=False)
        actors.report_often("hyperpod-reboot-pending-nodes", node)

    return Step(
        f"One node is reported {STORM_REPORTS} times, by HyperPod and by an alarm",
        f"one node's {STORM_REPORTS} reports were one reboot and no message",
        _expect(REBOOTED, node),
        play,
        rebooted=1,
        check=partial(must.storm_problems, node.id, STORM_REPORTS),
        tallied=True,
    )


def _managed(node: SimulatedNode) -> Step:
    def play(actors: Actors) -> None:
        actors.break_node(node, repair_action="Replace")
        actors.set_off("hyperpod-reboot-managed-node", node)

    title = f"{node.cluster.name}: HyperPod itself replaces a node; an alarm goes off too"
    return Step(title, _ALONE, _expect(LEFT_ALONE, node), play, tallied=True)


def _pause(node: SimulatedNode, outputs: Mapping[str, str]) -> Step:
    def play(actors: Actors) -> None:
        actors.set_mode("paused")
        actors.forget_mode()
        actors.break_node(node)

    title, command = "An operator pauses everything, and a node fails", mode_command(outputs, "paused")
    return Step(title, _REFUSED, _expect(refused("Paused"), node), play, command=command)


@dataclass(frozen=True, slots=True)
class Night:
    """Holds the scenes in their order, and what the redrive returns to."""

    scenes: tuple[Scene, ...]
    busy: SimulatedNode
    budget: Step

    @property
    def steps(self) -> list[Step]:
        return [step for scene in self.scenes for step in scene]


def plan_night(clusters: Clusters, outputs: Mapping[str, str]) -> Night:
    """Return the script of the night."""
    training = _nodes(clusters.training, slice(None))
    controller, worker = _nodes(clusters.slurm, slice(2))
    gone, managed = SimulatedNode(clusters.research, clusters.research.nodes[30]), _nodes(clusters.managed, slice(3, 4))
    alarm, head, other = (
        "hyperpod-reboot-pending-node",
        "hyperpod-reboot-slurm-controller",
        "hyperpod-reboot-slurm-worker",
    )
    busy, budget, rack = training[101], _budget(clusters.research), training[60:90]
    scenes = (
        (_breaks("HyperPod reports a node unhealthy", _WELL, REBOOTED, training[7]),),
        (_alarms("A CloudWatch alarm goes off; it knows the EKS name only", _WELL, REBOOTED, training[23], alarm),),
        (_series(training[40:43]),),
        (_breaks(f"A rack of {len(rack)} nodes fails at once", _WELL, REBOOTED, *rack),),
        (
            _unwilling("A node is unhealthy while in use by another operation", busy, "InstanceIdInUse", in_use=True),
            _unwilling("ml-research: a node is reported that is gone", gone, "InstanceIdNotFound", gone=True),
            _logical(training[130]),
            _malformed(clusters.training),
            _muted(training[150], alarm),
        ),
        (budget,),
        (
            _storm(training[30]),
            _managed(*managed),
            _alarms(
                "ml-slurm: an alarm goes off for the controller", _REFUSED, refused("ProtectedNode"), controller, head
            ),
            _alarms("ml-slurm: an alarm goes off for a worker", _WELL, REBOOTED, worker, other),
        ),
        (_pause(training[160], outputs),),
    )
    return Night(scenes, busy, budget)


def plan_redrive(night: Night, seen: Readings) -> Scene:
    """Return what must become of the letters that the night left."""
    over_budget = [one.node for one in night.budget.expected if seen.letters_of(one.node)]
    of_code = {letter.reason.code: str(letter.node) for letter in seen.letters}
    now = partial(Expected, fates=(REBOOTED,))
    again = {
        "InstanceIdNotFound": failed("InstanceIdNotFound", again=True),
        "InternalServerError": failed("InternalServerError", topic="FailedNodeLogicalIds", again=True),
        "ValidationException": failed("ValidationException", again=True),
    }
    others = tuple(Expected(of_code[code], (fate,)) for code, fate in again.items() if code in of_code)
    spared = Expected(of_code.get("ProtectedNode", ""), (refused("ProtectedNode", again=True),))
    return (
        Step("The node that was in use", _FREED, (now(night.busy.id),), rebooted=1),
        Step("Those over the budget", _FREED, tuple(map(now, over_budget)), rebooted=len(over_budget)),
        Step("The one that was reported in the pause", _FREED, (now(of_code.get("Paused", "")),), rebooted=1),
        Step("The Slurm controller", _AGAIN, (spared,)),
        Step("The others", _AGAIN, others),
    )


def plan_endings(clusters: Clusters) -> tuple[Scene, ...]:
    """Return what follows: nodes that come back in one way or another, and nodes that do not.

    The first is by itself, while the function starts with its new settings; then come all others together.
    """
    well, sick, gone, slow, busy = _nodes(clusters.training, slice(170, 175))
    repaired, stuck = _nodes(clusters.managed, slice(5, 7))
    [lost] = _nodes(clusters.research, slice(20, 21))
    back = "afterwards: one came back at once, one slowly; no one was told"
    again = "afterwards: one was rebooted again after its cooldown, then given up"
    replaced = "afterwards: one was replaced and noticed to be gone; no one was told"
    by_itself = "afterwards: one was left to HyperPod's own repair, and recovered"
    never = "afterwards: one whose repair is stuck was reported"
    stays_sick = {"reboot": {"ends": "stays_sick", "says_so": True}}
    is_repaired = {"repair_action": "Reboot", "repair": _REPAIR}
    is_stuck = {"repair_action": "Replace", "repair": _STUCK_REPAIR}
    return (_breaks("A node comes back", back, REBOOTED, well),), (
        _breaks("A node is slow to come back", back, REBOOTED, slow, reboot=_SLOW),
        _breaks("A node is sick again after every reboot", again, must.STAYS_SICK, sick, **stays_sick),
        _is_lost(lost),
        _breaks(
            "A node is replaced instead of coming back", replaced, must.IS_REPLACED, gone, reboot={"ends": "replaced"}
        ),
        _is_busy(busy),
        _breaks("ml-managed: HyperPod itself repairs a node", by_itself, must.IS_REPAIRED, repaired, **is_repaired),
        _breaks("ml-managed: HyperPod's own repair of a node is stuck", never, must.STAYS_IN_REPAIR, stuck, **is_stuck),
    )


def plan_asking(clusters: Clusters, hook: DrainHook) -> Scene:
    """Return what people and the drain hook are asked for."""
    approved, vetoed = _nodes(clusters.training, slice(180, 182))
    claim = "asked: one was approved and rebooted, one was vetoed and refused"
    drained = "asked: a hook drained a node, approved, and resumed it afterwards"
    return (
        _answered(
            _alarms("A person approves a reboot", claim, must.IS_APPROVED, approved, "hyperpod-reboot-ask-1"),
            partial(Actors.answer_later, node=approved, verdict="Approved", reason="no job runs on it"),
        ),
        _answered(
            _alarms("A person vetoes one", claim, must.IS_VETOED, vetoed, "hyperpod-reboot-ask-2"),
            partial(Actors.answer_later, node=vetoed, verdict="Vetoed", reason="its run ends in an hour"),
        ),
        replace(
            _alarms(
                "ml-slurm: a hook drains a node, waits for its job, then approves",
                drained,
                must.IS_APPROVED,
                hook.node,
                "hyperpod-reboot-ask-3",
            ),
            check=lambda _: hook.problems(),
        ),
    )


def _answered(step: Step, answer: Callable[[Actors], None]) -> Step:
    def play(actors: Actors) -> None:
        answer(actors)
        step.play(actors)

    return replace(step, play=play)


def _nodes(cluster: SimulatedCluster, which: slice) -> list[SimulatedNode]:
    return [SimulatedNode(cluster, id_) for id_ in cluster.nodes[which]]


def _is_busy(node: SimulatedNode) -> Step:
    def play(actors: Actors) -> None:
        actors.set_node(node, fail={"code": "InstanceIdInUse", "times": 1})
        actors.break_node(node)

    title = "A node is busy when it is to be rebooted, but not for long"
    claim = "afterwards: a busy one was tried again by itself; people heard of it"
    return Step(title, claim, _expect(must.IS_TRIED_AGAIN, node), play, rebooted=1)


def _is_lost(node: SimulatedNode) -> Step:
    def play(actors: Actors) -> None:
        actors.lose_answer(node)
        actors.break_node(node, reboot={"ends": "stays_sick"})

    title = f"{node.cluster.name}: an answer is lost; the node stays sick, Running and silent"
    claim = "afterwards: a sick one of status Running was not called recovered"
    return Step(title, claim, _expect(must.SAYS_NOTHING, node), play, rebooted=1)
