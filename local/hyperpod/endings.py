"""Reads from the admin API how a reboot, or HyperPod's own repair, is to end."""

from typing import Any

from local.hyperpod.contract import values_of
from local.hyperpod.ending import RECOVERS, REPLACED, STAYS_SICK, STUCK, Ending, Repair
from local.hyperpod.fields import Fields

_REBOOT_ENDS = (RECOVERS, STAYS_SICK, REPLACED, STUCK)
_REPAIR_ENDS = (RECOVERS, REPLACED, STUCK)
# AWS documents no such message; what it says is what a person would want to know.
_STUCK_REBOOT = "The instance did not come back after the reboot"
_STUCK_REPAIR = "The instance could not be repaired"


def read_reboot(values: Any) -> tuple[Ending, float | None]:
    """Read {"ends"?, "seconds"?, "says_so"?, "status"?, "message"?, "pending_seconds"?, "lag_seconds"?}.

    `ends`: `recovers` (the default), `stays_sick`, `replaced` or `stuck`; `seconds`: how long reboots take (None: as
    before). `says_so`: whether a health event tells of it, by default of all but `stays_sick`. `status` (Pending) and
    `message`: of a `stuck` node, for ever. `pending_seconds`: how long the new instance of a `replaced` one starts;
    `lag_seconds`: how long DescribeClusterNode goes on answering with the old one.
    """
    fields = Fields(values, "reboot")
    seconds = fields.take_seconds("seconds") if "seconds" in fields else None
    ending = _read(fields, _REBOOT_ENDS, _STUCK_REBOOT, "Pending")
    fields.done()
    return ending, seconds


def read_repair(values: Any) -> Repair:
    """Read {"after_seconds"?} and what read_reboot reads, save `stays_sick`.

    The node is in use at once; after so many seconds it reboots (or shuts down, to be `replaced`), for `seconds` or as
    long as a reboot. `stuck`: nothing ever happens, or with a `status` it takes that on and keeps it.
    """
    fields = Fields(values, "repair")
    repair = Repair(
        after_seconds=fields.take_seconds("after_seconds", 0.0),
        seconds=fields.take_seconds("seconds") if "seconds" in fields else None,
        ending=_read(fields, _REPAIR_ENDS, _STUCK_REPAIR, None),
    )
    fields.done()
    return repair


def read_replacement(fields: Fields) -> Ending:
    """Take {"says_so"?, "pending_seconds"?, "lag_seconds"?} of a `replaced` node."""
    return _replaced(fields, says_so=fields.take("says_so", bool, default=True))


def _read(fields: Fields, kinds: tuple[str, ...], stuck_message: str, stuck_status: str | None) -> Ending:
    """Read what an ending has a use for; `done` names the rest."""
    kind = fields.take_one_of("ends", kinds, RECOVERS)
    if kind == STUCK:
        statuses = values_of("ClusterInstanceStatus")
        status = fields.take_one_of("status", statuses) if "status" in fields else stuck_status
        return Ending(kind, says_so=False, status=status, message=fields.take("message", str, stuck_message))
    # Who stays sick has told already; who is well again has news.
    says_so = fields.take("says_so", bool, default=kind != STAYS_SICK)
    return _replaced(fields, says_so=says_so) if kind == REPLACED else Ending(kind, says_so=says_so)


def _replaced(fields: Fields, *, says_so: bool) -> Ending:
    pending, lag = (fields.take_seconds(key, 0.0) for key in ("pending_seconds", "lag_seconds"))
    return Ending(REPLACED, says_so=says_so, pending_seconds=pending, lag_seconds=lag)
