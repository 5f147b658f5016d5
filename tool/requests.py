"""Sends what a person asks for to the intake queue, where every guard applies."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from node_remediation.events import own
from node_remediation.model import INSTANCE_ID
from smoke.stack import Stack


def request(stack: Stack, cluster: str, nodes: Sequence[str], reason: str) -> str:
    """Ask for reboots of nodes; returns the ID of the message."""
    ids = [each.removeprefix("hyperpod-") for each in nodes]  # as EKS names them
    detail = {
        "ClusterName": cluster,
        "NodeIds": [each for each in ids if INSTANCE_ID.fullmatch(each)],
        "NodeLogicalIds": [each for each in ids if not INSTANCE_ID.fullmatch(each)],
        "Reason": reason,
    }
    return _send(stack, own.REQUESTED, detail)


def answer(stack: Stack, incident: str, detail_type: str, *, by: str | None, reason: str) -> str:
    """Answer a proposed reboot; returns the ID of the message."""
    return _send(stack, detail_type, {"IncidentId": incident, "By": by or _caller(stack), "Reason": reason})


def _caller(stack: Stack) -> str:
    """Name the caller as IAM does: user/alice, assumed-role/oncall/alice."""
    arn: str = stack.client("sts").get_caller_identity()["Arn"]
    return arn.split(":", 5)[5]


def _send(stack: Stack, detail_type: str, detail: dict[str, Any]) -> str:
    event = {"id": str(uuid4()), "source": own.SOURCE, "detail-type": detail_type, "detail": detail}
    answer = stack.client("sqs").send_message(QueueUrl=stack.outputs["IntakeQueueUrl"], MessageBody=json.dumps(event))
    return str(answer["MessageId"])
