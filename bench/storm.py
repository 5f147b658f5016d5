"""Sends a storm of reports through the deployed stack: none may be lost, no node rebooted twice."""

import json
import random
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.reports import SentReport, body, report
from bench.tools import NAIVE, OURS, BenchError, Build
from bench.world import Bench, BenchAccount, world
from node_remediation.settings import SWEEP_EVERY, Settings

# One large cluster, where all invocations write one budget; ten, where each batch has nodes of all.
CLUSTERS = (1, 10)
REPORTS = {OURS: 10_000, NAIVE: 1_000}
REPORTS_PER_NODE = 2
_PATIENCE_SECONDS = 1200
_LOG_SECONDS = 60
_SEED = 5
_MOST_LINES = 10_000
# What the bench itself asks meanwhile.
_OWN_CALLS = ("sqs:GetQueueAttributes", "lambda:", "logs:")


@dataclass(frozen=True, slots=True)
class Storm:
    """Holds what became of a storm. `told_twice`: reports with more than one outcome in the log."""

    build: str
    reports: int
    nodes: int
    clusters: int
    seconds: float
    calls: dict[str, int]
    outcomes: dict[str, int]
    lost: int
    told_twice: int
    rebooted_twice: int
    dead_letters: int

    @property
    def calls_per_report(self) -> float:
        return sum(self.calls.values()) / self.reports


@dataclass(frozen=True, slots=True)
class Storms:
    """Holds a storm of each build over one cluster and over ten."""

    storms: tuple[Storm, ...]


def measure(bench: Bench) -> Storms:
    """Measure one storm after another, each in a stack of its own."""
    each = ((clusters, name) for clusters in CLUSTERS for name in REPORTS)
    return Storms(tuple(_storm(bench, bench.builds[name], REPORTS[name], clusters) for clusters, name in each))


def _storm(bench: Bench, build: Build, count: int, clusters: int) -> Storm:
    """Send all messages before the first is taken."""
    context = {} if build.takes_batches else {"remediation.batch_size": "1", "remediation.batch_window": "0s"}
    sweep_every = SWEEP_EVERY.total_seconds() if build.takes_batches else None  # the naive build has no sweep
    with world(bench, seconds=0, context=context, sweep_every=sweep_every) as stage:
        if not build.takes_batches:
            _ship(stage, build)
        reports = _reports(stage, count, clusters)
        _switch(stage, on=False)
        _send(stage, reports)
        stage.delay_deployed()
        before, started = Counter(stage.aws.calls()), time.monotonic()
        _switch(stage, on=True)
        _drained(stage)
        seconds, calls = time.monotonic() - started, Counter(stage.aws.calls()) - before
        asked = {each.event_id for each in reports}
        lines = _outcomes(stage, asked)
        told = Counter(line["event_id"] for line in lines)
        rebooted = stage.aws.admin("GET", "/_local/hyperpod/reboots")
        reboots = Counter((each["cluster"], each["node"]) for each in rebooted)
        return Storm(
            build=build.name,
            reports=len(reports),
            nodes=len({(each.cluster, each.node) for each in reports}),
            clusters=clusters,
            seconds=seconds,
            calls={name: count for name, count in calls.items() if not name.startswith(_OWN_CALLS)},
            outcomes=dict(Counter(" ".join(filter(None, (line["outcome"], line.get("code")))) for line in lines)),
            lost=len(asked - told.keys()),
            told_twice=sum(count > 1 for count in told.values()),
            rebooted_twice=sum(count > 1 for count in reboots.values()),
            dead_letters=_waiting_messages(stage, "DeadLetterQueueUrl"),
        )


def _ship(stage: BenchAccount, build: Build) -> None:
    """Put the naive build's code into the deployed function."""
    client, name = stage.aws.client("lambda"), stage.outputs["FunctionName"]
    client.update_function_code(FunctionName=name, ZipFile=build.archive.read_bytes(), Architectures=["x86_64"])
    client.update_function_configuration(FunctionName=name, Handler=build.handler)


def _reports(stage: BenchAccount, count: int, clusters: int) -> list[SentReport]:
    """SentReport each node more than once, by events of their own, in no order."""
    once = [each for _ in range(clusters) for each in stage.cluster(count // clusters // REPORTS_PER_NODE)]
    again = [report(each.cluster, each.node) for each in once for _ in range(REPORTS_PER_NODE - 1)]
    reports = [*once, *again]
    random.Random(_SEED).shuffle(reports)  # noqa: S311  # the same order each time
    return reports


def _switch(stage: BenchAccount, *, on: bool) -> None:
    client = stage.aws.client("lambda")
    [mapping] = client.list_event_source_mappings(FunctionName=stage.outputs["FunctionName"])["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)


def _send(stage: BenchAccount, reports: Sequence[SentReport]) -> None:
    sqs, now = stage.aws.client("sqs"), datetime.now(UTC)
    entries = [{"Id": str(number), "MessageBody": body(each, now)} for number, each in enumerate(reports)]
    for start in range(0, len(entries), 10):
        answer = sqs.send_message_batch(QueueUrl=stage.outputs["IntakeQueueUrl"], Entries=entries[start : start + 10])
        if answer.get("Failed"):
            raise BenchError(f"the intake queue did not take {answer['Failed'][0]}")


def _drained(stage: BenchAccount) -> None:
    """Wait until no message waits or is being worked on."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := _waiting_messages(stage, "IntakeQueueUrl"):
        if time.monotonic() > deadline:
            raise BenchError(f"{left} messages are still in the intake queue after {_PATIENCE_SECONDS} s")
        time.sleep(0.5)


def _waiting_messages(stage: BenchAccount, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = stage.aws.client("sqs").get_queue_attributes(QueueUrl=stage.outputs[queue], AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)


def _outcomes(stage: BenchAccount, asked: Collection[str]) -> list[dict[str, Any]]:
    """Return the logged outcomes of these reports.

    The local AWS may log what a function has written last only with its next invocation: until all is there, each gets
    some more, of nothing.
    """
    deadline, functions = time.monotonic() + _LOG_SECONDS, Settings().max_concurrency
    client, nothing = stage.aws.client("lambda"), b'{"Records": []}'
    while True:
        lines = [line for line in _outcome_lines(stage) if line["event_id"] in asked]
        if len({line["event_id"] for line in lines}) == len(asked) or time.monotonic() > deadline:
            return lines
        with ThreadPoolExecutor(functions) as pool:
            for _ in range(functions):
                pool.submit(client.invoke, FunctionName=stage.outputs["FunctionName"], Payload=nothing)


def _outcome_lines(stage: BenchAccount) -> Iterator[dict[str, Any]]:
    """Read stream by stream: the local AWS answers a question with at most 10,000 lines and has no second page."""
    logs = stage.aws.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        for page in logs.get_paginator("describe_log_streams").paginate(logGroupName=name):
            for stream in page["logStreams"]:
                asked = {"logGroupName": name, "logStreamNames": [stream["logStreamName"]]}
                events = logs.filter_log_events(**asked, filterPattern='"outcome"')["events"]
                if len(events) >= _MOST_LINES:
                    raise BenchError(f"{name}: a stream has more lines than the local AWS gives")
                yield from (json.loads(each["message"]) for each in events if each["message"].startswith('{"level"'))
