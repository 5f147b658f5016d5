"""Stories of state events, by which other systems hear of an incident: one for each change, in doubt again."""

import json
from pathlib import Path

import jsonschema
import pytest

from node_remediation.policy.record import MOST_EVENTS
from node_remediation.remediate import Effect
from node_remediation.settings import Override, Settings
from tests.loop.outside import FakeCluster, Takes
from tests.loop.world import MINUTE, A, B, Trouble, World

SCHEMA = json.loads(Path("docs/incident-state-change.schema.json").read_text(encoding="utf-8"))


def test_events_tell_an_incident_from_its_claim_to_its_end() -> None:
    """The state between two writes alone is told: one that was opened and claimed at once was never open."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(node)
    world.deliver()
    events = world.outside.events
    assert [(event["PreviousState"], event["State"], event["Ended"]) for event in events] == [
        (None, "claimed", False),
        ("claimed", "rebooted", False),
        ("rebooted", "recovered", True),
    ]
    assert len({event["IncidentId"] for event in events}) == 1
    assert len({event["EventId"] for event in events}) == 3
    assert {(event["ClusterName"], event["NodeId"]) for event in events} == {("ml-a", node.instance)}
    assert [event["ChangedAt"] for event in events] == [
        "2026-11-23T02:14:03.000Z",
        "2026-11-23T02:14:03.000Z",
        "2026-11-23T02:19:03.000Z",
    ]
    assert "withdrawn" in events[-1]["Reason"]


def test_refusal_is_an_event_with_its_code() -> None:
    """A new incident that ends at once."""
    world = World()
    world.unhealthy(world.node(), repair="Replace")
    assert world.deliver() == ["refused ReplacementAdvised"]
    (event,) = world.outside.events
    assert (event["PreviousState"], event["State"], event["Ended"], event["ErrorCode"]) == (
        None,
        "refused",
        True,
        "ReplacementAdvised",
    )


def test_every_state_is_told_in_the_form_of_the_schema() -> None:
    """Proposed, vetoed; failed, tried again; left to HyperPod."""
    settings = Settings(overrides=(Override(source="alarm:*", action="ask"),), retry_attempts=1)
    world = World(settings, FakeCluster(A), FakeCluster(B, automatic=True))
    asked, fails, repaired = world.node(1), world.node(2), world.node(1, B)
    world.alarm(asked)
    fails.answers = ["InstanceIdInUse"]
    world.unhealthy(fails)
    world.unhealthy(repaired, repair="Reboot")
    world.deliver()
    world.passes(100 * MINUTE)
    for event in world.outside.events:
        jsonschema.validate(event, SCHEMA)
    assert {"proposed", "retrying", "repairing", "refused"} <= {event["State"] for event in world.outside.events}


@pytest.mark.parametrize("takes", [Takes.NONE, Takes.LOST])
def test_bus_that_takes_nothing_holds_up_no_reboot_and_hears_all_later(takes: Takes) -> None:
    """What it may have had comes again with the same ID."""
    world = World()
    node = world.node()
    world.outside.bus_takes = takes
    world.unhealthy(node)
    assert world.deliver() == ["rebooted"]
    world.passes(5 * MINUTE)
    world.outside.bus_takes = Takes.ALL
    world.passes(20 * MINUTE)
    assert world.events == ["claimed", "rebooted"]
    assert world.reboots == [node.instance]


@pytest.mark.parametrize("kill", [Effect.EVENTS, Effect.MARK_SENT])
def test_events_that_a_killed_function_did_not_mark_come_again_with_the_next_sweep(kill: Effect) -> None:
    """Once its time is over."""
    world = World()
    world.unhealthy(world.node())
    world.deliver(Trouble(kill=kill))
    world.passes(3 * MINUTE)
    assert world.events == ["claimed", "rebooted"]
    assert world.next_due() == world.time("02:29:03")  # nothing but the look


def test_events_do_not_count_towards_the_outbox_that_stops_a_judgement() -> None:
    """A bus that is down for long loses the oldest changes of a node, never a reboot."""
    world = World(Settings(max_reboots_per_node=10, cooldown=MINUTE, budget_percent=100))
    node = world.node()
    world.outside.bus_takes = Takes.NONE
    for _ in range(12):
        world.unhealthy(node)
        world.deliver()
        world.passes(MINUTE)
        world.healthy(node)
        world.deliver()
        world.passes(MINUTE)
    assert len(world.reboots) == 10
    world.outside.bus_takes = Takes.ALL
    world.passes(30 * MINUTE)
    assert len(world.events) == MOST_EVENTS
    last = max(world.outside.events, key=lambda event: event["ChangedAt"])
    assert last["State"] == "refused"
