"""The report of a population: one pass for its groups, one for its layers."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from spectra.core.events import Observer
from spectra.core.provenance import version
from spectra.core.settings import OverlapSettings, as_json
from spectra.statistics.audit.audit import audit_document
from spectra.statistics.document.layer import LayerReport, layer_report
from spectra.statistics.document.metrics import scores_document
from spectra.statistics.document.numbers import null_document
from spectra.statistics.document.summary import summary
from spectra.statistics.document.trajectory import (
    order_asked,
    trajectories_document,
)
from spectra.statistics.each_layer import check, each_layer
from spectra.statistics.kinship.groups import start_thresholds
from spectra.statistics.kinship.population import (
    groupings_of,
    population_document,
)
from spectra.statistics.kinship.relations import relate
from spectra.statistics.model_axis.findings import levels_of
from spectra.statistics.nulls.table import (
    NULLS,
    adjusted_p,
    chosen_nulls,
    false_discovery_rates,
)
from spectra.statistics.plain import with_reason
from spectra.statistics.populations.between import Pairs, pairs_of
from spectra.statistics.populations.comparison import pairs_document
from spectra.statistics.selection import chosen
from spectra.statistics.sides.side import SIDES
from spectra.statistics.verdict.rule import counted, judge, of_layer, overall
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["SCHEMA", "measure"]

SCHEMA = "spectra-report/1"

Document = dict[str, Any]


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
        When a setting is out of range, a member's group is missing, or
        members that should be ordered are not.
    """
    check(settings)
    chosen_nulls(settings.null)
    part = chosen(fit, settings)
    relations = relate(fit.layers, len(fit.models), start_thresholds(settings))
    groupings = groupings_of(fit.models, relations, settings)
    order = order_asked(fit, relations, settings)
    pairs = None
    if settings.groups is not None:
        pairs = pairs_of(fit.models, relations, settings)

    def alone(layer: LayerFit) -> LayerReport:
        return layer_report(
            layer, groupings, pairs, settings,
            started_from_zero=fit.started_from_zero, order=order,
        )  # fmt: skip

    layers, lost = each_layer(part, alone, stage="overlap", on_event=on_event)
    together = _together(layers, settings)
    shares = [layer.group_shares for layer in layers]
    population = population_document(fit, relations, groupings, shares)
    verdicts = [layer["verdict"] for layer in together]
    compared = _compared(pairs, layers, together, settings)
    return {
        "schema": SCHEMA,
        "version": version(),
        "settings": {
            "fit": dict(fit.settings), "overlap": as_json(settings),
        },
        "environment": dict(fit.environment),
        "population": population,
        "audit": audit_document(fit, relations),
        **compared,
        **trajectories_document(order, together, settings),
        **scores_document(
            [layer.score for layer in layers],
            bool(fit.settings.get("metrics")),
        ),
        "layers": together,
        "verdict": {
            **with_reason("word", overall(verdicts), "no layer was analysed"),
            "counts": counted(verdicts),
            "text": summary(
                population, together,
                n_unasked=len(fit.layers) - len(part.layers),
            ),
        },
        "quarantine": [asdict(entry) for entry in (*fit.quarantine, *lost)],
        "left_out": [asdict(entry) for entry in fit.left_out],
    }  # fmt: skip


def _compared(
    pairs: Pairs | None,
    layers: Sequence[LayerReport],
    documents: Sequence[Document],
    settings: OverlapSettings,
) -> Document:
    """Return ``populations``, put into each layer as well; none for None."""
    if pairs is None:
        return {}
    names = [document["name"] for document in documents]
    found = [layer.compared or () for layer in layers]
    said, in_layer = pairs_document(pairs, names, found, settings)
    for document, own in zip(documents, in_layer, strict=True):
        document["populations"] = own
    return {"populations": said}


def _together(
    layers: Sequence[LayerReport], settings: OverlapSettings
) -> list[Document]:
    """Return the layers with p adjusted for their number, and verdicts."""
    adjusted, rates = (
        {
            (null.name, k): correct([x.nulls[null.name] for x in layers], k)
            for null in chosen_nulls(settings.null)
            for k in levels_of(settings)
        }
        for correct in (adjusted_p, false_discovery_rates)
    )
    return [
        _judged(
            layer,
            settings,
            adjusted={key: p[i] for key, p in adjusted.items()},
            rates={key: q[i] for key, q in rates.items()},
        )
        for i, layer in enumerate(layers)
    ]


def _judged(
    layer: LayerReport,
    settings: OverlapSettings,
    *,
    adjusted: dict[tuple[str, int], float],
    rates: dict[tuple[str, int], float],
) -> Document:
    levels, known = levels_of(settings), layer.evidence
    nulls = {
        null.name: null_document(
            null, layer.nulls[null.name], levels,
            adjusted=[adjusted[null.name, k] for k in levels],
            rates=[rates[null.name, k] for k in levels],
        )
        for null in chosen_nulls(settings.null)
    }  # fmt: skip
    first = NULLS[0].name
    if known.effect is not None and not isinstance(layer.nulls[first], str):
        known = replace(known, p=adjusted[first, known.effect.k])
    found = judge(known, settings)
    sides = {name: layer.document[f"{name}_side"] for name in SIDES}
    return {
        **layer.document,
        "model_axis": {**_stated(*found), **layer.axis, "null": nulls},
        **_stated(*of_layer(found, sides)),
    }


def _stated(verdict: str, reasons: Sequence[str]) -> Document:
    return {"verdict": verdict, "reasons": list(reasons)}
