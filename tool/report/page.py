"""Writes what happened as one HTML page that needs nothing else."""

import base64
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.resources import files
from string import Template
from typing import Any

from tool.report.view import KINDS
from tool.times import shown

View = dict[str, Any]
# More rows are not looked at; the stories below have all nodes.
_MOST_ROWS = 100
_MOST_NAMED = 10
_SECONDS_COUNT_BELOW = 600
_FOOTER = (
    "Times are UTC. A node needs a person where it failed, was refused, did not recover, waits for approval, or is not "
    "known to be well. The time to recovery is from the arrival of the first report until the node was proved healthy. "
    "Limits are as of now. Made by hyperpod-remediation report from the ledger, which keeps the last 50 lines of a "
    "node for 21 days."
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Html(str):
    """Marks text that is HTML already."""

    __slots__ = ()


def page(view: View) -> str:
    """Return the page. What came with events is text in it, never HTML."""
    library, script = _file("echarts.common.min.js"), _file("page.js")
    return Template(_file("page.html")).substitute(
        policy=f"default-src 'none'; script-src {_hash(library)} {_hash(script)}; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'",
        title=_text(_title(view)),
        style=_file("page.css"),
        of=_text(", ".join(filter(None, (view["stack"], view["region"], view["cluster"])))),
        sentence=_text(sentence(view)),
        numbers=_numbers(view["summary"]),
        timeline=_timeline(view),
        outcomes=_outcomes(view["outcomes"]),
        budgets=_budgets(view["budgets"]),
        told=_told(view["told"]),
        stories=_stories(view["nodes"]),
        footer=_text(_FOOTER),
        data=_data(view),
        library=library,
        script=script,
    )


def sentence(view: View) -> str:
    """Say in a few sentences what happened."""
    summary = view["summary"]
    if not summary["incidents"]:
        return "No node had an incident."
    mean, need, is_open = summary["mean_seconds_to_recovery"], summary["need_a_person"], summary["open"]
    after = f", after {_lasting(mean)} on average" if mean is not None else ""
    person = f"{_count(need, 'node')} {'needs' if need == 1 else 'need'} a person" if need else "No node needs a person"
    still = f" {_count(is_open, 'incident')} {'is' if is_open == 1 else 'are'} still open." if is_open else ""
    return (
        f"{_count(summary['nodes'], 'node')} of {_count(summary['clusters'], 'cluster')} had "
        f"{_count(summary['incidents'], 'incident')}: {summary['rebooted']} rebooted, {summary['recovered']} recovered"
        f"{after}. {person}.{still}"
    )


def _title(view: View) -> str:
    return f"Nodes from {_minute(view['since'])} to {_minute(view['at'])} UTC"


def _numbers(summary: View) -> Html:
    mean, longest = (summary[f"{name}_seconds_to_recovery"] for name in ("mean", "longest"))
    need = summary["need_a_person"]
    tiles = (
        ("Incidents", summary["incidents"], f"on {_count(summary['nodes'], 'node')}"),
        ("Rebooted", summary["rebooted"], "at least once"),
        ("Recovered", summary["recovered"], "proved healthy"),
        ("Need a person", need, "node" if need == 1 else "nodes"),
        ("Still open", summary["open"], "incident" if summary["open"] == 1 else "incidents"),
        ("Time to recovery", _lasting(mean), f"mean; the longest {_lasting(longest)}" if longest else "none recovered"),
    )
    return _element("dl", {"class": "numbers"}, [
        _element("div", {"class": "alert"} if name == "Need a person" and value else {}, [
            _element("dt", {}, [name]),
            _element("dd", {"class": "value"}, [value]),
            _element("dd", {"class": "faint"}, [about]),
        ])
        for name, value, about in tiles
    ])  # fmt: skip


def _timeline(view: View) -> Html:
    nodes, axis = view["nodes"], view["axis"]
    if not nodes:
        return _element("p", {}, ["Nothing to show."])
    kinds = [kind for kind in KINDS if any(kind == each["kind"] for node in nodes for each in node["segments"])]
    rest = f" The first {_MOST_ROWS} of {len(nodes)} nodes are shown." if len(nodes) > _MOST_ROWS else ""
    at_the_end = Counter(node["kind"] for node in nodes)
    said = ", ".join(f"{at_the_end[kind]} {KINDS[kind]}" for kind in KINDS if kind in at_the_end)
    label = f"Chart: {_count(len(nodes), 'node')} over time. At the end: {said}. The stories below say it as text."
    return Html(
        _element("ul", {"class": "legend"}, [_element("li", {}, [_swatch(kind), KINDS[kind]]) for kind in kinds])
        + _element("figure", {}, [
            _element("div", {"class": "chart", "id": "timeline-chart", "role": "img", "aria-label": label}, []),
            _element("figcaption", {}, [
                f"{shown(axis['from'])} to {shown(axis['until'])} UTC, when something changed; the most troubled "
                f"nodes first. A click on a row leads to its story.{rest}"
            ]),
        ])
    )  # fmt: skip


def _outcomes(outcomes: Sequence[View]) -> Html:
    if not outcomes:
        return _element("p", {}, ["No incidents."])
    most = max(each["incidents"] for each in outcomes)
    rows = [
        [
            Html(_swatch(each["kind"]) + _text(_words(each["state"]) + (" (open)" if each["open"] else ""))),
            each["incidents"],
            _element("span", {
                "class": "bar", "style": f"--kind: var(--{each['kind']}); width: {100 * each['incidents'] / most:.0f}%",
            }, []),
        ]
        for each in outcomes
    ]  # fmt: skip
    return _table("outcomes", ("State or end", "Incidents", Html('<span aria-hidden="true"></span>')), rows)


def _budgets(budgets: Sequence[View]) -> Html:
    if not budgets:
        return _element("p", {}, ["Nothing was spent, and nothing refused for it."])
    rows = [
        [
            each["cluster"],
            each["reboots"],
            _most_spent(each),
            each["refused"],
        ]
        for each in budgets
    ]
    table = _table("spent", ("Cluster", "Reboots", "Most spent at a time (UTC)", "Refused for it"), rows)
    charts = _element("div", {"class": "charts"}, map(_budget_chart, range(len(budgets)), budgets))
    return Html(table + charts)


def _most_spent(budget: View) -> Html:
    of = "?" if budget["limit"] is None else budget["limit"]
    at = f", {_time(budget['peak_at'])}" if budget["peak"] else ""
    return Html(f"{budget['peak']} of {of} in {_text(budget['window'])}{at}")


def _budget_chart(place: int, budget: View) -> Html:
    limit = "no known limit" if budget["limit"] is None else f"a limit of {budget['limit']} (dashed)"
    name = f"{budget['cluster']}: reboots in the last {budget['window']}"
    label = f"Chart: {name}, at most {budget['peak']}, with {limit}."
    return _element("figure", {"class": "budget"}, [
        _element("figcaption", {}, [f"{name}, with {limit}"]),
        _element("div", {"class": "chart", "id": f"budget-{place}", "role": "img", "aria-label": label}, []),
    ])  # fmt: skip


def _told(told: Sequence[View]) -> Html:
    if not told:
        return _element("p", {}, ["Nothing was sent."])
    rows = [[_time(each["at"]), f"{each['parts']}: {_words(each['about'])}", _who(each)] for each in told]
    about = "A notification goes to the topic, so to mail and chat. A letter goes to the dead-letter queue."
    return Html(_element("p", {"class": "faint"}, [about]) + _table("told", ("Time (UTC)", "Sent", "About"), rows))


def _who(told: View) -> Html:
    named, more = told["nodes"][:_MOST_NAMED], len(told["nodes"]) - _MOST_NAMED
    of = _text(told["cluster"] or "a message that names no cluster")
    ids = [_element("span", {"class": "id"}, [each]) for each in named]
    return Html(f"{of}{': ' if ids else ''}{', '.join(ids)}{f' and {more} more' if more > 0 else ''}")


def _stories(nodes: Sequence[View]) -> Html:
    if not nodes:
        return _element("p", {}, ["No node had an incident."])
    button = '<button type="button" id="open-all" aria-expanded="false" hidden>Open all stories</button>'
    return Html(button + "".join(_story(place, node) for place, node in enumerate(nodes)))


def _story(place: int, node: View) -> Html:
    also = [f"{name} {node[key]}" for key, name in (("group", "group"), ("logical_id", "logical ID")) if node[key]]
    unsent = [f"{_count(node['unsent'], 'message')} about it could not be sent yet"] if node["unsent"] else []
    return _element("details", {"id": _anchor(place)}, [
        _element("summary", {}, [
            _swatch(node["kind"]),
            _element("span", {"class": "id"}, [node["id"]]),
            f" in {node['cluster']}: ",
            _element("span", {"class": "state"}, [_words(node["state"])]),
            _element("span", {"class": "last"}, [(node["last"] or "").removeprefix(f"{node['state']}: ")]),
        ]),
        _element("div", {}, [
            *([_element("p", {"class": "faint"}, [", ".join([*also, *unsent])])] if also or unsent else []),
            *(_incident(each) for each in node["incidents"]),
        ]),
    ])  # fmt: skip


def _incident(incident: View) -> Html:
    after = incident["recovered_after"]
    ended = f", after {_lasting(after)}" if after is not None else " (open)" if incident["open"] else ""
    rows = [[_time(line["at"]), line["text"]] for line in incident["lines"]]
    return Html(
        _element("h3", {}, [f"{_words(incident['state'] or 'end not known')}{ended}"])
        + _element("p", {"class": "faint"}, ["Incident ", _element("span", {"class": "id"}, [incident["id"]])])
        + _table("lines", ("Time (UTC)", "What happened"), rows)
    )


def _data(view: View) -> str:
    """Return what the charts are drawn from, as JSON that cannot end its element."""
    rows = [
        {name: node[name] for name in ("id", "cluster", "state", "segments")} | {"anchor": _anchor(place)}
        for place, node in enumerate(view["nodes"][:_MOST_ROWS])
    ]
    data = {"nodes": rows, "words": KINDS} | {name: view[name] for name in ("at", "axis", "budgets")}
    return json.dumps(data).replace("<", r"\u003c")


def _anchor(place: int) -> str:
    return f"node-{place + 1}"


def _element(name: str, attributes: dict[str, str], children: Iterable[object]) -> Html:
    """Return an element; children that are not HTML are text."""
    own = "".join(f' {key}="{html.escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{own}>{''.join(map(_text, children))}</{name}>")


def _text(value: object) -> str:
    """Return a value as HTML. Control characters are spaces."""
    return value if isinstance(value, Html) else html.escape(_CONTROL.sub(" ", str(value)))


def _table(class_: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    titles = [_element("th", {"scope": "col"}, [each]) for each in head]
    body = [_element("tr", {}, [_cell(each) for each in row]) for row in rows]
    return _element("table", {"class": class_}, [
        _element("thead", {}, [_element("tr", {}, titles)]), _element("tbody", {}, body)
    ])  # fmt: skip


def _cell(value: object) -> Html:
    return _element("td", {"class": "number"} if isinstance(value, int) else {}, [value])


def _swatch(kind: str) -> Html:
    return _element("span", {"class": "swatch", "style": f"--kind: var(--{kind})"}, [])


def _time(time: str) -> Html:
    return _element("time", {"datetime": time}, [f"{datetime.fromisoformat(time):%d %b %H:%M:%S}"])


def _minute(time: str) -> str:
    return shown(time)[:-3]


def _lasting(seconds: int | None) -> str:
    """Say how long something took, in its two largest units; over ten minutes without seconds."""
    if seconds is None:
        return "-"
    seconds = seconds if seconds < _SECONDS_COUNT_BELOW else round(seconds / 60) * 60
    parts = [(seconds // 86_400, "d"), (seconds // 3_600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return files("tool.report").joinpath(name).read_text(encoding="utf-8")
