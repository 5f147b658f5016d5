"""Asks AWS what a check needs to know: whether an alarm is OK again, and what has become of a node."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from node_remediation.alarms import Alarms
from node_remediation.awserrors import CallError
from node_remediation.cluster import Clusters
from node_remediation.events.alarm import find_in_contributor
from node_remediation.lookup import LookupFailedError
from node_remediation.model import INSTANCE_ID, Case, IdKind, Node, Report
from node_remediation.watch import Needs, Seen


class Examiner:
    """Looks at alarms and nodes. What may not be looked at is trouble; what cannot be had for now is raised."""

    def __init__(self, *, clusters: Clusters, alarms: Alarms) -> None:
        self._clusters = clusters
        self._alarms = alarms

    def describe(self, names: Sequence[str]) -> dict[str, Mapping[str, Any]] | CallError:
        """Alarms by name, those that exist, in as few calls as they fit into; or why they may not be looked at.

        Raises LookupFailedError for what may pass.
        """
        try:
            return {alarm["AlarmName"]: alarm for alarm in self._alarms.describe(names)} if names else {}
        except LookupFailedError as error:
            if error.error.passing:
                raise
            return error.error

    def look(self, case: Case, needs: Needs, described: Mapping[str, Mapping[str, Any]] | CallError) -> Seen:
        """What a check needs to see. Raises LookupFailedError for what may pass."""
        seen = self._alarm(case, described) if needs.alarm else Seen()
        return self._node(case, seen) if needs.node else seen

    def _alarm(self, case: Case, described: Mapping[str, Mapping[str, Any]] | CallError) -> Seen:
        alarm = case.reading.alarm
        if isinstance(described, CallError):
            return Seen(trouble=f"{described.code}: {described.message}")
        found = described.get(alarm.name) if alarm else None
        if alarm is None or found is None:
            return Seen()
        since = _utc(found.get("StateTransitionedTimestamp") or found.get("StateUpdatedTimestamp"))
        state = found.get("StateValue")
        try:
            if state == "ALARM" and alarm.by_series and not self._is_contributing(case, alarm.name):
                return Seen(alarm="OK")
        except LookupFailedError as error:
            return Seen(trouble=_for_good(error))
        return Seen(alarm=state, alarm_at=since)

    def _is_contributing(self, case: Case, name: str) -> bool:
        """Whether the series of this node is one of those that keep an alarm in ALARM."""
        nodes = {found.id for each in self._alarms.contributors(name) if (found := find_in_contributor(each))}
        known = {case.node.id if case.node else "", case.key.id if case.key else ""}
        return bool(nodes & known)

    def _node(self, case: Case, seen: Seen) -> Seen:
        report, key = case.reading, case.key
        assert isinstance(report, Report)  # noqa: S101  only reports of a node are checked
        assert key  # noqa: S101  which have a key
        # By its instance ID: a logical ID stays when its instance is replaced.
        node = Node(IdKind.NODE_ID, key.id) if INSTANCE_ID.fullmatch(key.id) else report.node
        try:
            state = self._clusters.node(key.cluster, node)
        except LookupFailedError as error:
            return replace(seen, trouble=_for_good(error))
        return replace(seen, gone=True) if state is None else replace(seen, node=state)


def _for_good(error: LookupFailedError) -> str:
    """Why something may not be looked at. Raises what may pass."""
    if error.error.passing:
        raise error
    return str(error)


def _utc(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC) if time else None
