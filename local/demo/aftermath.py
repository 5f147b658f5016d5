"""Follows nodes after the night, with looks that come after seconds instead of a quarter of an hour."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from local.demo.checks import Verdict, problems, strangers, unanswered
from local.demo.endings import ENDINGS, Tale, plan_endings, scenes_of, update_command
from local.demo.marks import heading, say, shell
from local.demo.play import Performance
from local.demo.readings import RECOVERED, Readings
from local.demo.report import show_mail, show_recoveries
from local.demo.setup import update_stack


def follow_nodes(performance: Performance) -> list[Verdict]:
    """Update the stack, play the endings, show them, and return the claims about them."""
    console, stage, tales = performance.console, performance.stage, plan_endings(performance.stage.clusters)
    heading(console, "Do they come back?")
    say(console, "So that no one waits for 45 minutes, the looks are made to come soon, and retries are allowed:", "")
    console.print(f"  $ {shell(update_command(ENDINGS))}", soft_wrap=True, markup=False, highlight=False)
    say(console, "")
    update_stack(console, stage.aws, ENDINGS)
    before = performance.watch.look()
    # The longest tale takes a cooldown and a time-out, besides what everything takes.
    performance.patience *= 2
    now = performance.play(scenes_of(tales), first=len(performance.night.steps) + 1, after=before)
    seen = replace(now, letters=[letter for letter in now.letters if letter not in before.letters])
    _show_ends(console, tales, seen)
    _show_mails(console, tales, seen)
    return judge_endings(tales, seen)


def judge_endings(tales: Sequence[Tale], seen: Readings) -> list[Verdict]:
    """Return the claims about how incidents ended; `seen` has only what was seen since the nodes fell ill."""
    expected = [tale.expected for tale in tales]
    return [
        *(Verdict(f"afterwards: {tale.claim}", tuple(problems(tale.step.expected, seen))) for tale in tales),
        Verdict("the metric TimeToRecovery has a value for each that recovered", tuple(_not_measured(seen))),
        Verdict(
            "each event came to exactly one outcome, and nothing happened to any other node",
            (*unanswered(seen), *strangers(expected, seen)),
        ),
    ]


def _not_measured(seen: Readings) -> list[str]:
    recovered = sum(line.state == RECOVERED for line in seen.log)
    values = len(seen.recoveries)
    return [] if values == recovered else [f"{values} values for {recovered} nodes that recovered"]


def _show_ends(console: Console, tales: Sequence[Tale], seen: Readings) -> None:
    heading(console, "How they ended")
    table = Table.grid(padding=(0, 2))
    for tale in tales:
        ends = [str(line.state) for line in seen.ends_of(tale.expected.node)]
        table.add_row(f"  {tale.expected.node}", " and ".join(ends) or "not known", tale.step.title)
    console.print(table)
    show_recoveries(console, seen)


def _show_mails(console: Console, tales: Sequence[Tale], seen: Readings) -> None:
    """Show in full the last mail about each node that was rebooted and reported: it tells how that ended."""
    nodes = [tale.expected.node for tale in tales if tale.expected.may_reboot and tale.expected.may_be_reported]
    mails = [[mail for mail in seen.mails if node in mail.text][-1:] for node in nodes]
    last = [mail for one in mails for mail in one]
    show_mail(console, last)
    others = [mail for mail in seen.mails if mail not in last]
    say(console, "", *(f"Another mail to {mail.to}: {mail.subject}" for mail in others))
