"""One layer of a member again, in the form in which the member keeps it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from spectra.apply.compression.factors import factored, factored_nbytes
from spectra.backend.memory import Budget
from spectra.core.catalog import DenseSource, LayerSource, LowRankSource
from spectra.core.errors import IntegrityError, UsageError
from spectra.core.tensors import TensorRef
from spectra.core.text import printable
from spectra.study.compression.compressed import Kept
from spectra.study.compression.stored import Form, source_in
from spectra.study.originals import Original
from spectra.subspaces.rebuilt import rebuilt
from spectra.weights.bytes import Opener
from spectra.weights.dtypes import encoded
from spectra.weights.stream import DenseReader, TensorReader

__all__ = ["Put", "Stored", "Unit", "Workshop", "units_of", "within"]

Document = dict[str, Any]

_PIECE = 1 << 18
"""Entries of a map that are made at a time."""

Put = Callable[[TensorRef, int, NDArray[Any]], None]
"""Takes numbers in a tensor's dtype, and how many of it stand before them."""


class Stored(Protocol):
    """A layer of a member, of any scheme."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def form(self) -> Form:
        """Return how the member keeps it."""


_Layer = TypeVar("_Layer", bound=Stored)


@dataclass(frozen=True, slots=True)
class Unit(Generic[_Layer]):
    """What is made in one go: a full weight, or an update with its parts.

    Attributes
    ----------
    parts
        Layers, and where the member keeps them: of an update, rows of B.
    """

    parts: tuple[tuple[_Layer, LayerSource], ...]

    @property
    def name(self) -> str:
        """Return the name of its first layer."""
        return self.parts[0][0].name


def units_of(kept: Iterable[_Layer], own: Original, /) -> list[Unit[_Layer]]:
    """Return what a member's layers are made of.

    Parameters
    ----------
    kept
        Its layers.
    own
        Its files.

    Raises
    ------
    UsageError
        E_COMPRESSED when an update was compressed in part.
    IntegrityError
        When the member does not keep them so.
    """
    whole: list[Unit[_Layer]] = []
    parts: dict[str, list[tuple[_Layer, LowRankSource]]] = {}
    for layer in kept:
        source = source_in(layer.form, own.tensors, path=own.path)
        if isinstance(source, LowRankSource):
            parts.setdefault(source.A.name, []).append((layer, source))
        else:
            whole.append(Unit(((layer, source),)))
    for held in parts.values():
        held.sort(key=lambda part: part[1].B.start)
        rows = sum(source.B.nbytes for _, source in held)
        if rows != own.tensors[held[0][1].B.name].nbytes:
            raise UsageError(
                "E_COMPRESSED",
                f"of {printable(held[0][1].B.name, 80)} only a part was"
                " compressed, and all of it has one factor A",
                advice="compress the run with all its parts in --layers",
            )
        whole.append(Unit(tuple(held)))
    return whole


@dataclass(frozen=True, slots=True)
class Workshop:
    """What makes layers.

    Attributes
    ----------
    reader
        Reads mean and basis.
    base
        What was subtracted; None for nothing.
    opener
        Opens its files.
    memory
        What the process may take.
    """

    reader: TensorReader
    base: Original | None
    opener: Opener
    memory: int

    def make(self, unit: Unit[Kept], put: Put, /) -> list[Document]:
        """Write a unit, and say of each layer how far it is from what it was.

        Parameters
        ----------
        unit
            Of a member.
        put
            Takes what it is made of.

        Raises
        ------
        BudgetError
            When it does not fit the memory.
        IntegrityError
            When the base is not what was subtracted.
        """
        layer, source = unit.parts[0]
        if isinstance(source, DenseSource):
            self._weight(layer, source, put)
            rank: Document = {}
        else:
            updates = [
                s for _, s in unit.parts if isinstance(s, LowRankSource)
            ]
            rank = self._update([k for k, _ in unit.parts], updates, put)
        return [
            {"name": each.name, "k": len(each.coordinates),
             "error": each.error, **rank}
            for each, _ in unit.parts
        ]  # fmt: skip

    def _weight(self, layer: Kept, source: DenseSource, put: Put) -> None:
        """Write a full weight in pieces; one that lies turned, in one."""
        below = layer.base
        turned = source.transposed or (below is not None and below.transposed)
        entries = layer.mean.size if turned else _PIECE
        # The base is read whole, for its digest.
        held = 0 if below is None else below.parts[0].nbytes
        # A piece, what is added to it, the base, and what is written.
        self._require(layer, held + 40 * min(entries, layer.mean.size))
        base = self._base(layer)
        for start, piece in self._pieces(layer, base, entries):
            found = piece
            if source.transposed:
                found = piece.reshape(layer.shape).T.reshape(-1)
            put(source.weight, start, within(found, source.weight.dtype))

    def _update(
        self,
        layers: Sequence[Kept],
        sources: Sequence[LowRankSource],
        put: Put,
    ) -> Document:
        """Write the factors of the best update of the member's own rank."""
        rows = sum(layer.shape[0] for layer in layers)
        shape = rows, layers[0].shape[1]
        first = sources[0]
        needs = factored_nbytes(shape) + 8 * shape[0] * shape[1]
        self._require(layers[0], needs + 24 * _PIECE)
        W = np.empty(shape)
        flat, at = W.reshape(-1), 0
        for layer in layers:
            for start, piece in self._pieces(layer, None, _PIECE):
                flat[at + start : at + start + piece.size] = piece
            at += layer.mean.size
        W *= 1 / first.scale if first.scale else 0.0
        found = factored(W, first.rank)
        A, B = within(found.A, first.A.dtype), within(found.B, first.B.dtype)
        put(first.A, 0, A.reshape(-1))
        put(first.B, 0, B.reshape(-1))
        norm = float(np.linalg.norm(W))
        W -= B.astype(np.float64) @ A.astype(np.float64)
        return {
            "rank": first.rank,
            "rank_error": found.error,
            "stored_error": float(np.linalg.norm(W)) / norm if norm else 0.0,
        }

    def _pieces(self, layer: Kept, base: DenseReader | None, n: int) -> Any:
        return rebuilt(
            layer.mean, layer.basis, layer.coordinates, base, self.reader,
            entries=n,
        )  # fmt: skip

    def _require(self, layer: Kept, nbytes: int) -> None:
        room = Budget.of_process(self.memory, workers=1)
        room.require(f"layer {printable(layer.name)}", nbytes)

    def _base(self, layer: Kept) -> DenseReader | None:
        if layer.base is None or self.base is None:
            return None
        own = self.base
        source = source_in(layer.base, own.tensors, path=own.path)
        if not isinstance(source, DenseSource):
            raise IntegrityError(own.path, "is no full weights")
        files = {file.path: file for file in own.files.values()}
        tensors = TensorReader(files, self.opener)
        reader = DenseReader(
            layer.shape, (source,), None, np.float64, False, tensors
        )
        if reader.digest(0).hex() != layer.base_digest:
            raise IntegrityError(
                printable(own.path, 1000),
                f"is not the base that was subtracted from"
                f" {printable(layer.name)}",
                advice="restore the base's files",
            )
        return reader


def within(values: NDArray[np.float64], dtype: str, /) -> NDArray[Any]:
    """Return numbers in a dtype, none beyond its largest.

    Those of the member are not, so that this only brings them nearer.
    """
    kind = encoded(np.zeros(1), dtype).dtype
    largest = float(ml_dtypes.finfo(kind).max)  # type: ignore[no-untyped-call]
    return encoded(np.clip(values, -largest, largest), dtype)
