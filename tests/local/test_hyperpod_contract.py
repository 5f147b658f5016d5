"""The simulated HyperPod describes clusters as the API does; botocore's service model judges requests and answers."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.hyperpod.contract import ApiError, check_answer, check_request, values_of
from local.hyperpod.rebooting import MESSAGES
from tests.local.hyperpod_support import START, SimulatedHyperPod, refusal

_ABSENT = "i-0123456789abcdef0"
_UNKNOWN_ARN = "arn:aws:sagemaker:us-east-1:000000000000:cluster/000000000000"


@pytest.mark.parametrize(
    ("request_", "texts"),
    [
        ({}, ["null at 'clusterName' failed to satisfy constraint: Member must not be null"]),
        ({"MaxResults": 101}, ["Member must have value less than or equal to 100"]),
        ({"MaxResults": 0}, ["Member must have value greater than or equal to 1"]),
        ({"MaxResults": True}, ["Value 'True' at 'maxResults' failed", "Member must be of type integer"]),
        ({"SortBy": "AGE"}, ["Member must satisfy enum value set: [CREATION_TIME, NAME]"]),
        ({"ClusterName": ["c"]}, ["Value '[c]' at 'clusterName' failed", "Member must be of type string"]),
        ({"Nodes": 1}, ["Member is not known to ListClusterNodesRequest"]),
        ({"ClusterName": "-", "MaxResults": 0}, ["2 validation errors", "'-' at 'clusterName'", "; Value '0' at"]),
    ],
)
def test_a_bad_request_is_named_as_aws_names_it(request_: dict[str, Any], texts: list[str]) -> None:
    """Every violation is in the one message."""
    with pytest.raises(ApiError) as caught:
        check_request("ListClusterNodes", request_ and {"ClusterName": "c", **request_})
    assert caught.value.code == "ValidationException"
    assert "validation error" in caught.value.message
    assert all(text in caught.value.message for text in texts)


@pytest.mark.parametrize(
    ("member", "ids"),
    [
        ("NodeIds", []),
        ("NodeIds", ["i-01234567"] * 26),
        *(("NodeIds", ["i-01234567", id_]) for id_ in (None, 7, "", _ABSENT[:-1], f"{_ABSENT}\n", "I-01234567")),
        *(("NodeLogicalIds", [id_]) for id_ in ("a", "-a", "a-", "a_b", "é1", "x" * 129)),
    ],
)
def test_ids_off_the_pattern_or_too_many_are_refused(member: str, ids: list[Any]) -> None:
    with pytest.raises(ApiError, match=f"at '{member[:1].lower()}{member[1:]}'"):
        check_request("BatchRebootClusterNodes", {"ClusterName": "c", member: ids})


@settings(deadline=None)  # this machine's speed is not the subject
@given(node=st.from_regex(r"i-[a-f0-9]{8}(?:[a-f0-9]{9})?", fullmatch=True))
def test_a_node_id_of_the_pattern_is_taken(node: str) -> None:
    """Both lengths of EC2 instance IDs pass."""
    check_request("BatchRebootClusterNodes", {"ClusterName": "c", "NodeIds": [node]})


@settings(deadline=None)
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["ClusterName", "NodeIds", "NodeLogicalIds", "Other"]), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_no_request_whatever_breaks_the_service(body: Any) -> None:
    """It answers an error of the API, never one of its own."""
    hyperpod = SimulatedHyperPod()
    hyperpod.create("c")
    status, answer = hyperpod.raw("BatchRebootClusterNodes", json.dumps(body).encode())
    errors = {"ValidationException", "SerializationException", "ResourceNotFound"}
    assert (status, answer["__type"] in errors) == (400, True)


def test_a_body_is_a_json_object_in_which_null_is_no_value(hyperpod: SimulatedHyperPod) -> None:
    hyperpod.create()
    for body in (b"{", b"[]", b"\xff"):
        status, answer = hyperpod.raw("ListClusters", body)
        assert (status, answer["__type"]) == (400, "SerializationException")
    assert hyperpod.raw("ListClusterNodes", b'{"ClusterName": "ml-a", "SortBy": null}')[0] == 200


def test_an_operation_that_is_not_simulated_says_so(hyperpod: SimulatedHyperPod) -> None:
    assert refusal(hyperpod.client.list_models)[0] == "UnknownOperationException"


@pytest.mark.parametrize(
    "answer",
    [
        {"Successful": ["i-01234567"], "Extra": 1},
        {"Successful": []},
        {"Successful": None},
        {"Successful": ["not-an-id"]},
        {"Failed": [{"NodeId": "i-01234567", "ErrorCode": "InternalServerError"}]},
        {"Failed": [{"NodeId": "i-01234567", "ErrorCode": "NoSuchCode", "Message": ""}]},
        {"Failed": [{"NodeId": "i-01234567", "ErrorCode": "InternalServerError", "Message": 5}]},
    ],
)
def test_an_answer_off_the_model_is_the_simulations_fault(answer: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="the simulated BatchRebootClusterNodes broke the service model"):
        check_answer("BatchRebootClusterNodes", answer)


def test_a_nested_violation_is_named_by_its_path() -> None:
    with pytest.raises(AssertionError, match=r"'clusterNodeSummaries\.1\.member\.instanceStatus\.status'"):
        check_answer("ListClusterNodes", {"ClusterNodeSummaries": [{"InstanceStatus": {"Status": "Fine"}}]})


def test_there_are_words_for_every_code_of_the_model() -> None:
    """A new code in a newer model asks for words, and a gone one for their end."""
    assert set(MESSAGES) == set(values_of("BatchRebootClusterNodesErrorCode"))


def test_an_eks_cluster_is_described_with_its_settings(hyperpod: SimulatedHyperPod) -> None:
    created = hyperpod.create(orchestrator={"eks": "my-eks"}, node_recovery="Automatic", nodes=3)
    described = hyperpod.client.describe_cluster(ClusterName="ml-a")
    assert (described["ClusterArn"], described["ClusterStatus"]) == (created["arn"], "InService")
    assert described["CreationTime"].timestamp() == START
    assert (described["NodeRecovery"], described["NodeProvisioningMode"]) == ("Automatic", "Continuous")
    assert described["Orchestrator"] == {"Eks": {"ClusterArn": "arn:aws:eks:us-east-1:000000000000:cluster/my-eks"}}
    (group,) = described["InstanceGroups"]
    assert (group["InstanceGroupName"], group["CurrentCount"], group["TargetCount"]) == ("workers", 3, 3)


def test_a_slurm_cluster_is_described_with_its_node_types(hyperpod: SimulatedHyperPod) -> None:
    groups = [
        {"name": "head", "count": 1, "slurm_node_type": "Controller"},
        {"name": "gpu", "count": 2, "slurm_node_type": "Compute"},
        {"name": "nova", "count": 4, "restricted": True},
    ]
    hyperpod.create(groups=groups, orchestrator="slurm", continuous=False)
    described = hyperpod.client.describe_cluster(ClusterName="ml-a")
    assert ("Slurm" in described["Orchestrator"], "NodeProvisioningMode" in described) == (True, False)
    types = {group["InstanceGroupName"]: group["SlurmConfig"]["NodeType"] for group in described["InstanceGroups"]}
    assert types == {"head": "Controller", "gpu": "Compute"}
    assert [group["CurrentCount"] for group in described["RestrictedInstanceGroups"]] == [4]


@pytest.mark.parametrize(("key", "member"), [("NodeId", "instance_id"), ("NodeLogicalId", "logical_id")])
def test_a_node_is_described_by_either_id(hyperpod: SimulatedHyperPod, key: str, member: str) -> None:
    """An unhealthy one is still running."""
    node = hyperpod.node()
    hyperpod.ask("break", node)
    described = hyperpod.details(**{key: node[member]})
    assert (described["InstanceId"], described["NodeLogicalId"]) == (node["instance_id"], node["logical_id"])
    assert (described["InstanceGroupName"], described["InstanceStatus"]["Status"]) == ("workers", "Running")


@pytest.mark.parametrize(
    ("continuous", "request_", "code"),
    [
        (True, {}, "ValidationException"),
        (True, {"NodeId": _ABSENT, "NodeLogicalId": "both"}, "ValidationException"),
        (True, {"NodeId": "hyperpod-i-1"}, "ValidationException"),
        (True, {"NodeId": _ABSENT}, "ResourceNotFound"),
        (True, {"NodeLogicalId": "no-such-node"}, "ResourceNotFound"),
        (False, {"NodeLogicalId": "some-node"}, "ValidationException"),
    ],
)
def test_a_node_that_cannot_be_described_is_refused(
    hyperpod: SimulatedHyperPod, continuous: bool, request_: dict[str, str], code: str
) -> None:
    hyperpod.create(continuous=continuous)
    assert refusal(hyperpod.client.describe_cluster_node, ClusterName="ml-a", **request_)[0] == code


@pytest.mark.parametrize("operation", ["describe_cluster", "list_cluster_nodes", "batch_reboot_cluster_nodes"])
def test_an_unknown_cluster_is_not_found_by_name_or_arn(hyperpod: SimulatedHyperPod, operation: str) -> None:
    """It is the declared error; an unknown cluster has an ARN that no cluster has."""
    arn = hyperpod.create()["arn"]
    call, nodes = getattr(hyperpod.client, operation), {"NodeIds": [_ABSENT]} if "reboot" in operation else {}
    for name in ("ml-z", _UNKNOWN_ARN):
        with pytest.raises(hyperpod.client.exceptions.ResourceNotFound, match=name):
            call(ClusterName=name, **nodes)
        assert hyperpod.simulator.arn(name) == _UNKNOWN_ARN
    assert hyperpod.simulator.arn("ml-a") == hyperpod.simulator.arn(arn) == arn


def test_an_arn_that_is_none_of_hyperpods_is_invalid(hyperpod: SimulatedHyperPod) -> None:
    documented = "arn:aws:sagemaker:us-west-2:111122223333:cluster/sample-cluster"
    code, message = refusal(hyperpod.client.describe_cluster, ClusterName=documented)
    assert code == "ValidationException"
    assert f"Value '{documented}' at 'clusterName' failed to satisfy constraint" in message


def test_logical_ids_are_listed_only_when_asked_for(hyperpod: SimulatedHyperPod) -> None:
    nodes = hyperpod.create()["nodes"]
    listed = hyperpod.client.list_cluster_nodes(ClusterName="ml-a")["ClusterNodeSummaries"]
    assert all("NodeLogicalId" not in node for node in listed)
    listed = hyperpod.client.list_cluster_nodes(ClusterName="ml-a", IncludeNodeLogicalIds=True)["ClusterNodeSummaries"]
    assert [node["NodeLogicalId"] for node in listed] == [node["logical_id"] for node in nodes]


@settings(deadline=None)
@given(nodes=st.integers(0, 60), size=st.none() | st.integers(1, 100))
def test_pages_hold_every_node_once_whatever_their_size(nodes: int, size: int | None) -> None:
    """None is larger than asked, or than 10: a client that does not page finds out on a small cluster."""
    hyperpod = SimulatedHyperPod()
    created = [node["instance_id"] for node in hyperpod.create(nodes=nodes)["nodes"]]
    options = {} if size is None else {"PaginationConfig": {"PageSize": size}}
    pages = hyperpod.client.get_paginator("list_cluster_nodes").paginate(ClusterName="ml-a", **options)
    listed = [[node["InstanceId"] for node in page["ClusterNodeSummaries"]] for page in pages]
    assert [id_ for page in listed for id_ in page] == created
    assert all(len(page) <= (size or 10) for page in listed)
    assert sum(not page for page in listed) == (not nodes)


@pytest.mark.parametrize("token", ["10", "c3RhcnQ6LTE=", "%%%", "//8="])
def test_a_token_that_no_answer_carried_is_invalid(hyperpod: SimulatedHyperPod, token: str) -> None:
    assert refusal(hyperpod.client.list_clusters, NextToken=token)[0] == "ValidationException"


def test_clusters_are_listed_in_the_order_of_creation_and_no_filter_is_passed_over(hyperpod: SimulatedHyperPod) -> None:
    for name in ("ml-b", "ml-a"):
        hyperpod.create(name)
    listed = hyperpod.client.list_clusters()["ClusterSummaries"]
    assert [cluster["ClusterName"] for cluster in listed] == ["ml-b", "ml-a"]
    code, message = refusal(hyperpod.client.list_clusters, NameContains="ml", SortBy="NAME")
    assert (code, message.endswith("does not serve NameContains, SortBy")) == ("ValidationException", True)
