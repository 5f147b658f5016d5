"""Plays the demonstration and records what CloudWatch would have: the data of the dashboard's picture."""

import json
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws import LocalAws
from local.demo.command import main as demo
from local.observing import Observer, parse

_LOOK_SECONDS = 0.5
_DURATION = re.compile(r"^REPORT .*\bDuration: ([0-9.]+) ms")
# The queues by the outputs that name them, as the template names them.
_QUEUES = {
    "IntakeQueueUrl": "<QueuesIntake.QueueName>",
    "DeadLetterQueueUrl": "<QueuesDeadLetters.QueueName>",
    "UndeliveredQueueUrl": "<QueuesUndelivered.QueueName>",
}
_FUNCTION = {"FunctionName": "<RemediationFunction>"}


def recorded() -> dict[str, Any]:
    """Play the demonstration; return its metrics' values with their seconds, and the states of incidents. Raises
    RuntimeError if the demonstration did not end well."""
    recorder = _Recorder()
    status = demo([], saboteur=recorder.watch)
    if status:
        raise RuntimeError(f"the demonstration ended with status {status}")
    return recorder.read()


def written(record: Mapping[str, Any]) -> str:
    """Return a record as JSON with a metric, or a state, on each line."""
    parts = [f'"{name}": [\n' + ",\n".join(json.dumps(each) for each in record[name]) + "\n]" for name in record]
    return "{" + ",\n".join(parts) + "}\n"


class _Recorder:
    """Looks at the local AWS until it is gone. The local AWS makes no metrics itself, so queues are counted here."""

    def __init__(self) -> None:
        self._events: list[Mapping[str, Any]] = []
        self._depths: list[tuple[float, str, int]] = []

    def watch(self, aws: LocalAws, outputs: Mapping[str, str]) -> None:
        threading.Thread(target=self._watch, args=(aws, outputs), daemon=True).start()

    def _watch(self, aws: LocalAws, outputs: Mapping[str, str]) -> None:
        observer, logs = Observer(aws, outputs), aws.client("logs")
        function = aws.client("lambda").get_function_configuration(FunctionName=outputs["FunctionName"])
        group = function["LoggingConfig"]["LogGroup"]
        try:
            while True:
                now = time.time()
                for queue in _QUEUES:
                    held = observer.queued(queue)
                    count = held[""] + held["NotVisible"] if queue == "IntakeQueueUrl" else held[""]
                    self._depths.append((now, queue, count))
                pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
                self._events = [event for page in pages for event in page["events"]]
                time.sleep(_LOOK_SECONDS)
        except (BotoCoreError, ClientError):
            return  # the demonstration is over

    def read(self) -> dict[str, Any]:
        """Return the record, with times in seconds since the first report was handled."""
        lines = [(event["timestamp"] / 1000, event["message"], parse(event["message"])) for event in self._events]
        start = min(at for at, _, line in lines if "outcome" in line)
        metrics: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[list[float]]] = {}

        def put(namespace: str, name: str, dimensions: Mapping[str, str], at: float, value: float) -> None:
            values = metrics.setdefault((namespace, name, tuple(sorted(dimensions.items()))), [])
            values.append([round(at - start, 1), round(value, 3)])

        for at, message, line in lines:
            if match := _DURATION.match(message):
                put("AWS/Lambda", "Duration", _FUNCTION, at, float(match[1]))
                put("AWS/Lambda", "Errors", _FUNCTION, at, 0)
            for directive in line.get("_aws", {}).get("CloudWatchMetrics", ()):
                dimensions = {name: line[name] for name in directive["Dimensions"][0]}
                for metric in directive["Metrics"]:
                    for value in line[metric["Name"]]:
                        put(directive["Namespace"], metric["Name"], dimensions, at, value)
        empty_at = start
        for at, queue, count in self._depths:
            dimensions = {"QueueName": _QUEUES[queue]}
            if queue == "IntakeQueueUrl":
                empty_at = empty_at if count else at
                put("AWS/SQS", "ApproximateAgeOfOldestMessage", dimensions, at, at - empty_at)
            else:
                put("AWS/SQS", "ApproximateNumberOfMessagesVisible", dimensions, at, count)
        states = [
            [round(at - start, 1), line["incident"], line["state"]]
            for at, _, line in lines
            if line.get("incident") and line.get("state")
        ]
        return {
            "metrics": [
                {"namespace": namespace, "name": name, "dimensions": dict(dimensions), "values": values}
                for (namespace, name, dimensions), values in sorted(metrics.items())
            ],
            "states": states,
        }
