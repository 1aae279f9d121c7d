"""Small charts over the checkpoints of a training run, as points of SVG."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spectra.core.text import printable
from spectra.report.document import Report
from spectra.report.wording import number

__all__ = ["LINES_BUDGET", "Chart", "Line", "training_charts"]

LINES_BUDGET = 2**21
"""Characters of points in one page; layers beyond it are in the tables."""

_SHORT = 40
"""Characters of a layer's name that a narrow screen has room for."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 350.0, 34.0, 210.0
"""The box of the page's other plots, which are 360 x 250."""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve, in pieces where values are missing.

    Attributes
    ----------
    kind
        A class of the style sheet.
    pieces
        Points as an SVG polyline has them.
    dots
        (x, y) of values with none beside them.
    """

    name: str
    kind: str
    pieces: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One small chart.

    Attributes
    ----------
    low, high
        What its vertical axis begins and ends with, as text.
    marks
        Horizontal places of changes.
    """

    title: str
    low: str
    high: str
    lines: tuple[Line, ...]
    marks: tuple[float, ...]


def training_charts(report: Report, /) -> list[tuple[str, list[Chart]]]:
    """Return layers, by a short name, with charts, while there is room."""
    found: list[tuple[str, list[Chart]]] = []
    left = LINES_BUDGET
    for layer in report["layers"]:
        if not layer.get("trajectory"):
            continue
        charts = list(_charts(layer["trajectory"], report["trajectory"]))
        left -= sum(
            len(piece)
            for chart in charts
            for line in chart.lines
            for piece in line.pieces
        )
        if left < 0:
            break
        found.append((printable(layer["name"], _SHORT), charts))
    return found


def _charts(
    found: Mapping[str, Any], run: Mapping[str, Any]
) -> Iterator[Chart]:
    weights = found["weights"]
    output, into = found["output_side"], found["input_side"]
    ids = [run["checkpoints"][place]["id"] for place in found["places"]]
    at = (found["changes"] or {"at": ()})["at"]
    axis = _Axis(len(ids), tuple(ids.index(name) for name in at))
    yield axis.chart(
        "Overlap with the last one's directions", (0.0, 1.0),
        ("output", "observed", output["last_overlap"]),
        ("input", "norms", into["last_overlap"]),
        ("chance", "isotropic", output["last_chance"]),
        ("", "isotropic", into["last_chance"]),
    )  # fmt: skip
    yield axis.chart(
        "Distance, in norms of the last one",
        None,
        ("from the first", "observed", weights["from_first"]),
        ("to the last", "norms", weights["to_last"]),
    )
    yield axis.chart(
        "Cosine with the step before",
        (-1.0, 1.0),
        ("cosine", "observed", [None, None, *weights["cosine"]]),
        ("unrelated", "isotropic", [0.0] * len(ids)),
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    """Checkpoints side by side."""

    n: int
    changes: tuple[int, ...]

    def x(self, i: int) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * i / max(1, self.n - 1), 1)

    def chart(
        self,
        title: str,
        ends: tuple[float, float] | None,
        *curves: tuple[str, str, Sequence[float | None]],
    ) -> Chart:
        known = [v for _, _, values in curves for v in values if v is not None]
        low, high = ends or (0.0, max(known, default=0.0) or 1.0)
        return Chart(
            title,
            number(low),
            number(high),
            tuple(self._line(*curve, low, high) for curve in curves),
            tuple(map(self.x, self.changes)),
        )

    def _line(
        self,
        name: str,
        kind: str,
        values: Sequence[float | None],
        low: float,
        high: float,
    ) -> Line:
        pieces: list[list[tuple[float, float]]] = [[]]
        for i, value in enumerate(values):
            if value is None:
                pieces.append([])
                continue
            y = _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low)
            pieces[-1].append((self.x(i), round(y, 1)))
        return Line(
            name,
            kind,
            tuple(
                " ".join(f"{x},{y}" for x, y in piece)
                for piece in pieces
                if len(piece) > 1
            ),
            tuple(piece[0] for piece in pieces if len(piece) == 1),
        )
