"""Real events: of incidents that the function's own code played, in the envelope that EventBridge gives them."""

from typing import Any

import pytest

from node_remediation.settings import Override, Settings
from tests.loop.outside import FakeCluster
from tests.loop.world import MINUTE, A, World

Event = dict[str, Any]


def envelope(detail: Event) -> Event:
    return {
        "version": "0",
        "id": detail["EventId"],
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Incident State Change",
        "account": "111122223333",
        "region": "us-west-2",
        "time": "2026-11-23T02:14:04Z",
        "resources": [],
        "detail": detail,
    }


@pytest.fixture
def recovered() -> list[Event]:
    """The details of an incident whose reboot helped: claimed, rebooted, recovered."""
    world = World()
    node = world.node()
    world.unhealthy(node)
    world.deliver()
    world.passes(5 * MINUTE)
    world.healthy(node)
    world.deliver()
    return world.outside.events


@pytest.fixture
def unverified() -> list[Event]:
    """The details of an incident of which no source said in the end that the node is well."""
    world = World()
    world.unhealthy(world.node())
    world.deliver()
    world.passes(100 * MINUTE)
    return world.outside.events


@pytest.fixture
def refused() -> list[Event]:
    world = World()
    world.unhealthy(world.node(), repair="Replace")
    world.deliver()
    return world.outside.events


@pytest.fixture
def observed() -> list[Event]:
    """The details of an incident that nothing was done about: one event."""
    world = World()
    world.mode.value = "observe"
    world.unhealthy(world.node())
    world.deliver()
    return world.outside.events


@pytest.fixture
def many() -> list[Event]:
    """The details of incidents that were asked about, vetoed by time, failed and tried again."""
    world = World(Settings(overrides=(Override(source="alarm:*", action="ask"),), retry_attempts=1), FakeCluster(A))
    asked, fails = world.node(1), world.node(2)
    world.alarm(asked)
    fails.answers = ["InstanceIdInUse"]
    world.unhealthy(fails)
    world.deliver()
    world.passes(100 * MINUTE)
    return world.outside.events
