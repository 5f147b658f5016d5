"""Defines how a node can end after `break`: the words of the command, and the admin API's fields."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.cli.client import CommandError

_SLOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class End:
    """Describes one end; `asked` goes into `reboot` or `repair` of nodes/break."""

    help: str
    asked: Mapping[str, Any]


ENDS: Mapping[str, End] = {
    "recovers": End("is healthy again, with an event", {}),
    "silent": End("is healthy again, without an event", {"says_so": False}),
    "slow": End(f"is healthy again, after {_SLOW_SECONDS:g} seconds", {"seconds": _SLOW_SECONDS}),
    "stays-sick": End("runs, but is not healthy", {"ends": "stays_sick"}),
    "sick-again": End("is not healthy, and a second event says so", {"ends": "stays_sick", "says_so": True}),
    "replaced": End("is gone; a new instance has its logical ID", {"ends": "replaced"}),
    "stuck": End("never comes back", {"ends": "stuck"}),
}
HELP = "what becomes of it once it was rebooted: " + "; ".join(f"{name}: {end.help}" for name, end in ENDS.items())


def asked_for(arguments: Namespace) -> dict[str, Any]:
    """Return the fields of nodes/break that say how the node ends. Raises CommandError."""
    how = dict(ENDS[arguments.ends].asked) if arguments.ends else {}
    if arguments.reboot_seconds is not None:
        how["seconds"] = arguments.reboot_seconds
    if arguments.repairs_itself is None:
        return {"reboot": how} if how or arguments.ends else {}
    if how.get("ends") == "stays_sick" or arguments.stays_sick:
        raise CommandError("--repairs-itself: HyperPod leaves no node sick, it takes another --ends")
    action = "Replace" if arguments.ends == "replaced" else "Reboot"
    return {
        "repair_action": arguments.repair_action or action,
        "repair": {"after_seconds": arguments.repairs_itself, **how},
    }
