"""`python -m local.chaos`: random complaints, cures, duplicates and faults, and then what does not hold."""

import argparse
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from local.aws import LocalAws
from local.chaos.acts import plan
from local.chaos.performer import Performer
from local.chaos.verdict import Findings, Limits, violations
from local.deploy import deploy
from local.interrupts import INTERRUPTED, interruptible
from local.observing import ENDS

Say = Callable[[str], object]
LIMITS = Limits(
    cooldown=10.0, max_reboots_per_node=3, budget_percent=30, budget_min_nodes=2, budget_window=15.0
)  # fmt: skip
CONTEXT = {
    "clusters": "ml-*",
    "batch_window": "1s",
    "burst_window": "5s",
    "cooldown": f"{LIMITS.cooldown:.0f}s",
    "max_reboots_per_node": str(LIMITS.max_reboots_per_node),
    "budget_percent": str(LIMITS.budget_percent),
    "budget_min_nodes": str(LIMITS.budget_min_nodes),
    "budget_window": f"{LIMITS.budget_window:.0f}s",
    "verify_after": "3s",
    "healthy_for": "1s",
    "automatic_grace": "2s",
    "verify_timeout": "10s",
    "repair_timeout": "15s",
    "retry_attempts": "1",
    "retry_delay": "2s",
}
# What happened last is still followed up while faults happen.
_LINGER_SECONDS = 12.0
_LOOK_SECONDS = 1.0
# A request whose node's group is not known comes again after 30, 60, 90 and 120 s before it has its outcome.
PATIENCE_SECONDS = 420.0
# An incident that waits for later than that is left waiting.
_SOON_SECONDS = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once and print the verdict; the exit status is 1 when something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m local.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10_000), help="the same seed, the same acts")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long things happen")
    parser.add_argument("--rate", type=float, default=0.05, help="how many of the function's calls meet a fault")
    parser.add_argument(
        "--patience", type=float, default=PATIENCE_SECONDS, help="how long to wait until nothing is due any more"
    )
    given = parser.parse_args(arguments)
    say = partial(print, flush=True)
    try:
        with interruptible():
            return 1 if run(given.seed, given.seconds, given.rate, patience=given.patience, say=say) else 0
    except KeyboardInterrupt:
        say("Interrupted; nothing is left running.")
        return INTERRUPTED


def run(seed: int, seconds: float, rate: float, *, patience: float = PATIENCE_SECONDS, say: Say) -> list[str]:
    """Deploy, let things happen, wait until nothing is due, and return what does not hold."""
    say(f"chaos seed {seed}: {seconds:g} s, {rate:.0%} of the function's calls meet a fault")
    with LocalAws() as aws:
        outputs = deploy(aws, context={f"remediation.{key}": value for key, value in CONTEXT.items()})
        performer = Performer(aws, outputs)
        aws.chaos(function=outputs["FunctionName"], seed=seed, rate=rate)
        _play(performer, seed, seconds)
        time.sleep(_LINGER_SECONDS)
        faults = aws.end_chaos()
        _drain(performer, patience)
        aws.sweep_every(None)
        seen = performer.evidence(LIMITS)
    found = violations(seen)
    for line in (*_summary(seen, faults), *(f"BROKEN: {violation}" for violation in found)):
        say(line)
    return found


def _play(performer: Performer, seed: int, seconds: float) -> None:
    started = time.monotonic()
    for act in plan(seed, seconds, performer.places):
        time.sleep(max(0.0, started + act.at - time.monotonic()))
        performer.perform(act)


def _drain(performer: Performer, patience: float) -> None:
    """Wait until the intake queue is empty and the ledger waits for nothing that comes soon."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        soon = time.time() + _SOON_SECONDS
        if not any(performer.observer.queued().values()) and not any(
            item.due and item.due < soon for item in performer.observer.items()
        ):
            return


def _summary(seen: Findings, faults: dict[str, int]) -> Iterator[str]:
    outcomes = Counter(line["outcome"] for line in seen.reports)
    ends = Counter(line["state"] for line in seen.changes if line["state"] in ENDS)
    yield f"faults: {_listed(faults)}"
    yield f"messages: {len(seen.sent)}; outcomes: {_listed(outcomes)}"
    yield f"reboots: {len(seen.reboots)}; incidents: {_listed(ends)}, {_waiting(seen)} still waiting"
    yield f"letters: {len(seen.letters)}, topic entries: {len(seen.told)}"
    crashed = sum(line.crashed for line in seen.lines)
    if crashed:
        yield f"log lines of invocations that crashed: {crashed}"


def _waiting(seen: Findings) -> int:
    return sum(item.incident is not None for item in seen.items)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items(), key=str)) or "none"


if __name__ == "__main__":
    sys.exit(main())
