"""The checks, in order: each returns what it has proved, or raises SmokeError with what to look at.

Every report is of an instance that does not exist, in a cluster that does not exist: nothing can be rebooted.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from node_remediation.aws import codec
from node_remediation.aws.ledger import node_pk
from node_remediation.events import own
from node_remediation.model import NodeKey
from node_remediation.policy.draft import REDRIVEN_DELAY
from node_remediation.policy.record import NodeRecord
from smoke.letters import CLUSTER_PREFIX, Letter, Letters
from smoke.stack import SmokeError, Stack, code_of

REASON = "smoke test of HyperPod Node Remediation: nothing is wrong, and nothing is to do"
# The function's answers to a cluster that does not exist.
_EXPECTED = ("ClusterNotAllowed", "Paused", "ResourceNotFound")
# The two answers that the function takes for an instance that is gone, if ListClusterNodes agrees.
_GONE = ("ResourceNotFound", "ValidationException")
_REDRIVEN = 2  # the Attempt of a letter that was put back once
_POLL_SECONDS = 1.0


class Skipped(Exception):  # noqa: N818  # no error
    """Says in one line why there is nothing to check."""


@dataclass(slots=True)
class Run:
    """One run of the checks: what it has made so far, and how long it waits for an effect, in seconds.

    `reports` counts what it reported: each report ends in one letter. `returns_at` is when the redriven letter's is
    visible. `undo` removes by name what was made, or may have been: it is noted first.
    """

    stack: Stack
    patience: float
    gone_node: str | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(6))
    reports: int = 0
    undo: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    first: Letter | None = None
    returns_at: datetime | None = None
    letters: Letters = field(init=False)

    def __post_init__(self) -> None:
        sqs, url = self.stack.client("sqs"), self.stack.outputs["DeadLetterQueueUrl"]
        self.letters = Letters(sqs, url, self.cluster)

    @property
    def cluster(self) -> str:
        return CLUSTER_PREFIX + self.token

    def request(self) -> tuple[str, Letter]:
        """Send a request for a node that does not exist; return the node and its letter. Raises SmokeError."""
        node = made_up_node()
        detail = {"ClusterName": self.cluster, "NodeIds": [node], "Reason": REASON}
        request = {"id": f"{self.cluster}-{node}", "source": own.SOURCE, "detail-type": own.REQUESTED, "detail": detail}
        self.send(request)
        return node, self.letter("a request on the intake queue", lambda detail: detail.get("NodeId") == node)

    def send(self, body: Mapping[str, Any]) -> None:
        """Put a message on the intake queue."""
        url = self.stack.outputs["IntakeQueueUrl"]
        with self.reporting():
            self.stack.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Count a report before it is made: where Ctrl-C comes meanwhile, it may have been."""
        self.reports += 1
        try:
            yield
        except ClientError:
            self.reports -= 1
            raise

    def letter(self, of: str, matches: Callable[[Letter], bool]) -> Letter:
        """Return the letter that one report ends in, and look at its code. Raises SmokeError."""
        found = self.letters.await_letter(matches, seconds=self.patience)
        if found is None:
            raise SmokeError(f"{of} made no letter in the dead-letter queue within {self.patience:.0f} s")
        code = found["detail"].get("ErrorCode")
        # With a tag as IAM's condition, a cluster that does not exist has none.
        if code not in _EXPECTED and not (self.stack.settings.cluster_tag and code == "AccessDeniedException"):
            raise SmokeError(
                f"{of} ended in {code}: {found['detail'].get('Message')}; expected {' or '.join(_EXPECTED)}"
            )
        return found

    def await_true(self, problem: str, look: Callable[[], object]) -> None:
        """Wait until `look` is true. Raises SmokeError with the problem."""
        deadline = time.monotonic() + self.patience
        while not look():
            if time.monotonic() >= deadline:
                raise SmokeError(f"{problem} within {self.patience:.0f} s")
            time.sleep(_POLL_SECONDS)


Check = Callable[[Run], str]


def made_up_node() -> str:
    """Return a well-formed instance ID that no instance has."""
    return f"i-{secrets.token_hex(9)[:17]}"


def check_ledger(run: Run) -> str:
    node, letter = run.request()
    run.first = letter
    run.await_true(f"node {node} was not kept in the ledger as dealt with", lambda: "expires" in _item(run, node))
    table = run.stack.client("dynamodb").describe_table(TableName=run.stack.outputs["LedgerTableName"])["Table"]
    if (key := table.get("SSEDescription", {}).get("KMSMasterKeyArn")) != run.stack.outputs["KeyArn"]:
        raise SmokeError(f"the ledger is encrypted with {key}, not with the stack's key {run.stack.outputs['KeyArn']}")
    code = letter["detail"]["ErrorCode"]
    return f"a request was judged ({code}), kept in the ledger under the stack's key, and has its letter"


def check_alarm(run: Run) -> str:
    if not run.stack.settings.alarm_name_prefixes:
        raise Skipped("alarm_name_prefixes is empty: no alarm reports a node")
    name, cloudwatch = f"{run.stack.settings.alarm_name_prefixes[0]}smoke-{run.token}", run.stack.client("cloudwatch")
    run.undo.append((f"alarm {name}", lambda: cloudwatch.delete_alarms(AlarmNames=[name])))
    dimensions = {"HyperPodClusterName": run.cluster, "InstanceId": made_up_node()}
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        AlarmDescription=REASON,
        Namespace="HyperPodNodeRemediation/Smoke",
        MetricName="none",
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="ignore",
    )
    began = time.monotonic()
    with run.reporting():
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason=REASON)
    letter = run.letter(f"alarm {name}", lambda detail: detail.get("Alarm", {}).get("Name") == name)
    took, code = time.monotonic() - began, letter["detail"]["ErrorCode"]
    return f"alarm {name} came through EventBridge and queue, and was judged ({code}) in {took:.0f} s"


def check_contributors(run: Run) -> str:
    prefixes = run.stack.settings.alarm_name_prefixes
    if not prefixes:
        raise Skipped("alarm_name_prefixes is empty: no alarm is asked for its series")
    alarms = [run.stack.arn("cloudwatch", f"alarm:{prefix}smoke-{run.token}") for prefix in prefixes]
    action, iam = "cloudwatch:DescribeAlarmContributors", run.stack.client("iam")
    for alarm in alarms:
        answer = iam.simulate_principal_policy(
            PolicySourceArn=run.stack.role, ActionNames=[action], ResourceArns=[alarm]
        )
        [found] = answer["EvaluationResults"]
        if found["EvalDecision"] != "allowed":
            raise SmokeError(f"IAM answers {found['EvalDecision']} for {action} on {alarm}")
    return f"IAM lets the function call {action} on alarms named {' or '.join(f'{each}*' for each in prefixes)}"


def check_gone_node(run: Run) -> str:
    sagemaker = run.stack.client("sagemaker")
    cluster, _, node = (run.gone_node or _first_cluster(run)).partition("/")
    node = node or made_up_node()
    try:
        sagemaker.describe_cluster_node(ClusterName=cluster, NodeId=node)
    except ClientError as error:
        if (code := code_of(error)) not in _GONE:
            raise
        return f"DescribeClusterNode answers {code} for an instance that cluster {cluster} does not have"
    raise SmokeError(f"DescribeClusterNode still describes {node} in cluster {cluster}: it is not gone")


def check_redrive(run: Run) -> str:
    if run.first is None:
        raise SmokeError("there is no letter to put back: the check of the ledger got none")
    node, id_, delayed = run.first["detail"]["NodeId"], run.first["id"], run.letters.count_delayed()
    run.send(run.first)
    run.returns_at = datetime.now(UTC) + timedelta(seconds=REDRIVEN_DELAY)

    def handled() -> bool:
        item = _item(run, node)
        record = codec.decode(item)
        return isinstance(record, NodeRecord) and id_ in record.handled and "expires" in item

    run.await_true("the letter was put back on the intake queue, but not judged", handled)
    run.await_true("no letter waits in the dead-letter queue for a redriven one", lambda: _more(run, delayed))
    return "its letter, put back on the intake queue, was judged again; the new letter is invisible for 15 minutes"


def check_mail(run: Run) -> str:
    queue = _subscribe(run)
    node, _ = run.request()
    run.await_true("no notification came to a queue that is subscribed to the topic", lambda: _heard(run, queue, node))
    topic, sns = run.stack.outputs["FailureTopicArn"], run.stack.client("sns")
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    others = [each for page in pages for each in page["Subscriptions"] if run.cluster not in each["Endpoint"]]
    return f"a notification of the request was published; the topic's confirmed subscribers: {count_confirmed(others)}"


def count_confirmed(subscriptions: Sequence[Mapping[str, str]]) -> int:
    """Return how many they are. Raises SmokeError if one is not confirmed, or there is none."""
    pending = [each["Endpoint"] for each in subscriptions if each["SubscriptionArn"] == "PendingConfirmation"]
    if pending:
        raise SmokeError(f"the topic works, but not confirmed, and so told nothing: {', '.join(pending)}")
    if not subscriptions:
        raise SmokeError("the topic works, but it has no subscriber: set notification_emails")
    return len(subscriptions)


def check_return(run: Run) -> str:
    """Wait for the letter of the redrive, which is not visible before."""
    if run.returns_at is None:
        raise Skipped("no letter was put back")
    seconds = (run.returns_at - datetime.now(UTC)).total_seconds()
    time.sleep(max(seconds, 0))
    letter = run.letters.await_letter(lambda detail: detail.get("Attempt") == _REDRIVEN, seconds=run.patience)
    if letter is None:
        raise SmokeError("the letter of the redrive did not become visible with Attempt 2")
    return "the letter of the redrive is in the dead-letter queue with Attempt 2"


CHECKS: Mapping[str, Check] = {
    "ledger": check_ledger,
    "alarm": check_alarm,
    "contributors": check_contributors,
    "gone-node": check_gone_node,
    "redrive": check_redrive,
    "mail": check_mail,
}


def _item(run: Run, node: str) -> dict[str, Any]:
    key = {"pk": {"S": node_pk(NodeKey(run.cluster, node))}}
    table = run.stack.outputs["LedgerTableName"]
    answer = run.stack.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)
    item: dict[str, Any] = answer.get("Item", {})
    return item


def _more(run: Run, delayed: int) -> bool:
    return run.letters.count_delayed() > delayed


def _first_cluster(run: Run) -> str:
    pages = run.stack.client("sagemaker").get_paginator("list_clusters").paginate()
    names = (each["ClusterName"] for page in pages for each in page["ClusterSummaries"])
    for name in names:
        if run.stack.settings.allows(name):
            return str(name)
    raise Skipped("there is no HyperPod cluster that the setting clusters allows: DescribeClusterNode was not asked")


def _subscribe(run: Run) -> str:
    """Make a queue that hears what the topic says of this run's cluster, and return its URL."""
    sqs, sns, topic = run.stack.client("sqs"), run.stack.client("sns"), run.stack.outputs["FailureTopicArn"]
    arn = run.stack.arn("sqs", run.cluster)
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    limits = {"Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement | limits]})
    run.undo.append((f"queue {run.cluster}", lambda: _delete_queue(sqs, run.cluster)))
    url: str = sqs.create_queue(QueueName=run.cluster, Attributes={"Policy": policy})["QueueUrl"]
    run.undo.append((f"subscription of {arn}", lambda: _unsubscribe(sns, topic, arn)))
    only = json.dumps({"ClusterName": [run.cluster]})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"FilterPolicy": only})
    return url


def _heard(run: Run, queue: str, node: str) -> bool:
    messages = run.stack.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", [])
    return any(node in message["Body"] for message in messages)


def _delete_queue(sqs: Any, name: str) -> None:
    try:
        sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])
    except sqs.exceptions.QueueDoesNotExist:
        return


def _unsubscribe(sns: Any, topic: str, endpoint: str) -> None:
    for page in sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic):
        for each in page["Subscriptions"]:
            if each["Endpoint"] == endpoint:
                sns.unsubscribe(SubscriptionArn=each["SubscriptionArn"])
