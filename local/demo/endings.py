"""Scripts what follows the redrive: nodes that come back, in one way or another, and nodes that do not."""

from collections.abc import Mapping
from dataclasses import dataclass

from local.demo.checks import Expected, Fate
from local.demo.clusters import Clusters, Node
from local.demo.ends import (
    COMES_BACK,
    IS_REPAIRED,
    IS_REPLACED,
    IS_TRIED_AGAIN,
    SAYS_NOTHING,
    STAYS_IN_REPAIR,
    STAYS_SICK,
    End,
)
from local.demo.stage import NIGHT, Stage
from local.demo.step import Scene, Step

VERIFY_AFTER_SECONDS = 3
# All of it, as the CDK CLI remembers nothing of the context of the deploy before.
ENDINGS = NIGHT | {
    "remediation.cooldown": "8s",
    "remediation.verify_after": f"{VERIFY_AFTER_SECONDS}s",
    "remediation.healthy_for": "1s",
    "remediation.verify_timeout": "14s",
    "remediation.repair_timeout": "14s",
    "remediation.retry_attempts": "2",
    "remediation.retry_delay": "3s",
}
_SLOW_SECONDS = VERIFY_AFTER_SECONDS + 2  # not back at the first look, and long before the time-out
# Late enough for the report to be handled before the repair is over, also on a slow machine.
_REPAIR = {"after_seconds": 5, "seconds": 2, "ends": "recovers"}
_STUCK_REPAIR = {"ends": "stuck", "status": "Pending", "message": "No spare instance is available"}
_BUSY = {"code": "InstanceIdInUse", "times": 1}


@dataclass(frozen=True, slots=True)
class Tale:
    """Holds a step with one node, and the claim about its end."""

    step: Step
    claim: str

    @property
    def expected(self) -> Expected:
        [one] = self.step.expected
        return one


def plan_endings(clusters: Clusters) -> tuple[Tale, ...]:
    """Return the script."""
    well, sick, replaced, slow, busy, *_ = clusters.training.nodes[170:]
    repaired, stuck, *_ = clusters.managed.nodes[5:]
    managed = clusters.managed.name
    return (
        Tale(_breaks("A node comes back", well, COMES_BACK), "one came back, and no one was told"),
        Tale(
            _breaks("A node is slow to come back", slow, COMES_BACK, reboot={"seconds": _SLOW_SECONDS}),
            "the slow one was waited for",
        ),
        Tale(
            _breaks(
                "A node is sick again after every reboot",
                sick,
                STAYS_SICK,
                reboot={"ends": "stays_sick", "says_so": True},
            ),
            "the one that stayed sick was rebooted again after its cooldown, then given up: in the DLQ, on the topic",
        ),
        Tale(
            _is_lost(clusters.research.nodes[20]),
            "the one that stays sick with status Running was not called recovered; people, who had been told of the "
            "lost answer, were told so",
        ),
        Tale(
            _breaks("A node is replaced instead of coming back", replaced, IS_REPLACED, reboot={"ends": "replaced"}),
            "the one that was replaced was noticed to be gone, and no one was told",
        ),
        Tale(_is_busy(busy), "the busy one was tried again by itself; people were told of that, and of the recovery"),
        Tale(
            _breaks(
                f"{managed}: HyperPod itself repairs a node",
                repaired,
                IS_REPAIRED,
                repair_action="Reboot",
                repair=_REPAIR,
            ),
            "the one that HyperPod repaired was left to it, and seen to recover",
        ),
        Tale(
            _breaks(
                f"{managed}: HyperPod's own repair of a node is stuck",
                stuck,
                STAYS_IN_REPAIR,
                repair_action="Replace",
                repair=_STUCK_REPAIR,
            ),
            "the one whose repair is stuck was reported: in the DLQ, on the topic",
        ),
    )


def scenes_of(tales: tuple[Tale, ...]) -> tuple[Scene, ...]:
    """Return the first by itself, while the function starts with its new settings; then all others together."""
    first, *others = (tale.step for tale in tales)
    return (first,), tuple(others)


def _breaks(title: str, node: Node, end: End, **how: object) -> Step:
    return Step(title, (_followed(node, end),), lambda stage: stage.break_node(node, **how))


def _is_busy(node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.set_node(node, fail=_BUSY)
        stage.break_node(node)

    title = "A node is busy when it is to be rebooted, but not for long"
    return Step(title, (_followed(node, IS_TRIED_AGAIN),), play)


def _is_lost(node: Node) -> Step:
    def play(stage: Stage) -> None:
        stage.lose_answer(node)
        stage.break_node(node, reboot={"ends": "stays_sick"})

    title = f"{node.cluster}: SageMaker's answer is lost; the node stays sick, with status Running, and says nothing"
    return Step(title, (_followed(node, SAYS_NOTHING),), play)


def _followed(node: Node, end: End) -> Expected:
    return Expected(node.instance_id, Fate.FOLLOWED, end.code, instance=node.instance_id, end=end)


def update_command(context: Mapping[str, str]) -> str:
    """Return the CDK CLI's command that updates the stack with another context."""
    return " ".join(["cdk deploy", *(f"--context {key}={value}" for key, value in context.items())])
