"""Writes views as text for people: as wide as it needs, in colour on a terminal."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from tool.times import ago, shown

View = Mapping[str, Any]
_STYLES = {
    "active": "green",
    "recovered": "green",
    "cleared": "green",
    "OK": "green",
    "observe": "yellow",
    "observed": "yellow",
    "proposed": "bold yellow",
    "unverified": "yellow",
    "paused": "bold red",
    "failed": "red",
    "refused": "red",
    "not_recovered": "bold red",
    "unreadable": "red",
    "ALARM": "bold red",
}
# What came from events is shown, and must not steer a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_INDENT = "  "
_YES = {True: "yes", False: "no"}


def print_lines(lines: Iterator[Text]) -> None:
    """Print lines as they are: a terminal folds them itself, and a file has them whole."""
    console = Console(highlight=False, markup=False, emoji=False)
    for line in lines:
        console.print(line, soft_wrap=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[Text]:
    """Format columns as wide as their widest cell."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    yield Text(_joined(head, widths), style="bold")
    for row in cells:
        line = Text()
        for cell, width in zip(row, widths, strict=True):
            line.append(cell, style=_STYLES.get(cell, "")).append(" " * (width - len(cell) + 2))
        line.rstrip()
        yield line


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def clean(value: object) -> str:
    """Return a value as text on one line."""
    return "-" if value is None else _CONTROL.sub(" ", str(value))


def status(view: View) -> Iterator[Text]:
    now = datetime.fromisoformat(view["at"])
    open_, outbox, queues = view["open"], view["outbox"], view["queues"]
    counted = ", ".join(f"{count} {state}" for state, count in sorted(open_.items()))
    ringing = [name for name, state in view["alarms"].items() if state == "ALARM"]
    yield Text(f"{view['stack']} in {view['region']}", style="bold")
    yield _row("mode", ", ".join(_mode(each) for each in _modes(view["mode"])))
    yield _row("incidents", f"{sum(open_.values())} open: {counted}" if open_ else "none open")
    yield _row("budgets", "; ".join(map(_budget, view["budgets"])) or "nothing used")
    oldest = f"{outbox['unsent']} to send, the oldest since {ago(outbox['oldest'], now)}"
    yield _row("outbox", oldest if outbox["unsent"] else "everything is sent")
    yield _row("intake", f"{queues['intake']['visible']} waiting, {queues['intake']['in_flight']} being handled")
    yield _row("letters", _letters(queues["dead_letters"]))
    yield _row("last sweep", ago(view["last_sweep"], now) if view["last_sweep"] else "none in 10 minutes")
    yield _row("alarms", f"ringing: {', '.join(ringing)}" if ringing else f"none of {len(view['alarms'])} rings")
    for trouble in view["trouble"]:
        yield Text(f"! {clean(trouble)}", style="bold red")


def _row(name: str, value: str) -> Text:
    return Text(f"{name:<12}", style="dim").append(clean(value), style="not dim")


def _modes(view: View) -> list[View]:
    """Return the entries that hold, after the mode of all other nodes."""
    holding = [each for each in view["entries"] if each["holds"]]
    of_all = [each for each in holding if each["of"] == "*"]
    rest = {"of": "*", "mode": view["default"], "until": None}
    return [*(of_all or [rest]), *(each for each in holding if each["of"] != "*")]


def _mode(entry: View) -> str:
    until = f" until {shown(entry['until'])} UTC" if entry["until"] else ""
    return entry["mode"] + until if entry["of"] == "*" else f"{entry['of']} {entry['mode']}{until}"


def _budget(view: View) -> str:
    of = "?" if view["budget_limit"] is None else view["budget_limit"]
    observed = f" ({view['observed']} observed)" if view.get("observed") else ""
    name = f"{view['cluster']} " if "cluster" in view else ""
    return f"{name}{view['budget_spent']} of {of} nodes in {view['budget_window']}{observed}"


def _letters(counts: View) -> str:
    parts = [f"{counts['visible']} in the dead-letter queue"]
    parts += [f"{counts['delayed']} more within 15 minutes"] if counts["delayed"] else []
    parts += [f"{counts['in_flight']} being looked at or moved"] if counts["in_flight"] else []
    return ", ".join(parts)


def incidents(view: View) -> Iterator[Text]:
    if not view["incidents"]:
        yield Text("no such incident")
        return
    head = ("SINCE (UTC)", "STATE", "CLUSTER", "NODE", "NEXT", "INCIDENT", "LAST")
    yield from table(head, [
        (
            shown(each["changed_at"]),
            each["state"],
            each["cluster"],
            each["node"],
            shown(each["next_at"])[-8:],
            each["incident"],
            clean(each["last"]).removeprefix(f"{each['state']}: "),
        )
        for each in view["incidents"]
    ])  # fmt: skip


def explain(view: View) -> Iterator[Text]:
    now = datetime.fromisoformat(view["at"])
    for number, node in enumerate(view["nodes"]):
        if number:
            yield Text()
        yield from _explain(node, now)


def _explain(node: View, now: datetime) -> Iterator[Text]:
    also = [f"{name} {node[key]}" for key, name in (("logical_id", "logical ID"), ("group", "group")) if node[key]]
    known = f" ({', '.join(also)})" if also else ""
    yield Text(clean(f"{node['node']} in {node['cluster']}{known}"), style="bold")
    incident, limits = node["incident"], node["limits"]
    if incident:
        yield from _open_incident(incident, now)
    else:
        yield _row("now", "no open incident")
        if not node["history"]:
            yield _row("", "nothing came of a report yet; one may be waiting in the intake queue")
    cooldown = f", cooldown until {shown(limits['cooldown_until'])} UTC" if limits["cooldown_until"] else ""
    reboots = f"{limits['reboots']} of {limits['max_reboots']} reboots in {limits['reboots_window']}"
    yield _row("limits", f"{reboots}{cooldown}; cluster {_budget(limits)}")
    for entry in node["unsent"]:
        what = f"{' and '.join(entry['parts'])}, {entry['code'] or entry['outcome']}"
        tried = f", tried {entry['tries']} times" if entry["tries"] else ""
        yield _row("not sent", f"{what}: since {ago(entry['since'], now)}{tried}: {entry['message']}")
    for chapter in node["history"]:
        of, state = chapter["incident"], chapter["state"] or "end not known"
        title = f"incident {of}: {state}" if of else "before that"
        yield Text(title, style="bold")
        for line in chapter["lines"]:
            yield Text(f"{_INDENT}{shown(line['at'])}  ", style="dim").append_text(_told(line["text"]))


def _open_incident(incident: View, now: datetime) -> Iterator[Text]:
    yield _row("now", f"{incident['state']}, {ago(incident['since'], now)}: {incident['waits']}")
    until = f", at the latest {shown(incident['until'])} UTC" if incident["until"] else ""
    note = f": {incident['note']}" if incident["note"] else ""
    yield _row("next", f"{ago(incident['next_at'], now)}, {shown(incident['next_at'])} UTC{until}{note}")
    for each in incident["complaints"]:
        withdrawn = f", withdrawn {shown(each['withdrawn_at'])}" if each["withdrawn_at"] else ""
        muted = f", muted until {shown(each['muted_until'])}" if each["muted_until"] else ""
        repair = f", RepairAction {each['repair_action']}" if each["repair_action"] else ""
        yield _row(
            "complaint", f"{each['source']} {shown(each['last_made_at'])}{withdrawn}{muted}{repair}: {each['reason']}"
        )


def _told(text: str) -> Text:
    """Return a line of history, with its state in colour."""
    word, colon, rest = clean(text).partition(":")
    return Text(word, style=_STYLES.get(word, "")).append(colon + rest)


def mode(view: View) -> Iterator[Text]:
    if view["fault"]:
        yield Text(clean(f"everything is paused: the mode parameter {view['fault']}"), style="bold red")
    rows = [("all" if each["of"] == "*" else each["of"], each["mode"], shown(each["until"])) for each in _modes(view)]
    yield from table(("CLUSTER", "MODE", "UNTIL (UTC)"), rows)
    ended = [each for each in view["entries"] if not each["holds"]]
    for each in ended:
        yield Text(f"{each['of']} was {each['mode']} until {shown(each['until'])}: it does not count any more")


def letters(view: View) -> Iterator[Text]:
    yield _row("letters", _letters(view["counts"]))
    if view["groups"]:
        yield from table(("CODE", "CLUSTER", "LETTERS", "OLDEST (UTC)", "RETRYABLE"), [
            (each["code"], each["cluster"], each["letters"], shown(each["oldest"]), _YES[each["retryable"]])
            for each in view["groups"]
        ])  # fmt: skip
    if view.get("letters"):
        yield Text()
        yield from table(("TIME (UTC)", "CLUSTER", "NODE", "CODE", "MESSAGE"), [
            (shown(each["time"]), each["cluster"], each["node"], each["code"], each["message"])
            for each in view["letters"]
        ])  # fmt: skip
    if view["looked_at_most"]:
        yield Text(f"only the first {view['looked_at_most']} letters were looked at: --most N looks at more")


def redriven(view: View) -> Iterator[Text]:
    count = len(view["letters"]) if view["letters"] is not None else view["counts"]["visible"]
    if view["dry_run"]:
        yield Text(f"would go to the intake queue: {count}")
    elif view["letters"] is None:
        yield Text(f"SQS moves all letters to the intake queue, about {count}; each is a new attempt")
    else:
        yield Text(f"went to the intake queue: {count}; each is a new attempt")
    for each in view["letters"] or ():
        yield Text(f"{_INDENT}{clean(each['cluster'])}/{clean(each['node'])}  {clean(each['code'])}")
    for each in view["missed"]:
        yield Text(f"! {clean(each)}", style="bold red")


def change(view: View) -> Text:
    """Return one line for a change that `watch` saw."""
    who = f"{clean(view['cluster'])}/{clean(view['node'])}"
    line = Text(f"{shown(view['at'])[-8:]}  ", style="dim").append(who, style="not dim")
    line.append(f"  {view['of']} ").append(clean(view["state"]), style=_STYLES.get(view["state"], "bold"))
    code = f" {clean(view['code'])}" if view["code"] else ""
    return line.append(f"{code}: {clean(view['reason'])}", style="not dim")
