"""Which layers of a run a report is about."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import overload

from spectra.core.errors import UsageError
from spectra.core.settings import RETAINED, OverlapSettings
from spectra.statistics.spectrum.layer_score import score_of
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["chosen"]


@dataclass(frozen=True, slots=True)
class _Chosen(Sequence[LayerFit]):
    """Some of the layers, each still read when it is asked for."""

    of: Sequence[LayerFit]
    places: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> LayerFit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LayerFit]: ...
    def __getitem__(self, index: int | slice) -> LayerFit | Sequence[LayerFit]:
        if isinstance(index, slice):
            return _Chosen(self.of, self.places[index])
        return self.of[self.places[index]]


def chosen(fit: PopulationFit, settings: OverlapSettings, /) -> PopulationFit:
    """Return the fit with the layers alone that were asked for.

    Parameters
    ----------
    fit
        A population.
    settings
        Globs of names, among which ``retained`` stands for the layers that
        the layer score keeps. It looks at the same members as the report.

    Raises
    ------
    UsageError
        ``E_NO_LAYER`` when there is none, or no score.
    """
    globs = settings.layers
    if not globs:
        return fit
    if RETAINED in globs and not fit.settings.get("metrics"):
        raise UsageError(
            "E_NO_LAYER",
            "the run has no layer scores, by which layers are retained",
            advice="fit the population anew with --metrics",
        )
    places = tuple(
        place
        for place, layer in enumerate(fit.layers)
        if any(fnmatchcase(layer.name, glob) for glob in globs)
        or (RETAINED in globs and _is_retained(layer, settings))
    )
    if not places:
        raise UsageError(
            "E_NO_LAYER",
            f"none of {len(fit.layers)} layers is among {', '.join(globs)}",
            advice="spectra overlap without --layers shows all, with scores",
        )
    return replace(fit, layers=_Chosen(fit.layers, places))


def _is_retained(layer: LayerFit, settings: OverlapSettings) -> bool:
    score = score_of(layer.metrics, settings)
    return score is not None and score.retained
