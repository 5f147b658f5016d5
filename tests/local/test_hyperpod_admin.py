"""The admin API of the simulated HyperPod: what tests and people script it with."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from local.hyperpod.calls import Call
from local.hyperpod.schedule import Schedule
from tests.local.hyperpod_support import START, HyperPod

DOCUMENTED = Path(__file__).parent.parent / "samples" / "node-health.documented.json"


@pytest.fixture
def hyperpod() -> HyperPod:
    return HyperPod()


def keys(value: Any) -> Any:
    """The shape of a JSON value: its keys, all the way down."""
    return {key: keys(item) for key, item in value.items()} if isinstance(value, dict) else None


def test_a_cluster_shows_its_nodes_under_both_ids(hyperpod: HyperPod) -> None:
    created = hyperpod.create(nodes=3)
    assert hyperpod.admin("GET", "clusters/ml-a") == created == hyperpod.admin("GET", "clusters")[0]
    for key in ("instance_id", "logical_id"):
        assert len({node[key] for node in created["nodes"]} - {None}) == 3


def test_two_clusters_share_no_id_and_a_second_run_has_the_same(hyperpod: HyperPod) -> None:
    first, second = hyperpod.create("ml-a", nodes=300), hyperpod.create("ml-b", nodes=300)
    assert first["id"] != second["id"]
    assert len({node["instance_id"] for cluster in (first, second) for node in cluster["nodes"]}) == 600
    assert HyperPod().create("ml-a", nodes=300) == first


def test_a_cluster_made_again_is_another_one(hyperpod: HyperPod) -> None:
    before = hyperpod.create()
    hyperpod.admin("DELETE", "clusters/ml-a")
    assert hyperpod.create()["arn"] != before["arn"]


def test_clusters_are_deleted_one_by_one_or_all_at_once(hyperpod: HyperPod) -> None:
    for name in ("ml-a", "ml-b", "ml-c"):
        hyperpod.create(name)
    assert hyperpod.admin("DELETE", "clusters/ml-b") == {"deleted": ["ml-b"]}
    assert hyperpod.admin("DELETE", "clusters") == {"deleted": ["ml-a", "ml-c"]}
    assert hyperpod.admin("GET", "clusters") == []


def test_a_broken_node_puts_the_documented_event_on_the_bus(hyperpod: HyperPod) -> None:
    cluster = hyperpod.create(tags={"team": "research"})
    node = cluster["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/break", {"node": node})
    documented = json.loads(DOCUMENTED.read_text())
    (event,) = hyperpod.events
    detail = json.loads(event["Detail"])
    assert (event["Source"], event["DetailType"]) == (documented["source"], documented["detail-type"])
    assert (event["Resources"], event["Time"]) == ([cluster["arn"]], int(START))
    assert keys(detail) == keys(documented["detail"]) | {"Tags": {"team": None}}
    assert detail["HealthSummary"] == documented["detail"]["HealthSummary"]
    assert (detail["ClusterName"], detail["ClusterArn"], detail["InstanceId"]) == ("ml-a", cluster["arn"], node)


def test_an_event_says_what_it_was_told_to_nulls_too(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["logical_id"]
    asked = {"node": node, "cluster": "ml-a", "reason": None, "repair_action": "Replace", "recommendation": "Wait."}
    hyperpod.admin("POST", "nodes/break", asked)
    assert json.loads(hyperpod.events[0]["Detail"])["HealthSummary"] == {
        "HealthStatus": "Unhealthy",
        "HealthStatusReason": None,
        "RepairAction": "Replace",
        "Recommendation": "Wait.",
    }


def test_a_node_breaks_and_heals_without_an_event_when_told_so(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    assert hyperpod.admin("POST", "nodes/break", {"node": node, "event": False})["healthy"] is False
    assert hyperpod.admin("POST", "nodes/heal", {"node": node, "event": False})["healthy"] is True
    assert hyperpod.events == []


def test_a_healed_node_says_so(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/break", {"node": node, "stays_sick": True})
    hyperpod.admin("POST", "nodes/heal", {"node": node})
    assert hyperpod.health_told() == [(node, "Unhealthy"), (node, "Healthy")]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("clusters", {}, 400, "name is missing"),
        ("clusters", {"name": "ml-b"}, 400, "nodes is missing"),
        ("clusters", {"name": "ml-b", "nodes": -1}, 400, "nodes: takes 0 to 6758 nodes"),
        ("clusters", {"name": "ml-b", "nodes": True}, 400, "nodes takes a whole number"),
        ("clusters", {"name": "-", "nodes": 1}, 400, "Value '-' at 'name'"),
        ("clusters", {"name": "ml-a", "nodes": 1}, 409, "already a cluster 'ml-a'"),
        ("clusters", {"name": "ml-b", "nodes": 1, "size": 2}, 400, "unknown field size"),
        ("clusters", {"name": "ml-b", "nodes": 1, "orchestrator": "ecs"}, 400, "orchestrator: takes"),
        ("clusters", {"name": "ml-b", "nodes": 1, "reboot_seconds": -1}, 400, "reboot_seconds takes seconds from 0"),
        ("clusters", {"name": "ml-b", "nodes": 1, "node_recovery": "Auto"}, 400, "takes one of Automatic, None"),
        ("clusters", {"name": "ml-b", "groups": [{"name": "g", "count": 1}] * 2}, 400, "the same name"),
        ("clusters", {"name": "ml-b", "groups": [{"name": "g", "count": 1, "type": 1}]}, 400, "groups: unknown field"),
        ("nodes/break", {"node": "i-1"}, 404, "no node 'i-1'"),
        ("nodes/break", {"node": "i-1", "cluster": "ml-z"}, 404, "no cluster 'ml-z'"),
        ("nodes/break", {"node": "FIRST", "sick": True}, 400, "unknown field sick"),
        ("nodes/set", {"node": "FIRST", "status": "Fine"}, 400, "status takes one of Running"),
        ("nodes/set", {"node": "FIRST", "fail": {"code": "NoSuchCode"}}, 400, "fail: code takes one of"),
        ("nodes/set", {"node": "FIRST", "gone": True, "broken": True}, 400, "unknown field broken"),
        ("nodes/set", {"node": "FIRST", "gone": True, "instance_id": "hyperpod-1"}, 400, "Value 'hyperpod-1' at"),
        ("nodes/set", {"node": "FIRST", "logical_id": "-"}, 400, "Value '-' at"),
        ("nodes/mend", {}, 404, "no such request"),
        ("clusters", [], 400, "takes a JSON object"),
    ],
)
def test_a_request_that_makes_no_sense_changes_nothing(
    hyperpod: HyperPod, path: str, body: Any, status: int, text: str
) -> None:
    before = hyperpod.create()
    if isinstance(body, dict) and body.get("node") == "FIRST":
        body = {**body, "node": before["nodes"][0]["instance_id"]}
    replied, value = hyperpod.admin_reply("POST", path, body)
    assert replied == status
    assert text in value["error"]
    assert hyperpod.admin("GET", "clusters") == [before]


def test_a_node_answers_to_the_ids_that_it_was_given(hyperpod: HyperPod) -> None:
    before = hyperpod.create()["nodes"][0]
    captured = {"instance_id": "i-0391f86fa0fe0d465", "logical_id": "captured-node"}
    hyperpod.admin("POST", "nodes/set", {"node": before["instance_id"], **captured})
    described = hyperpod.client.describe_cluster_node(ClusterName="ml-a", NodeLogicalId="captured-node")
    assert described["NodeDetails"]["InstanceId"] == "i-0391f86fa0fe0d465"
    assert hyperpod.admin_reply("POST", "nodes/heal", {"node": before["instance_id"]})[0] == 404


def test_every_reboot_call_is_logged_with_its_answer_or_error(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.raw("BatchRebootClusterNodes", json.dumps({"ClusterName": "ml-a", "NodeIds": [node]}).encode())
    hyperpod.now += 5
    hyperpod.raw("BatchRebootClusterNodes", b'{"ClusterName": "ml-z", "NodeLogicalIds": ["some-node"]}')
    hyperpod.raw("ListClusters", b"{}")
    log = hyperpod.admin("GET", "calls")
    assert log["counts"] == {"BatchRebootClusterNodes": 2, "ListClusters": 1}
    first, second = (Call(**call) for call in log["calls"])
    assert (first.time, first.cluster, first.node_ids, first.logical_ids) == (START, "ml-a", [node], None)
    assert (first.answer, first.error) == ({"Successful": [node], "Failed": []}, None)
    assert (second.time, second.logical_ids, second.answer) == (START + 5, ["some-node"], None)
    assert second.error is not None
    assert second.error["code"] == "ResourceNotFound"
    hyperpod.admin("DELETE", "calls")
    assert hyperpod.admin("GET", "calls") == {"calls": [], "counts": {}}


def test_the_reboots_are_listed_with_both_ids_and_times(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]
    hyperpod.client.batch_reboot_cluster_nodes(ClusterName="ml-a", NodeLogicalIds=[node["logical_id"]])
    expected = {"cluster": "ml-a", "node": node["instance_id"], "logical_id": node["logical_id"], "started": START}
    assert hyperpod.admin("GET", "reboots") == [{**expected, "finished": None}]
    hyperpod.now += 2
    assert hyperpod.admin("GET", "reboots") == [{**expected, "finished": START + 2}]


def test_a_reset_forgets_everything_that_was_going_to_happen_too(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/break", {"node": node, "event": False})
    hyperpod.client.batch_reboot_cluster_nodes(ClusterName="ml-a", NodeIds=[node])
    hyperpod.admin("POST", "reset")
    hyperpod.advance(1000)
    assert hyperpod.admin("GET", "clusters") == hyperpod.admin("GET", "reboots") == hyperpod.events == []
    assert hyperpod.admin("GET", "calls") == {"calls": [], "counts": {}}


def test_an_unknown_cluster_has_an_arn_that_no_cluster_has(hyperpod: HyperPod) -> None:
    arn = hyperpod.create()["arn"]
    assert hyperpod.simulator.arn("ml-a") == hyperpod.simulator.arn(arn) == arn
    zeros = "arn:aws:sagemaker:us-east-1:000000000000:cluster/000000000000"
    assert hyperpod.simulator.arn("ml-z") == zeros


def test_what_falls_due_happens_in_the_order_of_its_time() -> None:
    now, happened = [0.0], list[str]()
    schedule = Schedule(lambda: now[0])
    for name, when in (("late", 3.0), ("early", 1.0), ("never", 9.0), ("also late", 3.0)):
        schedule.at(when, lambda name=name: happened.append(name))  # type: ignore[misc]
    now[0] = 3.0
    schedule.run_due()
    assert happened == ["early", "late", "also late"]


def test_what_follows_from_a_late_transition_is_not_later_still() -> None:
    now, happened = [0.0], list[float]()
    schedule = Schedule(lambda: now[0])
    schedule.at(1.0, lambda: schedule.at(schedule.now() + 1.0, lambda: happened.append(schedule.now())))
    now[0] = 5.0
    schedule.run_due()
    assert (happened, schedule.now()) == ([2.0], 5.0)


def test_a_timer_that_comes_too_early_is_set_again() -> None:
    now, timers, happened = [0.0], list[tuple[float, Any]](), list[str]()
    schedule = Schedule(lambda: now[0], lambda delay, call: timers.append((delay, call)))
    schedule.at(2.0, lambda: happened.append("it"))
    now[0] = 1.5
    timers[0][1]()
    assert (happened, [delay for delay, _ in timers]) == ([], [2.0, 0.5])
    now[0] = 2.0
    timers[1][1]()
    assert (happened, len(timers)) == (["it"], 2)


def test_an_event_loop_carries_out_what_is_due_when_nobody_looks() -> None:
    async def run() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        Schedule(loop.time, loop.call_later).at(loop.time() + 0.01, done.set)
        await asyncio.wait_for(done.wait(), 30)

    asyncio.run(run())
