"""Fakes of the function's services that tests of several rooms share."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from node_remediation.aws.codec import from_ms, to_ms
from node_remediation.aws.errors import CallError, LookupFailedError, MayCall, Meaning
from node_remediation.aws.ledger import (
    Candidate,
    ConflictError,
    RefusedError,
    as_written,
    budget_pk,
    make_item,
    node_pk,
    read_book,
    shard_of,
)
from node_remediation.model import NodeKey
from node_remediation.policy.record import Book, NodeRecord, Record
from node_remediation.settings import Settings

THROTTLED = CallError(Meaning.THROTTLED, "ThrottlingException", "Rate exceeded")
DENIED = CallError(Meaning.REJECTED, "AccessDeniedException", "not authorized")
LOST = CallError(Meaning.UNKNOWN, "ReadTimeoutError", "timed out")
TOO_LARGE = CallError(Meaning.REJECTED, "ValidationException", "Item size has exceeded the maximum allowed size")


def lost() -> LookupFailedError:
    """Return the error for a write whose answer is lost: raised before it, nothing was written; after it, all was."""
    return LookupFailedError(LOST)


def refused(*, of_budget: bool = False) -> RefusedError:
    """Return the error for a write that DynamoDB refuses for good."""
    return RefusedError(TOO_LARGE, of_budget=of_budget)


@dataclass
class MemoryLedger:
    """A ledger in memory that keeps the items that the real one would, and takes a write only on its condition.

    The hooks may raise what the real one raises: `before_load` instead of reading, `before_save` instead of writing,
    `after_save` once it is written. They may also write to the ledger themselves, as a rival does.
    """

    settings: Settings = field(default_factory=Settings)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    before_load: Callable[[], None] = lambda: None
    before_save: Callable[[Sequence[Record]], None] = lambda _: None
    after_save: Callable[[Sequence[Record]], None] = lambda _: None
    writes: list[tuple[Record, ...]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def load(self, keys: Collection[NodeKey], clusters: Collection[str]) -> Book:
        asked: dict[str, NodeKey | str] = {node_pk(key): key for key in keys}
        asked |= {budget_pk(cluster): cluster for cluster in clusters}
        self.before_load()
        return read_book((self.items[pk] for pk in asked if pk in self.items), asked)

    def load_raw(self, pks: Collection[str]) -> Book:
        self.before_load()
        return read_book((self.items[pk] for pk in pks if pk in self.items), {})

    def nodes(self, *, may_call: MayCall) -> list[NodeRecord]:
        self.before_load()
        items = [item for pk, item in self.items.items() if pk.startswith("node#")]
        return list(read_book(iter(items), {}).nodes.values())

    def due(self, shard: int, now: datetime) -> list[Candidate]:
        self.before_load()
        indexed = (item for pk, item in self.items.items() if "due" in item and shard_of(pk) == shard)
        found = sorted((int(item["due"]["N"]), item["pk"]["S"]) for item in indexed)
        return [Candidate(pk, from_ms(ms)) for ms, pk in found if ms <= to_ms(now)]

    def save(self, records: Sequence[Record], *, now: datetime, token: str) -> Sequence[Record]:
        self.before_save(records)
        written = [as_written(record, now=now, token=token, settings=self.settings) for record in records]
        if token not in self.tokens:
            items = [make_item(record, now) for record in written]
            if len({item["pk"]["S"] for item in items}) < len(items):
                raise refused()  # "Transaction request cannot include multiple operations on one item"
            for record, item in zip(records, items, strict=True):
                found = self.items.get(item["pk"]["S"], {}).get("version", {"N": "0"})
                if found != {"N": str(record.version)}:
                    raise ConflictError(item["pk"]["S"])
            self.items |= {item["pk"]["S"]: item for item in items}
            self.writes.append(tuple(written))
            self.tokens.add(token)
        self.after_save(records)
        return written

    def expire(self, now: datetime) -> None:
        """Delete what DynamoDB would have deleted by now."""
        self.items = {
            pk: item
            for pk, item in self.items.items()
            if "expires" not in item or int(item["expires"]["N"]) > now.timestamp()
        }
