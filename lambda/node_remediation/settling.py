"""Writes down what was reported and sent on, so that no later delivery says it again."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from node_remediation import codes
from node_remediation.followup import FollowUp, is_told, settled
from node_remediation.guard import Situation, remember
from node_remediation.ledger import MOST_WRITTEN, Ledger
from node_remediation.lookup import LookupFailedError
from node_remediation.model import Case, Ending, Handling, NodeKey, Outcome
from node_remediation.record import Book, NodeRecord
from node_remediation.resume import settle
from node_remediation.settings import MAX_RECEIVES

_TRIES = 8


class Settler:
    """Settles what a batch came to."""

    def __init__(self, *, ledger: Ledger, clock: Callable[[], datetime], sleep: Callable[[float], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._sleep = sleep

    def settle(self, handling: Handling, situation: Situation, sent: Mapping[NodeKey, FollowUp]) -> Handling:
        """Write down what was reported; what could not be written comes again with its message, if it still may."""
        unwritten: dict[str, str] = {}
        ended = [ending for ending in handling.endings if ending.case.key]
        keys = list(dict.fromkeys(_key(ending.case) for ending in ended))
        for start in range(0, len(keys), MOST_WRITTEN):
            part = set(keys[start : start + MOST_WRITTEN])
            endings = [ending for ending in ended if _key(ending.case) in part]
            why = self._settle(endings, situation, sent)
            if why:
                late = (ending.case.message for ending in endings)
                unwritten |= {message.id: why for message in late if message.receives < MAX_RECEIVES}
        return handling.without(unwritten)

    def _settle(self, endings: Sequence[Ending], situation: Situation, sent: Mapping[NodeKey, FollowUp]) -> str | None:
        """Write at most 100 nodes' records; returns why that could not be done."""
        keys, book = {_key(ending.case) for ending in endings}, situation.book
        try:
            for tried in range(_TRIES):
                before = book if tried == 0 else self._ledger.load(keys, ())
                settled = (_settled(key, before, endings, situation, sent.get(key)) for key in keys)
                records = [record for record in settled if record != before.kept.get(record.key)]
                if not records or self._ledger.save(records, now=self._clock()):
                    return None
                self._sleep(random.uniform(0, 0.02 * 2**tried))  # noqa: S311  jitter, not cryptography
        except LookupFailedError as error:
            # A final no would be one at each delivery, and each would tell people again.
            return str(error) if error.error.passing else None
        return f"{codes.LEDGER_BUSY}: what was reported could not be written down"


def _settled(
    key: NodeKey, book: Book, endings: Sequence[Ending], situation: Situation, sent: FollowUp | None
) -> NodeRecord:
    record = book.node(key)
    for ending in endings:
        if _key(ending.case) == key:
            if is_told(ending, situation.settings) or ending.outcome is not Outcome.REBOOTED:
                record = settle(record, ending, situation.now)
            record = remember(record, ending, situation)
            follow = sent if sent and sent.case is ending.case else None
            record = settled(record, ending, follow, situation.settings)
    return record


def _key(case: Case) -> NodeKey:
    assert case.key  # noqa: S101  settled cases, which have none, are left out
    return case.key
