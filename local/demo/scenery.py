"""Shows a step of the night while it goes on: its nodes, and what was seen of each so far. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from local.demo.checks import Expected, Fate
from local.demo.marks import MARGIN, counted, shell
from local.demo.readings import DEFERRED, REFUSED, Letter, LogLine, Readings
from local.demo.step import Step

_ARN_HEAD = re.compile(r"arn:[^:\s]*:[^:\s]*:[^:\s]*:[^:\s]*:")
_MOST_ROWS = 4  # a step with more nodes is shown in sums
_KINDS = {
    "SageMaker HyperPod Cluster Node Health Event": "node health event",
    "SageMaker HyperPod Cluster Event": "cluster event",
    "CloudWatch Alarm State Change": "alarm state change",
    "CloudWatch Alarm Contributor State Change": "contributor state change",
}


def scene_view(numbered: Sequence[tuple[int, Step]], readings: Readings) -> Group:
    """Return the view of all steps of a scene."""
    return Group(*(_step_view(number, step, readings) for number, step in numbered))


def _step_view(number: int, step: Step, readings: Readings) -> Group:
    head = Text.assemble((f"{number:>3} ", "cyan"), (step.title, "bold"))
    command = [Text(f"{MARGIN}$ {shell(step.command)}")] if step.command else []
    came_in = Text(f"{MARGIN}in: {_came_in(step, readings)}", style="dim")
    tally = [Text(f"{MARGIN}outcomes: {_tally(step, readings)}", style="dim")] if step.tallied else []
    return Group(head, *command, came_in, nodes_view(step.expected, readings), *tally)


def nodes_view(expected: Sequence[Expected], readings: Readings) -> RenderableType:
    """Return a line for each node with what became of it, or a few for all of them."""
    if len(expected) > _MOST_ROWS:
        return _rows((f"{len(expected)} nodes", Text("\n").join(_in_sum(expected, readings))))
    return _rows(*((one.node, _what_became(one, readings)) for one in expected))


def _rows(*rows: tuple[str, Text]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for node, fate in rows:
        table.add_row(node, fate)
    return Padding(table, (0, 0, 0, len(MARGIN)), expand=False)


def _came_in(step: Step, readings: Readings) -> str:
    kinds = [_KINDS.get(event.detail_type, event.detail_type) for event in readings.events_of(*step.names)]
    return ", ".join(counted(number, kind) for kind, number in Counter(kinds).items()) or "nothing seen yet"


def _tally(step: Step, readings: Readings) -> str:
    outcomes = Counter(line.outcome for line in readings.outcomes_of(readings.events_of(*step.names)))
    return ", ".join(f"{number} {outcome}" for outcome, number in outcomes.most_common()) or "none yet"


def _in_sum(expected: Sequence[Expected], readings: Readings) -> list[Text]:
    nodes = {one.node for one in expected}
    sizes = [len(nodes & set(call.started)) for call in readings.calls if nodes & set(call.started)]
    letters = [letter for letter in readings.letters if letter.node in nodes]
    if not sizes and not letters:
        return [Text("waiting", style="dim")]
    well = sum(one.instance in readings.well for one in expected if readings.started(one.node))
    calls = "1 call" if len(sizes) == 1 else f"{len(sizes)} calls ({' + '.join(map(str, sizes))})"
    rebooted = Text(f"{sum(sizes)} rebooted in {calls}, {well} healthy again", style="green")
    refused = [one for one in expected if readings.letters_of(one.node)]
    return [rebooted, *(_sum_of_letters(refused, letters, readings) if refused else [])]


def _sum_of_letters(refused: Sequence[Expected], letters: Sequence[Letter], readings: Readings) -> list[Text]:
    codes = ", ".join(dict.fromkeys(letter.refusal.code for letter in letters))
    reasons = dict.fromkeys(letter.refusal.message for letter in letters)
    return [
        Text(f"{len(refused)} {letters[0].kind}: {codes}{_where(refused[0], readings)}", style="yellow"),
        *(Text(reason, style="dim") for reason in reasons),
    ]


def _story(one: Expected, readings: Readings) -> Text:
    """Return what the log tells of an incident that is followed, to its end and why it ended so."""
    lines = readings.story_of(one.node)
    told = [(state, len(list(alike))) for state, alike in groupby(map(_state, lines))]
    words = " → ".join(f"{state} x{times}" if times > 1 else state for state, times in told) or "waiting"
    end = next((line for line in lines if line.is_end), None)
    if end is None:
        return Text(words, style="dim")
    code = f": {end.code}{_where(one, readings)}" if end.code else ""
    return Text.assemble((words + code, "yellow" if end.code else "green"), "\n", (end.reason, "dim"))


def _state(line: LogLine) -> str:
    """Return the state of a line. A guard's no to another reboot changes the note of an incident, not its state."""
    again = line.reason.startswith("not rebooted again: ")
    return f"not rebooted again ({line.code})" if again and not line.is_end else str(line.state)


def _what_became(one: Expected, readings: Readings) -> Text:
    if one.end:
        return _story(one, readings)
    started, refusal = readings.started(one.node), readings.refusal(one.node)
    if started:
        after = _seconds_after(one, readings, started[-1].time)
        end = ", healthy again" if one.instance in readings.well else ""
        return Text(f"reboot started{after}{end}", style="green")
    if refusal:
        return Text(f"{refusal.code}{_where(one, readings)}", style="yellow")
    lines = readings.outcomes_of_node(one.node)
    line = next((line for line in lines if line.outcome in (DEFERRED, REFUSED)), None)
    if line is None:
        return Text("waiting", style="dim")
    if line.outcome == REFUSED:
        return Text(f"refused: {line.code}{_where(one, readings)}", style="yellow")
    return Text(f"{line.outcome}: {_ARN_HEAD.sub('', line.reason)}", style="cyan")


def _seconds_after(one: Expected, readings: Readings, time: float) -> str:
    events = readings.events_of(one.node)
    return f" {max(0.0, time - events[0].time):.1f} s later" if events else ""


def _where(one: Expected, readings: Readings) -> str:
    seen = {"DLQ": readings.letters_of(one.node), "topic": readings.told_of(one.node)}
    places = [place for place, messages in seen.items() if messages]
    again = one.fate in (Fate.REFUSED_AGAIN, Fate.FAILED_AGAIN)
    places += ["in 15 minutes the DLQ"] if again and readings.delayed else []
    return f" → {' and '.join(places)}" if places else ""
