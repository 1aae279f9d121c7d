"""The figure of this folder's page: two numbers over training, by world."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

LEFT, PANEL, GAP, RIGHT = 52, 300, 60, 20
TOP, HEIGHT, BOTTOM = 70, 200, 92
INK, MUTED, GRID, PAPER = "#1b2126", "#58626b", "#dfdcd4", "#ffffff"
COLOURS = ("#0b5a7d", "#a3480b")


def text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def across(place: int, n: int) -> float:
    return PANEL * place / (n - 1)


def up(value: float, low: float, high: float) -> float:
    return TOP + HEIGHT * (high - value) / (high - low)


def limits(lines: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return lowest and highest of an axis, in steps, and its step."""
    values = np.concatenate([each.ravel() for each in lines.values()])
    step = 0.05 if np.ptp(values) < 0.4 else 0.25
    low = step * np.floor(min(0.0, values.min()) / step)
    return float(low), float(step * np.ceil(values.max() / step)), step


def panel(
    left: float, title: str, steps: Sequence[int], lines: Mapping[str, Any]
) -> Iterator[str]:
    """Yield axes, and of each world the seeds' range and their mean."""
    low, high, step = limits(lines)
    end = f'text-anchor="end" fill="{MUTED}"'
    middle = f'text-anchor="middle" fill="{MUTED}"'
    yield text(left, TOP - 14, title, 'font-weight="bold"')
    for value in np.arange(low, high + step / 2, step):
        y = round(up(value, low, high), 1)
        yield f'<path d="M{left:g} {y:g}h{PANEL}" stroke="{GRID}"/>'
        yield text(left - 8, y + 4, f"{value:z.2f}", end)
    xs = [left + across(i, len(steps)) for i in range(len(steps))]
    for x, each in zip(xs, steps, strict=True):
        yield text(round(x, 1), TOP + HEIGHT + 18, f"{each}", middle)
    for colour, values in zip(COLOURS, lines.values(), strict=True):
        bounds = values.min(axis=0), values.max(axis=0), values.mean(axis=0)
        below, above, mean = (
            [up(value, low, high) for value in each] for each in bounds
        )
        around = f"{path(xs, above)}L{path(xs[::-1], below[::-1])[1:]}Z"
        yield f'<path d="{around}" fill="{colour}" opacity=".2"/>'
        yield (
            f'<path d="{path(xs, mean)}" fill="none" stroke="{colour}"'
            ' stroke-width="2"/>'
        )


def path(xs: Sequence[float], ys: Sequence[float]) -> str:
    points = zip(xs, ys, strict=True)
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def draw(steps: Sequence[int], panels: Mapping[str, Mapping[str, Any]]) -> str:
    """Return an SVG, a panel a number; each is of (seeds, steps) by world."""
    width = LEFT + len(panels) * (PANEL + GAP) - GAP + RIGHT
    height = TOP + HEIGHT + BOTTOM
    title = "A reader and a seer of the same scenes, trained apart"
    parts = [text(16, 26, title, 'font-size="15" font-weight="bold"')]
    for i, (name, lines) in enumerate(panels.items()):
        parts += panel(LEFT + i * (PANEL + GAP), name, steps, lines)
    for i, world in enumerate(next(iter(panels.values()))):
        x, y = 16 + 190 * i, height - 40
        parts.append(
            f'<path d="M{x} {y - 4}h20" stroke="{COLOURS[i]}"'
            ' stroke-width="3"/>'
        )
        parts.append(text(x + 26, y, f"hues {world}"))
    note = "Steps of training. Lines: means over seeds, and their range."
    parts.append(text(16, height - 16, note, f'fill="{MUTED}"'))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}"'
        f' height="{height}" viewBox="0 0 {width} {height}" font-size="12"'
        f' font-family="system-ui, sans-serif" fill="{INK}" role="img">'
        f"<title>{title}</title>"
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])
