"""Plays the morning after: what kept nodes from being rebooted is over, and an operator redrives the letters."""

import time

from rich.console import Group, RenderableType
from rich.text import Text

from local.demo.clusters import BUDGET_NODES
from local.demo.marks import MARGIN, heading, say
from local.demo.mode import mode_command, option, set_mode
from local.demo.night import Group as Fates
from local.demo.play import LOOK_SECONDS, Performance, is_open
from local.demo.progress import work
from local.demo.readings import Readings
from local.demo.scenery import nodes_view
from local.demo.stage import BUDGET_SECONDS


def redrive(performance: Performance, before: Readings) -> Readings:
    """End what was in the way, put all letters back on the intake queue, and return what was seen since then."""
    heading(performance.console, "The redrive")
    _free_node(performance)
    _resume(performance)
    _await_budget(performance, before)
    _move_all(performance)
    groups = performance.night.after_redrive(before)
    expected = [one for group in groups for one in group.expected]
    after = performance.wait(
        lambda seen: not is_open(expected, seen.since(before)), lambda seen: _view(groups, seen.since(before))
    )
    return after.since(before)


def _free_node(performance: Performance) -> None:
    busy = performance.night.busy
    performance.stage.set_node(busy, in_use=False)
    say(performance.console, f"The other operation on {busy.instance_id} is over.")


def _resume(performance: Performance) -> None:
    command = mode_command(performance.stage.outputs, "active")
    _show_command(performance, "An operator ends the pause; for letters that come back it is over at once:", command)
    set_mode(performance.stage, command)


def _await_budget(performance: Performance, before: Readings) -> None:
    """Wait until the budget's window has passed since the reboots, by the simulator's own clock."""
    nodes = {one.node for one in performance.night.budget.expected}
    spent_at = max((call.time for call in before.calls if nodes & set(call.started)), default=0.0)
    cluster = performance.stage.clusters.research.name
    free_at = spent_at + BUDGET_SECONDS
    with work(performance.console, "budget") as line:
        while (left := free_at - time.time()) > 0:
            line.detail = f"{cluster}: {BUDGET_NODES} nodes, spent; free again in {left:.0f} s"
            time.sleep(min(left, LOOK_SECONDS))
        line.detail = f"{cluster}: free again, {BUDGET_SECONDS} s after it was spent"


def _move_all(performance: Performance) -> None:
    """Move the letters, and look at neither queue meanwhile: a message that is held is not moved."""
    command = performance.stage.outputs["RedriveCommand"]
    _show_command(performance, "Then the letters get another try:", command)
    source, destination = (option(command, name) for name in ("--source-arn", "--destination-arn"))
    sqs, deadline = performance.stage.aws.client("sqs"), time.monotonic() + performance.patience
    sqs.start_message_move_task(SourceArn=source, DestinationArn=destination)
    while time.monotonic() < deadline:
        if sqs.list_message_move_tasks(SourceArn=source)["Results"][0]["Status"] != "RUNNING":
            return
        time.sleep(LOOK_SECONDS)


def _show_command(performance: Performance, words: str, command: str) -> None:
    say(performance.console, words, "")
    performance.console.print(f"  {command}", soft_wrap=True, markup=False, highlight=False)
    say(performance.console, "")


def _view(groups: tuple[Fates, ...], readings: Readings) -> RenderableType:
    parts: list[RenderableType] = []
    for group in groups:
        parts += [Text(f"{MARGIN}{group.title}:", style="dim"), nodes_view(group.expected, readings)]
    return Group(*parts)
