"""How a step of the night looks while it goes on: its nodes, and what was seen of each so far. Pure."""

import re
from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from local.demo.checks import DEFERRED, Expected
from local.demo.marks import MARGIN, counted
from local.demo.night import Step
from local.demo.readings import Readings

_ARN_HEAD = re.compile(r"arn:[^:\s]*:[^:\s]*:[^:\s]*:[^:\s]*:")
_MOST_ROWS = 4  # a step with more nodes is shown in sums
_KINDS = {
    "SageMaker HyperPod Cluster Node Health Event": "node health event",
    "SageMaker HyperPod Cluster Event": "cluster event",
    "CloudWatch Alarm State Change": "alarm state change",
    "CloudWatch Alarm Contributor State Change": "contributor state change",
}


def scene_view(numbered: Sequence[tuple[int, Step]], readings: Readings) -> Group:
    """All steps of a scene."""
    return Group(*(_step_view(number, step, readings) for number, step in numbered))


def _step_view(number: int, step: Step, readings: Readings) -> Group:
    head = Text.assemble((f"{number:>3} ", "cyan"), (step.title, "bold"))
    came_in = Text(f"{MARGIN}in: {_came_in(step, readings)}", style="dim")
    return Group(head, came_in, nodes_view(step.expected, readings))


def nodes_view(expected: Sequence[Expected], readings: Readings) -> Group:
    """A line for each node with what became of it, or one for all of them."""
    if len(expected) > _MOST_ROWS:
        return Group(_line(f"{len(expected)} nodes", _in_sum(expected, readings)))
    width = max(len(one.node) for one in expected)
    return Group(*(_line(one.node.ljust(width), _what_became(one, readings)) for one in expected))


def _line(node: str, fate: Text) -> Text:
    return Text.assemble(MARGIN, node, "  ", fate)


def _came_in(step: Step, readings: Readings) -> str:
    kinds = [_KINDS.get(event.detail_type, event.detail_type) for event in readings.events_of(*step.names)]
    return ", ".join(counted(number, kind) for kind, number in Counter(kinds).items()) or "nothing seen yet"


def _in_sum(expected: Sequence[Expected], readings: Readings) -> Text:
    nodes = {one.node for one in expected}
    sizes = [len(nodes & set(call.started)) for call in readings.calls if nodes & set(call.started)]
    well = sum(one.instance in readings.well for one in expected if readings.started(one.node))
    if not sizes:
        return Text("waiting", style="dim")
    calls = "1 call" if len(sizes) == 1 else f"{len(sizes)} calls ({' + '.join(map(str, sizes))})"
    return Text(f"{sum(sizes)} rebooted in {calls}, {well} healthy again", style="green")


def _what_became(one: Expected, readings: Readings) -> Text:
    started, refusal = readings.started(one.node), readings.refusal(one.node)
    if started:
        after = _seconds_after(one, readings, started[-1].time)
        end = ", healthy again" if one.instance in readings.well else ""
        return Text(f"reboot started{after}{end}", style="green")
    if refusal:
        return Text(f"{refusal.code}{_where(one, readings)}", style="yellow")
    line = next((line for line in readings.log if line.node == one.node and line.outcome == DEFERRED), None)
    if line is None:
        return Text("waiting", style="dim")
    return Text(f"{line.outcome}: {_ARN_HEAD.sub('', line.reason)}", style="cyan")


def _seconds_after(one: Expected, readings: Readings, time: float) -> str:
    events = readings.events_of(one.node)
    return f" {max(0.0, time - events[0].time):.1f} s later" if events else ""


def _where(one: Expected, readings: Readings) -> str:
    seen = {"DLQ": readings.letters_of(one.node), "topic": readings.told_of(one.node)}
    places = [place for place, messages in seen.items() if messages]
    return f" → {' and '.join(places)}" if places else ""
