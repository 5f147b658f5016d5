"""`python -m simulate FILE…`: what the function would decide about captured events, and why."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from node_remediation.settings import Settings, SettingsError
from simulate.captured import read_files
from simulate.playing import Decision, Difference, Played, compare, play

_CDK_JSON = Path(__file__).parent.parent / "cdk.json"
_DESCRIPTION = "What the function would decide about captured events, and why."
_WIDTH = 200  # where the output is no terminal


class _BadSettingsError(Exception):
    """Reports, in one line, settings that cannot be read."""


def main(arguments: Sequence[str] | None = None, program: str = "python -m simulate") -> int:
    """Play the files and print each decision; the exit status is 1 if any file, line or settings could not be read."""
    asked = _asked(arguments, program)
    # Installed without its checkout, the project has no cdk.json; that has the defaults.
    files: list[Path] = asked.settings or ([_CDK_JSON] if _CDK_JSON.exists() else [])
    try:
        settings = [_read_settings(file) for file in files] or [Settings()]
    except _BadSettingsError as error:
        return _complain([str(error)])
    captured, problems = read_files(asked.files)
    played = [play(captured, each, nodes=asked.nodes, automatic=asked.recovery == "Automatic") for each in settings]
    try:
        if asked.json:
            print(json.dumps(_as_json(played), indent=1))
        else:
            _print(played, [str(file) for file in files] or ["the default settings"])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away, such as `head`; what Python would still write on exit goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _complain(problems) if problems else 0


def _asked(arguments: Sequence[str] | None, program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program, description=_DESCRIPTION)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="captured events: JSON lines, or JSON")
    of_settings = "a cdk.json or a JSON object of settings (default: this project's cdk.json); twice: what would change"
    parser.add_argument("--settings", action="append", type=Path, metavar="FILE", help=of_settings)
    parser.add_argument("--nodes", type=_number, default=100, metavar="N", help="nodes of each cluster (default: 100)")
    parser.add_argument("--recovery", choices=("None", "Automatic"), default="None", help="of each cluster")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args(arguments)
    if len(asked.settings or ()) > 2:  # noqa: PLR2004  side by side
        parser.error("argument --settings: at most twice")
    return asked


def _number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"takes a whole number from 1, not {text!r}")
    return int(text)


def _read_settings(file: Path) -> Settings:
    """Read a cdk.json, or an object of settings. Raises _BadSettingsError."""
    try:
        value = json.loads(file.read_bytes())
        if isinstance(value, dict) and isinstance(value.get("context"), dict):
            value = value["context"].get("remediation", {})
        return Settings.from_context(value)
    except OSError as error:
        problem = str(error.strerror)
    except SettingsError as error:
        problem = str(error)
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON: {error}"
    raise _BadSettingsError(f"{file}: {problem}")


def _complain(problems: Sequence[str]) -> int:
    for problem in problems:
        print(f"simulate: {problem}", file=sys.stderr)
    return 1


def _as_json(played: Sequence[Played]) -> dict[str, Any]:
    names = ("reboots", "replacements", "refusals", "ends")
    counts = [{name: getattr(each, name) for name in names} for each in played]
    if len(played) == 1:
        return {"decisions": [asdict(each) for each in played[0].decisions], "counts": counts[0]}
    differences = [[asdict(each) if each else None for each in pair] for pair in compare(*played)]
    return {"differences": differences, "counts": counts}


def _print(played: Sequence[Played], names: Sequence[str]) -> None:
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _WIDTH)
    if len(played) == 1:
        console.print(_table(played[0].decisions))
    else:
        differences = compare(*played)
        console.print(_side_by_side(differences, names) if differences else "Both settings decide the same.")
    for name, each in zip(names, played, strict=True):
        console.print(f"\n{name}")
        console.print(f"  reboots   {each.reboots}")
        if each.replacements:
            console.print(f"  replaced  {each.replacements}")
        for kind, counts in (("refusals", each.refusals), ("ends", each.ends)):
            listed = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
            console.print(f"  {kind:9} {listed or 'none'}")


def _table(decisions: Sequence[Decision]) -> Table:
    rows = [tuple(asdict(each).values()) for each in decisions]
    return _with_rows(("time", "cluster", "node", "source", "outcome", "code", "reason"), rows, folded=1)


def _side_by_side(differences: Sequence[Difference], names: Sequence[str]) -> Table:
    rows = []
    for pair in differences:
        either = next(each for each in pair if each)
        rows.append((either.time, either.cluster, either.node, either.source, *map(_in_words, pair)))
    return _with_rows(("time", "cluster", "node", "source", *names), rows, folded=2)


def _with_rows(names: Sequence[str], rows: Sequence[Sequence[str]], *, folded: int) -> Table:
    """Return a table, in which the last columns have what the others leave. Given widths are faster than found ones."""
    table = Table(box=None, pad_edge=False, expand=True)
    for place, name in enumerate(names):
        fits = place < len(names) - folded
        width = max(map(len, (name, *(row[place] for row in rows)))) if fits else None
        table.add_column(name, overflow="fold", width=width, ratio=None if fits else 1)
    for row in rows:
        table.add_row(*row)
    return table


def _in_words(decision: Decision | None) -> str:
    return f"{decision.outcome} {decision.code}".strip() + f": {decision.reason}" if decision else "-"


if __name__ == "__main__":
    sys.exit(main())
