"""The ledger over a real client; the table behind it is held to what DynamoDB answers."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from hypothesis import given

from node_remediation.aws.errors import LookupFailedError, Meaning
from node_remediation.aws.ledger import (
    Candidate,
    ConflictError,
    DynamoDbLedger,
    RefusedError,
    budget_pk,
    node_pk,
    shard_of,
)
from node_remediation.model import IdKind, Node, NodeKey, Trigger
from node_remediation.policy.record import Book, Budget, Complaint, Incident, NodeRecord, Record, State
from node_remediation.settings import SHARDS, Settings
from tests.fakes import MemoryLedger
from tests.unit.aws.strategies import records
from tests.unit.wire import Body, Reply, error, wired

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
KEY = NodeKey("ml-a", "i-00000000000000001")
PK = "node#ml-a#i-00000000000000001"
DONE: Reply = (200, {})
READ: Reply = (200, {"Responses": {"ledger": []}})


@pytest.fixture(scope="module")
def client(make_client: Callable[..., Any]) -> Any:
    return make_client("dynamodb")


class Desk:
    """A ledger whose calls are answered by `reply`, and what it sent."""

    def __init__(self, client: Any, reply: Callable[[Body], Reply]) -> None:
        self._client, self._reply = client, reply
        self.sent: list[Body] = []
        self.slept: list[float] = []
        self.ledger = DynamoDbLedger(client, table="ledger", settings=Settings(), sleep=self.slept.append)

    def load(self, *keys: NodeKey, clusters: tuple[str, ...] = ()) -> Book:
        book: Book = self._call(lambda: self.ledger.load(keys, clusters))
        return book

    def save(self, *written: Record) -> list[Record]:
        return list(self._call(lambda: self.ledger.save(written, now=NOW, token="token-1")))

    def due(self) -> list[Candidate]:
        found: list[Candidate] = self._call(lambda: self.ledger.due(3, NOW))
        return found

    def _call(self, call: Callable[[], Any]) -> Any:
        with wired(self._client, self._reply) as sent:
            try:
                return call()
            finally:
                self.sent += sent


def waiting(key: NodeKey = KEY, *, due: datetime = NOW, version: int = 0) -> NodeRecord:
    """Return a record with an incident that is due some time."""
    trigger, node = Trigger("aws.sagemaker", "event", "e-1", NOW), Node(IdKind.NODE_ID, key.id)
    incident = Incident("in-1", State.OPEN, node, NOW, (Complaint("hyperpod", NOW, trigger),), since=NOW, due=due)
    return NodeRecord(key, version=version, node=node, incident=incident)


# -- writes


def test_write_is_one_transaction_of_whole_items_each_on_its_condition(client: Any) -> None:
    """A new item must not exist, another must have the version that was read; a retry has the same token."""
    desk = Desk(client, lambda _: DONE)
    written = desk.save(NodeRecord(KEY), Budget("ml-a", version=4))
    (sent,) = desk.sent
    first, second = (each["Put"] for each in sent["TransactItems"])
    assert sent["ClientRequestToken"] == "token-1"
    assert first["ConditionExpression"] == "attribute_not_exists(pk)"
    assert second["ConditionExpression"] == "version = :seen"
    assert second["ExpressionAttributeValues"] == {":seen": {"N": "4"}}
    assert [each.version for each in written] == [1, 5]
    assert [each["Item"]["version"] for each in (first, second)] == [{"N": "1"}, {"N": "5"}]
    assert [each["Item"]["written_by"] for each in (first, second)] == [{"S": "token-1"}] * 2


def test_item_with_something_to_do_is_in_the_index_and_does_not_expire(client: Any) -> None:
    """The sweep finds it by shard and time, in milliseconds; TTL must not delete it."""
    desk = Desk(client, lambda _: DONE)
    desk.save(waiting(due=NOW + timedelta(milliseconds=5)))
    item = desk.sent[0]["TransactItems"][0]["Put"]["Item"]
    assert item["pk"] == {"S": PK}
    assert item["shard"] == {"S": str(shard_of(PK))}
    assert item["due"] == {"N": str(int(NOW.timestamp() * 1000) + 5)}
    assert "expires" not in item


@pytest.mark.parametrize("record", [NodeRecord(KEY), Budget("ml-a")])
def test_item_with_nothing_to_do_expires_after_21_days_and_is_not_in_the_index(client: Any, record: Record) -> None:
    """Longer than a letter can wait on the DLQ and then on the intake queue. A budget is never due."""
    desk = Desk(client, lambda _: DONE)
    desk.save(record)
    item = desk.sent[0]["TransactItems"][0]["Put"]["Item"]
    assert item["expires"] == {"N": str(int((NOW + timedelta(days=21)).timestamp()))}
    assert {"shard", "due"} & set(item) == set()


def test_what_is_saved_is_pruned(client: Any) -> None:
    """Claims and spends that no limit looks at any more are left out, as is a letter that was sent."""
    desk = Desk(client, lambda _: DONE)
    old, recent = NOW - timedelta(days=8), NOW - timedelta(minutes=1)
    node, budget = desk.save(
        NodeRecord(KEY, reboots=(old, recent)), Budget("ml-a", spends=((NOW - timedelta(hours=2), 1), (recent, 2)))
    )
    assert isinstance(node, NodeRecord)
    assert isinstance(budget, Budget)
    assert node.reboots == (recent,)
    assert budget.spends == ((recent, 2),)


@given(records)
def test_what_is_saved_is_what_is_loaded(record: Record) -> None:
    """As the write returned it, whatever it holds."""
    ledger = MemoryLedger()
    (written,) = ledger.save([replace(record, version=0)], now=NOW, token="t")
    if isinstance(record, NodeRecord):
        assert ledger.load([record.key], []).nodes == {record.key: written}
    else:
        assert ledger.load([], [record.cluster]).budgets == {record.cluster: written}


def cancelled(*reasons: str | None) -> Reply:
    """A cancelled transaction, with a reason for each of its items."""
    given_reasons = [{"Code": reason, "Message": "words"} if reason else {"Code": "None"} for reason in reasons]
    name = "TransactionCanceledException"
    return 400, {"__type": name, "message": "Transaction cancelled", "CancellationReasons": given_reasons}


@pytest.mark.parametrize(
    "reply",
    [
        cancelled("ConditionalCheckFailed", None),
        cancelled(None, "TransactionConflict"),
        cancelled("ConditionalCheckFailed", "TransactionConflict"),
        error("TransactionConflictException", "in use"),
    ],
)
def test_write_that_came_second_is_a_conflict(client: Any, reply: Reply) -> None:
    """To be decided again, with what the other write made of it."""
    with pytest.raises(ConflictError):
        Desk(client, lambda _: reply).save(NodeRecord(KEY), Budget("ml-a"))


@pytest.mark.parametrize(
    ("reply", "of_budget"),
    [
        (cancelled("ValidationError", None), False),
        (cancelled(None, "ValidationError"), True),
        (cancelled("ItemCollectionSizeLimitExceeded", "ConditionalCheckFailed"), False),
        (error("ValidationException", "Item size has exceeded the maximum allowed size"), False),
        (error("SerializationException", "no UTF-8"), False),
    ],
)
def test_item_that_dynamodb_does_not_take_is_a_refusal(client: Any, reply: Reply, *, of_budget: bool) -> None:
    """Said with whether it is the budget's, where DynamoDB tells which item it is."""
    with pytest.raises(RefusedError) as raised:
        Desk(client, lambda _: reply).save(NodeRecord(KEY), Budget("ml-a"))
    assert raised.value.of_budget is of_budget
    assert not raised.value.error.passing


@pytest.mark.parametrize(
    ("reply", "meaning"),
    [
        (cancelled("ThrottlingError", "ConditionalCheckFailed"), Meaning.THROTTLED),
        (cancelled("ProvisionedThroughputExceeded", None), Meaning.THROTTLED),
        (error("ThrottlingException"), Meaning.THROTTLED),
        (error("TransactionInProgressException"), Meaning.UNKNOWN),
        (error("InternalServerError", status=500), Meaning.UNKNOWN),
        (ReadTimeoutError(endpoint_url="x"), Meaning.UNKNOWN),
        (EndpointConnectionError(endpoint_url="x"), Meaning.UNKNOWN),
        (error("AccessDeniedException", status=400), Meaning.REJECTED),
        (error("ResourceNotFoundException", status=400), Meaning.REJECTED),
    ],
)
def test_trouble_with_a_write_says_whether_it_may_have_been_carried_out(
    client: Any, reply: Reply, meaning: Meaning
) -> None:
    """No connection is only the last try's trouble; and what no item caused is not a refusal of items."""
    with pytest.raises(LookupFailedError) as raised:
        Desk(client, lambda _: reply).save(NodeRecord(KEY), Budget("ml-a"))
    assert raised.value.error.meaning is meaning
    assert not isinstance(raised.value, RefusedError)


def test_throttled_retry_after_a_lost_answer_is_unknown(make_client: Callable[..., Any]) -> None:
    """botocore sends the write again, with the same token; that DynamoDB turns that away proves nothing."""
    replies = iter(
        [error("InternalServerError", status=500), error("ThrottlingException"), error("ThrottlingException")]
    )
    desk = Desk(make_client("dynamodb", attempts=3), lambda _: next(replies))
    with pytest.raises(LookupFailedError) as raised:
        desk.save(NodeRecord(KEY))
    assert raised.value.error.meaning is Meaning.UNKNOWN
    assert {body["ClientRequestToken"] for body in desk.sent} == {"token-1"}
    assert len(desk.sent) == 3


@pytest.mark.parametrize("record", [NodeRecord(KEY, reboots=(datetime(2026, 1, 1),)), Budget("a", spends=((NOW,),))])  # type: ignore[arg-type]  # noqa: DTZ001
def test_record_that_cannot_be_an_item_is_a_refusal(client: Any, record: Record) -> None:
    """As if DynamoDB had refused it: its neighbours are written."""
    desk = Desk(client, lambda _: DONE)
    with pytest.raises(RefusedError) as raised:
        desk.save(NodeRecord(NodeKey("ml-a", "i-2")), record)
    assert raised.value.of_budget is isinstance(record, Budget)
    assert desk.sent == []


# -- reads


def test_read_is_consistent_and_of_at_most_100_keys_a_call(client: Any) -> None:
    """DynamoDB's limit; what does not exist is not in the book."""
    desk = Desk(client, lambda _: READ)
    book = desk.load(*(NodeKey("ml-a", f"i-{number}") for number in range(150)), clusters=("ml-a", "ml-b"))
    assert book == Book()
    asked = [body["RequestItems"]["ledger"] for body in desk.sent]
    assert [len(each["Keys"]) for each in asked] == [100, 52]
    assert [each["ConsistentRead"] for each in asked] == [True, True]
    pks = [key["pk"]["S"] for each in asked for key in each["Keys"]]
    assert set(pks[:2]) == {"budget#ml-a", "budget#ml-b"}
    assert pks[2] == "node#ml-a#i-0"


def test_keys_that_dynamodb_leaves_are_asked_for_again(client: Any) -> None:
    """Waiting longer each time, then given up as a passing trouble."""
    table = MemoryLedger()
    table.save([NodeRecord(KEY)], now=NOW, token="t")

    def reply(body: Body) -> Reply:
        if len(desk.sent) + tried.pop(0) < 2:
            return 200, {"Responses": {"ledger": []}, "UnprocessedKeys": body["RequestItems"]}
        return 200, {"Responses": {"ledger": [table.items[PK]]}, "UnprocessedKeys": {}}

    tried = [0, 1, 2]
    desk = Desk(client, reply)
    assert set(desk.load(KEY).nodes) == {KEY}
    assert desk.slept == [0.05, 0.1]
    left = Desk(client, lambda body: (200, {"Responses": {}, "UnprocessedKeys": body["RequestItems"]}))
    with pytest.raises(LookupFailedError) as raised:
        left.load(KEY)
    assert (raised.value.error.meaning, raised.value.error.code) == (Meaning.THROTTLED, "LedgerBusy")


@pytest.mark.parametrize("reply", [error("ThrottlingException"), DONE, (200, b"{half an ans")])
def test_read_without_a_whole_answer_is_no_book(client: Any, reply: Reply) -> None:
    """An empty book would make each node one that was never rebooted."""
    with pytest.raises(LookupFailedError) as raised:
        Desk(client, lambda _: reply).load(KEY)
    assert raised.value.error.passing
    with pytest.raises(LookupFailedError):
        Desk(client, lambda _: reply).due()


def test_item_that_cannot_be_read_is_named_and_leaves_its_neighbours(client: Any) -> None:
    """It is not taken for a node that was never seen; the others are as they are."""
    table = MemoryLedger()
    other = NodeKey("ml-a", "i-2")
    table.save([NodeRecord(KEY), NodeRecord(other), Budget("ml-a"), Budget("ml-b")], now=NOW, token="t")
    table.items[PK]["key"] = {"S": "odd"}
    table.items["budget#ml-b"]["spends"] = {"BOOL": True}
    desk = Desk(client, lambda _: (200, {"Responses": {"ledger": list(table.items.values())}}))
    book = desk.load(KEY, other, clusters=("ml-a", "ml-b"))
    assert (set(book.nodes), set(book.budgets)) == ({other}, {"ml-a"})
    assert set(book.unreadable) == {KEY, "ml-b"}
    assert PK in book.unreadable[KEY]


# -- what is due


def test_due_items_of_a_shard_are_asked_for_in_all_pages(client: Any) -> None:
    """Up to now, from the keys-only index; words that DynamoDB reserves go by other names."""

    def reply(body: Body) -> Reply:
        page = 1 if "ExclusiveStartKey" in body else 0
        more = {} if page else {"LastEvaluatedKey": {"pk": {"S": "a"}}}
        ms = str(int(NOW.timestamp() * 1000) + page)
        return 200, {"Items": [{"pk": {"S": f"pk-{page}"}, "shard": {"S": "3"}, "due": {"N": ms}}], **more}

    desk = Desk(client, reply)
    assert desk.due() == [Candidate("pk-0", NOW), Candidate("pk-1", NOW + timedelta(milliseconds=1))]
    first = desk.sent[0]
    assert (first["TableName"], first["IndexName"]) == ("ledger", "due")
    assert first["KeyConditionExpression"] == "#shard = :shard AND #due <= :now"
    assert first["ExpressionAttributeNames"] == {"#shard": "shard", "#due": "due"}
    assert first["ExpressionAttributeValues"] == {":shard": {"S": "3"}, ":now": {"N": str(int(NOW.timestamp() * 1000))}}


def test_candidates_are_read_by_their_keys_in_the_table() -> None:
    """The item itself says whose it is, whatever the name; one that is gone is left out."""
    ledger = MemoryLedger()
    keys = [KEY, NodeKey("ml a", "ü#1"), NodeKey("", "m-1"), NodeKey("ml-a", "x" * 500)]
    ledger.save([waiting(key) for key in keys], now=NOW, token="t")
    found = [each for shard in range(SHARDS) for each in ledger.due(shard, NOW)]
    assert sorted(each.pk for each in found) == sorted(node_pk(key) for key in keys)
    assert set(ledger.load_raw([*(each.pk for each in found), "node#gone#i-1"]).nodes) == set(keys)


# -- keys


def test_odd_names_never_share_a_key_nor_make_one_too_long() -> None:
    """A name may hold the sign that parts the names of a key, anything else, or thousands of characters."""
    names = [("a", "b#c"), ("a#b", "c"), ("a", "b", "c"), ("", "a"), ("a", ""), ("ä", "b"), ("a", "x" * 5_000)]
    pks = {node_pk(NodeKey(names[0], "#".join(rest))) for names in names if (rest := names[1:])}
    pks |= {budget_pk("a"), budget_pk("node#a"), budget_pk("")}
    assert len(pks) == len(names) - 1 + 3  # two of the names are the same
    assert all(len(pk.encode()) <= 1_024 and pk.isascii() for pk in pks)


def test_name_has_the_same_key_before_and_after_it_was_kept() -> None:
    """What the ledger replaces or cuts in a name must not lead to another item."""
    odd = NodeKey("ml-\udc00", "i-\ud800" + "x" * 2_000)
    ledger = MemoryLedger()
    (written,) = ledger.save([NodeRecord(odd)], now=NOW, token="t")
    assert isinstance(written, NodeRecord)
    assert node_pk(written.key) == node_pk(odd)


def test_nodes_are_spread_over_all_shards() -> None:
    """Eight queries then share the load; a node's shard never changes."""
    shards = [shard_of(node_pk(NodeKey("ml-a", f"i-{number:017x}"))) for number in range(400)]
    assert set(shards) == set(range(SHARDS))
    assert shard_of(PK) == 7
