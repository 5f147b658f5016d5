"""Optimistic writes of many rivals at once to the local DynamoDB: what they count together is exact."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.aws import LocalAws
from node_remediation.aws.ledger import DynamoDbLedger, Transacted, transact
from node_remediation.model import IdKind, Node, NodeKey, Trigger
from node_remediation.policy.record import Book, Complaint, Incident, NodeRecord, Record, State
from node_remediation.settings import SHARDS, Settings
from tests.ledger.function import create_table

AT_ONCE = 16
TIMES = 5
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Decision:
    """The records to write, and how many nodes they claim."""

    records: Sequence[Record]
    claimed: int


@pytest.fixture
def table(aws: LocalAws) -> str:
    return create_table(aws)


def open_ledger(aws: LocalAws, table: str) -> DynamoDbLedger:
    return DynamoDbLedger(aws.client("dynamodb"), table=table, settings=Settings())


def run(
    ledger: DynamoDbLedger, nodes: Sequence[NodeKey], *, budget: int = 10**6, seconds: float = 30
) -> Transacted[Decision]:
    """Count one more for each node, as long as the budget lasts."""
    until = time.monotonic() + seconds

    def decide(book: Book, part: Sequence[tuple[NodeKey, ...]]) -> Decision:
        left = budget - book.budget("ml-a").spent(now=NOW, window=timedelta(hours=1))
        claimed = [book.node(key) for (key,) in part][: max(left, 0)]
        counted = [replace(record, put_off=record.put_off + 1) for record in claimed]
        charged = [book.budget("ml-a").charged(NOW, len(claimed))] if claimed else []
        return Decision([*counted, *charged], len(claimed))

    return transact(
        ledger,
        nodes=[(node,) for node in nodes],
        cluster="ml-a",
        book=ledger.load(nodes, ["ml-a"]),
        decide=decide,
        clock=lambda: NOW,
        may_start=lambda: time.monotonic() < until,
    )


def all_at_once(work: Any, count: int = AT_ONCE) -> list[Any]:
    start = threading.Barrier(count)

    def begin(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def test_counter_of_sixteen_rivals_is_exact(aws: LocalAws, table: str) -> None:
    """Each counts what it says it saved: no write is lost, none is made twice."""
    node = NodeKey("ml-a", "i-1")
    ledgers = [open_ledger(aws, table) for _ in range(AT_ONCE)]

    def count(number: int) -> int:
        return sum(len(run(ledgers[number], [node]).plans) for _ in range(TIMES))

    saved = sum(all_at_once(count))
    book = ledgers[0].load([node], ["ml-a"])
    assert book.node(node).put_off == saved
    assert book.budget("ml-a").spent(now=NOW, window=timedelta(hours=1)) == saved
    assert saved == AT_ONCE * TIMES


def test_budget_of_sixteen_rivals_is_spent_and_never_overspent(aws: LocalAws, table: str) -> None:
    """Each wants five nodes of its own; twenty are allowed."""
    ledgers = [open_ledger(aws, table) for _ in range(AT_ONCE)]

    def claim(number: int) -> Transacted[Decision]:
        return run(ledgers[number], [NodeKey("ml-a", f"i-{number}-{each}") for each in range(5)], budget=20)

    done = all_at_once(claim)
    assert sum(plan.claimed for each in done for plan in each.plans) == 20
    assert [each.failed for each in done if each.failed] == []


def test_lost_answers_are_found_out(aws: LocalAws, table: str) -> None:
    """DynamoDB did the work and the connection broke: the write counts, once."""
    node, ledger = NodeKey("ml-a", "i-1"), open_ledger(aws, table)
    aws.faults({"service": "dynamodb", "action": "TransactWriteItems", "after": True, "reset": True})
    assert len(run(ledger, [node]).plans) == 1
    aws.faults({"service": "dynamodb", "action": "TransactWriteItems", "status": 500})
    assert len(run(ledger, [node]).plans) == 1
    assert ledger.load([node], []).node(node).put_off == 2


def test_item_that_cannot_be_read_leaves_its_neighbours(aws: LocalAws, table: str) -> None:
    """Nothing is decided about its node; the others are written, with the budget."""
    ledger, nodes = open_ledger(aws, table), [NodeKey("ml-a", f"i-{number}") for number in range(5)]
    aws.client("dynamodb").put_item(TableName=table, Item={"pk": {"S": "node#ml-a#i-3"}, "version": {"N": "1"}})
    done = run(ledger, nodes)
    assert set(done.failed) == {nodes[3]}
    assert done.book.budget("ml-a").spent(now=NOW, window=timedelta(hours=1)) == 4


def test_what_is_due_is_found_by_shard_and_time(aws: LocalAws, table: str) -> None:
    """And nothing else: neither what is due later, nor what has nothing to do."""
    ledger = open_ledger(aws, table)
    keys = [NodeKey("ml-a", f"i-{number}") for number in range(20)]
    ledger.save([waiting(key, NOW - timedelta(minutes=number)) for number, key in enumerate(keys)], now=NOW, token="a")
    ledger.save([waiting(NodeKey("ml-a", "i-later"), NOW + timedelta(milliseconds=1))], now=NOW, token="b")
    ledger.save([NodeRecord(NodeKey("ml-a", "i-quiet"))], now=NOW, token="c")
    found = {shard: ledger.due(shard, NOW) for shard in range(SHARDS)}
    book = ledger.load_raw([each.pk for of_shard in found.values() for each in of_shard])
    assert set(book.nodes) == set(keys)
    assert all(of_shard == sorted(of_shard, key=lambda each: each.due) for of_shard in found.values())


def waiting(key: NodeKey, due: datetime) -> NodeRecord:
    trigger, node = Trigger("aws.sagemaker", "event", "e-1", NOW), Node(IdKind.NODE_ID, key.id)
    incident = Incident("in-1", State.OPEN, node, NOW, (Complaint("hyperpod", NOW, trigger),), since=NOW, due=due)
    return NodeRecord(key, node=node, incident=incident)
