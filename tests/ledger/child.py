"""One invocation in a process of its own, which may kill itself: `python -m tests.ledger.child`.

Takes {"batch", "kill", "later"} on standard input: a batch as the event source mapping delivers it, or null for a
sweep; the effect right before which the process ends; and the seconds by which its clock is ahead. Its last line has
the effects that it came to, and the outcomes.
"""

import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta

from node_remediation.events import messages_of_batch
from node_remediation.remediate import Effect
from node_remediation.wiring import build


def main() -> None:
    """Handle the batch or the sweep, or die on the way."""
    order = json.load(sys.stdin)
    effects: list[str] = []

    def on_effect(effect: Effect) -> None:
        effects.append(effect.value)
        if effect.value == order["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)

    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=order["later"])

    remediator = build(os.environ, on_effect=on_effect, clock=clock)
    outcomes: list[tuple[str, str | None]] = []
    if order["batch"]:
        handling = remediator.handle(messages_of_batch(order["batch"]), seconds_left=lambda: 60.0)
        outcomes = [(result.outcome.value, result.code) for result in handling.results]
    else:
        remediator.sweep(clock(), seconds_left=lambda: 60.0)
    sys.stdout.write(json.dumps({"effects": effects, "outcomes": outcomes}) + "\n")


if __name__ == "__main__":
    main()
