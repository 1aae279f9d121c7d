"""One layer of the report, before it is looked at beside the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spectra.core.settings import OverlapSettings
from spectra.statistics.document.metrics import metrics_document
from spectra.statistics.document.numbers import (
    held_out_document,
    spectrum_document,
)
from spectra.statistics.document.recipes import recipe_document
from spectra.statistics.document.trajectory import trajectory_document
from spectra.statistics.kinship.population import Groupings
from spectra.statistics.model_axis.findings import Findings, levels_of, study
from spectra.statistics.model_axis.stability import (
    stability,
    stability_document,
)
from spectra.statistics.nulls.draws import NullDraws
from spectra.statistics.populations.between import Pairs, between
from spectra.statistics.populations.layer import Compared
from spectra.statistics.sides.base import base_document
from spectra.statistics.sides.findings import side_document, study_side
from spectra.statistics.sides.side import sides_of
from spectra.statistics.spectrum.layer_score import LayerScore, score_of
from spectra.statistics.streams import stream
from spectra.statistics.trajectory.order import Order
from spectra.statistics.verdict.evidence import Evidence, evidence
from spectra.subspaces.result import LayerFit

__all__ = ["LayerReport", "layer_report"]

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What one layer says by itself.

    Attributes
    ----------
    document
        Of the layer, without its model axis.
    axis
        Of the model axis, without nulls.
    nulls
        Draws of each null by name, or why there are none.
    evidence
        For the verdict; p needs all layers and comes later.
    group_shares
        Each lineage group's share of the squared norms.
    score
        By the members' power laws; None where none was asked for, or found.
    compared
        Each pair of given groups; None where none are given.
    """

    document: Document
    axis: Document
    nulls: Mapping[str, NullDraws | str]
    evidence: Evidence
    group_shares: Mapping[int, float]
    score: LayerScore | None
    compared: tuple[Compared, ...] | None


def layer_report(
    layer: LayerFit,
    groupings: Groupings,
    pairs: Pairs | None,
    settings: OverlapSettings,
    /,
    *,
    started_from_zero: bool,
    order: Order | None,
) -> LayerReport:
    """Return what one layer says by itself.

    Parameters
    ----------
    layer
        The layer.
    groupings
        Of the whole population.
    pairs
        Of given groups; None where none are given.
    settings
        What was asked for.
    started_from_zero
        Whether dense layers did.
    order
        Of the members as checkpoints of one training run; None of others.
    """
    found = study(
        layer, groupings, settings, started_from_zero=started_from_zero
    )
    levels = levels_of(settings)
    return LayerReport(
        document={
            "name": layer.name,
            "architecture": layer.architecture,
            "kind": layer.kind,
            "shape": list(layer.shape),
            "n_models": len(layer.members),
            **_sides(layer, groupings, found, settings),
            "stability": _stability(layer, found, settings),
            **base_document(layer, levels),
            "recipes": [recipe_document(r, levels) for r in layer.recipes],
            **metrics_document(layer.metrics, settings),
            **trajectory_document(layer, order, groupings.ids, settings),
        },
        axis={
            **spectrum_document(found.axis, levels),
            "held_out": held_out_document(found, levels),
        },
        nulls=found.nulls,
        evidence=evidence(found, groupings),
        group_shares=found.group_shares,
        score=score_of(layer.metrics, settings),
        compared=None if pairs is None else between(layer, pairs, settings),
    )


def _sides(
    layer: LayerFit,
    groupings: Groupings,
    found: Findings,
    settings: OverlapSettings,
) -> Document:
    levels, n_starts = levels_of(settings), len(set(found.starts))
    documents = {}
    for side in sides_of(layer, groupings.ids):
        drawn = study_side(side, n_starts, settings, levels=levels)
        documents[f"{side.name}_side"] = side_document(
            side, levels=levels, found=drawn, settings=settings
        )
    return documents


def _stability(
    layer: LayerFit, found: Findings, settings: OverlapSettings
) -> Document:
    levels: Sequence[int] = levels_of(settings)
    parts = stability(
        found.axis, found.labels, levels,
        rng=stream(layer, settings, "stability"),
    )  # fmt: skip
    return stability_document(parts, levels)
