"""Records as items of the table, and back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.aws.codec import MOST_BYTES, UnreadableItemError, decode, encode, fitted, from_ms, to_ms
from node_remediation.model import Alarm, Failure, IdKind, Node, NodeKey, Outcome, Trigger
from node_remediation.policy import record as bounds
from node_remediation.policy.record import Budget, Complaint, Entry, Incident, NodeRecord, Past, Record, Sign, State
from tests.unit.aws.strategies import node_records, records

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
KEY = NodeKey("ml-a", "i-00000000000000001")


@given(records)
def test_record_is_decoded_as_it_was(record: Record) -> None:
    """Whatever it holds, within the bounds of its strings and times."""
    assert decode(encode(record)) == record
    assert fitted(record) == record


@given(node_records)
def test_attributes_that_are_not_known_are_ignored(record: NodeRecord) -> None:
    """A later version may have added some."""
    assert decode(encode(record) | {"later": {"M": {"a": {"N": "1.5"}}}, "shard": {"S": "3"}}) == record


def test_item_is_what_people_read_in_the_table() -> None:
    """Fields have their own names, times are milliseconds, and what has its default is left out."""
    complaint = Complaint("hyperpod", NOW, Trigger("aws.sagemaker", "event", "e-1", NOW), repair_action="Reboot")
    node = Node(IdKind.NODE_ID, KEY.id)
    incident = Incident("in-1", State.OPEN, node, NOW, (complaint,), since=NOW, due=NOW)
    ms = {"N": "1795400047000"}
    trigger = {"source": {"S": "aws.sagemaker"}, "detail_type": {"S": "event"}, "event_id": {"S": "e-1"}, "time": ms}
    assert encode(NodeRecord(KEY, version=2, incident=incident, told={"Paused": NOW}, history=((NOW, "open"),))) == {
        "key": {"M": {"cluster": {"S": "ml-a"}, "id": {"S": KEY.id}}},
        "version": {"N": "2"},
        "told": {"M": {"Paused": ms}},
        "history": {"L": [{"L": [ms, {"S": "open"}]}]},
        "incident": {
            "M": {
                "id": {"S": "in-1"},
                "state": {"S": "open"},
                "node": {"M": {"kind": {"S": "NodeId"}, "id": {"S": KEY.id}}},
                "opened_at": ms,
                "since": ms,
                "due": ms,
                "complaints": {
                    "L": [
                        {
                            "M": {
                                "source": {"S": "hyperpod"},
                                "made_at": ms,
                                "trigger": {"M": trigger},
                                "repair_action": {"S": "Reboot"},
                            }
                        }
                    ]
                },
            }
        },
    }


@pytest.mark.parametrize("ms", [-(10**30), -1, 0, 1, 10**14, 253_402_300_800_000, 10**30])
def test_number_that_is_no_time_reads_as_the_nearest_time(ms: int) -> None:
    """The 31st of December 9999 once made an item unreadable for good."""
    assert datetime(1970, 1, 1, tzinfo=UTC) <= from_ms(ms) <= datetime(9999, 1, 1, tzinfo=UTC)
    assert from_ms(ms) + timedelta(days=300)


@given(st.datetimes(timezones=st.timezones()))
def test_any_time_can_be_kept(at: datetime) -> None:
    """Rounded down to the millisecond, never up over the last one."""
    kept = from_ms(to_ms(at))
    assert kept <= max(at, datetime(1970, 1, 1, tzinfo=UTC))
    assert to_ms(kept) == to_ms(at)


def test_lone_surrogates_are_replaced() -> None:
    """DynamoDB refuses them, and a log line with one is lost."""
    kept = fitted(NodeRecord(NodeKey("ml-\udc00", "i-\ud800"), history=((NOW, "a\udfffb"),)))
    assert kept == NodeRecord(NodeKey("ml-?", "i-?"), history=((NOW, "a?b"),))


def test_numbers_are_clamped_to_what_dynamodb_takes() -> None:
    """A message may have brought any."""
    assert fitted(NodeRecord(KEY, put_off=10**4_300)).put_off == 10**15


def test_tags_of_an_alarm_are_not_kept() -> None:
    """They are without number, and served to find the cluster."""
    alarm = Alarm("a", tags=(("hyperpod:cluster", "ml-a"),))
    complaint = Complaint("alarm:a", NOW, Trigger("s", "d", "e", NOW), alarm=alarm)
    incident = Incident("in-1", State.OPEN, Node(IdKind.NODE_ID, "i-1"), NOW, (complaint,), since=NOW, due=NOW)
    kept = fitted(NodeRecord(KEY, incident=incident)).incident
    assert kept
    assert kept.complaints[0].alarm == Alarm("a")


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"key": {"S": "no map"}},
        {"key": {"M": {"cluster": {"S": "c"}, "id": {"N": "1"}}}},
        {"key": {"M": {"cluster": {"S": "c"}, "id": {"S": "i"}}}, "incident": {"M": {}}},
        {
            "key": {"M": {"cluster": {"S": "c"}, "id": {"S": "i"}}},
            "node": {"M": {"kind": {"S": "x"}, "id": {"S": "i"}}},
        },
        {"key": {"M": {"cluster": {"S": "c"}, "id": {"S": "i"}}}, "history": {"L": [{"L": [{"N": "1"}]}]}},
        {"cluster": {"S": "c"}, "spends": {"L": [{"L": [{"N": "NaN"}, {"N": "1"}]}]}},
        {"cluster": {"S": "c"}, "version": {"B": b"1"}},
        {"cluster": {"UNHEARD": "c"}},
    ],
)
def test_item_that_is_no_record_is_named_as_such(item: dict[str, Any]) -> None:
    """One error for all that can be wrong with it."""
    with pytest.raises(UnreadableItemError):
        decode(item)


# -- bounds


def _full(text: str) -> list[Record]:
    """Return records that are full: each list at its bound, each string `text`, made different where it is a key."""
    keys = [f"{number:03d}{text}" for number in range(500)]
    trigger = Trigger(text, text, text, NOW, text)
    alarm = Alarm(text, text, tags=((text, text),) * 50, by_series=True, series=text)
    node = Node(IdKind.LOGICAL_ID, text)
    complaints = [Complaint(keys[n], NOW, trigger, alarm, text, text, NOW, NOW) for n in range(bounds.MOST_COMPLAINTS)]
    incident = Incident(
        text,
        State.CLAIMED,
        node,
        NOW,
        tuple(complaints),
        since=NOW,
        due=NOW,
        until=NOW,
        lease_until=NOW,
        note=text,
        failure=Failure(text, text * 12),
    )
    entry = Entry(
        id=text,
        incident=text,
        outcome=Outcome.NOT_RECOVERED,
        cluster=text,
        node=node,
        code=text,
        message=text * 12,
        trigger=trigger,
        at=NOW,
        due=NOW,
        letter=True,
        topic=True,
        instance_id=text,
        repair_action=text,
        recommendation=text,
        alarm=alarm,
        again_at=NOW,
        history=(text,) * bounds.RECURRENCES,
    )
    record = NodeRecord(
        NodeKey(text, text),
        version=10**15,
        node=node,
        logical_id=text,
        incident=incident,
        outbox=(entry,) * bounds.MOST_ENTRIES,
        reboots=(NOW,) * 100,
        replacements=(NOW,) * 100,
        last_claim=NOW,
        signs=dict.fromkeys(keys[: bounds.MOST_SOURCES], Sign(NOW, NOW)),
        told=dict.fromkeys(keys[: bounds.MOST_CODES], NOW),
        handled=dict.fromkeys(keys[: bounds.MOST_HANDLED], NOW),
        history=((NOW, text),) * bounds.MOST_HISTORY,
        past=(Past(text, text[: bounds.LONGEST_REASON], NOW, text),) * bounds.MOST_PAST,
        put_off=10**15,
        put_off_until=NOW,
        written_by=text,
    )
    spends = ((NOW, 10**6),) * bounds.MOST_SPENDS
    logical_ids = dict.fromkeys(keys[: bounds.MOST_LOGICAL_IDS], NOW)
    replacements = spends[:100]  # the most that the setting replace_budget takes
    budget = Budget(text, 10**15, spends, spends, logical_ids, logical_ids, replacements, replacements, text)
    return [record, budget]


def _size(value: Any) -> int:
    """Count the bytes of an attribute as DynamoDB does ("Item sizes and formats", developer guide), or more."""
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(content)
        case "L":
            return 3 + sum(1 + _size(each) for each in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _size(each) for name, each in content.items())
    return 1


@pytest.mark.parametrize("length", [60, 1_024, 12_288])
@pytest.mark.parametrize("character", ["x", "ü", "\x00", '"', "…", "🛑"])
def test_item_is_under_300_kb_whatever_its_strings_are(character: str, length: int) -> None:
    """At all count bounds at once, counted in bytes; and readable still."""
    for record in _full(character * length):
        item = encode(record)
        assert _size({"M": item}) <= MOST_BYTES
        assert decode(item) == fitted(record)


def test_key_of_a_node_is_never_cut() -> None:
    """With another key, the item would be another node's."""
    (record, _) = _full("🛑" * 1_024)
    assert isinstance(record, NodeRecord)
    assert fitted(record).key == record.key


def test_what_is_cut_is_marked() -> None:
    """So that people do not take a part for the whole."""
    (record, _) = _full("🛑" * 1_024)
    assert isinstance(record, NodeRecord)
    kept = fitted(record)
    assert kept.outbox[0].message.endswith("…[cut]")
    assert kept.history[0][1].endswith("…[cut]")


def test_ids_and_names_are_cut_after_texts_only() -> None:
    """A source, a node's ID and a handled message's ID are compared; a reason is only read."""
    (record, _) = _full("x" * 300)
    assert isinstance(record, NodeRecord)
    long = replace(record, outbox=tuple(replace(each, message="m" * 12_288) for each in record.outbox))
    kept = fitted(replace(long, history=((NOW, "🛑" * 1_024),) * 50))
    assert len(kept.outbox[0].message) < 1_025
    assert kept.handled == record.handled
    assert kept.signs == record.signs
    assert kept.outbox[0].node == record.outbox[0].node


def test_api_entry_is_kept_verbatim_where_there_is_room() -> None:
    """Its message may be 12,288 characters long, whatever the language."""
    (record, _) = _full("x")
    assert isinstance(record, NodeRecord)
    entry = replace(record.outbox[0], message="🛑" * 4_000)
    kept = fitted(replace(record, outbox=(entry,)))
    assert kept.outbox[0].message == entry.message
