"""`local.observing`: reads queues, topic, log and ledger; the demonstration, chaos and tests/e2e rest on it."""

import json
from typing import Any

from local.observing import (
    DeadLetter,
    LedgerItem,
    LogLine,
    Reason,
    RebootCall,
    TopicEntry,
    read_log,
    read_metric,
    read_notice,
)

_KEY = ("ml-a", "i-1", "InstanceIdInUse")
_NO = Reason("InstanceIdInUse", "no")


def _message(body: str, **attributes: str) -> dict[str, Any]:
    return {"Body": body, "MessageAttributes": {name: {"StringValue": value} for name, value in attributes.items()}}


def test_stream_with_an_error_between_its_lines_is_of_an_invocation_that_crashed() -> None:
    """Lines of the platform and of metrics are passed over; the other invocation's lines are not marked."""
    printed = [
        ("one", "START RequestId: 1"),
        ("one", '{"level": "INFO", "outcome": "rebooted"}'),
        ("two", '{"level": "INFO", "state": "rebooted"}'),
        ("one", '{"_aws": {}, "TimeToRecovery": [2, 3]}'),
        ("one", "Task timed out after 60.00 seconds"),
    ]
    assert read_log(printed) == [
        LogLine({"level": "INFO", "outcome": "rebooted"}, crashed=True),
        LogLine({"level": "INFO", "state": "rebooted"}),
    ]
    assert read_metric(printed, "TimeToRecovery") == [2.0, 3.0]


def test_letter_that_names_a_node_is_read_with_what_a_redrive_needs() -> None:
    """Its key is that of the topic's entry about the same node."""
    detail: dict[str, Any] = {
        "IncidentId": "inc-2",
        "ClusterName": "ml-a",
        "NodeId": "i-1",
        "Trigger": {"EventId": "e-2"},
    }
    detail |= {"ErrorCode": _NO.code, "Message": _NO.message, "Attempt": 2, "Retryable": True}
    body = {"id": "letter-1", "source": "hyperpod.node-remediation", "detail": detail}
    letter = DeadLetter.read(_message(json.dumps(body), ClusterName="ml-a", ErrorCode=_NO.code, Kind="failed"))
    assert letter == DeadLetter(
        _KEY, kind="failed", id="letter-1", incident="inc-2", event_id="e-2", attempt=2, retryable=True
    )
    assert letter.reason == _NO


def test_letter_that_names_no_node_is_read_as_it_came() -> None:
    """An unknown cluster is none."""
    letter = DeadLetter.read(_message("{", ClusterName="unknown", ErrorCode="Unreadable"))
    assert letter == DeadLetter((None, None, "Unreadable"))
    assert letter.reason == Reason("Unreadable", "{")


def test_topic_message_is_read_into_an_entry_for_each_node_of_each_list() -> None:
    """Both kinds of ID are nodes; those in `Retrying` are marked in every list."""
    in_use = {"ErrorCode": _NO.code, "Message": _NO.message}
    notice = {
        "ClusterName": "ml-a",
        "Failed": [in_use | {"NodeId": "i-1"}],
        "FailedNodeLogicalIds": [in_use | {"NodeLogicalId": "abc"}],
        "Refused": [{"ErrorCode": "NodeNotResolved"}],
        "Retrying": [{"NodeLogicalId": "abc"}],
    }
    entries = list(read_notice(json.dumps({"Message": json.dumps(notice)})))
    assert entries == [
        TopicEntry(_KEY, "Failed"),
        TopicEntry(("ml-a", "abc", "InstanceIdInUse"), "FailedNodeLogicalIds", retrying=True),
        TopicEntry(("ml-a", None, "NodeNotResolved"), "Refused"),
        TopicEntry(("ml-a", "abc", None), "Retrying", retrying=True),
    ]
    assert entries[0].reason == _NO


def test_failures_are_read_from_an_answer_and_from_a_call_that_failed_as_a_whole() -> None:
    """A call that was not answered failed for all that it asked for."""
    call = {"time": 1.0, "cluster": "ml-a", "node_ids": ["i-1", "i-2"], "logical_ids": None, "error": None}
    failed = {"NodeId": "i-1", "ErrorCode": _NO.code, "Message": _NO.message}
    answered = RebootCall.read(call | {"answer": {"Failed": [failed], "Successful": ["i-2"]}})
    assert (answered.started, answered.failed, answered.answered) == (("i-2",), {"i-1": _NO}, True)
    rejected = RebootCall.read(call | {"answer": None, "error": {"code": _NO.code, "message": _NO.message}})
    assert (rejected.started, rejected.failed, rejected.answered) == ((), {"i-1": _NO, "i-2": _NO}, False)


def test_ledger_items_are_read_in_dynamodbs_types() -> None:
    """Only entries with a letter or a notice still to be sent are unsent."""
    entries = [{"M": {"id": {"S": "1"}, "letter": {"BOOL": True}}}, {"M": {"id": {"S": "2"}}}]
    item = {
        "pk": {"S": "node#ml-a#i-1"},
        "due": {"N": "1800000000500"},
        "incident": {"M": {"id": {"S": "inc-1"}}},
        "outbox": {"L": entries},
        "reboots": {"L": [{"N": "1799999999500"}]},
    }
    assert LedgerItem.read(item) == LedgerItem("node#ml-a#i-1", 1_800_000_000.5, "inc-1", 1, (1_799_999_999.5,))
    assert LedgerItem.read({"pk": {"S": "budget#ml-a"}}) == LedgerItem("budget#ml-a")
