"""The figure of this folder's page, drawn from the rows of its tables."""

from collections.abc import Iterator, Mapping, Sequence

from analyses.universal_subspace.figure import (
    ACCENT,
    INK,
    LINE,
    MUTED,
    PAPER,
    TRAP,
    text,
)

Row = Sequence[str]

LEFT, PANEL, GAP, RIGHT = 118, 300, 76, 150
TOP, STEP, BOTTOM = 84, 28, 62
WIDTH = LEFT + 2 * PANEL + GAP + RIGHT
LEAST, MOST = 0.8, 1.02

TITLES = ("Eight adapters merged", "One adapter in k directions of 32")
LEGEND = (
    ("tuned", "lambda tuned"),
    ("default", "lambda 1"),
    ("low", "lambda 1, rank 8"),
)
LINES = {
    "its adapter's": "base, adapter's head",
    "one of its own": "base, head of its own",
}
CURVES = (
    ("in sample", "leading", 4, ACCENT),
    ("held out", "leading", 8, TRAP),
)


def value(cell: str) -> tuple[float, float]:
    """Return a mean and its standard error, as they are printed."""
    mean, _, error = cell.partition(" ± ")
    return float(mean), float(error)


def place(share: float, length: float) -> float:
    """Return how far along an axis an accuracy lies."""
    return length * (min(max(share, LEAST), MOST) - LEAST) / (MOST - LEAST)


def sign(kind: str, x: float, y: float) -> str:
    if kind == "tuned":
        return f'<circle cx="{x:.1f}" cy="{y:g}" r="5" fill="{ACCENT}"/>'
    if kind == "default":
        corners = f"M{x:.1f} {y - 7:g}l7 7l-7 7l-7 -7z"
        paint = f'fill="none" stroke="{TRAP}" stroke-width="1.5"'
        return f'<path d="{corners}" {paint}/>'
    line = f'M{x:.1f} {y - 7:g}v14" stroke="{MUTED}" stroke-width="2'
    return f'<path d="{line}"/>'


def bar(x: float, y: float, half: float, colour: str, *, up: bool) -> str:
    """Return a line of one standard error to either side."""
    line = f"M{x:.1f} {y - half:.1f}v{2 * half:.1f}" if up else (
        f"M{x - half:.1f} {y:.1f}h{2 * half:.1f}"
    )  # fmt: skip
    return f'<path d="{line}" stroke="{colour}"/>'


def dots(row: Row, y: float) -> Iterator[str]:
    """Yield the signs of one method."""
    cells = {"low": row[2], "default": row[1], "tuned": row[3]}
    for kind, cell in cells.items():
        if cell != "none":
            mean, error = value(cell)
            x = LEFT + place(mean, PANEL)
            if kind == "tuned":
                half = PANEL * error / (MOST - LEAST)
                yield bar(x, y, half, ACCENT, up=False)
            yield sign(kind, x, y)


def levels(rows: Mapping[str, str], bottom: float) -> Iterator[str]:
    """Yield what the frozen base comes to, as lines through both panels."""
    second, height = LEFT + PANEL + GAP, bottom - TOP
    dash = f'stroke="{MUTED}" stroke-dasharray="3 3"'
    for title, cell in rows.items():
        mean, _ = value(cell)
        x, y = LEFT + place(mean, PANEL), bottom - place(mean, height)
        yield f'<path d="M{x:.1f} {TOP - 14}V{bottom}" {dash}/>'
        yield f'<path d="M{second} {y:.1f}h{PANEL}" {dash}/>'
        words = second + PANEL + 8
        yield text(words, round(y + 4, 1), title, f'fill="{MUTED}"')


def axes(bottom: float) -> Iterator[str]:
    second, height = LEFT + PANEL + GAP, bottom - TOP
    middle = f'text-anchor="middle" fill="{MUTED}"'
    for tenth in range(8, 11):
        x = LEFT + place(tenth / 10, PANEL)
        y = bottom - place(tenth / 10, height)
        yield f'<path d="M{x:.1f} {TOP - 14}V{bottom}" stroke="{LINE}"/>'
        yield text(round(x, 1), bottom + 16, f"{tenth / 10:g}", middle)
        yield f'<path d="M{second} {y:.1f}h{PANEL}" stroke="{LINE}"/>'
        end = f'text-anchor="end" fill="{MUTED}"'
        yield text(second - 8, round(y + 4, 1), f"{tenth / 10:g}", end)
    for k in (0, 4, 8, 16, 24, 30):
        yield text(second + PANEL * k / 31, bottom + 16, f"{k}", middle)
    yield text(second + PANEL / 2, bottom + 32, "k", middle)


def curves(rows: Sequence[Row], bottom: float) -> Iterator[str]:
    """Yield the accuracy in k leading directions, and in others."""
    second, height = LEFT + PANEL + GAP, bottom - TOP

    def point(row: Row, column: int) -> tuple[float, float, float]:
        mean, error = value(row[column])
        x = second + PANEL * int(row[1]) / 31
        half = height * error / (MOST - LEAST)
        return x, bottom - place(mean, height), half

    for title, basis, column, colour in CURVES:
        found = [
            point(row, column)
            for row in rows
            if row[0] in {basis, "none: the mean"} and row[column] != "none"
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in found)
        yield f'<path d="M{path}" fill="none" stroke="{colour}"/>'
        for x, y, half in found:
            yield bar(x, y, half, colour, up=True)
            where = f'cx="{x:.1f}" cy="{y:.1f}" r="3.5"'
            yield f'<circle {where} fill="{colour}"/>'
        x, y, _ = found[-1]
        yield text(round(x + 8, 1), round(y + 4, 1), title,
                   f'fill="{colour}"')  # fmt: skip


def draw(tables: Mapping[str, Sequence[Row]]) -> str:
    """Return an SVG of what merges and projections get right."""
    methods = tables["merges"]
    height = TOP + STEP * len(methods) + BOTTOM
    bottom = height - BOTTOM
    second = LEFT + PANEL + GAP
    bold = 'font-weight="bold"'
    parts = [
        text(16, 24, "Accuracy over that of each task's own adapter",
             f'font-size="15" {bold}'),
        text(LEFT, TOP - 26, TITLES[0], bold),
        text(second, TOP - 26, TITLES[1], bold),
        *axes(bottom),
    ]  # fmt: skip
    lines = {
        LINES[row[1]]: row[5]
        for row in tables["alone"]
        if row[0] == "frozen base"
    }
    parts += levels(lines, bottom)
    for i, row in enumerate(methods):
        y = TOP + STEP * (i + 0.5)
        parts += [text(LEFT - 12, y + 4, row[0], 'text-anchor="end"')]
        parts += dots(row, y)
    parts += curves(tables["projections"], bottom)
    x = 16.0
    for kind, words in LEGEND:
        parts += [sign(kind, x, height - 16), text(x + 12, height - 12, words)]
        x += 44 + 6.2 * len(words)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}"'
        f' height="{height}" viewBox="0 0 {WIDTH} {height}" font-size="12"'
        f' font-family="system-ui, sans-serif" fill="{INK}" role="img">'
        "<title>Accuracies of merges and projections</title>"
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])
