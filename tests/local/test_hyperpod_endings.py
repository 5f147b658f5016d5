"""How a broken node of the simulated HyperPod ends: after a reboot, and when HyperPod repairs it by itself."""

import json
from typing import Any

import pytest

from tests.local.hyperpod_support import START, HyperPod, refusal

Node = dict[str, Any]


@pytest.fixture
def hyperpod() -> HyperPod:
    return HyperPod()


@pytest.fixture
def node(hyperpod: HyperPod) -> Node:
    """A node of a Continuous cluster where HyperPod repairs nothing and a reboot takes a minute."""
    return dict(hyperpod.create(reboot_seconds=60)["nodes"][0])


@pytest.fixture
def repaired(hyperpod: HyperPod) -> Node:
    """A node of a cluster where HyperPod repairs by itself."""
    return dict(hyperpod.create(reboot_seconds=60, node_recovery="Automatic")["nodes"][0])


def break_node(hyperpod: HyperPod, node: Node, **how: Any) -> None:
    hyperpod.admin("POST", "nodes/break", {"node": node["instance_id"], **how})


def reboot(hyperpod: HyperPod, node: Node) -> str:
    """`started`, or the ErrorCode."""
    answer = hyperpod.client.batch_reboot_cluster_nodes(ClusterName="ml-a", NodeIds=[node["instance_id"]])
    return str(answer["Failed"][0]["ErrorCode"]) if answer["Failed"] else "started"


def details(hyperpod: HyperPod, **id_: str) -> dict[str, Any]:
    return dict(hyperpod.client.describe_cluster_node(ClusterName="ml-a", **id_)["NodeDetails"])


def status(hyperpod: HyperPod, node: Node) -> tuple[str, str]:
    described = details(hyperpod, NodeId=node["instance_id"])["InstanceStatus"]
    return described["Status"], described["Message"]


def shown(hyperpod: HyperPod, node: Node) -> Node:
    """The node as the admin API shows it."""
    nodes = hyperpod.admin("GET", "clusters/ml-a")["nodes"]
    return next(dict(other) for other in nodes if other["instance_id"] == node["instance_id"])


def test_a_node_recovers_when_nothing_else_was_asked(hyperpod: HyperPod, node: Node) -> None:
    break_node(hyperpod, node, reboot={})
    reboot(hyperpod, node)
    assert status(hyperpod, node) == ("Pending", "Instance is rebooting")
    hyperpod.advance(60)
    assert status(hyperpod, node) == ("Running", "")
    assert hyperpod.health_told() == [(node["instance_id"], "Unhealthy"), (node["instance_id"], "Healthy")]


def test_a_node_can_recover_without_a_word(hyperpod: HyperPod, node: Node) -> None:
    break_node(hyperpod, node, reboot={"says_so": False})
    reboot(hyperpod, node)
    hyperpod.advance(60)
    assert shown(hyperpod, node)["healthy"]
    assert hyperpod.health_told() == [(node["instance_id"], "Unhealthy")]


def test_a_node_that_stays_sick_says_so_again_when_asked_to(hyperpod: HyperPod, node: Node) -> None:
    """In the same words, after every reboot."""
    break_node(hyperpod, node, reason="NVLink errors", reboot={"ends": "stays_sick", "says_so": True})
    for _ in range(2):
        reboot(hyperpod, node)
        hyperpod.advance(60)
    first, second, third = (json.loads(event["Detail"]) for event in hyperpod.events)
    assert first == second == third
    assert first["HealthSummary"]["HealthStatusReason"] == "NVLink errors"
    assert [event["Time"] for event in hyperpod.events] == [START, START + 60, START + 120]
    assert status(hyperpod, node) == ("Running", "")


def test_a_node_that_stays_sick_is_silent_by_itself(hyperpod: HyperPod, node: Node) -> None:
    break_node(hyperpod, node, reboot={"ends": "stays_sick"})
    reboot(hyperpod, node)
    hyperpod.advance(60)
    assert not shown(hyperpod, node)["healthy"]
    assert hyperpod.health_told() == [(node["instance_id"], "Unhealthy")]


def test_a_node_can_be_slow(hyperpod: HyperPod, node: Node) -> None:
    break_node(hyperpod, node, reboot={"seconds": 600})
    reboot(hyperpod, node)
    hyperpod.advance(599)
    assert status(hyperpod, node) == ("Pending", "Instance is rebooting")
    hyperpod.advance(1)
    assert status(hyperpod, node) == ("Running", "")
    assert hyperpod.health_told()[-1] == (node["instance_id"], "Healthy")


def test_a_replaced_node_has_a_new_instance_under_its_logical_id(hyperpod: HyperPod, node: Node) -> None:
    break_node(hyperpod, node, reboot={"ends": "replaced"})
    reboot(hyperpod, node)
    hyperpod.advance(60)
    gone = refusal(hyperpod.client.describe_cluster_node, ClusterName="ml-a", NodeId=node["instance_id"])
    assert gone.code == "ResourceNotFound"
    new = details(hyperpod, NodeLogicalId=node["logical_id"])
    assert new["InstanceId"] != node["instance_id"]
    assert details(hyperpod, NodeId=new["InstanceId"]) == new
    assert (new["InstanceStatus"], new["LaunchTime"].timestamp()) == ({"Status": "Running", "Message": ""}, START + 60)
    assert hyperpod.health_told() == [(node["instance_id"], "Unhealthy"), (new["InstanceId"], "Healthy")]


def test_a_replacement_leaves_as_many_nodes_as_there_were(hyperpod: HyperPod, node: Node) -> None:
    break_node(hyperpod, node, reboot={"ends": "replaced"})
    reboot(hyperpod, node)
    hyperpod.advance(60)
    (group,) = hyperpod.client.describe_cluster(ClusterName="ml-a")["InstanceGroups"]
    listed = hyperpod.client.list_cluster_nodes(ClusterName="ml-a", IncludeNodeLogicalIds=True)["ClusterNodeSummaries"]
    assert (group["CurrentCount"], len(listed)) == (2, 2)
    assert node["logical_id"] in [summary["NodeLogicalId"] for summary in listed]
    assert (reboot(hyperpod, node), hyperpod.admin("GET", "reboots")[0]["finished"]) == (
        "InstanceIdNotFound",
        START + 60,
    )


def test_the_admin_api_shows_both_and_means_the_new_one_by_the_logical_id(hyperpod: HyperPod, node: Node) -> None:
    break_node(hyperpod, node, reboot={"ends": "replaced"})
    reboot(hyperpod, node)
    hyperpod.advance(60)
    new = details(hyperpod, NodeLogicalId=node["logical_id"])["InstanceId"]
    assert (shown(hyperpod, node)["gone"], shown(hyperpod, node)["replaced_by"]) == (True, new)
    healed = hyperpod.admin("POST", "nodes/heal", {"node": node["logical_id"], "event": False})
    assert healed["instance_id"] == new


def test_a_replacement_can_take_its_time_to_start(hyperpod: HyperPod, node: Node) -> None:
    break_node(hyperpod, node, reboot={"ends": "replaced", "pending_seconds": 300})
    reboot(hyperpod, node)
    hyperpod.advance(60 + 299)
    new = details(hyperpod, NodeLogicalId=node["logical_id"])
    assert new["InstanceStatus"] == {"Status": "Pending", "Message": "Instance is starting"}
    assert hyperpod.health_told() == [(node["instance_id"], "Unhealthy")]
    hyperpod.advance(1)
    assert details(hyperpod, NodeId=new["InstanceId"])["InstanceStatus"]["Status"] == "Running"
    assert hyperpod.health_told()[1:] == [(new["InstanceId"], "Healthy")]


def test_the_description_of_a_replaced_node_can_lag(hyperpod: HyperPod, node: Node) -> None:
    """By both IDs, as the old instance was last; the other operations know better."""
    break_node(hyperpod, node, reboot={"ends": "replaced", "lag_seconds": 30})
    reboot(hyperpod, node)
    hyperpod.advance(60 + 29)
    described = details(hyperpod, NodeLogicalId=node["logical_id"])
    assert (described["InstanceId"], described["NodeLogicalId"]) == (node["instance_id"], node["logical_id"])
    assert details(hyperpod, NodeId=node["instance_id"]) == described
    listed = hyperpod.client.list_cluster_nodes(ClusterName="ml-a")["ClusterNodeSummaries"]
    assert node["instance_id"] not in [summary["InstanceId"] for summary in listed]
    assert reboot(hyperpod, node) == "InstanceIdNotFound"
    hyperpod.advance(1)
    assert details(hyperpod, NodeLogicalId=node["logical_id"])["InstanceId"] != node["instance_id"]
    gone = refusal(hyperpod.client.describe_cluster_node, ClusterName="ml-a", NodeId=node["instance_id"])
    assert gone.code == "ResourceNotFound"


def test_a_node_is_replaced_on_order(hyperpod: HyperPod, node: Node) -> None:
    """At once, whatever it was doing; its description may lag, and only a sick node's successor has news."""
    break_node(hyperpod, node, reboot={"ends": "stuck"})
    reboot(hyperpod, node)
    old = hyperpod.admin("POST", "nodes/replace", {"node": node["logical_id"], "lag_seconds": 5})
    assert (old["instance_id"], old["gone"]) == (node["instance_id"], True)
    assert details(hyperpod, NodeLogicalId=node["logical_id"])["InstanceId"] == node["instance_id"]
    hyperpod.advance(5)
    new = details(hyperpod, NodeLogicalId=node["logical_id"])
    assert (new["InstanceId"], new["InstanceStatus"]["Status"]) == (old["replaced_by"], "Running")
    hyperpod.advance(60)
    again = hyperpod.admin("POST", "nodes/replace", {"node": new["InstanceId"], "pending_seconds": 9})
    newest = details(hyperpod, NodeId=again["replaced_by"])
    assert newest["InstanceStatus"]["Status"] == "Pending"
    assert hyperpod.health_told() == [(node["instance_id"], "Unhealthy"), (new["InstanceId"], "Healthy")]
    status_, value = hyperpod.admin_reply("POST", "nodes/replace", {"node": node["instance_id"]})
    assert (status_, value["error"]) == (409, f"nodes/replace: {node['instance_id']} is gone")


def test_a_node_without_logical_id_is_replaced_too(hyperpod: HyperPod) -> None:
    node = hyperpod.create(continuous=False, nodes=1)["nodes"][0]
    break_node(hyperpod, node, reboot={"ends": "replaced", "says_so": False})
    reboot(hyperpod, node)
    hyperpod.advance(2)
    (new,) = hyperpod.client.list_cluster_nodes(ClusterName="ml-a")["ClusterNodeSummaries"]
    assert new["InstanceId"] != node["instance_id"]
    assert len(hyperpod.events) == 1


def test_a_stuck_node_never_comes_back_and_says_why(hyperpod: HyperPod, node: Node) -> None:
    break_node(hyperpod, node, reboot={"ends": "stuck"})
    reboot(hyperpod, node)
    hyperpod.advance(1e6)
    assert status(hyperpod, node) == ("Pending", "The instance did not come back after the reboot")
    assert (shown(hyperpod, node)["stuck"], hyperpod.admin("GET", "reboots")[0]["finished"]) == (True, None)
    assert reboot(hyperpod, node) == "InvalidInstanceStatus"
    assert hyperpod.health_told() == [(node["instance_id"], "Unhealthy")]


def test_a_node_gets_stuck_in_the_status_that_was_asked_for(hyperpod: HyperPod, node: Node) -> None:
    stuck = {"ends": "stuck", "status": "SystemUpdating", "message": "Lifecycle scripts did not run"}
    break_node(hyperpod, node, reboot=stuck)
    reboot(hyperpod, node)
    hyperpod.advance(60)
    assert status(hyperpod, node) == ("SystemUpdating", "Lifecycle scripts did not run")


def test_a_node_that_nobody_broke_can_get_stuck_too(hyperpod: HyperPod, node: Node) -> None:
    """An alarm may have reported it."""
    hyperpod.admin("POST", "nodes/set", {"node": node["instance_id"], "reboot": {"ends": "stuck"}})
    reboot(hyperpod, node)
    hyperpod.advance(60)
    assert shown(hyperpod, node)["stuck"]


def test_a_stuck_node_runs_again_when_healed(hyperpod: HyperPod, node: Node) -> None:
    """And its next reboot ends well."""
    break_node(hyperpod, node, reboot={"ends": "stuck"})
    reboot(hyperpod, node)
    hyperpod.advance(60)
    hyperpod.admin("POST", "nodes/heal", {"node": node["instance_id"]})
    assert (status(hyperpod, node), shown(hyperpod, node)["stuck"]) == (("Running", ""), False)
    reboot(hyperpod, node)
    hyperpod.advance(60)
    assert status(hyperpod, node) == ("Running", "")


@pytest.mark.parametrize("ends", ["recovers", "replaced"])
def test_a_node_that_went_away_during_its_reboot_tells_nothing(hyperpod: HyperPod, node: Node, ends: str) -> None:
    break_node(hyperpod, node, reboot={"ends": ends})
    reboot(hyperpod, node)
    hyperpod.admin("POST", "nodes/set", {"node": node["instance_id"], "gone": True})
    hyperpod.advance(60)
    assert (len(hyperpod.events), len(hyperpod.admin("GET", "clusters/ml-a")["nodes"])) == (1, 2)


def test_a_status_that_is_set_comes_with_its_message(hyperpod: HyperPod, node: Node) -> None:
    """And without the one before it."""
    for what, expected in (({"message": "Full disk"}, "Full disk"), ({}, "")):
        hyperpod.admin("POST", "nodes/set", {"node": node["instance_id"], "status": "Failure", **what})
        assert status(hyperpod, node) == ("Failure", expected)


def test_hyperpod_reboots_a_node_by_itself(hyperpod: HyperPod, repaired: Node) -> None:
    """The node is in use from the first word to the last."""
    break_node(hyperpod, repaired, repair_action="Reboot", repair={"after_seconds": 30})
    assert (status(hyperpod, repaired), reboot(hyperpod, repaired)) == (("Running", ""), "InstanceIdInUse")
    hyperpod.advance(30)
    assert status(hyperpod, repaired) == ("Pending", "Instance is rebooting")
    hyperpod.advance(59)
    assert (reboot(hyperpod, repaired), shown(hyperpod, repaired)["repairing"]) == ("InstanceIdInUse", True)
    hyperpod.advance(1)
    assert (status(hyperpod, repaired), shown(hyperpod, repaired)["repairing"]) == (("Running", ""), False)
    assert hyperpod.health_told() == [(repaired["instance_id"], "Unhealthy"), (repaired["instance_id"], "Healthy")]
    assert hyperpod.admin("GET", "reboots") == []
    assert reboot(hyperpod, repaired) == "started"


def test_hyperpod_repairs_without_a_word_in_a_time_of_its_own(hyperpod: HyperPod, repaired: Node) -> None:
    break_node(hyperpod, repaired, repair_action="Reboot", repair={"seconds": 5, "says_so": False})
    hyperpod.advance(5)
    assert shown(hyperpod, repaired)["healthy"]
    assert len(hyperpod.events) == 1


def test_hyperpod_replaces_a_node_by_itself(hyperpod: HyperPod, repaired: Node) -> None:
    repair = {"after_seconds": 30, "seconds": 10, "ends": "replaced", "pending_seconds": 20}
    break_node(hyperpod, repaired, repair_action="Replace", repair=repair)
    hyperpod.advance(30)
    assert status(hyperpod, repaired) == ("ShuttingDown", "Instance is being replaced")
    hyperpod.advance(10)
    new = details(hyperpod, NodeLogicalId=repaired["logical_id"])
    assert new["InstanceStatus"]["Status"] == "Pending"
    assert reboot(hyperpod, repaired) == "InstanceIdNotFound"
    hyperpod.advance(20)
    assert hyperpod.health_told() == [(repaired["instance_id"], "Unhealthy"), (new["InstanceId"], "Healthy")]


def test_a_repair_that_is_stuck_never_happens(hyperpod: HyperPod, repaired: Node) -> None:
    break_node(hyperpod, repaired, repair_action="Replace", repair={"after_seconds": 30, "ends": "stuck"})
    hyperpod.advance(1e6)
    assert (status(hyperpod, repaired), reboot(hyperpod, repaired)) == (("Running", ""), "InstanceIdInUse")
    assert (shown(hyperpod, repaired)["stuck"], len(hyperpod.events)) == (True, 1)


def test_a_repair_can_get_stuck_in_a_status(hyperpod: HyperPod, repaired: Node) -> None:
    repair = {"after_seconds": 30, "ends": "stuck", "status": "Pending", "message": "Insufficient capacity"}
    break_node(hyperpod, repaired, repair_action="Replace", repair=repair)
    hyperpod.advance(29)
    assert status(hyperpod, repaired) == ("Running", "")
    hyperpod.advance(1e6)
    assert status(hyperpod, repaired) == ("Pending", "Insufficient capacity")


@pytest.mark.parametrize("verb", ["heal", "break"])
def test_what_was_asked_for_a_node_ends_a_repair(hyperpod: HyperPod, repaired: Node, verb: str) -> None:
    """The node is free again, and what was due does not come."""
    break_node(hyperpod, repaired, repair_action="Replace", repair={"after_seconds": 30, "ends": "replaced"})
    hyperpod.advance(30)
    hyperpod.admin("POST", f"nodes/{verb}", {"node": repaired["instance_id"], "event": False})
    assert (status(hyperpod, repaired), reboot(hyperpod, repaired)) == (("Running", ""), "started")
    hyperpod.advance(1e6)
    assert not shown(hyperpod, repaired)["gone"]


def test_a_cluster_deleted_during_a_repair_tells_the_bus_nothing_more(hyperpod: HyperPod, repaired: Node) -> None:
    break_node(hyperpod, repaired, repair_action="Replace", repair={"ends": "replaced", "pending_seconds": 1})
    hyperpod.admin("DELETE", "clusters/ml-a")
    hyperpod.advance(1e6)
    assert len(hyperpod.events) == 1


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"reboot": {"ends": "dies"}}, "reboot: ends takes one of recovers, stays_sick, replaced, stuck"),
        ({"reboot": {"ends": "stuck", "status": "Lost"}}, "reboot: status takes one of Running"),
        ({"reboot": {"ends": "stuck", "says_so": True}}, "reboot: unknown field says_so"),
        ({"reboot": {"status": "Pending"}}, "reboot: unknown field status"),
        ({"reboot": {"pending_seconds": 1}}, "reboot: unknown field pending_seconds"),
        ({"reboot": {"lag_seconds": 1}}, "reboot: unknown field lag_seconds"),
        ({"reboot": {"seconds": -1}}, "reboot: seconds takes seconds from 0"),
        ({"reboot": "stuck"}, "reboot: takes a JSON object"),
        ({"reboot": {}, "stays_sick": True}, "reboot: takes the place of reboot_seconds and stays_sick"),
        ({"repair": {"ends": "stays_sick"}}, "repair: ends takes one of recovers, replaced, stuck"),
        ({"repair": {}}, "repair: takes a repair_action other than None"),
        ({"repair": {}, "repair_action": "None"}, "repair: takes a repair_action other than None"),
        ({"repair": {"before": 1}, "repair_action": "Reboot"}, "repair: unknown field before"),
    ],
)
def test_an_end_that_makes_no_sense_changes_nothing(
    hyperpod: HyperPod, repaired: Node, how: dict[str, Any], text: str
) -> None:
    before = shown(hyperpod, repaired)
    replied, value = hyperpod.admin_reply("POST", "nodes/break", {"node": repaired["instance_id"], **how})
    assert replied == 400
    assert text in value["error"]
    assert (shown(hyperpod, repaired), hyperpod.events) == (before, [])


def test_hyperpod_repairs_nothing_where_it_is_not_to(hyperpod: HyperPod, node: Node) -> None:
    asked = {"node": node["instance_id"], "repair_action": "Reboot", "repair": {}}
    assert hyperpod.admin_reply("POST", "nodes/break", asked) == (
        400,
        {"error": "repair: HyperPod repairs nothing in 'ml-a': its node_recovery is None"},
    )


def test_hyperpod_does_not_repair_what_is_rebooting(hyperpod: HyperPod, repaired: Node) -> None:
    reboot(hyperpod, repaired)
    asked = {"node": repaired["instance_id"], "repair_action": "Reboot", "repair": {}}
    replied, value = hyperpod.admin_reply("POST", "nodes/break", asked)
    assert (replied, value["error"]) == (409, f"repair: {repaired['instance_id']} is rebooting")
