"""The function with its real edges on the local AWS: what it is built from, and a batch as it gets it."""

import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from local.aws import LocalAws
from node_remediation.model import Message
from node_remediation.settings import INDEX_NAME, Settings


def create_table(aws: LocalAws, name: str | None = None) -> str:
    """Make a ledger's table with its index, as the stack does."""
    name = name or f"ledger-{uuid.uuid4().hex[:8]}"
    keys = [{"AttributeName": "shard", "KeyType": "HASH"}, {"AttributeName": "due", "KeyType": "RANGE"}]
    kinds = {"pk": "S", "shard": "S", "due": "N"}
    aws.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": kind} for each, kind in kinds.items()],
        GlobalSecondaryIndexes=[
            {"IndexName": INDEX_NAME, "KeySchema": keys, "Projection": {"ProjectionType": "KEYS_ONLY"}}
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def environment(aws: LocalAws, table: str, settings: Settings | None = None) -> tuple[dict[str, str], dict[str, str]]:
    """Make queues and topic; returns the function's variables and the stack's outputs."""
    sqs, sns = aws.client("sqs"), aws.client("sns")
    outputs = {"FailureTopicArn": sns.create_topic(Name="failures")["TopicArn"]}
    for name, queue in (("IntakeQueueUrl", "intake"), ("DeadLetterQueueUrl", "dead")):
        outputs[name] = sqs.create_queue(QueueName=queue)["QueueUrl"]
    return {
        **(settings or Settings()).to_env(),
        "INTAKE_QUEUE_URL": outputs["IntakeQueueUrl"],
        "DEAD_LETTER_QUEUE_URL": outputs["DeadLetterQueueUrl"],
        "EVENT_BUS": "default",
        "FAILURE_TOPIC_ARN": outputs["FailureTopicArn"],
        "LEDGER_TABLE": table,
        "MODE_PARAMETER": "/mode",
    }, outputs


def health_event(node: str, cluster: str) -> dict[str, Any]:
    """Return an Unhealthy event of now."""
    return {
        "version": "0",
        "id": uuid.uuid4().hex,
        "source": "aws.sagemaker",
        "detail-type": "SageMaker HyperPod Cluster Node Health Event",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "detail": {
            "ClusterName": cluster,
            "InstanceId": node,
            "HealthSummary": {"HealthStatus": "Unhealthy", "HealthStatusReason": "Xid 79", "RepairAction": "None"},
        },
    }


def report(node: str, cluster: str) -> Message:
    return Message(uuid.uuid4().hex, json.dumps(health_event(node, cluster)), datetime.now(UTC))


def batch(message: Message, receives: int) -> dict[str, Any]:
    """Return the batch in which the event source mapping delivers one message."""
    sent = str(round(time.time() * 1000))
    return {
        "Records": [
            {
                "messageId": message.id,
                "receiptHandle": "none",
                "body": message.body,
                "attributes": {"SentTimestamp": sent, "ApproximateReceiveCount": str(receives)},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
        ]
    }
