"""The edge to what CloudWatch knows about alarms: a composite alarm's children, and an alarm's tags."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from node_remediation import awserrors
from node_remediation.lookup import Cache, LookupFailedError

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient

_TAGS_REMEMBERED_FOR = timedelta(minutes=5)
# DescribeAlarms takes at most 100 AlarmNames (API reference).
_MOST_NAMES = 100
# An alarm that was deleted since it changed has no tags any more (declared by ListTagsForResource).
_GONE = frozenset({"ResourceNotFound", "ResourceNotFoundException"})


class Alarms(Protocol):
    """Knows the CloudWatch alarms of this account and region."""

    def describe(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        """The MetricAlarm and CompositeAlarm structures of the named alarms that exist. Raises LookupFailedError."""

    def contributors(self, name: str) -> list[Mapping[str, str]]:
        """The attributes of each series of the alarm that is in ALARM. Raises LookupFailedError."""

    def tags(self, arn: str) -> Mapping[str, str]:
        """An alarm's tags. Raises LookupFailedError."""


class CloudWatchAlarms:
    """Alarms over the CloudWatch API. Tags are remembered for a few minutes; states are always asked for."""

    def __init__(self, client: Callable[[], "CloudWatchClient"], *, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._tags: Cache[Mapping[str, str]] = Cache(clock)

    def describe(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for start in range(0, len(names), _MOST_NAMES):
            try:
                answer = self._client().describe_alarms(
                    AlarmNames=list(names[start : start + _MOST_NAMES]),
                    AlarmTypes=["MetricAlarm", "CompositeAlarm"],
                    MaxRecords=_MOST_NAMES,
                )
            except awserrors.CALL_ERRORS as error:
                raise LookupFailedError(awserrors.read(error)) from error
            found += [*answer.get("MetricAlarms", []), *answer.get("CompositeAlarms", [])]
        return found

    def contributors(self, name: str) -> list[Mapping[str, str]]:
        found: list[Mapping[str, str]] = []
        page: dict[str, str] = {}
        while True:
            try:
                answer = self._client().describe_alarm_contributors(AlarmName=name, **page)
            except awserrors.CALL_ERRORS as error:
                raise LookupFailedError(awserrors.read(error)) from error
            found += [each["ContributorAttributes"] for each in answer["AlarmContributors"]]
            if not answer.get("NextToken"):
                return found
            page = {"NextToken": answer["NextToken"]}

    def tags(self, arn: str) -> Mapping[str, str]:
        remembered = self._tags.recall(arn)
        return (
            self._tags.remember(arn, self._find_tags(arn), _TAGS_REMEMBERED_FOR) if remembered is None else remembered
        )

    def _find_tags(self, arn: str) -> Mapping[str, str]:
        try:
            answer = self._client().list_tags_for_resource(ResourceARN=arn)
        except awserrors.CALL_ERRORS as error:
            read = awserrors.read(error)
            if read.code in _GONE:
                return {}
            raise LookupFailedError(read) from error
        return {tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])}
