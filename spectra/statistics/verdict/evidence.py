"""What a verdict is made from, and nothing else."""

from dataclasses import dataclass

import numpy as np

from spectra.statistics.kinship.population import Groupings
from spectra.statistics.measures import evr, expected_isotropic
from spectra.statistics.model_axis.effect import Effect, eligible
from spectra.statistics.model_axis.findings import Findings, Mean

__all__ = ["Evidence", "evidence"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the model axis of one layer.

    Attributes
    ----------
    n_members, n_groups
        Members left after duplicates, lineage groups among them.
    n_related
        Members whose lineage group has several members in the population.
    largest_start
        Members of the largest initialisation group.
    effect, one_per_start
        With all members, and with one of each initialisation group; None
        where nothing can be held out.
    learned_mean
        Whether members started from zero, so that their mean was learned.
    mean
        None where it was not learned or cannot be measured.
    evr_k
        The largest eligible level, None for none.
    evr, isotropic
        At that level: as observed, and for equal orthogonal members.
    p
        At the effect's level, adjusted for the number of layers.
    """

    n_members: int
    n_groups: int
    n_related: int
    largest_start: int
    effect: Effect | None
    one_per_start: Effect | None
    learned_mean: bool
    mean: Mean | None
    evr_k: int | None
    evr: float
    isotropic: float
    p: float | None = None

    @property
    def low(self) -> float:
        """Return the lower end of the effect, minus infinity for none."""
        return self.effect.low if self.effect else float("-inf")

    def is_significant(self, alpha: float, /) -> bool:
        """Return whether the spectrum beats its null."""
        return self.p is not None and self.p < alpha


def evidence(found: Findings, groupings: Groupings, /) -> Evidence:
    """Return what one layer shows; p needs all layers and comes later.

    Parameters
    ----------
    found
        One layer.
    groupings
        Of the whole population.
    """
    axis, relatives = found.axis, groupings.relatives
    largest = max(eligible(found.n_groups), default=None)
    levels = () if largest is None else (largest,)
    observed, isotropic = evr(axis, levels), expected_isotropic(axis.n, levels)
    _, counts = np.unique(found.starts, return_counts=True)
    return Evidence(
        n_members=axis.n,
        n_groups=found.n_groups,
        n_related=sum(relatives[i] > 1 for i in axis.members),
        largest_start=int(counts.max()),
        effect=found.effect,
        one_per_start=found.one_per_start,
        learned_mean=found.learned_mean,
        mean=found.mean,
        evr_k=largest,
        evr=float(observed.sum()),
        isotropic=float(isotropic.sum()),
    )
