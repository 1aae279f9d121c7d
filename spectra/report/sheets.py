"""The tables ``layers.csv``, ``models.csv`` and ``pairs.csv``."""

import csv
import functools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spectra.core.text import printable
from spectra.report.document import Report
from spectra.report.pairs import MEASURES, pair_values
from spectra.report.rows import Row, layer_rows, model_rows
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["layers_csv", "models_csv", "pairs_csv"]

_TRIGGERS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
"""What makes a spreadsheet read a cell as a formula, full-width forms too."""

_ESCAPED = "#escaped"
"""Last column: 1 where a text of the row is not as it was found."""


def layers_csv(report: Report, /) -> Iterator[str]:
    """Yield the lines of ``layers.csv``, one layer a line."""
    return _sheet(layer_rows(report))


def models_csv(report: Report, /) -> Iterator[str]:
    """Yield the lines of ``models.csv``, one checkpoint a line."""
    return _sheet(model_rows(report))


def pairs_csv(fit: PopulationFit, /) -> Iterator[str]:
    """Yield the lines of ``pairs.csv``, one layer and pair a line."""
    columns = ["layer", "architecture", "a", "b"]
    for measure in MEASURES:
        columns += [measure.key, f"{measure.key}_chance"]
    names = [model.id for model in fit.models]
    rows = (
        row for layer in fit.layers for row in _pair_rows(layer, names=names)
    )
    return _lines(columns, rows)


def _pair_rows(
    layer: LayerFit, /, *, names: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    first, second, columns = pair_values(layer)
    members = [names[index] for index in layer.members]
    pairs = zip(first.tolist(), second.tolist(), *columns, strict=True)
    for i, j, *values in pairs:
        yield (
            layer.name, layer.architecture, members[i], members[j], *values
        )  # fmt: skip


def _sheet(rows: Sequence[Row]) -> Iterator[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return _lines(columns, ([row.get(key) for key in columns] for row in rows))


class _Line:
    """What `csv.writer` writes to; `writerow` returns what this returns."""

    @staticmethod
    def write(line: str) -> str:
        return line


def _lines(
    columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> Iterator[str]:
    writer = csv.writer(_Line(), lineterminator="\n")
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
