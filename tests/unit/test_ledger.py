"""The ledger over a real client with injected answers, and over a table that takes real requests."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from botocore.session import get_session
from botocore.validate import validate_parameters
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.ledger import DynamoDbLedger
from node_remediation.lookup import LookupFailedError
from node_remediation.model import NodeKey, Outcome, Result
from node_remediation.record import Book, BudgetRecord, Claim, NodeRecord, Record, Stage, Watch
from node_remediation.settings import LEDGER_RETENTION
from tests.unit.fakes import NOW, instance_id
from tests.unit.wire import Body, Reply, error, wired

MODEL = get_session().get_service_model("dynamodb")
KEY = NodeKey("ml-a", instance_id(1))
URL = "https://dynamodb.us-west-2.amazonaws.com"


@dataclass
class Table:
    """A table that knows only what the ledger's conditions ask, and holds each request to DynamoDB's limits."""

    items: dict[str, Body] = field(default_factory=dict)
    requests: list[tuple[str, Body]] = field(default_factory=list)
    unprocessed: int = 0

    def reply(self, body: Body) -> Reply:
        if "RequestItems" in body:
            validate_parameters(body, MODEL.shape_for("BatchGetItemInput"))
            return self.get(body)
        validate_parameters(body, MODEL.shape_for("TransactWriteItemsInput"))
        return self.write(body)

    def get(self, body: Body) -> Reply:
        self.requests.append(("get", body))
        (asked,) = body["RequestItems"].values()
        assert asked["ConsistentRead"] is True
        keys = [key["pk"]["S"] for key in asked["Keys"]]
        assert 1 <= len(keys) <= 100
        assert len(set(keys)) == len(keys)
        assert all(0 < len(key.encode()) <= 2048 for key in keys)
        later, now = (keys[: len(keys) // 2], keys[len(keys) // 2 :]) if self.unprocessed > 0 else ([], keys)
        self.unprocessed -= 1
        left = {"ledger": {"Keys": [{"pk": {"S": key}} for key in later], "ConsistentRead": True}} if later else {}
        return 200, {
            "Responses": {"ledger": [self.items[key] for key in now if key in self.items]},
            "UnprocessedKeys": left,
        }

    def write(self, body: Body) -> Reply:
        self.requests.append(("write", body))
        puts = [each["Put"] for each in body["TransactItems"]]
        assert 1 <= len(puts) <= 100
        assert len({put["Item"]["pk"]["S"] for put in puts}) == len(puts)
        assert body["ClientRequestToken"]
        reasons = [{"Code": "None" if self.fits(put) else "ConditionalCheckFailed"} for put in puts]
        if any(reason["Code"] != "None" for reason in reasons):
            return cancelled(*(reason["Code"] for reason in reasons))
        for put in puts:
            assert put["TableName"] == "ledger"
            assert len(json.dumps(put["Item"])) < 400_000
            self.items[put["Item"]["pk"]["S"]] = put["Item"]
        return 200, {}

    def fits(self, put: Body) -> bool:
        stored = self.items.get(put["Item"]["pk"]["S"])
        if put["ConditionExpression"] == "attribute_not_exists(pk)":
            return stored is None
        assert put["ConditionExpression"] == "version = :seen"
        return stored is not None and stored["version"] == put["ExpressionAttributeValues"][":seen"]


def cancelled(*codes: str) -> Reply:
    """A transaction that was cancelled, with a reason for each of its items."""
    reasons = [{"Code": code} | ({} if code == "None" else {"Message": "because"}) for code in codes]
    kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    return 400, {"__type": kind, "Message": "Transaction cancelled", "CancellationReasons": reasons}


@dataclass
class Desk:
    """A ledger over a client that answers by `reply`."""

    client: Any
    reply: Callable[[Body], Reply]
    slept: list[float] = field(default_factory=list)

    def load(self, *keys: NodeKey, clusters: tuple[str, ...] = ()) -> Book:
        with wired(self.client, self.reply):
            return self.ledger.load(keys, clusters)

    def save(self, *records: Record, now: datetime = NOW) -> bool:
        with wired(self.client, self.reply):
            return self.ledger.save(records, now=now)

    @property
    def ledger(self) -> DynamoDbLedger:
        return DynamoDbLedger(self.client, table="ledger", sleep=self.slept.append)


@pytest.fixture(scope="session")
def client(environment: dict[str, str]) -> Any:
    """As the function's, but asked once: how often the SDK tries is not the ledger's affair."""
    once = Config(retries={"mode": "standard", "total_max_attempts": 1})
    return boto3.client("dynamodb", region_name="us-west-2", config=once)


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def desk(client: Any, table: Table) -> Desk:
    return Desk(client, table.reply)


# Whole milliseconds, which is what the ledger keeps; within what it remembers.
times = st.integers(-160 * 3_600_000, 3_600_000).map(lambda ms: NOW + timedelta(milliseconds=ms))
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(max_size=20) | st.sampled_from(["ml-a", "x" * 5_000, "a#b", "\ud800", "", " "])
claims = st.builds(Claim, times, times, st.none() | st.sampled_from(Result), st.none() | text, text, st.booleans())
watches = st.builds(
    Watch,
    text,
    st.sampled_from(Stage),
    since=times,
    until=times,
    reported_at=times,
    alarm=st.none() | text,
    well_at=st.none() | times,
    checks=st.integers(0, 10),
    next_at=st.none() | times,
    tries=st.integers(0, 9),
    told=st.booleans(),
    end=st.none() | st.sampled_from(Outcome),
    ended_by=st.none() | text,
    reason=text,
)
nodes = st.builds(
    NodeRecord,
    st.builds(NodeKey, names, names),
    reboots=st.lists(times, max_size=4).map(tuple),
    unhealthy_at=st.none() | times,
    healthy_at=st.none() | times,
    repairing_until=st.none() | times,
    told=st.dictionaries(text, times, max_size=3),
    claims=st.dictionaries(text, claims, max_size=3),
    advised=st.none() | text.filter(bool),
    watch=st.none() | watches,
)
budgets = st.builds(BudgetRecord, names, spends=st.dictionaries(text, st.tuples(times, st.integers(1, 25)), max_size=3))


@given(
    st.lists(nodes, max_size=6, unique_by=lambda n: n.key), st.lists(budgets, max_size=3, unique_by=lambda b: b.cluster)
)
def test_what_is_saved_is_what_is_loaded(client: Any, written: list[NodeRecord], spent: list[BudgetRecord]) -> None:
    """Through the real serializer and the real client, whatever the names; only the version is new."""
    if not written and not spent:
        return
    desk = Desk(client, Table().reply)
    assert desk.save(*written, *spent)
    book = desk.load(*(each.key for each in written), clusters=tuple(each.cluster for each in spent))
    assert book.nodes == {each.key: each.pruned(NOW).written() for each in written}
    assert book.budgets == {each.cluster: each.pruned(NOW).written() for each in spent}


def test_item_is_what_people_and_other_versions_read(desk: Desk, table: Table) -> None:
    """Compared whole: plain keys, times in milliseconds, when the table may forget it."""
    claim = Claim(NOW, NOW + timedelta(seconds=65), Result.FAILED, "InstanceIdInUse", "busy")
    told = {"Paused": NOW}
    desk.save(NodeRecord(KEY, reboots=(NOW,), healthy_at=NOW, told=told, claims={"m-1": claim}))
    desk.save(BudgetRecord("ml-a").charged("call-1", at=NOW, nodes=3))
    ms = {"N": str(int(NOW.timestamp() * 1000))}
    expires = {"N": str(int((NOW + timedelta(days=21)).timestamp()))}
    lease = {"N": str(int(NOW.timestamp() * 1000) + 65_000)}
    answer = {"result": {"S": "failed"}, "code": {"S": "InstanceIdInUse"}, "message": {"S": "busy"}}
    assert table.items == {
        f"node#ml-a#{instance_id(1)}": {
            "pk": {"S": f"node#ml-a#{instance_id(1)}"},
            "cluster": {"S": "ml-a"},
            "node": {"S": instance_id(1)},
            "version": {"N": "1"},
            "expires": expires,
            "reboots": {"L": [ms]},
            "healthy_at": ms,
            "told": {"M": {"Paused": ms}},
            "claims": {"M": {"m-1": {"M": {"at": ms, "lease_until": lease, **answer, "settled": {"BOOL": False}}}}},
        },
        "budget#ml-a": {
            "pk": {"S": "budget#ml-a"},
            "cluster": {"S": "ml-a"},
            "version": {"N": "1"},
            "expires": expires,
            "spends": {"M": {"call-1": {"M": {"at": ms, "nodes": {"N": "3"}}}}},
        },
    }


def test_watch_is_what_people_and_other_versions_read(desk: Desk, table: Table) -> None:
    """Every field by its name, compared whole; a node that nobody waits for has none."""
    watch = Watch("m-1", Stage.REPAIRING, NOW, NOW, NOW, alarm="a", checks=2, end=Outcome.SUPERSEDED, ended_by="m-2")
    desk.save(NodeRecord(KEY, advised="Replace", watch=watch))
    ms = {"N": str(int(NOW.timestamp() * 1000))}
    (item,) = table.items.values()
    assert item["advised"] == {"S": "Replace"}
    assert item["watch"]["M"] == {
        "id": {"S": "m-1"},
        "stage": {"S": "repairing"},
        **dict.fromkeys(("since", "until", "reported_at"), ms),
        "alarm": {"S": "a"},
        "well_at": {"NULL": True},
        "checks": {"N": "2"},
        "next_at": {"NULL": True},
        "tries": {"N": "0"},
        "told": {"BOOL": False},
        "end": {"S": "superseded"},
        "ended_by": {"S": "m-2"},
        "reason": {"S": ""},
    }
    desk.save(replace(desk.load(KEY).nodes[KEY], watch=None, advised=None))
    (item,) = table.items.values()
    assert {"watch", "advised"} & set(item) == set()


def test_item_of_an_older_version_is_read(desk: Desk, table: Table) -> None:
    """What was written before there were watches still counts."""
    desk.save(NodeRecord(KEY, reboots=(NOW,)))
    (item,) = table.items.values()
    assert "watch" not in item
    assert desk.load(KEY).nodes[KEY].watch is None


def test_first_write_finds_nothing_and_later_ones_what_was_read(desk: Desk, table: Table) -> None:
    """Who read before somebody else's write writes nothing, of none of its records."""
    fresh = NodeRecord(KEY)
    assert desk.save(fresh)
    assert not desk.save(fresh, BudgetRecord("ml-a"))
    assert "budget#ml-a" not in table.items
    read = desk.load(KEY).node(KEY)
    assert read.version == 1
    assert desk.save(read.telling("Paused", NOW), BudgetRecord("ml-a"))
    assert not desk.save(read.telling("StaleReport", NOW))
    assert desk.load(KEY).node(KEY).told == {"Paused": NOW}


def test_record_that_the_table_forgot_is_written_after_it_is_read_again(desk: Desk, table: Table) -> None:
    """Its time to live ran out between the read and the write."""
    desk.save(NodeRecord(KEY))
    read = desk.load(KEY).node(KEY)
    table.items.clear()
    assert not desk.save(read)
    assert desk.save(desk.load(KEY).node(KEY))


def test_each_write_lets_the_table_keep_the_item_for_longer(desk: Desk, table: Table) -> None:
    """Forgotten is only what nobody wrote for longer than a dead letter can wait: 14 days there, 4 in the intake."""
    later = NOW + timedelta(hours=5)
    desk.save(NodeRecord(KEY), now=later)
    (item,) = table.items.values()
    assert int(item["expires"]["N"]) == (later + timedelta(days=21)).timestamp()


def test_what_no_guard_looks_at_is_not_written(desk: Desk) -> None:
    """An item does not grow for ever."""
    old = NOW - LEDGER_RETENTION
    desk.save(NodeRecord(KEY, reboots=(old, NOW), told={"Paused": old}))
    assert desk.load(KEY).node(KEY) == NodeRecord(KEY, 1, reboots=(NOW,))


def test_unknown_nodes_and_clusters_are_left_out(desk: Desk) -> None:
    """The first report of a node."""
    book = desk.load(KEY, clusters=("ml-a",))
    assert (book.nodes, book.budgets) == ({}, {})
    assert (book.node(KEY).version, book.budget("ml-a").version) == (0, 0)


def test_nothing_to_load_asks_nothing(desk: Desk, table: Table) -> None:
    """A batch of junk."""
    assert desk.load().nodes == {}
    assert table.requests == []


def test_hundreds_of_keys_are_read_a_hundred_at_a_time(desk: Desk, table: Table) -> None:
    """BatchGetItem's limit; all are found."""
    records = [NodeRecord(NodeKey("ml-a", instance_id(n))) for n in range(230)]
    for start in range(0, 230, 100):
        desk.save(*records[start : start + 100])
    table.requests.clear()
    book = desk.load(*(each.key for each in records), clusters=("ml-a", "ml-b"))
    assert len(book.nodes) == 230
    assert [len(body["RequestItems"]["ledger"]["Keys"]) for _, body in table.requests] == [100, 100, 32]


def test_keys_that_were_not_processed_are_asked_for_again(desk: Desk, table: Table) -> None:
    """With growing waits, until all are there."""
    records = [NodeRecord(NodeKey("ml-a", instance_id(n))) for n in range(8)]
    desk.save(*records)
    table.unprocessed = 3
    assert len(desk.load(*(each.key for each in records)).nodes) == 8
    assert desk.slept == [0.05, 0.1, 0.2]


def test_keys_that_stay_unprocessed_are_no_answer(desk: Desk, table: Table) -> None:
    """Half of what is known of a batch is nothing to judge by; it may work later."""
    table.unprocessed = 99
    with pytest.raises(LookupFailedError) as raised:
        desk.load(*(NodeKey("ml-a", instance_id(n)) for n in range(64)))
    assert raised.value.error.passing
    assert raised.value.error.code == "LedgerBusy"


ODD = [
    NodeKey("ml-a", "x" * 3_000),
    NodeKey("x" * 3_000, "i-1"),
    NodeKey("a#b", "c"),
    NodeKey("a", "b#c"),
    NodeKey("", ""),
    NodeKey("ml-a", "\ud800\x00 é"),
    NodeKey("ml-a", instance_id(1)),
]


def test_odd_names_have_keys_of_their_own_that_the_table_takes(desk: Desk, table: Table) -> None:
    """A malformed ID must not spoil the read, or the write, of the batch that it is in."""
    assert desk.save(*(NodeRecord(key, unhealthy_at=NOW) for key in ODD))
    assert desk.load(*ODD).nodes.keys() == set(ODD)
    assert len(table.items) == len(ODD)
    for item in table.items.values():
        assert json.dumps(item).isascii()
        assert all(len(item[name]["S"]) <= 256 for name in ("cluster", "node"))
    clusters = tuple({key.cluster for key in ODD})
    assert desk.save(*(BudgetRecord(name).charged("c", at=NOW, nodes=1) for name in clusters))
    assert desk.load(clusters=clusters).budgets.keys() == set(clusters)


@pytest.mark.parametrize(
    "reply",
    [
        cancelled("None", "ConditionalCheckFailed"),
        cancelled("TransactionConflict", "None"),
        cancelled("TransactionConflict", "ConditionalCheckFailed"),
        error("TransactionConflictException", "Transaction is ongoing for the item"),
    ],
)
def test_write_that_somebody_else_came_before_is_a_conflict(client: Any, reply: Reply) -> None:
    """Read and judge again; nothing is wrong."""
    assert Desk(client, lambda _: reply).save(NodeRecord(KEY), BudgetRecord("ml-a")) is False


@pytest.mark.parametrize(
    ("reply", "passing"),
    [
        (cancelled("ThrottlingError", "None"), True),
        (cancelled("ProvisionedThroughputExceeded", "None"), True),
        (cancelled("ThrottlingError", "ConditionalCheckFailed"), True),
        (error("ThrottlingException"), True),
        (error("ProvisionedThroughputExceededException"), True),
        (error("TransactionInProgressException"), True),
        (error("RequestLimitExceeded"), True),
        (error("InternalServerError", "", 500), True),
        (ReadTimeoutError(endpoint_url=URL), True),
        (EndpointConnectionError(endpoint_url=URL), True),
        (cancelled("ValidationError", "None"), False),
        (cancelled("ItemCollectionSizeLimitExceeded", "ConditionalCheckFailed"), False),
        (cancelled("ValidationError", "ThrottlingError"), False),
        (cancelled(), False),
        (error("AccessDeniedException", "no"), False),
        (error("ResourceNotFoundException", "no table"), False),
    ],
    ids=str,
)
def test_write_that_failed_is_no_conflict(client: Any, reply: Reply, passing: bool) -> None:
    """Taken for a conflict it would be judged again and again; passing trouble hands back, a no fails the nodes."""
    with pytest.raises(LookupFailedError) as raised:
        Desk(client, lambda _: reply).save(NodeRecord(KEY), BudgetRecord("ml-a"))
    assert raised.value.error.passing is passing


@pytest.mark.parametrize(
    ("reply", "passing"),
    [
        (error("ThrottlingException"), True),
        (error("InternalServerError", "", 500), True),
        (ReadTimeoutError(endpoint_url=URL), True),
        (error("AccessDeniedException", "no"), False),
        (error("ResourceNotFoundException", "no table"), False),
    ],
    ids=str,
)
def test_read_that_failed_is_no_answer(client: Any, reply: Reply, passing: bool) -> None:
    """Not an empty ledger: that would let every guard pass."""
    with pytest.raises(LookupFailedError) as raised:
        Desk(client, lambda _: reply).load(KEY)
    assert raised.value.error.passing is passing


def test_write_whose_answer_was_lost_is_sent_again_as_the_same(
    handler: ModuleType, environment: dict[str, str]
) -> None:
    """The SDK's retry carries the same token, so that it does not meet its own write as somebody else's."""
    client = handler.build(environment)._ledger._client
    replies: Iterator[Reply] = iter([ReadTimeoutError(endpoint_url=URL), (200, {})])
    sent: list[Body] = []

    def reply(body: Body) -> Reply:
        sent.append(body)
        return next(replies)

    assert Desk(client, reply).save(NodeRecord(KEY))
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert sent[0]["ClientRequestToken"]
