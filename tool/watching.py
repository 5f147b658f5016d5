"""Follows the system live: each report's outcome and each change of an incident, and on a terminal what is open."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from smoke.stack import Stack
from tool import text
from tool.ledger import Reader
from tool.logs import Tail
from tool.story import incident_rows
from tool.times import now

_SHOWN = 15
_BEFORE = timedelta(minutes=5)


def watch(stack: Stack, *, every: float, cluster: str | None, as_json: bool) -> None:
    """Show changes until Ctrl-C. On a terminal the last ones are below the open incidents; else a line for each."""
    live = sys.stdout.isatty() and not as_json
    tail = Tail(stack, now() - _BEFORE if live else now())
    follow(
        lambda: [each for each in tail.new() if cluster in (None, each["cluster"])],
        Screen(stack, cluster) if live else Lines(stack, as_json=as_json),
        every=every,
    )


def follow(changes: Callable[[], list[dict[str, Any]]], to: "Screen | Lines", *, every: float) -> None:
    """Give changes to the screen again and again. Ctrl-C ends it, as it should."""
    try:
        with to:
            while True:
                to.show(changes())
                time.sleep(every)
    except KeyboardInterrupt:
        return


class Lines:
    """Prints a line for each change."""

    def __init__(self, stack: Stack, *, as_json: bool) -> None:
        self._stack = stack
        self._as_json = as_json

    def __enter__(self) -> None:
        sys.stderr.write(f"watching {self._stack.name} in {self._stack.region}; Ctrl-C ends\n")

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, changes: list[dict[str, Any]]) -> None:
        for each in changes:
            sys.stdout.write((json.dumps(each) if self._as_json else text.change(each).plain) + "\n")
        sys.stdout.flush()


class Screen:
    """Shows open incidents and the latest changes, in place."""

    def __init__(self, stack: Stack, cluster: str | None) -> None:
        self._reader = Reader(stack)
        self._stack = stack
        self._cluster = cluster
        self._latest: deque[dict[str, Any]] = deque(maxlen=_SHOWN)
        self._live = Live(console=Console(highlight=False, markup=False, emoji=False), auto_refresh=False)

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, changes: list[dict[str, Any]]) -> None:
        self._latest.extend(changes)
        rows = [row for record in self._reader.unfinished() for row in incident_rows(record) if row["open"]]
        rows = [row for row in rows if self._cluster in (None, row["cluster"])]
        title = Text(f"{self._stack.name} in {self._stack.region}  {now():%H:%M:%S} UTC  Ctrl-C ends", style="dim")
        shown = text.incidents({"incidents": rows}) if rows else [Text("no open incident")]
        lines = [title, *shown, Text(), *(text.change(each) for each in self._latest)]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        self._live.update(Group(*lines), refresh=True)
