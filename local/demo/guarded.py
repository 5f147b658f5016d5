"""Scripts the steps of the night in which a guard says no, to some of the reports or to all."""

from collections.abc import Mapping

from local.demo.checks import Fate
from local.demo.clusters import BUDGET_NODES, BUDGET_PERCENT, Cluster, Node
from local.demo.events import calm_contributor, contributor_event, health_event, set_off_alarm
from local.demo.mode import forget_mode, mode_command, set_mode
from local.demo.stage import Stage
from local.demo.step import Step, expect, rebooted

STORM_REPORTS = 100
_MOST_PER_PUT = 10  # PutEvents takes no more


def budget(cluster: Cluster, sick: int) -> Step:
    def play(stage: Stage) -> None:
        for node in cluster.nodes[:sick]:
            stage.break_node(node)

    return Step(
        f"{cluster.name}: {sick} of {len(cluster.nodes)} nodes fail, where the budget is {BUDGET_PERCENT} %",
        tuple(expect(node, Fate.BUDGETED, "ClusterBudgetExceeded") for node in cluster.nodes[:sick]),
        play,
        budget=BUDGET_NODES,
    )


def storm(cluster: Cluster, node: Node) -> Step:
    alarm = "hyperpod-nodes-pending-reboot"

    def play(stage: Stage) -> None:
        stage.break_node(node, event=False)
        for _ in range(STORM_REPORTS // _MOST_PER_PUT):
            half = range(_MOST_PER_PUT // 2)
            stage.aws.put_events(
                *(health_event(cluster, node.instance_id) for _ in half),
                *(contributor_event(stage, alarm, node) for _ in half),
            )
        calm_contributor(stage, alarm, node)

    title = f"One node is reported {STORM_REPORTS} times, by HyperPod and by an alarm"
    return Step(title, (rebooted(node),), play, tallied=True)


def managed(cluster: Cluster, node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.break_node(node, repair_action="Replace")
        set_off_alarm(stage, "hyperpod-managed-node", node)

    title = f"{cluster.name}: HyperPod itself replaces a node; an alarm goes off too"
    return Step(title, (expect(node, Fate.LEFT_ALONE),), play, tallied=True)


def slurm(cluster: Cluster) -> Step:
    controller, worker, *_ = cluster.nodes

    def play(stage: Stage) -> None:
        for node, name in ((controller, "controller"), (worker, "worker")):
            stage.break_node(node, event=False)
            set_off_alarm(stage, f"hyperpod-slurm-{name}", node)

    title = f"{cluster.name}: alarms go off for the controller and for a worker"
    return Step(title, (expect(controller, Fate.REFUSED, "ProtectedNode"), rebooted(worker)), play)


def pause(outputs: Mapping[str, str], node: Node) -> Step:
    command = mode_command(outputs, "paused")

    def play(stage: Stage) -> None:
        set_mode(stage, command)
        forget_mode(stage)
        stage.break_node(node)

    title = "An operator pauses everything, and a node fails"
    return Step(title, (expect(node, Fate.REFUSED, "Paused"),), play, command=command)
