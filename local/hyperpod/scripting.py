"""Scripts a node's answers to BatchRebootClusterNodes."""

import math

from local.hyperpod.contract import operation, values_of, violations
from local.hyperpod.ending import RECOVERY, STAYS_SICK, Ending
from local.hyperpod.endings import read_reboot
from local.hyperpod.errors import AdminError, NodeError
from local.hyperpod.fields import Fields
from local.hyperpod.rebooting import MESSAGES
from local.hyperpod.world import Node, ScriptedFailure

_ID_MEMBERS = {"instance_id": "NodeId", "logical_id": "NodeLogicalId"}


def script(node: Node, fields: Fields, now: float) -> None:
    """Apply what is given of {"in_use", "gone", "status", "fail", "reboot", ...}.

    `in_use` answers InstanceIdInUse, with `in_use_seconds` for that long only; `gone` InstanceIdNotFound; a `status`
    other than Running and Failure InvalidInstanceStatus, and `message` goes with it; `fail` {"code", "message"?,
    "times"?, "listed"?, "rebooted"?} its own code, for good or so many times, until null clears it, and `listed` times
    in each answer; `rebooted`: the node is rebooted and listed as successful too. `reboot` says how reboots end
    (endings.read_reboot), of which `reboot_seconds` and `stays_sick` are a part. `instance_id` and `logical_id` give
    the node other IDs, such as a captured event's.
    """
    changes = _read(fields, now) | read_reboot_of(node, fields)
    fields.done()
    for attribute, value in changes.items():
        setattr(node, attribute, value)


def read_reboot_of(node: Node, fields: Fields) -> dict[str, object]:
    """Return the node's attributes that `reboot` changes, or `reboot_seconds` and `stays_sick` in its place."""
    if "reboot" in fields and ("reboot_seconds" in fields or "stays_sick" in fields):
        raise AdminError(400, "reboot: takes the place of reboot_seconds and stays_sick, give only one")
    changes: dict[str, object] = {}
    if "reboot" in fields:
        changes["ending"], seconds = read_reboot(fields.take_any("reboot"))
        return changes if seconds is None else changes | {"reboot_seconds": seconds}
    if "reboot_seconds" in fields:
        changes["reboot_seconds"] = fields.take_seconds("reboot_seconds")
    if "stays_sick" in fields:
        stays_sick = fields.take("stays_sick", bool)
        if stays_sick != (node.ending.kind == STAYS_SICK):
            changes["ending"] = Ending(STAYS_SICK, says_so=False) if stays_sick else RECOVERY
    return changes


def _read(fields: Fields, now: float) -> dict[str, object]:
    changes: dict[str, object] = {}
    if "in_use" in fields or "in_use_seconds" in fields:
        seconds = fields.take_seconds("in_use_seconds") if "in_use_seconds" in fields else math.inf
        changes["in_use_until"] = now + seconds if fields.take("in_use", bool, default=True) else -math.inf
    if "gone" in fields:
        changes["gone"] = fields.take("gone", bool)
    if "status" in fields:
        status = fields.take_one_of("status", values_of("ClusterInstanceStatus"))
        changes |= {"status": status, "message": "", "stuck": False}
    if "message" in fields:
        changes["message"] = fields.take("message", str)
    if "fail" in fields:
        changes["failure"] = _failure(fields.take_or_null("fail", dict))
    return changes | {key: _id(fields, key, member) for key, member in _ID_MEMBERS.items() if key in fields}


def _id(fields: Fields, key: str, member: str) -> str:
    """Take an ID that DescribeClusterNode could be asked for."""
    id_ = fields.take(key, str)
    shape = operation("DescribeClusterNode").input_shape
    found = list(violations(shape.members[member], id_, key)) if shape else []
    if found:
        raise AdminError(400, "; ".join(found))
    return id_


def _failure(values: dict[str, object] | None) -> ScriptedFailure | None:
    if values is None:
        return None
    fields = Fields(values, "fail")
    code = fields.take_one_of("code", values_of("BatchRebootClusterNodesErrorCode"))
    failure = ScriptedFailure(
        NodeError(code, fields.take("message", str, MESSAGES[code])),
        fields.take("times", int) if "times" in fields else None,
        listed=fields.take("listed", int, 1),
        rebooted=fields.take("rebooted", bool, default=False),
    )
    fields.done()
    return failure
