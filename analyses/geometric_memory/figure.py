"""The figure of this folder's page: overlaps over training, by graph."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np

Line = tuple[str, str, Sequence[int], Any]
Band = tuple[str, float, float]

LEFT, PANEL, GAP, RIGHT = 48, 236, 34, 20
TOP, HEIGHT, BOTTOM = 70, 240, 100
LAST = 9
INK, MUTED, GRID, PAPER = "#1b2126", "#58626b", "#dfdcd4", "#ffffff"

COLOURS = {
    "Node2Vec": "#0b5a7d",
    "Node2Vec, apart": "#4aa3c7",
    "transformer, tied": "#a3480b",
    "transformer, untied": "#dd9a5f",
    "associative": "#4a7d3a",
}


def text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def across(step: int) -> float:
    """Return where a step is: 0, then 1, 2, 4 and so on, evenly."""
    return PANEL * (0 if step == 0 else 1 + np.log2(step)) / (LAST + 1)


def up(share: float) -> float:
    return TOP + HEIGHT * (1 - share)


def axes(left: float, graph: str) -> Iterator[str]:
    middle = f'text-anchor="middle" fill="{MUTED}"'
    yield text(left, TOP - 12, graph, 'font-weight="bold"')
    for fifth in range(6):
        y = up(fifth / 5)
        yield f'<path d="M{left:g} {y:g}h{PANEL}" stroke="{GRID}"/>'
        if left == LEFT:
            end = f'text-anchor="end" fill="{MUTED}"'
            yield text(left - 8, y + 4, f"{fifth / 5:.1f}", end)
    for step in (0, 1, 8, 64, 512):
        x = round(left + across(step), 1)
        yield text(x, TOP + HEIGHT + 18, f"{step}", middle)


def band(left: float, mean: float, spread: float) -> str:
    """Return two standard deviations of chance on either side."""
    y, height = up(mean + 2 * spread), HEIGHT * 4 * spread
    return (
        f'<rect x="{left:g}" y="{y:.1f}" width="{PANEL}"'
        f' height="{height:.1f}" fill="{MUTED}" opacity=".25"/>'
    )


def path(xs: Sequence[float], shares: Any) -> str:
    points = zip(xs, map(up, shares), strict=True)
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def curve(left: float, line: Line) -> Iterator[str]:
    """Yield the seeds' range and their mean."""
    _, model, steps, shares = line
    colour = COLOURS[model]
    xs = [left + across(step) for step in steps]
    low, high = shares.min(axis=0), shares.max(axis=0)
    around = f"{path(xs, high)}L{path(xs[::-1], low[::-1])[1:]}Z"
    yield f'<path d="{around}" fill="{colour}" opacity=".2"/>'
    mean = path(xs, shares.mean(axis=0))
    yield (
        f'<path d="{mean}" fill="none" stroke="{colour}" stroke-width="2"/>'
    )


def legend(y: float) -> Iterator[str]:
    x = 16.0
    for model, colour in COLOURS.items():
        dash = f'M{x:g} {y - 4:g}h20" stroke="{colour}" stroke-width="3'
        yield f'<path d="{dash}"/>'
        yield text(x + 26, y, model)
        x += 58 + 6.4 * len(model)


def draw(bands: Sequence[Band], lines: Sequence[Line]) -> str:
    """Return an SVG of overlaps over training, a panel a graph."""
    width = LEFT + len(bands) * (PANEL + GAP) - GAP + RIGHT
    height = TOP + HEIGHT + BOTTOM
    title = "Share of the strongest directions in the slowest modes"
    grey = f'fill="{MUTED}"'
    parts = [text(16, 26, title, 'font-size="15" font-weight="bold"')]
    for i, (graph, mean, spread) in enumerate(bands):
        left = LEFT + i * (PANEL + GAP)
        parts += [*axes(left, graph), band(left, mean, spread)]
        for line in lines:
            if line[0] == graph:
                parts += curve(left, line)
    note = (
        "Steps of training. Lines: means over seeds, and the range of these."
        " Grey: chance, with two standard deviations."
    )
    parts += legend(height - 42)
    parts.append(text(16, height - 16, note, grey))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}"'
        f' height="{height}" viewBox="0 0 {width} {height}" font-size="12"'
        f' font-family="system-ui, sans-serif" fill="{INK}" role="img">'
        f"<title>{title}</title>"
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])
