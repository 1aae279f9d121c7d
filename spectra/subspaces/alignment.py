"""A layer's members beside the singular vectors of the base's own weights.

The base is decomposed once. Its directions are then held against what the
members' sides add up to, and against each member's leading directions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of
from numpy.typing import NDArray

from spectra.backend.device import Device, to_host
from spectra.linalg.gram import eigenpairs, gram
from spectra.linalg.stacked import WIDE, Rows, stack_eigenpairs
from spectra.linalg.svd import block_krylov, gram_svd
from spectra.subspaces.intruders import (
    UNKNOWN,
    added_intruders,
    intruders_of,
    tried,
)
from spectra.subspaces.members import MemberSums
from spectra.subspaces.products import Alignment
from spectra.subspaces.result import BaseFit, BaseSide
from spectra.subspaces.stacks import JOINT, Stack, needed, tile_size

__all__ = [
    "ZERO_BASE",
    "Frame",
    "alignment_memory",
    "dense_alignment",
    "frame_of",
    "low_rank_alignment",
]

Array = Any
Float = NDArray[np.float64]
Member = Callable[[int], NDArray[Any]]

ZERO_BASE = "the base is zero in this layer"

_REMOVED = 128
"""Directions of the base that are taken away, or a quarter of the side's
where that is fewer."""

_KNOWN = 128
"""Leading directions that are found of a base too large for all of them."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The singular vectors of a base, largest first.

    Attributes
    ----------
    W
        The base's weights (out, in), on the host.
    U, V
        (out, m) and (in, m), on the device.
    values
        m singular values on the host: all, or the leading ones where the
        lesser side is wider than `spectra.linalg.stacked.WIDE`.
    norm
        Frobenius norm of W.
    """

    W: NDArray[Any]
    U: Array
    V: Array
    values: Float
    norm: float

    @property
    def is_complete(self) -> bool:
        """Return whether all singular vectors are known."""
        return len(self.values) == int(min(self.W.shape))

    def fit(self, intruders: NDArray[np.int64], /) -> BaseFit:
        """Return what is kept of it, beside the members' intruders."""
        counts = intruders if self.is_complete else None
        return BaseFit(self.values, self.norm, counts)


def frame_of(W: NDArray[Any], device: Device, /) -> Frame | None:
    """Return the singular vectors of W (out, in); None where it is zero."""
    xp, wide = device.xp, W.shape[0] <= W.shape[1]
    X = device.put(np.ascontiguousarray(W if wide else W.T))
    norm = float(xp.sum(X * X, dtype=xp.float64)) ** 0.5
    if norm == 0:
        return None
    if X.shape[0] <= WIDE:
        C = gram(xp.astype(X, xp.float64))
        U, s, V = gram_svd(X, C, X.shape[0])
    else:
        U, s, V = block_krylov(X, _KNOWN)
    left, right = (U, V) if wide else (V, U)
    return Frame(W, left, right, to_host(s).astype(np.float64), norm)


def alignment_memory(
    shape: tuple[int, int], rows: int, /, *, dtype: Any
) -> int:
    """Return the bytes that a base takes beside the members of a layer.

    Parameters
    ----------
    shape
        ``(out, in)``.
    rows
        Directions that the sides' spectra are made from; 0 where covariances
        are known.
    dtype
        Of the base.
    """
    width = int(np.dtype(dtype).itemsize)
    m, size, both = min(shape), shape[0] * shape[1], sum(shape)
    known = m if m <= WIDE else _KNOWN
    # QR is of float64 whatever it is given; the Gram matrix stays beside it.
    solver = size * (16 + 3 * width) + m * m * (24 + width)
    if m > WIDE:
        solver = 320 * _KNOWN * both
    removed = 16 * min(rows, 2048) * max(shape)
    if rows == 0:
        removed = max((40 * d * d for d in shape if d <= WIDE), default=0)
    along = width * both * known + max(removed, 32 * 1024 * m)
    return 2 * width * size + max(solver, along)


def low_rank_alignment(
    frame: Frame,
    stack: Stack,
    weighted: tuple[Rows, Rows],
    k: int,
    digests: Sequence[str],
    /,
) -> Alignment:
    """Return how the updates of a layer lie beside its base.

    Parameters
    ----------
    frame
        The base.
    stack, weighted
        Complete decompositions of the updates, and their weighted rows.
    k
        Directions a member that count in overlaps.
    digests
        Of the members.
    """
    trace, n = float(np.sum(stack.s**2)), len(digests)
    sides = []
    for F, T, B in (
        (stack.U, weighted[0], frame.U),
        (stack.V, weighted[1], frame.V),
    ):
        hits, energies = _sums_along(F, stack.s, k, B)
        sides.append(
            _side(B, hits / n, energies, trace, _rest_of_rows(T, _lead(B), k))
        )
    intruders = np.full(n, UNKNOWN)
    values = _like(frame.U, frame.values)
    for i in tried(digests) if frame.is_complete else ():
        a = _along(stack.U[i, :, :], frame.U)
        b = _along(stack.V[i, :, :], frame.V)
        s = _like(a, stack.s[i])
        intruders[i] = added_intruders(values, a, b, s)
    return Alignment(sides[0], sides[1], frame.fit(intruders))


def dense_alignment(
    frame: Frame,
    sums: MemberSums,
    stack: Stack,
    member: Member,
    digests: Sequence[str],
    /,
) -> Alignment:
    """Return how differences from a base lie beside it.

    Parameters
    ----------
    frame
        The base.
    sums, stack
        What the members added up to, and their leading directions.
    member
        Gives one map (out, in) once more, on the host.
    digests
        Of the members.
    """
    put, n, sides = sums.device.put, len(digests), []
    for side, (F, B) in enumerate(((stack.U, frame.U), (stack.V, frame.V))):
        hits, energies = _sums_along(F, stack.s, F.shape[1], B)
        C, rest = sums.covariance[side], None
        if C is not None:
            energies, rest = _of_covariance(C, B, F.shape[1])
        else:
            energies = np.zeros_like(energies)
            for i in range(n):
                x = member(i).T if side == 0 else member(i)
                energies += _squares(_along(put(np.ascontiguousarray(x)), B))
        sides.append(_side(B, hits / n, energies, sums.trace, rest))
    intruders = np.full(n, UNKNOWN)
    for i in tried(digests) if frame.is_complete else ():
        W = put(np.ascontiguousarray(member(i) + frame.W))
        intruders[i] = intruders_of(W, frame.U)
    return Alignment(sides[0], sides[1], frame.fit(intruders))


@dataclass(frozen=True, slots=True)
class _Rest:
    """What is left of a side without the base's leading directions."""

    energy: float
    eigenvalues: Float


def _side(
    B: Array, hits: Float, energies: Float, trace: float, rest: _Rest | None
) -> BaseSide:
    scale = trace if trace > 0 else 1.0
    profile, removed = energies / scale, _lead(B).shape[1]
    left = 1.0 - float(profile[:removed].sum())
    return BaseSide(
        profile=profile,
        hits=hits,
        removed=removed,
        left=max(0.0, left) if rest is None else rest.energy / scale,
        left_eigenvalues=None if rest is None else rest.eigenvalues,
    )


def _lead(B: Array) -> Array:
    return B[:, : min(_REMOVED, B.shape[0] // 4, B.shape[1])]


def _along(X: Array, B: Array) -> Array:
    """Return the products X B of rows and directions, in float64."""
    xp = array_namespace(X, B)
    return xp.astype(X @ xp.astype(B, X.dtype), xp.float64)


def _squares(M: Array) -> Float:
    """Return the sums of the squares of each column."""
    xp = array_namespace(M)
    return np.asarray(to_host(xp.sum(M * M, axis=0)))


def _like(X: Array, values: Float) -> Array:
    """Return values in float64 beside X."""
    xp = array_namespace(X)
    return xp.asarray(values, dtype=xp.float64, device=device_of(X))


def _sums_along(F: Array, s: Float, k: int, B: Array) -> tuple[Float, Float]:
    """Return sums over members of the squared products with each direction.

    Parameters
    ----------
    F, s
        (N, r, d) rows and (N, r) weights.
    k
        Rows a member that count in the first sum, unweighted; the second has
        all of them, weighted.
    B
        (d, m).
    """
    xp = array_namespace(F)
    n, r, d = F.shape
    weights = _like(F, s)[:, :, None]
    m, step = B.shape[1], tile_size(r)
    hits, energies = np.zeros(m), np.zeros(m)
    for at in (slice(i, min(i + step, n)) for i in range(0, n, step)):
        M = _along(xp.reshape(F[at, :, :], (-1, d)), B)
        M = xp.reshape(M, (-1, r, m))
        hits += _squares(xp.reshape(M[:, :k, :], (-1, m)))
        energies += _squares(xp.reshape(M * weights[at, :, :], (-1, m)))
    return hits, energies


def _rest_of_rows(T: Rows, lead: Array, k: int) -> _Rest:
    xp = array_namespace(T.F)
    rest = replace(T, removed=xp.astype(lead, T.F.dtype))
    energy = sum(float(xp.sum(X * X, dtype=xp.float64)) for X in rest.panels())
    values = to_host(stack_eigenpairs(rest, needed(k), keep=JOINT)[0])
    return _Rest(energy, np.clip(values, 0.0, None))


def _of_covariance(C: Array, B: Array, k: int) -> tuple[Float, _Rest]:
    """Return what lies along each direction, and what without the first."""
    xp = array_namespace(C)
    along = xp.sum(B * (xp.astype(C, B.dtype) @ B), axis=0, dtype=xp.float64)
    lead = xp.astype(_lead(B), C.dtype)
    Q = xp.matrix_transpose(lead)
    C = C - lead @ (Q @ C)
    C = C - (C @ lead) @ Q
    energy = max(0.0, float(xp.sum(xp.linalg.diagonal(C))))
    C = (C + xp.matrix_transpose(C)) / 2
    found = eigenpairs(C, needed(k), keep=JOINT, tolerance=1e-6)[0]
    values = to_host(found)
    return to_host(along), _Rest(energy, np.clip(values, 0.0, None))
