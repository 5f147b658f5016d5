"""The edge to what SageMaker knows about clusters."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from node_remediation import awserrors
from node_remediation.awserrors import CallError
from node_remediation.lookup import Cache, LookupFailedError

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import ClusterSummaryTypeDef

_REMEMBERED_FOR = timedelta(minutes=5)
_NO_REMEMBERED_FOR = timedelta(seconds=30)

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
    """Clusters over the SageMaker API; names are remembered for a few minutes, a no for half of one."""

    def __init__(self, client: "SageMakerClient", *, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._names: Cache[str | CallError] = Cache(clock)
        self._eks_names: dict[str, str | None] = {}

    def hyperpod_name(self, name: str) -> str:
        found = self._names.recall(name) or self._find(name)
        if isinstance(found, CallError):
            raise LookupFailedError(found)
        return found

    def _find(self, name: str) -> str | CallError:
        """The HyperPod name, or AWS's final no; raises LookupFailedError for what may pass."""
        try:
            found = self._describe(name).get("ClusterName") or name
        except LookupFailedError as error:
            if error.error.passing:
                raise
            hyperpod = self._behind_eks(name) if error.error.code in _NOT_HYPERPOD else None
            if hyperpod is None:
                return self._names.remember(name, error.error, _NO_REMEMBERED_FOR)
            found = hyperpod
        return self._names.remember(name, found, _REMEMBERED_FOR)

    def _behind_eks(self, eks_name: str) -> str | None:
        """The HyperPod cluster of an EKS cluster; those that may not be looked at are passed over."""
        for summary in self._list():
            arn, name = summary["ClusterArn"], summary["ClusterName"]
            if self._eks_name(arn, name) == eks_name:
                return name
        return None

    def _eks_name(self, arn: str, name: str) -> str | None:
        if arn in self._eks_names:  # a cluster's orchestrator never changes; whether it may be looked at does
            return self._eks_names[arn]
        try:
            orchestrator = self._describe(name).get("Orchestrator") or {}
        except LookupFailedError as error:
            if error.error.passing:
                raise
            return None
        eks: str = (orchestrator.get("Eks") or {}).get("ClusterArn") or ""
        self._eks_names[arn] = eks.rpartition("/")[2] or None
        return self._eks_names[arn]

    def _list(self) -> Iterator["ClusterSummaryTypeDef"]:
        try:
            for page in self._client.get_paginator("list_clusters").paginate():
                yield from page["ClusterSummaries"]
        except awserrors.CALL_ERRORS as error:
            raise LookupFailedError(awserrors.read(error)) from error

    def _describe(self, name: str) -> dict[str, Any]:
        try:
            return dict(self._client.describe_cluster(ClusterName=name))
        except awserrors.CALL_ERRORS as error:
            raise LookupFailedError(awserrors.read(error)) from error
