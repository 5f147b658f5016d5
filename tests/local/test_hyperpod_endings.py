"""How nodes of the simulated HyperPod break and end: by a reboot, by HyperPod's own repair, or on order."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from local.hyperpod.schedule import Schedule
from tests.local.hyperpod_support import START, SimulatedHyperPod, refusal

Described = dict[str, Any]
_DOCUMENTED = Path(__file__).parent.parent / "samples" / "node-health.documented.json"


@pytest.fixture
def node(hyperpod: SimulatedHyperPod) -> Described:
    """A node of a Continuous cluster where HyperPod repairs nothing and a reboot takes a minute."""
    return hyperpod.node(reboot_seconds=60)


@pytest.fixture
def repaired(hyperpod: SimulatedHyperPod) -> Described:
    """A node of a cluster where HyperPod repairs by itself."""
    return hyperpod.node(reboot_seconds=60, node_recovery="Automatic")


def _keys(value: Any) -> Any:
    """The shape of a JSON value: its keys, all the way down."""
    return {key: _keys(item) for key, item in value.items()} if isinstance(value, dict) else None


def test_a_broken_node_puts_the_documented_event_on_the_bus(hyperpod: SimulatedHyperPod) -> None:
    cluster = hyperpod.create(tags={"team": "research"})
    node = cluster["nodes"][0]
    hyperpod.ask("break", node)
    documented = json.loads(_DOCUMENTED.read_text())
    (event,) = hyperpod.events
    detail = json.loads(event["Detail"])
    assert (event["Source"], event["DetailType"]) == (documented["source"], documented["detail-type"])
    assert (event["Resources"], event["Time"]) == ([cluster["arn"]], int(START))
    assert _keys(detail) == _keys(documented["detail"]) | {"Tags": {"team": None}}
    assert detail["HealthSummary"] == documented["detail"]["HealthSummary"]
    names = (detail["ClusterName"], detail["ClusterArn"], detail["InstanceId"])
    assert names == ("ml-a", cluster["arn"], node["instance_id"])


@pytest.mark.parametrize(
    ("node_recovery", "asked", "recommended"),
    [
        ("None", {"recommendation": None}, None),
        ("None", {}, "Please Replace the Faulty Node."),
        ("Automatic", {}, "HyperPod is working on repairing the unhealthy node. Please wait."),
    ],
)
def test_an_event_says_what_it_was_told_to_nulls_too(
    hyperpod: SimulatedHyperPod, node_recovery: str, asked: dict[str, Any], recommended: str | None
) -> None:
    """HyperPod works on repairs only where it makes them."""
    node = hyperpod.node(node_recovery=node_recovery)
    what = {"node": node["logical_id"], "cluster": "ml-a", "reason": None, "repair_action": "Replace"}
    hyperpod.admin("POST", "nodes/break", what | asked)
    summary = json.loads(hyperpod.events[-1]["Detail"])["HealthSummary"]
    assert (summary["HealthStatusReason"], summary["RepairAction"]) == (None, "Replace")
    assert summary["Recommendation"] == recommended


def test_a_node_breaks_and_heals_without_an_event_when_told_so(hyperpod: SimulatedHyperPod, node: Described) -> None:
    assert not hyperpod.ask("break", node, event=False)["healthy"]
    assert hyperpod.ask("heal", node, event=False)["healthy"]
    assert hyperpod.events == []
    hyperpod.ask("heal", node)
    assert hyperpod.health_told() == [(node["instance_id"], "Healthy")]


@pytest.mark.parametrize(
    ("ending", "seconds", "healthy", "told"),
    [
        ({}, 60, True, "Healthy"),
        ({"says_so": False}, 60, True, None),
        ({"seconds": 600}, 600, True, "Healthy"),
        ({"ends": "stays_sick"}, 60, False, None),
        ({"ends": "stays_sick", "says_so": True}, 60, False, "Unhealthy"),
    ],
)
def test_a_rebooted_node_comes_back_as_its_ending_says(
    *,
    hyperpod: SimulatedHyperPod,
    node: Described,
    ending: dict[str, Any],
    seconds: int,
    healthy: bool,
    told: str | None,
) -> None:
    """In that time, healthy or not, and with a word or without; a second reboot ends likewise."""
    hyperpod.ask("break", node, reason="NVLink errors", reboot=ending)
    assert hyperpod.failure(node) == ""
    hyperpod.advance(seconds - 1)
    assert (hyperpod.status(node), len(hyperpod.events)) == (("Pending", "Instance is rebooting"), 1)
    hyperpod.advance(1)
    assert (hyperpod.status(node), hyperpod.shown(node)["healthy"]) == (("Running", ""), healthy)
    assert hyperpod.health_told()[1:] == [(node["instance_id"], told)] * bool(told)
    if told == "Unhealthy":
        hyperpod.reboot(node)
        hyperpod.advance(60)
        assert [event["Time"] for event in hyperpod.events] == [START, START + 60, START + 120]
        assert len({event["Detail"] for event in hyperpod.events}) == 1


def test_a_replaced_node_has_a_new_instance_under_its_logical_id(hyperpod: SimulatedHyperPod, node: Described) -> None:
    """There are as many nodes as before; the admin API shows both, and means the new one by the logical ID."""
    hyperpod.ask("break", node, reboot={"ends": "replaced"})
    hyperpod.reboot(node)
    hyperpod.advance(60)
    gone = refusal(hyperpod.client.describe_cluster_node, ClusterName="ml-a", NodeId=node["instance_id"])
    assert (gone[0], hyperpod.failure(node)) == ("ResourceNotFound", "InstanceIdNotFound")
    new = hyperpod.details(NodeLogicalId=node["logical_id"])
    assert (new["InstanceStatus"], new["LaunchTime"].timestamp()) == ({"Status": "Running", "Message": ""}, START + 60)
    assert hyperpod.health_told() == [(node["instance_id"], "Unhealthy"), (new["InstanceId"], "Healthy")]
    (group,) = hyperpod.client.describe_cluster(ClusterName="ml-a")["InstanceGroups"]
    listed = hyperpod.client.list_cluster_nodes(ClusterName="ml-a")["ClusterNodeSummaries"]
    assert group["CurrentCount"] == len(listed) == 2
    assert hyperpod.admin("GET", "reboots")[0]["finished"] == START + 60
    assert (hyperpod.shown(node)["gone"], hyperpod.shown(node)["replaced_by"]) == (True, new["InstanceId"])
    healed = hyperpod.admin("POST", "nodes/heal", {"node": node["logical_id"], "event": False})
    assert healed["instance_id"] == new["InstanceId"]


def test_a_replacement_can_take_its_time_to_start(hyperpod: SimulatedHyperPod, node: Described) -> None:
    hyperpod.ask("break", node, reboot={"ends": "replaced", "pending_seconds": 300})
    hyperpod.reboot(node)
    hyperpod.advance(60 + 299)
    new = hyperpod.details(NodeLogicalId=node["logical_id"])
    assert new["InstanceStatus"] == {"Status": "Pending", "Message": "Instance is starting"}
    assert len(hyperpod.events) == 1
    hyperpod.advance(1)
    assert hyperpod.details(NodeId=new["InstanceId"])["InstanceStatus"]["Status"] == "Running"
    assert hyperpod.health_told()[1:] == [(new["InstanceId"], "Healthy")]


def test_the_description_of_a_replaced_node_can_lag(hyperpod: SimulatedHyperPod, node: Described) -> None:
    """By both IDs, as the old instance was last; the other operations know better."""
    hyperpod.ask("break", node, reboot={"ends": "replaced", "lag_seconds": 30})
    hyperpod.reboot(node)
    hyperpod.advance(60 + 29)
    described = hyperpod.details(NodeLogicalId=node["logical_id"])
    assert described["InstanceId"] == node["instance_id"]
    assert hyperpod.details(NodeId=node["instance_id"]) == described
    listed = hyperpod.client.list_cluster_nodes(ClusterName="ml-a")["ClusterNodeSummaries"]
    assert node["instance_id"] not in [summary["InstanceId"] for summary in listed]
    assert hyperpod.failure(node) == "InstanceIdNotFound"
    hyperpod.advance(1)
    assert hyperpod.details(NodeLogicalId=node["logical_id"])["InstanceId"] != node["instance_id"]


def test_a_node_is_replaced_on_order(hyperpod: SimulatedHyperPod) -> None:
    """At once, whatever it was doing; only a sick node's successor has news."""
    node = hyperpod.node(reboot_seconds=60, continuous=False)
    hyperpod.ask("break", node, reboot={"ends": "stuck"})
    hyperpod.reboot(node)
    old = hyperpod.ask("replace", node, lag_seconds=5)
    assert (old["gone"], hyperpod.details(NodeId=node["instance_id"])["InstanceId"]) == (True, node["instance_id"])
    hyperpod.advance(60)
    new = {"instance_id": old["replaced_by"]}
    assert hyperpod.status(new) == ("Running", "")
    newest = hyperpod.ask("replace", new, pending_seconds=9)["replaced_by"]
    assert hyperpod.status({"instance_id": newest})[0] == "Pending"
    hyperpod.advance(9)
    assert hyperpod.health_told() == [(node["instance_id"], "Unhealthy"), (new["instance_id"], "Healthy")]
    status, value = hyperpod.admin_reply("POST", "nodes/replace", {"node": node["instance_id"]})
    assert (status, value["error"]) == (409, f"nodes/replace: {node['instance_id']} is gone")


@pytest.mark.parametrize(
    ("given", "stands"),
    [
        ({}, ("Pending", "The instance did not come back after the reboot")),
        ({"status": "SystemUpdating", "message": "Scripts did not run"}, ("SystemUpdating", "Scripts did not run")),
    ],
)
def test_a_stuck_node_never_comes_back_until_it_is_healed(
    hyperpod: SimulatedHyperPod, node: Described, given: dict[str, str], stands: tuple[str, str]
) -> None:
    """Also one that did not break: an alarm may have reported it. After that its reboots end well."""
    hyperpod.ask("set", node, reboot={"ends": "stuck", **given})
    hyperpod.reboot(node)
    hyperpod.advance(1e6)
    assert hyperpod.status(node) == stands
    assert (hyperpod.shown(node)["stuck"], hyperpod.admin("GET", "reboots")[0]["finished"]) == (True, None)
    assert (hyperpod.failure(node), hyperpod.events) == ("InvalidInstanceStatus", [])
    hyperpod.ask("heal", node)
    assert (hyperpod.status(node), hyperpod.shown(node)["stuck"]) == (("Running", ""), False)
    hyperpod.reboot(node)
    hyperpod.advance(60)
    assert hyperpod.status(node) == ("Running", "")


@pytest.mark.parametrize("ends", ["recovers", "replaced"])
@pytest.mark.parametrize("gone", ["node", "cluster"])
def test_a_reboot_of_something_that_went_away_tells_nothing(
    hyperpod: SimulatedHyperPod, node: Described, ends: str, gone: str
) -> None:
    hyperpod.ask("break", node, reboot={"ends": ends})
    hyperpod.reboot(node)
    if gone == "node":
        hyperpod.ask("set", node, gone=True)
    else:
        hyperpod.admin("DELETE", "clusters/ml-a")
    hyperpod.advance(60)
    assert len(hyperpod.events) == 1
    assert gone == "cluster" or len(hyperpod.admin("GET", "clusters/ml-a")["nodes"]) == 2


def test_a_status_that_is_set_comes_with_its_message(hyperpod: SimulatedHyperPod, node: Described) -> None:
    """And without the one before it."""
    for what, expected in (({"message": "Full disk"}, "Full disk"), ({}, "")):
        hyperpod.ask("set", node, status="Failure", **what)
        assert hyperpod.status(node) == ("Failure", expected)


def test_a_node_answers_to_the_ids_that_it_was_given(hyperpod: SimulatedHyperPod, node: Described) -> None:
    hyperpod.ask("set", node, instance_id="i-0391f86fa0fe0d465", logical_id="captured-node")
    assert hyperpod.details(NodeLogicalId="captured-node")["InstanceId"] == "i-0391f86fa0fe0d465"
    assert hyperpod.admin_reply("POST", "nodes/heal", {"node": node["instance_id"]})[0] == 404


def test_hyperpod_reboots_a_node_by_itself(hyperpod: SimulatedHyperPod, repaired: Described) -> None:
    """The node is in use from the first word to the last."""
    hyperpod.ask("break", repaired, repair_action="Reboot", repair={"after_seconds": 30})
    assert (hyperpod.status(repaired), hyperpod.failure(repaired)) == (("Running", ""), "InstanceIdInUse")
    hyperpod.advance(30)
    assert hyperpod.status(repaired) == ("Pending", "Instance is rebooting")
    hyperpod.advance(59)
    assert (hyperpod.failure(repaired), hyperpod.shown(repaired)["repairing"]) == ("InstanceIdInUse", True)
    hyperpod.advance(1)
    assert (hyperpod.status(repaired), hyperpod.shown(repaired)["repairing"]) == (("Running", ""), False)
    id_ = repaired["instance_id"]
    assert hyperpod.health_told() == [(id_, "Unhealthy"), (id_, "Healthy")]
    assert (hyperpod.admin("GET", "reboots"), hyperpod.failure(repaired)) == ([], "")


def test_hyperpod_repairs_without_a_word_in_a_time_of_its_own(hyperpod: SimulatedHyperPod, repaired: Described) -> None:
    hyperpod.ask("break", repaired, repair_action="Reboot", repair={"seconds": 5, "says_so": False})
    hyperpod.advance(5)
    assert (hyperpod.shown(repaired)["healthy"], len(hyperpod.events)) == (True, 1)


def test_hyperpod_replaces_a_node_by_itself(hyperpod: SimulatedHyperPod, repaired: Described) -> None:
    repair = {"after_seconds": 30, "seconds": 10, "ends": "replaced", "pending_seconds": 20}
    hyperpod.ask("break", repaired, repair_action="Replace", repair=repair)
    hyperpod.advance(30)
    assert hyperpod.status(repaired) == ("ShuttingDown", "Instance is being replaced")
    hyperpod.advance(10)
    new = hyperpod.details(NodeLogicalId=repaired["logical_id"])
    assert (new["InstanceStatus"]["Status"], hyperpod.failure(repaired)) == ("Pending", "InstanceIdNotFound")
    hyperpod.advance(20)
    assert hyperpod.health_told() == [(repaired["instance_id"], "Unhealthy"), (new["InstanceId"], "Healthy")]


@pytest.mark.parametrize(
    ("given", "stands"),
    [({}, ("Running", "")), ({"status": "Pending", "message": "No capacity"}, ("Pending", "No capacity"))],
)
def test_a_repair_that_is_stuck_never_happens(
    hyperpod: SimulatedHyperPod, repaired: Described, given: dict[str, str], stands: tuple[str, str]
) -> None:
    hyperpod.ask("break", repaired, repair_action="Replace", repair={"after_seconds": 30, "ends": "stuck", **given})
    hyperpod.advance(29)
    assert hyperpod.status(repaired) == ("Running", "")
    hyperpod.advance(1e6)
    assert (hyperpod.status(repaired), hyperpod.failure(repaired)) == (stands, "InstanceIdInUse")
    assert (hyperpod.shown(repaired)["stuck"], len(hyperpod.events)) == (True, 1)


@pytest.mark.parametrize("verb", ["heal", "break"])
def test_a_repair_ends_with_the_next_thing_asked_of_the_node(
    hyperpod: SimulatedHyperPod, repaired: Described, verb: str
) -> None:
    """The node is free again, and what was due does not come."""
    hyperpod.ask("break", repaired, repair_action="Replace", repair={"after_seconds": 30, "ends": "replaced"})
    hyperpod.advance(30)
    hyperpod.ask(verb, repaired, event=False)
    assert (hyperpod.status(repaired), hyperpod.failure(repaired)) == (("Running", ""), "")
    hyperpod.advance(1e6)
    assert not hyperpod.shown(repaired)["gone"]


def test_hyperpod_repairs_only_where_it_may_and_can(hyperpod: SimulatedHyperPod) -> None:
    asked = {"repair_action": "Reboot", "repair": {}}
    node = hyperpod.node()
    reply = hyperpod.admin_reply("POST", "nodes/break", {"node": node["instance_id"], **asked})
    error = "repair: HyperPod repairs nothing in 'ml-a': its node_recovery is None"
    assert reply == (400, {"error": error})
    hyperpod.admin("DELETE", "clusters")
    node = hyperpod.node(node_recovery="Automatic")
    hyperpod.reboot(node)
    reply = hyperpod.admin_reply("POST", "nodes/break", {"node": node["instance_id"], **asked})
    assert reply == (409, {"error": f"repair: {node['instance_id']} is rebooting"})


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("clusters", {}, 400, "clusters: name is missing"),
        ("clusters", {"name": "ml-b"}, 400, "clusters: nodes is missing"),
        ("clusters", {"name": "ml-b", "nodes": 1, "groups": []}, 400, "nodes takes the place of groups"),
        ("clusters", {"name": "-", "nodes": -1}, 400, "Value '-' at 'name' failed"),
        ("clusters", {"name": "ml-b", "nodes": True}, 400, "nodes: input should be a valid integer"),
        ("clusters", {"name": "ml-a", "nodes": 1}, 409, "already a cluster 'ml-a'"),
        ("clusters", {"name": "ml-b", "nodes": 1, "size": 2}, 400, "unknown field size"),
        ("clusters", {"name": "ml-b", "nodes": 1, "orchestrator": "ecs"}, 400, "orchestrator takes a JSON object"),
        ("clusters", {"name": "ml-b", "nodes": 1, "reboot_seconds": -1}, 400, "reboot_seconds: input should be"),
        ("clusters", {"name": "ml-b", "groups": [{"name": "g", "count": 1}] * 2}, 400, "the same name"),
        (
            "clusters",
            {"name": "ml-b", "groups": [{"name": "g", "count": 1, "type": 1}]},
            400,
            "unknown field groups.0.type",
        ),
        ("clusters", [], 400, "clusters: takes a JSON object"),
        ("nodes/break", {"node": "i-1"}, 404, "no node 'i-1'"),
        ("nodes/break", {"node": "i-1", "cluster": "ml-z"}, 404, "no cluster 'ml-z'"),
        ("nodes/break", {"node": "FIRST", "reboot": {"ends": "dies"}}, 400, "reboot.ends: input should be 'recovers'"),
        ("nodes/break", {"node": "FIRST", "reboot": {"status": "Pending"}}, 400, "status: of no use where the node"),
        ("nodes/break", {"node": "FIRST", "reboot": {"ends": "stuck", "says_so": True}}, 400, "says_so: of no use"),
        ("nodes/break", {"node": "FIRST", "repair": {}}, 400, "repair: takes a repair_action other than None"),
        ("nodes/break", {"node": "FIRST", "repair": {"ends": "stays_sick"}}, 400, "repair.ends: input should be"),
        ("nodes/set", {"node": "FIRST", "status": "Fine"}, 400, "Value 'Fine' at 'status' failed"),
        ("nodes/set", {"node": "FIRST", "fail": {"code": "NoSuchCode"}}, 400, "Value 'NoSuchCode' at 'code' failed"),
        ("nodes/set", {"node": "FIRST", "gone": True, "instance_id": "hyperpod-1"}, 400, "Value 'hyperpod-1' at"),
        ("nodes/mend", {}, 404, "no such request"),
    ],
)
def test_a_request_that_makes_no_sense_changes_nothing(
    *, hyperpod: SimulatedHyperPod, path: str, body: Any, status: int, text: str
) -> None:
    before = hyperpod.create()
    if isinstance(body, dict) and body.get("node") == "FIRST":
        body = {**body, "node": before["nodes"][0]["instance_id"]}
    replied, value = hyperpod.admin_reply("POST", path, body)
    assert replied == status
    assert text in value["error"]
    assert (hyperpod.admin("GET", "clusters"), hyperpod.events) == ([before], [])


def test_clusters_share_no_id_and_a_second_run_has_the_same(hyperpod: SimulatedHyperPod) -> None:
    """A cluster that is made again is another one."""
    first, second = hyperpod.create("ml-a", nodes=300), hyperpod.create("ml-b", nodes=300)
    nodes = [*first["nodes"], *second["nodes"]]
    assert len({node[key] for node in nodes for key in ("instance_id", "logical_id")}) == 1200
    assert first["id"] != second["id"]
    assert SimulatedHyperPod().create("ml-a", nodes=300) == first
    assert hyperpod.admin("DELETE", "clusters/ml-a") == {"deleted": ["ml-a"]}
    assert hyperpod.create("ml-a")["arn"] != first["arn"]
    assert hyperpod.admin("DELETE", "clusters") == {"deleted": ["ml-b", "ml-a"]}


def test_every_reboot_call_is_logged_with_its_answer_or_error(hyperpod: SimulatedHyperPod, node: Described) -> None:
    id_ = node["instance_id"]
    hyperpod.raw("BatchRebootClusterNodes", json.dumps({"ClusterName": "ml-a", "NodeIds": [id_]}).encode())
    hyperpod.now += 5
    hyperpod.raw("BatchRebootClusterNodes", b'{"ClusterName": "ml-z", "NodeLogicalIds": ["some-node"]}')
    hyperpod.raw("ListClusters", b"{}")
    log = hyperpod.admin("GET", "calls")
    assert log["counts"] == {"BatchRebootClusterNodes": 2, "ListClusters": 1}
    first, second = log["calls"]
    asked = {"time": START, "cluster": "ml-a", "node_ids": [id_], "logical_ids": None, "principal": None}
    assert first == {**asked, "answer": {"Successful": [id_], "Failed": []}, "error": None}
    assert (second["time"], second["logical_ids"], second["answer"]) == (START + 5, ["some-node"], None)
    assert second["error"]["code"] == "ResourceNotFound"
    hyperpod.admin("DELETE", "calls")
    assert hyperpod.admin("GET", "calls") == {"calls": [], "counts": {}}


def test_a_reset_forgets_everything_that_was_going_to_happen_too(hyperpod: SimulatedHyperPod, node: Described) -> None:
    hyperpod.ask("break", node, event=False)
    hyperpod.reboot(node)
    hyperpod.admin("POST", "reset")
    hyperpod.advance(1000)
    assert hyperpod.admin("GET", "clusters") == hyperpod.admin("GET", "reboots") == hyperpod.events == []
    assert hyperpod.admin("GET", "calls") == {"calls": [], "counts": {}}


def test_transitions_happen_in_the_order_of_their_time() -> None:
    """Also late: what follows from a late one is not later still."""
    now, happened = [0.0], list[tuple[str, float]]()
    schedule = Schedule(lambda: now[0])

    def note(name: str) -> None:
        happened.append((name, schedule.now()))

    schedule.after(3.0, lambda: note("late"))
    schedule.after(1.0, lambda: schedule.after(1.0, lambda: note("follows")))
    schedule.after(3.0, lambda: note("also late"))
    schedule.after(9.0, lambda: note("never"))
    now[0] = 5.0
    schedule.run_due()
    assert happened == [("follows", 2.0), ("late", 3.0), ("also late", 3.0)]
    assert schedule.now() == 5.0


def test_a_timer_that_comes_too_early_is_set_again() -> None:
    now, timers, happened = [0.0], list[tuple[float, Any]](), list[str]()
    schedule = Schedule(lambda: now[0], lambda delay, call: timers.append((delay, call)))
    schedule.after(2.0, lambda: happened.append("it"))
    now[0] = 1.5
    timers[0][1]()
    assert (happened, [delay for delay, _ in timers]) == ([], [2.0, 0.5])
    now[0] = 2.0
    timers[1][1]()
    assert (happened, len(timers)) == (["it"], 2)


def test_an_event_loop_carries_out_what_is_due_when_nobody_looks() -> None:
    async def run() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        Schedule(loop.time, loop.call_later).after(0.01, done.set)
        await asyncio.wait_for(done.wait(), 30)

    asyncio.run(run())
