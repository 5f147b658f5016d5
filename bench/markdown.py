"""Writes tables and numbers as the documents have them. Pure."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

GENERATED = "<!-- Written by `make bench`; edit bench/, not this file. -->"
_WIDTH = 120


def prose(text: str) -> str:
    """Fill the paragraphs and list items of a text; tables and headings stay as they are."""
    return "\n\n".join(map(_filled, text.strip().split("\n\n")))


def _filled(block: str) -> str:
    if block.startswith(("|", "#", "<")):
        return block
    if not block.startswith("- "):
        return _fill(block)
    return "\n".join(_fill(f"- {item}") for item in block.removeprefix("- ").split("\n- "))


def _fill(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    words = " ".join(text.split())
    return textwrap.fill(words, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in GitHub's form."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ranged(values: Iterable[float], digits: int = 0) -> str:
    """Return the median and, in brackets, the range around it. Raises ValueError when there are no values."""
    found = sorted(values)
    if not found:
        raise ValueError("nothing was measured")
    return f"{median(found):,.{digits}f} ({found[0]:,.{digits}f} to {found[-1]:,.{digits}f})"


def listed(counts: Mapping[str, int]) -> str:
    """Return `Operation 3`, the most frequent first."""
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name.partition(':')[2] or name} {count:,}" for name, count in shown)


def clusters_of(count: int) -> str:
    """Return a number of clusters in words."""
    return "one cluster" if count == 1 else f"{count} clusters"
