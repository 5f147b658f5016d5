"""Answers as kubectl does: `get`, `annotate`, `cordon`, `uncordon` and `drain` of nodes."""

import json
import sys
from pathlib import Path
from typing import Any

from local.schedulers import opened

# A node with its pods; `blocked`: a disruption budget forbids to evict them.
READY: dict[str, Any] = {
    "annotations": {},
    "unschedulable": False,
    "boot_id": "boot-1",
    "ready": True,
    "pods": ["train-0"],
    "blocked": False,
}


def main(file: Path, arguments: list[str]) -> int:
    with opened(file) as state:
        state["calls"].append(" ".join(arguments))
        if state["error"]:
            return _fail(state["error"])
        nodes, (verb, *words) = state["nodes"], [word for word in arguments if not word.startswith("--")]
        if words == ["nodes"]:
            print(json.dumps({"kind": "List", "items": [_item(name, nodes[name]) for name in nodes]}))
            return 0
        name, *rest = words[1:] if words[0] == "node" else words
        if name not in nodes:
            return _fail(f'Error from server (NotFound): nodes "{name}" not found')
        return _act(verb, name, nodes[name], rest)


def _act(verb: str, name: str, node: dict[str, Any], rest: list[str]) -> int:
    if verb == "get":
        print(json.dumps(_item(name, node)))
    elif verb == "annotate":
        key, is_set, value = rest[0].partition("=")
        if is_set:
            node["annotations"][key] = value
        else:
            node["annotations"].pop(key.removesuffix("-"), None)
    else:
        node["unschedulable"] = verb != "uncordon"
        print(f"node/{name} {verb}ed")
    if verb == "drain" and node["pods"] and node["blocked"]:
        why = f'error when evicting pods/"{node["pods"][0]}" -n "default": global timeout reached: 20s'
        return _fail(f'error: unable to drain node "{name}" due to error: {why}, continuing command...')
    if verb == "drain":
        node["pods"] = []
    return 0


def _item(name: str, node: dict[str, Any]) -> dict[str, Any]:
    """Write a node as `--output=json` does, most fields left out."""
    metadata = {"name": name} | ({"annotations": node["annotations"]} if node["annotations"] else {})
    return {
        "kind": "Node",
        "metadata": metadata,
        "spec": {"unschedulable": True} if node["unschedulable"] else {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True" if node["ready"] else "Unknown"}],
            "nodeInfo": {"bootID": node["boot_id"]},
        },
    }


def _fail(error: str) -> int:
    print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
