"""Draws what a command printed as an SVG."""

import io

from rich.console import Console
from rich.text import Text

_GOOD = ["✓", "rebooted", "recovered", "cleared"]


def picture(command: str, output: str) -> str:
    """Return an SVG of a terminal that shows the command and its output."""
    text = Text.assemble((f"$ {command}\n\n", "bold"), output.strip())
    text.highlight_words(_GOOD, "bold green")
    width = max(map(len, text.plain.splitlines()))
    console = Console(record=True, file=io.StringIO(), width=width, highlight=False)
    console.print(text)
    return console.export_svg(title="HyperPod Node Remediation", unique_id="demo")
