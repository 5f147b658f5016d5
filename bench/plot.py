"""Small multiples as plain SVG: points and lines on logarithmic axes. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 230, 190
_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 30, 14, 40
_STYLE = """
text { font: 11px system-ui, sans-serif; fill: #444 }
.title { font-weight: 600; fill: #111 }
.axis { stroke: #bbb }
.grid { stroke: #eee }
.line { fill: none; stroke: #0b6bcb; stroke-width: 1.5 }
.point { fill: #0b6bcb }
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One line: what is told of `y` in the title, what `x` is below."""

    title: str
    x_label: str
    points: Sequence[tuple[float, float]]


def chart(rows: Sequence[Sequence[Panel]]) -> str:
    """Panels of one row share their scale, so that they can be compared."""
    width, height = _WIDTH * max(len(row) for row in rows), _HEIGHT * len(rows)
    drawn = []
    for number, row in enumerate(rows):
        heights = decades([y for panel in row for _, y in panel.points])
        for column, panel in enumerate(row):
            drawn.append(f'<g transform="translate({column * _WIDTH} {number * _HEIGHT})">{_panel(panel, heights)}</g>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    background = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return "\n".join([head, f"<style>{_STYLE}</style>", background, *drawn, "</svg>\n"])


def decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around all values, at least one apart."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _panel(panel: Panel, heights: tuple[int, int]) -> str:
    widths = decades([x for x, _ in panel.points])
    at = [(_across(x, widths), _up(y, heights)) for x, y in panel.points]
    parts = [f'<text class="title" x="{_LEFT}" y="18">{escape(panel.title)}</text>']
    parts += [_grid(power, heights) for power in range(heights[0], heights[1] + 1)]
    for power in range(widths[0], widths[1] + 1):
        x = _across(10**power, widths)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{_tick(power)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(panel.x_label)}</text>')
    parts.append(f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}"/>')
    parts += [f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in at]
    return "".join(parts)


def _grid(power: int, heights: tuple[int, int]) -> str:
    y = _up(10**power, heights)
    kind = "axis" if power == heights[0] else "grid"
    line = f'<line class="{kind}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(power)}</text>'


def _across(value: float, powers: tuple[int, int]) -> float:
    return _LEFT + _share(value, powers) * (_WIDTH - _LEFT - _RIGHT)


def _up(value: float, powers: tuple[int, int]) -> float:
    return _HEIGHT - _BOTTOM - _share(value, powers) * (_HEIGHT - _TOP - _BOTTOM)


def _share(value: float, powers: tuple[int, int]) -> float:
    return (math.log10(value) - powers[0]) / (powers[1] - powers[0])


def _tick(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
