"""Alerts of Prometheus and Grafana, in Alertmanager's JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.events.alert import is_alertmanager, read_alerts
from node_remediation.model import NoReport, Outcome, Report
from tests.unit.events.payloads import NODE, NOW, read

LABELS = {"alertname": "hyperpod-reboot-xid", "node": f"hyperpod-{NODE}", "cluster": "eks-a"}


def alert(status: object = "firing", labels: object = LABELS, **more: Any) -> dict[str, Any]:
    return {
        "status": status,
        "labels": labels,
        "annotations": {"summary": "Xid 79 on GPU 3"},
        "startsAt": "2026-11-23 02:10:00.123456789 +0000 UTC",
        "fingerprint": "f1",
    } | more


def body(*alerts: object) -> dict[str, Any]:
    return {"receiver": "default", "status": "firing", "alerts": list(alerts)}


def test_firing_alert_complains_as_of_its_sending() -> None:
    """It is sent again while it fires; the time at which it began would say nothing new."""
    (found,) = read(body(alert()))
    assert isinstance(found, Report)
    assert (found.node.id, found.cluster, found.cluster_is_hyperpod) == (NODE, "eks-a", False)
    assert (found.source, found.healthy, found.trigger.time) == ("alert:hyperpod-reboot-xid#f1", False, NOW)
    assert found.trigger.reason == "alert hyperpod-reboot-xid: Xid 79 on GPU 3"


def test_each_alert_of_a_message_is_a_report_of_its_own() -> None:
    """Alertmanager groups them; resolved ones withdraw, by the same fingerprint."""
    one, other = read(body(alert(), alert("resolved", fingerprint="f2")))
    assert isinstance(one, Report)
    assert isinstance(other, Report)
    assert (one.healthy, other.healthy) == (False, True)
    assert other.source == "alert:hyperpod-reboot-xid#f2"


def test_alert_without_a_fingerprint_is_known_by_its_labels() -> None:
    """Templates may leave it out."""
    firing, resolved, another = read(
        body(
            alert(fingerprint=None),
            alert("resolved", dict(reversed(LABELS.items())), fingerprint=None),
            alert(labels=LABELS | {"gpu": "3"}, fingerprint=None),
        )
    )
    assert isinstance(firing, Report)
    assert isinstance(resolved, Report)
    assert isinstance(another, Report)
    assert firing.source == resolved.source != another.source


@pytest.mark.parametrize(
    ("given_", "outcome", "code"),
    [
        (alert(labels={"alertname": "a"}), Outcome.REFUSED, "NodeNotResolved"),
        (alert("resolved", {"alertname": "a"}), Outcome.IGNORED, "NodeNotResolved"),
        (alert(labels=LABELS | {"instance": "i-0bbbbbbbbbbbbbbbb"}), Outcome.REFUSED, "AmbiguousNodes"),
        (alert(labels={"node": NODE}), Outcome.UNREADABLE, "Unreadable"),
        (alert("pending"), Outcome.UNREADABLE, "Unreadable"),
        ("text", Outcome.UNREADABLE, "Unreadable"),
    ],
)
def test_alert_that_cannot_be_acted_on_says_why(given_: object, outcome: Outcome, code: str) -> None:
    """And leaves the others of its message as they are."""
    bad, good = read(body(given_, alert(fingerprint="good")))
    assert isinstance(bad, NoReport)
    assert (bad.outcome, bad.code) == (outcome, code)
    assert isinstance(good, Report)


def test_message_of_sns_is_unwrapped() -> None:
    """That is how alerts come, unless the subscription is raw; the time of publishing is the report's."""
    envelope = {
        "Type": "Notification",
        "MessageId": "sns-1",
        "Timestamp": "2026-11-23T02:13:00.000Z",
        "Message": json.dumps(body(alert())),
    }
    (found,) = read(envelope)
    assert isinstance(found, Report)
    assert (found.trigger.event_id, f"{found.trigger.time:%H:%M:%S}") == ("sns-1", "02:13:00")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["firing", "resolved", NODE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", *alert(), *LABELS]), inner),
    max_leaves=12,
)


@given(st.lists(values, max_size=3))
def test_any_alerts_are_read_one_by_one(alerts: list[Any]) -> None:
    """Whatever a template makes of them."""
    assert is_alertmanager(body(*alerts))
    assert len(read_alerts(body(*alerts), "id", NOW)) == len(alerts)
