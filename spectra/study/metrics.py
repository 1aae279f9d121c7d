"""Each member's own spectrum in each layer, beside what all have together."""

from dataclasses import replace
from typing import Any

import numpy as np

from spectra.core.catalog import (
    DenseSource,
    LayerKey,
    LayerSource,
    Quarantined,
)
from spectra.core.errors import Quarantine
from spectra.linalg.spectrum import Spectrum
from spectra.statistics.spectrum.panel import NUMBERS, STATUSES, panel
from spectra.statistics.spectrum.permuted import beside_permuted
from spectra.statistics.streams import generator
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.permuted import with_permuted
from spectra.subspaces.products import Pass
from spectra.subspaces.result import LayerOutcome, MemberMetrics
from spectra.subspaces.single import layer_spectrum, nbytes_of
from spectra.weights.stream import TensorReader

__all__ = ["metrics_nbytes", "numbers_of", "with_metrics"]


def numbers_of(
    key: LayerKey,
    source: LayerSource,
    tensors: TensorReader,
    /,
    *,
    base: DenseSource | None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Return the numbers of one layer of one checkpoint.

    Parameters
    ----------
    key, source, tensors, base
        As of `~spectra.subspaces.single.layer_spectrum`.
    seed
        Of the order of its entries, for those of the comparison too; None
        for the others alone.

    Raises
    ------
    Quarantine
        When it cannot be used, or has changed.
    """
    if seed is None:
        found = layer_spectrum(key, source, tensors, base=base)
        return _panel(found, key, source)
    shape = "x".join(map(str, key.shape))
    rng = generator(seed, key.name, shape, key.kind, "permuted entries")
    found, permuted = with_permuted(key, source, tensors, rng, base=base)
    beside = beside_permuted(found, permuted, key.shape)
    return _panel(found, key, source) | beside


def _panel(
    found: Spectrum, key: LayerKey, source: LayerSource
) -> dict[str, Any]:
    # What a Gram matrix does not resolve is no rank.
    wide = found.certificate.method != "gram" and any(
        ref.dtype == "F64" for ref in source.tensors
    )
    eps = float(np.finfo(np.float64 if wide else np.float32).eps)
    return panel(found, key.shape, eps=eps)


def with_metrics(
    task: LayerTask, outcome: LayerOutcome, how: Pass, /
) -> LayerOutcome:
    """Return the outcome with the numbers of each member that was fitted.

    Parameters
    ----------
    task
        Of the outcome; its members are read again.
    outcome
        Where one can no longer be read the layer stays without, and that is
        told.
    how
        As for every layer of the run.
    """
    fit = outcome.fit
    if fit is None:
        return outcome
    held = {place: source for place, _, source in task.holders}
    tensors = TensorReader(task.files, how.opener)
    try:
        rows = [
            numbers_of(task.key, held[i], tensors, base=task.base)
            for i in fit.members
        ]
    except Quarantine as reason:
        detail = f"metrics: {reason.detail}"
        lost = Quarantined("all", task.key.name, reason.code, detail)
        return replace(outcome, quarantine=(*outcome.quarantine, lost))
    values = [[row[name] for name in NUMBERS] for row in rows]
    statuses = [STATUSES.index(row["alpha_status"]) for row in rows]
    found = MemberMetrics(
        np.array(values, dtype=np.float64), np.array(statuses, np.int64)
    )
    return replace(outcome, fit=replace(fit, metrics=found))


def metrics_nbytes(task: LayerTask, /) -> int:
    """Return at most what the numbers of a layer's members need, in bytes."""
    return max(
        nbytes_of(task.key, source, base=task.base)
        for _, _, source in task.holders
    )
