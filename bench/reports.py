"""Reports of unhealthy nodes, as EventBridge sends them and an event source mapping delivers them."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """One message's worth: an event ID of its own, by which its outcome is found."""

    event_id: str
    cluster: str
    node: str


def report(cluster: str, node: str) -> Report:
    return Report(str(uuid.uuid4()), cluster, node)


def body(reported: Report, now: datetime) -> str:
    """A node health event as documented ("Cluster node health event")."""
    summary = {
        "HealthStatus": "Unhealthy",
        "HealthStatusReason": "InstanceUnhealthyFaultType: NvidiaGPUUnhealthy",
        "RepairAction": "None",
        "Recommendation": "Reboot the node to recover from the fault.",
    }
    detail = {"ClusterName": reported.cluster, "InstanceId": reported.node, "HealthSummary": summary}
    event = {
        "version": "0",
        "id": reported.event_id,
        "detail-type": "SageMaker HyperPod Cluster Node Health Event",
        "source": "aws.sagemaker",
        "account": "000000000000",
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "us-east-1",
        "resources": [f"arn:aws:sagemaker:us-east-1:000000000000:cluster/{reported.cluster}"],
        "detail": detail,
    }
    return json.dumps(event)


def batch(reports: Sequence[Report]) -> dict[str, Any]:
    """What the event source mapping hands the function."""
    now = datetime.now(UTC)
    return {"Records": [_record(each, now) for each in reports]}


def event_bytes(reports: Sequence[Report]) -> int:
    """The size of the event that these reports make, of which an invocation takes 6 MB."""
    return len(json.dumps(batch(reports), separators=(",", ":")))


def _record(reported: Report, now: datetime) -> dict[str, Any]:
    sent = str(int(now.timestamp() * 1000))
    return {
        "messageId": str(uuid.uuid4()),
        "receiptHandle": uuid.uuid4().hex,
        "body": body(reported, now),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": sent,
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": sent,
        },
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:intake",
        "awsRegion": "us-east-1",
    }
