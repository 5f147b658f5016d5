"""Reduces botocore's data to the operations that the function calls.

Most of the time that a client takes to be made is spent on parsing its model: SageMaker's has 2.6 MB of JSON.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import Loader

from infra.errors import PackagingError

Data = Mapping[str, Any]
# What botocore reads for every service: partitions and their regions, retries, defaults.
_SHARED = ("partitions", "_retry", "sdk-default-configuration")


def trim_data(data: Path, operations: Mapping[str, Sequence[str]]) -> None:
    """Remove from botocore's data directory what these operations do not need. Raises PackagingError."""
    loader = Loader(extra_search_paths=[str(data)], include_default_search_paths=False)
    try:
        kept = _kept(loader, operations)
    except (DataNotFoundError, UnknownServiceError) as error:
        raise PackagingError(f"function asset: botocore's data: {error}") from error
    shutil.rmtree(data)
    for name, content in kept.items():
        path = data / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Keep the model's order, which is that of a request's fields. The asset's zip file compresses it.
        path.write_text(json.dumps(_undocumented(content), separators=(",", ":")))


def _kept(loader: Loader, operations: Mapping[str, Sequence[str]]) -> dict[str, Data]:
    kept = {name: loader.load_data(name) for name in _SHARED}
    prefixes: set[str] = set()
    for service, names in operations.items():
        version = loader.determine_latest_version(service, "service-2")
        model = cut_model(service, loader.load_service_model(service, "service-2", version), names)
        kept[f"{service}/{version}/service-2"] = model
        kept[f"{service}/{version}/endpoint-rule-set-1"] = loader.load_service_model(
            service, "endpoint-rule-set-1", version
        )
        pages = loader.load_service_model(service, "paginators-1", version)
        kept[f"{service}/{version}/paginators-1"] = {"pagination": _chosen(pages["pagination"], names)}
        prefixes.add(model["metadata"]["endpointPrefix"])
    kept["endpoints"] = _cut_endpoints(loader.load_data("endpoints"), prefixes)
    return kept


def cut_model(service: str, model: Data, names: Sequence[str]) -> Data:
    """Return the model with these operations, their shapes and their exceptions only. Raises PackagingError."""
    if gone := sorted(set(names) - set(model["operations"])):
        raise PackagingError(f"function asset: botocore's model of {service} has no operation {', '.join(gone)}")
    operations = _chosen(model["operations"], names)
    shapes = _chosen(model["shapes"], _reachable(operations, model["shapes"]))
    return {**model, "operations": operations, "shapes": shapes}


def _chosen(entries: Data, names: Sequence[str] | set[str]) -> Data:
    return {name: entry for name, entry in entries.items() if name in names}


def _reachable(operations: Data, shapes: Data) -> set[str]:
    found: set[str] = set()
    left = list(_references(operations))
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _references(shapes[name])
    return found


def _references(node: object) -> Iterator[str]:
    """Yield the names of shapes at any depth. A member that is itself called `shape` is a mapping, not a name."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "shape" and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _cut_endpoints(endpoints: Data, prefixes: set[str]) -> Data:
    """Keep every partition and region, with these services only."""
    partitions = [{**each, "services": _chosen(each["services"], prefixes)} for each in endpoints["partitions"]]
    return {**endpoints, "partitions": partitions}


def _undocumented(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {
            key: _undocumented(value)
            for key, value in node.items()
            if not (key == "documentation" and isinstance(value, str))
        }
    return [_undocumented(value) for value in node] if isinstance(node, list) else node
