"""One layer of one architecture, from bytes to small matrices."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spectra.core.catalog import (
    DenseSource,
    LayerKey,
    LayerSource,
    LowRankSource,
    Quarantined,
)
from spectra.core.errors import Quarantine
from spectra.core.tensors import FileRef, TensorRef
from spectra.subspaces.dense import dense_products
from spectra.subspaces.lowrank import low_rank_products
from spectra.subspaces.products import (
    Pass,
    Products,
    Register,
    TooFewMembersError,
)
from spectra.subspaces.result import LayerFit, LayerOutcome
from spectra.weights.bytes import Ahead, Opener, ReadsAhead
from spectra.weights.stream import (
    DenseReader,
    TensorReader,
    read_low_rank,
)

__all__ = [
    "LayerTask",
    "ahead_of",
    "dense_reader",
    "digests",
    "fit_layer",
    "kept_nbytes",
]


@dataclass(frozen=True, slots=True)
class LayerTask:
    """What to read for one layer.

    Attributes
    ----------
    holders
        (index in the population, id, where it keeps the layer), ascending.
    files
        What the files were when they were scanned, by path.
    base
        Where the base that is subtracted keeps it; None for none.
    beside
        Where the base of adapters keeps it, which are updates already.
    """

    key: LayerKey
    architecture: str
    holders: tuple[tuple[int, str, LayerSource], ...]
    files: Mapping[str, FileRef]
    base: DenseSource | None = None
    beside: DenseSource | None = None

    @property
    def refs(self) -> tuple[TensorRef, ...]:
        """Return its tensors in the order in which they are read."""
        held = (source for _, _, source in self.holders)
        return tuple(
            ref
            for source in (self.base, *held, self.beside)
            if source is not None
            for ref in source.tensors
        )

    @property
    def nbytes(self) -> int:
        """Return the bytes that its members' tensors take in the files."""
        return sum(
            ref.nbytes
            for _, _, source in self.holders
            for ref in source.tensors
        )


def fit_layer(task: LayerTask, how: Pass, /) -> LayerOutcome:
    """Return what one pass over one layer's bytes leaves behind.

    Parameters
    ----------
    task
        The layer and its holders.
    how
        As for every layer of the run.

    Raises
    ------
    BudgetError
        When the layer does not fit, before anything is read.
    """
    try:
        with how.device.strict():
            products = _products(task, how)
    except TooFewMembersError as reason:
        left_out = Quarantined("", task.key.name, reason.code, reason.detail)
        aside = _set_aside(task, reason.register)
        return LayerOutcome(None, aside, (left_out,))
    except Quarantine as reason:
        # The base cannot be used, or a file changed between two readings.
        lost = Quarantined("all", task.key.name, reason.code, reason.detail)
        return LayerOutcome(None, (lost,))
    aside = _set_aside(task, products.register)
    return LayerOutcome(_named(task, products), aside)


def digests(
    task: LayerTask, opener: Opener, /
) -> tuple[tuple[str, ...], str | None]:
    """Return the hashes of a layer's bytes now, as in `LayerFit`.

    Parameters
    ----------
    task
        With the fitted members alone.
    opener
        Opens their files.
    """
    tensors = TensorReader(task.files, opener)
    factors = [s for _, _, s in task.holders if isinstance(s, LowRankSource)]
    if factors:
        updates = (read_low_rank(source, tensors) for source in factors)
        read = tuple(update.digest.hex() for update in updates)
        return read, _digest_beside(task, tensors)
    reader = dense_reader(task, np.float64, tensors)
    base = reader.base_digest()
    found = (reader.digest(i).hex() for i in range(len(reader.sources)))
    return tuple(found), base.hex() if base else None


def kept_nbytes(task: LayerTask, dtype: Any, /) -> int:
    """Return at most what a layer's members take while it is fitted."""
    return dense_reader(task, dtype, TensorReader(task.files)).kept_nbytes


def dense_reader(
    task: LayerTask, dtype: Any, tensors: TensorReader, /
) -> DenseReader:
    """Return what reads a layer of full weights, most of them as stored."""
    whole = tuple(s for _, _, s in task.holders if isinstance(s, DenseSource))
    transposed = sum(s.transposed for s in whole) > len(whole) / 2
    return DenseReader(
        task.key.shape, whole, task.base, dtype, transposed, tensors
    )


def _products(task: LayerTask, how: Pass) -> Products:
    with ahead_of(task, how.opener) as ahead:
        tensors = TensorReader(task.files, how.opener, ahead)
        sources = tuple(source for _, _, source in task.holders)
        names = tuple(name for _, name, _ in task.holders)
        factors = tuple(s for s in sources if isinstance(s, LowRankSource))
        if factors:
            return low_rank_products(
                factors, names, task.key.shape, tensors, how, task.beside
            )
        reader = dense_reader(task, how.dtype, tensors)
        return dense_products(reader, names, how)


def _digest_beside(task: LayerTask, tensors: TensorReader) -> str | None:
    """Return the hash of the base's bytes, None where it cannot be read."""
    if task.beside is None:
        return None
    reader = DenseReader(
        task.key.shape, (task.beside,), None, np.float64, False, tensors
    )
    try:
        return reader.digest(0).hex()
    except Quarantine:
        return None


def ahead_of(
    task: LayerTask, opener: Opener, /
) -> AbstractContextManager[Ahead | None]:
    """Give what fetches a layer's tensors of a hub before they are read."""
    if not isinstance(opener, ReadsAhead):
        return nullcontext()
    return opener.read_ahead(
        [(ref, task.files[ref.file]) for ref in task.refs]
    )


def _set_aside(task: LayerTask, register: Register) -> tuple[Quarantined, ...]:
    return tuple(
        Quarantined(
            task.holders[i][1], task.key.name, reason.code, reason.detail
        )
        for i, reason in register.failed
    )


def _named(task: LayerTask, products: Products) -> LayerFit:
    index = [number for number, _, _ in task.holders]
    register, beside = products.register, products.alignment
    output, input_ = products.output, products.input
    if beside is not None:
        output = replace(output, base=beside.output)
        input_ = replace(input_, base=beside.input)
    return LayerFit(
        name=task.key.name,
        architecture=task.architecture,
        shape=task.key.shape,
        kind="difference" if task.base is not None else task.key.kind,
        members=tuple(index[i] for i in register.kept),
        duplicates=tuple((index[i], index[j]) for i, j in register.duplicates),
        inner=products.inner,
        h=products.h,
        reference_energy=products.reference_energy,
        rounding=products.rounding,
        resolution=products.resolution,
        singular_values=products.singular_values,
        ranks=products.ranks,
        output=output,
        input=input_,
        initial=products.initial,
        directions=products.directions,
        digests=tuple(register.digests),
        weights=products.spread.weights,
        entry_sums=products.spread.entry_sums,
        row_sums=products.spread.row_sums,
        row_products=products.spread.row_products,
        fold_of=products.fold_of,
        base_digest=products.base_digest,
        base=beside.base if beside else None,
        base_fault=products.base_fault,
    )
