"""Two checkpoints, tensor by tensor: what moved, how far, in what rank."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.backend.memory import parse_bytes
from spectra.backend.threads import in_order
from spectra.core.catalog import (
    Checkpoint,
    DenseSource,
    LayerKey,
    LayerSource,
    LowRankSource,
    Quarantined,
)
from spectra.core.errors import Quarantine
from spectra.core.events import Observer, Progress
from spectra.core.provenance import version
from spectra.core.tensors import REAL_DTYPES
from spectra.core.text import natural
from spectra.statistics.plain import with_reason
from spectra.statistics.spectrum.norms import norms
from spectra.study.inspection import workers_for
from spectra.study.scan import one_checkpoint, opening
from spectra.study.tensors import named_alike, tensors_of, wrapper_of
from spectra.subspaces.single import (
    layer_spectrum,
    nbytes_of,
    update_spectrum,
)
from spectra.weights.bytes import Opener
from spectra.weights.soundness import fault_in
from spectra.weights.stream import DenseReader, TensorReader, read_low_rank

__all__ = ["SCHEMA", "difference"]

SCHEMA = "spectra-difference/1"

Document = dict[str, Any]

_PIECE = 2**21

_ZERO = "the first is zero"
_NO_MATRIX = "a vector has no rank"
_SAME = "nothing moved"
_NO_WEIGHTS = "no real numbers: only its bytes are compared"


@dataclass(frozen=True, slots=True)
class _Pair:
    """A tensor, or an adapter's update, that both have in one shape."""

    name: str
    key: LayerKey | None
    a: LayerSource
    b: LayerSource

    @property
    def tensor(self) -> str:
        return self.a.tensors[0].name

    @property
    def shape(self) -> tuple[int, ...]:
        if self.key is not None:
            return self.key.shape
        return self.a.tensors[0].shape

    @property
    def nbytes(self) -> int:
        if self.key is None:
            return 4 * 8 * _PIECE + 2 * self.a.tensors[0].nbytes
        beside = self.a if isinstance(self.a, DenseSource) else None
        return nbytes_of(self.key, self.b, base=beside) + 4 * 8 * _PIECE


@dataclass(frozen=True, slots=True)
class _Moved:
    """One row of the document, and what it adds to the whole.

    Attributes
    ----------
    tensor
        As it is stored: several rows may be parts of one.
    squares
        Of a, of b and of b - a, and the inner product of a and b.
    """

    row: Document
    tensor: str
    squares: tuple[float, float, float, float]

    @property
    def has_moved(self) -> bool:
        return not self.row["identical"]


def difference(
    a: str,
    b: str,
    /,
    *,
    memory: str | int = "4GiB",
    on_event: Observer | None = None,
) -> Document:
    """Return how far each tensor of one checkpoint is from another's.

    Tensors meet by name and shape; a wrapper around all names of the one is
    taken away. The updates of two adapters are compared, not their factors.

    Parameters
    ----------
    a, b
        SOURCEs that are one checkpoint each.
    memory
        What the process may take.
    on_event
        Told after each tensor.

    Raises
    ------
    UsageError
        When one of them is no single checkpoint.
    BudgetError
        When a layer does not fit `memory`, before anything is compared.
    """
    one, other = named_alike(
        one_checkpoint(a, code="E_MODEL", what="the first"),
        one_checkpoint(b, code="E_MODEL", what="the second"),
    )
    files = {file.path: file for each in (one, other) for file in each.files}
    limit = parse_bytes(memory) if isinstance(memory, str) else memory
    found: list[_Moved] = []
    lost: list[Quarantined] = []
    with opening(files) as opener:
        held = [_held(model, opener) for model in (one, other)]
        pairs = list(_pairs(*held))
        workers = workers_for([pair.nbytes for pair in pairs], limit)
        work = partial(_compared, other.id, files, opener)
        for pair, moved in in_order(work, pairs, workers=workers):
            if isinstance(moved, Quarantined):
                lost.append(moved)
            else:
                found.append(moved)
            if on_event is not None:
                n = len(found) + len(lost)
                on_event(Progress("diff", n, len(pairs), pair.name))
    return {
        "schema": SCHEMA,
        "version": version(),
        "a": one.id,
        "b": other.id,
        **_together(found),
        "n_common": len({pair.tensor for pair in pairs}),
        "n_moved": len({each.tensor for each in found if each.has_moved}),
        "only_in_a": _only(held[0], held[1]),
        "only_in_b": _only(held[1], held[0]),
        "coverage": _coverage(held[0], held[1], lost),
        "layers": [each.row for each in found],
        "quarantine": [asdict(each) for each in lost],
    }


def _together(found: Sequence[_Moved]) -> Document:
    a, b, moved, dot = (
        (
            math.fsum(values)
            for values in zip(*(each.squares for each in found), strict=True)
        )
        if found
        else (0.0,) * 4
    )
    move = math.sqrt(moved / a) if a else None
    cosine = dot / math.sqrt(a * b) if a and b else None
    return {
        **with_reason("relative_move", move, _ZERO),
        **with_reason("cosine", cosine, "one of them is zero"),
    }


Held = Mapping[str, tuple[LayerKey | None, LayerSource]]


def _held(model: Checkpoint, opener: Opener) -> Held:
    """Return every tensor by name; the factors of an update are one."""
    held: dict[str, tuple[LayerKey | None, LayerSource]] = {}
    taken = set()
    for key, source in model.layers:
        held[key.name] = (key, source)
        taken |= {ref.name for ref in source.tensors}
    wrapper = wrapper_of(model)
    for tensor in tensors_of(model, opener):
        ref = tensor.weight
        if ref.name not in taken:
            held[ref.name.removeprefix(wrapper)] = (None, DenseSource(ref))
    return held


def _pairs(a: Held, b: Held) -> Iterator[_Pair]:
    for name in sorted(a.keys() & b.keys(), key=natural):
        (key, one), (other_key, other) = a[name], b[name]
        shapes = [source.tensors[0].shape for source in (one, other)]
        if key == other_key and (key is not None or shapes[0] == shapes[1]):
            yield _Pair(name, key, one, other)


def _compared(
    model: str, files: Any, opener: Opener, pair: _Pair
) -> _Moved | Quarantined:
    tensors = TensorReader(files, opener)
    a, b = pair.a, pair.b
    try:
        if isinstance(a, LowRankSource) and isinstance(b, LowRankSource):
            return _of_updates(pair, a, b, tensors)
        if isinstance(a, DenseSource) and isinstance(b, DenseSource):
            return _of_tensors(pair, a, b, tensors)
        raise TypeError(f"{pair.name} is of two kinds")
    except Quarantine as reason:
        return Quarantined(model, pair.name, reason.code, reason.detail)


def _of_updates(
    pair: _Pair, a: LowRankSource, b: LowRankSource, tensors: TensorReader
) -> _Moved:
    one, other = (read_low_rank(each, tensors) for each in (a, b))
    spectra = [
        update_spectrum(each).s for each in (one, other, other.minus(one))
    ]
    x, y, moved = (float(np.sum(s * s)) for s in spectra)
    squares = x, y, moved, (x + y - moved) / 2
    is_same = one.digest == other.digest
    return _row(pair, squares, spectra[2], is_same=is_same)


def _of_tensors(
    pair: _Pair, a: DenseSource, b: DenseSource, tensors: TensorReader
) -> _Moved:
    refs = a.weight, b.weight
    if any(ref.dtype not in REAL_DTYPES or not ref.size for ref in refs):
        return _of_bytes(pair, a, b, tensors)
    shape = (1, refs[0].size) if pair.key is None else pair.key.shape
    reader = DenseReader(
        shape, (a, b), None, np.float64, a.transposed, tensors
    )
    squares, is_same = np.zeros(4), True
    for start in range(0, reader.size, _PIECE):
        stop = min(start + _PIECE, reader.size)
        x, y = (reader.block(i, start, stop) for i in (0, 1))
        for values, ref in zip((x, y), refs, strict=True):
            fault = fault_in(values, ref.dtype)
            if fault is not None:
                raise fault
        is_same = is_same and np.array_equal(x, y)
        squares += [x @ x, y @ y, (y - x) @ (y - x), x @ y]
    spectrum = None
    if pair.key is not None and not is_same:
        spectrum = layer_spectrum(pair.key, b, tensors, base=a).s
    x2, y2, moved, dot = squares.tolist()
    return _row(pair, (x2, y2, moved, dot), spectrum, is_same=is_same)


def _of_bytes(
    pair: _Pair, a: DenseSource, b: DenseSource, tensors: TensorReader
) -> _Moved:
    one, other = a.weight, b.weight
    is_same = one.dtype == other.dtype
    if is_same and one.size:
        first = tensors.read(one, 0, one.size).copy()
        is_same = np.array_equal(first, tensors.read(other, 0, other.size))
    row = {"name": pair.name, "shape": list(pair.shape), "identical": is_same}
    for key in ("relative_move", "cosine", "effective_rank"):
        row |= with_reason(key, None, _NO_WEIGHTS)
    return _Moved(row, pair.tensor, (0.0, 0.0, 0.0, 0.0))


def _row(
    pair: _Pair,
    squares: tuple[float, float, float, float],
    spectrum: NDArray[np.float64] | None,
    *,
    is_same: bool,
) -> _Moved:
    a, b, moved, dot = squares
    rank = None
    if spectrum is not None and pair.key is not None and not is_same:
        s = np.zeros(min(pair.key.shape))
        s[: len(spectrum)] = spectrum[: len(s)]
        eps = float(np.finfo(np.float32).eps)
        rank = norms(s, pair.key.shape, eps=eps).effective_rank
    move = math.sqrt(moved / a) if a else None
    cosine = dot / math.sqrt(a * b) if a and b else None
    no_rank = _NO_MATRIX if pair.key is None else _SAME
    row = {
        "name": pair.name,
        "shape": list(pair.shape),
        "identical": is_same,
        **with_reason("relative_move", move, _ZERO),
        **with_reason("cosine", cosine, "one of them is zero"),
        **with_reason("effective_rank", rank, no_rank),
    }
    return _Moved(row, pair.tensor, squares)


def _only(these: Held, those: Held) -> list[str]:
    return sorted(these.keys() - {pair.name for pair in _pairs(these, those)})


def _coverage(a: Held, b: Held, lost: list[Quarantined]) -> list[Document]:
    """Return what became of each name of either."""
    codes = {each.layer: each.code for each in lost}
    compared = {pair.name for pair in _pairs(a, b)}
    rows = []
    for name in sorted(a.keys() | b.keys(), key=natural):
        status, reason = "skipped", None
        if name in codes:
            status, reason = "refused", codes[name]
        elif name in compared:
            status = "analysed"
        elif name not in b:
            reason = "ONLY_IN_A"
        elif name not in a:
            reason = "ONLY_IN_B"
        else:
            reason = "OTHER_SHAPE"
        rows.append({"tensor": name, "status": status, "reason": reason})
    return rows
