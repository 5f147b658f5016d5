"""Requests and answers are judged by botocore's service model, in AWS's words."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.hyperpod.contract import check_answer, check_request, operation, values_of
from local.hyperpod.errors import ApiError
from local.hyperpod.rebooting import MESSAGES
from tests.local.hyperpod_support import HyperPod, refusal


def message(name: str, request: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as caught:
        check_request(name, request)
    assert caught.value.code == "ValidationException"
    return caught.value.message


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({}, "Value null at 'clusterName' failed to satisfy constraint: Member must not be null"),
        (
            {"ClusterName": "c", "MaxResults": 101},
            "Value '101' at 'maxResults' failed to satisfy constraint: "
            "Member must have value less than or equal to 100",
        ),
        (
            {"ClusterName": "c", "MaxResults": 0},
            "Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            {"ClusterName": "c", "SortBy": "AGE"},
            "Value 'AGE' at 'sortBy' failed to satisfy constraint: "
            "Member must satisfy enum value set: [CREATION_TIME, NAME]",
        ),
        (
            {"ClusterName": "c", "MaxResults": True},
            "Value 'True' at 'maxResults' failed to satisfy constraint: Member must be of type integer",
        ),
        (
            {"ClusterName": ["c"]},
            "Value '[c]' at 'clusterName' failed to satisfy constraint: Member must be of type string",
        ),
        (
            {"ClusterName": "c", "Nodes": 1},
            "Value '1' at 'nodes' failed to satisfy constraint: Member is not known to ListClusterNodesRequest",
        ),
    ],
)
def test_a_bad_request_is_named_as_aws_names_it(request_: dict[str, Any], text: str) -> None:
    assert message("ListClusterNodes", request_) == f"1 validation error detected: {text}"


def test_all_violations_are_in_one_message() -> None:
    text = message("ListClusterNodes", {"ClusterName": "-", "MaxResults": 0})
    assert text.startswith("2 validation errors detected: Value '-' at 'clusterName'")
    assert "; Value '0' at 'maxResults'" in text


@pytest.mark.parametrize(("count", "bound"), [(0, "greater than or equal to 1"), (26, "less than or equal to 25")])
def test_a_list_of_the_wrong_length_is_refused(count: int, bound: str) -> None:
    text = message("BatchRebootClusterNodes", {"ClusterName": "c", "NodeIds": ["i-01234567"] * count})
    assert text.endswith(f"at 'nodeIds' failed to satisfy constraint: Member must have length {bound}")


@pytest.mark.parametrize(
    "node", [None, 7, "", "i-0123456789abcdef", "i-0123456789abcdef0\n", "I-01234567", "i-0123456g"]
)
def test_a_node_id_off_the_pattern_is_refused(node: Any) -> None:
    assert "at 'nodeIds'" in message("BatchRebootClusterNodes", {"ClusterName": "c", "NodeIds": ["i-01234567", node]})


@pytest.mark.parametrize("node", ["a", "-a", "a-", "a_b", "é1", "x" * 129])
def test_a_logical_id_off_the_pattern_is_refused(node: str) -> None:
    assert "at 'nodeLogicalIds'" in message("BatchRebootClusterNodes", {"ClusterName": "c", "NodeLogicalIds": [node]})


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
    hyperpod = HyperPod()
    hyperpod.create("c")
    status, answer = hyperpod.raw("BatchRebootClusterNodes", json.dumps(body).encode())
    assert (status, answer["__type"] in {"ValidationException", "SerializationException", "ResourceNotFound"}) == (
        400,
        True,
    )


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    status, answer = HyperPod().raw("ListClusters", body)
    assert (status, answer["__type"]) == (400, "SerializationException")


def test_a_null_is_a_field_that_was_not_given() -> None:
    hyperpod = HyperPod()
    hyperpod.create("c")
    assert hyperpod.raw("ListClusterNodes", b'{"ClusterName": "c", "SortBy": null}')[0] == 200


def test_botocore_refuses_a_misspelt_operation_before_we_do() -> None:
    with pytest.raises(ApiError, match="UnknownOperationException"):
        operation("RebootClusterNodes")
    assert refusal(HyperPod().client.list_models).code == "UnknownOperationException"


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
def test_an_answer_off_the_model_never_leaves_the_simulation(answer: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="BatchRebootClusterNodes broke the service model"):
        check_answer("BatchRebootClusterNodes", answer)


def test_the_service_checks_what_it_answers() -> None:
    hyperpod = HyperPod()
    hyperpod.create("c")
    hyperpod.simulator.world.clusters["c"].nodes[0].status = "Fine"
    with pytest.raises(AssertionError, match="'Fine' at"):
        hyperpod.raw("ListClusterNodes", b'{"ClusterName": "c"}')


def test_a_nested_violation_is_named_by_its_path() -> None:
    with pytest.raises(AssertionError, match=r"'clusterNodeSummaries\.1\.member\.instanceStatus\.status'"):
        check_answer("ListClusterNodes", {"ClusterNodeSummaries": [{"InstanceStatus": {"Status": "Fine"}}]})


def test_there_are_words_for_every_code_of_the_model() -> None:
    """A new code in a newer model asks for words, and a gone one for their end."""
    assert set(MESSAGES) == set(values_of("BatchRebootClusterNodesErrorCode"))
