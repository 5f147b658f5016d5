"""The topic's messages: JSON for machines, subject and attributes, and how they are split."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_remediation.model import LONGEST_API_TEXT, IdKind, Node, Outcome, Trigger, bounded
from node_remediation.outbox.letters import attribute
from node_remediation.outbox.mail import by_section
from node_remediation.outbox.notifications import Notification, notify
from node_remediation.policy.draft import entry_of_end
from node_remediation.policy.modes import ModeEntry, Modes
from node_remediation.policy.record import Entry
from tests.unit.outbox.makers import FRAME, HOSTILE, KNOWN, LOGICAL, NOW, TOLD, entries, entry, node

MOST = 262_144
LISTS = ("Failed", "FailedNodeLogicalIds", "Refused", "Rebooted", "Observed", "Recovered")
# Each entry is in one of these.
ENTRIES = (*LISTS, "Replaced", "Proposed", "Recurring", "Resumed", "Superseded", "Unverified", "Unreadable")
UNFAILED = [each for each in TOLD if each not in {Outcome.FAILED, Outcome.NOT_RECOVERED, Outcome.RETRYING}]


def one(said: Sequence[Entry]) -> Notification:
    ((notification, told),) = notify(said, FRAME)
    assert list(told) == list(said)
    return notification


def body(said: Sequence[Entry]) -> Any:
    return json.loads(one(said).json)


def bytes_of(notification: Notification) -> int:
    """A message's bytes as SNS counts them, the subject besides."""
    attributes = [
        ("ClusterName", "String", notification.cluster),
        ("Kind", "String", notification.kind),
        *([("ErrorCodes", "String.Array", json.dumps(notification.error_codes))] if notification.error_codes else []),
    ]
    texts = [notification.subject, notification.message, *("".join(each) for each in attributes)]
    return sum(len(text.encode()) for text in texts)


NIGHT = [
    entry(node=node(1)),
    entry(node=LOGICAL, code="InternalServerError", message="Try again."),
    entry(Outcome.REFUSED, node=node(2), message="cluster ml-a matches none of the setting clusters: ml-b"),
    entry(Outcome.REBOOTED, node=node(3), message="SageMaker started the reboot"),
]


def test_json_holds_every_entry_in_the_apis_shape() -> None:
    """Every field is compared; lists that are empty are there."""
    assert body(NIGHT) == {
        "ClusterName": "ml-a",
        "AccountId": "111122223333",
        "Region": "us-west-2",
        "Time": "2026-11-23T02:14:07Z",
        "Failed": [{"NodeId": node(1).id, "ErrorCode": "InstanceIdInUse", "Message": "The node is busy."}],
        "FailedNodeLogicalIds": [
            {"NodeLogicalId": "df268d19-f035", "ErrorCode": "InternalServerError", "Message": "Try again."}
        ],
        "Refused": [
            {
                "NodeId": node(2).id,
                "ErrorCode": "ClusterNotAllowed",
                "Message": "cluster ml-a matches none of the setting clusters: ml-b",
            }
        ],
        "Rebooted": [{"NodeId": node(3).id, "Message": "SageMaker started the reboot"}],
        "Observed": [],
        "Recovered": [],
    }


def test_proposal_tells_what_an_answer_takes_and_until_when() -> None:
    """A script that drains nodes needs no mail."""
    found = body(
        [entry(Outcome.PROPOSED, message="Xid 79", incident="incident-1", again_at=NOW + timedelta(minutes=15))]
    )
    assert found["Proposed"] == [
        {"NodeId": node(1).id, "IncidentId": "incident-1", "Reason": "Xid 79", "Expires": "2026-11-23T02:29:07Z"}
    ]


def test_recurring_node_has_its_reason_and_its_history() -> None:
    """Three lines, the latest last, beside the incident's ID."""
    said = entry(Outcome.RECURRING, message="Xid 79", history=("first", "second", "third"))
    expected = {
        "NodeId": node(1).id,
        "IncidentId": said.incident,
        "Reason": "Xid 79",
        "History": ["first", "second", "third"],
    }
    assert (body([said])["Recurring"], one([said]).kind) == ([expected], "recurring")


def test_mode_that_ended_is_listed_with_its_pattern_and_its_end() -> None:
    """Of the entry that was in the parameter; which mode holds now is in the message."""
    said = one([entry_of_end(ModeEntry("paused", "ml-b/gpu-*", NOW), Modes("observe"), NOW)])
    message = "observe again since 2026-11-23 02:14:07 UTC, when the entry (paused) ended"
    assert json.loads(said.json)["Resumed"] == [
        {"Pattern": "ml-b/gpu-*", "Mode": "paused", "Until": "2026-11-23T02:14:07Z", "Message": message}
    ]
    assert (said.cluster, said.kind, said.error_codes) == ("ml-b", "resumed", ())


@pytest.mark.parametrize("outcome", sorted({*UNFAILED} - {Outcome.PROPOSED, Outcome.RECURRING}))
def test_outcome_has_a_list_of_its_name(outcome: Outcome) -> None:
    """Six lists are always there, each other only with something in it."""
    said = entry(outcome, code=None, message="said")
    found = body([said])
    name = outcome.value.capitalize()
    assert found[name] == [{"NodeId": node(1).id, "Message": "said"}]
    assert {each for each in found if isinstance(found[each], list)} == {*LISTS, name}


@pytest.mark.parametrize(("of", "name"), [(node(1), "Failed"), (LOGICAL, "FailedNodeLogicalIds"), (None, "Failed")])
def test_node_that_did_not_recover_is_listed_as_failed(of: Any, name: str) -> None:
    """Automation that reads failures sees it too."""
    found = body([entry(Outcome.NOT_RECOVERED, node=of)])
    assert [each["ErrorCode"] for each in found[name]] == ["NotRecovered"]
    assert sum(map(len, (found[each] for each in LISTS))) == 1


@pytest.mark.parametrize(("of", "name"), [(node(3), "Failed"), (LOGICAL, "FailedNodeLogicalIds")])
def test_node_that_is_tried_again_is_listed_as_failed_and_when_the_next_try_is(of: Any, name: str) -> None:
    """Machines find the failure with the others, and the time of the next attempt beside."""
    found = body([entry(Outcome.RETRYING, node=of, again_at=NOW + timedelta(minutes=2))])
    id_ = {of.kind.value: of.id}
    assert found[name] == [{**id_, "ErrorCode": "InstanceIdInUse", "Message": "The node is busy."}]
    assert found["Retrying"] == [{**id_, "ErrorCode": "InstanceIdInUse", "NextAttempt": "2026-11-23T02:16:07Z"}]


def test_unreadable_message_is_told_without_node_or_cluster() -> None:
    """There is nothing to name, and the lists that others rely on are still there."""
    said = entry(Outcome.UNREADABLE, node=None, cluster=None, message="the body is not JSON")
    found = body([said])
    assert found["ClusterName"] is None
    assert found["Unreadable"] == [{"ErrorCode": "Unreadable", "Message": "the body is not JSON"}]
    assert all(found[name] == [] for name in LISTS)
    assert one([said]).cluster == "unknown"
    assert one([said]).subject == "[us-west-2] cluster unknown: MESSAGE NOT READABLE, correct it"


def test_odd_characters_are_verbatim_in_the_json() -> None:
    """The API's own words are escaped, not changed; a lone surrogate is no character."""
    assert body([entry(message=HOSTILE)])["Failed"][0]["Message"] == HOSTILE.replace("\ud800", "?")


def test_attributes_name_cluster_most_pressing_kind_and_each_code_once() -> None:
    """A filter policy can route by them."""
    notification = one([*reversed(NIGHT), entry(node=node(4))])
    assert notification.attributes == {
        "ClusterName": {"DataType": "String", "StringValue": "ml-a"},
        "Kind": {"DataType": "String", "StringValue": "failed"},
        "ErrorCodes": {
            "DataType": "String.Array",
            "StringValue": '["ClusterNotAllowed", "InternalServerError", "InstanceIdInUse"]',
        },
    }


def test_message_without_a_code_has_no_attribute_for_codes() -> None:
    """An empty list matches no filter, and some services refuse it."""
    assert set(one([entry(Outcome.REBOOTED)]).attributes) == {"ClusterName", "Kind"}


def test_most_pressing_kind_names_a_message_of_many() -> None:
    """Kinds that need a person come before those that tell one something."""
    expected = [
        "failed",
        "failed",
        "refused",
        "unreadable",
        "unverified",
        "replaced",
        "recurring",
        "retrying",
        "resumed",
        "observed",
        "rebooted",
        "superseded",
        "recovered",
    ]
    order = [entry(outcome) for outcome in TOLD if outcome is not Outcome.PROPOSED]
    assert [one([*order[:first:-1], order[first]]).kind for first in range(len(order))] == expected


def test_proposals_have_a_message_of_their_own_that_a_filter_on_its_kind_finds() -> None:
    """A script that drains nodes would miss one that shares a message with a failure."""
    proposed = [entry(Outcome.PROPOSED, node=node(number)) for number in (1, 2)]
    said = [proposed[0], entry(node=node(3)), proposed[1], entry(Outcome.REBOOTED, node=node(4))]
    assert [(part.kind, told) for part, told in notify(said, FRAME)] == [
        ("proposed", proposed),
        ("failed", [said[1], said[3]]),
    ]


def test_message_has_a_form_for_each_protocol() -> None:
    """SNS gives e-mail the text and everything else the JSON."""
    notification = one(NIGHT)
    assert json.loads(notification.message) == {"default": notification.json, "email": notification.text}


def subject(*said: Entry) -> str:
    return one(said).subject


def test_subject_says_where_which_node_what_happened_and_what_to_do() -> None:
    """A person reads it on a locked screen."""
    lost = entry(Outcome.NOT_RECOVERED, cluster="ml-training", node=node(1))
    assert subject(lost) == f"[us-west-2] ml-training {node(1).id}: NOT RECOVERED, replace it"
    assert subject(lost, replace(lost, node=node(2))) == "[us-west-2] ml-training 2 nodes: NOT RECOVERED, replace them"
    assert subject(lost, lost) == f"[us-west-2] ml-training {node(1).id}: NOT RECOVERED, replace it"


def test_subject_of_many_kinds_has_the_words_of_the_most_pressing_and_its_share() -> None:
    """Failures first, and of them the code of most nodes."""
    assert subject(*NIGHT) == "[us-west-2] ml-a 4 nodes: NODE IS BUSY, wait and try again (1 of 4)"
    often = [entry(node=node(n), code="InternalServerError") for n in (5, 6)]
    assert subject(*NIGHT[:2], *often) == "[us-west-2] ml-a 4 nodes: SAGEMAKER HAD AN ERROR, try again (3 of 4)"
    unknown = entry(node=node(4), code="OutcomeUnknown")
    assert subject(unknown, *NIGHT[2:]) == "[us-west-2] ml-a 3 nodes: PERHAPS REBOOTED, look at it (1 of 3)"


def test_subject_of_reports_that_name_no_node_counts_reports() -> None:
    """It may be one node's alarm that fired five times."""
    unnamed = entry(Outcome.REFUSED, node=None, code="NodeNotResolved")
    assert subject(unnamed) == "[us-west-2] ml-a: NODE NOT KNOWN, fix the alarm"
    assert subject(unnamed, unnamed) == "[us-west-2] ml-a 2 reports: NODE NOT KNOWN, fix the alarm"


@given(
    cluster=st.none() | st.text(max_size=130) | st.just("ml-" * 60),
    outcomes=st.lists(st.sampled_from([each for each in TOLD if each is not Outcome.PROPOSED]), min_size=1, max_size=30)
    | st.just([Outcome.PROPOSED]),
    code=st.sampled_from([None, *sorted(KNOWN)]),
    id_=st.text(max_size=40) | st.just("x" * 200),
)
def test_subject_is_one_sns_takes(cluster: str | None, outcomes: list[Outcome], code: str | None, id_: str) -> None:
    """Under 100 printable ASCII characters for any names; a long one is cut, and what happened never is."""
    said = [entry(outcome, cluster=cluster, code=code, node=Node(IdKind.NODE_ID, id_)) for outcome in outcomes]
    found = subject(*said)
    assert len(found) < 100
    assert found.isascii()
    assert found.isprintable()
    assert found.startswith("[us-west-2] ")
    assert by_section(said)[0].headline in found


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_subject_of_a_burst_leaves_room_for_the_cluster(code: str) -> None:
    """Of its name at least the beginning, where region, number and time are at their longest."""
    said = [entry(Outcome.REFUSED, code=code, node=node(n), cluster="ml-training-7") for n in range(5)]
    far = replace(FRAME, home=FRAME.home._replace(region="ap-southeast-2"), now=NOW + timedelta(minutes=10))
    ((notification, _),) = notify(said, far, {"ml-training-7": ((NOW + timedelta(minutes=1), 1_000),)})
    assert len(notification.subject) < 100
    assert notification.subject.startswith("[ap-southeast-2] ml")
    assert " 1005 nodes in 10 min: " in notification.subject


def test_each_cluster_has_a_message_of_its_own() -> None:
    """Entries without a cluster share one too; the order within each is kept."""
    clusters = ["ml-b", "ml-a", None, "ml-b", "ml-a", None]
    said = [entry(cluster=cluster, node=node(number)) for number, cluster in enumerate(clusters)]
    assert [(part.cluster, told) for part, told in notify(said, FRAME)] == [
        ("ml-b", [said[0], said[3]]),
        ("ml-a", [said[1], said[4]]),
        ("unknown", [said[2], said[5]]),
    ]


def test_nothing_to_say_is_no_message() -> None:
    """A topic hears nothing of a quiet invocation."""
    assert notify([], FRAME) == []


def _message_of(said: Entry) -> tuple[str | None, bool]:
    return said.cluster, said.outcome is Outcome.PROPOSED


@settings(max_examples=60, deadline=None)
@given(st.lists(entries(), min_size=1, max_size=6), st.integers(1, 3))
def test_any_entries_are_each_told_once_in_messages_that_sns_takes(said: list[Entry], times: int) -> None:
    """Splitting loses nothing, keeps each cluster's order, and stays under the limit, attributes included."""
    said = said * times
    parts = notify(said, FRAME)
    for message in {_message_of(each) for each in said}:
        told = [each for _, part in parts if _message_of(part[0]) == message for each in part]
        assert told == [each for each in said if _message_of(each) == message]
    for notification, part in parts:
        assert notification.size == bytes_of(notification) <= MOST
        found = json.loads(notification.json)
        assert sum(len(found.get(name, [])) for name in ENTRIES) == len(part)
        assert found["ClusterName"] == (part[0].cluster and bounded(part[0].cluster))
        texts = (notification.message, *(each["StringValue"] for each in notification.attributes.values()))
        assert all(attribute(character) == character for text in texts for character in set(text))
        assert all(each["StringValue"] for each in notification.attributes.values())
        assert all(len(code) <= 256 for code in notification.error_codes)


@pytest.mark.parametrize("character", ["x", "\U0001f4a5", "\x00", "\\", "é "])
def test_hundred_longest_failures_are_all_told(character: str) -> None:
    """The API's longest messages, each entry once, whole and in order."""
    words = (character * LONGEST_API_TEXT)[: LONGEST_API_TEXT - 4]
    said = [entry(node=node(n), message=f"{words}{n:04}") for n in range(100)]
    parts = notify(said, FRAME)
    assert [each for _, part in parts for each in part] == said
    assert all(bytes_of(notification) <= MOST for notification, _ in parts)
    found = [each for notification, _ in parts for each in json.loads(notification.json)["Failed"]]
    assert found == [
        {"NodeId": node(n).id, "ErrorCode": "InstanceIdInUse", "Message": f"{words}{n:04}"} for n in range(100)
    ]


ENDLESS: dict[str, Callable[[str], dict[str, Any]]] = {
    "cluster": lambda text: {"cluster": text},
    "node": lambda text: {"node": Node(IdKind.NODE_ID, text)},
    "code": lambda text: {"code": text},
    "message": lambda text: {"message": text},
    "reason": lambda text: {"trigger": Trigger("s", "d", "e", NOW, text)},
    "detail-type": lambda text: {"trigger": Trigger("s", text, "e", NOW)},
    "recommendation": lambda text: {"recommendation": text},
}


@pytest.mark.parametrize("field", ENDLESS)
@pytest.mark.parametrize("character", ["x", "\U0001f4a5", "\x00", "é "])
def test_endless_text_is_cut_and_marked(field: str, character: str) -> None:
    """SNS would refuse it for good; its beginning is told."""
    notification = one([entry(Outcome.RETRYING, **ENDLESS[field](character * 300_000))])
    assert bytes_of(notification) < 200_000
    assert "…[cut]" in notification.json + notification.text


def of_size(wanted: int) -> list[Entry]:
    """Entries that would be told in one message of this size."""
    named, start = "é" * 200, "x" * 100  # a line of its own
    said = [entry(node=node(n), cluster=named, message=f"{n:02}" + "x" * 12_100) for n in range(15)]
    first = entry(node=node(15), cluster=named, message=start)
    short = wanted - bytes_of(one([first, *said]))
    # A control character is seven bytes in the JSON and none in the mail; a letter is one in each.
    odd = short % 2
    return [replace(first, message=start + "\x01" * odd + "x" * ((short - 7 * odd) // 2)), *said]


def test_messages_are_split_only_where_the_limit_in_bytes_is_passed() -> None:
    """Subject and attributes count; a name of few characters may be of many bytes."""
    assert bytes_of(one(of_size(MOST))) == MOST
    assert [len(part) for _, part in notify(of_size(MOST + 1), FRAME)] == [8, 8]
