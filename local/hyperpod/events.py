"""Makes the `SageMaker HyperPod Cluster Node Health Event`, as samples/node-health.documented.json has it."""

import json
from collections.abc import Mapping

from local.hyperpod.health import Health
from local.hyperpod.world import Cluster, Node

DETAIL_TYPE = "SageMaker HyperPod Cluster Node Health Event"


def health_event(cluster: Cluster, node: Node, health: Health, now: float) -> Mapping[str, object]:
    """Return the PutEvents entry of the event."""
    detail = {
        "ClusterName": cluster.name,
        "ClusterArn": cluster.arn,
        "InstanceId": node.instance_id,
        "Tags": dict(cluster.plan.tags),
        "HealthSummary": {
            "HealthStatus": health.status,
            "HealthStatusReason": health.reason,
            "RepairAction": health.repair_action,
            "Recommendation": health.recommendation,
        },
    }
    return {
        "Source": "aws.sagemaker",
        "DetailType": DETAIL_TYPE,
        "Resources": [cluster.arn],
        "Detail": json.dumps(detail),
        "Time": int(now),
    }
