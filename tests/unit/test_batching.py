"""Which nodes share a call: properties over any mix of IDs, and the API's own limits."""

from math import ceil

import pytest
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.batching import MOST_NODES_PER_CALL, calls_for
from node_remediation.model import INSTANCE_ID, LOGICAL_ID, IdKind, Node
from tests.unit.fakes import instance_id

instances = st.integers(0, 400).map(lambda n: Node(IdKind.NODE_ID, instance_id(n)))
logicals = st.integers(0, 400).map(lambda n: Node(IdKind.LOGICAL_ID, f"group-{n}"))
odd_ids = st.one_of(st.just(""), st.just("i-"), st.just("i-12345678abcdefghi"), st.text(max_size=6))
odd = st.builds(Node, st.sampled_from(IdKind), odd_ids).filter(lambda node: not node.well_formed)
node_lists = st.lists(st.one_of(instances, logicals, odd), max_size=140, unique=True)


@given(node_lists)
def test_every_node_is_in_exactly_one_call(nodes: list[Node]) -> None:
    """Nothing is lost and nothing is called for twice."""
    called = [node for call in calls_for(nodes) for node in call]
    assert len(called) == len(nodes)
    assert set(called) == set(nodes)


@given(node_lists)
def test_calls_keep_the_limit_one_kind_and_odd_ids_alone(nodes: list[Node]) -> None:
    """A call has 1 to 25 nodes of one kind, and a node that could spoil it has one to itself."""
    for call in calls_for(nodes):
        assert 1 <= len(call) <= 25
        assert len({node.kind for node in call}) == 1
        assert len(call) == 1 or all(node.well_formed for node in call)


@given(node_lists)
def test_there_are_as_few_calls_as_can_be(nodes: list[Node]) -> None:
    """The well-formed of each kind fill their calls; each odd one costs one."""
    fit = [sum(node.kind is kind and node.well_formed for node in nodes) for kind in IdKind]
    odd_ones = sum(not node.well_formed for node in nodes)
    assert len(calls_for(nodes)) == sum(ceil(count / 25) for count in fit) + odd_ones


@given(st.lists(instances, max_size=80, unique=True))
def test_nodes_are_called_for_in_order(nodes: list[Node]) -> None:
    """The oldest report is called for first."""
    assert [node for call in calls_for(nodes) for node in call] == nodes


def test_limit_is_the_documented_one() -> None:
    """Up to 25 nodes in a single request."""
    assert MOST_NODES_PER_CALL == 25


def test_patterns_and_lengths_are_those_of_the_service_model() -> None:
    """An ID counts as well-formed exactly when the shape in botocore's model says so."""
    model = get_session().get_service_model("sagemaker")
    logical = model.shape_for("ClusterNodeLogicalId").metadata
    assert model.shape_for("ClusterNodeId").metadata["pattern"] == INSTANCE_ID.pattern
    length = f"(?=.{{{logical['min']},{logical['max']}}}\\Z)"
    assert LOGICAL_ID.pattern == length + logical["pattern"].replace("\\-", "-")


@pytest.mark.parametrize(
    ("node", "fits"),
    [
        (Node(IdKind.NODE_ID, "i-0123abcd"), True),
        (Node(IdKind.NODE_ID, instance_id(5)), True),
        (Node(IdKind.NODE_ID, instance_id(5) + "\n"), False),
        (Node(IdKind.NODE_ID, "i-0123ABCD"), False),
        (Node(IdKind.NODE_ID, "i-0123abcd0"), False),
        (Node(IdKind.LOGICAL_ID, "a"), False),
        (Node(IdKind.LOGICAL_ID, "df268d19-f035-4f28-9b80-b956b92ae21e"), True),
        (Node(IdKind.LOGICAL_ID, "x" * 128), True),
        (Node(IdKind.LOGICAL_ID, "x" * 129), False),
        (Node(IdKind.LOGICAL_ID, "ends-in-"), False),
        (Node(IdKind.LOGICAL_ID, "two words"), False),
    ],
)
def test_well_formed_says_whether_an_id_may_share_a_call(node: Node, fits: bool) -> None:
    """The edges of the two patterns."""
    assert node.well_formed is fits
