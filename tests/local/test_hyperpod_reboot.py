"""BatchRebootClusterNodes of the simulated HyperPod, as a real client sees it."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.hyperpod.contract import values_of
from tests.local.hyperpod_support import START, SimulatedHyperPod, refusal

_ABSENT = "i-0123456789abcdef0"
_NO_INSTANCE = "The instance does not exist in the specified cluster."


def test_ids_of_each_kind_are_answered_in_their_own_fields(hyperpod: SimulatedHyperPod) -> None:
    """One unknown node fails alone with the documented words; no list of successes is empty."""
    cluster = hyperpod.create(nodes=3)
    first, second, third = cluster["nodes"]
    assert hyperpod.reboot(first, {"instance_id": _ABSENT}) == {
        "Successful": [first["instance_id"]],
        "Failed": [{"NodeId": _ABSENT, "ErrorCode": "InstanceIdNotFound", "Message": _NO_INSTANCE}],
    }
    both = {"NodeIds": [second["instance_id"]], "NodeLogicalIds": [third["logical_id"], "no-such-node"]}
    answer = hyperpod.client.batch_reboot_cluster_nodes(ClusterName=cluster["arn"], **both)
    assert (answer["Successful"], answer["Failed"]) == ([second["instance_id"]], [])
    assert answer["SuccessfulNodeLogicalIds"] == [third["logical_id"]]
    message = _NO_INSTANCE.replace("instance", "node")
    failed = {"NodeLogicalId": "no-such-node", "ErrorCode": "InstanceIdNotFound", "Message": message}
    assert answer["FailedNodeLogicalIds"] == [failed]


def test_a_node_of_another_cluster_is_not_found(hyperpod: SimulatedHyperPod) -> None:
    hyperpod.create()
    assert hyperpod.failure(hyperpod.create("ml-b")["nodes"][0]) == "InstanceIdNotFound"


def test_both_ids_of_one_node_in_one_request_reboot_it_once(hyperpod: SimulatedHyperPod) -> None:
    node = hyperpod.node()
    request = {"NodeIds": [node["instance_id"]], "NodeLogicalIds": [node["logical_id"]]}
    answer = hyperpod.client.batch_reboot_cluster_nodes(ClusterName="ml-a", **request)
    assert answer["Successful"] == [node["instance_id"]]
    assert [failed["ErrorCode"] for failed in answer["FailedNodeLogicalIds"]] == ["InstanceIdInUse"]
    assert len(hyperpod.admin("GET", "reboots")) == 1


def test_a_second_reboot_is_in_use_until_the_first_is_over(hyperpod: SimulatedHyperPod) -> None:
    node = hyperpod.node(reboot_seconds=60)
    hyperpod.reboot(node)
    hyperpod.advance(59.9)
    assert (hyperpod.failure(node), hyperpod.status(node)) == ("InstanceIdInUse", ("Pending", "Instance is rebooting"))
    hyperpod.advance(0.1)
    expected = {"cluster": "ml-a", "node": node["instance_id"], "logical_id": node["logical_id"], "started": START}
    assert hyperpod.admin("GET", "reboots") == [{**expected, "finished": START + 60}]
    assert (hyperpod.status(node), hyperpod.failure(node)) == (("Running", ""), "")
    assert hyperpod.events == []


@pytest.mark.parametrize("state", sorted(values_of("ClusterInstanceStatus")))
def test_a_status_that_allows_no_reboot_is_named(hyperpod: SimulatedHyperPod, state: str) -> None:
    """Running and Failure allow one."""
    node = hyperpod.node()
    hyperpod.ask("set", node, status=state)
    assert hyperpod.status(node) == (state, "")
    assert hyperpod.failure(node) == ("" if state in {"Running", "Failure"} else "InvalidInstanceStatus")


@pytest.mark.parametrize("freed", [{"in_use_seconds": 30}, {"in_use": True}])
def test_a_node_is_in_use_for_a_time_or_until_released(hyperpod: SimulatedHyperPod, freed: dict[str, Any]) -> None:
    node = hyperpod.node()
    hyperpod.ask("set", node, **freed)
    hyperpod.advance(29.9)
    assert hyperpod.failure(node) == "InstanceIdInUse"
    if "in_use" in freed:
        hyperpod.advance(1e6)
        assert hyperpod.failure(node) == "InstanceIdInUse"
        hyperpod.ask("set", node, in_use=False)
    hyperpod.advance(0.1)
    assert hyperpod.failure(node) == ""


def test_a_gone_node_is_not_found_by_any_operation_until_it_is_back(hyperpod: SimulatedHyperPod) -> None:
    node = hyperpod.node()
    hyperpod.ask("set", node, gone=True)
    assert hyperpod.failure(node) == "InstanceIdNotFound"
    described = refusal(hyperpod.client.describe_cluster_node, ClusterName="ml-a", NodeId=node["instance_id"])
    assert described[0] == "ResourceNotFound"
    assert len(hyperpod.client.list_cluster_nodes(ClusterName="ml-a")["ClusterNodeSummaries"]) == 1
    assert hyperpod.client.describe_cluster(ClusterName="ml-a")["InstanceGroups"][0]["CurrentCount"] == 1
    hyperpod.ask("set", node, gone=False)
    assert hyperpod.failure(node) == ""


def test_a_scripted_failure_is_answered_verbatim_as_often_as_told(hyperpod: SimulatedHyperPod) -> None:
    """Without a number, until null clears it."""
    node = hyperpod.node()
    hyperpod.ask("set", node, fail={"code": "InternalServerError", "message": "Ünexpected.", "times": 2})
    failed = {"NodeId": node["instance_id"], "ErrorCode": "InternalServerError", "Message": "Ünexpected."}
    assert [hyperpod.reboot(node)["Failed"] for _ in range(3)] == [[failed], [failed], []]
    hyperpod.ask("set", node, fail={"code": "InternalServerError"})
    assert {hyperpod.failure(node) for _ in range(9)} == {"InternalServerError"}
    hyperpod.advance(2)
    hyperpod.ask("set", node, fail=None)
    assert hyperpod.failure(node) == ""


@pytest.mark.parametrize("times", [0, 2])
def test_an_answer_can_list_a_failure_twice_or_not_at_all(hyperpod: SimulatedHyperPod, times: int) -> None:
    """A node that is in no list was not rebooted either."""
    node = hyperpod.node()
    hyperpod.ask("set", node, fail={"code": "InternalServerError", "message": "no", "listed": times, "times": 1})
    failed = {"NodeId": node["instance_id"], "ErrorCode": "InternalServerError", "Message": "no"}
    answer = hyperpod.reboot(node)
    assert (answer["Failed"], "Successful" in answer) == ([failed] * times, False)
    assert hyperpod.admin("GET", "reboots") == []


@pytest.mark.parametrize(("key", "field"), [("instance_id", ""), ("logical_id", "NodeLogicalIds")])
def test_an_answer_can_list_a_node_as_successful_and_as_failed(
    hyperpod: SimulatedHyperPod, key: str, field: str
) -> None:
    """It is rebooted then."""
    node = hyperpod.node()
    hyperpod.ask("set", node, fail={"code": "InternalServerError", "rebooted": True})
    answer = hyperpod.client.batch_reboot_cluster_nodes(ClusterName="ml-a", **{field or "NodeIds": [node[key]]})
    assert answer[f"Successful{field}"] == [node[key]]
    assert [failed["ErrorCode"] for failed in answer[f"Failed{field}"]] == ["InternalServerError"]
    assert [each["node"] for each in hyperpod.admin("GET", "reboots")] == [node["instance_id"]]


def test_one_malformed_id_rejects_the_whole_request_and_names_it(hyperpod: SimulatedHyperPod) -> None:
    node = hyperpod.node()["instance_id"]
    call = hyperpod.client.batch_reboot_cluster_nodes
    code, message = refusal(call, ClusterName="ml-a", NodeIds=[node, "hyperpod-1"])
    assert code == "ValidationException"
    assert message == (
        f"1 validation error detected: Value '[{node}, hyperpod-1]' at 'nodeIds' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must have length less than or equal to 256, "
        "Member must have length greater than or equal to 1, "
        "Member must satisfy regular expression pattern: i-[a-f0-9]{8}(?:[a-f0-9]{9})?, Member must not be null]"
    )
    assert hyperpod.admin("GET", "reboots") == []


def test_logical_ids_are_for_continuous_clusters_only(hyperpod: SimulatedHyperPod) -> None:
    node = hyperpod.node(continuous=False)
    request = {"ClusterName": "ml-a", "NodeIds": [node["instance_id"]], "NodeLogicalIds": ["some-node"]}
    code, message = refusal(hyperpod.client.batch_reboot_cluster_nodes, **request)
    assert (code, "Continuous" in message, node["logical_id"]) == ("ValidationException", True, None)
    assert "NodeLogicalId" not in hyperpod.details(NodeId=node["instance_id"])
    assert hyperpod.admin("GET", "reboots") == []


@pytest.mark.parametrize(
    ("by_id", "by_logical_id", "taken"), [(0, 0, False), (25, 1, False), (13, 13, False), (12, 13, True)]
)
def test_a_request_takes_one_to_25_nodes_in_sum(
    hyperpod: SimulatedHyperPod, by_id: int, by_logical_id: int, taken: bool
) -> None:
    nodes = hyperpod.create(nodes=26)["nodes"]
    node_ids = [node["instance_id"] for node in nodes[:by_id]]
    logical_ids = [node["logical_id"] for node in nodes[26 - by_logical_id :]]
    asked = {key: ids for key, ids in (("NodeIds", node_ids), ("NodeLogicalIds", logical_ids)) if ids}
    call = hyperpod.client.batch_reboot_cluster_nodes
    if not taken:
        assert refusal(call, ClusterName="ml-a", **asked)[0] == "ValidationException"
        return
    answer = call(ClusterName="ml-a", **asked)
    assert (answer["Successful"], answer["SuccessfulNodeLogicalIds"]) == (node_ids, logical_ids)


@settings(deadline=None)  # this machine's speed is not the subject
@given(picks=st.lists(st.integers(0, 9), min_size=1, max_size=25), absent=st.integers(0, 9))
def test_every_id_sent_is_answered_exactly_once(picks: list[int], absent: int) -> None:
    """Repeated IDs too, and no node is rebooted twice."""
    hyperpod = SimulatedHyperPod()
    nodes = hyperpod.create(nodes=10)["nodes"]
    hyperpod.ask("set", nodes[absent], gone=True)
    sent = [nodes[pick]["instance_id"] for pick in picks]
    answer = hyperpod.reboot(*(nodes[pick] for pick in picks))
    started = answer.get("Successful", [])
    assert sorted([*started, *(failed["NodeId"] for failed in answer["Failed"])]) == sorted(sent)
    assert set(started) == set(sent) - {nodes[absent]["instance_id"]}
    assert len(started) == len(set(started))


@settings(deadline=None)
@given(steps=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 2)), max_size=30))
def test_no_node_is_ever_rebooted_during_its_reboot(steps: list[tuple[float, int]]) -> None:
    """At whatever times it is asked for, its reboots never overlap, and each lasts as long as it must."""
    hyperpod = SimulatedHyperPod()
    nodes = hyperpod.create(nodes=3, reboot_seconds=4)["nodes"]
    for wait, pick in steps:
        hyperpod.advance(wait)
        hyperpod.reboot(nodes[pick])
    for node in nodes:
        done = [entry for entry in hyperpod.admin("GET", "reboots") if entry["node"] == node["instance_id"]]
        assert all(entry["finished"] >= entry["started"] + 4 for entry in done[:-1])
        assert all(before["finished"] <= after["started"] for before, after in itertools.pairwise(done))
