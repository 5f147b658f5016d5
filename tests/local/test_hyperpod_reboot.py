"""BatchRebootClusterNodes of the simulated HyperPod, as a real client sees it."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.hyperpod.contract import values_of
from tests.local.hyperpod_support import START, HyperPod, refusal

ABSENT = "i-0123456789abcdef0"


@pytest.fixture
def hyperpod() -> HyperPod:
    return HyperPod()


def reboot(hyperpod: HyperPod, *node_ids: str, logical_ids: tuple[str, ...] = ()) -> dict[str, Any]:
    request: dict[str, Any] = {"ClusterName": "ml-a"}
    if node_ids:
        request["NodeIds"] = list(node_ids)
    if logical_ids:
        request["NodeLogicalIds"] = list(logical_ids)
    answer = hyperpod.client.batch_reboot_cluster_nodes(**request)
    del answer["ResponseMetadata"]
    return dict(answer)


def failure(hyperpod: HyperPod, node_id: str) -> str:
    """The ErrorCode that the one node answers."""
    (failed,) = reboot(hyperpod, node_id)["Failed"]
    assert failed["NodeId"] == node_id
    return str(failed["ErrorCode"])


def status(hyperpod: HyperPod, node_id: str) -> str:
    answer = hyperpod.client.describe_cluster_node(ClusterName="ml-a", NodeId=node_id)
    return str(answer["NodeDetails"]["InstanceStatus"]["Status"])


def test_nodes_by_instance_id_are_answered_without_logical_id_fields(hyperpod: HyperPod) -> None:
    first, second = (node["instance_id"] for node in hyperpod.create()["nodes"])
    assert reboot(hyperpod, first, second) == {"Successful": [first, second], "Failed": []}


def test_nodes_by_logical_id_are_answered_in_their_own_fields(hyperpod: HyperPod) -> None:
    first, second = (node["logical_id"] for node in hyperpod.create()["nodes"])
    assert reboot(hyperpod, logical_ids=(first, second)) == {
        "SuccessfulNodeLogicalIds": [first, second],
        "FailedNodeLogicalIds": [],
        "Failed": [],
    }


def test_a_request_by_arn_reaches_the_same_cluster(hyperpod: HyperPod) -> None:
    cluster = hyperpod.create()
    node = cluster["nodes"][0]["instance_id"]
    answer = hyperpod.client.batch_reboot_cluster_nodes(ClusterName=cluster["arn"], NodeIds=[node])
    assert answer["Successful"] == [node]


def test_an_unknown_instance_fails_alone_with_the_documented_words(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    assert reboot(hyperpod, ABSENT, node) == {
        "Successful": [node],
        "Failed": [
            {
                "NodeId": ABSENT,
                "ErrorCode": "InstanceIdNotFound",
                "Message": "The instance does not exist in the specified cluster.",
            }
        ],
    }


def test_an_unknown_logical_id_fails_among_the_logical_ids(hyperpod: HyperPod) -> None:
    hyperpod.create()
    assert reboot(hyperpod, logical_ids=("no-such-node",)) == {
        "Failed": [],
        "FailedNodeLogicalIds": [
            {
                "NodeLogicalId": "no-such-node",
                "ErrorCode": "InstanceIdNotFound",
                "Message": "The node does not exist in the specified cluster.",
            }
        ],
    }


def test_a_node_of_another_cluster_is_not_found(hyperpod: HyperPod) -> None:
    hyperpod.create()
    elsewhere = hyperpod.create("ml-b")["nodes"][0]["instance_id"]
    assert failure(hyperpod, elsewhere) == "InstanceIdNotFound"


def test_both_ids_of_one_node_in_one_request_reboot_it_once(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]
    answer = reboot(hyperpod, node["instance_id"], logical_ids=(node["logical_id"],))
    assert answer["Successful"] == [node["instance_id"]]
    assert [failed["ErrorCode"] for failed in answer["FailedNodeLogicalIds"]] == ["InstanceIdInUse"]
    assert len(hyperpod.admin("GET", "reboots")) == 1


def test_a_second_reboot_is_in_use_until_the_first_is_over(hyperpod: HyperPod) -> None:
    node = hyperpod.create(reboot_seconds=60)["nodes"][0]["instance_id"]
    reboot(hyperpod, node)
    hyperpod.now += 59.9
    assert (failure(hyperpod, node), status(hyperpod, node)) == ("InstanceIdInUse", "Pending")
    hyperpod.now += 0.1
    assert status(hyperpod, node) == "Running"
    assert reboot(hyperpod, node)["Successful"] == [node]


def test_a_node_may_take_longer_than_its_cluster(hyperpod: HyperPod) -> None:
    slow, quick = (node["instance_id"] for node in hyperpod.create(reboot_seconds=10)["nodes"])
    hyperpod.admin("POST", "nodes/set", {"node": slow, "reboot_seconds": 600})
    reboot(hyperpod, slow, quick)
    hyperpod.advance(10)
    assert [entry["finished"] for entry in hyperpod.admin("GET", "reboots")] == [None, START + 10]


def test_a_reboot_mends_an_unhealthy_node_and_says_so(hyperpod: HyperPod) -> None:
    node = hyperpod.create(reboot_seconds=60)["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/break", {"node": node})
    reboot(hyperpod, node)
    hyperpod.advance(59)
    assert hyperpod.health_told() == [(node, "Unhealthy")]
    hyperpod.advance(1)
    assert hyperpod.health_told() == [(node, "Unhealthy"), (node, "Healthy")]


def test_a_node_that_stays_sick_comes_back_unhealthy_without_a_word(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/break", {"node": node, "stays_sick": True})
    reboot(hyperpod, node)
    hyperpod.advance(2)
    (described, _) = hyperpod.admin("GET", "clusters/ml-a")["nodes"]
    assert (described["status"], described["healthy"]) == ("Running", False)
    assert hyperpod.health_told() == [(node, "Unhealthy")]


def test_a_reboot_of_a_healthy_node_tells_the_bus_nothing(hyperpod: HyperPod) -> None:
    reboot(hyperpod, hyperpod.create()["nodes"][0]["instance_id"])
    hyperpod.advance(2)
    assert hyperpod.events == []


def test_a_cluster_deleted_during_a_reboot_tells_the_bus_nothing_more(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/break", {"node": node, "event": False})
    reboot(hyperpod, node)
    hyperpod.admin("DELETE", "clusters/ml-a")
    hyperpod.advance(2)
    assert hyperpod.events == []


@pytest.mark.parametrize("state", sorted(set(values_of("ClusterInstanceStatus")) - {"Running", "Failure"}))
def test_a_status_that_allows_no_reboot_is_named(hyperpod: HyperPod, state: str) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/set", {"node": node, "status": state})
    assert failure(hyperpod, node) == "InvalidInstanceStatus"
    assert status(hyperpod, node) == state


def test_a_failed_node_may_be_rebooted(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/set", {"node": node, "status": "Failure"})
    assert reboot(hyperpod, node)["Successful"] == [node]


def test_a_node_in_use_frees_itself_when_told_so(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/set", {"node": node, "in_use": True, "in_use_seconds": 30})
    hyperpod.now += 29
    assert failure(hyperpod, node) == "InstanceIdInUse"
    hyperpod.now += 1
    assert reboot(hyperpod, node)["Successful"] == [node]


def test_a_node_in_use_stays_so_until_released(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/set", {"node": node, "in_use": True})
    hyperpod.now += 1e6
    assert failure(hyperpod, node) == "InstanceIdInUse"
    hyperpod.admin("POST", "nodes/set", {"node": node, "in_use": False})
    assert reboot(hyperpod, node)["Successful"] == [node]


def test_a_gone_node_is_not_found_by_any_operation_until_it_is_back(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/set", {"node": node, "gone": True})
    assert failure(hyperpod, node) == "InstanceIdNotFound"
    described = refusal(hyperpod.client.describe_cluster_node, ClusterName="ml-a", NodeId=node)
    assert described.code == "ResourceNotFound"
    assert len(hyperpod.client.list_cluster_nodes(ClusterName="ml-a")["ClusterNodeSummaries"]) == 1
    assert hyperpod.client.describe_cluster(ClusterName="ml-a")["InstanceGroups"][0]["CurrentCount"] == 1
    hyperpod.admin("POST", "nodes/set", {"node": node, "gone": False})
    assert reboot(hyperpod, node)["Successful"] == [node]


def test_a_scripted_failure_is_answered_verbatim_as_often_as_told(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    fail = {"code": "InternalServerError", "message": "Ünexpected.", "times": 2}
    hyperpod.admin("POST", "nodes/set", {"node": node, "fail": fail})
    failed = {"NodeId": node, "ErrorCode": "InternalServerError", "Message": "Ünexpected."}
    assert [reboot(hyperpod, node)["Failed"] for _ in range(3)] == [[failed], [failed], []]


def test_a_scripted_failure_lasts_until_null_clears_it(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/set", {"node": node, "fail": {"code": "InternalServerError"}})
    assert {failure(hyperpod, node) for _ in range(9)} == {"InternalServerError"}
    hyperpod.admin("POST", "nodes/set", {"node": node, "fail": None})
    assert reboot(hyperpod, node)["Successful"] == [node]


@pytest.mark.parametrize("times", [0, 2])
def test_an_answer_can_list_a_failure_twice_or_not_at_all(hyperpod: HyperPod, times: int) -> None:
    """A node that is in no list was not rebooted either."""
    node = hyperpod.create()["nodes"][0]["instance_id"]
    fail = {"code": "InternalServerError", "message": "no", "listed": times, "times": 1}
    hyperpod.admin("POST", "nodes/set", {"node": node, "fail": fail})
    failed = {"NodeId": node, "ErrorCode": "InternalServerError", "Message": "no"}
    answer = reboot(hyperpod, node)
    assert (answer["Failed"], "Successful" in answer) == ([failed] * times, False)
    assert hyperpod.admin("GET", "reboots") == []


@pytest.mark.parametrize("key", ["instance_id", "logical_id"])
def test_an_answer_can_list_a_node_as_successful_and_as_failed(hyperpod: HyperPod, key: str) -> None:
    """It is rebooted then."""
    node = hyperpod.create()["nodes"][0]
    fail = {"code": "InternalServerError", "rebooted": True}
    hyperpod.admin("POST", "nodes/set", {"node": node["instance_id"], "fail": fail})
    member, suffix = ("NodeIds", "") if key == "instance_id" else ("NodeLogicalIds", "NodeLogicalIds")
    answer = hyperpod.client.batch_reboot_cluster_nodes(ClusterName="ml-a", **{member: [node[key]]})
    assert answer[f"Successful{suffix}"] == [node[key]]
    assert [failed["ErrorCode"] for failed in answer[f"Failed{suffix}"]] == ["InternalServerError"]
    assert [each["node"] for each in hyperpod.admin("GET", "reboots")] == [node["instance_id"]]


def test_an_unknown_cluster_is_the_declared_error(hyperpod: HyperPod) -> None:
    hyperpod.create()
    with pytest.raises(hyperpod.client.exceptions.ResourceNotFound, match="ml-z"):
        hyperpod.client.batch_reboot_cluster_nodes(ClusterName="ml-z", NodeIds=[ABSENT])


def test_one_malformed_id_rejects_the_whole_request_and_names_it(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    error = refusal(hyperpod.client.batch_reboot_cluster_nodes, ClusterName="ml-a", NodeIds=[node, "hyperpod-1"])
    assert error.code == "ValidationException"
    assert error.message == (
        f"1 validation error detected: Value '[{node}, hyperpod-1]' at 'nodeIds' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must have length less than or equal to 256, "
        "Member must have length greater than or equal to 1, "
        "Member must satisfy regular expression pattern: i-[a-f0-9]{8}(?:[a-f0-9]{9})?, Member must not be null]"
    )
    assert hyperpod.admin("GET", "reboots") == []


def test_logical_ids_are_for_continuous_clusters_only(hyperpod: HyperPod) -> None:
    node = hyperpod.create(continuous=False)["nodes"][0]
    request = {"ClusterName": "ml-a", "NodeIds": [node["instance_id"]], "NodeLogicalIds": ["some-node"]}
    error = refusal(hyperpod.client.batch_reboot_cluster_nodes, **request)
    assert (error.code, "Continuous" in error.message) == ("ValidationException", True)
    assert hyperpod.admin("GET", "reboots") == []


@pytest.mark.parametrize("request_", [{}, {"NodeIds": None}, {"NodeIds": [], "NodeLogicalIds": []}])
def test_a_request_without_nodes_is_invalid(hyperpod: HyperPod, request_: dict[str, Any]) -> None:
    hyperpod.create()
    request = {key: value for key, value in request_.items() if value is not None}
    assert refusal(hyperpod.client.batch_reboot_cluster_nodes, ClusterName="ml-a", **request).code == (
        "ValidationException"
    )


@pytest.mark.parametrize(("node_ids", "logical_ids"), [(26, 0), (0, 26), (25, 1), (13, 13)])
def test_more_than_25_nodes_in_sum_are_invalid(hyperpod: HyperPod, node_ids: int, logical_ids: int) -> None:
    nodes = hyperpod.create(nodes=26)["nodes"]
    asked = {
        "NodeIds": [node["instance_id"] for node in nodes[:node_ids]],
        "NodeLogicalIds": [node["logical_id"] for node in nodes[:logical_ids]],
    }
    request = {key: ids for key, ids in asked.items() if ids}
    assert refusal(hyperpod.client.batch_reboot_cluster_nodes, ClusterName="ml-a", **request).code == (
        "ValidationException"
    )
    assert hyperpod.admin("GET", "reboots") == []


def test_25_nodes_of_both_kinds_are_one_request(hyperpod: HyperPod) -> None:
    nodes = hyperpod.create(nodes=25)["nodes"]
    answer = reboot(
        hyperpod,
        *(node["instance_id"] for node in nodes[:12]),
        logical_ids=tuple(node["logical_id"] for node in nodes[12:]),
    )
    assert (len(answer["Successful"]), len(answer["SuccessfulNodeLogicalIds"])) == (12, 13)


@settings(deadline=None)  # this machine's speed is not the subject
@given(picks=st.lists(st.integers(0, 9), min_size=1, max_size=25), absent=st.integers(0, 9))
def test_every_id_sent_is_answered_exactly_once(picks: list[int], absent: int) -> None:
    """Whatever is asked, repeated IDs too: as many answers as IDs, and no node is rebooted twice."""
    hyperpod = HyperPod()
    nodes = [node["instance_id"] for node in hyperpod.create(nodes=10)["nodes"]]
    hyperpod.admin("POST", "nodes/set", {"node": nodes[absent], "gone": True})
    sent = [nodes[pick] for pick in picks]
    answer = reboot(hyperpod, *sent)
    started = answer.get("Successful", [])
    assert sorted([*started, *(failed["NodeId"] for failed in answer["Failed"])]) == sorted(sent)
    assert set(started) == set(sent) - {nodes[absent]}
    assert len(started) == len(set(started))


@settings(deadline=None)  # this machine's speed is not the subject
@given(steps=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 2)), max_size=30))
def test_no_node_is_ever_rebooted_during_its_reboot(steps: list[tuple[float, int]]) -> None:
    """At whatever times a node is asked to, its reboots never overlap, and each lasts as long as it must."""
    hyperpod = HyperPod()
    nodes = [node["instance_id"] for node in hyperpod.create(nodes=3, reboot_seconds=4)["nodes"]]
    for wait, pick in steps:
        hyperpod.advance(wait)
        reboot(hyperpod, nodes[pick])
    for node in nodes:
        done = [entry for entry in hyperpod.admin("GET", "reboots") if entry["node"] == node]
        assert all(entry["finished"] >= entry["started"] + 4 for entry in done[:-1])
        assert all(before["finished"] <= after["started"] for before, after in itertools.pairwise(done))
