"""Reads from outside what queues, topic, log, ledger and the simulated HyperPod hold, and judges nothing.

Shared by the demonstration, the chaos run and the end-to-end tests.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from local.aws import LocalAws

FAILED_LISTS = ("Failed", "FailedNodeLogicalIds")
ENDS = ("cleared", "refused", "failed", "observed", "recovered", "superseded", "not_recovered", "unverified")
_OWN_SOURCE = "hyperpod.node-remediation"
_AWS_SOURCES = ["aws.sagemaker", "aws.cloudwatch"]
_PLATFORM = ("START ", "END ", "REPORT ", "INIT_")
_DEPTHS = tuple(f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed"))
_HELD_SECONDS = 20  # longer than one look at the dead-letter queue takes

Message = Mapping[str, Any]
Key = tuple[str | None, str | None, str | None]  # cluster, node, code


@dataclass(frozen=True, slots=True)
class Reason:
    """Says why a node was not rebooted, in the API's or the function's own words."""

    code: str
    message: str

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Self:
        return cls(entry.get("ErrorCode", ""), entry.get("Message", ""))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Holds a message of the dead-letter queue; one that names no node is there as it came."""

    key: Key
    reason: Reason = field(default=Reason("", ""), compare=False)
    kind: str = ""
    id: str | None = None
    incident: str | None = None
    event_id: str | None = None
    attempt: int = 1
    retryable: bool = False

    @classmethod
    def read(cls, message: Message) -> Self:
        event, attributes = parse(message["Body"]), read_attributes(message)
        code, kind = attributes.get("ErrorCode"), attributes.get("Kind", "")
        if event.get("source") != _OWN_SOURCE:
            cluster = attributes.get("ClusterName")
            key = (None if cluster == "unknown" else cluster, None, code)
            return cls(key, Reason(code or "", message["Body"]), kind)
        detail = event["detail"]
        return cls(
            key=(detail["ClusterName"], node_of(detail), code),
            reason=Reason.read(detail),
            kind=kind,
            id=event["id"],
            incident=detail.get("IncidentId"),
            event_id=detail["Trigger"]["EventId"],
            attempt=detail.get("Attempt", 1),
            retryable=detail.get("Retryable", False),
        )

    @property
    def node(self) -> str | None:
        return self.key[1]


@dataclass(frozen=True, slots=True)
class TopicEntry:
    """Holds a node in one of the lists of a topic message; `retrying`: the message says that it is tried again.

    `incident` is that of a proposal.
    """

    key: Key
    list: str
    retrying: bool = False
    reason: Reason = field(default=Reason("", ""), compare=False)
    incident: str | None = field(default=None, compare=False)

    @property
    def node(self) -> str | None:
        return self.key[1]


def read_notice(body: str) -> Iterator[TopicEntry]:
    """Read the entries that a queue subscribed to the topic finds in one message of the function's."""
    notice = parse(parse(body).get("Message"))
    retrying = {node_of(entry) for entry in notice.get("Retrying", ())}
    for name, entries in notice.items():
        for entry in entries if isinstance(entries, list) else ():
            fields = entry if isinstance(entry, dict) else {}
            node, reason = node_of(entry), Reason.read(fields)
            key = (notice.get("ClusterName"), node, reason.code or None)
            yield TopicEntry(key, name, node in retrying, reason, fields.get("IncidentId"))


@dataclass(frozen=True, slots=True)
class RebootCall:
    """Describes one BatchRebootClusterNodes call; `failed` has all that was asked for where the call itself failed."""

    time: float
    cluster: str
    asked: tuple[str, ...]
    started: tuple[str, ...]
    failed: Mapping[str, Reason]
    answered: bool

    @classmethod
    def read(cls, logged: Mapping[str, Any]) -> Self:
        asked = (*(logged["node_ids"] or ()), *(logged["logical_ids"] or ()))
        answer, error = logged["answer"] or {}, logged["error"]
        started = (*answer.get("Successful", ()), *answer.get("SuccessfulNodeLogicalIds", ()))
        failed = {node_of(entry) or "": Reason.read(entry) for name in FAILED_LISTS for entry in answer.get(name, ())}
        if error:
            failed = dict.fromkeys(asked, Reason(error["code"], error["message"]))
        return cls(logged["time"], logged["cluster"], asked, started, failed, not error)


@dataclass(frozen=True, slots=True)
class LogLine:
    """Holds a line of the function's log; `crashed`: its invocation failed, so that its messages come again."""

    fields: Mapping[str, Any]
    crashed: bool = False

    def __getitem__(self, name: str) -> Any:
        return self.fields.get(name)


def read_log(printed: Iterable[tuple[str, str]]) -> list[LogLine]:
    """Read the log lines among what was printed, as pairs of a stream and a message.

    A stream belongs to one invocation. A message that is neither JSON nor the platform's is the error of a crash.
    """
    messages = [(stream, message) for stream, message in printed if not message.startswith(_PLATFORM)]
    crashed = {stream for stream, message in messages if not message.startswith("{")}
    lines = ((stream, parse(message)) for stream, message in messages)
    return [LogLine(line, stream in crashed) for stream, line in lines if "level" in line]


def read_metric(printed: Iterable[tuple[str, str]], name: str, **dimensions: str) -> list[float]:
    """Return all values of a metric, from the lines that CloudWatch makes metrics of."""
    lines = [line for line in (parse(message) for _, message in printed) if "_aws" in line and name in line]
    found = [line[name] for line in lines if dimensions.items() <= line.items()]
    return [float(value) for each in found for value in (each if isinstance(each, list) else [each])]


@dataclass(frozen=True, slots=True)
class LedgerItem:
    """Describes an item of the ledger: when it is due, its incident, and its number of unsent outbox entries.

    `claims` are the times at which the node was claimed for a reboot, in seconds since 1970.
    """

    key: str
    due: float | None = None
    incident: str | None = None
    unsent: int = 0
    claims: tuple[float, ...] = ()

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Self:
        """Read an item in DynamoDB's types."""
        due, incident = item.get("due"), item.get("incident", {}).get("M", {})
        entries = [entry["M"] for entry in item.get("outbox", {}).get("L", ())]
        return cls(
            key=item["pk"]["S"],
            due=float(due["N"]) / 1000 if due else None,
            incident=incident.get("id", {}).get("S"),
            unsent=sum(any(entry.get(part, {}).get("BOOL") for part in ("letter", "topic")) for entry in entries),
            claims=tuple(float(claim["N"]) / 1000 for claim in item.get("reboots", {}).get("L", ())),
        )


class Observer:
    """Looks at one deployed stack; has a queue of its own that is subscribed to the topic."""

    def __init__(self, aws: LocalAws, outputs: Mapping[str, str]) -> None:
        self._aws, self._outputs, self._sqs = aws, outputs, aws.client("sqs")
        topic = outputs["FailureTopicArn"]
        self.topic_queue, arn = self._make_queue("observer-topic", "sns.amazonaws.com", topic)
        aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        self._bus = ""

    def listen_to_bus(self) -> None:
        """Get a copy of AWS's own events from now on."""
        events, name = self._aws.client("events"), "observer-bus"
        rule = events.put_rule(Name=name, EventPattern=json.dumps({"source": _AWS_SOURCES}))["RuleArn"]
        self._bus, arn = self._make_queue(name, "events.amazonaws.com", rule)
        events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])

    def _make_queue(self, name: str, service: str, source: str) -> tuple[str, str]:
        """Make a queue that a service may send to for one source; return its URL and ARN."""
        arn = f"arn:aws:sqs:{self._aws.region}:{self._aws.account}:{name}"
        statement: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage"}
        statement |= {"Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": source}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        url: str = self._sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
        return url, arn

    def heard_on_bus(self) -> list[Message]:
        """Take what the bus has delivered since the last time."""
        return self._take(self._bus)

    def heard_on_topic(self) -> list[Message]:
        """Take what the topic has delivered since the last time."""
        return self._take(self.topic_queue)

    def take_letters(self) -> list[Message]:
        """Take the visible letters off the dead-letter queue."""
        return self._take(self._outputs["DeadLetterQueueUrl"])

    def see_letters(self) -> list[Message]:
        """Return the visible letters, and leave them where they are."""
        url = self._outputs["DeadLetterQueueUrl"]
        held = list(self._receive(url))
        for message in held:
            handle = message["ReceiptHandle"]
            self._sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
        return held

    def _take(self, url: str) -> list[Message]:
        taken = []
        for message in self._receive(url):
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            taken.append(message)
        return taken

    def _receive(self, url: str) -> Iterator[Message]:
        names = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["SentTimestamp"]}
        options = names | {"MaxNumberOfMessages": 10, "VisibilityTimeout": _HELD_SECONDS}
        while messages := self._sqs.receive_message(QueueUrl=url, **options).get("Messages"):
            yield from messages

    def queued(self, queue: str = "IntakeQueueUrl") -> dict[str, int]:
        """Return how many messages a queue holds: visible (""), received and not deleted, delayed."""
        url = self._outputs[queue]
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_DEPTHS))["Attributes"]
        return {name.removeprefix(_DEPTHS[0]): int(found[name]) for name in _DEPTHS}

    def printed(self) -> list[tuple[str, str]]:
        """Return all that the function printed, as pairs of a log stream and a message."""
        logs = self._aws.client("logs")
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        pages = (
            page for group in groups for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        )
        return [(event["logStreamName"], event["message"]) for page in pages for event in page["events"]]

    def items(self) -> list[LedgerItem]:
        """Return the ledger's items."""
        pages = self._aws.client("dynamodb").get_paginator("scan")
        found = pages.paginate(TableName=self._outputs["LedgerTableName"], ConsistentRead=True)
        return [LedgerItem.read(item) for page in found for item in page["Items"]]

    def logged_calls(self) -> list[dict[str, Any]]:
        """Return the simulator's log of reboot calls."""
        calls: list[dict[str, Any]] = self._aws.admin("GET", "/_local/hyperpod/calls")["calls"]
        return calls

    def reboots(self) -> list[dict[str, Any]]:
        """Return the reboots that the simulator started, whether or not the function got the answer."""
        reboots: list[dict[str, Any]] = self._aws.admin("GET", "/_local/hyperpod/reboots")
        return reboots

    def nodes(self) -> list[dict[str, Any]]:
        """Return all nodes that the simulator has."""
        return [node for cluster in self._aws.admin("GET", "/_local/hyperpod/clusters") for node in cluster["nodes"]]

    def is_redriving(self) -> bool:
        """Tell whether a move of the letters still runs."""
        tasks = self._sqs.list_message_move_tasks(SourceArn=self._outputs["DeadLetterQueueArn"])["Results"]
        return any(task["Status"] == "RUNNING" for task in tasks)


def read_attributes(message: Message) -> dict[str, str]:
    """Return a message's attributes as text."""
    return {name: each["StringValue"] for name, each in (message.get("MessageAttributes") or {}).items()}


def node_of(entry: Any) -> str | None:
    """Return the node that an entry names, in whichever field."""
    return entry.get("NodeId") or entry.get("NodeLogicalId") if isinstance(entry, dict) else entry


def parse(text: Any) -> dict[str, Any]:
    """Return the JSON object in a text; an empty one where there is none."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
