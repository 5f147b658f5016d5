"""The edge to the ledger, a DynamoDB table: one item per node, one per cluster's budget.

Every write is a transaction of whole items, each on condition that nobody wrote it since it was read.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from node_remediation import awserrors, codes
from node_remediation.awserrors import CallError, Meaning
from node_remediation.lookup import LookupFailedError
from node_remediation.model import NodeKey, Result
from node_remediation.record import Book, BudgetRecord, Claim, NodeRecord, Record
from node_remediation.settings import LEDGER_RETENTION

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# Both are DynamoDB's own limits (API reference of BatchGetItem and TransactWriteItems).
_MOST_READ = 100
MOST_WRITTEN = 100
_READ_TRIES = 4
_FIRST_WAIT = 0.05  # seconds
# Reasons in a cancelled transaction that mean that somebody else was there first.
_CONFLICTS = frozenset({"ConditionalCheckFailed", "TransactionConflict"})


class Ledger(Protocol):
    """Remembers what was done to whom, when."""

    def load(self, nodes: Collection[NodeKey], clusters: Collection[str]) -> Book:
        """The records as they are now; ones that were never written are left out. Raises LookupFailedError."""

    def save(self, records: Sequence[Record], *, now: datetime) -> bool:
        """Write all (at most 100), or none because one changed since it was read. Raises LookupFailedError."""


class DynamoDbLedger:
    """Ledger over DynamoDB, with strongly consistent reads."""

    def __init__(self, client: "DynamoDBClient", *, table: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def load(self, nodes: Collection[NodeKey], clusters: Collection[str]) -> Book:
        keys = [_node_pk(key) for key in nodes] + [_budget_pk(cluster) for cluster in clusters]
        book = Book()
        for start in range(0, len(keys), _MOST_READ):
            for item in self._read(keys[start : start + _MOST_READ]):
                book.put(_decode(item))
        return book

    def _read(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        wanted: Any = {self._table: {"Keys": [{"pk": {"S": key}} for key in keys], "ConsistentRead": True}}
        items: list[dict[str, Any]] = []
        for tried in range(_READ_TRIES):
            try:
                answer = self._client.batch_get_item(RequestItems=wanted)
            except awserrors.CALL_ERRORS as error:
                raise LookupFailedError(awserrors.read(error)) from error
            items += [_plain(item) for item in answer["Responses"].get(self._table, ())]
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return items
            self._sleep(_FIRST_WAIT * 2**tried)
        raise LookupFailedError(CallError(Meaning.THROTTLED, codes.LEDGER_BUSY, "the ledger left keys unread"))

    def save(self, records: Sequence[Record], *, now: datetime) -> bool:
        try:
            self._client.transact_write_items(TransactItems=[self._put(record, now) for record in records])
        except ClientError as error:
            if _is_conflict(error):
                return False
            raise LookupFailedError(awserrors.read(error)) from error
        except awserrors.CALL_ERRORS as error:
            raise LookupFailedError(awserrors.read(error)) from error
        return True

    def _put(self, record: Record, now: datetime) -> Any:
        put: dict[str, Any] = {"TableName": self._table, "Item": _typed(_encode(record.pruned(now), now))}
        if record.version:
            put["ConditionExpression"] = "version = :seen"
            put["ExpressionAttributeValues"] = {":seen": {"N": str(record.version)}}
        else:
            put["ConditionExpression"] = "attribute_not_exists(pk)"
        return {"Put": put}


def _is_conflict(error: ClientError) -> bool:
    """Whether a transaction was cancelled only because somebody else wrote one of its items."""
    if error.response["Error"]["Code"] == "TransactionConflictException":
        return True
    given: list[Any] = error.response.get("CancellationReasons", [])
    reasons = {reason.get("Code") for reason in given} - {"None", None}
    return bool(reasons) and reasons <= _CONFLICTS


def _node_pk(key: NodeKey) -> str:
    return f"node#{key.cluster}#{key.id}"


def _budget_pk(cluster: str) -> str:
    return f"budget#{cluster}"


def _encode(record: Record, now: datetime) -> dict[str, Any]:
    common = {"version": record.version + 1, "expires": int((now + LEDGER_RETENTION).timestamp())}
    if isinstance(record, BudgetRecord):
        spends = {call: {"at": _ms(at), "nodes": nodes} for call, (at, nodes) in record.spends.items()}
        return common | {"pk": _budget_pk(record.cluster), "cluster": record.cluster, "spends": spends}
    times = {
        "unhealthy_at": record.unhealthy_at,
        "healthy_at": record.healthy_at,
        "repairing_until": record.repairing_until,
    }
    return (
        common
        | {"pk": _node_pk(record.key), "cluster": record.key.cluster, "node": record.key.id}
        | {name: _ms(at) for name, at in times.items() if at}
        | {
            "reboots": [_ms(at) for at in record.reboots],
            "told": {code: _ms(at) for code, at in record.told.items()},
            "claims": {owner: _encode_claim(claim) for owner, claim in record.claims.items()},
        }
    )


def _encode_claim(claim: Claim) -> dict[str, Any]:
    return {
        "at": _ms(claim.at),
        "lease_until": _ms(claim.lease_until),
        "result": claim.result.value if claim.result else None,
        "code": claim.code,
        "message": claim.message,
        "settled": claim.settled,
    }


def _decode(item: Mapping[str, Any]) -> Record:
    version = int(item["version"])
    if "spends" in item:
        spends = {call: (_time(spend["at"]), int(spend["nodes"])) for call, spend in item["spends"].items()}
        return BudgetRecord(item["cluster"], version, spends)
    return NodeRecord(
        key=NodeKey(item["cluster"], item["node"]),
        version=version,
        reboots=tuple(_time(at) for at in item["reboots"]),
        unhealthy_at=_optional_time(item.get("unhealthy_at")),
        healthy_at=_optional_time(item.get("healthy_at")),
        repairing_until=_optional_time(item.get("repairing_until")),
        told={code: _time(at) for code, at in item["told"].items()},
        claims={owner: _decode_claim(claim) for owner, claim in item["claims"].items()},
    )


def _decode_claim(claim: Mapping[str, Any]) -> Claim:
    return Claim(
        at=_time(claim["at"]),
        lease_until=_time(claim["lease_until"]),
        result=Result(claim["result"]) if claim["result"] else None,
        code=claim["code"],
        message=claim["message"],
        settled=claim["settled"],
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _time(ms: Any) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)


def _optional_time(ms: Any) -> datetime | None:
    return None if ms is None else _time(ms)


def _typed(item: Mapping[str, Any]) -> dict[str, Any]:
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}
