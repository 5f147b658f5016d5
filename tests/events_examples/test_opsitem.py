"""Tests the function of the OpsItem example with the events of real incidents."""

import itertools
import json
from typing import Any

import boto3
import pytest

from examples.events.opsitem_function import handle, handler
from tests.events_examples.conftest import envelope
from tests.events_examples.ops_center import OpsCenter

Event = dict[str, Any]


def _handles(events: list[Event], center: OpsCenter, *leave_open: str) -> None:
    client = center.client()
    for event in events:
        handle(event, client, set(leave_open))


def test_incident_has_one_ops_item_that_is_resolved_at_its_end(recovered: list[Event]) -> None:
    """Until then it has the latest state."""
    center = OpsCenter()
    _handles(recovered[:2], center)
    item = center.only()
    node = recovered[0]["NodeId"]
    assert (item["Status"], item["Title"]) == ("Open", f"HyperPod node {node} of ml-a: rebooted")
    assert json.loads(item["OperationalData"]["/aws/dedup"]["Value"]) == {"dedupString": recovered[0]["IncidentId"]}
    _handles(recovered[2:], center)
    item = center.only()
    assert (item["Status"], item["Title"]) == ("Resolved", f"HyperPod node {node} of ml-a: recovered")
    assert json.loads(item["OperationalData"]["Event"]["Value"]) == recovered[-1]


@pytest.mark.parametrize("searches", [True, False], ids=["found", "search lags"])
def test_event_that_comes_twice_makes_no_second_ops_item(recovered: list[Event], searches: bool) -> None:
    """Where the search does not find the first one yet, CreateOpsItem names it."""
    center = OpsCenter(searches=searches)
    _handles([recovered[0], recovered[0], recovered[1], recovered[1]], center)
    assert center.only()["Title"].endswith(": rebooted")
    assert center.calls.count("CreateOpsItem") == (1 if searches else 4)


def test_order_of_the_events_changes_nothing_in_the_end(recovered: list[Event]) -> None:
    """A late event neither reopens the OpsItem nor makes another one, though CreateOpsItem would."""
    assert len(recovered) == 3
    for order in itertools.permutations([*recovered, recovered[0]]):
        center = OpsCenter()
        _handles(list(order), center)
        item = center.only()
        assert (item["Status"], item["Title"].rpartition(" ")[2]) == ("Resolved", "recovered")


def test_older_event_does_not_overwrite_a_newer_one(many: list[Event]) -> None:
    """ChangedAt tells."""
    events = [event for event in many if event["IncidentId"] == many[0]["IncidentId"] and not event["Ended"]]
    later = events[-1] | {"ChangedAt": "2026-11-23T09:00:00.000Z", "Reason": "newer"}
    center = OpsCenter()
    _handles([later, *events], center)
    assert center.only()["Description"].endswith(": newer")


def test_ops_item_that_a_person_resolved_stays_so(recovered: list[Event]) -> None:
    """The incident goes on without it."""
    center = OpsCenter()
    _handles(recovered[:1], center)
    center.only()["Status"] = "Resolved"
    _handles(recovered[1:], center)
    assert (center.only()["Status"], center.only()["Title"].rpartition(" ")[2]) == ("Resolved", "claimed")


def test_incident_that_was_over_at_once_and_is_fine_has_no_ops_item(observed: list[Event]) -> None:
    """It would be opened and resolved in the same second, and nothing was done."""
    center = OpsCenter()
    assert [event["State"] for event in observed] == ["observed"]
    _handles(observed, center)
    assert center.calls == []


def test_refusal_has_an_ops_item_with_its_code(refused: list[Event]) -> None:
    """An incident of one event, of which a person should hear."""
    center = OpsCenter()
    _handles(refused, center)
    item = center.only()
    assert item["Status"] == "Resolved"
    assert item["Description"].startswith("refused (ReplacementAdvised): ")


def test_end_that_is_left_to_a_person_leaves_the_ops_item_open(unverified: list[Event]) -> None:
    """With the end's words, which no late event overwrites."""
    center = OpsCenter()
    assert unverified[-1]["State"] == "unverified"
    _handles([*unverified, *unverified], center, "refused", "unverified")
    assert (center.only()["Status"], center.only()["Title"].rpartition(" ")[2]) == ("Open", "unverified")


def test_node_of_a_logical_id_is_named_by_it(recovered: list[Event]) -> None:
    """It has no NodeId."""
    event = {key: value for key, value in recovered[0].items() if key != "NodeId"} | {"NodeLogicalId": "gpu-7"}
    center = OpsCenter()
    _handles([event], center)
    assert center.only()["Title"] == "HyperPod node gpu-7 of ml-a: claimed"


def test_handler_reads_the_events_detail_and_its_own_environment(
    unverified: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the stack sets it."""
    center = OpsCenter()
    client = center.client()
    monkeypatch.setenv("LEAVE_OPEN", "unverified failed")
    monkeypatch.setattr(boto3, "client", lambda _: client)
    for event in unverified:
        handler(envelope(event), None)
    assert center.only()["Status"] == "Open"
