"""What one pass over the weights leaves behind: small matrices in float64.

Everything that is asked of a population after `fit` is asked of these values.
Arrays are NumPy, on the host, read-only by convention.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spectra.core.catalog import Quarantined
from spectra.subspaces.recipes.measured import RecipeSpectrum

__all__ = [
    "BaseFit",
    "BaseSide",
    "Directions",
    "Folds",
    "LayerFit",
    "LayerOutcome",
    "Member",
    "MemberMetrics",
    "PopulationFit",
    "SideFit",
    "WeightStats",
]

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Member:
    """One checkpoint of the population, as the run remembers it.

    Attributes
    ----------
    fingerprint
        Hash of its files' headers and lengths. What a layer's bytes were is
        in `LayerFit.digests`.
    """

    id: str
    revision: str | None
    path: str
    architecture: str
    license: str | None
    base_claim: str | None
    nbytes: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class WeightStats:
    r"""How the stored entries of each member are distributed, N values each.

    Of the whole matrix, the base not subtracted, or of the raw factor A.

    Attributes
    ----------
    mean, std
        Of the entries.
    kurtosis
        Fourth central moment over the squared variance: 3 for a Gaussian, 1.8
        for a uniform distribution; NaN where all entries are equal.
    zeros, ones
        Shares of entries that are exactly 0, exactly 1.
    """

    mean: Vector
    std: Vector
    kurtosis: Vector
    zeros: Vector
    ones: Vector


@dataclass(frozen=True, slots=True)
class Folds:
    r"""One side of disjoint parts of a layer's members, one of each group.

    Attributes
    ----------
    sums
        (F, m, m): :math:`Z^\top C_f Z` with the side's sum C_f over fold f and
        m <= 64 leading joint directions Z.
    traces
        F exact traces of the C_f.
    """

    sums: NDArray[np.float64]
    traces: Vector


@dataclass(frozen=True, slots=True)
class BaseSide:
    r"""One side of a layer beside the base's singular vectors u_l.

    Those are the m = min(out, in) vectors of that side, largest singular value
    first; of a base whose lesser side is wider than 5120 the leading 128.

    Attributes
    ----------
    profile
        m shares of the trace: :math:`u_l^\top C u_l / \operatorname{tr} C`
        with the side's sum C over members.
    hits
        m means over members of :math:`\|P_i u_l\|^2`, :math:`P_i` the
        projector on member i's leading directions.
    removed
        r, how many of the base's leading directions were taken away.
    left
        Share of the trace that is left without them.
    left_eigenvalues
        The largest (at most 64) of :math:`Q C Q`,
        :math:`Q = I - \sum_{l \le r} u_l u_l^\top`; None of full weights on
        a side wider than 5120.
    """

    profile: Vector
    hits: Vector
    removed: int
    left: float
    left_eigenvalues: Vector | None


@dataclass(frozen=True, slots=True)
class BaseFit:
    """The base's own weights in a layer.

    Attributes
    ----------
    values
        Its singular values, as many as `BaseSide` has of its vectors.
    norm
        Its Frobenius norm.
    intruders
        N numbers of intruder dimensions among each member's 10 leading ones,
        -1 of a member that was not looked at; None where not all of the
        base's singular vectors are known.
    """

    values: Vector
    norm: float
    intruders: NDArray[np.int64] | None


@dataclass(frozen=True, slots=True)
class SideFit:
    r"""The uncentred joint spectrum of one side of a layer.

    Attributes
    ----------
    eigenvalues
        The largest (at most 64) of :math:`\sum_i x_i x_i^\top` (output side)
        or :math:`\sum_i x_i^\top x_i` (input side), largest first. Those that
        settled of a side that is too wide to be formed (`linalg.stacked`).
    trace
        The exact trace, :math:`\sum_i \|x_i\|^2`.
    projector_mean
        The largest (at most 64) eigenvalues of :math:`\frac1N \sum_i P_i`,
        :math:`P_i` the projector on member i's leading directions.
    overlap
        N x N: :math:`\|U_i^\top U_j\|_F^2`, from 0 to min(q_i, q_j).
    phi
        K x K mean over pairs of members of the squared inner product of
        direction a of the one and b of the other.
    geodesic
        N x N Grassmann geodesic distances, the norm of the principal angles;
        None for more than 128 members.
    cosines
        K mean cosines of the principal angles, largest first; None likewise.
    consensus
        N x C: :math:`\|P_i w_l\|^2`, how much of the l-th leading direction
        of the projector mean lies in member i's subspace.
    folds
        None where members are fewer than two.
    base
        None where there is no base.
    """

    eigenvalues: Vector
    trace: float
    projector_mean: Vector
    overlap: Matrix
    phi: Matrix | None = None
    geodesic: Matrix | None = None
    cosines: Vector | None = None
    consensus: Matrix | None = None
    folds: Folds | None = None
    base: BaseSide | None = None


@dataclass(frozen=True, slots=True)
class Directions:
    """Kept only with --save-directions.

    Attributes
    ----------
    left, right
        N x out x K and N x in x K singular vectors, zero beyond a member's
        rank.
    output, input
        Joint directions of the sides, out x k and in x k.
    """

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    output: NDArray[np.float32]
    input: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MemberMetrics:
    """Numbers of each member's own spectrum, by member.

    Attributes
    ----------
    values
        (N, columns), NaN for what is undefined.
    statuses
        N places in the list of what a power-law fit can end with.
    """

    values: Matrix
    statuses: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LayerFit:
    r"""One layer of N members (exact duplicates reduced to one).

    x_i is the member's map: ``scale * B @ A``, ``W - W_base``, or ``W``. While
    streaming, a reference r was subtracted: y_i = x_i - x_r. Any r will do:
    the members' mean, rounded, or zero for low-rank layers, where `h` and
    `reference_energy` are zero.

    Attributes
    ----------
    shape
        ``(out, in)``.
    members
        Indices into `PopulationFit.models`, ascending.
    duplicates
        (dropped, kept) pairs of such indices: byte-identical in this layer.
    inner
        N x N inner products :math:`\langle y_i, y_j\rangle`.
    h
        N inner products :math:`\langle y_i, x_r\rangle`.
    reference_energy
        :math:`\|x_r\|^2`. The Gram matrix of the x_i is
        ``inner + h[:, None] + h[None, :] + reference_energy``.
    rounding
        N values q_i: sum of ulp^2 / 12 over the stored entries, what storage
        in 16 (or 32) bits adds to a squared norm; of adapters also what
        keeping their directions in float32 adds.
    resolution
        c of the arithmetic: eigenvalues below ``c * largest`` are noise.
    singular_values
        N x K, largest first, zero beyond `ranks`.
    ranks
        N values q_i = min(numerical rank, K).
    digests, base_digest
        Hashes of the bytes that were read, a member each and of the base.
    initial
        N x N inner products of the raw factors A (zero where ranks differ),
        for initialisation groups alone; None for dense layers.
    weights
        How the stored entries are distributed.
    entry_sums
        N sums of all entries of x_i.
    row_sums
        N x N inner products of the vectors :math:`1^\top x_i`.
    row_products
        N x N: :math:`\|x_i x_j^\top\|_F^2`, of leading directions alone
        where the maps are dense.
    fold_of
        N fold numbers for the sides' `Folds`; -1 where another member of the
        same group stands for this one.
    base
        Of adapters too, which are updates of it; None without one.
    base_fault
        Why the members were not held against the base's weights, where one
        was given that has the layer.
    recipes
        Spectra as the paper's released code has them, where asked for.
    metrics
        Of each member by itself, where asked for.
    """

    name: str
    architecture: str
    shape: tuple[int, int]
    kind: Literal["low-rank", "dense", "difference"]
    members: tuple[int, ...]
    duplicates: tuple[tuple[int, int], ...]
    inner: Matrix
    h: Vector
    reference_energy: float
    rounding: Vector
    resolution: float
    singular_values: Matrix
    ranks: NDArray[np.int64]
    output: SideFit
    input: SideFit
    initial: Matrix | None = None
    directions: Directions | None = None
    digests: tuple[str, ...] = ()
    base_digest: str | None = None
    weights: WeightStats | None = None
    entry_sums: Vector | None = None
    row_sums: Matrix | None = None
    row_products: Matrix | None = None
    fold_of: NDArray[np.int64] | None = None
    base: BaseFit | None = None
    base_fault: str | None = None
    recipes: tuple[RecipeSpectrum, ...] = ()
    metrics: MemberMetrics | None = None

    @property
    def gram(self) -> Matrix:
        """Return the N x N uncentred inner products of the x_i."""
        return (
            self.inner
            + self.h[:, None]
            + self.h[None, :]
            + self.reference_energy
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

    @property
    def has_layer(self) -> bool:
        """Return whether there is a result."""
        return self.fit is not None


@dataclass(frozen=True, slots=True)
class PopulationFit:
    """All layers of a population, with what is needed to repeat the fit.

    Attributes
    ----------
    started_from_zero
        True with ``--base zero``: the members' common part was learned, so
        the mean of dense layers means something.
    layers
        Read one at a time where they come from a run file.
    n_scanned
        Checkpoints that were found, quarantined and left-out ones included.
    settings, environment
        JSON-able: what was asked for, and versions, backend, BLAS.
    left_out
        Sound, but not analysed: checkpoints that no other shares a layer
        with, layers that fewer than two distinct members hold.
    """

    models: tuple[Member, ...]
    layers: Sequence[LayerFit]
    quarantine: tuple[Quarantined, ...]
    n_scanned: int
    started_from_zero: bool
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    left_out: tuple[Quarantined, ...] = ()
