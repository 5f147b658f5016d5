"""Draws the stack's dashboard, from the body in its template, with what was recorded of the demonstration. Pure."""

import io
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from infra.queries import OPEN_STATES

# The demonstration plays in two minutes what takes hours: five minutes of the dashboard are five seconds of it.
_BUCKET = 5  # seconds
_COLUMNS = 24
_WIDTH, _HEIGHT_OF_A_ROW = 11, 0.36  # inches
_LEGEND = 54  # characters in a line
# CloudWatch's own colours, for series that have none of their own.
_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
_STYLE: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "svg.fonttype": "none",  # text, in a font as wide as the one that was measured
    "svg.hashsalt": "dashboard",  # the same input gives the same file
}
_SEARCH = re.compile(
    r"""(?P<sum>SUM\()?SEARCH\('\{(?P<namespace>[^,}]+),(?P<dimensions>[^}]+)\}"""
    r""" MetricName="(?P<name>\w+)"', '(?P<statistic>\w+)'\)\)?"""
)
_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Sum": sum,
    "Average": lambda values: sum(values) / len(values),
    "Maximum": max,
    "SampleCount": len,
}

Points = Mapping[int, float]  # by the number of the bucket


def dashboard_picture(body: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    """Return an SVG of the dashboard: every widget in its place, with the series that have data."""
    widgets = body["widgets"]
    rows = max(widget["y"] + widget["height"] for widget in widgets)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, rows * _HEIGHT_OF_A_ROW))
        colors: dict[str, str] = {}  # by label: a cluster has one colour in all widgets
        for widget in widgets:
            properties = widget["properties"]
            axes = figure.add_axes(_place(widget, rows))
            axes.set_title(properties["title"])
            if widget["type"] == "log":
                _draw_states(axes, recorded)
            else:
                _draw_metrics(axes, properties, recorded, colors)
        text = "The demonstration, in minutes and seconds. A point is 5 seconds of it; on AWS it is 5 minutes."
        figure.text(0.5, 0.005, text, ha="center")
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return "\n".join(map(str.rstrip, drawn.getvalue().splitlines())) + "\n"


def _place(widget: Mapping[str, Any], rows: int) -> tuple[float, float, float, float]:
    """Return left, bottom, width and height of a widget's axes, with room for what is written around them."""
    bottom = 1 - (widget["y"] + widget["height"]) / rows
    width, height = widget["width"] / _COLUMNS, widget["height"] / rows
    return widget["x"] / _COLUMNS + 0.19 * width, bottom + 0.36 * height, 0.78 * width, 0.48 * height


def _draw_states(axes: Axes, recorded: Mapping[str, Any]) -> None:
    """Draw open incidents by state, at the last moment at which they are in the most different ones."""
    moments = sorted({at for at, _, _ in recorded["states"]})
    counts = {at: _open_at(at, recorded["states"]) for at in moments}
    at = max(moments, key=lambda each: (len(counts[each]), each))
    names = [state for state in OPEN_STATES if state in counts[at]]
    axes.barh(names, [counts[at][name] for name in names], height=0.5)
    axes.invert_yaxis()
    axes.set_xlabel(f"incidents, at {_clock(at)}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _open_at(at: float, states: Sequence[tuple[float, str, str]]) -> Counter[str]:
    latest = {incident: state for time, incident, state in states if time <= at}
    return Counter(state for state in latest.values() if state in OPEN_STATES)


def _draw_metrics(
    axes: Axes, properties: Mapping[str, Any], recorded: Mapping[str, Any], colors: dict[str, str]
) -> None:
    series = [(label, color, points) for label, color, points in _series(properties["metrics"], recorded) if points]
    last = int(max(at for metric in recorded["metrics"] for at, _ in metric["values"])) // _BUCKET
    below = dict.fromkeys(range(last + 1), 0.0)
    for label, own_color, points in series:
        color = own_color or colors.setdefault(label, _COLORS[len(colors) % len(_COLORS)])
        if properties.get("stacked"):
            times, bottom = [bucket * _BUCKET for bucket in points], [below[bucket] for bucket in points]
            axes.bar(times, list(points.values()), _BUCKET * 0.9, bottom, align="edge", label=label, color=color)
            below |= {bucket: below[bucket] + value for bucket, value in points.items()}
        else:
            # Points with nothing between them are not joined.
            values = [points.get(bucket, math.nan) for bucket in below]
            axes.plot(
                [(bucket + 0.5) * _BUCKET for bucket in below],
                values,
                marker="o",
                markersize=2.5,
                linewidth=1,
                label=label,
                color=color,
            )
    for line in properties.get("annotations", {}).get("horizontal", ()):
        axes.axhline(line["value"], color=line["color"], linewidth=0.8, linestyle="--", label=line["label"])
    axes.set_xlim(0, (last + 1) * _BUCKET)
    axes.set_ylim(bottom=0, top=None if any(any(points.values()) for _, _, points in series) else 1)
    axes.set_ylabel(properties["yAxis"]["left"]["label"])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: _clock(at)))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    if series:
        columns = max(1, min(3, _LEGEND // max(len(label) + 4 for label, _, _ in series)))
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=columns, columnspacing=1, handlelength=1)
    else:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="#7f7f7f")


def _series(metrics: Sequence[Any], recorded: Mapping[str, Any]) -> Iterator[tuple[str, str | None, Points]]:
    """Yield the label, the colour and the points of each series that a widget shows."""
    for *named, options in metrics:
        if "expression" not in options:
            namespace, name, *pairs = named
            dimensions = dict(zip(pairs[::2], pairs[1::2], strict=True))
            found = [each for of, each in _found(recorded, namespace, name, set(dimensions)) if of == dimensions]
            yield options["label"], options.get("color"), _points(found, options.get("stat", "Average"))
            continue
        search = _SEARCH.fullmatch(options["expression"])
        assert search, options["expression"]  # noqa: S101  this reads what infra/dashboard.py writes, nothing else
        matching = _found(recorded, search["namespace"], search["name"], set(search["dimensions"].split(",")))
        if search["sum"]:
            yield options["label"], options.get("color"), _points([each for _, each in matching], search["statistic"])
        else:
            for of, each in matching:
                label = options["label"]
                for dimension, value in of.items():
                    label = label.replace(f"${{PROP('Dim.{dimension}')}}", value)
                yield label, options.get("color"), _points([each], search["statistic"])


def _found(
    recorded: Mapping[str, Any], namespace: str, name: str, dimensions: set[str]
) -> list[tuple[dict[str, str], Sequence[tuple[float, float]]]]:
    """Return a metric's values by its dimensions, where those have exactly these names."""
    return [
        (metric["dimensions"], metric["values"])
        for metric in recorded["metrics"]
        if (metric["namespace"], metric["name"]) == (namespace, name) and set(metric["dimensions"]) == dimensions
    ]


def _points(series: Sequence[Sequence[tuple[float, float]]], statistic: str) -> Points:
    """Return a statistic of each bucket, summed over the series."""
    points: defaultdict[int, float] = defaultdict(float)
    for values in series:
        buckets: defaultdict[int, list[float]] = defaultdict(list)
        for at, value in values:
            if at >= 0:
                buckets[int(at) // _BUCKET].append(value)
        for bucket, found in buckets.items():
            points[bucket] += _STATISTICS[statistic](found)
    return dict(sorted(points.items()))


def _clock(at: float) -> str:
    return f"{int(at) // 60}:{int(at) % 60:02}"
