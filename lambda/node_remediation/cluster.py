"""The edge to what SageMaker knows about clusters."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from node_remediation import awserrors
from node_remediation.lookup import Cache, LookupFailedError

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient

_REMEMBERED_FOR = timedelta(minutes=5)

# What DescribeCluster answers for a name that is not a HyperPod cluster's: it does not exist, the name does not fit
# the API's pattern, or, where IAM allows tagged clusters only, nothing without the tag may be looked at.
_NOT_HYPERPOD = frozenset({"ResourceNotFound", "ValidationException", "AccessDeniedException"})


class Clusters(Protocol):
    """Knows the HyperPod clusters of this account and region."""

    def hyperpod_name(self, name: str) -> str:
        """The name of the HyperPod cluster that `name` names, or whose EKS cluster it names.

        Raises LookupFailedError; with the API's own answer where there is no such cluster.
        """


class SageMakerClusters:
    """Clusters over the SageMaker API; each answer is remembered for a few minutes."""

    def __init__(self, client: "SageMakerClient", *, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._names: Cache[str] = Cache(age=_REMEMBERED_FOR, clock=clock)
        self._by_eks: Cache[dict[str, str]] = Cache(age=_REMEMBERED_FOR, clock=clock)

    def hyperpod_name(self, name: str) -> str:
        return self._names.get(name, lambda: self._find(name))

    def _find(self, name: str) -> str:
        try:
            return self._describe(name).get("ClusterName") or name
        except LookupFailedError as error:
            if error.error.code not in _NOT_HYPERPOD:
                raise
            hyperpod = self._by_eks.get("", self._name_by_eks_name).get(name)
            if hyperpod is None:
                raise
            return hyperpod

    def _name_by_eks_name(self) -> dict[str, str]:
        """HyperPod cluster by the name of its EKS cluster; clusters that may not be looked at are passed over."""
        names = {}
        for hyperpod in self._list():
            try:
                orchestrator = self._describe(hyperpod).get("Orchestrator") or {}
            except LookupFailedError as error:
                if error.error.passing:
                    raise
                continue
            arn = (orchestrator.get("Eks") or {}).get("ClusterArn") or ""
            if "/" in arn:
                names[arn.rsplit("/", 1)[1]] = hyperpod
        return names

    def _list(self) -> Iterator[str]:
        try:
            for page in self._client.get_paginator("list_clusters").paginate():
                yield from (summary["ClusterName"] for summary in page["ClusterSummaries"])
        except awserrors.CALL_ERRORS as error:
            raise LookupFailedError(awserrors.read(error)) from error

    def _describe(self, name: str) -> dict[str, Any]:
        try:
            return dict(self._client.describe_cluster(ClusterName=name))
        except awserrors.CALL_ERRORS as error:
            raise LookupFailedError(awserrors.read(error)) from error
