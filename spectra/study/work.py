"""How long a layer takes, counted in products of one thread.

The counts are of what was measured: products of matrices by their number, all
else by the number of products that take as long. Solvers end when they have
converged; noise takes them several times as long as what decays.
"""

import time

import numpy as np

from spectra.backend.threads import one_thread
from spectra.core.catalog import LowRankSource
from spectra.core.settings import FitSettings
from spectra.linalg.stacked import NARROW, WIDE
from spectra.linalg.svd import SMALL_SIDE
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.lowrank import is_cheaper_streamed
from spectra.subspaces.products import FEW

__all__ = ["pairs_of", "product_rate", "products_of"]

_PROBE = 512

_ENTRY = 700
"""Of one stored number of full weights: read, hashed, widened, looked at."""

_FACTOR = 1900
"""Of one stored number of a factor: all that, and decomposed."""

_TOTAL = 300
"""Of one number of a covariance, each time that a member is added."""

_PAIR = 1000
"""Of one product of two members' directions, in all that is made of it."""

_SPACE = 1200
"""Of one number of a stack whose leading directions are sought by products."""

_TRIDIAGONAL = 11
"""Times p^3 of all eigenvalues of a Gram matrix, and a few vectors."""

_EIGEN = 5
"""Times n^3 of the leading eigenvectors of a Gram matrix."""


def product_rate() -> float:
    """Return the products a second of one thread, in float32 on this machine.

    Measured here and now, in some 30 milliseconds: matrices of 512 rows, the
    best of twelve.
    """
    X = np.ones((_PROBE, _PROBE), np.float32)
    best = float("inf")
    with one_thread:
        for _ in range(12):
            started = time.perf_counter()
            X @ X
            best = min(best, time.perf_counter() - started)
    return float(_PROBE**3 / best)


def products_of(task: LayerTask, settings: FitSettings, /) -> float:
    """Return the products that take as long as a layer."""
    wide, ranks = _width(task, settings), _ranks(task)
    found = pairs_of(task, settings)
    if ranks:
        found += _of_adapters(task.key.shape, ranks, settings.rank, wide)
    else:
        n = len(task.holders)
        found += _of_full(task.key.shape, n, settings.rank)
    if settings.metrics:
        found += len(task.holders) * _of_spectrum(task.key.shape)
    if task.base is not None or task.beside is not None:
        found += _beside(task.key.shape, sum(ranks))
    return found


def pairs_of(task: LayerTask, settings: FitSettings, /) -> float:
    """Return those of all pairs of members: they grow with N^2.

    All others grow with the members alone, as their bytes do.
    """
    wide, ranks, shape = _width(task, settings), _ranks(task), task.key.shape
    if not ranks:
        return wide * float(len(task.holders)) ** 2 * shape[0] * shape[1] / 2
    rows, both = float(sum(ranks)), sum(shape)
    n, r = len(ranks), max(ranks)
    if is_cheaper_streamed(n, r, *shape):
        lead = float(sum(min(r, settings.rank) for r in ranks))
        entries = float(n) * shape[0] * shape[1] * (n + 2 * r)
        return wide * (entries + lead**2 * both / 2) + _PAIR * lead**2 / 2
    return wide * rows**2 * both / 2 + _PAIR * rows**2 / 2


def _ranks(task: LayerTask) -> list[int]:
    sources = (source for _, _, source in task.holders)
    return [s.rank for s in sources if isinstance(s, LowRankSource)]


def _width(task: LayerTask, settings: FitSettings) -> float:
    """Return how many products of float32 one of the layer's takes."""
    return 2.0 if _in_float64(task, settings) else 1.0


def _of_spectrum(shape: tuple[int, int]) -> float:
    """Return what all singular values of one matrix take, in float64."""
    p, q = sorted(shape)
    return 2.0 * p * p * q + _TRIDIAGONAL * p**3


def _in_float64(task: LayerTask, settings: FitSettings) -> bool:
    return settings.precision == "f64" or len(task.holders) <= FEW


def _of_adapters(
    shape: tuple[int, int], ranks: list[int], rank: int, wide: float
) -> float:
    rows, lead = float(sum(ranks)), float(sum(min(r, rank) for r in ranks))
    sides = sum(_of_stack(q, d) for q in (rows, lead) for d in shape)
    return _FACTOR * rows * sum(shape) + wide * sides


def _of_stack(rows: float, d: int) -> float:
    """Return the products of the leading directions of a stack's rows."""
    narrow = min(rows, d)
    if narrow > NARROW:
        return _SPACE * rows * d
    return rows * d * narrow / 2 + _EIGEN * narrow**3


def _of_full(shape: tuple[int, int], n: int, rank: int) -> float:
    small, large = min(shape), max(shape)
    size = float(small) * large
    if small <= SMALL_SIDE:
        # The Gram matrix of a member is in float64.
        triplets = 2 * size * small + _EIGEN * float(small) ** 3
    else:
        triplets = 16 * size * (rank + 16)
    sums = _TOTAL * sum(float(d) ** 2 for d in shape if d <= WIDE)
    if large <= WIDE:
        sums += size * large / 2
    return n * (_ENTRY * size + triplets + sums)


def _beside(shape: tuple[int, int], rows: int) -> float:
    """Return what a base costs.

    Its singular vectors, the members' products with them, and an eigenproblem
    of each side without the first.
    """
    m, n = min(shape), max(shape)
    sides = [14.0 * min(d, rows or d, WIDE) ** 2 * d for d in (m, n)]
    along = 4.0 * (rows or m) * min(m, WIDE) * (m + n)
    return 20.0 * min(m, WIDE) ** 2 * (m + n) + along + sum(sides)
