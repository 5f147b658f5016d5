"""HyperPod's own events, as documented and as captured."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from node_remediation.model import HYPERPOD, IdKind, Node, NoReport, Outcome, Progress, Report, Trigger, bounded
from tests.unit.events.payloads import NODE, NOW, cluster_event, health_event, no_report, report

CAPTURED_TEXT = "HyperPod is working on repairing the unhealthy node. Please wait until it is over."
NO_NEWS = "the event is neither about an unhealthy instance nor about a reboot"
UNHEALTHY = f"Instance {NODE} is unhealthy. Reason: Xid 79. Repair action: Replace."


def test_captured_health_event_with_null_fields_is_read_whole() -> None:
    """Null reason and time are as good as absent ones; HyperPod's repair action and recommendation are kept."""
    summary = {
        "HealthStatus": "Unhealthy",
        "HealthStatusReason": None,
        "RepairAction": "Replace",
        "Recommendation": CAPTURED_TEXT,
    }
    found = report(health_event(HealthSummary=summary, EventTime=None, Tags=None))
    assert found == Report(
        trigger=Trigger("aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event", "event-1", NOW, ""),
        node=Node(IdKind.NODE_ID, NODE),
        cluster="ml-a",
        cluster_is_hyperpod=True,
        repair_action="Replace",
        recommendation=CAPTURED_TEXT,
    )
    assert (found.source, found.on_demand) == (HYPERPOD, False)


def test_healthy_event_reports_the_node_well() -> None:
    """Healthy is a report too: it clears."""
    assert report(health_event(status="Healthy")).healthy


@pytest.mark.parametrize("status", ["Unknown", "Degraded", "unhealthy", "", None, 7])
def test_any_other_health_status_is_ignored(status: object) -> None:
    """Only Unhealthy and Healthy mean something."""
    found = no_report(health_event(HealthSummary={"HealthStatus": status}))
    assert (found.outcome, found.code, found.cluster) == (Outcome.IGNORED, None, "ml-a")


@pytest.mark.parametrize("summary", [None, "Unhealthy", [], {}])
def test_health_event_without_summary_is_ignored(summary: object) -> None:
    """An event that says nothing about health asks for nothing."""
    assert no_report(health_event(HealthSummary=summary)).outcome is Outcome.IGNORED


@pytest.mark.parametrize("names", [{"InstanceId": None}, {"InstanceId": "hyperpod-"}, {"NodeName": "hyperpod- "}])
def test_unhealthy_event_without_node_is_refused(names: dict[str, Any]) -> None:
    """A person should know of a sick node that has no name."""
    found = no_report(health_event(**{"InstanceId": None} | names))
    assert (found.outcome, found.code, found.cluster) == (Outcome.REFUSED, "NodeNotResolved", "ml-a")


def test_healthy_event_without_node_is_ignored() -> None:
    """It asks for nothing."""
    found = no_report(health_event(node=None, status="Healthy"))
    assert (found.outcome, found.code) == (Outcome.IGNORED, None)


def test_health_event_without_cluster_is_still_a_report() -> None:
    """The cluster may be known otherwise."""
    found = report(health_event(ClusterName=None))
    assert (found.cluster, found.cluster_is_hyperpod) == (None, False)


@pytest.mark.parametrize("where", ["detail", "summary"])
def test_event_time_of_a_health_event_counts(where: str) -> None:
    """It is the time of the fault, not of the delivery."""
    event = health_event()
    target = event["detail"] if where == "detail" else event["detail"]["HealthSummary"]
    target["EventTime"] = (NOW - timedelta(minutes=5)).isoformat()
    assert report(event).trigger.time == NOW - timedelta(minutes=5)


@pytest.mark.parametrize("event", [health_event(), cluster_event(f"Instance {NODE} is unhealthy.")])
def test_archive_replay_is_marked(event: dict[str, Any]) -> None:
    """EventBridge marks what it plays again."""
    assert report(event | {"replay-name": "tuesday"}).replay == "tuesday"
    assert report(event).replay is None


def test_unhealthy_instance_of_a_cluster_event_is_read_whole() -> None:
    """The Description says that it is unhealthy, and what HyperPod is going to do."""
    trigger = Trigger(
        "aws.sagemaker", "SageMaker HyperPod Cluster Event", "event-1", NOW - timedelta(seconds=2), UNHEALTHY
    )
    assert report(cluster_event(UNHEALTHY)) == Report(
        trigger=trigger,
        node=Node(IdKind.NODE_ID, NODE),
        cluster="ml-a",
        cluster_is_hyperpod=True,
        repair_action="Replace",
        cluster_event="e",
    )


# As the "HyperPod cluster events reference" words them.
WHERE = f"{NODE} in Cluster ml-a and IG p5"
IN_PROGRESS = f"Reboot of EC2 Instance {NODE} is currently in progress on Cluster ml-a and IG p5"


@pytest.mark.parametrize(
    ("description", "progress"),
    [
        (IN_PROGRESS, Progress.IN_PROGRESS),
        (f"Instance reboot {WHERE} completed successfully", Progress.COMPLETED),
        (f"Instance Reboot {WHERE} failed", Progress.FAILED),
        (f"Failed to submit reboot request for EC2 Instance {WHERE}", Progress.FAILED),
        (f"Instance {NODE} is unhealthy. Reboot of EC2 Instance {NODE} is currently in progress", None),
    ],
)
def test_words_about_a_reboot_are_its_progress(description: str, progress: Progress | None) -> None:
    """They are no complaint; an unhealthy instance is one whatever else is said."""
    found = report(cluster_event(description))
    assert (found.progress, found.complains, found.healthy) == (progress, progress is None, False)


@pytest.mark.parametrize(
    ("description", "event_id"),
    [
        (IN_PROGRESS, None),
        (f"Instance reboot {WHERE} completed successfully", None),
        (f"Instance Reboot {WHERE} failed", "e"),
    ],
)
def test_only_a_failure_is_looked_up_for_its_message(description: str, event_id: str | None) -> None:
    """Each reboot makes two events of which DescribeClusterEvent has nothing to add."""
    assert report(cluster_event(description)).cluster_event == event_id


@pytest.mark.parametrize(
    "description",
    [
        f"Instance creation {NODE} in Cluster ml-reboot and IG p5 failed",
        f"Termination of EC2 Instance {NODE} is currently in progress in Cluster ml-a and IG p5",
        "Instance reboot",
    ],
)
def test_words_about_other_operations_are_ignored(description: str) -> None:
    """A cluster may be named after a reboot."""
    assert no_report(cluster_event(description)).reason == NO_NEWS


def test_progress_of_no_node_is_ignored() -> None:
    """Nothing can be concluded from it."""
    found = no_report(cluster_event(IN_PROGRESS, InstanceId=None, EventDetails=None))
    assert (found.outcome, found.reason) == (Outcome.IGNORED, NO_NEWS)


def test_failure_message_of_an_event_is_quoted() -> None:
    """Then DescribeClusterEvent has nothing to add."""
    metadata = {"EventMetadata": {"Instance": {"FailureMessage": "Xid 79 on GPU 3"}}}
    found = report(cluster_event(UNHEALTHY, EventDetails=metadata))
    assert (found.trigger.reason, found.cluster_event) == (f"{UNHEALTHY} (Xid 79 on GPU 3)", None)


@pytest.mark.parametrize("instance", [{"InstanceId": None}, {"InstanceId": ""}, {"InstanceId": 5}])
def test_cluster_event_without_instance_id_names_the_logical_id(instance: dict[str, Any]) -> None:
    """EventMetadata.Instance.NodeLogicalId stands in for an InstanceId that is not there."""
    whole = report(cluster_event(UNHEALTHY))
    found = report(cluster_event(UNHEALTHY, **instance))
    assert found == replace(whole, node=Node(IdKind.LOGICAL_ID, "df268d19-f035"))


@pytest.mark.parametrize("metadata", [None, {"EventMetadata": None}, {"EventMetadata": {"Instance": None}}, {}])
def test_cluster_event_without_any_node_is_refused(metadata: object) -> None:
    """Parts of EventMetadata can be null."""
    found = no_report(cluster_event(UNHEALTHY, InstanceId=None, EventDetails=metadata))
    assert (found.outcome, found.code, found.cluster) == (Outcome.REFUSED, "NodeNotResolved", "ml-a")


@pytest.mark.parametrize(
    ("description", "action"),
    [
        ("Instance i-1 is unhealthy. Repair action: None.", "None"),
        ("Instance i-1 is unhealthy. repair action:Reboot", "Reboot"),
        (f"Instance i-1 is unhealthy. {'x' * 5_000} Repair action: Replace.", "Replace"),
        (f"Instance i-1 is unhealthy. Repair action: {'x' * 5_000}", bounded("x" * 5_000)),
        ("Instance i-1 is unhealthy.", None),
    ],
)
def test_repair_action_in_a_description_is_read(description: str, action: str | None) -> None:
    """It counts as the RepairAction that a health event carries."""
    assert report(cluster_event(description)).repair_action == action


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
    """Only an Instance event that says that it is unhealthy is a report."""
    found = no_report(event)
    assert found == NoReport(found.trigger, Outcome.IGNORED, NO_NEWS, cluster="ml-a")
