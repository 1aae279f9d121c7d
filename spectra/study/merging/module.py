"""One module of a merge: the parents' factors in, the merged one's out."""

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.choice import Choice
from spectra.apply.merging.core_space import CoreSpace, core_space
from spectra.apply.merging.entries import BLOCK
from spectra.apply.merging.framed import reduced
from spectra.apply.merging.interference import Disturbance, disturbance
from spectra.apply.merging.trimming import BINS, Counts, Digits, Vector
from spectra.core.catalog import Quarantined
from spectra.core.errors import Quarantine, UsageError
from spectra.core.text import printable
from spectra.store.tensorfile import Planned
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.recipes.stored import stored_members
from spectra.subspaces.recipes.table import Factors
from spectra.weights.bytes import Opener
from spectra.weights.dtypes import encoded
from spectra.weights.lora.modules import Module
from spectra.weights.soundness import fault_in

__all__ = ["How", "Made", "counted", "layer_nbytes", "merged", "planned"]

Numbers = NDArray[Any]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class How:
    """What is done with every module.

    Attributes
    ----------
    rank, dtype
        Of what is written.
    opener
        Opens the parents' files.
    looks_at_interference
        Whether that of the updates is measured too.
    least
        Magnitude of each parent's entries below which they are trimmed, where
        all layers are trimmed together.
    """

    choice: Choice
    rank: int
    dtype: str
    opener: Opener
    looks_at_interference: bool = False
    least: Vector | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A merged module.

    Attributes
    ----------
    tensors
        As they are written.
    row
        Of the document.
    disturbance
        Of the updates, where it was asked for.
    """

    tensors: tuple[tuple[str, Numbers], ...]
    row: Document
    disturbance: Disturbance | None


def merged(
    how: How, both: tuple[Module, LayerTask], /
) -> Made | list[Quarantined]:
    """Return a merged module, or why some parents' updates cannot be used.

    Parameters
    ----------
    how
        What is done.
    both
        The module, and where each parent keeps it.

    Raises
    ------
    UsageError
        E_MERGE where it does not fit the dtype.
    """
    module, task = both
    updates, lost = _read(module.name, task, how.opener)
    if lost:
        return lost
    number = zlib.crc32(module.name.encode("utf-8", "surrogatepass"))
    gathered = how.choice.gathered(updates)
    update = how.choice.merge(gathered, number, least=how.least)
    found = reduced(update, how.rank)
    disturbed = None
    if how.looks_at_interference:
        if not isinstance(gathered, CoreSpace):
            gathered = core_space(updates)
        disturbed = disturbance(gathered)
    tensors = tuple(
        (place.name, _stored(factor, place))
        for place, factor in zip(
            planned(module, how), _padded(found.factors, how.rank),
            strict=True,
        )
    )  # fmt: skip
    row = {
        "name": module.name,
        "module": module.target,
        "shape": list(module.shape),
        "ranks": [each.rank for each in updates],
        "norm": float(np.linalg.norm(update.M)),
        "error": found.error,
        "sti": None if disturbed is None else disturbed.total,
    }
    return Made(tensors, row, disturbed)


def counted(how: How, digits: Digits, task: LayerTask, /) -> Counts | None:
    """Return how many entries of a module have which next bits.

    Parameters
    ----------
    how
        What is done.
    digits
        As of `~spectra.apply.merging.trimming.counted`.
    task
        Where each parent keeps it.

    Returns
    -------
    Counts or None
        None where some parents' updates cannot be used: no parent's are.
    """
    updates, lost = _read(task.key.name, task, how.opener)
    if lost:
        return None
    return how.choice.counted(core_space(updates), digits)


def _read(
    name: str, task: LayerTask, opener: Opener
) -> tuple[list[Factors], list[Quarantined]]:
    updates, lost = [], []
    for holder in task.holders:
        alone = replace(task, holders=(holder,))
        try:
            (update,) = stored_members(alone, opener)()
            if not isinstance(update, Factors):
                raise TypeError(f"{name} is no update")
            for factor, ref in zip(
                (update.A, update.B), holder[2].tensors, strict=True
            ):
                fault = fault_in(factor, ref.dtype)
                if fault is not None:
                    raise fault
            updates.append(update)
        except Quarantine as reason:
            lost.append(
                Quarantined(holder[1], name, reason.code, reason.detail)
            )
    return updates, lost


def _padded(factors: Factors, rank: int) -> tuple[Numbers, Numbers]:
    """Return A and B of that rank: what they lack is zero."""
    lacking = rank - factors.rank
    return (
        np.pad(factors.A, ((0, lacking), (0, 0))),
        np.pad(factors.B, ((0, 0), (0, lacking))),
    )


def _stored(factor: Numbers, place: Planned) -> Numbers:
    values = encoded(factor.reshape(place.shape), place.dtype)
    if not np.all(np.isfinite(values.astype(np.float32))):
        raise UsageError(
            "E_MERGE",
            f"{printable(place.name, 80)} does not fit {place.dtype}",
            advice="use --dtype F32, or a smaller --lambda",
        )
    return values


def planned(module: Module, how: How, /) -> tuple[Planned, ...]:
    """Return what is written of a module: A and B."""
    return tuple(
        Planned(name, how.dtype, shape)
        for name, shape in zip(
            module.names(), module.shapes(how.rank), strict=True
        )
    )


def layer_nbytes(
    task: LayerTask, choice: Choice, /, *, looks_at_interference: bool = False
) -> int:
    """Return at most what merging a module takes, in bytes.

    Parameters
    ----------
    task
        Where each adapter keeps it.
    choice
        By which method.
    looks_at_interference
        Whether that of the updates is measured too.
    """
    sources = [source for _, _, source in task.holders]
    shapes = [[ref.shape for ref in source.tensors] for source in sources]
    out, into = shapes[0][1][0], shapes[0][0][1]
    ranks, n = sum(A[0] for A, _ in shapes), len(shapes)
    p, q = min(ranks, out), min(ranks, into)
    numbers = 4 * ranks * (out + into) + 8 * p * q
    if looks_at_interference or not choice.method.is_linear:
        numbers += 3 * ranks * (out + into) + 4 * ranks * (p + q)
    ways = [6 * ranks**2 if looks_at_interference else 0]
    if "k" in choice.options:
        ways.append(4 * min(BLOCK // 8, n * p * q))
    if "space" in choice.options:
        is_core = choice.options["space"] == "core"
        rows = p if is_core or choice.method.name == "knots" else out
        columns = q if is_core else into
        # A block of all and what is made of it, the whole, and its Gram.
        block = max(n * columns, min(BLOCK // 8, n * rows * columns))
        whole = 4 * rows * columns + 6 * min(rows, columns) ** 2
        bins = 3 * n * BINS if "trim" in choice.options else 0
        ways.append(7 * block + whole + bins)
    return 8 * (numbers + max(ways))
