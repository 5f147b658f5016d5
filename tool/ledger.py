"""Reads the ledger of a deployed stack, as the function itself reads and decodes it."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from node_remediation.aws.errors import LookupFailedError
from node_remediation.aws.hyperpod import SageMakerHyperPod
from node_remediation.aws.ledger import DynamoDbLedger, read_book
from node_remediation.model import NodeKey
from node_remediation.policy.guards import budget_limit
from node_remediation.policy.record import Budget, NodeRecord
from node_remediation.settings import SHARDS
from smoke.stack import Stack
from tool.errors import ToolError
from tool.story import chapters
from tool.times import now

_ALL_DUE = datetime(9999, 1, 1, tzinfo=UTC)
_SEGMENTS = 4
# A page is 1 MB of the table, and costs 128 read units.
_MOST_PAGES = 200


class Reader:
    """Finds node records by what a person knows of them."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._ledger = DynamoDbLedger(
            stack.client("dynamodb"), table=stack.outputs["LedgerTableName"], settings=stack.settings
        )
        self._hyperpod = SageMakerHyperPod(stack.client("sagemaker"), protects=stack.settings.protects, clock=now)

    def unfinished(self) -> list[NodeRecord]:
        """Return the records with an incident that is open, or with something to send: the index names them."""
        candidates = chain.from_iterable(self._ledger.due(shard, _ALL_DUE) for shard in range(SHARDS))
        return _in_order(self._ledger.load_raw({each.pk for each in candidates}).nodes.values())

    def all(self) -> list[NodeRecord]:
        """Return all records, from a scan of the table. Raises ToolError if that is too large."""
        return self._scan(lambda _: True)

    def of_node(self, id_: str, cluster: str | None) -> list[NodeRecord]:
        """Return the records of a node, by its instance ID or its logical ID."""
        id_ = id_.removeprefix("hyperpod-")  # as EKS names the node
        clusters = [cluster] if cluster else self.clusters()
        found = list(self._ledger.load([NodeKey(name, id_) for name in clusters], ()).nodes.values())
        if not any(record.history or record.incident for record in found):
            found = self._scan(lambda item: id_ in item)
        names = (record for record in found if id_ in (record.key.id, record.logical_id))
        return _in_order(record for record in names if cluster in (None, record.key.cluster))

    def of_incident(self, id_: str) -> list[NodeRecord]:
        """Return the record that has an incident, open or over."""
        proposal = self._ledger.load([NodeKey("", id_)], ()).node(NodeKey("", id_)).proposal_of
        if proposal and (record := self._ledger.load([proposal], ()).node(proposal)).version:
            return [record]
        is_open = [each for each in self.unfinished() if each.incident and each.incident.id == id_]
        found = is_open or self._scan(lambda item: id_ in item)
        return [each for each in found if any(chapter.id == id_ for chapter in chapters(each))]

    def clusters(self) -> list[str]:
        """Return the names of the clusters that the setting clusters allows."""
        pages = self._stack.client("sagemaker").get_paginator("list_clusters").paginate()
        names = (each["ClusterName"] for page in pages for each in page["ClusterSummaries"])
        return sorted(filter(self._stack.settings.allows, names))

    def budgets(self, clusters: Iterable[str]) -> Mapping[str, Budget]:
        """Return the budgets of clusters, as far as they were ever used."""
        return self._ledger.load((), list(clusters)).budgets

    def budget(self, cluster: str) -> Budget:
        """Return a cluster's budget."""
        return self._ledger.load((), [cluster]).budget(cluster)

    def limit(self, cluster: str) -> int | None:
        """Return how many nodes of a cluster may be rebooted in a window; None if it cannot be described."""
        try:
            return budget_limit(self._hyperpod.cluster(cluster).nodes, self._stack.settings)
        except LookupFailedError:
            return None

    def _scan(self, matches: Callable[[str], bool]) -> list[NodeRecord]:
        """Return the records whose items match as text. DynamoDB reads, and charges for, all of the table."""
        with ThreadPoolExecutor(_SEGMENTS) as pool:
            found = list(chain.from_iterable(pool.map(self._segment, range(_SEGMENTS))))
        return _in_order(read_book((item for item in found if matches(str(item))), {}).nodes.values())

    def _segment(self, number: int) -> list[dict[str, Any]]:
        pages = self._stack.client("dynamodb").get_paginator("scan")
        asked = {"TableName": self._stack.outputs["LedgerTableName"], "Segment": number, "TotalSegments": _SEGMENTS}
        found: list[dict[str, Any]] = []
        for count, page in enumerate(pages.paginate(**asked)):
            if count >= _MOST_PAGES // _SEGMENTS:
                raise ToolError(f"the ledger has over {_MOST_PAGES} MB, too much to search: name NODE and --cluster")
            found += page["Items"]
        return found


def _in_order(records: Iterable[NodeRecord]) -> list[NodeRecord]:
    return sorted(records, key=lambda each: each.key)
