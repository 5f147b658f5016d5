"""Reads from a deployed stack what happened in a period, and writes the page."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from smoke.stack import Stack
from tool.errors import ToolError
from tool.ledger import Reader
from tool.report.page import page
from tool.report.view import Period, report, spending_clusters


def gather(stack: Stack, cluster: str | None, *, since: timedelta, now: datetime) -> dict[str, Any]:
    """Return what happened to all nodes, or to a cluster's, in the time until now."""
    reader, period = Reader(stack), Period(now - since, now)
    records = [each for each in reader.all() if cluster in (None, each.key.cluster)]
    limits = {name: reader.limit(name) for name in spending_clusters(records, stack.settings, period)}
    view = report(records, limits, settings=stack.settings, period=period)
    return {"stack": stack.name, "region": stack.region, "cluster": cluster, **view}


def write_page(view: dict[str, Any], file: Path) -> None:
    """Write the page to a file. Raises ToolError where that cannot be written."""
    try:
        file.write_text(page(view), encoding="utf-8")
    except OSError as error:
        raise ToolError(f"{file} cannot be written: {error.strerror}") from None
