"""Many invocations at once on one ledger and one cluster; what was rebooted is what the simulated API says."""

import random
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from local.aws import LocalAws
from node_remediation.codes import CLUSTER_BUDGET_EXCEEDED
from node_remediation.model import Message, Outcome, Result
from node_remediation.settings import MAX_RECEIVES
from node_remediation.wiring import build
from tests.ledger.function import create_table, environment, report

AT_ONCE = 16  # invocations
# How long the first read's answer takes: longer than it takes all invocations to ask.
_READ_SECONDS = 0.5


class _Session:
    """Clients of the local AWS, as the function configures them."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws

    def client(self, service_name: str, **_: object) -> object:
        return self._aws.client(service_name)


@dataclass
class Invocation:
    """An execution environment of its own: nothing but the ledger and the cluster is shared with others."""

    aws: LocalAws
    variables: dict[str, str]
    results: list[Result] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._remediator = build(self.variables, session=_Session(self.aws))

    def handle_all(self, messages: list[Message]) -> None:
        """Handle messages until all are acknowledged, those that are handed back as often as the queue brings them."""
        while messages:
            assert messages[0].receives <= MAX_RECEIVES, "handed back for good"
            handling = self._remediator.handle(messages, seconds_left=lambda: 60.0)
            self.results += handling.results
            again = [message for message in messages if message.id in handling.handed_back]
            messages = [replace(message, receives=message.receives + 1) for message in again]


@pytest.fixture(scope="module")
def invocations(aws: LocalAws) -> list[Invocation]:
    variables, _ = environment(aws, create_table(aws))
    return [Invocation(aws, variables) for _ in range(AT_ONCE)]


class Cluster:
    """A simulated cluster whose nodes reboot at once, so that a second reboot would be noticed."""

    def __init__(self, aws: LocalAws, nodes: int) -> None:
        self.name = f"ml-{uuid.uuid4().hex[:8]}"
        body = {"name": self.name, "nodes": nodes, "reboot_seconds": 0}
        made = aws.admin("POST", "/_local/hyperpod/clusters", body)
        self.nodes: list[str] = [node["instance_id"] for node in made["nodes"]]
        self._aws = aws

    def reboots(self) -> list[str]:
        """Return the nodes in the order of their reboots."""
        reboots = self._aws.admin("GET", "/_local/hyperpod/reboots")
        return [reboot["node"] for reboot in reboots if reboot["cluster"] == self.name]

    def report(self, node: str) -> Message:
        return report(node, self.name)


def all_at_once(aws: LocalAws, invocations: Sequence[Invocation], batches: Sequence[list[Message]]) -> list[Result]:
    """Let each invocation handle its batch, all of them judging by what the ledger said before any claimed."""
    start = threading.Barrier(len(batches))
    slow = {"service": "dynamodb", "action": "BatchGetItem", "after": True, "delay": _READ_SECONDS}
    aws.faults({**slow, "count": len(batches)})

    def handle(invocation: Invocation, batch: list[Message]) -> list[Result]:
        seen = len(invocation.results)
        start.wait()
        invocation.handle_all(batch)
        return invocation.results[seen:]

    with ThreadPoolExecutor(len(batches)) as pool:
        return [result for results in pool.map(handle, invocations, batches) for result in results]


def nodes_of(results: Sequence[Result], outcome: Outcome) -> list[str]:
    return [result.node.id for result in results if result.outcome is outcome and result.node]


def test_fifty_sick_nodes_of_a_hundred_are_twenty_reboots_whoever_reports_them(
    aws: LocalAws, invocations: list[Invocation]
) -> None:
    """A fifth of the nodes is the budget; each node is reported three times, to whatever invocation."""
    cluster = Cluster(aws, 100)
    reports = [cluster.report(node) for node in cluster.nodes[:50] * 3]
    random.Random(3).shuffle(reports)  # noqa: S311  any order will do
    results = all_at_once(aws, invocations, [reports[share::AT_ONCE] for share in range(AT_ONCE)])
    rebooted = cluster.reboots()
    assert len(rebooted) == len(set(rebooted)) == 20
    assert sorted(nodes_of(results, Outcome.REBOOTED)) == sorted(rebooted)
    assert set(nodes_of(results, Outcome.REFUSED)) - set(rebooted) == {*cluster.nodes[:50]} - {*rebooted}
    assert {result.code for result in results if result.outcome is Outcome.REFUSED} == {CLUSTER_BUDGET_EXCEEDED}
    assert len(results) == len(reports)


def test_last_of_a_budget_is_spent_once(aws: LocalAws, invocations: list[Invocation]) -> None:
    """Sixteen sick nodes, one reboot left: fifteen are refused."""
    cluster = Cluster(aws, 20)
    first, others = cluster.nodes[:3], cluster.nodes[3 : 3 + AT_ONCE]
    invocations[0].handle_all([cluster.report(node) for node in first])
    results = all_at_once(aws, invocations, [[cluster.report(node)] for node in others])
    rebooted = cluster.reboots()
    assert sorted(rebooted[:3]) == sorted(first)
    assert rebooted[3:] == nodes_of(results, Outcome.REBOOTED)
    assert len(rebooted) == 4
    assert sorted(nodes_of(results, Outcome.REFUSED)) == sorted({*others} - {*rebooted})


def test_one_node_is_rebooted_once_however_many_report_it(aws: LocalAws, invocations: list[Invocation]) -> None:
    """Sixteen reports of one node in sixteen invocations: one reboot, fifteen duplicates."""
    cluster = Cluster(aws, 10)
    results = all_at_once(aws, invocations, [[cluster.report(cluster.nodes[0])] for _ in range(AT_ONCE)])
    assert cluster.reboots() == cluster.nodes[:1]
    assert nodes_of(results, Outcome.REBOOTED) == cluster.nodes[:1]
    assert len(nodes_of(results, Outcome.DUPLICATE)) == AT_ONCE - 1


def test_one_message_delivered_many_times_at_once_is_one_reboot(aws: LocalAws, invocations: list[Invocation]) -> None:
    """A standard queue may do so: who comes later finds the node claimed."""
    cluster = Cluster(aws, 10)
    message = cluster.report(cluster.nodes[0])
    results = all_at_once(aws, invocations, [[message] for _ in range(AT_ONCE)])
    assert cluster.reboots() == cluster.nodes[:1]
    outcomes = sorted(result.outcome for result in results)
    assert outcomes == [Outcome.DUPLICATE] * (AT_ONCE - 1) + [Outcome.REBOOTED]
