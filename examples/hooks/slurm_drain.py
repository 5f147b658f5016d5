"""Drains a Slurm node before its reboot is approved, and resumes it once it has rebooted.

Run it where `scontrol` may update nodes: on the cluster's controller, as root or SlurmUser. Slurm's drain lets running
jobs end; it kills none. A node that is not drained in time is not approved: the setting on_no_answer decides.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from proposals import Answer, HookError, Proposal, parser, run, say

# The beginning of the reason that this script gives. A node that is drained for another reason is not its to resume.
MARK = "hyperpod-node-remediation"
# How long after the last moment for an answer a reboot may still come: a fact that could not be looked up is waited
# for as long as max_report_age, by default 60 minutes.
GRACE = timedelta(minutes=75)
_BUSY = {"ALLOCATED", "MIXED", "COMPLETING"}


@dataclass(frozen=True, slots=True)
class SlurmNode:
    """What `scontrol show node` says of a node; the times are UTC, and compare as text."""

    name: str
    state: frozenset[str]
    reason: str
    reason_at: str
    booted_at: str

    @classmethod
    def read(cls, line: str) -> "SlurmNode":
        """Read `State=IDLE+DRAIN` (older releases: `DOWN*+DRAIN`) and `Reason=TEXT [USER@TIME]`."""
        name, state = _find(r"NodeName=(\S+)", line), _find(r"\bState=(\S+)", line)
        words = {"NOT_RESPONDING"} if "*" in state else set()
        words |= {word.rstrip("*~#!%$@^-+") for word in state.split("+")}
        reason = re.search(r"\bReason=(.*?) \[[^\[\]@]*@([\dT:-]+)\]", line)
        why, when = reason.groups() if reason else ("", "")
        return cls(name, frozenset(words), why, when, _find(r"BootTime=(\d[\dT:-]+)", line))

    @property
    def is_drained(self) -> bool:
        return "DRAIN" in self.state and not self.state & _BUSY

    @property
    def has_rebooted(self) -> bool:
        """Tell whether the node has booted since it was drained, and answers."""
        return self.booted_at > self.reason_at and "NOT_RESPONDING" not in self.state


def _find(pattern: str, line: str) -> str:
    found = re.search(pattern, line)
    return found[1] if found else ""


def scontrol(*arguments: str) -> str:
    """Run scontrol, and return what it prints. Raises HookError."""
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_TIME_FORMAT"} | {"TZ": "UTC"}
    try:
        done = subprocess.run(
            ["scontrol", *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HookError(f"scontrol: {error}") from error
    if done.returncode:  # it writes some of its errors to standard output
        raise HookError(f"scontrol {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def show(*name: str) -> list[SlurmNode]:
    """Return the node of this name, or all nodes. Raises HookError if there is none."""
    lines = scontrol("--oneliner", "show", "node", *name).splitlines()
    if nodes := [SlurmNode.read(line) for line in lines if line.startswith("NodeName=")]:
        return nodes
    raise HookError(f"scontrol show node {' '.join(name)}: no node")


def find(proposal: Proposal) -> str:
    """Return the node's name in Slurm, such as ip-10-1-0-16: the first label of its host name. Raises HookError."""
    if name := str(proposal.describe_node().get("PrivateDnsHostname", "")).partition(".")[0]:
        return name
    raise HookError(f"SageMaker gives no host name of {proposal.node_id or proposal.logical_id}")


def decide(proposal: Proposal) -> Answer | None:
    """Drain the node; approve once no job is left on it."""
    name = find(proposal)
    [node] = show(name)
    if "DRAIN" not in node.state:
        reason = f"{MARK} {proposal.incident} until {proposal.expires:%Y-%m-%dT%H:%M:%SZ}"
        scontrol("update", f"nodename={name}", "state=drain", f"reason={reason}")
        say(f"draining: {name}, incident {proposal.incident}")
        [node] = show(name)
    return Answer(approved=True, reason=f"Slurm node {name} is drained") if node.is_drained else None


def resume() -> None:
    """Return the nodes to service that this script drained and that have rebooted, or will not be rebooted any more."""
    for node in show():
        drained = re.fullmatch(rf"{MARK} \S+ until (\S+)", node.reason)
        if not drained or "DRAIN" not in node.state:
            continue
        if node.has_rebooted:
            scontrol("update", f"nodename={node.name}", "state=resume")
            say(f"resumed: {node.name} has rebooted")
        elif datetime.now(UTC) > datetime.fromisoformat(drained[1]) + GRACE:
            scontrol("update", f"nodename={node.name}", "state=undrain")
            say(f"undrained: {node.name} was not rebooted")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser("slurm_drain.py", __doc__, cluster_required=True).parse_args(arguments)
    return run(options, decide, resume)


if __name__ == "__main__":
    sys.exit(main())
