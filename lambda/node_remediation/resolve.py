"""Finds out what a report does not say by itself: a composite alarm's nodes, and the HyperPod cluster.

Lookups are made only when they are needed. What cannot be had for a passing reason is tried again later; what AWS
answers with a no is the report's failure.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from node_remediation import codes
from node_remediation.alarms import Alarms
from node_remediation.cluster import Clusters
from node_remediation.events.alarm import children_of, find_in_series, read_described, refusal_text
from node_remediation.lookup import LookupFailedError
from node_remediation.model import Alarm, Case, Composite, Ending, IdKind, Message, Outcome, Report, Settled, TryAgain
from node_remediation.settings import Settings

CLUSTER_TAG = "hyperpod:cluster"
# Composite alarms of composite alarms: deeper than anybody nests them, and an end to a circle.
_DEEPEST = 5

Resolved = Case | Ending | TryAgain


class Resolver:
    """Completes readings, with lookups at the edges."""

    def __init__(self, *, settings: Settings, clusters: Clusters, alarms: Alarms) -> None:
        self._settings = settings
        self._clusters = clusters
        self._alarms = alarms

    def resolve(self, message: Message, reading: Report | Composite | Settled) -> list[Resolved]:
        """The cases of a reading, each complete, over or to be tried again."""
        if not isinstance(reading, Composite):
            return [self._complete(Case(message, reading))]
        try:
            children = self._children(reading)
        except LookupFailedError as error:
            outcome = Outcome.CLEARED if reading.healthy else Outcome.FAILED
            alarm = Settled(reading.trigger, outcome, str(error), error.error.code, alarm=reading.alarm)
            return [failed(Case(message, alarm), error)]
        return [self._complete(Case(message, child)) for child in children]

    def _complete(self, case: Case) -> Resolved:
        reading = case.reading
        if isinstance(reading, Settled) or reading.muted or (reading.check and reading.check.watch):
            return case  # a check has been completed before
        try:
            cluster = self._cluster(reading)
            instance = self._instance(cluster, reading)
        except LookupFailedError as error:
            return failed(case, error)
        return Case(case.message, replace(reading, cluster=cluster, cluster_is_hyperpod=True, instance_id=instance))

    def _instance(self, cluster: str | None, report: Report) -> str | None:
        """The instance behind a logical ID: it is what the ledger knows the node by."""
        if not cluster or report.node.kind is not IdKind.LOGICAL_ID or not report.node.well_formed:
            return None
        return self._clusters.instance_id(cluster, report.node.id)

    def _cluster(self, report: Report) -> str | None:
        if report.cluster and report.cluster_is_hyperpod:
            return report.cluster
        if report.cluster:
            return self._clusters.hyperpod_name(report.cluster)
        return self._tagged_cluster(report.alarm) or self._settings.default_cluster or self._settings.only_cluster

    def _tagged_cluster(self, alarm: Alarm | None) -> str | None:
        if alarm is None:
            return None
        if alarm.tags is not None:
            return dict(alarm.tags).get(CLUSTER_TAG)
        return self._alarms.tags(alarm.arn).get(CLUSTER_TAG) if alarm.arn else None

    def _children(self, composite: Composite) -> list[Report | Settled]:
        state = "OK" if composite.healthy else "ALARM"
        alarms = self._metric_alarms(composite.children)
        reports = [self._read_child(composite, alarm) for alarm in alarms if alarm.get("StateValue") == state]
        if reports:
            return reports
        if alarms and all(alarm.get("StateValue") == "OK" for alarm in alarms):
            reason = f"all alarms that set off composite alarm {composite.alarm.name} are OK again"
            return [Settled(composite.trigger, Outcome.CLEARED, reason, alarm=composite.alarm)]
        reason = f"none of the alarms that set off composite alarm {composite.alarm.name} is a metric alarm in {state}"
        outcome = Outcome.CLEARED if composite.healthy else Outcome.REFUSED
        code = None if composite.healthy else codes.NODE_NOT_RESOLVED
        return [Settled(composite.trigger, outcome, reason, code, alarm=composite.alarm)]

    def _metric_alarms(self, arns: tuple[str, ...]) -> list[Mapping[str, Any]]:
        """The metric alarms behind a composite alarm's children, through composite alarms among them."""
        found: dict[str, Mapping[str, Any]] = {}
        seen: set[str] = set()
        for _ in range(_DEEPEST):
            names = list(dict.fromkeys(arn.split(":alarm:", 1)[-1] for arn in arns if arn not in seen))
            if not names:
                break
            seen.update(arns)
            described = self._alarms.describe(names)
            found |= {alarm["AlarmName"]: alarm for alarm in described if "AlarmRule" not in alarm}
            arns = tuple(
                arn for alarm in described if "AlarmRule" in alarm for arn in children_of(alarm.get("StateReasonData"))
            )
        return list(found.values())

    def _read_child(self, composite: Composite, alarm: Mapping[str, Any]) -> Report | Settled:
        name = alarm["AlarmName"]
        trigger = replace(composite.trigger, reason=f"{composite.trigger.reason} (through alarm {name})")
        found = find_in_series(read_described(alarm))
        if isinstance(found, str):
            outcome = Outcome.IGNORED if composite.healthy else Outcome.REFUSED
            return Settled(trigger, outcome, refusal_text(name, found), found, alarm=composite.alarm)
        node, cluster = found
        return Report(
            trigger=trigger,
            node=node,
            cluster=cluster.name,
            cluster_is_hyperpod=cluster.hyperpod,
            healthy=composite.healthy,
            replay=composite.replay,
            check=composite.check,
            alarm=Alarm(name, alarm.get("AlarmArn")),
        )


def failed(case: Case, error: LookupFailedError) -> Ending | TryAgain:
    """What a case comes to for which something could not be found out."""
    if error.error.passing:
        return TryAgain(case, error.error.code, error.error.message)
    return give_up(case, error.error.code, error.error.message)


def give_up(case: Case, code: str, reason: str) -> Ending:
    """The end of a case that cannot be carried on with; what only says that a node is well fails nobody."""
    if case.check and case.check.watch and not case.check.retry:
        lost = f"how the node ended could not be found out: {code}: {reason}"
        return Ending(case, Outcome.NOT_RECOVERED, lost, codes.NOT_RECOVERED)
    if case.healthy:
        return Ending(case, Outcome.CLEARED, f"reported healthy; more could not be found out: {code}: {reason}")
    return Ending(case, Outcome.FAILED, reason, code)
