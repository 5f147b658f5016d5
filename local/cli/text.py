"""Formats the lines that the commands print."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Format columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in [head, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def clusters(described: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Format clusters, with one table row per node."""
    if not described:
        yield "no clusters: make one with `cluster create NAME --nodes N`"
    for cluster in described:
        orchestrator = cluster["orchestrator"]
        kind = orchestrator if isinstance(orchestrator, str) else f"eks {orchestrator['eks']}"
        mode = "continuous" if cluster["continuous"] else "not continuous"
        yield f"{cluster['name']} ({kind}, recovery {cluster['node_recovery']}, {mode}) {cluster['arn']}"
        rows = [_node_row(node) for node in cluster["nodes"]]
        head = ("NODE", "LOGICAL ID", "GROUP", "STATUS", "HEALTH", "NOTE" if any(row[-1] for row in rows) else "")
        yield from (f"  {line}" for line in table(head, rows))


def node(changed: Mapping[str, Any]) -> str:
    return f"{changed['cluster']}/{changed['instance_id']}: {_health(changed)}, {_status(changed)}"


def calls(log: Mapping[str, Any]) -> Iterator[str]:
    """Format each BatchRebootClusterNodes call with its answer, then the number of calls of each operation."""
    for call in log["calls"]:
        nodes = [*(call["node_ids"] or ()), *(call["logical_ids"] or ())]
        yield f"{_clock(call['time'])} BatchRebootClusterNodes {call['cluster']} {' '.join(map(str, nodes))}"
        yield from (f"         {line}" for line in _outcome(call))
    counts = ", ".join(f"{name} {number}" for name, number in sorted(log["counts"].items()))
    yield f"calls: {counts or 'none'}"


def mail(message: Mapping[str, Any]) -> Iterator[str]:
    """Format an e-mail as a subscriber sees it."""
    yield f"To: {message['to']}"
    yield f"Subject: {message['subject'] or ''}"
    yield ""
    yield from str(message["message"]).splitlines()


def _outcome(call: Mapping[str, Any]) -> Iterator[str]:
    if call["error"]:
        yield f"{call['error']['code']}: {call['error']['message']}"
        return
    answer = call["answer"]
    started = [*answer.get("Successful", ()), *answer.get("SuccessfulNodeLogicalIds", ())]
    yield from (f"{id_}: reboot started" for id_ in started)
    for failed in [*answer.get("Failed", ()), *answer.get("FailedNodeLogicalIds", ())]:
        yield f"{failed.get('NodeId') or failed.get('NodeLogicalId')}: {failed['ErrorCode']}: {failed['Message']}"


def _node_row(described: Mapping[str, Any]) -> tuple[str, ...]:
    group = described["group"]
    if described["slurm_node_type"]:
        group += f" ({described['slurm_node_type']})"
    logical_id = described["logical_id"] or "-"
    return described["instance_id"], logical_id, group, _status(described), _health(described), _note(described)


def _status(described: Mapping[str, Any]) -> str:
    if described["gone"]:
        return "gone"
    for word in ("stuck", "repairing"):
        if described[word]:
            return f"{word} ({described['status']})"
    return "rebooting" if described["rebooting"] else str(described["status"])


def _note(described: Mapping[str, Any]) -> str:
    """Return what the status alone does not tell."""
    if described["replaced_by"]:
        return f"replaced by {described['replaced_by']}"
    return "" if described["gone"] or described["rebooting"] else str(described["message"])


def _health(described: Mapping[str, Any]) -> str:
    return "healthy" if described["healthy"] else "UNHEALTHY"


def _clock(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%H:%M:%S}"
