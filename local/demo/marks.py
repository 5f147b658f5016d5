"""Defines the signs and forms that all of the demonstration's output shares."""

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

TICK = Text("✓", style="green")
CROSS = Text("✗", style="red")
MARGIN = "    "
_REFRESH_PER_SECOND = 8
_COMMAND_WIDTH = 68


def heading(console: Console, words: str) -> None:
    """Print a line that begins a new part."""
    console.print()
    console.print(Text(words, style="bold underline"))


def say(console: Console, *lines: str, style: str = "") -> None:
    """Print lines folded at the terminal's width, with nothing in them taken for markup."""
    for line in lines:
        console.print(Text(line, style=style))


def say_within(console: Console, line: str, style: str = "dim") -> None:
    """Print a line that belongs to the one above it."""
    folded = textwrap.fill(line, console.width, initial_indent=MARGIN, subsequent_indent=MARGIN)
    console.print(Text(folded, style=style), soft_wrap=True)


def shell(command: str) -> str:
    """Return a command in lines that fit beside a margin, to be copied as they are."""
    first, *options = command.split(" --")
    lines = [first]
    for option in options:
        if len(lines[-1]) + len(option) < _COMMAND_WIDTH:
            lines[-1] += f" --{option}"
        else:
            lines.append(f"--{option}")
    return f" \\\n{MARGIN}    ".join(lines)


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


@contextmanager
def kept_up_to_date(console: Console, view: Callable[[], RenderableType]) -> Iterator[None]:
    """Show something while it changes; without a terminal, only how it is at the end."""
    if not console.is_terminal:
        try:
            yield
        finally:
            console.print(view())
        return
    with Live(get_renderable=view, console=console, refresh_per_second=_REFRESH_PER_SECOND):
        yield
