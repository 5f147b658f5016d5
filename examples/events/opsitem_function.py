"""Keeps one OpsItem of Systems Manager for each incident: opened, kept up to date, resolved when the incident ends.

An incident whose only event is a quiet end has none. Events come twice and in any order: one that is older than the
OpsItem's, or comes after it was resolved, changes nothing. One invocation at a time, as opsitem.py sees to.
"""

import json
import os
from typing import Any

import boto3

QUIET = {"cleared", "observed", "duplicate"}
OVER = {"Resolved", "Closed"}


def handler(event: dict[str, Any], _context: object) -> None:
    leave_open = set(os.environ["LEAVE_OPEN"].split())
    handle(event["detail"], boto3.client("ssm"), leave_open)


def handle(detail: dict[str, Any], ssm: Any, leave_open: set[str]) -> None:
    """Write an event to its incident's OpsItem, and resolve it at an end that is not one of `leave_open`."""
    if detail["Ended"] and detail["PreviousState"] is None and detail["State"] in QUIET:
        return
    item_id = _find(detail["IncidentId"], ssm) or _create(detail, ssm)
    item = ssm.get_ops_item(OpsItemId=item_id)["OpsItem"]
    if item["Status"] in OVER or _order(detail) < _order(json.loads(item["OperationalData"]["Event"]["Value"])):
        return
    resolved = {"Status": "Resolved"} if detail["Ended"] and detail["State"] not in leave_open else {}
    ssm.update_ops_item(OpsItemId=item_id, **_content(detail), **resolved)


def _find(incident: str, ssm: Any) -> str | None:
    # CreateOpsItem knows duplicates of open OpsItems alone: a late event would open a second one after the first.
    where = {
        "Key": "OperationalData",
        "Values": [json.dumps({"key": "IncidentId", "value": incident})],
        "Operator": "Equal",
    }
    found = ssm.describe_ops_items(OpsItemFilters=[where])["OpsItemSummaries"]
    return found[0]["OpsItemId"] if found else None


def _create(detail: dict[str, Any], ssm: Any) -> str:
    incident = detail["IncidentId"]
    content = _content(detail)
    content["OperationalData"] |= {
        "/aws/dedup": {"Value": json.dumps({"dedupString": incident}), "Type": "SearchableString"},
        "IncidentId": {"Value": incident, "Type": "SearchableString"},
    }
    try:
        created = ssm.create_ops_item(Source="hyperpod.node-remediation", Category="Availability", **content)
    except ssm.exceptions.OpsItemAlreadyExistsException as error:
        # The search lags behind.
        return str(error.response["OpsItemId"])
    return str(created["OpsItemId"])


def _content(detail: dict[str, Any]) -> dict[str, Any]:
    node = detail.get("NodeId") or detail["NodeLogicalId"]
    code = f" ({detail['ErrorCode']})" if "ErrorCode" in detail else ""
    return {
        "Title": f"HyperPod node {node} of {detail['ClusterName']}: {detail['State']}"[:1024],
        "Description": f"{detail['State']}{code}: {detail['Reason']}"[:2048],
        "OperationalData": {"Event": {"Value": json.dumps(detail), "Type": "String"}},
    }


def _order(detail: dict[str, Any]) -> tuple[bool, str]:
    return detail["Ended"], detail["ChangedAt"]
