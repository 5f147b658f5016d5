"""Defines a thing that happens in the night, and what must become of it."""

from collections.abc import Callable
from dataclasses import dataclass

from local.demo.checks import Expected, Fate
from local.demo.clusters import Node
from local.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Step:
    """Describes what happens, by its title and, where an operator acts, the command; and the fates that it leads to.

    `budget` is how many of the nodes whose fate it decides are to be rebooted. `tallied` shows what became of each
    report, not of the nodes alone.
    """

    title: str
    expected: tuple[Expected, ...]
    play: Callable[[Stage], None]
    alarm: str | None = None
    command: str | None = None
    budget: int = 0
    tallied: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Return what its events are known by: its nodes, and an alarm whose own event names none of them."""
        return (*(one.node for one in self.expected), *([self.alarm] if self.alarm else []))

    @property
    def reboots(self) -> int:
        """Return how many nodes are to be rebooted."""
        return self.budget + sum(one.fate is Fate.REBOOTED for one in self.expected)


Scene = tuple[Step, ...]  # steps that happen at the same time


def expect(node: Node, fate: Fate, code: str | None = None) -> Expected:
    """Return a fate for a node that is reported by its instance ID."""
    return Expected(node.instance_id, fate, code, instance=node.instance_id)


def rebooted(node: Node) -> Expected:
    return expect(node, Fate.REBOOTED)
