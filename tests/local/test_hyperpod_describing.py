"""The Describe and List operations of the simulated HyperPod, as a real client sees them."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.local.hyperpod_support import START, HyperPod, refusal


@pytest.fixture
def hyperpod() -> HyperPod:
    return HyperPod()


def test_an_eks_cluster_is_described_with_its_settings(hyperpod: HyperPod) -> None:
    created = hyperpod.create(orchestrator={"eks": "my-eks"}, node_recovery="Automatic", nodes=3)
    described = hyperpod.client.describe_cluster(ClusterName="ml-a")
    assert re.fullmatch(r"arn:aws:sagemaker:us-east-1:000000000000:cluster/[a-z0-9]{12}", described["ClusterArn"])
    assert (described["ClusterArn"], described["ClusterName"]) == (created["arn"], "ml-a")
    assert described["ClusterStatus"] == "InService"
    assert described["CreationTime"].timestamp() == START
    assert described["NodeRecovery"] == "Automatic"
    assert described["NodeProvisioningMode"] == "Continuous"
    assert described["Orchestrator"] == {"Eks": {"ClusterArn": "arn:aws:eks:us-east-1:000000000000:cluster/my-eks"}}
    (group,) = described["InstanceGroups"]
    assert (group["InstanceGroupName"], group["CurrentCount"], group["TargetCount"]) == ("workers", 3, 3)


def test_a_slurm_cluster_is_described_with_its_node_types(hyperpod: HyperPod) -> None:
    groups = [
        {"name": "head", "count": 1, "slurm_node_type": "Controller"},
        {"name": "gpu", "count": 2, "slurm_node_type": "Compute"},
        {"name": "nova", "count": 4, "restricted": True},
    ]
    hyperpod.create(groups=groups, orchestrator="slurm", continuous=False)
    described = hyperpod.client.describe_cluster(ClusterName="ml-a")
    assert "Slurm" in described["Orchestrator"]
    assert "NodeProvisioningMode" not in described
    types = {group["InstanceGroupName"]: group["SlurmConfig"]["NodeType"] for group in described["InstanceGroups"]}
    assert types == {"head": "Controller", "gpu": "Compute"}
    assert [group["CurrentCount"] for group in described["RestrictedInstanceGroups"]] == [4]


def test_an_unhealthy_node_is_still_running_to_the_api(hyperpod: HyperPod) -> None:
    node = hyperpod.create()["nodes"][0]["instance_id"]
    hyperpod.admin("POST", "nodes/break", {"node": node})
    described = hyperpod.client.describe_cluster_node(ClusterName="ml-a", NodeId=node)["NodeDetails"]
    assert described["InstanceStatus"]["Status"] == "Running"


@pytest.mark.parametrize("key", ["NodeId", "NodeLogicalId"])
def test_a_node_is_described_by_either_id(hyperpod: HyperPod, key: str) -> None:
    node = hyperpod.create()["nodes"][1]
    id_ = node["instance_id"] if key == "NodeId" else node["logical_id"]
    described = hyperpod.client.describe_cluster_node(ClusterName="ml-a", **{key: id_})["NodeDetails"]
    assert (described["InstanceId"], described["NodeLogicalId"]) == (node["instance_id"], node["logical_id"])
    assert described["InstanceGroupName"] == "workers"


def test_a_node_without_logical_id_is_described_without_it(hyperpod: HyperPod) -> None:
    node = hyperpod.create(continuous=False)["nodes"][0]
    described = hyperpod.client.describe_cluster_node(ClusterName="ml-a", NodeId=node["instance_id"])["NodeDetails"]
    assert "NodeLogicalId" not in described


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, "ValidationException"),
        ({"NodeId": "i-0123456789abcdef0", "NodeLogicalId": "both"}, "ValidationException"),
        ({"NodeId": "hyperpod-i-1"}, "ValidationException"),
        ({"NodeId": "i-0123456789abcdef0"}, "ResourceNotFound"),
        ({"NodeLogicalId": "no-such-node"}, "ResourceNotFound"),
    ],
)
def test_a_node_that_cannot_be_described_is_refused(hyperpod: HyperPod, request_: dict[str, str], code: str) -> None:
    hyperpod.create()
    assert refusal(hyperpod.client.describe_cluster_node, ClusterName="ml-a", **request_).code == code


def test_a_logical_id_describes_nodes_of_continuous_clusters_only(hyperpod: HyperPod) -> None:
    hyperpod.create(continuous=False)
    error = refusal(hyperpod.client.describe_cluster_node, ClusterName="ml-a", NodeLogicalId="some-node")
    assert error.code == "ValidationException"


@pytest.mark.parametrize("operation", ["describe_cluster", "list_cluster_nodes"])
def test_an_unknown_cluster_is_not_found_by_name_or_arn(hyperpod: HyperPod, operation: str) -> None:
    hyperpod.create()
    call = getattr(hyperpod.client, operation)
    unknown_arn = "arn:aws:sagemaker:us-east-1:000000000000:cluster/000000000000"
    for name in ("ml-z", unknown_arn):
        error = refusal(call, ClusterName=name)
        assert (error.code, name in error.message) == ("ResourceNotFound", True)


def test_an_arn_that_is_none_of_hyperpods_is_invalid(hyperpod: HyperPod) -> None:
    hyperpod.create("sample-cluster")
    documented = "arn:aws:sagemaker:us-west-2:111122223333:cluster/sample-cluster"
    error = refusal(hyperpod.client.describe_cluster, ClusterName=documented)
    assert error.code == "ValidationException"
    assert f"Value '{documented}' at 'clusterName' failed to satisfy constraint" in error.message


def test_logical_ids_are_listed_only_when_asked_for(hyperpod: HyperPod) -> None:
    nodes = hyperpod.create()["nodes"]
    listed = hyperpod.client.list_cluster_nodes(ClusterName="ml-a")["ClusterNodeSummaries"]
    assert all("NodeLogicalId" not in node for node in listed)
    listed = hyperpod.client.list_cluster_nodes(ClusterName="ml-a", IncludeNodeLogicalIds=True)["ClusterNodeSummaries"]
    assert [node["NodeLogicalId"] for node in listed] == [node["logical_id"] for node in nodes]


def test_nodes_are_listed_by_part_of_their_groups_name(hyperpod: HyperPod) -> None:
    groups = [{"name": "gpu-a", "count": 1}, {"name": "gpu-b", "count": 2}, {"name": "cpu", "count": 4}]
    hyperpod.create(groups=groups)
    listed = hyperpod.client.list_cluster_nodes(ClusterName="ml-a", InstanceGroupNameContains="gpu")
    assert [node["InstanceGroupName"] for node in listed["ClusterNodeSummaries"]] == ["gpu-a", "gpu-b", "gpu-b"]


def test_clusters_are_listed_by_part_of_their_name_and_time(hyperpod: HyperPod) -> None:
    for name in ("ml-b", "ml-a", "other"):
        hyperpod.create(name)
        hyperpod.advance(100)

    def names(**request: Any) -> list[str]:
        return [c["ClusterName"] for c in hyperpod.client.list_clusters(**request)["ClusterSummaries"]]

    assert names() == ["ml-b", "ml-a", "other"]
    assert names(NameContains="ml-", SortBy="NAME") == ["ml-a", "ml-b"]
    assert names(SortOrder="Descending") == ["other", "ml-a", "ml-b"]
    assert names(CreationTimeAfter=START, CreationTimeBefore=START + 200) == ["ml-a"]


@settings(deadline=None)  # this machine's speed is not the subject
@given(nodes=st.integers(0, 60), size=st.none() | st.integers(1, 100))
def test_pages_hold_every_node_once_whatever_their_size(nodes: int, size: int | None) -> None:
    """Joined together they are the cluster, and none is larger than asked."""
    hyperpod = HyperPod()
    created = [node["instance_id"] for node in hyperpod.create(nodes=nodes)["nodes"]]
    options = {} if size is None else {"PaginationConfig": {"PageSize": size}}
    pages = hyperpod.client.get_paginator("list_cluster_nodes").paginate(ClusterName="ml-a", **options)
    listed = [[node["InstanceId"] for node in page["ClusterNodeSummaries"]] for page in pages]
    assert [id_ for page in listed for id_ in page] == created
    assert all(len(page) <= (size or 10) for page in listed)
    assert sum(not page for page in listed) == (not nodes)


def test_a_default_page_is_smaller_than_a_real_cluster(hyperpod: HyperPod) -> None:
    hyperpod.create(nodes=11)
    answer = hyperpod.client.list_cluster_nodes(ClusterName="ml-a")
    assert (len(answer["ClusterNodeSummaries"]), "NextToken" in answer) == (10, True)


@pytest.mark.parametrize("token", ["10", "c3RhcnQ6LTE=", "%%%", "//8="])
def test_a_token_that_no_answer_carried_is_invalid(hyperpod: HyperPod, token: str) -> None:
    assert refusal(hyperpod.client.list_clusters, NextToken=token).code == "ValidationException"


def test_an_operation_that_is_not_simulated_says_so(hyperpod: HyperPod) -> None:
    assert refusal(hyperpod.client.list_models).code == "UnknownOperationException"
