"""The dead-letter queue: looked at without a trace, and put back without a loss."""

import pytest

from tests.tool.fakes import DLQ, INTAKE, FakeSqs, stack
from tool.letters import DeadLetterQueue, Wanted, groups


def _queue(sqs: FakeSqs) -> DeadLetterQueue:
    return DeadLetterQueue(stack(sqs=sqs))


def test_looking_leaves_every_letter_visible() -> None:
    """More than one batch of them."""
    sqs = FakeSqs()
    for number in range(25):
        sqs.letter("Paused", node=f"i-{number}")
    found = _queue(sqs).look(Wanted(), 1_000)
    assert len(found) == len(sqs.queues[DLQ]) == 25
    assert sqs.hidden == set()


def test_looking_ends_after_the_most_letters() -> None:
    sqs = FakeSqs()
    for number in range(25):
        sqs.letter("Paused", node=f"i-{number}")
    assert len(_queue(sqs).look(Wanted(), 12)) == 12
    assert sqs.hidden == set()


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [
        (Wanted("Paused"), ["i-1", "i-2"]),
        (Wanted(cluster="ml-b"), ["i-2", "i-3"]),
        (Wanted("Paused", "ml-b"), ["i-2"]),
        (Wanted("paused"), []),
    ],
)
def test_redrive_sends_the_letters_that_match_as_they_are_and_leaves_the_others(
    wanted: Wanted, nodes: list[str]
) -> None:
    """The attributes go with them: by Kind the function knows a letter that names no node."""
    sqs = FakeSqs()
    all_ = [
        sqs.letter("Paused", "ml-a", "i-1"),
        sqs.letter("Paused", "ml-b", "i-2"),
        sqs.letter("Other", "ml-b", "i-3"),
    ]
    before = {each["Body"]: each["MessageAttributes"] for each in sqs.queues[DLQ]}
    done = _queue(sqs).redrive(wanted, 1_000)
    assert [each.view()["node"] for each in done.sent] == nodes
    assert done.missed == []
    assert {each["Body"]: each["MessageAttributes"] for each in sqs.queues[INTAKE]} == {
        body: before[body] for body in all_ if any(node in body for node in nodes)
    }
    assert sorted(sqs.bodies(DLQ) + sqs.bodies(INTAKE)) == sorted(all_)
    assert sqs.hidden == set()


def test_letter_that_the_intake_queue_does_not_take_stays_and_is_named() -> None:
    """Its neighbours go."""
    sqs = FakeSqs()
    stays, goes = sqs.letter("Paused", node="i-1"), sqs.letter("Paused", node="i-2")
    sqs.refuses = frozenset({stays})
    done = _queue(sqs).redrive(Wanted("Paused"), 1_000)
    assert (sqs.bodies(DLQ), sqs.bodies(INTAKE), sqs.hidden) == ([stays], [goes], set())
    assert done.missed == ["ml-a/i-1 (Paused) was not sent: Busy: "]


def test_letter_that_cannot_be_deleted_is_in_both_queues_and_named() -> None:
    """It is one attempt all the same: the ledger knows its ID."""
    sqs = FakeSqs()
    body = sqs.letter("Paused")
    sqs.undeletable = frozenset({body})
    done = _queue(sqs).redrive(Wanted("Paused"), 1_000)
    assert (sqs.bodies(DLQ), sqs.bodies(INTAKE), sqs.hidden) == ([body], [body], set())
    assert done.missed == ["ml-a/i-1 (Paused) was sent, and is still in the dead-letter queue"]


def test_crash_while_letters_are_sent_deletes_none_and_makes_all_visible() -> None:
    sqs = FakeSqs()
    body = sqs.letter("Paused")

    def crash(**_: object) -> None:
        raise KeyboardInterrupt

    sqs.send_message_batch = crash  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyboardInterrupt):
        _queue(sqs).redrive(Wanted("Paused"), 1_000)
    assert (sqs.bodies(DLQ), sqs.hidden) == ([body], set())


def test_redrive_of_all_is_a_move_by_sqs() -> None:
    sqs = FakeSqs()
    _queue(sqs).redrive_all()
    assert sqs.moves == [{"SourceArn": "DeadLetterQueueArn", "DestinationArn": "IntakeQueueArn"}]


def test_letters_are_counted_by_code_and_cluster_the_most_first() -> None:
    """A message that came as nobody could read it counts by its attributes."""
    sqs = FakeSqs()
    sqs.put(DLQ, "{not JSON", {"ClusterName": "unknown", "ErrorCode": "Unreadable", "Kind": "unreadable"})
    for node in ("i-1", "i-2"):
        sqs.letter("Paused", node=node)
    found = _queue(sqs).look(Wanted(), 1_000)
    paused, unreadable = groups(found)
    assert paused == {
        "code": "Paused",
        "cluster": "ml-a",
        "letters": 2,
        "oldest": "2026-12-01T02:00:00Z",
        "retryable": True,
    }
    assert (unreadable["code"], unreadable["oldest"], unreadable["retryable"]) == ("Unreadable", None, False)
    assert [each.view()["node"] for each in found] == [None, "i-1", "i-2"]
