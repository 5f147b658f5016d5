"""Which nodes go into which call of BatchRebootClusterNodes. Pure."""

from collections.abc import Sequence

from node_remediation.model import IdKind, Node

# "Up to 25 nodes in a single request": API reference of BatchRebootClusterNodes; taken as the sum of both kinds of ID.
MOST_NODES_PER_CALL = 25


def calls_for(nodes: Sequence[Node]) -> list[list[Node]]:
    """Split one cluster's nodes into the fewest calls, in order: the kinds of ID apart, each odd ID alone.

    An ID that does not match the API's pattern may reject a whole call, so it has one to itself.
    """
    calls = []
    for kind in IdKind:
        fit = [node for node in nodes if node.kind is kind and node.well_formed]
        calls += [fit[start : start + MOST_NODES_PER_CALL] for start in range(0, len(fit), MOST_NODES_PER_CALL)]
    return calls + [[node] for node in nodes if not node.well_formed]
