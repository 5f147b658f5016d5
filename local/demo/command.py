"""Runs `python -m local demo`; its exit status: 0 all as it should be, 1 not so, 2 wrong usage, 130 Ctrl-C."""

import argparse
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from local.aws import LocalAws, LocalAwsError
from local.demo.captured import BadCaptureError, read_capture
from local.demo.marks import say
from local.demo.replay import replay
from local.demo.show import show
from local.deploy import DeployFailed

PATIENCE_SECONDS = 45.0
_INTERRUPTED = 130

# Changes the deployed stack, for a test that sees that the demonstration notices.
Saboteur = Callable[[LocalAws, Mapping[str, str]], None]


def main(
    arguments: list[str],
    *,
    saboteur: Saboteur | None = None,
    patience: float = PATIENCE_SECONDS,
    console: Console | None = None,
) -> int:
    """Play the night, or one captured event, and return the exit status."""
    parsed = _parser().parse_args(arguments)
    console = console or Console(highlight=False, emoji=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if parsed.event:
            capture = read_capture(parsed.event)
            held = replay(console, capture, patience)
        else:
            held = show(console, saboteur, patience)
    except BadCaptureError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"demo: {error}", markup=False)
        return 2
    except (LocalAwsError, DeployFailed) as error:
        say(console, f"demo: {error}", style="red")
        return 1
    except KeyboardInterrupt:
        say(console, "Interrupted; nothing is left running.")
        return _INTERRUPTED
    return 0 if held else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local demo", description="The main job, on a local AWS of its own")
    parser.add_argument("--event", type=Path, metavar="FILE", help="play one captured event instead, shifted to now")
    return parser
