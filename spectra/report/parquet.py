"""The tables of `spectra.report.sheets` as Parquet, with typed columns.

Numbers are numbers and what is undefined is null. Texts are as they were
found: nothing is escaped for a spreadsheet, which never sees them.
"""

import importlib.util
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spectra.core.errors import UsageError
from spectra.core.provenance import version
from spectra.report.document import Report
from spectra.report.pairs import MEASURES, pair_values
from spectra.report.rows import Row, layer_rows, model_rows
from spectra.report.trajectory import checkpoint_rows
from spectra.subspaces.result import LayerFit, PopulationFit

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "layers_parquet",
    "models_parquet",
    "pairs_parquet",
    "require_pyarrow",
    "trajectory_parquet",
]

_TEXTS = frozenset({
    "architecture", "davis_kahan_word", "duplicate_of", "id",
    "input_base_word", "input_verdict", "kind", "layer", "license", "name",
    "output_base_word", "output_verdict", "reasons", "revision", "shown_k",
    "verdict",
})  # fmt: skip
"""Columns that are texts, which a report may have none of."""

_WHOLE = frozenset({
    "effect_k", "group", "init_group", "input_first_direction_of",
    "input_first_direction_shared_by", "output_first_direction_of",
    "output_first_direction_shared_by",
})  # fmt: skip
"""Columns of whole numbers, which a report may have none of."""

_OF_BOTH = frozenset({"davis_kahan"})
"""Columns of numbers with words among them, such as ``vacuous``."""

_AT_ONCE = 2**20
"""Pairs in one row group, at most."""


def require_pyarrow() -> None:
    """Raise E_EXTRA where Parquet cannot be written."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "E_EXTRA",
            "the format parquet needs pyarrow",
            advice="pip install 'hf-spectra[table]'",
        )


def layers_parquet(report: Report, /) -> Iterator[bytes]:
    """Yield ``layers.parquet``, one layer a row."""
    return _file(_table(layer_rows(report)))


def models_parquet(report: Report, /) -> Iterator[bytes]:
    """Yield ``models.parquet``, one checkpoint a row."""
    return _file(_table(model_rows(report)))


def trajectory_parquet(report: Report, /) -> Iterator[bytes]:
    """Yield ``trajectory.parquet``, a layer and checkpoint each."""
    return _file(_table(checkpoint_rows(report)))


def pairs_parquet(fit: PopulationFit, /) -> Iterator[bytes]:
    """Yield ``pairs.parquet``, one layer and pair a row, many at once."""
    import pyarrow as pa

    texts = ["layer", "architecture", "a", "b"]
    numbers = [
        name
        for measure in MEASURES
        for name in (measure.key, f"{measure.key}_chance")
    ]
    schema = pa.schema(
        [(name, pa.string()) for name in texts]
        + [(name, pa.float64()) for name in numbers]
    )
    names = [_utf8(model.id) for model in fit.models]
    parts = (
        part for layer in fit.layers for part in _pairs(layer, names, schema)
    )
    return _written(schema, parts)


def _pairs(
    layer: LayerFit, names: Sequence[str], schema: "pa.Schema"
) -> "Iterator[pa.Table]":
    import pyarrow as pa

    first, second, columns = pair_values(layer)
    members = pa.array([names[index] for index in layer.members], pa.string())
    where = [_utf8(layer.name), _utf8(layer.architecture)]
    for start in range(0, len(first), _AT_ONCE):
        i, j = (one[start : start + _AT_ONCE] for one in (first, second))
        cells = [pa.repeat(pa.scalar(text), len(i)) for text in where]
        cells += [members.take(pa.array(index)) for index in (i, j)]
        for column in columns:
            values = column[start : start + _AT_ONCE]
            cells.append(pa.array(values, mask=~np.isfinite(values)))
        yield pa.table(cells, schema=schema)


def _table(rows: Sequence[Row]) -> "pa.Table":
    import pyarrow as pa

    names = dict.fromkeys(key for row in rows for key in row)
    columns = {
        key: values
        for name in names
        for key, values in _columns(name, [row.get(name) for row in rows])
    }
    return pa.table({
        name: pa.array(values, _type(name, values))
        for name, values in columns.items()
    })  # fmt: skip


def _columns(
    name: str, values: Sequence[Any]
) -> Iterator[tuple[str, list[Any]]]:
    """Yield a column; of one that holds both, numbers and words apart."""
    texts = [_cell(value) for value in values]
    if name in _OF_BOTH:
        yield name, [None if isinstance(v, str) else v for v in texts]
        name = f"{name}_word"
        texts = [v if isinstance(v, str) else None for v in texts]
    yield name, texts


def _type(name: str, values: Sequence[Any]) -> "pa.DataType":
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {str} or name in _TEXTS:
        return pa.string()
    if kinds == {bool} or name == "still_growing":
        return pa.bool_()
    is_whole = kinds == {int} or (not kinds and name in _WHOLE)
    return pa.int64() if is_whole else pa.float64()


def _cell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} in a table: undefined numbers are None")
    return _utf8(value) if isinstance(value, str) else value


def _utf8(text: str) -> str:
    """Return a text; half a surrogate pair, which UTF-8 lacks, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _file(table: "pa.Table") -> Iterator[bytes]:
    return _written(table.schema, [table])


class _Pieces(list[bytes]):
    """What `ParquetWriter` writes to."""

    closed = False

    def write(self, piece: Any) -> int:
        self.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Do nothing: whoever takes the pieces writes them."""


def _written(
    schema: "pa.Schema", tables: "Sequence[pa.Table] | Iterator[pa.Table]"
) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    pieces = _Pieces()
    said = {"spectra": version()}
    with pq.ParquetWriter(pieces, schema.with_metadata(said)) as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(said))
            yield from pieces
            pieces.clear()
    yield from pieces
