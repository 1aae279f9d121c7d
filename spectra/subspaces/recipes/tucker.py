r"""Algorithm 1 of the paper, and its refinement, read one model at a time.

Of the tensor of the models' layers, (models, out, in), less its mean: an
orthonormal factor for each mode that is compressed, and the core between them.

References
----------
Lathauwer et al. (2000): the higher-order singular value decomposition, and in
the sequel the alternating refinement.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine
from spectra.linalg.solvers import eigh
from spectra.subspaces.recipes.moments import (
    LIMIT,
    Survey,
    centred,
    products_of,
    second_moment,
    survey,
)
from spectra.subspaces.recipes.table import (
    RECIPES,
    Centring,
    Member,
    Members,
    Part,
)

__all__ = ["CORE", "Tucker", "hooi", "hosvd"]

CORE = 2**26
"""Most entries of a core: 512 MiB."""

Float = NDArray[np.float64]
Sides = tuple[Float | None, ...]

MODELS, OUTPUTS, INPUTS = range(3)

(_HOSVD,) = (recipe for recipe in RECIPES if recipe.name == "hosvd")
_PARTS: dict[int, Part] = {
    part.mode: part for part in _HOSVD.parts if part.mode is not None
}
_MAP = _PARTS[INPUTS]


@dataclass(frozen=True, slots=True)
class Tucker:
    """A layer of all models as a core between orthonormal factors.

    Attributes
    ----------
    centre
        What was subtracted from each map, broadcast.
    factors
        Of the models, the outputs and the inputs, (size, rank) each; None for
        a mode that was not compressed.
    core
        (rank of models, rank of outputs, rank of inputs).
    energy
        Squared norm of all that was to be approximated.
    error
        Norm of what the approximation lacks.
    bound
        Root of the sum of what each mode leaves out, which the error of HOSVD
        does not exceed. Of the start, where that was refined.
    """

    centre: Float
    factors: Sides
    core: Float
    energy: float
    error: float
    bound: float

    @property
    def ranks(self) -> tuple[int, int, int]:
        """Return the shape of the core."""
        r0, r1, r2 = self.core.shape
        return r0, r1, r2

    def member(self, n: int, /) -> Float:
        """Return the approximation of model n's map, (out, in)."""
        return self.centre + _approximation(self.core, self.factors, n)


def hosvd(
    members: Members,
    /,
    *,
    modes: Sequence[int] = (MODELS, OUTPUTS, INPUTS),
    tau: float | None = None,
    ranks: Mapping[int, int] | None = None,
    centring: Centring = "models",
    limit: int = LIMIT,
) -> Tucker:
    """Return Algorithm 1's decomposition of one layer of all models.

    Parameters
    ----------
    members
        Maps, read once for the mean, once or more for each mode, and twice
        for the core and the error.
    modes
        Those to compress: 0 models, 1 outputs, 2 inputs.
    tau
        Share of the squared norm that each mode keeps; with 1 nothing is lost.
    ranks
        In its place, directions of each mode.
    centring
        Line 1: ``"models"`` is the mean of each entry over the models,
        ``"scalar"`` one mean of all entries, ``"none"`` nothing.
    limit
        Largest symmetric matrix.

    Raises
    ------
    Quarantine
        ``LIMIT_DIM`` when a mode has more than `limit` rows, or the core more
        than `CORE` entries, and as `measure`.
    ValueError
        Without exactly one of `tau`, in (0, 1], and `ranks`.
    """
    wrong = tau is not None and not 0 < tau <= 1
    if wrong or (tau is None) == (ranks is None):
        msg = f"either tau in (0, 1] or ranks, got tau={tau}, ranks={ranks}"
        raise ValueError(msg)
    found = survey(members, _MAP, centring)
    sizes = found.n_models, found.rows[0], found.feature_dim
    if len(set(found.rows)) > 1:
        raise Quarantine("SHAPE_MISMATCH", "maps of different numbers of rows")
    factors: list[Float | None] = [None, None, None]
    lost = 0.0
    for mode in sorted(set(modes)):
        _require(sizes[mode], limit)
        values, vectors = _eigenpairs(_mode_moment(members, mode, found))
        most = min(sizes[mode], _others(sizes, mode))
        r = _rank(values, tau, most) if ranks is None else ranks[mode]
        r = max(1, min(r, most))
        factors[mode] = vectors[:, :r]
        lost += float(values[r:].sum())
    _require_core(factors, sizes)
    return _finished(members, found, tuple(factors), bound=lost**0.5)


def hooi(
    members: Members,
    start: Tucker,
    /,
    *,
    rounds: int = 50,
    tolerance: float = 1e-12,
) -> Tucker:
    """Return a better decomposition of the same ranks, never a worse one.

    Parameters
    ----------
    members
        Those of `start`, read once or more for each mode of each round.
    start
        Found by `hosvd`.
    rounds
        Most of them.
    tolerance
        A round that adds less than this share of the squared norm is the
        last.

    Notes
    -----
    One factor at a time is replaced by the leading directions of the tensor
    compressed with all others, so that the norm of the core only grows.
    """
    n = len(start.core) if start.factors[0] is None else len(start.factors[0])
    out = _size(start, OUTPUTS)
    found = Survey(
        n, n * out, _size(start, INPUTS), (out,) * n, n, start.centre
    )
    factors, kept = list(start.factors), _squares(start.core)
    for _ in range(rounds):
        for mode, factor in enumerate(start.factors):
            if factor is not None:
                C = _compressed_moment(members, mode, tuple(factors), found)
                factors[mode] = _eigenpairs(C)[1][:, : factor.shape[1]]
        now = _squares(_core(members, tuple(factors), found))
        if now - kept <= tolerance * start.energy:
            break
        kept = now
    better = _finished(members, found, tuple(factors), bound=start.bound)
    return better if better.error <= start.error else start


def _require(size: int, limit: int) -> None:
    if size > limit:
        raise Quarantine(
            "LIMIT_DIM",
            f"a mode of {size} rows needs a symmetric matrix of as many;"
            f" {limit} is the most",
        )


def _require_core(
    factors: Sequence[Float | None], sizes: tuple[int, int, int]
) -> None:
    ranks = [
        size if factor is None else factor.shape[1]
        for factor, size in zip(factors, sizes, strict=True)
    ]
    if int(np.prod(ranks)) > CORE:
        raise Quarantine(
            "LIMIT_DIM",
            f"a core of {' x '.join(map(str, ranks))}; {CORE} entries are the"
            " most: ask for fewer ranks, or a smaller tau",
        )


def _others(sizes: tuple[int, int, int], mode: int) -> int:
    return int(np.prod([s for i, s in enumerate(sizes) if i != mode]))


def _size(of: Tucker, mode: int) -> int:
    factor = of.factors[mode]
    return of.core.shape[mode] if factor is None else len(factor)


def _squares(X: Float) -> float:
    return float(np.vdot(X, X))


def _rank(values: Float, tau: float | None, most: int) -> int:
    """Return the fewest directions that keep the share `tau`.

    All of them for 1: what is lost is summed from its smallest terms, and an
    eigenvalue of zero may be one of 1e-16 of the largest.
    """
    if tau is None or tau >= 1:
        return most
    lost = np.append(np.cumsum(values[::-1])[::-1], 0.0)
    return int(np.argmax(lost <= (1 - tau) * lost[0]))


def _eigenpairs(C: Float) -> tuple[Float, Float]:
    values, vectors = eigh(C)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def _mode_moment(members: Members, mode: int, found: Survey) -> Float:
    """Return X_(mode) X_(mode)^T of the centred tensor."""
    if mode == INPUTS:
        return second_moment(members, _MAP.samples, found)

    def centred_map(member: Member) -> Float:
        Y = np.subtract(_MAP.samples(member), found.centre, dtype=np.float64)
        return Y.T if mode == OUTPUTS else Y.reshape(1, -1)

    n, rows, features = found.n_models, found.rows[0], found.feature_dim
    if mode == OUTPUTS:
        turned = _sizes(n, features, rows)
        return second_moment(members, centred_map, turned)
    return products_of(members, centred_map, _sizes(n, 1, rows * features))


def _sizes(n: int, rows: int, features: int) -> Survey:
    """Return what a survey of samples that are centred already would."""
    total = n * rows
    return Survey(n, total, features, (rows,) * n, total, np.zeros((1, 1)))


def _compressed_moment(
    members: Members, mode: int, factors: Sides, found: Survey
) -> Float:
    """Return X_(mode) X_(mode)^T, all other modes compressed."""
    left = None if mode == OUTPUTS else factors[OUTPUTS]
    right = None if mode == INPUTS else factors[INPUTS]

    def compressed(member: Member) -> Float:
        Y = np.subtract(_MAP.samples(member), found.centre, dtype=np.float64)
        Y = _between(left, Y, right)
        if mode == MODELS:
            return Y.reshape(1, -1)
        return Y.T if mode == OUTPUTS else Y

    rows = found.rows[0] if left is None else left.shape[1]
    features = found.feature_dim if right is None else right.shape[1]
    n = found.n_models
    if mode == MODELS:
        return products_of(members, compressed, _sizes(n, 1, rows * features))
    if mode == OUTPUTS:
        rows, features = features, rows
    sizes, of_models = _sizes(n, rows, features), factors[MODELS]
    if of_models is None:
        return second_moment(members, compressed, sizes)
    held = max(1, 2 * found.rows[0] * found.feature_dim // (rows * features))
    C = np.zeros((features, features))
    for start in range(0, of_models.shape[1], held):
        weights = of_models[:, start : start + held]
        for T in _combined(centred(members, compressed, sizes), weights):
            C += T.T @ T
    return C


def _combined(maps: Iterator[Float], weights: Float) -> Float:
    """Return the combinations of maps that columns of weights are."""
    total: Float | None = None
    for row, Y in zip(weights, maps, strict=True):
        if total is None:
            total = np.zeros((len(row), *Y.shape))
        for i, weight in enumerate(row):
            total[i] += weight * Y
    if total is None:
        raise Quarantine("SOURCE_CHANGED", "models are missing now")
    return total


def _between(left: Float | None, Y: Float, right: Float | None) -> Float:
    if left is not None:
        Y = left.T @ Y
    return Y if right is None else Y @ right


def _core(members: Members, factors: Sides, found: Survey) -> Float:
    of_models, left, right = factors
    slices = (
        _between(left, Y, right) for Y in centred(members, _MAP.samples, found)
    )
    if of_models is None:
        return np.stack(list(slices))
    return _combined(slices, of_models)


def _approximation(core: Float, factors: Sides, n: int) -> Float:
    of_models, left, right = factors
    G: Float = (
        core[n]
        if of_models is None
        else np.tensordot(of_models[n], core, axes=1)
    )
    if left is not None:
        G = left @ G
    return G if right is None else G @ right.T


def _finished(
    members: Members, found: Survey, factors: Sides, *, bound: float
) -> Tucker:
    """Return the core of these factors, and its error, from the models."""
    core = _core(members, factors, found)
    energy = missed = 0.0
    maps = centred(members, _MAP.samples, found)
    for n, Y in enumerate(maps):
        energy += _squares(Y)
        missed += _squares(Y - _approximation(core, factors, n))
    return Tucker(found.centre, factors, core, energy, missed**0.5, bound)
