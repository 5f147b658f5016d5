"""Reads with pydantic what the admin API is asked for: clusters, and what nodes are to do.

An error names each wrong, missing or unknown field in one line. What AWS limits is judged by botocore's service model.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic import model_validator as validates

from local.hyperpod.contract import shape, violations

# The wording of the documented sample, and of an event captured while HyperPod repaired a node itself.
DOCUMENTED_REASON = (
    "HyperPod Health Monitoring Agent (HMA) has detected fault type NvidiaErrorTerminate on this node and is unhealthy."
)
_RECOMMENDATION = "Please {action} the Faulty Node."
_REPAIRING = "HyperPod is working on repairing the unhealthy node. Please wait."
_USED_BY: Mapping[str, set[str]] = {
    "recovers": {"says_so"},
    "stays_sick": {"says_so"},
    "replaced": {"says_so", "pending_seconds", "lag_seconds"},
    "stuck": {"status", "message"},
}


class AdminError(Exception):
    """Reports an admin request that cannot be carried out; the message is one line for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def _of(name: str) -> AfterValidator:
    """Validate a value by a shape of the service model, such as ClusterName."""

    def check(value: object, info: ValidationInfo) -> object:
        if found := list(violations(shape(name), value, info.field_name or "")):
            raise ValueError("; ".join(found))
        return value

    return AfterValidator(check)


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
InstanceCount = Annotated[int, _of("ClusterInstanceCount")]
Status = Annotated[str, _of("ClusterInstanceStatus")]


class Asked(BaseModel):
    """Refuses unknown fields, and converts no type into another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GroupPlan(Asked):
    """Describes an instance group; `slurm_node_type` is null where it is not a Slurm group."""

    name: Annotated[str, _of("ClusterInstanceGroupName")]
    count: InstanceCount
    instance_type: Annotated[str, _of("ClusterInstanceType")] = "ml.p5.48xlarge"
    slurm_node_type: Annotated[str, _of("ClusterSlurmNodeType")] | None = None
    restricted: bool = False


class _Eks(Asked):
    eks: str


class ClusterPlan(Asked):
    """Describes a cluster with `nodes` workers or with `groups`; without `orchestrator` it is an EKS cluster."""

    name: Annotated[str, _of("ClusterName")]
    nodes: InstanceCount | None = None
    groups: tuple[GroupPlan, ...] = ()
    orchestrator: Annotated[_Eks | None, BeforeValidator(lambda given: None if given == "slurm" else given)] = None
    node_recovery: Annotated[str, _of("ClusterNodeRecovery")] = "None"
    continuous: bool = True
    tags: dict[str, str] = {}
    reboot_seconds: Seconds = 2.0

    @validates(mode="after")
    def _has_groups_of_its_own(self) -> Self:
        if (self.nodes is None) == ("groups" not in self.model_fields_set):
            raise ValueError("nodes is missing" if self.nodes is None else "nodes takes the place of groups")
        if len({group.name for group in self.groups}) < len(self.groups):
            raise ValueError("two groups have the same name")
        return self

    @property
    def instance_groups(self) -> tuple[GroupPlan, ...]:
        return self.groups if self.nodes is None else (GroupPlan(name="workers", count=self.nodes),)

    @property
    def eks(self) -> str | None:
        """Return the EKS cluster's name, None for Slurm."""
        if "orchestrator" not in self.model_fields_set:
            return f"{self.name}-eks"
        return self.orchestrator.eks if self.orchestrator else None


class Ending(Asked):
    """Describes a node after its reboots.

    `seconds`: how long they take (null: as the cluster says). `says_so`: whether a health event tells of it, by default
    of all but `stays_sick`. `status` and `message`: those of a `stuck` node, for ever. `pending_seconds`: how long the
    new instance of a `replaced` node starts; `lag_seconds`: how long DescribeClusterNode answers with the old one.
    """

    ends: Literal["recovers", "stays_sick", "replaced", "stuck"] = "recovers"
    seconds: Seconds | None = None
    says_so: bool | None = None
    status: Status | None = "Pending"
    message: str = "The instance did not come back after the reboot"  # AWS documents no such message
    pending_seconds: Seconds = 0.0
    lag_seconds: Seconds = 0.0

    @validates(mode="after")
    def _is_of_use(self) -> Self:
        all_uses = set[str]().union(*_USED_BY.values())
        if unused := self.model_fields_set & all_uses - _USED_BY[self.ends]:
            raise ValueError(f"{', '.join(sorted(unused))}: of no use where the node {self.ends}")
        return self

    @property
    def tells(self) -> bool:
        return self.ends != "stays_sick" if self.says_so is None else self.says_so


RECOVERY = Ending()


class Repair(Ending):
    """Describes HyperPod's own repair, which reboots the node, or shuts it down to be `replaced`.

    The node is in use at once; the repair begins `after_seconds`. `stuck`: nothing ever happens, or with a `status`
    the node takes that on and keeps it.
    """

    ends: Literal["recovers", "replaced", "stuck"] = "recovers"
    status: Status | None = None
    message: str = "The instance could not be repaired"
    after_seconds: Seconds = 0.0


class ScriptedFailure(Asked):
    """Scripts the error that a node answers instead of a reboot, for `times` calls (null: until it is cleared).

    The answer lists it `listed` times. With `rebooted` the node is rebooted and listed as successful as well.
    """

    code: Annotated[str, _of("BatchRebootClusterNodesErrorCode")]
    message: str | None = None
    times: int | None = None
    listed: int = 1
    rebooted: bool = False


class NodeAsked(Asked):
    """Names a node by either ID, with or without its cluster."""

    node: str
    cluster: str | None = None


class Healing(NodeAsked):
    """Asks for a healthy node; nothing more of what was asked for it will happen."""

    event: bool = True


class Breaking(Healing):
    """Asks for an unhealthy node: the words of its event, how its reboots end, what HyperPod itself does about it."""

    reason: str | None = DOCUMENTED_REASON
    repair_action: str | None = "None"
    recommendation: str | None = None
    reboot: Ending | None = None
    repair: Repair | None = None

    @validates(mode="after")
    def _repairs_by_an_action(self) -> Self:
        if self.repair and self.repair_action in {None, "None"}:
            raise ValueError("repair: takes a repair_action other than None, such as Reboot or Replace")
        return self

    def recommended(self, node_recovery: str) -> str | None:
        """Return the event's Recommendation: HyperPod works on what it repairs itself, and advises on the rest."""
        if "recommendation" in self.model_fields_set:
            return self.recommendation
        action = self.repair_action if self.repair_action not in {None, "None"} else None
        return (
            _REPAIRING
            if action and node_recovery == "Automatic"
            else _RECOMMENDATION.format(action=action or "Replace")
        )


class Replacing(NodeAsked):
    """Asks for another instance in the node's place, as an Ending does that is `replaced`."""

    says_so: bool = True
    pending_seconds: Seconds = 0.0
    lag_seconds: Seconds = 0.0

    @property
    def ending(self) -> Ending:
        return Ending(ends="replaced", **self.model_dump(exclude={"node", "cluster"}))


class Scripting(NodeAsked):
    """Scripts a node: what is given changes, the rest stays.

    `in_use` answers InstanceIdInUse, with `in_use_seconds` for that long only; `gone` InstanceIdNotFound; a `status`
    other than Running and Failure InvalidInstanceStatus, and `message` goes with it; `fail` its own code, until null
    clears it. `instance_id` and `logical_id` give the node other IDs, such as a captured event's.
    """

    in_use: bool = True
    in_use_seconds: Seconds = math.inf
    gone: bool = False
    status: Status = "Running"
    message: str = ""
    fail: ScriptedFailure | None = None
    reboot: Ending = RECOVERY
    instance_id: Annotated[str, _of("ClusterNodeId")] = ""
    logical_id: Annotated[str, _of("ClusterNodeLogicalId")] = ""

    def changes(self, now: float) -> dict[str, object]:
        """Return the node's attributes that change."""
        given = self.model_fields_set
        direct = {"gone", "instance_id", "logical_id", "message", "status"} & given
        changes: dict[str, object] = {"message": "", "stuck": False} if "status" in given else {}
        changes |= {name: getattr(self, name) for name in direct}
        if given & {"in_use", "in_use_seconds"}:
            changes["in_use_until"] = now + self.in_use_seconds if self.in_use else -math.inf
        renamed = {"fail": "failure", "reboot": "ending"}
        return changes | {renamed[name]: getattr(self, name) for name in renamed.keys() & given}


_Model = TypeVar("_Model", bound=BaseModel)


def read(model: type[_Model], body: bytes, where: str) -> _Model:
    """Read a request's body. Raises AdminError."""
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        found = [_line(details) for details in error.errors(include_url=False)]
    raise AdminError(400, f"{where}: {'; '.join(found)}")


def _line(details: Mapping[str, Any]) -> str:
    path, kind = ".".join(map(str, details["loc"])), details["type"]
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind == "missing":
        return f"{path} is missing"
    if kind == "extra_forbidden":
        return f"unknown field {path}"
    if kind in {"json_invalid", "model_type"}:
        return f"{path + ' ' if path else ''}takes a JSON object"
    return f"{path}: {details['msg'][:1].lower()}{details['msg'][1:]}"
