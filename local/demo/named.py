"""Makes the cluster and the sick nodes that a captured event names, as far as HyperPod could have them."""

from dataclasses import dataclass

from local.aws import LocalAws, LocalAwsError
from local.demo.captured import Names
from local.demo.clusters import CLUSTER, EKS

_SPARE_NODES = 3  # a cluster is more than the nodes that are reported


@dataclass(frozen=True, slots=True)
class Made:
    """Holds the cluster's name, whether there is one now, and which of the event's IDs have a node behind them."""

    cluster: str
    exists: bool
    known: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def make_named(aws: LocalAws, names: Names) -> Made:
    """Make the cluster and the nodes that the event names."""
    cluster = names.hyperpod or CLUSTER
    eks = names.eks or (EKS if cluster == CLUSTER else f"{cluster}-eks")
    count = len(names.nodes) + len(names.logical_ids) + _SPARE_NODES
    asked = {"name": cluster, "nodes": count, "orchestrator": {"eks": eks}}
    ids = (*names.nodes, *names.logical_ids)
    try:
        made = aws.admin("POST", "/_local/hyperpod/clusters", asked)
    except LocalAwsError:
        return Made(cluster, exists=False, unknown=ids)
    known = set()
    apart = 0 if names.one_node else len(names.nodes)
    # The logical IDs first: the nodes are found by the instance IDs that they were made with.
    for key, wanted, start in (("logical_id", names.logical_ids, apart), ("instance_id", names.nodes, 0)):
        for node, id_ in zip(made["nodes"][start:], wanted, strict=False):
            if _rename(aws, cluster, node["instance_id"], key, id_):
                known.add(id_)
    for id_ in known:
        # An event of its own would be one more than the captured one.
        aws.admin("POST", "/_local/hyperpod/nodes/break", {"cluster": cluster, "node": id_, "event": False})
    return Made(cluster, True, tuple(id_ for id_ in ids if id_ in known), tuple(id_ for id_ in ids if id_ not in known))


def _rename(aws: LocalAws, cluster: str, node: str, key: str, id_: str) -> bool:
    """Give a node an ID of the event's; not where HyperPod has no such IDs."""
    try:
        aws.admin("POST", "/_local/hyperpod/nodes/set", {"cluster": cluster, "node": node, key: id_})
    except LocalAwsError:
        return False
    return True
