"""Shows what was read, folded between words at the terminal's width; whatever takes time shows that it runs."""

import re
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from statistics import fmean

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from local.demo.expectations import Expected, Verdict
from local.demo.looking import Email, Readings, is_end
from local.demo.script import Step
from local.observing import DeadLetter, LogLine

_MARGIN = "    "
_TICK, _CROSS, _SPINNER = "✓", "✗", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_REFRESH_PER_SECOND = 8
_ARN_HEAD = re.compile(r"arn:[^:\s]*:[^:\s]*:[^:\s]*:[^:\s]*:")
_MOST_ROWS = 4  # a step with more nodes is shown in sums
_MOST_PROBLEMS = 5  # shown of one claim
_MAIL_LINES = 4  # of a mail that is shown shortened
_LONG = re.compile(r"\S{60,}")  # an ARN in a mail is longer than a narrow terminal
_KINDS = {
    "SageMaker HyperPod Cluster Node Health Event": "node health event",
    "SageMaker HyperPod Cluster Event": "cluster event",
    "CloudWatch Alarm State Change": "alarm state change",
    "CloudWatch Alarm Contributor State Change": "contributor state change",
}
Row = tuple[str, str]  # a style, and a line whose indent its continuations keep


@dataclass(slots=True)
class Work:
    """Describes one piece of work: its label, and what is to be said of it so far."""

    label: str
    detail: str = ""
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    failed: bool = False

    def row(self) -> Row:
        seconds = (self.ended or time.monotonic()) - self.started
        mark = _running() if self.ended is None else _CROSS if self.failed else _TICK
        return (
            "",
            f" {mark} {self.label:<14} {textwrap.shorten(self.detail, 48, placeholder='…'):<48} {seconds:>5.1f} s",
        )


@dataclass(frozen=True, slots=True)
class Screen:
    """Prints lines to a console."""

    console: Console

    def heading(self, words: str) -> None:
        self.console.print()
        self.say(words, style="bold underline")

    def say(self, *lines: str, style: str = "") -> None:
        self.show([(style, line) for line in lines])

    def show(self, rows: Sequence[Row]) -> None:
        self.console.print(self._folded(rows), soft_wrap=True)

    def _folded(self, rows: Sequence[Row]) -> Group:
        return Group(*(Text(fold(line, self.console.width), style=style) for style, line in rows))

    @contextmanager
    def live(self, view: Callable[[bool], Sequence[Row]]) -> Iterator[None]:
        """Show what changes; without a terminal, only how it is at the end. `view` is told if it goes on."""
        live = Live(
            console=self.console,
            get_renderable=lambda: self._folded(view(True)),
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
        )
        try:
            if self.console.is_terminal:
                with live:
                    live.refresh()
                    yield
            else:
                yield
        finally:
            self.show(view(False))

    @contextmanager
    def work(self, work: Work) -> Iterator[list[Work]]:
        """Show a piece of work while it goes on, with those that are added, and how the last one ended."""
        works = [work]
        if not self.console.is_terminal:
            self.say(f"   {work.label} …")
        with self.live(lambda _: [work.row() for work in works]):
            try:
                yield works
            except BaseException:
                works[-1].failed = True
                raise
            finally:
                works[-1].ended = time.monotonic()

    # -- what was read

    def numbers(self, seen: Readings) -> None:
        """Show events in, nodes rebooted, calls made."""
        recoveries = sum(event.is_recovery for event in seen.events)
        started = [len(call.started) for call in seen.calls if call.started]
        outcomes = Counter(str(line["outcome"]) for line in seen.reports).most_common()
        self.heading("The night in numbers")
        self.say(
            f"{len(seen.events) - recoveries:>4} events in, and {recoveries} more that report a node healthy again",
            f"{sum(started):>4} nodes rebooted in {len(started)} calls ({' + '.join(map(str, started))} nodes)",
            f"{len(seen.calls) - len(started):>4} more calls, which rebooted nothing",
            f"{len(seen.reports):>4} outcomes of reports: "
            + ", ".join(f"{number} {word}" for word, number in outcomes),
        )
        self.recoveries(seen)
        self.say(f"{len(seen.letters):>4} messages in the DLQ, {len(seen.told)} nodes named on the topic")

    def recoveries(self, seen: Readings) -> None:
        """Show how long nodes took to be well again, by the function's own metric."""
        seconds = seen.recoveries or [0]
        times = f"{fmean(seconds):.1f} s on average, {max(seconds):.0f} s at most"
        self.say(f"{len(seen.recoveries):>4} recovered, after {times} (metric TimeToRecovery)")

    def mails(self, mails: Sequence[Email]) -> None:
        """Show how each mail begins."""
        self.heading(f"E-mail: {counted(len(mails), 'message')}, shortened")
        for mail in mails:
            lines = [line for line in mail.text.splitlines() if line.strip()]
            begins = [("dim", f"{_MARGIN}{_short(line)}") for line in lines[:_MAIL_LINES]]
            more = f"{_MARGIN}… {len(lines) - _MAIL_LINES} more lines"
            self.show([("bold", f"Subject: {mail.subject}"), *begins, ("dim", more)])

    def mail(self, mail: Email) -> None:
        """Show a mail in full, but for words that no terminal has room for."""
        self.heading(f"In full: the mail to {mail.to}")
        self.say(f"Subject: {mail.subject}", style="bold")
        self.say("", *map(_short, _reflowed(mail.text.rstrip("\n").splitlines())))

    def letters(self, letters: Sequence[DeadLetter]) -> None:
        """Show the letters, which stay where they are; alike ones once."""
        self.heading(f"In the dead-letter queue (DLQ): {counted(len(letters), 'message')}")
        for (reason, retryable), alike in groupby(letters, lambda letter: (letter.reason, letter.retryable)):
            nodes = [letter.node or "(no node)" for letter in alike]
            worth = "worth another try" if retryable else "another try will not help by itself"
            more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
            said = textwrap.shorten(reason.message, 200, placeholder=" …")
            self.show([("bold", f"{nodes[0]}{more}  {reason.code}"), ("dim", f"{_MARGIN}{said}; {worth}")])

    def verdicts(self, verdicts: Sequence[Verdict]) -> bool:
        """Show each claim with its tick or cross; return whether all of them hold."""
        self.heading("Held against what was read")
        for verdict in verdicts:
            failed, problems = bool(verdict.problems), verdict.problems
            more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
            shown = [("red", f"{_MARGIN}{problem}") for problem in [*problems[:_MOST_PROBLEMS], *more]]
            self.show([("red" if failed else "green", f" {_CROSS if failed else _TICK} {verdict.claim}"), *shown])
        return not any(verdict.problems for verdict in verdicts)


def fold(line: str, width: int) -> str:
    """Break a line between words, and nowhere else; what goes on keeps its indent."""
    return textwrap.fill(line, width, subsequent_indent=_indent(line), break_long_words=False, break_on_hyphens=False)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _reflowed(lines: Sequence[str]) -> list[str]:
    """Join the lines that were folded at the width of the text, so that they can be folded at another.

    Paragraphs are indented: headings, as long as they are, are at the margin. A command's line that ends in a
    backslash is no folded one.
    """
    widths: Counter[str] = Counter()
    for line in lines:
        if not _LONG.search(line):
            widths[_indent(line)] = max(widths[_indent(line)], len(line))
    joined: list[str] = []
    for before, line in pairwise(["", *lines]):
        word, indent = next(iter(line.split()), ""), _indent(line)
        folded = indent and _indent(before) == indent and not before.endswith("\\")
        if folded and len(f"{before} {word}") > widths[indent]:
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line)
    return joined


def _short(line: str) -> str:
    """Shorten words that are longer than a narrow terminal in their middle."""
    return _LONG.sub(lambda word: f"{word[0][:38]}…{word[0][-20:]}", line)


def _running() -> str:
    return _SPINNER[int(time.monotonic() * _REFRESH_PER_SECOND) % len(_SPINNER)]


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def shell(command: str) -> list[str]:
    """Return a command with an option in each line, to be copied as it is."""
    first, *options = re.split(" (?=--|-c )", command)
    lines = [f"{_MARGIN}$ {first}", *(f"{_MARGIN}    {option}" for option in options)]
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def scene_rows(numbered: Sequence[tuple[int, Step]], seen: Readings, *, runs: bool) -> list[Row]:
    """Return the rows of all steps of a scene."""
    return [row for number, step in numbered for row in _step_rows(number, step, seen, runs=runs)]


def _step_rows(number: int, step: Step, seen: Readings, *, runs: bool) -> Iterator[Row]:
    mark = _TICK if not step.problems(seen) else _running() if runs else _CROSS
    yield "bold", f"{number:>3} {mark} {step.title}"
    if step.command:
        yield from (("", line) for line in shell(step.command))
    events = seen.events_of(*step.names)
    if events or runs:
        kinds = Counter(_KINDS.get(event.kind, event.kind) for event in events)
        yield "dim", f"{_MARGIN}in: {', '.join(counted(n, kind) for kind, n in kinds.items()) or 'nothing seen yet'}"
    if len(step.expected) > _MOST_ROWS:
        yield from _sum_rows(step.expected, seen)
    else:
        for one in step.expected:
            yield from _node_rows(one, seen)
    if step.tallied:
        outcomes = Counter(line["outcome"] for line in seen.reports_of(events)).most_common()
        yield "dim", f"{_MARGIN}outcomes: {', '.join(f'{n} {outcome}' for outcome, n in outcomes) or 'none yet'}"


def _sum_rows(expected: Sequence[Expected], seen: Readings) -> Iterator[Row]:
    nodes = [one.node for one in expected]
    sizes = [size for call in seen.calls if (size := len({*nodes} & {*call.started}))]
    well = sum(node in seen.well for node in nodes if seen.started(node))
    calls = f"{counted(len(sizes), 'call')} ({' + '.join(map(str, sizes))})"
    yield "green", f"{_MARGIN}{len(nodes)} nodes: {sum(sizes)} rebooted in {calls}, {well} healthy again"
    letters = [letter for letter in seen.letters if letter.node in nodes]
    for reason, alike in groupby(letters, lambda letter: letter.reason):
        refused = list(alike)
        where = _where(str(refused[0].node), seen)
        yield "yellow", f"{_MARGIN}{len(refused)} {refused[0].kind}: {reason.code}{where}"
        yield "dim", f"{_MARGIN}  {reason.message}"


def _node_rows(one: Expected, seen: Readings) -> Iterator[Row]:
    node, lines = one.node, seen.story_of(one.node)
    end = next((line for line in lines if is_end(line)), None)
    no = next((line for line in lines if (line["outcome"] or line["state"]) in ("refused", "deferred")), None)
    started, answer = seen.started(node), seen.answer(node)
    if end and (len(one.fates[0].words) > 2 or end["state"] != "recovered" or not started):  # noqa: PLR2004  # reboot, end
        yield from _story_rows(node, lines, end, seen)
    elif started:
        events = seen.events_of(node)
        after = f" {max(0.0, started[-1].time - events[0].time):.1f} s later" if events else ""
        yield "green", f"{_MARGIN}{node}  reboot started{after}{', healthy again' if node in seen.well else ''}"
    elif answer:
        yield "yellow", f"{_MARGIN}{node}  {answer.code}{_where(node, seen)}"
    elif no and no["code"]:
        yield "yellow", f"{_MARGIN}{node}  refused: {no['code']}{_where(node, seen)}"
    elif no:
        yield "cyan", f"{_MARGIN}{node}  {no['outcome']}: {_ARN_HEAD.sub('', no['reason'] or '')}"
    else:
        yield "dim", f"{_MARGIN}{node}  waiting"


def _story_rows(node: str, lines: Sequence[LogLine], end: LogLine, seen: Readings) -> Iterator[Row]:
    """Tell an incident to its end, and why it ended so."""
    told = [
        (state, len(list(alike))) for state, alike in groupby(_state(line) for line in lines if not line["outcome"])
    ]
    words = " → ".join(f"{state} x{times}" if times > 1 else state for state, times in told)
    code = f": {end['code']}{_where(node, seen)}" if end["code"] else ""
    yield "yellow" if code else "green", f"{_MARGIN}{node}  {words}{code}"
    yield "dim", f"{_MARGIN}  {end['reason']}"


def _state(line: LogLine) -> str:
    """Return the state of a line. A guard's no to another reboot changes the note of an incident, not its state."""
    again = (line["reason"] or "").startswith("not rebooted again: ")
    return (
        f"not rebooted again ({line['code']})" if again and not is_end(line) else str(line["outcome"] or line["state"])
    )


def _where(node: str, seen: Readings) -> str:
    places = [place for place, found in (("DLQ", seen.letters_of(node)), ("topic", seen.told_of(node))) if found]
    places += ["in 15 minutes the DLQ"] if seen.delayed and "DLQ" not in places else []
    return f" → {' and '.join(places)}" if places else ""
