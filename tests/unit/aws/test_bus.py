"""State events on their way to the event bus, over botocore's Stubber."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber

from node_remediation.aws.bus import EventBridgeBus
from node_remediation.outbox.events import BusEvent

ARN = "arn:aws:events:us-west-2:111122223333:event-bus/team"
AT = datetime(2026, 11, 23, 2, 14, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def client(make_client: Callable[..., Any]) -> Any:
    return make_client("events")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def bus(client: Any, stub: Stubber) -> EventBridgeBus:
    return EventBridgeBus(client, name=ARN)


def expect(stub: Stubber, details: Sequence[str], *, fail: Sequence[str] = ()) -> None:
    """Expect a call with these details; those to `fail` are not taken. The answer keeps their order."""
    entries = [
        {
            "Time": AT,
            "Source": "hyperpod.node-remediation",
            "DetailType": "HyperPod Node Incident State Change",
            "Detail": detail,
            "EventBusName": ARN,
        }
        for detail in details
    ]
    taken, failed = {"EventId": "e"}, {"ErrorCode": "InternalFailure", "ErrorMessage": "oops"}
    answer = {"FailedEntryCount": len(fail), "Entries": [failed if each in fail else taken for each in details]}
    stub.add_response("put_events", answer, {"Entries": entries})


def events(details: Sequence[str]) -> list[BusEvent]:
    return [BusEvent(AT, detail) for detail in details]


def test_events_go_out_ten_a_call(bus: EventBridgeBus, stub: Stubber) -> None:
    """EventBridge takes no more."""
    details = [f'{{"n": {number}}}' for number in range(11)]
    expect(stub, details[:10])
    expect(stub, details[10:])
    assert bus.put(events(details)) == {}


def test_entry_that_is_not_taken_is_sent_again_alone_and_named_if_that_fails(
    bus: EventBridgeBus, stub: Stubber
) -> None:
    """The call itself succeeded: the answer's entries tell."""
    details = ["{}", '{"n": 1}', '{"n": 2}']
    expect(stub, details, fail=details[1:2])
    for _ in range(2):
        expect(stub, details[1:2], fail=details[1:2])
    assert bus.put(events(details)) == {1: "event bus: InternalFailure: oops"}


def test_bus_that_cannot_be_reached_takes_nothing(bus: EventBridgeBus, stub: Stubber) -> None:
    """The reason is named for each event."""
    stub.add_client_error("put_events", "ThrottlingException", "slow down", 400)
    assert list(bus.put(events(["{}", "{}"]))) == [0, 1]


def test_no_call_starts_without_time(bus: EventBridgeBus) -> None:
    """The sweep puts the events."""
    assert list(bus.put(events(["{}"]), may_call=lambda: False)) == [0]
