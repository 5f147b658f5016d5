"""Keeps the ledger in a DynamoDB table: one item per node, one per cluster's budget; and makes optimistic writes to it.

Every write is one transaction of whole items, each on condition that no other write came since the item was read.
"""

import json
import random
import re
import time
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import uuid4

from botocore.exceptions import ClientError

from node_remediation import codes
from node_remediation.aws import codec, errors
from node_remediation.aws.codec import from_ms, to_ms
from node_remediation.aws.errors import CallError, LookupFailedError, MayCall, Meaning
from node_remediation.model import NodeKey, bounded
from node_remediation.policy.record import Book, Budget, NodeRecord, Record
from node_remediation.settings import INDEX_NAME, SHARDS, Settings

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# The attributes of a node's item that a daily summary needs.
_SUMMARIZED = ("pk", "key", "incident", "history", "reboots", "replacements")
# DynamoDB's own limits (BatchGetItem, TransactWriteItems).
_MOST_READ = 100
MOST_WRITTEN = 100
# An item without a due time: longer than a letter waits on the DLQ (14 days) and then on the intake queue (4 days).
_EXPIRY = timedelta(days=21)
_READ_TRIES = 4
_WRITE_TRIES = 12
# Each is three requests of botocore's. Longer than an outage of seconds, and time is left for other nodes.
_TRIES_TO_LEARN = 5
_FIRST_WAIT = 0.05  # seconds
_LONGEST_WAIT = 1.0
# Reasons of a cancelled transaction after which it may succeed: another write came first; throttled.
_CONFLICTS = frozenset({"ConditionalCheckFailed", "TransactionConflict"})
_THROTTLED = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError"})
# Errors that one item can cause. After any other, writing fewer items would not help.
_CAUSED_BY_ITEMS = frozenset(
    {"ParamValidationError", "SerializationException", "TransactionCanceledException", "ValidationException"}
)
# Names that make up a key as they are. An odd one could make a key too long, or the same as another's.
_PLAIN = re.compile(r"[!-\"$-~]{1,256}")


class ConflictError(Exception):
    """Reports that another write came first; the items must be read again."""


class RefusedError(LookupFailedError):
    """Reports that DynamoDB refuses a write for good; `of_budget` if that is because of the budget's item."""

    def __init__(self, error: CallError, *, of_budget: bool = False) -> None:
        super().__init__(error)
        self.of_budget = of_budget


class Candidate(NamedTuple):
    """An item that the index calls due. It must be read: the index may be behind."""

    pk: str
    due: datetime


class Ledger(Protocol):
    """Knows what was reported of each node and what was done to it."""

    def load(self, keys: Collection[NodeKey], clusters: Collection[str]) -> Book:
        """Return the records as they are now, without those that were never written. Raises LookupFailedError."""

    def save(self, records: Sequence[Record], *, now: datetime, token: str) -> Sequence[Record]:
        """Write all (at most MOST_WRITTEN) or none, and return them as they are in the ledger now.

        `token` identifies the write: made twice with the same token, it is one write. Raises ConflictError,
        RefusedError, LookupFailedError.
        """

    def due(self, shard: int, now: datetime) -> list[Candidate]:
        """Return a shard's items that are due, the longest due first. Raises LookupFailedError."""

    def load_raw(self, pks: Collection[str]) -> Book:
        """Return the node records of candidates as they are now. Raises LookupFailedError."""

    def nodes(self, *, may_call: MayCall) -> list[NodeRecord]:
        """Return all node records, with what a daily summary needs of each.

        Raises LookupFailedError, also if the time ends before all are read.
        """


class DynamoDbLedger:
    """A ledger in DynamoDB, with strongly consistent reads."""

    def __init__(
        self, client: "DynamoDBClient", *, table: str, settings: Settings, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._table = table
        self._settings = settings
        self._sleep = sleep

    def load(self, keys: Collection[NodeKey], clusters: Collection[str]) -> Book:
        asked: dict[str, NodeKey | str] = {budget_pk(cluster): cluster for cluster in clusters}
        asked |= {node_pk(key): key for key in keys}
        return read_book(self._read(list(asked)), asked)

    def load_raw(self, pks: Collection[str]) -> Book:
        return read_book(self._read(list(pks)), {})

    def _read(self, pks: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        for start in range(0, len(pks), _MOST_READ):
            keys = [{"pk": {"S": pk}} for pk in pks[start : start + _MOST_READ]]
            wanted: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
            for tried in range(_READ_TRIES):
                answer = errors.ask(self._client.batch_get_item, "Responses", RequestItems=wanted)
                yield from answer["Responses"].get(self._table, ())
                wanted = answer.get("UnprocessedKeys")
                if not wanted:
                    break
                self._sleep(_FIRST_WAIT * 2**tried)
            else:
                raise LookupFailedError(CallError(Meaning.THROTTLED, codes.LEDGER_BUSY, "DynamoDB left keys unread"))

    def nodes(self, *, may_call: MayCall) -> list[NodeRecord]:
        question: dict[str, Any] = {
            "TableName": self._table,
            "FilterExpression": "begins_with(pk, :kind)",
            "ExpressionAttributeValues": {":kind": {"S": "node#"}},
            "ProjectionExpression": ", ".join(f"#{place}" for place, _ in enumerate(_SUMMARIZED)),
            "ExpressionAttributeNames": {f"#{place}": name for place, name in enumerate(_SUMMARIZED)},
        }
        found: list[NodeRecord] = []
        while may_call():
            answer = errors.ask(self._client.scan, "Items", **question)
            found += read_book(iter(answer["Items"]), {}).nodes.values()
            if not answer.get("LastEvaluatedKey"):
                return found
            question["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        raise LookupFailedError(errors.OUT_OF_TIME)

    def due(self, shard: int, now: datetime) -> list[Candidate]:
        question: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": INDEX_NAME,
            "KeyConditionExpression": "#shard = :shard AND #due <= :now",
            "ExpressionAttributeNames": {"#shard": "shard", "#due": "due"},
            "ExpressionAttributeValues": {":shard": {"S": str(shard)}, ":now": {"N": str(to_ms(now))}},
        }
        found: list[Candidate] = []
        while True:
            answer = errors.ask(self._client.query, "Items", **question)
            found += [Candidate(item["pk"]["S"], from_ms(int(item["due"]["N"]))) for item in answer["Items"]]
            if not answer.get("LastEvaluatedKey"):
                return found
            question["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def save(self, records: Sequence[Record], *, now: datetime, token: str) -> Sequence[Record]:
        written = [as_written(record, now=now, token=token, settings=self._settings) for record in records]
        try:
            self._client.transact_write_items(
                TransactItems=[self._put(record, now) for record in written], ClientRequestToken=token
            )
        except errors.CALL_ERRORS as error:
            raise _refusal(error, records) from error
        return written

    def _put(self, record: Record, now: datetime) -> Any:
        put: dict[str, Any] = {"TableName": self._table, "Item": make_item(record, now)}
        if record.version == 1:
            return {"Put": put | {"ConditionExpression": "attribute_not_exists(pk)"}}
        seen = {":seen": {"N": str(record.version - 1)}}
        return {"Put": put | {"ConditionExpression": "version = :seen", "ExpressionAttributeValues": seen}}


def _refusal(error: Exception, records: Sequence[Record]) -> Exception:
    """Return why a transaction was not carried out, or may not have been."""
    trouble = errors.read(error)
    response: Mapping[str, Any] = error.response if isinstance(error, ClientError) else {}
    reasons = [str(reason.get("Code") or "None") for reason in response.get("CancellationReasons") or ()]
    given = set(reasons) - {"None"}
    if trouble.code == "TransactionConflictException" or (given and given <= _CONFLICTS):
        return ConflictError(trouble.message)
    if given and given <= _CONFLICTS | _THROTTLED:
        return LookupFailedError(CallError(Meaning.THROTTLED, codes.LEDGER_BUSY, trouble.message))
    if not trouble.passing and trouble.code in _CAUSED_BY_ITEMS:
        harmless = _CONFLICTS | _THROTTLED | {"None"}
        named = [record for record, reason in zip(records, reasons, strict=False) if reason not in harmless]
        return RefusedError(trouble, of_budget=any(isinstance(record, Budget) for record in named))
    # botocore sends again after a lost answer: that its last try was turned away says nothing about the first.
    retried = not response or response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
    if trouble.passing and (retried or trouble.code == "TransactionInProgressException"):
        trouble = trouble._replace(meaning=Meaning.UNKNOWN)
    return LookupFailedError(trouble)


# -- items


def node_pk(key: NodeKey) -> str:
    return _pk("node", *key)


def budget_pk(cluster: str) -> str:
    return _pk("budget", cluster)


def _pk(kind: str, *names: str) -> str:
    if all(_PLAIN.fullmatch(name) for name in names):
        return "#".join((kind, *names))
    return f"{kind}##{sha256(json.dumps([bounded(name) for name in names]).encode()).hexdigest()}"


def shard_of(pk: str) -> int:
    """Return the shard of the index that an item is in while it is due some time."""
    return zlib.crc32(pk.encode()) % SHARDS


def as_written(record: Record, *, now: datetime, token: str, settings: Settings) -> Record:
    """Return the record as it is in the ledger after a write. Raises RefusedError for one that cannot be an item."""
    try:
        if isinstance(record, NodeRecord):
            return replace(codec.fitted(record.pruned(now)).written(), written_by=token)
        budget = record.pruned(now, window=settings.budget_window, cooldown=settings.cooldown)
        return replace(codec.fitted(budget).written(), written_by=token)
    except (TypeError, ValueError, ArithmeticError) as error:
        trouble = CallError(Meaning.REJECTED, type(error).__name__, bounded(str(error)))
        raise RefusedError(trouble, of_budget=isinstance(record, Budget)) from error


def make_item(record: Record, now: datetime) -> dict[str, Any]:
    """Return a record's item, with its key, and with its time in the index or its expiry."""
    item, due = codec.encode(record), None
    if isinstance(record, NodeRecord):
        pk, due = node_pk(record.key), record.due
    else:
        pk = budget_pk(record.cluster)
    item["pk"] = {"S": pk}
    if due is None:
        return item | {"expires": {"N": str(to_ms(now + _EXPIRY) // 1000)}}
    return item | {"shard": {"S": str(shard_of(pk))}, "due": {"N": str(to_ms(due))}}


def read_book(items: Iterator[Mapping[str, Any]], asked: Mapping[str, NodeKey | str]) -> Book:
    """Return the records of items. One that cannot be read is named, and leaves the others as they are.

    `asked` has the keys that were asked for, by their keys in the table.
    """
    records: list[Record] = []
    unreadable: dict[NodeKey | str, str] = {}
    for item in items:
        pk = item["pk"]["S"]
        try:
            records.append(codec.decode(item))
        except codec.UnreadableItemError as error:
            unreadable[asked.get(pk, pk)] = f"the ledger's item {pk} cannot be read: {error}"
    return Book(unreadable=unreadable).updated(*records)


# -- optimistic writes


class Decided(Protocol):
    """A decision. `records` are those that it changes, as they are to be."""

    @property
    def records(self) -> Sequence[Record]: ...


Group = tuple[NodeKey, ...]
AnyPlan = TypeVar("AnyPlan", bound=Decided)


@dataclass(frozen=True, slots=True)
class Transacted(Generic[AnyPlan]):
    """The plans that were saved, the book as it is in the ledger then, and the nodes of which nothing was saved."""

    plans: list[AnyPlan]
    book: Book
    failed: dict[NodeKey, CallError]


def transact(
    ledger: Ledger,
    *,
    nodes: Sequence[Group],
    cluster: str,
    book: Book,
    decide: Callable[[Book, Sequence[Group]], AnyPlan],
    clock: Callable[[], datetime],
    may_start: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[float, float], float] = random.uniform,
) -> Transacted[AnyPlan]:
    """Decide about nodes of one cluster and save what is decided, in as few writes as possible.

    The keys of one node are a group. `book` is what was read of them and of the cluster's budget. A part that DynamoDB
    refuses is halved, so that only the nodes at fault fail; each half is decided anew, with the budget that the one
    before it left. If the budget itself is refused, all fail.
    """

    def back_off(count: int) -> None:
        sleep(jitter(0, min(_FIRST_WAIT * 2**count, _LONGEST_WAIT)))

    write = partial(
        _write, ledger=ledger, cluster=cluster, decide=decide, clock=clock, may_start=may_start, back_off=back_off
    )
    plans: list[AnyPlan] = []
    failed: dict[NodeKey, CallError] = {}
    parts = deque(_parts(nodes))
    while parts:
        part = parts.popleft()
        try:
            plan, book = write(part, book)
            plans.append(plan)
        except LookupFailedError as error:
            if isinstance(error, RefusedError) and len(part) > 1 and not error.of_budget:
                middle = len(part) // 2
                parts.extendleft((part[middle:], part[:middle]))
            else:
                failed |= {key: error.error for group in part for key in group}
    return Transacted(plans, book, failed)


def _write(
    part: Sequence[Group],
    book: Book,
    *,
    ledger: Ledger,
    cluster: str,
    decide: Callable[[Book, Sequence[Group]], AnyPlan],
    clock: Callable[[], datetime],
    may_start: Callable[[], bool],
    back_off: Callable[[int], None],
) -> tuple[AnyPlan, Book]:
    """Save a decision about a part, decided again after each conflict. Raises LookupFailedError."""
    tried: dict[str | None, AnyPlan] = {}
    for count in range(_WRITE_TRIES):
        if not may_start():
            break
        _check_readable(book, part, cluster)
        plan, token = decide(book, part), uuid4().hex
        if not plan.records:
            return plan, book
        tried[token] = plan
        try:
            return plan, book.updated(
                *_save(plan.records, now=clock(), token=token, ledger=ledger, may_start=may_start, back_off=back_off)
            )
        except ConflictError:
            pass
        back_off(count)
        book = _reload(ledger, book, part, cluster)
        # A write may arrive late. One record shows it: a transaction is carried out as a whole or not at all.
        records: list[Record] = [book.budget(cluster), *(book.node(key) for group in part for key in group)]
        saved = next((tried[record.written_by] for record in records if record.written_by in tried), None)
        if saved is not None:
            return saved, book
    busy = CallError(Meaning.THROTTLED, codes.LEDGER_BUSY, f"not written in {len(tried)} tries: others came first")
    raise LookupFailedError(busy if tried else errors.OUT_OF_TIME)


def _save(
    records: Sequence[Record],
    *,
    now: datetime,
    token: str,
    ledger: Ledger,
    may_start: Callable[[], bool],
    back_off: Callable[[int], None],
) -> Sequence[Record]:
    """Save records. A write whose answer is lost is sent again, with its token, until its answer comes.

    Reading the records would not do: another invocation may have written over them since.
    Raises ConflictError, LookupFailedError.
    """
    lost: LookupFailedError | None = None
    for count in range(_TRIES_TO_LEARN):
        try:
            return ledger.save(records, now=now, token=token)
        except LookupFailedError as error:
            if lost is None and error.error.meaning is not Meaning.UNKNOWN:
                raise
            if isinstance(error, RefusedError):
                raise ConflictError(str(error)) from error  # what the ledger holds is read
            lost = lost or error
        back_off(count)
        if not may_start():
            break
    assert lost  # noqa: S101  the loop runs at least once
    raise lost


def _parts(nodes: Sequence[Group]) -> Iterator[Sequence[Group]]:
    """Cut groups into parts that fit in a transaction with the budget."""
    part: list[Group] = []
    for group in nodes:
        if part and sum(map(len, part)) + len(group) > MOST_WRITTEN - 1:
            yield part
            part = []
        part.append(group)
    if part:
        yield part


def _check_readable(book: Book, part: Sequence[Group], cluster: str) -> None:
    """Refuse to decide about a part of which an item cannot be read: it would look as if it was never written."""
    names: list[NodeKey | str] = [cluster, *(key for group in part for key in group)]
    for name in names:
        if name in book.unreadable:
            raise RefusedError(CallError(Meaning.REJECTED, codes.LEDGER_BUSY, book.unreadable[name]))


def _reload(ledger: Ledger, book: Book, part: Sequence[Group], cluster: str) -> Book:
    keys = {key for group in part for key in group}
    fresh = ledger.load(keys, [cluster])
    nodes = {key: record for key, record in book.nodes.items() if key not in keys}
    budgets = {name: budget for name, budget in book.budgets.items() if name != cluster}
    return Book({**nodes, **fresh.nodes}, {**budgets, **fresh.budgets}, {**book.unreadable, **fresh.unreadable})
