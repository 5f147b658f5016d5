"""Reads alerts of Prometheus and Grafana that reach the intake queue through an SNS topic.

The body is Alertmanager's JSON ("Configure alert manager to send messages to Amazon SNS as JSON", Amazon Managed
Service for Prometheus user guide; Grafana's webhook JSON has the same fields). A firing alert complains about its node,
a resolved one withdraws, both as of the time at which the message was sent: an alert that is sent again still fires.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from node_remediation import codes
from node_remediation.events.alarm import Series, find_in_series, series_of
from node_remediation.events.fields import ClusterName, kind, mapping, text
from node_remediation.model import Alarm, NoReport, Outcome, Report, Trigger, bounded

SOURCE = "alertmanager"
DETAIL_TYPE = "Alertmanager Alert"


def is_alertmanager(body: Mapping[str, Any]) -> bool:
    """Tell whether a body is Alertmanager's: a list of alerts with a status."""
    return isinstance(body.get("alerts"), list) and isinstance(body.get("status"), str)


def read_alerts(body: Mapping[str, Any], event_id: str, sent: datetime) -> list[Report | NoReport]:
    """Read each alert of a body. Alerts are told apart by their fingerprint, else by their labels."""
    alerts = body["alerts"]
    return [_read_alert(alert if isinstance(alert, dict) else {}, alert, event_id, sent) for alert in alerts]


def _read_alert(alert: Mapping[str, Any], given: object, event_id: str, sent: datetime) -> Report | NoReport:
    labels, annotations, status = mapping(alert, "labels"), mapping(alert, "annotations"), text(alert, "status")
    name = text(labels, "alertname")
    words = text(annotations, "summary", "description", "message") or ""
    trigger = Trigger(SOURCE, DETAIL_TYPE, event_id, sent, bounded(f"alert {name}: {words}".strip(": ")))
    if name is None or status not in ("firing", "resolved"):
        what = "labels.alertname" if name is None else "status: firing or resolved"
        reason = f"an alert takes {what}; this one is {kind(given)} without it"
        return NoReport(trigger, Outcome.UNREADABLE, reason, codes.UNREADABLE)
    source = Alarm(name, series=text(alert, "fingerprint") or series_of(labels), alertmanager=True)
    healthy = status == "resolved"
    found = find_in_series(Series((labels,)))
    if isinstance(found, str):
        outcome = Outcome.IGNORED if healthy else Outcome.REFUSED
        return NoReport(trigger, outcome, _unresolved(name, found), found, alarm=source)
    node, cluster = found
    # An ordinary label of Prometheus; CloudWatch's dimensions have no such convention.
    cluster = cluster if cluster.name else ClusterName(text(labels, "cluster"))
    return Report(trigger, node, cluster.name, cluster_is_hyperpod=cluster.hyperpod, healthy=healthy, alarm=source)


def _unresolved(name: str, code: str) -> str:
    if code == codes.AMBIGUOUS_NODES:
        return bounded(f"alert {name} names more than one node; its labels must name exactly one")
    labels = "instance, node, Hostname, host.id or k8s.node.name"
    return bounded(f"alert {name} names no node: none of the labels {labels} has an instance ID or an EKS node's name")
