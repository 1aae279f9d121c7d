"""Which numbers each recipe of the released code takes as its samples.

The code that came with "The Universal Weight Subspace Hypothesis"
(arXiv:2512.05117; toshi2k2/unisub) computes "the" spectrum of a layer in seven
ways. They differ in what a sample is, in what is subtracted from it, and so in
what chance alone would give: none answers the question of another.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CENTRINGS",
    "RECIPES",
    "Centring",
    "Factors",
    "Kind",
    "Member",
    "Members",
    "Part",
    "Recipe",
]

Matrix = NDArray[Any]

Centring = Literal["models", "columns", "scalar", "none"]

Kind = Literal["any", "adapters", "convolutions"]

CENTRINGS: dict[Centring, str] = {
    "models": "each entry less its mean over the models",
    "columns": "each feature less its mean over the samples",
    "scalar": "each entry less the mean of all entries of all models",
    "none": "nothing is subtracted",
}
"""What is subtracted before anything is squared."""


@dataclass(frozen=True, slots=True)
class Factors:
    r"""The stored factors of one adapter's update :math:`s\,B A`.

    They have a gauge: any ``(G @ A, B @ inv(G))`` is the same update, and has
    another spectrum. The recipes below look at them nevertheless, as the
    released code does; nothing else should.

    Attributes
    ----------
    A, B
        ``(rank, in)`` and ``(out, rank)``.
    scale
        alpha / r, which the recipes of raw factors leave out.
    """

    A: Matrix
    B: Matrix
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """Return the number of rows of A."""
        return int(self.A.shape[0])

    def update(self) -> Matrix:
        """Return the map itself, (out, in), in float64."""
        B = np.asarray(self.B, np.float64)
        update: Matrix = B @ np.asarray(self.A, np.float64)
        update *= self.scale
        return update


Member = Matrix | Factors
"""A layer of one model: ``(out, in)``, a convolution ``(out, ...)``."""

Members = Callable[[], Iterable[Member]]
"""Yields the models' layers in one order, as often as it is called."""


@dataclass(frozen=True, slots=True)
class Part:
    """One spectrum of a recipe.

    Attributes
    ----------
    samples
        Return a member's samples, (samples, features), a view where that can
        be.
    name
        ``"A"`` or ``"B"`` for a raw factor, else empty.
    mode
        Of the tensor (models, out, in) that is unfolded; None for none.
    caveat
        Said of this part in place of the recipe's.
    """

    samples: Callable[[Member], Matrix]
    name: Literal["", "A", "B"] = ""
    mode: int | None = None
    caveat: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way of the released code from weights to a spectrum.

    Attributes
    ----------
    of
        The layers that it is for.
    centring
        A key of `CENTRINGS`.
    parts
        Its spectra.
    chance
        What independent isotropic models would give, in words.
    caveat
        What its spectrum does not say, in one sentence.
    source
        Where the released code does it.
    """

    name: str
    of: Kind
    centring: Centring
    parts: tuple[Part, ...]
    chance: str
    caveat: str
    source: str


def _map(member: Member) -> Matrix:
    if isinstance(member, Factors):
        return member.update()
    return member.reshape(len(member), -1)


def _flat(member: Member) -> Matrix:
    return _map(member).reshape(1, -1)


def _columns(member: Member) -> Matrix:
    return _map(member).T


def _factors(member: Member) -> Factors:
    if not isinstance(member, Factors):
        msg = "the raw factors of an adapter are asked for, of a full matrix"
        raise TypeError(msg)
    return member


def _rows_of_a(member: Member) -> Matrix:
    return _factors(member).A


def _rows_of_b(member: Member) -> Matrix:
    return _factors(member).B


def _columns_of_b(member: Member) -> Matrix:
    return _factors(member).B.T


_RAW = (
    "raw factors depend on the gauge they were trained in, are without"
    " alpha/r, and share what their initialisation shares"
)

_TALL = (Part(_rows_of_a, "A"), Part(_columns_of_b, "B"))
# Columns of the tall matrices A^T and B, (d, r) each: rows of A are the first.

RECIPES = (
    Recipe(
        name="model-axis",
        of="any",
        centring="models",
        parts=(Part(_flat),),
        chance="k / (N - 1) for models of equal norm",
        caveat=(
            "One sample a model: the share of k directions is compared with"
            " k / (N - 1), which is large where models are few, and larger"
            " still where their norms differ; of an adapter the update with"
            " its scale is taken, where ImageClassification flattens raw A"
            " and B."
        ),
        source="ImageClassification/utils.py",
    ),
    Recipe(
        name="rows-pca",
        of="any",
        centring="models",
        parts=(Part(_map),),
        chance="near k / in for many rows, never k / (N - 1)",
        caveat=(
            "One sample a row of a weight matrix: this is a basis of the"
            " layer's input space, which all models have, so the share of k"
            " directions is compared with k / in and not with k / (N - 1);"
            " the authors' own fits keep 300 or so components and saturate"
            " there."
        ),
        source="LLaMA/run_pca.py; ViT and GPT-2 are the same",
    ),
    Recipe(
        name="lora-rows-pca",
        of="adapters",
        centring="models",
        parts=(
            Part(_rows_of_a, "A"),
            Part(
                _rows_of_b,
                "B",
                caveat=(
                    "The rows of B have only r features, one a rank index:"
                    " that r or fewer directions hold everything is true of"
                    f" any adapters; {_RAW}."
                ),
            ),
        ),
        chance="A: near k / in for many rows; B: near k / r",
        caveat=(
            f"One sample a row of A: {_RAW}; the authors' scree averages it"
            " with that of B, which has only r features."
        ),
        source="Mistral_LoRAs/run_pca.py",
    ),
    Recipe(
        name="lora-cols-svd",
        of="adapters",
        centring="columns",
        parts=_TALL,
        chance="near k over the lesser of d and N r, and above it",
        caveat=(
            "One sample a column of the tall factor: the authors project"
            " uncentred factors on the basis and do not add the mean back,"
            f" and keep 256 components by default, not 16; {_RAW}."
        ),
        source="NLG/get_subspaceadapter.py",
    ),
    Recipe(
        name="lora-eig",
        of="adapters",
        centring="columns",
        parts=_TALL,
        chance="near k over the lesser of d and N r, and above it",
        caveat=(
            "The spectrum of lora-cols-svd by another solver: the authors"
            " complete its 32 directions with 32 random ones, which were never"
            f" compared with 64 random ones; {_RAW}."
        ),
        source="NLU/utils.py",
    ),
    Recipe(
        name="hosvd",
        of="any",
        centring="models",
        parts=(
            Part(_flat, mode=0),
            Part(_columns, mode=1),
            Part(_map, mode=2),
        ),
        chance="mode 0: k / (N - 1), 1: near k / out, 2: near k / in",
        caveat=(
            "Three spectra with three chances, of the models, the outputs and"
            " the inputs: one number of directions means nothing without its"
            " mode; the algorithm's mean of all entries can be read as one"
            " number, and the code of NLU/hosvd.py subtracts nothing."
        ),
        source="Algorithm 1; NLU/hosvd.py",
    ),
    Recipe(
        name="conv-cols",
        of="convolutions",
        centring="none",
        parts=(Part(_columns),),
        chance="near k / out for many columns",
        caveat=(
            "One sample a column of the kernel as (out, in k k), nothing"
            " subtracted: what the models have in common on average counts as"
            " shared, and the basis is one of the output channels alone."
        ),
        source="CNN/subspace.py",
    ),
)
"""All recipes; another is another row."""
