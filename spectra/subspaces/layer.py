"""One layer of one architecture, from bytes to small matrices."""

from collections.abc import Mapping
from dataclasses import dataclass

from spectra.core.catalog import (
    DenseSource,
    LayerKey,
    LayerSource,
    LowRankSource,
    Quarantined,
)
from spectra.core.errors import Quarantine
from spectra.core.tensors import FileRef
from spectra.subspaces.dense import dense_products
from spectra.subspaces.lowrank import low_rank_products
from spectra.subspaces.products import (
    Pass,
    Products,
    Register,
    TooFewMembersError,
)
from spectra.subspaces.result import LayerFit
from spectra.weights.stream import DenseReader, TensorReader

__all__ = ["LayerOutcome", "LayerTask", "fit_layer"]


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
        Where the base keeps it; None for none.
    """

    key: LayerKey
    architecture: str
    holders: tuple[tuple[int, str, LayerSource], ...]
    files: Mapping[str, FileRef]
    base: DenseSource | None = None

    @property
    def nbytes(self) -> int:
        """Return the bytes that its tensors take in the files."""
        return sum(
            ref.nbytes
            for _, _, source in self.holders
            for ref in source.tensors
        )


@dataclass(frozen=True, slots=True)
class LayerOutcome:
    """A layer's result, and what was set aside on the way.

    Attributes
    ----------
    fit
        None where fewer than two distinct members were left.
    """

    fit: LayerFit | None
    quarantine: tuple[Quarantined, ...]
    left_out: tuple[Quarantined, ...] = ()


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
        products = _products(task, how)
    except TooFewMembersError as reason:
        left_out = Quarantined("", task.key.name, reason.code, reason.detail)
        aside = _set_aside(task, reason.register)
        return LayerOutcome(None, aside, (left_out,))
    except Quarantine as reason:
        # A file changed between the two readings of a large layer.
        lost = Quarantined("", task.key.name, reason.code, reason.detail)
        return LayerOutcome(None, (lost,))
    aside = _set_aside(task, products.register)
    return LayerOutcome(_named(task, products), aside)


def _products(task: LayerTask, how: Pass) -> Products:
    tensors = TensorReader(task.files)
    sources = tuple(source for _, _, source in task.holders)
    factors = tuple(s for s in sources if isinstance(s, LowRankSource))
    if factors:
        return low_rank_products(factors, task.key.shape, tensors, how)
    whole = tuple(s for s in sources if isinstance(s, DenseSource))
    transposed = sum(s.transposed for s in whole) > len(whole) / 2
    reader = DenseReader(
        task.key.shape, whole, task.base, how.dtype, transposed, tensors
    )
    return dense_products(reader, how)


def _set_aside(task: LayerTask, register: Register) -> tuple[Quarantined, ...]:
    return tuple(
        Quarantined(
            task.holders[i][1], task.key.name, reason.code, reason.detail
        )
        for i, reason in register.failed
    )


def _named(task: LayerTask, products: Products) -> LayerFit:
    index = [number for number, _, _ in task.holders]
    register = products.register
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
        output=products.output,
        input=products.input,
        initial=products.initial,
        directions=products.directions,
    )
