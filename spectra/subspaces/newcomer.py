"""One more map beside those of a fitted layer: its products with them.

The members' products with each other are in the run already. What is new are
N numbers, for which each member is read once more; a matrix of full weights
less the members' mean, so that their common start does not eat the digits.
All of it is on the host and in float64: reading takes longer.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.catalog import LowRankSource
from spectra.core.errors import IntegrityError, Quarantine
from spectra.linalg.gram import BLOCK
from spectra.subspaces.dense import plan_dense
from spectra.subspaces.layer import LayerTask, ahead_of, dense_reader
from spectra.subspaces.magnitude import fault_of, member_fault
from spectra.subspaces.products import LayerCost
from spectra.subspaces.result import Directions, LayerFit
from spectra.weights.bytes import Opener
from spectra.weights.kept import KeptMaps, keeping
from spectra.weights.maps import LowRank
from spectra.weights.stream import DenseReader, TensorReader, read_low_rank

__all__ = ["Newcomer", "Room", "meet", "meeting_cost"]

Float = NDArray[np.float64]

_ENTRIES = 2**20
"""Entries of a block of all maps: 8 MiB, which stays near the processor."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    r"""One map x beside the N members x_i of a layer, m their mean.

    Attributes
    ----------
    digest, digests, base_digest
        Hashes of the bytes that were read: of x, of each member, of the base.
    cross
        N inner products :math:`\langle x - m, x_i - m\rangle`.
    deviation
        :math:`\|x - m\|^2`.
    energy
        :math:`\|x\|^2`.
    output, input
        What each joint direction of a side holds of `energy`; None where the
        run has no directions.
    """

    digest: str
    digests: tuple[str, ...]
    base_digest: str | None
    cross: Float
    deviation: float
    energy: float
    output: Float | None
    input: Float | None


@dataclass(frozen=True, slots=True)
class Room:
    """Where a layer is read, and from what.

    Attributes
    ----------
    nbytes
        What may be allocated.
    spill
        Folder for members that do not fit.
    opener
        Opens the files of checkpoints.
    """

    nbytes: int
    spill: Path
    opener: Opener


def meeting_cost(task: LayerTask, room: int | None = None, /) -> LayerCost:
    """Return what `meet` takes where there is `room`; None for any.

    Parameters
    ----------
    task
        As of `meet`.
    room
        Bytes. What is read once and does not fit is kept on the disk.
    """
    (out, into), n = task.key.shape, len(task.holders)
    factors = [s for _, _, s in task.holders if isinstance(s, LowRankSource)]
    if factors:
        # The newcomer's factors and a member's, each read from its bytes.
        rank = max(source.rank for source in factors)
        return LayerCost(2 * 48 * rank * (out + into))
    size = out * into
    base = 2 * 8 * size if task.base is not None else 0
    needs = 32 * size + base + 2 * 8 * n * _columns(n)
    kept = dense_reader(task, np.float64, TensorReader({})).kept_nbytes
    whole = needs + kept if room is None else room
    return plan_dense(needs, kept=kept, room=whole)


def meet(task: LayerTask, layer: LayerFit, room: Room, /) -> Newcomer:
    """Return the products of a layer's members with one more map.

    Parameters
    ----------
    task
        The layer of the members; its last holder is the newcomer.
    layer
        The same, as it was fitted.
    room
        What there is.

    Raises
    ------
    Quarantine
        When the newcomer's map cannot be used.
    IntegrityError
        When a member cannot be read any more.
    StorageError
        When the members fit neither the memory nor the disk.
    """
    with ahead_of(task, room.opener) as ahead:
        tensors = TensorReader(task.files, room.opener, ahead)
        *members, newcomer = (source for _, _, source in task.holders)
        if isinstance(newcomer, LowRankSource):
            own = [s for s in members if isinstance(s, LowRankSource)]
            return _low_rank(newcomer, own, layer, tensors)
        reader = dense_reader(task, np.float64, tensors)
        return _dense(reader, layer, meeting_cost(task, room.nbytes), room)


def _gone(layer: LayerFit, reason: Quarantine) -> IntegrityError:
    return IntegrityError(layer.name, f"cannot be read again: {reason.detail}")


def _low_rank(
    source: LowRankSource,
    members: list[LowRankSource],
    layer: LayerFit,
    tensors: TensorReader,
) -> Newcomer:
    with np.errstate(over="ignore", invalid="ignore"):
        x = read_low_rank(source, tensors)
    if x.fault is not None:
        raise x.fault
    energy = x.inner(x)
    fault = fault_of(float(np.sqrt(energy)), np.float64)
    if fault is not None:
        raise fault
    products, digests = np.zeros(len(members)), []
    try:
        for i, member in enumerate(members):
            update = read_low_rank(member, tensors)
            products[i] = x.inner(update)
            digests.append(update.digest.hex())
    except Quarantine as reason:
        raise _gone(layer, reason) from reason
    means = layer.gram.mean(axis=0)
    to_mean = products.mean()
    return Newcomer(
        digest=x.digest.hex(),
        digests=tuple(digests),
        base_digest=layer.base_digest,  # No part of an update.
        cross=products - to_mean - means + means.mean(),
        deviation=max(0.0, energy - 2 * to_mean + means.mean()),
        energy=energy,
        **_sides(layer.directions, x),
    )


def _sides(known: Directions | None, x: LowRank) -> dict[str, Any]:
    if known is None:
        return {"output": None, "input": None}
    return {
        "output": _held(x.left(known.output.astype(float))),
        "input": _held(x.right(known.input.astype(float))),
    }


def _held(X: Float) -> Float:
    """Return the squared norms of columns."""
    return np.asarray(np.einsum("dk,dk->k", X, X))


def _dense(
    reader: DenseReader, layer: LayerFit, cost: LayerCost, room: Room
) -> Newcomer:
    n = len(reader.sources) - 1
    try:
        base = reader.base_digest()
    except Quarantine as reason:
        raise _gone(layer, reason) from reason
    with ExitStack() as held:
        folder = room.spill if cost.spilled else None
        store = held.enter_context(keeping(reader.kept_nbytes, folder=folder))
        kept = reader.kept_in(store)
        digests = [_kept(reader, kept, layer, i) for i in range(n)]
        digest, sides = _newcomer(reader, kept, layer.directions)
        cross, deviation, energy = _products(kept, reader.size)
    return Newcomer(
        digest=digest,
        digests=tuple(digests),
        base_digest=base.hex() if base else None,
        cross=cross,
        deviation=deviation,
        energy=energy,
        **sides,
    )


def _kept(reader: DenseReader, kept: KeptMaps, layer: LayerFit, i: int) -> str:
    """Keep the map of member i, and return its digest."""
    try:
        loaded = reader.member(i)
    except Quarantine as reason:
        raise _gone(layer, reason) from reason
    kept.add(loaded.raw, loaded.dtype, reader.size)
    return loaded.digest.hex()


def _newcomer(
    reader: DenseReader, kept: KeptMaps, known: Directions | None
) -> tuple[str, dict[str, Any]]:
    """Keep the last map, and return its digest and what the sides hold."""
    last = len(reader.sources) - 1
    with np.errstate(over="ignore", invalid="ignore"):
        loaded = reader.member(last)
    fault = member_fault(reader, last, loaded)
    if fault is not None:
        raise fault
    kept.add(loaded.raw, loaded.dtype, reader.size)
    sides: dict[str, Any] = {"output": None, "input": None}
    if known is not None:
        W = reader.matrix(loaded.flat)
        sides = {
            "output": _held(W.T @ known.output.astype(float)),
            "input": _held(W @ known.input.astype(float)),
        }
    return loaded.digest.hex(), sides


def _columns(n: int) -> int:
    """Return the columns of a block of n maps, a function of n alone."""
    return max(BLOCK // 8, min(BLOCK, _ENTRIES // n))


def _products(kept: KeptMaps, size: int) -> tuple[Float, float, float]:
    """Return `cross`, `deviation` and `energy` of the last map."""
    n, step = len(kept) - 1, _columns(len(kept))
    cross, deviation, energy = np.zeros(n), 0.0, 0.0
    for start in range(0, size, step):
        stop = min(start + step, size)
        X = np.empty((n + 1, stop - start))
        kept.fill(start, stop, X)
        energy += float(X[n] @ X[n])
        X -= X[:n].mean(axis=0)
        cross += X[:n] @ X[n]
        deviation += float(X[n] @ X[n])
    return cross, deviation, energy
