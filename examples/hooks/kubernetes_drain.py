"""Cordons and drains a Kubernetes node before its reboot is approved, and uncordons it once it has rebooted.

Run it where `kubectl` may drain nodes of the EKS cluster behind the HyperPod cluster. A drain evicts the pods: their
jobs begin again elsewhere, from a checkpoint. A node that is not drained in time, because a disruption budget forbids
it, is not approved: the setting on_no_answer decides.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from proposals import Answer, HookError, Proposal, parser, run, say

# Kept on a node that this script cordoned: its boot ID then, and the last moment for an answer. A node that was
# cordoned before is not its to uncordon.
MARK = "hyperpod-node-remediation/cordoned"
# How long after the last moment for an answer a reboot may still come: a fact that could not be looked up is waited
# for as long as max_report_age, by default 60 minutes.
GRACE = timedelta(minutes=75)
_DRAIN_SECONDS = 20  # of one attempt: what is evicted meanwhile stays evicted, and the next look goes on with the rest


def kubectl(*arguments: str) -> str:
    """Run kubectl, and return what it prints. Raises HookError."""
    try:
        done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HookError(f"kubectl: {error}") from error
    if done.returncode:
        raise HookError(f"kubectl {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def decide(proposal: Proposal) -> Answer | None:
    """Cordon and drain the node; approve once it is drained."""
    name = f"hyperpod-{proposal.node_id or proposal.describe_node()['InstanceId']}"
    node = json.loads(kubectl("get", "node", name, "--output=json"))
    if not node["spec"].get("unschedulable"):
        mark = f"{MARK}={_boot_id(node)} {proposal.expires:%Y-%m-%dT%H:%M:%SZ}"
        kubectl("annotate", "node", name, "--overwrite", mark)
        kubectl("cordon", name)
        say(f"draining: {name}, incident {proposal.incident}")
    kubectl("drain", name, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={_DRAIN_SECONDS}s")
    return Answer(approved=True, reason=f"Kubernetes node {name} is drained")


def uncordon() -> None:
    """Uncordon the nodes that this script cordoned and that have rebooted, or will not be rebooted any more."""
    for node in json.loads(kubectl("get", "nodes", "--output=json"))["items"]:
        name, mark = node["metadata"]["name"], node["metadata"].get("annotations", {}).get(MARK)
        if mark is None:
            continue
        boot_id, _, until = mark.partition(" ")
        has_rebooted = _boot_id(node) != boot_id and _is_ready(node)
        if has_rebooted or datetime.now(UTC) > datetime.fromisoformat(until) + GRACE:
            kubectl("uncordon", name)
            kubectl("annotate", "node", name, f"{MARK}-")
            say(f"uncordoned: {name} {'has rebooted' if has_rebooted else 'was not rebooted'}")


def _boot_id(node: Mapping[str, Any]) -> str:
    boot_id: str = node["status"]["nodeInfo"]["bootID"]
    return boot_id


def _is_ready(node: Mapping[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("kubernetes_drain.py", __doc__, cluster_required=True).parse_args(arguments)
    return run(options, decide, uncordon)


if __name__ == "__main__":
    sys.exit(main())
