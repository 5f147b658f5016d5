"""Defines how a broken node can end: after a reboot, and after HyperPod's own repair."""

from dataclasses import dataclass

RECOVERS = "recovers"
STAYS_SICK = "stays_sick"
REPLACED = "replaced"
STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Ending:
    """Describes a node after a reboot or a repair; `kind` is one of the names above.

    `says_so`: a health event tells of it. `status` and `message` are those of a node that got stuck (a status of None:
    as it was). `pending_seconds`: how long the instance that takes the node's place starts; `lag_seconds`: how long
    DescribeClusterNode goes on answering with the old one.
    """

    kind: str = RECOVERS
    says_so: bool = True
    status: str | None = None
    message: str = ""
    pending_seconds: float = 0.0
    lag_seconds: float = 0.0


RECOVERY = Ending()


@dataclass(frozen=True, slots=True)
class Repair:
    """Describes HyperPod's own repair: when it begins, how long it takes (None: as a reboot), how it ends."""

    after_seconds: float
    seconds: float | None
    ending: Ending
