"""The tables: ``layers.csv``, ``models.csv``, ``pairs.csv``.

Of a training run ``trajectory.csv`` besides; of aligned models
``alignment.csv``.
"""

import csv
import functools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.text import printable
from spectra.report.document import Report
from spectra.report.pairs import DECIMALS, MEASURES, pair_values
from spectra.report.rows import Row, layer_rows, model_rows
from spectra.report.trajectory import checkpoint_rows
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = [
    "alignment_csv",
    "layers_csv",
    "models_csv",
    "pairs_csv",
    "trajectory_csv",
]

_TRIGGERS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
"""What makes a spreadsheet read a cell as a formula, full-width forms too."""

_AT_ONCE = 2**22
"""Bytes of ``pairs.csv`` that are made at once, however long its names are."""

_ESCAPED = "#escaped"
"""Last column: 1 where a text of the row is not as it was found."""


def layers_csv(report: Report, /) -> Iterator[str]:
    """Yield the lines of ``layers.csv``, one layer a line."""
    return _sheet(layer_rows(report))


def models_csv(report: Report, /) -> Iterator[str]:
    """Yield the lines of ``models.csv``, one checkpoint a line."""
    return _sheet(model_rows(report))


def trajectory_csv(report: Report, /) -> Iterator[str]:
    """Yield the lines of ``trajectory.csv``, a layer and checkpoint each."""
    return _sheet(checkpoint_rows(report))


def alignment_csv(document: Report, /) -> Iterator[str]:
    """Yield the lines of ``alignment.csv``, a pair and metric each."""
    return _sheet(document["pairs"])


def pairs_csv(fit: PopulationFit, /) -> Iterator[str]:
    """Yield ``pairs.csv``, one layer and pair a line, many lines at once."""
    columns = ["layer", "architecture", "a", "b"]
    for measure in MEASURES:
        columns += [measure.key, f"{measure.key}_chance"]
    yield from _lines(columns, ())
    names = [model.id for model in fit.models]
    for layer in fit.layers:
        yield from _pair_lines(layer, names)


def _pair_lines(layer: LayerFit, names: Sequence[str]) -> Iterator[str]:
    """Yield the lines of one layer.

    There are millions of pairs: lines are made as a table of bytes, in which
    what is shorter than its column is filled up with zeros, which no cell has
    and which are left out at the end.
    """
    where = [layer.name, layer.architecture]
    members = [names[index] for index in layer.members]
    changed = np.array([_cell(name) != name for name in members])
    changed |= [_cell(name) for name in where] != where
    shown = _bytes([_in_line(_cell(name)) for name in members])
    place = _bytes(["".join(_in_line(_cell(name)) for name in where)])
    comma, ends = _bytes([","]), _bytes(["0\n", "1\n"])
    first, second, columns = pair_values(layer)
    fixed = len(columns) * (DECIMALS + 4) + 2
    step = max(1, _AT_ONCE // (place.size + 2 * shown.shape[1] + fixed))
    for start in range(0, len(first), step):
        i, j = (one[start : start + step] for one in (first, second))
        cells = [place, shown[i], shown[j]]
        for column in columns:
            cells += [_decimals(column[start : start + step]), comma]
        cells.append(ends[(changed[i] | changed[j]).astype(int)])
        tall = [np.broadcast_to(c, (len(i), c.shape[1])) for c in cells]
        yield np.hstack(tall).tobytes().translate(None, b"\0").decode()


def _in_line(cell: str) -> str:
    """Return a cell and its comma, quoted where it must be."""
    return str(_writer().writerow([cell, ""])).removesuffix("\n")


def _bytes(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return texts in UTF-8, one a row."""
    encoded = np.array([text.encode() for text in texts])
    return encoded.view(np.uint8).reshape(len(texts), -1)


def _decimals(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return numbers from -1 to 1 as text, one a row; nothing for NaN."""
    known = np.isfinite(values)
    steps = np.where(known, np.rint(values * 10**DECIMALS), 0).astype(int)
    whole, rest = np.divmod(np.abs(steps), 10**DECIMALS)
    text = np.zeros((len(values), DECIMALS + 3), np.uint8)
    text[:, 0] = np.where(steps < 0, ord("-"), 0)
    text[:, 1] = ord("0") + whole
    text[:, 2] = ord(".")
    is_last = np.ones(len(values), bool)
    for column in range(DECIMALS + 2, 2, -1):
        rest, digit = np.divmod(rest, 10)
        # No zeros at the end, except for the one of 0.0.
        is_last &= (digit == 0) & (column > 3)
        text[:, column] = np.where(is_last, 0, ord("0") + digit)
    text[~known] = 0
    return text


def _sheet(rows: Sequence[Row]) -> Iterator[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return _lines(columns, ([row.get(key) for key in columns] for row in rows))


class _Line:
    """What `csv.writer` writes to; `writerow` returns what this returns."""

    @staticmethod
    def write(line: str) -> str:
        return line


def _writer() -> Any:
    return csv.writer(_Line(), lineterminator="\n")


def _lines(
    columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> Iterator[str]:
    writer = _writer()
    yield str(writer.writerow([_cell(name) for name in columns] + [_ESCAPED]))
    for row in rows:
        cells = [_cell(value) for value in row]
        yield str(writer.writerow([*cells, int(cells != list(row))]))


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return _text_cell(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} in a table: undefined numbers are None")
    return value


@functools.lru_cache(maxsize=8192)
def _text_cell(text: str) -> str:
    shown = printable(text, limit=sys.maxsize)
    return f"'{shown}" if _starts_a_formula(text) else shown


def _starts_a_formula(text: str) -> bool:
    # A blank before the sign, or a line break, does not disarm it.
    starts = [line.strip()[:1] for line in text.splitlines()]
    return text[:1] in {"\t", "\r"} or not _TRIGGERS.isdisjoint(starts)
