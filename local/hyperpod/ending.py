"""How a node is after it broke: what a reboot makes of it, and what HyperPod makes of it by itself."""

from dataclasses import dataclass

RECOVERS = "recovers"
STAYS_SICK = "stays_sick"
REPLACED = "replaced"
STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Ending:
    """What a reboot or a repair leaves behind; `kind` is one of the names above.

    `says_so`: a health event tells of it. `status` and `message` are those of a node that got stuck (a status of None:
    as it was). `pending_seconds`: how long the instance that takes the node's place starts.
    """

    kind: str = RECOVERS
    says_so: bool = True
    status: str | None = None
    message: str = ""
    pending_seconds: float = 0.0


RECOVERY = Ending()


@dataclass(frozen=True, slots=True)
class Repair:
    """HyperPod's own repair: when it begins, how long it takes (None: as long as a reboot), and how it ends."""

    after_seconds: float
    seconds: float | None
    ending: Ending
