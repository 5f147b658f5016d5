"""The sentence that comes first where a notification stands for many nodes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from node_remediation.model import Outcome
from node_remediation.outbox.burst import burst_of
from node_remediation.outbox.notifications import notify
from node_remediation.policy.record import Entry
from tests.unit.outbox.makers import FRAME, NOW, entry, node

MINUTE = timedelta(minutes=1)
QUIET = ((NOW - 4 * MINUTE, 4), (NOW - 2 * MINUTE, 5))
LOST = entry(node=node(9), code="OutcomeUnknown", reboots=(NOW,))


def refused(count: int, code: str = "ClusterBudgetExceeded", *, first: int = 1) -> list[Entry]:
    return [entry(Outcome.REFUSED, code=code, node=node(first + n)) for n in range(count)]


def summary(entries: Sequence[Entry], spends: Sequence[tuple[datetime, int]] = ()) -> str | None:
    burst = burst_of(entries, spends, NOW)
    return burst and burst.summary


def test_summary_counts_the_reboots_that_nothing_else_tells_of() -> None:
    """The issue's own words."""
    assert summary(refused(3), QUIET) == "12 nodes of ml-a in 4 minutes: 9 rebooted, 3 refused: ClusterBudgetExceeded"


def test_node_that_was_rebooted_and_has_an_entry_is_one_node() -> None:
    """Its claim is in the budget, too."""
    said = [LOST, *refused(3)]
    assert summary(said, ((NOW, 2),)) == (
        "5 nodes of ml-a in 1 minute: 1 rebooted, 1 failed: OutcomeUnknown, 3 refused: ClusterBudgetExceeded"
    )


def test_told_and_quiet_reboots_are_counted_together() -> None:
    """With notify_rebooted, some have an entry."""
    told = [entry(Outcome.REBOOTED, node=node(n), reboots=(NOW,)) for n in range(2)]
    assert summary(told, ((NOW, 5),)) == "5 nodes of ml-a in 1 minute: 5 rebooted"


def test_recurring_node_counts_as_what_became_of_it() -> None:
    """Refused and recurring, or rebooted and recurring, it is one node."""
    recurring = [entry(Outcome.RECURRING, node=node(1)), entry(Outcome.RECURRING, node=node(8), reboots=(NOW,))]
    assert summary([*recurring, *refused(3)], ((NOW, 2),)) == (
        "5 nodes of ml-a in 1 minute: 2 rebooted, 3 refused: ClusterBudgetExceeded"
    )


def test_few_nodes_or_old_reboots_are_no_burst() -> None:
    """Four nodes; or reboots of eleven minutes ago."""
    assert summary(refused(4)) is None
    assert summary(refused(4) * 2) is None
    assert summary(refused(3), ((NOW - 11 * MINUTE, 30),)) is None


def test_each_code_has_its_number_and_the_most_pressing_comes_first() -> None:
    """After the reboots."""
    said = [*refused(2), *refused(3, "Paused", first=3), entry(node=node(7))]
    assert summary(said, QUIET) == (
        "15 nodes of ml-a in 4 minutes: 9 rebooted, 1 failed: InstanceIdInUse, 3 refused: Paused, "
        "2 refused: ClusterBudgetExceeded"
    )


def test_parts_of_a_notification_that_is_split_say_the_same_first() -> None:
    """Each is read by itself."""
    said = [replace(each, message="x" * 12_000) for each in refused(60)]
    parts = notify(said, FRAME)
    assert len(parts) > 1
    expected = "60 nodes of ml-a in 1 minute: 60 refused: ClusterBudgetExceeded"
    assert {json.loads(part.json)["Summary"] for part, _ in parts} == {expected}
    assert all(part.text.startswith(f"{expected}\n\nHyperPod cluster ml-a") for part, _ in parts)
