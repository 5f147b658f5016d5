"""Many invocations at once on one ledger and one cluster; what was rebooted is what the simulated API says."""

import json
import random
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.aws import LocalAws
from node_remediation.codes import CLUSTER_BUDGET_EXCEEDED
from node_remediation.model import Ending, Message, Outcome
from tests.ledger.invocation import Invocation, create_table, now
from tests.unit.fakes import health_event

AT_ONCE = 16  # invocations
# How long the first read's answer takes: longer than it takes all invocations to ask.
_READ_SECONDS = 0.5


@pytest.fixture(scope="module")
def invocations(aws: LocalAws) -> list[Invocation]:
    table = create_table(aws, f"ledger-{uuid.uuid4().hex[:8]}")
    return [Invocation(aws, table) for _ in range(AT_ONCE)]


class Cluster:
    """A simulated cluster whose nodes take so long to reboot that a second reboot would be noticed."""

    def __init__(self, aws: LocalAws, nodes: int) -> None:
        self.name = f"ml-{uuid.uuid4().hex[:8]}"
        body = {"name": self.name, "nodes": nodes, "reboot_seconds": 0}
        made = aws.admin("POST", "/_local/hyperpod/clusters", body)
        self.nodes: list[str] = [node["instance_id"] for node in made["nodes"]]
        self._aws = aws

    def reboots(self) -> list[str]:
        """The nodes in the order of their reboots."""
        reboots = self._aws.admin("GET", "/_local/hyperpod/reboots")
        return [reboot["node"] for reboot in reboots if reboot["cluster"] == self.name]

    def report(self, node: str) -> Message:
        return Message(uuid.uuid4().hex, json.dumps(health_event(node, self.name, time=now().isoformat())), now())


def all_at_once(aws: LocalAws, invocations: Sequence[Invocation], batches: Sequence[list[Message]]) -> list[Ending]:
    """Let each invocation handle its batch, all of them judging by what the ledger said before any claimed."""
    start = threading.Barrier(len(batches))
    slow = {"service": "dynamodb", "action": "BatchGetItem", "after": True, "delay": _READ_SECONDS}
    aws.faults({**slow, "count": len(batches)})

    def handle(invocation: Invocation, batch: list[Message]) -> list[Ending]:
        seen = len(invocation.endings)
        start.wait()
        invocation.handle_all(batch)
        return invocation.endings[seen:]

    with ThreadPoolExecutor(len(batches)) as pool:
        return [ending for endings in pool.map(handle, invocations, batches) for ending in endings]


def nodes_of(endings: Sequence[Ending], outcome: Outcome) -> list[str]:
    return [ending.case.node.id for ending in endings if ending.outcome is outcome and ending.case.node]


def test_fifty_sick_nodes_of_a_hundred_are_twenty_reboots_whoever_reports_them(
    aws: LocalAws, invocations: list[Invocation]
) -> None:
    """A fifth of the nodes is the budget; each node is reported three times, to whatever invocation."""
    cluster = Cluster(aws, 100)
    reports = [cluster.report(node) for node in cluster.nodes[:50] * 3]
    random.Random(3).shuffle(reports)  # noqa: S311  any order will do
    endings = all_at_once(aws, invocations, [reports[share::AT_ONCE] for share in range(AT_ONCE)])
    rebooted = cluster.reboots()
    assert len(rebooted) == len(set(rebooted)) == 20
    assert sorted(nodes_of(endings, Outcome.REBOOTED)) == sorted(rebooted)
    # While its reboot is being claimed, another report of the same node may still find only the budget used up.
    assert set(nodes_of(endings, Outcome.REFUSED)) - set(rebooted) == {*cluster.nodes[:50]} - {*rebooted}
    assert {ending.code for ending in endings if ending.outcome is Outcome.REFUSED} == {CLUSTER_BUDGET_EXCEEDED}
    assert len(endings) == len(reports)


def test_last_of_a_budget_is_spent_once(aws: LocalAws, invocations: list[Invocation]) -> None:
    """Sixteen sick nodes, one reboot left: fifteen are refused."""
    cluster = Cluster(aws, 20)
    first, others = cluster.nodes[:3], cluster.nodes[3 : 3 + AT_ONCE]
    invocations[0].handle_all([cluster.report(node) for node in first])
    endings = all_at_once(aws, invocations, [[cluster.report(node)] for node in others])
    rebooted = cluster.reboots()
    assert sorted(rebooted[:3]) == sorted(first)
    assert rebooted[3:] == nodes_of(endings, Outcome.REBOOTED)
    assert len(rebooted) == 4
    assert sorted(nodes_of(endings, Outcome.REFUSED)) == sorted({*others} - {*rebooted})


def test_one_node_is_rebooted_once_however_many_report_it(aws: LocalAws, invocations: list[Invocation]) -> None:
    """Sixteen reports of one node in sixteen invocations: one reboot, fifteen duplicates."""
    cluster = Cluster(aws, 10)
    endings = all_at_once(aws, invocations, [[cluster.report(cluster.nodes[0])] for _ in range(AT_ONCE)])
    assert cluster.reboots() == cluster.nodes[:1]
    assert nodes_of(endings, Outcome.REBOOTED) == cluster.nodes[:1]
    assert len(nodes_of(endings, Outcome.DUPLICATE)) == AT_ONCE - 1


def test_one_message_delivered_many_times_at_once_is_one_reboot(aws: LocalAws, invocations: list[Invocation]) -> None:
    """A standard queue may do so; who does not hold the claim waits for the answer of who does."""
    cluster = Cluster(aws, 10)
    message = cluster.report(cluster.nodes[0])
    endings = all_at_once(aws, invocations, [[message] for _ in range(AT_ONCE)])
    assert cluster.reboots() == cluster.nodes[:1]
    assert {ending.outcome for ending in endings} <= {Outcome.REBOOTED, Outcome.FAILED}
    assert Outcome.REBOOTED in {ending.outcome for ending in endings}
