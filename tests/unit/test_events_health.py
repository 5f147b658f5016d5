"""HyperPod's own events, as documented and as captured."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from node_remediation import events
from node_remediation.events import Reading
from node_remediation.model import IdKind, Node, Outcome, Report, Settled, Trigger
from tests.unit.fakes import NOW, health_event, instance_id

NODE = instance_id(1)
CAPTURED_TEXT = "HyperPod is working on repairing the unhealthy node. Please wait until it is over."


def read(event: object) -> Reading:
    readings = events.read(json.dumps(event), message_id="m-1", sent=NOW)
    assert len(readings) == 1
    return readings[0]


def health(**detail: Any) -> dict[str, Any]:
    event = health_event()
    event["detail"] |= detail
    return event


def cluster_event(description: object, **details: Any) -> dict[str, Any]:
    return {
        "id": "event-1",
        "source": "aws.sagemaker",
        "detail-type": "SageMaker HyperPod Cluster Event",
        "time": NOW.isoformat(),
        "resources": ["arn:aws:sagemaker:us-west-2:111122223333:cluster/ml-a"],
        "detail": {
            "EventDetails": {
                "EventId": "e",
                "ClusterName": "ml-a",
                "InstanceGroupName": "p5",
                "InstanceId": NODE,
                "ResourceType": "Instance",
                "EventTime": int(NOW.timestamp() * 1000) - 2_000,
                "EventLevel": "Warn",
                "Description": description,
                "EventDetails": {"EventMetadata": {"Instance": {"NodeLogicalId": "df268d19-f035"}}},
            }
            | details
        },
    }


UNHEALTHY = f"Instance {NODE} is unhealthy. Reason: Xid 79. Repair action: Replace."


def test_captured_health_event_with_null_fields_is_read_whole() -> None:
    """Null reason and time stand for nothing; what HyperPod is going to do is kept."""
    summary = {
        "HealthStatus": "Unhealthy",
        "HealthStatusReason": None,
        "RepairAction": "Replace",
        "Recommendation": CAPTURED_TEXT,
    }
    assert read(health(HealthSummary=summary, EventTime=None, Tags=None)) == Report(
        trigger=Trigger("aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event", f"event-{NODE}", NOW, ""),
        node=Node(IdKind.NODE_ID, NODE),
        cluster="ml-a",
        cluster_is_hyperpod=True,
        repair_action="Replace",
        recommendation=CAPTURED_TEXT,
    )


def test_healthy_event_says_that_the_node_is_well() -> None:
    """Healthy is a report too: it clears."""
    reading = read(health_event(status="Healthy"))
    assert isinstance(reading, Report)
    assert reading.healthy


@pytest.mark.parametrize("status", ["Unknown", "Degraded", "unhealthy", "", None, 7])
def test_any_other_health_status_is_ignored(status: object) -> None:
    """Only Unhealthy and Healthy mean something."""
    event = health_event()
    event["detail"]["HealthSummary"]["HealthStatus"] = status
    reading = read(event)
    assert isinstance(reading, Settled)
    assert (reading.outcome, reading.code, reading.cluster) == (Outcome.IGNORED, None, "ml-a")


@pytest.mark.parametrize("summary", [None, "Unhealthy", [], {}])
def test_health_event_without_summary_is_ignored(summary: object) -> None:
    """What says nothing about health asks for nothing."""
    reading = read(health(HealthSummary=summary))
    assert isinstance(reading, Settled)
    assert reading.outcome is Outcome.IGNORED


def test_health_event_without_node_is_refused() -> None:
    """A person should know of a sick node that nobody can name."""
    reading = read(health(InstanceId=None))
    assert isinstance(reading, Settled)
    assert (reading.outcome, reading.code) == (Outcome.REFUSED, "NodeNotResolved")


def test_health_event_without_cluster_is_still_a_report() -> None:
    """Which cluster it is may be known otherwise: that is not the parser's to say."""
    reading = read(health(ClusterName=None))
    assert isinstance(reading, Report)
    assert reading.cluster is None


@pytest.mark.parametrize("where", ["detail", "summary"])
def test_event_time_of_a_health_event_counts(where: str) -> None:
    """The time of the fault, not of its delivery."""
    event = health_event()
    target = event["detail"] if where == "detail" else event["detail"]["HealthSummary"]
    target["EventTime"] = (NOW - timedelta(minutes=5)).isoformat()
    assert read(event).trigger.time == NOW - timedelta(minutes=5)


@pytest.mark.parametrize("event", [health(), cluster_event(f"Instance {instance_id(1)} is unhealthy.")])
def test_archive_replay_is_marked(event: dict[str, Any]) -> None:
    """EventBridge marks what it plays again."""
    reading = read(event | {"replay-name": "tuesday"})
    assert isinstance(reading, Report)
    assert reading.replay == "tuesday"


def test_unhealthy_instance_of_a_cluster_event_is_read_whole() -> None:
    """The Description tells that it is unhealthy, and what HyperPod is going to do."""
    assert read(cluster_event(UNHEALTHY)) == Report(
        trigger=Trigger(
            "aws.sagemaker",
            "SageMaker HyperPod Cluster Event",
            "event-1",
            NOW - timedelta(seconds=2, microseconds=0),
            UNHEALTHY,
        ),
        node=Node(IdKind.NODE_ID, NODE),
        cluster="ml-a",
        cluster_is_hyperpod=True,
        repair_action="Replace",
    )


@pytest.mark.parametrize("instance", [{}, {"InstanceId": None}, {"InstanceId": ""}])
def test_cluster_event_without_instance_id_names_the_logical_id(instance: dict[str, Any]) -> None:
    """EventMetadata.Instance.NodeLogicalId stands in for an InstanceId that is not there."""
    event = cluster_event(UNHEALTHY)
    del event["detail"]["EventDetails"]["InstanceId"]
    event["detail"]["EventDetails"] |= instance
    whole = read(cluster_event(UNHEALTHY))
    assert isinstance(whole, Report)
    assert read(event) == replace(whole, node=Node(IdKind.LOGICAL_ID, "df268d19-f035"))


@pytest.mark.parametrize("metadata", [None, {"EventMetadata": None}, {"EventMetadata": {"Instance": None}}, {}])
def test_cluster_event_without_any_node_is_refused(metadata: object) -> None:
    """Parts of EventMetadata can be null."""
    reading = read(cluster_event(UNHEALTHY, InstanceId=None, EventDetails=metadata))
    assert isinstance(reading, Settled)
    assert (reading.outcome, reading.code, reading.cluster) == (Outcome.REFUSED, "NodeNotResolved", "ml-a")


@pytest.mark.parametrize(
    ("description", "action"),
    [
        ("Instance i-1 is unhealthy. Repair action: None.", "None"),
        ("Instance i-1 is unhealthy. repair action:Reboot", "Reboot"),
        ("Instance i-1 is unhealthy.", None),
    ],
)
def test_repair_action_in_a_description_is_read(description: str, action: str | None) -> None:
    """It counts as the RepairAction that a health event carries."""
    reading = read(cluster_event(description))
    assert isinstance(reading, Report)
    assert reading.repair_action == action


@pytest.mark.parametrize(
    "event",
    [
        cluster_event("Instance i-1 has started"),
        cluster_event(None),
        cluster_event(["is unhealthy"]),
        cluster_event(UNHEALTHY, ResourceType="Cluster"),
        cluster_event(UNHEALTHY, ResourceType=None),
    ],
)
def test_other_cluster_events_are_ignored(event: dict[str, Any]) -> None:
    """Only an Instance event that says it is unhealthy is a report."""
    reading = read(event)
    assert isinstance(reading, Settled)
    assert reading.outcome is Outcome.IGNORED
