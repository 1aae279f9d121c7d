"""The model axis of one layer: everything that one layer alone can show."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.population import Groupings
from spectra.statistics.model_axis.effect import (
    LEVELS,
    Effect,
    eligible,
    interval,
    largest_effect,
    resamples,
)
from spectra.statistics.model_axis.held_out import HeldOut, hold_out
from spectra.statistics.nulls.draws import Members, NullDraws, draw_null
from spectra.statistics.nulls.table import chosen_nulls
from spectra.statistics.streams import stream
from spectra.statistics.vectors import Deviations, deviations
from spectra.subspaces.result import LayerFit

__all__ = ["Findings", "Mean", "levels_of", "study"]


@dataclass(frozen=True, slots=True)
class Mean:
    """r2.mean with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What one layer has shown, before layers are looked at together.

    Attributes
    ----------
    labels, starts
        Lineage and initialisation group of each member.
    held_out, one_out
        By lineage group, and by member; None for fewer than two.
    learned_mean
        Whether members started from zero, so that their mean was learned.
    mean
        None where the mean was not learned.
    effect, one_per_start
        With all members, and with one of each initialisation group.
    nulls
        By name, or why one cannot be drawn.
    """

    axis: Deviations
    labels: tuple[int, ...]
    starts: tuple[int, ...]
    held_out: HeldOut | None
    one_out: HeldOut | None
    learned_mean: bool
    mean: Mean | None
    effect: Effect | None
    one_per_start: Effect | None
    nulls: Mapping[str, NullDraws | str]

    @property
    def n_groups(self) -> int:
        """Return the number of lineage groups among the layer's members."""
        return len(set(self.labels))

    @property
    def group_shares(self) -> dict[int, float]:
        """Return each lineage group's share of the squared norms."""
        squares = self.axis.squared_norms
        if squares is None or not squares.sum() > 0:
            return {}
        labels = np.array(self.labels)
        return {
            label: float(squares[labels == label].sum() / squares.sum())
            for label in self.labels
        }


def levels_of(settings: OverlapSettings, /) -> tuple[int, ...]:
    """Return the k to report, smallest first."""
    return tuple(sorted({*LEVELS, *settings.k}))


def study(
    layer: LayerFit,
    groupings: Groupings,
    settings: OverlapSettings,
    /,
    *,
    started_from_zero: bool,
) -> Findings:
    """Return what the model axis of a layer shows.

    Parameters
    ----------
    layer
        The layer.
    groupings
        Of the whole population.
    settings
        What was asked for.
    started_from_zero
        Whether dense layers did.
    """
    axis = deviations(layer, groupings.ids)
    labels = groupings.labels(axis.members)
    starts = groupings.starts(axis.members)
    sums, weights, effect = _judged(axis, labels, layer, settings)
    learned_mean = layer.kind != "dense" or started_from_zero
    members = Members(axis, layer, are_updates=learned_mean)
    return Findings(
        axis=axis,
        labels=labels,
        starts=starts,
        held_out=sums,
        one_out=_one_out(axis, labels, sums, settings),
        learned_mean=learned_mean,
        mean=_mean(sums, weights) if learned_mean else None,
        effect=effect,
        one_per_start=_one_per_start(
            (axis, labels, starts), effect, layer, settings
        ),
        nulls={
            null.name: draw_null(
                null, members, levels_of(settings),
                draws=settings.draws,
                rng=stream(layer, settings, null.name),
            )
            for null in chosen_nulls(settings.null)
        },
    )  # fmt: skip


def _judged(
    axis: Deviations,
    labels: tuple[int, ...],
    layer: LayerFit,
    settings: OverlapSettings,
) -> tuple[HeldOut | None, NDArray[np.float64], Effect | None]:
    """Return held-out sums, resamples of the groups, and the effect."""
    n_groups = len(set(labels))
    sums = hold_out(
        axis.K, axis.energies, labels,
        levels=levels_of(settings), floor=axis.floor,
    )  # fmt: skip
    rng = stream(layer, settings, "bootstrap")
    weights = resamples(n_groups, settings.bootstrap, rng)
    return sums, weights, largest_effect(sums, weights, eligible(n_groups))


def _one_out(
    axis: Deviations,
    labels: tuple[int, ...],
    sums: HeldOut | None,
    settings: OverlapSettings,
) -> HeldOut | None:
    """Return each member as the others see it, its relatives among them."""
    if len(set(labels)) == axis.n:
        return sums
    return hold_out(
        axis.K, axis.energies, range(axis.n),
        levels=levels_of(settings), floor=axis.floor,
    )  # fmt: skip


def _one_per_start(
    known: tuple[Deviations, tuple[int, ...], tuple[int, ...]],
    effect: Effect | None,
    layer: LayerFit,
    settings: OverlapSettings,
) -> Effect | None:
    """Return the effect with the first member of each random start.

    It is the effect itself where every start is alone, and where nothing is
    shared that a common start could explain.
    """
    axis, labels, starts = known
    first = [starts.index(start) for start in dict.fromkeys(starts)]
    if effect is None or effect.low < settings.weakly_shared:
        return effect
    if len(first) == axis.n:
        return effect
    own = tuple(labels[i] for i in first)
    return _judged(axis.subset(first), own, layer, settings)[2]


def _mean(sums: HeldOut | None, weights: NDArray[np.float64]) -> Mean | None:
    if sums is None or not sums.energy.sum() > 0:
        return None
    left = sums.deviation.sum() / sums.energy.sum()
    low, high = interval(sums.deviation, sums.energy, weights)
    return Mean(float(1 - left), 1 - high, 1 - low)
