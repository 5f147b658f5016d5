"""The scripted night: what happens, and what must become of each node. What does become of it is read elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from local.demo.checks import Expected, Fate
from local.demo.events import (
    cluster_event,
    contributor_event,
    health_event,
    muted_event,
    parent_event,
    set_off_alarm,
)
from local.demo.stage import Node, Stage

_RACK = slice(60, 90)
_MALFORMED = "i-12345678abcdefghi"  # from AWS's documented sample event: g, h and i are no hexadecimal digits


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens in the night."""

    title: str
    expected: tuple[Expected, ...]
    play: Callable[[Stage], None]
    alarm: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What its events are known by: its nodes, and an alarm whose own event names none of them."""
        return (*(one.node for one in self.expected), *([self.alarm] if self.alarm else []))


Scene = tuple[Step, ...]  # steps that happen at the same time


@dataclass(frozen=True, slots=True)
class Night:
    """The scenes in their order, and the node that another operation keeps busy until it is freed."""

    scenes: tuple[Scene, ...]
    busy: Node

    @property
    def expected(self) -> tuple[Expected, ...]:
        return tuple(one for scene in self.scenes for step in scene for one in step.expected)

    @property
    def groups(self) -> tuple[int, ...]:
        """How many nodes are to be rebooted in each step."""
        sizes = (sum(one.fate is Fate.REBOOTED for one in step.expected) for scene in self.scenes for step in scene)
        return tuple(size for size in sizes if size)

    @property
    def after_redrive(self) -> tuple[Expected, ...]:
        """What must become of the dead letters once the busy node is free: the others fail as before."""
        failures = (one for one in self.expected if one.fate is Fate.FAILED)
        freed = Expected(self.busy.instance_id, Fate.REBOOTED, instance=self.busy.instance_id)
        return tuple(freed if one.node == freed.node else one for one in failures)


def plan_night(nodes: tuple[Node, ...]) -> Night:
    """The script, for a cluster of 200 nodes."""
    busy = nodes[101]
    scenes = (
        (_reported(nodes[7]),),
        (_alarmed(nodes[23]),),
        (_contributors(nodes[40:43]),),
        (_rack(nodes[_RACK]),),
        (_in_use(busy), _gone(nodes[115]), _logical(nodes[130]), _malformed(), _muted(nodes[150])),
    )
    return Night(scenes, busy)


def _rebooted(node: Node) -> Expected:
    return Expected(node.instance_id, Fate.REBOOTED, instance=node.instance_id)


def _reported(node: Node) -> Step:
    return Step("HyperPod reports a node unhealthy", (_rebooted(node),), lambda stage: stage.break_node(node))


def _alarmed(node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.break_node(node, event=False)
        set_off_alarm(stage, "hyperpod-node-pending-reboot", node)

    return Step("A CloudWatch alarm goes off; it knows the EKS name only", (_rebooted(node),), play)


def _contributors(nodes: tuple[Node, ...]) -> Step:
    alarm = "hyperpod-nodes-pending-reboot"

    def play(stage: Stage) -> None:
        for node in nodes:
            stage.break_node(node, event=False)
        series = (contributor_event(stage, alarm, node) for node in nodes)
        stage.aws.put_events(parent_event(stage, alarm), *series)

    return Step("One alarm over many nodes goes off for three of them", tuple(map(_rebooted, nodes)), play, alarm)


def _rack(nodes: tuple[Node, ...]) -> Step:
    def play(stage: Stage) -> None:
        for node in nodes:
            stage.break_node(node)

    return Step(f"A rack of {len(nodes)} nodes fails at once", tuple(map(_rebooted, nodes)), play)


def _in_use(node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.set_node(node, in_use=True)
        stage.break_node(node)

    expected = replace(_rebooted(node), fate=Fate.FAILED, code="InstanceIdInUse")
    return Step("A node is unhealthy while another operation uses it", (expected,), play)


def _gone(node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.set_node(node, gone=True)
        stage.break_node(node)

    return Step(
        "A node is reported that is gone", (Expected(node.instance_id, Fate.FAILED, "InstanceIdNotFound"),), play
    )


def _logical(node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.set_node(node, fail={"code": "InternalServerError"})
        stage.break_node(node, event=False)
        stage.aws.put_events(cluster_event(stage, node.logical_id))

    return Step(
        "A cluster event has a logical ID only, and the reboot fails",
        (Expected(node.logical_id, Fate.FAILED, "InternalServerError"),),
        play,
    )


def _malformed() -> Step:
    return Step(
        "An ID is malformed",
        (Expected(_MALFORMED, Fate.FAILED, "ValidationException"),),
        lambda stage: stage.aws.put_events(health_event(stage, _MALFORMED)),
    )


def _muted(node: Node) -> Step:
    return Step(
        "An alarm goes off while it is muted",
        (Expected(node.instance_id, Fate.LEFT_ALONE),),
        lambda stage: stage.aws.put_events(muted_event(stage, "hyperpod-node-pending-reboot", node)),
    )
