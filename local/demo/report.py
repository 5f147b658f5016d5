"""Shows the end of the night, as read: numbers, the mail as its reader gets it, the letters, and the verdicts."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from rich.console import Console
from rich.text import Text

from local.demo.checks import Verdict
from local.demo.marks import CROSS, TICK, counted, heading, say, say_within
from local.demo.readings import Letter, Mail, Readings

_MOST_TIMES = 8  # shown one by one
_MOST_PROBLEMS = 5  # shown of one claim
_MOST_CHARACTERS = 200  # shown of a body that names no node


def show_numbers(console: Console, readings: Readings) -> None:
    """Show events in, nodes rebooted, calls made."""
    recoveries = sum(event.is_recovery for event in readings.events)
    started = [len(call.started) for call in readings.calls if call.started]
    others = len(readings.calls) - len(started)
    heading(console, "The night in numbers")
    say(
        console,
        f"{len(readings.events) - recoveries:>4} events in, and {recoveries} more that report a node healthy again",
        f"{sum(started):>4} nodes rebooted in {len(started)} calls ({' + '.join(map(str, started))} nodes)",
        f"{others:>4} more calls, which rebooted nothing",
        f"{len(readings.outcomes):>4} outcomes of reports:",
    )
    say_within(console, _outcomes(readings), style="")
    show_recoveries(console, readings)
    say(
        console,
        f"{len(readings.letters):>4} messages in the DLQ, {len(readings.told)} nodes named on the topic",
        f"{len(readings.mails):>4} e-mail" + ("" if len(readings.mails) == 1 else "s"),
    )


def _outcomes(readings: Readings) -> str:
    counts = Counter(str(line.outcome) for line in readings.outcomes).most_common()
    return ", ".join(f"{number} {outcome}" for outcome, number in counts) or "none"


def show_recoveries(console: Console, readings: Readings) -> None:
    """Show how long nodes took to be well again, by the function's own metric."""
    seconds = sorted(readings.recoveries)
    if not seconds:
        say(console, "   0 values of the metric TimeToRecovery")
        return
    say(
        console,
        f"{len(seconds):>4} recovered, after {fmean(seconds):.1f} s on average (TimeToRecovery){_each(seconds)}",
    )


def _each(seconds: Sequence[float]) -> str:
    if len(seconds) > _MOST_TIMES:
        return f", {seconds[-1]:.0f} s at most"
    return f": {', '.join(f'{value:.0f}' for value in seconds)} s"


def show_mail(console: Console, mails: Sequence[Mail]) -> None:
    """Show each mail in full; lines as long as they are, as in any mail program."""
    for mail in mails:
        heading(console, f"Mail to {mail.to}")
        console.print(Text(f"Subject: {mail.subject}", style="bold"), soft_wrap=True)
        console.print()
        console.print(Text(mail.text.rstrip("\n")), soft_wrap=True)


def show_letters(console: Console, letters: Sequence[Letter]) -> None:
    """Show the letters, which stay where they are."""
    heading(console, f"In the dead-letter queue (DLQ): {counted(len(letters), 'message')}")
    for letter in letters:
        node = letter.node or "(no node)"
        console.print(Text.assemble((node, "bold"), "  ", (letter.refusal.code, "yellow")))
        worth = "worth another try" if letter.retryable else "another try will not help by itself"
        if letter.node is None:
            say_within(console, textwrap.shorten(f"as it came: {letter.refusal.message}", _MOST_CHARACTERS))
            continue
        for line in (letter.refusal.message, f"attempt {letter.attempt}; {worth}"):
            say_within(console, line)


def show_verdicts(console: Console, verdicts: Sequence[Verdict]) -> bool:
    """Show each claim with its tick or cross; return whether all of them hold."""
    heading(console, "Held against what was read")
    for verdict in verdicts:
        console.print(Text.assemble(" ", TICK if verdict.holds else CROSS, " ", verdict.claim))
        shown = verdict.problems[:_MOST_PROBLEMS]
        more = len(verdict.problems) - len(shown)
        for problem in [*shown, *([f"and {more} more"] if more else [])]:
            say_within(console, problem, style="red")
    return all(verdict.holds for verdict in verdicts)
