"""An OpsCenter in memory behind a real client of botocore, which checks each call and makes the errors."""

import itertools
import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import boto3


@dataclass
class OpsCenter:
    """Deduplicates as documented: among OpsItems that are open. With `searches` off, the search finds nothing yet."""

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    searches: bool = True
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def client(self) -> Any:
        client: Any = boto3.client(
            "ssm", region_name="us-west-2", aws_access_key_id="test", aws_secret_access_key="test"
        )
        client.meta.events.register("before-call.ssm", self._call)
        return client

    def only(self) -> dict[str, Any]:
        (item,) = self.items.values()
        return item

    def _call(self, model: Any, params: Any, **_: Any) -> tuple[SimpleNamespace, dict[str, Any]]:
        self.calls.append(model.name)
        answer = getattr(self, f"_{model.name}")(json.loads(params["body"]))
        return SimpleNamespace(status_code=400 if "Error" in answer else 200), answer

    def _CreateOpsItem(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the operation's name
        wanted = asked["OperationalData"]["/aws/dedup"]
        assert wanted["Type"] == "SearchableString"
        assert json.loads(wanted["Value"]).keys() == {"dedupString"}
        for item in self.items.values():
            if item["Status"] in ("Open", "InProgress") and item["OperationalData"]["/aws/dedup"] == wanted:
                error = {"Code": "OpsItemAlreadyExistsException", "Message": "exists"}
                return {"Error": error, "OpsItemId": item["OpsItemId"]}
        item_id = f"oi-{next(self._numbers):012x}"
        self.items[item_id] = {**asked, "OpsItemId": item_id, "Status": "Open"}
        return {"OpsItemId": item_id}

    def _DescribeOpsItems(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the operation's name
        (where,) = asked["OpsItemFilters"]
        assert (where["Key"], where["Operator"]) == ("OperationalData", "Equal")
        pair = json.loads(where["Values"][0])
        data = {"Value": pair["value"], "Type": "SearchableString"}
        found = [item for item in self.items.values() if item["OperationalData"].get(pair["key"]) == data]
        return {"OpsItemSummaries": [{"OpsItemId": item["OpsItemId"]} for item in found if self.searches]}

    def _GetOpsItem(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the operation's name
        return {"OpsItem": self.items[asked["OpsItemId"]]}

    def _UpdateOpsItem(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the operation's name
        item = self.items[asked["OpsItemId"]]
        data = item["OperationalData"] | asked.get("OperationalData", {})
        item |= asked | {"OperationalData": data}
        return {}
