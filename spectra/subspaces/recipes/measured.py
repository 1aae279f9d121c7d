"""The spectrum of each recipe, exact, beside what chance would give."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine
from spectra.linalg.gram import double_centred
from spectra.linalg.solvers import eigvalsh
from spectra.subspaces.recipes.chance import expected_shares
from spectra.subspaces.recipes.moments import (
    LIMIT,
    Survey,
    features_at_once,
    products_of,
    second_moment,
    survey,
)
from spectra.subspaces.recipes.table import (
    RECIPES,
    Centring,
    Members,
    Part,
    Recipe,
)

__all__ = [
    "RecipeSpectrum",
    "Truncation",
    "as_released",
    "cost_of",
    "measure",
    "of_inner",
]

Float = NDArray[np.float64]

_ONE_BLOCK = 2**20
"""Entries of all samples that are worth holding to solve the lesser side."""

_ENOUGH = 0.9
"""Of the variance: with less, the released code fits once more."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """What a decomposition keeps of the tensor whose spectra these are.

    Attributes
    ----------
    ranks
        Of its core: models, outputs, inputs.
    error
        Norm of what it lacks, over that of the centred tensor.
    bound
        What that error cannot exceed, from the spectra alone.
    refined
        The error after refinement; None where none was asked for.
    """

    ranks: tuple[int, int, int]
    error: float
    bound: float
    refined: float | None = None


@dataclass(frozen=True, slots=True)
class RecipeSpectrum:
    """One spectrum of one recipe.

    Attributes
    ----------
    recipe, part, mode
        As in the table.
    feature_dim, n_samples
        Of the samples.
    centring
        What was subtracted.
    eigenvalues
        Squared singular values of all centred samples, largest first: not
        divided by their number.
    total
        Their sum, from the trace: what a truncated spectrum is a share of.
    free
        Independent samples among them, for chance.
    truncated
        Whether eigenvalues were left out, as the released code does.
    caveat
        What it does not say.
    options
        With which the recipe was asked for.
    truncation
        The decomposition that they ask for.
    """

    recipe: str
    part: str
    mode: int | None
    feature_dim: int
    n_samples: int
    centring: Centring
    eigenvalues: Float
    total: float
    free: int
    truncated: bool
    caveat: str
    options: str = ""
    truncation: Truncation | None = None

    @property
    def floor(self) -> float:
        """Return below what an eigenvalue is rounding."""
        side = max(len(self.eigenvalues), 1)
        return side * float(np.finfo(float).eps) * self.total

    def evr(self, k: int, /) -> float | None:
        """Return the share of the k largest eigenvalues.

        None where nothing varies, or k is beyond a truncated spectrum.
        """
        kept = len(self.eigenvalues)
        if self.total <= 0 or (self.truncated and k > kept):
            return None
        if k >= kept and not self.truncated:
            return 1.0
        return min(1.0, float(self.eigenvalues[:k].sum()) / self.total)

    def chance(self, k: int, /) -> float | None:
        """Return the share that independent isotropic models would have.

        None where no sample is free.
        """
        shares = expected_shares(self.free, self.feature_dim)
        if not len(shares):
            return None
        return float(shares[min(k, len(shares)) - 1])

    def saturated(self, k: int, /) -> bool:
        """Return whether k is over half of all directions there can be.

        A large share says nothing then.
        """
        return min(self.feature_dim, self.free) < 2 * k


def measure(
    recipe: Recipe,
    members: Members,
    /,
    *,
    centring: Centring | None = None,
    limit: int = LIMIT,
) -> tuple[RecipeSpectrum, ...]:
    """Return the spectra of one recipe, one a part.

    Parameters
    ----------
    recipe
        A row of the table.
    members
        Models' layers, read twice and more for each part; never more than a
        few are held.
    centring
        In place of the recipe's own: the readings of Algorithm 1's first line
        are ``"models"`` and ``"scalar"``, its code has ``"none"``.
    limit
        Largest symmetric matrix.

    Raises
    ------
    Quarantine
        ``LIMIT_DIM`` when features and samples are both more than `limit`;
        ``SHAPE_MISMATCH`` when models' samples do not fit each other, such as
        factors of different ranks, of which there is no mean;
        ``TOO_FEW_MEMBERS`` with fewer than two models.
    TypeError
        When a recipe of adapters is given full matrices.
    """
    how = centring or recipe.centring
    return tuple(
        _measured(recipe, part, members, how, limit) for part in recipe.parts
    )


def cost_of(
    shapes: Sequence[tuple[int, int]], /, *, limit: int = LIMIT
) -> tuple[int, int]:
    """Return how often members are read for a moment, and what it takes.

    Parameters
    ----------
    shapes
        Samples and features of each model.
    limit
        As of `measure`.

    Returns
    -------
    tuple
        Readings after the one for the mean; bytes beside one member's.
    """
    n, d = sum(samples for samples, _ in shapes), shapes[0][1]
    largest = max(samples for samples, _ in shapes)
    if min(n, d) > limit:
        return 0, 0
    if not _are_few(n, d, limit):
        return 1, 4 * 8 * d * d
    step = features_at_once(n, d, largest)
    return -(-d // step), 4 * 8 * n * n + 8 * n * step


def of_inner(inner: Float, size: int, /) -> RecipeSpectrum:
    """Return the spectrum of model-axis from what a fit has of the layer.

    Parameters
    ----------
    inner
        N x N products of the maps, each less any one map: `LayerFit.inner`.
        Those of whole maps would lose what they have in common.
    size
        Entries of a map.
    """
    (recipe,) = (r for r in RECIPES if r.name == "model-axis")
    n = len(inner)
    found = Survey(n, n, size, (1,) * n, n - 1, np.zeros((1, 1)))
    K: Float = double_centred(inner)
    return _spectrum(recipe, recipe.parts[0], found, recipe.centring, K)


def as_released(
    spectrum: RecipeSpectrum, /, *, n_components: int = 300
) -> RecipeSpectrum:
    """Return what the released `run_pca.py` keeps of a spectrum.

    Parameters
    ----------
    spectrum
        Of rows, exact.
    n_components
        Of the first fit; one less than there are features or samples at most.

    Notes
    -----
    Where n components explain EV < 0.9, the code fits ``int(n / EV * 0.9)``:
    as many as 0.9 would take were the spectrum flat. Since it falls, that is
    too few, and ranks for 0.9 and more read off the result are its length.
    """
    samples, features = spectrum.n_samples, spectrum.feature_dim
    n = min(n_components, samples - 1, features - 1)
    share = spectrum.evr(n) if n > 0 else None
    if share is not None and share < _ENOUGH:
        n = min(int(n / share * _ENOUGH), samples - 1)
    values = spectrum.eigenvalues[: max(n, 0)]
    truncated = len(values) < len(spectrum.eigenvalues)
    return replace(spectrum, eigenvalues=values, truncated=truncated)


def _are_few(n: int, d: int, limit: int) -> bool:
    """Return whether samples are multiplied with each other, all at once.

    Else one model's term is added at a time.
    """
    return n < d and (d > limit or n * d <= _ONE_BLOCK)


def _measured(
    recipe: Recipe,
    part: Part,
    members: Members,
    centring: Centring,
    limit: int,
) -> RecipeSpectrum:
    found = survey(members, part, centring)
    n, d = found.n_samples, found.feature_dim
    if min(n, d) > limit:
        raise Quarantine(
            "LIMIT_DIM",
            f"{recipe.name} needs a symmetric matrix of {min(n, d)} rows, of"
            f" {n} samples of {d} features; {limit} is the most",
        )
    form = products_of if _are_few(n, d, limit) else second_moment
    C = form(members, part.samples, found)
    return _spectrum(recipe, part, found, centring, C)


def _spectrum(
    recipe: Recipe, part: Part, found: Survey, centring: Centring, C: Float
) -> RecipeSpectrum:
    n, d = found.n_samples, found.feature_dim
    values = np.maximum(eigvalsh(C)[::-1], 0.0)[: min(n, d)]
    return RecipeSpectrum(
        recipe=recipe.name,
        part=part.name,
        mode=part.mode,
        feature_dim=d,
        n_samples=n,
        centring=centring,
        eigenvalues=values,
        total=float(np.trace(C)),
        free=found.free,
        truncated=False,
        caveat=part.caveat or recipe.caveat,
    )
