"""Scripts the steps of the night in which a node is reported and rebooted, or SageMaker says why not."""

from local.demo.checks import Expected, Fate
from local.demo.clusters import Cluster, Node
from local.demo.events import (
    calm_contributor,
    cluster_event,
    contributor_event,
    health_event,
    muted_event,
    parent_event,
    set_off_alarm,
)
from local.demo.stage import Stage
from local.demo.step import Step, expect, rebooted

_MALFORMED = "i-12345678abcdefghi"  # from AWS's documented sample event: g, h and i are no hexadecimal digits


def reported(node: Node) -> Step:
    return Step("HyperPod reports a node unhealthy", (rebooted(node),), lambda stage: stage.break_node(node))


def alarmed(node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.break_node(node, event=False)
        set_off_alarm(stage, "hyperpod-node-pending-reboot", node)

    return Step("A CloudWatch alarm goes off; it knows the EKS name only", (rebooted(node),), play)


def contributors(nodes: tuple[Node, ...]) -> Step:
    alarm = "hyperpod-nodes-pending-reboot"

    def play(stage: Stage) -> None:
        for node in nodes:
            stage.break_node(node, event=False)
        series = (contributor_event(stage, alarm, node) for node in nodes)
        stage.aws.put_events(parent_event(stage, alarm), *series)
        for node in nodes:
            calm_contributor(stage, alarm, node)

    return Step("One alarm over many nodes goes off for three of them", tuple(map(rebooted, nodes)), play, alarm)


def rack(nodes: tuple[Node, ...]) -> Step:
    def play(stage: Stage) -> None:
        for node in nodes:
            stage.break_node(node)

    return Step(f"A rack of {len(nodes)} nodes fails at once", tuple(map(rebooted, nodes)), play)


def in_use(node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.set_node(node, in_use=True)
        stage.break_node(node)

    expected = expect(node, Fate.FAILED, "InstanceIdInUse")
    return Step("A node is unhealthy while another operation uses it", (expected,), play)


def gone(node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.set_node(node, gone=True)
        stage.break_node(node)

    title = f"{node.cluster}: a node is reported that is gone"
    return Step(title, (expect(node, Fate.FAILED, "InstanceIdNotFound"),), play)


def logical(cluster: Cluster, node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.set_node(node, fail={"code": "InternalServerError"})
        stage.break_node(node, event=False)
        stage.aws.put_events(cluster_event(cluster, node.logical_id))

    return Step(
        "A cluster event has a logical ID only, and the reboot fails",
        (Expected(node.logical_id, Fate.FAILED, "InternalServerError"),),
        play,
    )


def malformed(cluster: Cluster) -> Step:
    return Step(
        "An ID is malformed",
        (Expected(_MALFORMED, Fate.FAILED, "ValidationException"),),
        lambda stage: stage.aws.put_events(health_event(cluster, _MALFORMED)),
    )


def muted(node: Node) -> Step:
    return Step(
        "An alarm goes off while it is muted",
        (expect(node, Fate.LEFT_ALONE),),
        lambda stage: stage.aws.put_events(muted_event(stage, "hyperpod-node-pending-reboot", node)),
    )
