"""One delivery of one batch in a process of its own, which may kill itself: `python -m tests.ledger.child`.

Takes {"batch", "kill", "later"} on standard input: a batch as the event source mapping delivers it, the step right
before which the process ends, and the seconds by which its clock is ahead. Its last line says what became of the batch.
"""

import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta

from node_remediation.inbox import messages_of_batch
from node_remediation.steps import Step
from node_remediation.wiring import build


def main() -> None:
    """Handle the batch, or die on the way."""
    order = json.load(sys.stdin)
    steps: list[str] = []

    def on_step(step: Step) -> None:
        steps.append(step.value)
        if step.value == order["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)

    remediator = build(os.environ, on_step=on_step, clock=lambda: datetime.now(UTC) + timedelta(seconds=order["later"]))
    handling = remediator.handle(messages_of_batch(order["batch"]), seconds_left=lambda: 60.0)
    endings = [{"outcome": ending.outcome.value, "code": ending.code} for ending in handling.endings]
    sys.stdout.write(json.dumps({"steps": steps, "endings": endings, "handed_back": handling.handed_back}) + "\n")


if __name__ == "__main__":
    main()
