"""Runs `python -m local demo`; its exit status: 0 all as it should be, 1 not so, 2 wrong usage, 130 Ctrl-C."""

import argparse
from pathlib import Path

from rich.console import Console

from local.aws import LocalAwsError
from local.demo.captured import BadCaptureError, read_capture
from local.demo.playing import Saboteur, show
from local.demo.replay import replay
from local.demo.view import Screen
from local.deploy import DeployFailed
from local.interrupts import INTERRUPTED, interruptible

PATIENCE_SECONDS = 45.0


def main(
    arguments: list[str],
    *,
    saboteur: Saboteur | None = None,
    patience: float = PATIENCE_SECONDS,
    console: Console | None = None,
) -> int:
    """Play the night, or one captured event, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local demo", description="The main job, on a local AWS of its own")
    parser.add_argument("--event", type=Path, metavar="FILE", help="play one captured event instead, shifted to now")
    parsed = parser.parse_args(arguments)
    screen = Screen(console or Console(highlight=False, emoji=False))
    try:
        with interruptible():
            if parsed.event:
                return 0 if replay(screen, read_capture(parsed.event), patience) else 1
            return 0 if show(screen, saboteur, patience) else 1
    except BadCaptureError as error:
        Screen(Console(stderr=True, highlight=False, soft_wrap=True, width=10_000)).say(f"demo: {error}")
        return 2
    except (LocalAwsError, DeployFailed) as error:
        screen.say(*f"demo: {error}".splitlines(), style="red")
        return 1
    except KeyboardInterrupt:
        screen.say("Interrupted; nothing is left running.")
        return INTERRUPTED
