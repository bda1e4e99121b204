"""Small multiples as SVG, both axes logarithmic, in colours for light and dark pages alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

#: Pixels: the plot of a panel, the room left and above, below, and to the right of it.
WIDTH, HEIGHT = 330, 200
LEFT, ABOVE, BELOW, RIGHT = 64, 40, 46, 26
#: Head and foot of the whole.
HEAD, FOOT = 34, 30
COLUMNS = 2
#: Legible on white and on GitHub's dark grey.
TEXT, GRID = "#7d8590", "#7d859040"
COLOURS = ("#2f81f7", "#db6d28", "#2da44e", "#a371f7")
#: Marks by line, so that colour is not needed.
MARKS = ("circle", "square", "circle", "square")


@dataclass(frozen=True, slots=True)
class Panel:
    """A title with the unit, and the values of each line."""

    title: str
    lines: Mapping[str, Sequence[float]]


def draw(panels: Sequence[Panel], xs: Sequence[float], axis: str, foot: str) -> str:
    """The whole picture; `xs` and `axis` are those of every panel."""
    rows = -(-len(panels) // COLUMNS)
    wide, high = LEFT + WIDTH + RIGHT, ABOVE + HEIGHT + BELOW
    size = f"{COLUMNS * wide} {HEAD + rows * high + FOOT}"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img" '
        f'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" '
        f'font-size="12" fill="{TEXT}">',
        f"<title>{escape(', '.join(panel.title for panel in panels))}</title>",
        *legend([*panels[0].lines]),
    ]
    for place, panel in enumerate(panels):
        x, y = place % COLUMNS * wide + LEFT, HEAD + place // COLUMNS * high + ABOVE
        out += [f'<g transform="translate({x} {y})">', *plot(panel, xs, axis), "</g>"]
    out += [f'<text x="{LEFT}" y="{HEAD + rows * high + 12}" font-size="11">{escape(foot)}</text>']
    return "\n".join([*out, "</svg>", ""])


def legend(names: Sequence[str]) -> Iterator[str]:
    """Which line is whose."""
    for n, name in enumerate(names):
        x = LEFT + 120 * n
        yield f'<path d="M{x} 20h28" stroke="{COLOURS[n]}" stroke-width="2"/>'
        yield mark(n, x + 14, 20)
        yield f'<text x="{x + 36}" y="24" font-size="13">{escape(name)}</text>'


def plot(panel: Panel, xs: Sequence[float], axis: str) -> Iterator[str]:
    """One panel, its origin at the upper left of the plot."""
    values = [value for line in panel.lines.values() for value in line if value > 0]
    low, high = decades(min(values), max(values))
    left, right = math.log10(min(xs)), math.log10(max(xs))
    yield f'<text x="0" y="-14" font-size="14" font-weight="600">{escape(panel.title)}</text>'
    for power in range(low, high + 1):
        y = HEIGHT * (high - power) / (high - low)
        yield f'<path d="M0 {y:.1f}h{WIDTH}" stroke="{GRID}"/>'
        yield f'<text x="-8" y="{y + 4:.1f}" text-anchor="end">{10.0**power:,.12g}</text>'
    for x in xs:
        at = WIDTH * (math.log10(x) - left) / (right - left)
        yield f'<path d="M{at:.1f} 0V{HEIGHT}" stroke="{GRID}"/>'
        yield f'<text x="{at:.1f}" y="{HEIGHT + 17}" text-anchor="middle">{short(x)}</text>'
    yield f'<text x="{WIDTH / 2}" y="{HEIGHT + 34}" text-anchor="middle">{escape(axis)}</text>'
    for n, line in enumerate(panel.lines.values()):
        points = [
            (
                WIDTH * (math.log10(x) - left) / (right - left),
                HEIGHT * (high - math.log10(value)) / (high - low),
            )
            for x, value in zip(xs, line, strict=True)
            if value > 0
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        yield f'<path d="M{path}" fill="none" stroke="{COLOURS[n]}" stroke-width="2"/>'
        yield from (mark(n, x, y) for x, y in points)


def mark(n: int, x: float, y: float) -> str:
    """A point of the line of that number."""
    if MARKS[n] == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[n]}"/>'
    return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{COLOURS[n]}"/>'


def decades(least: float, most: float) -> tuple[int, int]:
    """The powers of ten around the values; always two that differ."""
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return low, max(high, low + 1)


def short(value: float) -> str:
    """`10`, `1k`, `20k`."""
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
