"""The figure of this folder's page, drawn from the rows of its tables."""

from collections.abc import Iterator, Sequence
from html import escape

Row = Sequence[str]

LEFT, PANEL, GAP, RIGHT = 160, 240, 60, 196
TOP, STEP, BOTTOM = 84, 26, 46
WIDTH = LEFT + 2 * PANEL + GAP + RIGHT

INK, MUTED, LINE = "#1b2126", "#58626b", "#dfdcd4"
ACCENT, TRAP, PAPER = "#0b5a7d", "#a3480b", "#ffffff"

PANELS = ("Across models: model-axis", "Rows, inputs: rows-pca")
LEGEND = (
    ("recipe", "the recipe"),
    ("chance", "chance, as the recipe's null has it"),
    ("strength", "nothing shared, own norms or own singular values"),
)


def text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def mark(kind: str, x: float, y: float) -> str:
    """Return the sign of one share."""
    if kind == "recipe":
        return f'<circle cx="{x:g}" cy="{y:g}" r="5" fill="{ACCENT}"/>'
    if kind == "chance":
        line = f'M{x:g} {y - 8:g}v16" stroke="{MUTED}" stroke-width="2'
        return f'<path d="{line}"/>'
    corners = f"M{x:g} {y - 7:g}l7 7l-7 7l-7 -7z"
    paint = f'fill="none" stroke="{TRAP}" stroke-width="1.5"'
    return f'<path d="{corners}" {paint}/>'


def scale(left: float, height: float) -> Iterator[str]:
    for tenth in range(0, 11, 2):
        x = left + PANEL * tenth / 10
        line = f'M{x:g} {TOP - 14}V{height - BOTTOM}" stroke="{LINE}'
        yield f'<path d="{line}"/>'
        label = f'text-anchor="middle" fill="{MUTED}"'
        yield text(x, height - BOTTOM + 16, f"{tenth / 10:g}", label)


def shares(left: float, y: float, k: str, values: Row) -> Iterator[str]:
    """Yield the signs of one row of one panel, and its k."""
    signs = zip(("strength", "chance", "recipe"), values[::-1], strict=True)
    for kind, value in signs:
        if value != "none":
            yield mark(kind, left + PANEL * float(value), y)
    yield text(left + PANEL + 8, y + 4, f"k = {k}", f'fill="{MUTED}"')


def legend(height: float) -> Iterator[str]:
    x = 16
    for kind, words in LEGEND:
        yield mark(kind, x, height - 12)
        yield text(x + 12, height - 8, words)
        x += 36 + 6.2 * len(words)


def draw(models: Sequence[Row], sides: Sequence[Row]) -> str:
    """Return an SVG of each population's shares beside chance."""
    inputs = [row for row in sides if row[1] == "inputs"]
    height = TOP + STEP * len(models) + BOTTOM
    second = LEFT + PANEL + GAP
    parts = [text(16, 24, "Share of k directions, mean over layers",
                  'font-size="15" font-weight="bold"')]  # fmt: skip
    for left, title in zip((LEFT, second), PANELS, strict=True):
        parts += [text(left, TOP - 26, title, 'font-weight="bold"')]
        parts += scale(left, height)
    words = second + PANEL + 64
    parts += [text(words, TOP - 26, "spectra's word", 'font-weight="bold"')]
    for i, (axis, rows) in enumerate(zip(models, inputs, strict=True)):
        y = TOP + STEP * i
        parts += [text(LEFT - 12, y + 4, axis[0], 'text-anchor="end"')]
        parts += shares(LEFT, y, axis[3], axis[4:7])
        parts += shares(second, y, rows[2], (rows[4], rows[5], rows[7]))
        parts += [text(words, y + 4, axis[-1])]
    parts += legend(height)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}"'
        f' height="{height}" viewBox="0 0 {WIDTH} {height}" font-size="12"'
        f' font-family="system-ui, sans-serif" fill="{INK}" role="img">'
        "<title>Shares of k directions beside chance</title>"
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])
