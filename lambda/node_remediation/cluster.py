"""The edge to what SageMaker knows about clusters and their nodes."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from node_remediation import awserrors
from node_remediation.awserrors import CallError
from node_remediation.lookup import Cache, LookupFailedError
from node_remediation.model import IdKind, Node
from node_remediation.settings import matches

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import ClusterNodeSummaryTypeDef, ClusterSummaryTypeDef

_REMEMBERED_FOR = timedelta(minutes=5)
_NO_REMEMBERED_FOR = timedelta(seconds=30)

# What DescribeCluster answers for a name that is not a HyperPod cluster's: it does not exist, the name does not fit
# the API's pattern, or, where IAM allows tagged clusters only, nothing without the tag may be looked at.
_NOT_HYPERPOD = frozenset({"ResourceNotFound", "ValidationException", "AccessDeniedException"})
# Slurm nodes whose reboot interrupts the whole cluster.
_PROTECTED_TYPES = frozenset({"Controller", "Login"})


class Facts(NamedTuple):
    """What the judgement needs to know of a cluster: nodes in all, who recovers them, which are never rebooted.

    `protected` has the IDs, of both kinds, of nodes in protected instance groups.
    """

    nodes: int
    recovers_by_itself: bool = False
    protected: frozenset[str] = frozenset()


class NodeState(NamedTuple):
    """A node's InstanceStatus (DescribeClusterNode)."""

    status: str
    message: str = ""


class Clusters(Protocol):
    """Knows the HyperPod clusters of this account and region. What cannot be had raises LookupFailedError."""

    def hyperpod_name(self, name: str) -> str:
        """The name of the HyperPod cluster that `name` names, or whose EKS cluster it names.

        The error is the API's own answer where there is no such cluster.
        """

    def facts(self, name: str) -> Facts:
        """What the judgement needs to know of a HyperPod cluster."""

    def instance_id(self, cluster: str, logical_id: str) -> str | None:
        """The instance behind a logical ID; None where the cluster knows of none."""

    def node(self, cluster: str, node: Node) -> NodeState | None:
        """The state of a node as it is now; None where the cluster has no such node."""


class SageMakerClusters:
    """Clusters over the SageMaker API; answers are remembered for a few minutes, a no for half of one."""

    def __init__(
        self, client: "SageMakerClient", *, protected_groups: tuple[str, ...], clock: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._protected_groups = protected_groups
        self._described: Cache[Mapping[str, Any] | CallError] = Cache(clock)
        self._facts: Cache[Facts] = Cache(clock)
        self._names: Cache[str | CallError] = Cache(clock)
        self._instances: Cache[str] = Cache(clock)
        self._eks_names: dict[str, str | None] = {}

    def hyperpod_name(self, name: str) -> str:
        found = self._names.recall(name) or self._find_name(name)
        if isinstance(found, CallError):
            raise LookupFailedError(found)
        return found

    def _find_name(self, name: str) -> str | CallError:
        """The HyperPod name, or AWS's final no; raises LookupFailedError for what may pass."""
        try:
            return str(self._describe(name).get("ClusterName") or name)
        except LookupFailedError as error:
            if error.error.passing:
                raise
            hyperpod = self._behind_eks(name) if error.error.code in _NOT_HYPERPOD else None
            if hyperpod is None:
                return self._names.remember(name, error.error, _NO_REMEMBERED_FOR)
            return self._names.remember(name, hyperpod, _REMEMBERED_FOR)

    def _behind_eks(self, eks_name: str) -> str | None:
        """The HyperPod cluster of an EKS cluster; those that may not be looked at are passed over."""
        for summary in self._list():
            if self._eks_name(summary["ClusterArn"], summary["ClusterName"]) == eks_name:
                return summary["ClusterName"]
        return None

    def _eks_name(self, arn: str, name: str) -> str | None:
        """What was once seen holds, for a cluster's orchestrator never changes; a no may, so it is asked for again."""
        if arn not in self._eks_names:
            try:
                orchestrator = self._describe(name).get("Orchestrator") or {}
            except LookupFailedError as error:
                if error.error.passing:
                    raise
                return None
            eks: str = (orchestrator.get("Eks") or {}).get("ClusterArn") or ""
            self._eks_names[arn] = eks.rpartition("/")[2] or None
        return self._eks_names[arn]

    def facts(self, name: str) -> Facts:
        return self._facts.recall(name) or self._facts.remember(name, self._find_facts(name), _REMEMBERED_FOR)

    def _find_facts(self, name: str) -> Facts:
        cluster = self._describe(name)
        groups = [*(cluster.get("InstanceGroups") or ()), *(cluster.get("RestrictedInstanceGroups") or ())]
        protected = [group["InstanceGroupName"] for group in groups if self._is_protected(group)]
        return Facts(
            nodes=sum(group.get("CurrentCount") or 0 for group in groups),
            # The default of NodeRecovery is Automatic (API reference of CreateCluster).
            recovers_by_itself=cluster.get("NodeRecovery", "Automatic") == "Automatic",
            protected=frozenset(id_ for group in protected for id_ in self._ids_in(name, group)),
        )

    def _is_protected(self, group: Mapping[str, Any]) -> bool:
        node_type = (group.get("SlurmConfig") or {}).get("NodeType")
        name = group["InstanceGroupName"]
        return node_type in _PROTECTED_TYPES or any(
            matches(pattern.lower(), name.lower()) for pattern in self._protected_groups
        )

    def _ids_in(self, cluster: str, group: str) -> Iterator[str]:
        for node in self._nodes_in(cluster, group):
            if node["InstanceGroupName"] == group:  # the filter also lets in groups whose names contain this one
                yield from (id_ for id_ in (node.get("InstanceId"), node.get("NodeLogicalId")) if id_)

    def _nodes_in(self, cluster: str, group: str) -> Iterator["ClusterNodeSummaryTypeDef"]:
        pages = self._client.get_paginator("list_cluster_nodes").paginate(
            ClusterName=cluster, InstanceGroupNameContains=group, IncludeNodeLogicalIds=True
        )
        try:
            for page in pages:
                yield from page["ClusterNodeSummaries"]
        except awserrors.CALL_ERRORS as error:
            raise LookupFailedError(awserrors.read(error)) from error

    def instance_id(self, cluster: str, logical_id: str) -> str | None:
        key = f"{cluster}/{logical_id}"
        remembered = self._instances.recall(key)
        if remembered:
            return remembered
        try:
            details = self._client.describe_cluster_node(ClusterName=cluster, NodeLogicalId=logical_id)["NodeDetails"]
        except awserrors.CALL_ERRORS as error:
            read = awserrors.read(error)
            if read.code in ("ResourceNotFound", "ValidationException"):
                return None  # whether there is such a node is for the reboot call to say
            raise LookupFailedError(read) from error
        instance = details.get("InstanceId")
        return self._instances.remember(key, instance, _REMEMBERED_FOR) if instance else None

    def node(self, cluster: str, node: Node) -> NodeState | None:
        asked = {"NodeId": node.id} if node.kind is IdKind.NODE_ID else {"NodeLogicalId": node.id}
        try:
            details = self._client.describe_cluster_node(ClusterName=cluster, **asked)["NodeDetails"]
        except awserrors.CALL_ERRORS as error:
            read = awserrors.read(error)
            if read.code == "ResourceNotFound":
                return None
            raise LookupFailedError(read) from error
        status: Mapping[str, Any] = details.get("InstanceStatus") or {}
        if status.get("Status") == "NotFound":
            return None
        return NodeState(status.get("Status", "unknown"), status.get("Message") or "")

    def _list(self) -> Iterator["ClusterSummaryTypeDef"]:
        try:
            for page in self._client.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 100}):
                yield from page["ClusterSummaries"]
        except awserrors.CALL_ERRORS as error:
            raise LookupFailedError(awserrors.read(error)) from error

    def _describe(self, name: str) -> Mapping[str, Any]:
        answer = self._described.recall(name)
        if answer is None:
            answer = self._ask(name)
            age = _NO_REMEMBERED_FOR if isinstance(answer, CallError) else _REMEMBERED_FOR
            self._described.remember(name, answer, age)
        if isinstance(answer, CallError):
            raise LookupFailedError(answer)
        return answer

    def _ask(self, name: str) -> Mapping[str, Any] | CallError:
        """DescribeCluster's answer, or its final no; raises LookupFailedError for what may pass."""
        try:
            return dict(self._client.describe_cluster(ClusterName=name))
        except awserrors.CALL_ERRORS as error:
            read = awserrors.read(error)
            if read.passing:
                raise LookupFailedError(read) from error
            return read
