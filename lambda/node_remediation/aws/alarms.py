"""Asks CloudWatch about alarms: their definitions, tags and states."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from node_remediation.aws import errors
from node_remediation.aws.errors import Cache, CallError, LookupFailedError, MayCall
from node_remediation.events.alarm import series_of
from node_remediation.events.fields import find_nodes
from node_remediation.model import Alarm, AlarmState
from node_remediation.policy.record import Missing

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient

_TAGS_REMEMBERED_FOR = timedelta(minutes=5)
# DescribeAlarms takes at most 100 AlarmNames (API reference), and leaves out the types that it is not asked for.
_MOST_NAMES = 100
_TYPES: Any = ("MetricAlarm", "CompositeAlarm", "LogAlarm")
_LISTS = tuple(f"{type_}s" for type_ in _TYPES)
# An alarm that was deleted (ListTagsForResource, DescribeAlarmContributors).
_GONE = frozenset({"ResourceNotFound", "ResourceNotFoundException"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})


class Alarms(Protocol):
    """Knows the CloudWatch alarms of this account and region."""

    def describe(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        """Return those of the alarms that exist, as DescribeAlarms answers them. Raises LookupFailedError."""

    def tags(self, arn: str) -> Mapping[str, str]:
        """Return an alarm's tags. Raises LookupFailedError."""

    def states(
        self, alarms: Mapping[str, tuple[Alarm, Collection[str]]], *, may_call: MayCall = lambda: True
    ) -> dict[str, AlarmState | Missing]:
        """Return the state of each alarm, or of its series, by the keys given. Raises no error of AWS's.

        Each alarm comes with the IDs of the nodes that it is asked for: they find its series where that is not known.
        An alarm that there is no time to ask is missing.
        """


class CloudWatchAlarms:
    """Alarms over the CloudWatch API. Only tags are remembered, for some minutes."""

    def __init__(self, client: "CloudWatchClient", *, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._tags: Cache[Mapping[str, str]] = Cache(clock)

    def describe(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for start in range(0, len(names), _MOST_NAMES):
            some = list(names[start : start + _MOST_NAMES])
            try:
                answer: Mapping[str, Any] = self._client.describe_alarms(
                    AlarmNames=some, AlarmTypes=list(_TYPES), MaxRecords=_MOST_NAMES
                )
            except errors.CALL_ERRORS as error:
                raise LookupFailedError(errors.read(error)) from error
            found += [alarm for field in _LISTS for alarm in answer.get(field) or ()]
        return found

    def tags(self, arn: str) -> Mapping[str, str]:
        tags = self._tags.recall(arn)
        return self._tags.remember(arn, self._find_tags(arn), _TAGS_REMEMBERED_FOR) if tags is None else tags

    def _find_tags(self, arn: str) -> Mapping[str, str]:
        try:
            answer = self._client.list_tags_for_resource(ResourceARN=arn)
        except errors.CALL_ERRORS as error:
            read = errors.read(error)
            if read.code in _GONE:
                return {}
            raise LookupFailedError(read) from error
        return {tag["Key"]: tag["Value"] for tag in answer.get("Tags") or ()}

    def states(
        self, alarms: Mapping[str, tuple[Alarm, Collection[str]]], *, may_call: MayCall = lambda: True
    ) -> dict[str, AlarmState | Missing]:
        names = sorted({alarm.name for alarm, _ in alarms.values()})
        known: dict[str, AlarmState | Missing] = {}
        for start in range(0, len(names), _MOST_NAMES):
            known |= self._states(names[start : start + _MOST_NAMES], may_call)
        series: dict[str, list[Mapping[str, Any]] | AlarmState | Missing] = {}
        states = {}
        for key, (alarm, nodes) in alarms.items():
            state = known[alarm.name]
            if alarm.by_series and isinstance(state, AlarmState) and state.state == "ALARM":
                if alarm.name not in series:
                    series[alarm.name] = self._series(alarm.name, may_call)
                state = _state_of_series(alarm, nodes, series[alarm.name])
            states[key] = state
        return states

    def _states(self, names: Sequence[str], may_call: MayCall) -> dict[str, AlarmState | Missing]:
        """Ask for the states of alarms. If the call is rejected, it is halved until the name at fault is alone."""
        if not may_call():
            return dict.fromkeys(names, _missing(errors.OUT_OF_TIME))
        try:
            found = {alarm.get("AlarmName"): alarm for alarm in self.describe(names)}
        except LookupFailedError as error:
            if error.error.passing or error.error.code in _DENIED or len(names) == 1:
                return dict.fromkeys(names, _no_state(error.error))
            middle = len(names) // 2
            return self._states(names[:middle], may_call) | self._states(names[middle:], may_call)
        return {name: _state(found[name]) if name in found else AlarmState("gone") for name in names}

    def _series(self, name: str, may_call: MayCall) -> list[Mapping[str, Any]] | AlarmState | Missing:
        """Return the series of an alarm that are in ALARM, of all pages."""
        found: list[Mapping[str, Any]] = []
        page: dict[str, str] = {}
        while may_call():
            try:
                call = self._client.describe_alarm_contributors
                answer = errors.ask(call, "AlarmContributors", AlarmName=name, **page)
            except LookupFailedError as error:
                return AlarmState("gone") if error.error.code in _GONE else _no_state(error.error)
            found += answer["AlarmContributors"]
            if not answer.get("NextToken"):
                return found
            page = {"NextToken": answer["NextToken"]}
        return _missing(errors.OUT_OF_TIME)


def _no_state(error: CallError) -> AlarmState | Missing:
    return _missing(error) if error.passing else AlarmState("denied")


def _missing(error: CallError) -> Missing:
    return Missing(error.code, error.message)


def _state(alarm: Mapping[str, Any]) -> AlarmState:
    since = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
    return AlarmState(str(alarm.get("StateValue")), _utc(since))


def _state_of_series(
    alarm: Alarm, nodes: Collection[str], found: list[Mapping[str, Any]] | AlarmState | Missing
) -> AlarmState | Missing:
    """Return ALARM if the alarm's series, or any that names one of the nodes, is in ALARM, else OK."""
    if not isinstance(found, list):
        return found
    for contributor in found:
        attributes = contributor.get("ContributorAttributes") or {}
        if alarm.series is None:
            contributes = any(node.id in nodes for node in find_nodes(attributes))
        else:
            contributes = series_of(attributes) == alarm.series
        if contributes:
            return AlarmState("ALARM", _utc(contributor.get("StateTransitionedTimestamp")))
    return AlarmState("OK")


def _utc(at: object) -> datetime | None:
    return at.astimezone(UTC) if isinstance(at, datetime) else None
