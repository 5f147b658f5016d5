"""Makes reports of unhealthy nodes, as EventBridge sends them and an event source mapping delivers them."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.aws import ACCOUNT
from node_remediation.settings import SWEEP_DETAIL_TYPE, SWEEP_SOURCE

SOURCE, DETAIL_TYPE = "aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event"
REASON = "InstanceUnhealthyFaultType: NvidiaGPUUnhealthy"
_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class SentReport:
    """Names a node, and the event that reports it, by whose ID its outcome is found."""

    event_id: str
    cluster: str
    node: str


def report(cluster: str, node: str) -> SentReport:
    """Return a report of its own for a node."""
    return SentReport(str(uuid.uuid4()), cluster, node)


def detail(reported: SentReport) -> dict[str, Any]:
    """Return a node health event's detail, as documented ("Cluster node health event")."""
    summary = {"HealthStatus": "Unhealthy", "HealthStatusReason": REASON, "RepairAction": "None"}
    summary["Recommendation"] = "Reboot the node to recover from the fault."
    return {"ClusterName": reported.cluster, "InstanceId": reported.node, "HealthSummary": summary}


def body(reported: SentReport, now: datetime) -> str:
    """Return a node health event, as it lies in the intake queue."""
    event: dict[str, Any] = {"version": "0", "id": reported.event_id, "detail-type": DETAIL_TYPE, "source": SOURCE}
    event |= {"account": ACCOUNT, "time": _iso(now), "region": _REGION, "detail": detail(reported)}
    return json.dumps(event | {"resources": [f"arn:aws:sagemaker:{_REGION}:{ACCOUNT}:cluster/{reported.cluster}"]})


def batch(reports: Sequence[SentReport]) -> dict[str, Any]:
    """Return what the event source mapping hands the function."""
    now = datetime.now(UTC)
    return {"Records": [_record(each, now) for each in reports]}


def sweep() -> dict[str, str]:
    """Return what the stack's schedule sends the function."""
    return {"source": SWEEP_SOURCE, "detail-type": SWEEP_DETAIL_TYPE, "time": _iso(datetime.now(UTC))}


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _record(reported: SentReport, now: datetime) -> dict[str, Any]:
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
        "eventSourceARN": f"arn:aws:sqs:{_REGION}:{ACCOUNT}:intake",
        "awsRegion": _REGION,
    }
