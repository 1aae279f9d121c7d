r"""What of a layer's update is trained, and what stays.

Each form is a map :math:`x \mapsto B\,\mathrm{core}(A x)` with frozen factors
and a small core, which holds the trained numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.apply.adaptation.stack import Stack
from spectra.apply.compression.joint_diagonalisation import joint_basis
from spectra.apply.merging.core_space import core_space
from spectra.linalg.solvers import svd
from spectra.subspaces.joint import Subspace
from spectra.subspaces.recipes.table import Factors

__all__ = [
    "FORMS",
    "Combined",
    "Core",
    "Form",
    "Framed",
    "Layer",
    "Paired",
    "Wish",
]

Array = Any
Matrix = NDArray[np.float64]

_SETTLED = 1e-5
"""Frames are trained in, not judged: steps that move less than this share of
the members' energy are not waited for."""


@dataclass(frozen=True, slots=True)
class Combined:
    """Members times ``offset + W c``, with k trained numbers c.

    Attributes
    ----------
    offset
        (N,): what the update is where c is zero.
    W
        (N, k): each direction as a combination of the members.
    owner
        As of `~spectra.apply.adaptation.stack.Stack`.
    """

    offset: Array
    W: Array
    owner: Array

    def __call__(self, c: Array, h: Array, /) -> Array:
        """Return the core of h (..., R)."""
        return h * (self.offset + self.W @ c)[self.owner]


@dataclass(frozen=True, slots=True)
class Framed:
    """A trained matrix S (k, k) between two frames."""

    def __call__(self, S: Array, h: Array, /) -> Array:
        """Return the core of h (..., k)."""
        return h @ S.mT


@dataclass(frozen=True, slots=True)
class Paired:
    """Two trained matrices (k, r) and (r, k) between two frames.

    They are kept as L (2, r, k): L_A, and L_B the other way round.
    """

    def __call__(self, L: Array, h: Array, /) -> Array:
        """Return the core of h (..., k)."""
        return (h @ L[0].mT) @ L[1]


Core = Combined | Framed | Paired


@dataclass(frozen=True, slots=True)
class Layer:
    """What is frozen of a layer's update, and with what training starts.

    Attributes
    ----------
    A, B
        (p, in) and (out, q).
    core
        Takes the trained numbers, and h (..., p) to (..., q).
    start
        The trained numbers.
    """

    A: Array
    B: Array
    core: Core
    start: Matrix

    def update(self, trained: Array, /) -> Factors:
        """Return the update that such numbers make."""
        return Factors(self.core(trained, self.A.T).T, self.B)


@dataclass(frozen=True, slots=True)
class Wish:
    """How a layer's update is to be trained.

    Attributes
    ----------
    k
        Directions; of a form with frames, of each side.
    rank
        Of the form with two trained factors.
    start
        ``"zero"``, ``"mean"``, or an update to be projected.
    rng
        For what is drawn.
    """

    k: int
    rank: int
    start: str | Factors
    rng: np.random.Generator


def _model_axis(stack: Stack, subspace: Subspace, wish: Wish) -> Layer:
    W, n = subspace.coefficients, stack.n
    start = np.zeros(W.shape[1])
    offset = np.full(n, 0.0 if wish.start == "zero" else 1 / n)
    if isinstance(wish.start, Factors):
        start = W.T @ (stack.inner(wish.start) - stack.inner(stack.mean()))
    return Layer(stack.A, stack.B, Combined(offset, W, stack.owner), start)


def _frames(stack: Stack, k: int) -> tuple[Matrix, Matrix]:
    """Return U (out, p) and V (in, p) that hold most of the members."""
    members = [
        Factors(stack.A[own], stack.B[:, own])
        for own in (stack.owner == i for i in range(stack.n))
    ]
    found = joint_basis(core_space(members), k, tolerance=_SETTLED)
    p = min(found.U.shape[1], found.V.shape[1])
    return found.U[:, :p], found.V[:, :p]


def _between(stack: Stack, wish: Wish, U: Matrix, V: Matrix) -> Matrix:
    """Return S of the nearest U S V' to what training starts from."""
    if wish.start == "zero":
        return np.zeros((U.shape[1], V.shape[1]))
    x = wish.start if isinstance(wish.start, Factors) else stack.mean()
    S: Matrix = (U.T @ (x.scale * x.B)) @ (x.A @ V)
    return S


def _jd_full(stack: Stack, _: Subspace, wish: Wish) -> Layer:
    U, V = _frames(stack, wish.k)
    return Layer(V.T, U, Framed(), _between(stack, wish, U, V))


def _subspace_adapter(stack: Stack, _: Subspace, wish: Wish) -> Layer:
    U, V = _frames(stack, wish.k)
    L = np.zeros((2, wish.rank, U.shape[1]))
    if wish.start == "zero":
        # As LoRA starts in PEFT: one factor zero, the other of this size.
        bound = 1 / np.sqrt(U.shape[1])
        L[0] = wish.rng.uniform(-bound, bound, L[0].shape)
    else:
        W, s, Zh = svd(_between(stack, wish, U, V))
        kept = min(wish.rank, len(s))
        root = np.sqrt(s[:kept])
        L[0, :kept] = root[:, None] * Zh[:kept]
        L[1, :kept] = root[:, None] * W[:, :kept].T
    return Layer(V.T, U, Paired(), L)


@dataclass(frozen=True, slots=True)
class Form:
    """One way of training in a subspace.

    Attributes
    ----------
    size
        How many numbers a layer has, in words.
    """

    name: str
    layer: Callable[[Stack, Subspace, Wish], Layer]
    size: str
    cite: str


FORMS = (
    Form("model-axis", _model_axis, "k", "Kaushik et al. 2025"),
    Form("jd-full", _jd_full, "k^2", "Compress then Serve, arXiv:2407.00066"),
    Form("subspace-adapter", _subspace_adapter, "2 k r",
         "toshi2k2/unisub, SubspaceAdapter"),
)  # fmt: skip
