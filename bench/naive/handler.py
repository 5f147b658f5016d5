"""The naive build's entry point: Powertools by the book (tracer, parser, batch), one event and one call an invocation.

The job itself is the product's own code, copied into this asset: the two builds differ in how they are packaged, in how
they read events, and in how many reports they take at once.
"""

import os
from typing import Any

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.parser import ValidationError, parse
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel

from node_remediation.events import messages_of_batch
from node_remediation.wiring import build

logger = Logger(service="node-remediation")
tracer = Tracer(service="node-remediation")
remediator = build(os.environ)
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


class HealthSummary(BaseModel):
    HealthStatus: str
    HealthStatusReason: str | None = None
    RepairAction: str | None = None
    Recommendation: str | None = None


class HealthDetail(BaseModel):
    ClusterName: str
    InstanceId: str
    HealthSummary: HealthSummary


class NodeHealthEvent(EventBridgeModel):
    detail: HealthDetail


class HandedBackError(Exception):
    """Reports that the message must come again."""


@tracer.capture_method(capture_response=False)
def handle_record(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """Validate one report and bring it to its outcome."""
    try:
        event = parse(event=record.body, model=NodeHealthEvent)
        tracer.put_annotation("cluster", event.detail.ClusterName)
    except ValidationError:
        logger.debug("no node health event")
    messages = messages_of_batch({"Records": [record.raw_event]})
    handling = remediator.handle(messages, seconds_left=lambda: lambda_context.get_remaining_time_in_millis() / 1000)
    if handling.handed_back:
        raise HandedBackError


@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Handle a batch of one message of the intake queue."""
    return process_partial_response(event, handle_record, processor, context)
