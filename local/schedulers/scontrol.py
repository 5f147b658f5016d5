"""Answers as Slurm's scontrol does: `show node`, and `update` with the states drain, resume and undrain."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.schedulers import opened

# A node as `update` and `show` know it. `base` is IDLE, MIXED, ALLOCATED or DOWN.
IDLE: dict[str, Any] = {
    "base": "IDLE",
    "drain": False,
    "responds": True,
    "reason": "",
    "reason_at": "",
    "booted_at": "2026-11-01T08:00:00",
}


def now() -> str:
    """Return the time as scontrol writes it with TZ=UTC."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"


def main(file: Path, arguments: list[str]) -> int:
    with opened(file) as state:
        state["calls"].append(" ".join(arguments))
        if state["error"]:
            return _fail(state["error"])
        words = [word for word in arguments if not word.startswith("--")]
        if words[0] == "show":
            return _show(state["nodes"], words[2:])
        fields = dict(word.split("=", 1) for word in words[1:])
        return _update(state["nodes"], fields)


def _show(nodes: dict[str, Any], names: list[str]) -> int:
    for name in names or nodes:
        if name not in nodes:
            print(f"Node {name} not found")
            return 1
        print(_line(name, nodes[name]))
    return 0


def _line(name: str, node: dict[str, Any]) -> str:
    """Write a node as `scontrol --oneliner show node` of release 23.11 does, some fields left out."""
    state = node["base"] + ("+DRAIN" if node["drain"] else "") + ("" if node["responds"] else "+NOT_RESPONDING")
    reason = f" Reason={node['reason']} [root@{node['reason_at']}]" if node["reason"] else ""
    return (
        f"NodeName={name} Arch=x86_64 CoresPerSocket=48 CPUAlloc=0 CPUEfctv=192 CPUTot=192 CPULoad=0.10 "
        f"Gres=gpu:8 NodeAddr={name} NodeHostName={name} Version=23.11.3 RealMemory=2097152 AllocMem=0 Sockets=2 "
        f"Boards=1 State={state} ThreadsPerCore=2 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A Partitions=dev "
        f"BootTime={node['booted_at']} SlurmdStartTime={node['booted_at']} LastBusyTime=2026-11-01T08:00:00 "
        f"ResumeAfterTime=None CfgTRES=cpu=192,mem=2T,billing=192 AllocTRES={reason}"
    )


def _update(nodes: dict[str, Any], fields: dict[str, str]) -> int:
    node, state = nodes.get(fields["nodename"]), fields["state"].lower()
    if node is None:
        return _fail("slurm_update error: Invalid node name specified")
    if state == "drain":
        if not fields.get("reason"):
            return _fail("You must specify a reason when DOWNING or DRAINING a node. Request denied")
        node |= {"drain": True, "reason": fields["reason"], "reason_at": now()}
        return 0
    if state not in ("resume", "undrain") or not (node["drain"] or node["base"] == "DOWN"):
        return _fail("slurm_update error: Invalid node state specified")
    node |= {"drain": False, "reason": "", "reason_at": ""}
    if state == "resume" and node["base"] == "DOWN":
        node["base"] = "IDLE"
    return 0


def _fail(error: str) -> int:
    print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
