"""The edge to the ledger, a DynamoDB table: one item per node, one per cluster's budget.

Every write is a transaction of whole items, each on condition that nobody wrote it since it was read.
"""

import json
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from node_remediation import awserrors, codes
from node_remediation.attributes import plain, typed
from node_remediation.awserrors import CallError, Meaning
from node_remediation.lookup import LookupFailedError
from node_remediation.model import NodeKey, Outcome, Result
from node_remediation.record import Book, BudgetRecord, Claim, NodeRecord, Record, Stage, Watch

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# Both are DynamoDB's own limits (API reference of BatchGetItem and TransactWriteItems).
_MOST_READ = 100
MOST_WRITTEN = 100
# Longer than a dead letter can wait before it is redriven (14 days) and then wait in the intake queue (4 days): until
# then it must be known that a node has recovered since.
_EXPIRY = timedelta(days=21)
_READ_TRIES = 4
_FIRST_WAIT = 0.05  # seconds
# Reasons in a cancelled transaction that mean that somebody else was there first, and that it may work later.
_CONFLICTS = frozenset({"ConditionalCheckFailed", "TransactionConflict"})
_THROTTLED = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError"})
# Names that make up a key as they are; one that is odd could be too long for a key, or the same key as another's.
_PLAIN = re.compile(r"[!-~]{1,256}")


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
        of: dict[str, NodeKey | str] = {_node_pk(key): key for key in nodes}
        of |= {_budget_pk(cluster): cluster for cluster in clusters}
        keys, book = list(of), Book()
        for start in range(0, len(keys), _MOST_READ):
            for item in self._read(keys[start : start + _MOST_READ]):
                book.put(_decode(item, of[item["pk"]]))
        return book

    def _read(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        wanted: Any = {self._table: {"Keys": [{"pk": {"S": key}} for key in keys], "ConsistentRead": True}}
        items: list[dict[str, Any]] = []
        for tried in range(_READ_TRIES):
            try:
                answer = self._client.batch_get_item(RequestItems=wanted)
            except awserrors.CALL_ERRORS as error:
                raise LookupFailedError(awserrors.read(error)) from error
            items += [plain({"M": item}) for item in answer["Responses"].get(self._table, ())]
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return items
            self._sleep(_FIRST_WAIT * 2**tried)
        raise LookupFailedError(CallError(Meaning.THROTTLED, codes.LEDGER_BUSY, "the ledger left keys unread"))

    def save(self, records: Sequence[Record], *, now: datetime) -> bool:
        try:
            self._client.transact_write_items(TransactItems=[self._put(record, now) for record in records])
        except awserrors.CALL_ERRORS as error:
            trouble = _read_refusal(error)
            if trouble is None:
                return False
            raise LookupFailedError(trouble) from error
        return True

    def _put(self, record: Record, now: datetime) -> Any:
        put: dict[str, Any] = {"TableName": self._table, "Item": typed(_encode(record.pruned(now), now))["M"]}
        if record.version:
            put["ConditionExpression"] = "version = :seen"
            put["ExpressionAttributeValues"] = {":seen": {"N": str(record.version)}}
        else:
            put["ConditionExpression"] = "attribute_not_exists(pk)"
        return {"Put": put}


def _read_refusal(error: Exception) -> CallError | None:
    """Why a transaction was not carried out; None if only because somebody else wrote one of its items."""
    trouble = awserrors.read(error)
    if trouble.code == "TransactionConflictException":
        return None
    given: list[Any] = error.response.get("CancellationReasons", []) if isinstance(error, ClientError) else []
    reasons = {reason.get("Code") for reason in given} - {"None", None}
    if reasons and reasons <= _CONFLICTS:
        return None
    if reasons and reasons <= _CONFLICTS | _THROTTLED:
        return CallError(Meaning.THROTTLED, codes.LEDGER_BUSY, trouble.message)
    return trouble


def _node_pk(key: NodeKey) -> str:
    return _pk("node", key.cluster, key.id)


def _budget_pk(cluster: str) -> str:
    return _pk("budget", cluster)


def _pk(kind: str, *names: str) -> str:
    if all(_PLAIN.fullmatch(name) and "#" not in name for name in names):
        return "#".join((kind, *names))
    return f"{kind}##{sha256(json.dumps(names).encode()).hexdigest()}"


def _legible(name: str) -> str:
    """A name for people who look at the table; what says whose an item is, is its key."""
    return name.encode("ascii", "replace").decode()[:256]


def _encode(record: Record, now: datetime) -> dict[str, Any]:
    common = {"version": record.version + 1, "expires": int((now + _EXPIRY).timestamp())}
    if isinstance(record, BudgetRecord):
        spends = {call: {"at": _ms(at), "nodes": nodes} for call, (at, nodes) in record.spends.items()}
        return common | {"pk": _budget_pk(record.cluster), "cluster": _legible(record.cluster), "spends": spends}
    times = {
        "unhealthy_at": record.unhealthy_at,
        "healthy_at": record.healthy_at,
        "repairing_until": record.repairing_until,
    }
    return (
        common
        | {"pk": _node_pk(record.key)}
        | {"cluster": _legible(record.key.cluster), "node": _legible(record.key.id)}
        | {name: _ms(at) for name, at in times.items() if at}
        | ({"advised": record.advised} if record.advised else {})
        | ({"watch": _encode_watch(record.watch)} if record.watch else {})
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


def _encode_watch(watch: Watch) -> dict[str, Any]:
    encoded = {each.name: getattr(watch, each.name) for each in fields(Watch)}
    return {name: _ms(value) if isinstance(value, datetime) else value for name, value in encoded.items()}


def _decode(item: Mapping[str, Any], of: NodeKey | str) -> Record:
    """An item as the record of a node, or of a cluster's budget."""
    version = int(item["version"])
    if isinstance(of, str):
        spends = {call: (_time(spend["at"]), int(spend["nodes"])) for call, spend in item["spends"].items()}
        return BudgetRecord(of, version, spends)
    return NodeRecord(
        key=of,
        version=version,
        reboots=tuple(_time(at) for at in item["reboots"]),
        unhealthy_at=_optional_time(item.get("unhealthy_at")),
        healthy_at=_optional_time(item.get("healthy_at")),
        repairing_until=_optional_time(item.get("repairing_until")),
        told={code: _time(at) for code, at in item["told"].items()},
        claims={owner: _decode_claim(claim) for owner, claim in item["claims"].items()},
        advised=item.get("advised"),
        watch=_decode_watch(item["watch"]) if item.get("watch") else None,
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


def _decode_watch(watch: Mapping[str, Any]) -> Watch:
    return Watch(
        id=watch["id"],
        stage=Stage(watch["stage"]),
        since=_time(watch["since"]),
        until=_time(watch["until"]),
        reported_at=_time(watch["reported_at"]),
        alarm=watch["alarm"],
        well_at=_optional_time(watch["well_at"]),
        checks=int(watch["checks"]),
        next_at=_optional_time(watch["next_at"]),
        tries=int(watch["tries"]),
        told=watch["told"],
        end=Outcome(watch["end"]) if watch["end"] else None,
        ended_by=watch["ended_by"],
        reason=watch["reason"],
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _time(ms: Any) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)


def _optional_time(ms: Any) -> datetime | None:
    return None if ms is None else _time(ms)
