"""Tables and numbers as the documents have them. Pure."""

import textwrap
from collections.abc import Sequence

from bench.stats import Summary

GENERATED = "<!-- Written by `make bench`; edit bench/, not this file. -->"


_WIDTH = 120


def prose(text: str) -> str:
    """The text with its paragraphs and list items filled; tables stay as they are."""
    return "\n\n".join(map(_filled, text.strip().split("\n\n")))


def _filled(block: str) -> str:
    if block.startswith(("|", "#")):
        return block
    if not block.startswith("- "):
        return _fill(block)
    return "\n".join(_fill(f"- {item}") for item in block.removeprefix("- ").split("\n- "))


def _fill(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    words = " ".join(text.split())
    return textwrap.fill(words, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ranged(found: Summary, digits: int = 0) -> str:
    """A median and, in brackets, the range around it."""
    return f"{found.median:,.{digits}f} ({found.least:,.{digits}f} to {found.most:,.{digits}f})"


def times(ratio: float) -> str:
    return f"{ratio:.2f}"


def dollars(amount: float) -> str:
    return f"{amount:,.2f}"


def listed(counts: dict[str, int]) -> str:
    """`Operation 3`, the most first."""
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name.partition(':')[2] or name} {count:,}" for name, count in shown)
