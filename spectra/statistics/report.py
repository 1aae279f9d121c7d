"""The report of a population: one pass for its groups, one for its layers."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from spectra.core.errors import UsageError
from spectra.core.events import Observer, Progress
from spectra.core.provenance import VERSION
from spectra.core.settings import OverlapSettings, as_json
from spectra.statistics.documents import (
    held_out_document,
    null_document,
    spectrum_document,
)
from spectra.statistics.evidence import Evidence, evidence
from spectra.statistics.groups import start_thresholds
from spectra.statistics.model_axis import Findings, levels_of, study
from spectra.statistics.nulls import NULLS, adjusted_p
from spectra.statistics.population import (
    Groupings,
    groupings_of,
    population_document,
)
from spectra.statistics.relations import relate
from spectra.statistics.sides import side_document
from spectra.statistics.summary import summary
from spectra.statistics.verdict import counted, judge
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["SCHEMA", "measure"]

SCHEMA = "spectra-report/1"

Document = dict[str, Any]

_FEWEST_DRAWS = 199


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer before it is looked at beside the others."""

    document: Document
    axis: Document
    nulls: dict[str, Any]
    evidence: Evidence
    group_shares: dict[int, float]


def measure(
    fit: PopulationFit,
    settings: OverlapSettings,
    /,
    *,
    on_event: Observer | None = None,
) -> Document:
    """Return the report of a population, as report.json holds it.

    Parameters
    ----------
    fit
        What one pass over the weights left behind.
    settings
        What to measure, and where the verdicts' thresholds lie.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When a setting is out of range, or a member's group is missing.
    """
    _check(settings)
    relations = relate(fit.layers, len(fit.models), start_thresholds(settings))
    groupings = groupings_of(fit.models, relations, settings)
    layers = [
        _alone(layer, groupings, settings, fit.started_from_zero)
        for layer in _told(fit.layers, on_event)
    ]
    together = _together(layers, settings)
    shares = [layer.group_shares for layer in layers]
    population = population_document(fit, relations, groupings, shares)
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "settings": {
            "fit": dict(fit.settings), "overlap": as_json(settings),
        },
        "environment": dict(fit.environment),
        "population": population,
        "layers": together,
        "verdict": {
            "counts": counted([layer["verdict"] for layer in together]),
            "text": summary(population, together),
        },
        "quarantine": [asdict(entry) for entry in fit.quarantine],
        "left_out": [asdict(entry) for entry in fit.left_out],
    }  # fmt: skip


def _check(settings: OverlapSettings) -> None:
    if settings.draws < _FEWEST_DRAWS:
        raise UsageError(
            "E_DRAWS",
            f"{settings.draws} draws resolve no p below"
            f" {1 / (1 + settings.draws):.2g}",
            advice=f"draw at least {_FEWEST_DRAWS}",
        )
    if settings.bootstrap < 1 or any(k < 1 for k in settings.k):
        raise UsageError(
            "E_LEVEL", "levels of k and resamples are counted from 1"
        )


def _told(
    layers: Sequence[LayerFit], on_event: Observer | None
) -> Iterator[LayerFit]:
    for done, layer in enumerate(layers, start=1):
        yield layer
        if on_event is not None:
            on_event(Progress("overlap", done, len(layers), layer.name))


def _alone(
    layer: LayerFit,
    groupings: Groupings,
    settings: OverlapSettings,
    started_from_zero: bool,
) -> _Layer:
    found = study(
        layer, groupings, settings, started_from_zero=started_from_zero
    )
    levels = levels_of(settings)
    sides = {
        f"{name}_side": side_document(layer, side, dimension, levels=levels)
        for name, side, dimension in (
            ("output", layer.output, layer.shape[0]),
            ("input", layer.input, layer.shape[1]),
        )
    }
    return _Layer(
        document={
            "name": layer.name,
            "architecture": layer.architecture,
            "kind": layer.kind,
            "shape": list(layer.shape),
            "n_models": len(layer.members),
            **sides,
            "stability": _NO_STABILITY,
        },
        axis=_axis_document(found, levels),
        nulls=dict(found.nulls),
        evidence=evidence(found, groupings),
        group_shares=found.group_shares,
    )


_NO_STABILITY: Document = {
    "split_half": None, "split_half_null": None, "davis_kahan": None,
    "reasons": ["stability was not measured"],
}  # fmt: skip


def _axis_document(found: Findings, levels: Sequence[int]) -> Document:
    spectrum = spectrum_document(found.axis, levels)
    return {**spectrum, "held_out": held_out_document(found, levels)}


def _together(
    layers: Sequence[_Layer], settings: OverlapSettings
) -> list[Document]:
    """Return the layers with p adjusted for their number, and verdicts."""
    levels = levels_of(settings)
    adjusted = {
        (null.name, k): adjusted_p([x.nulls[null.name] for x in layers], k)
        for null in NULLS
        for k in levels
    }
    return [
        _judged(layer, settings, {key: p[i] for key, p in adjusted.items()})
        for i, layer in enumerate(layers)
    ]


def _judged(
    layer: _Layer,
    settings: OverlapSettings,
    adjusted: dict[tuple[str, int], float],
) -> Document:
    levels, known = levels_of(settings), layer.evidence
    nulls = {
        name: null_document(draws, [adjusted[name, k] for k in levels], levels)
        for name, draws in layer.nulls.items()
    }
    if known.effect is not None and layer.nulls[NULLS[0].name] is not None:
        known = replace(known, p=adjusted[NULLS[0].name, known.effect.k])
    verdict, reasons = judge(known, settings)
    stated = {"verdict": verdict, "reasons": list(reasons)}
    return {
        **layer.document,
        "model_axis": {**stated, **layer.axis, "null": nulls},
        **stated,
    }
