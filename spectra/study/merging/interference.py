"""What the interference of all layers comes to, as the document has it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.interference import Disturbance

__all__ = ["interference_of"]

_CITE = "Gargiulo et al. 2024; Marczak et al. 2025"


def interference_of(
    layers: Sequence[Disturbance], ids: Sequence[str], /
) -> dict[str, Any]:
    """Return the sums and means over layers.

    Parameters
    ----------
    layers
        What was measured of each, at least one.
    ids
        Of the updates.
    """
    pairs = np.sum([layer.pairs for layer in layers], axis=0)
    ratios = _mean([layer.ratios for layer in layers])
    own = np.eye(len(ids), dtype=bool)
    i, j = divmod(int(np.argmax(pairs)), len(ids))
    return {
        "cite": _CITE,
        "norm": "entrywise",
        "sti": float(sum(layer.total for layer in layers)),
        "pairs": pairs.tolist(),
        "most": [ids[i], ids[j]] if pairs[i, j] > 0 else None,
        "sar": [[_known(ratio) for ratio in row] for row in ratios],
        "sar_mean": _known(_mean(list(ratios[~own]))),
    }


def _mean(values: Sequence[Any]) -> NDArray[np.float64]:
    """Return the means of what is not NaN along the first axis."""
    stacked = np.asarray(values, np.float64)
    known = np.isfinite(stacked)
    count = known.sum(axis=0)
    total = np.sum(stacked, axis=0, where=known)
    return np.where(count, total / np.maximum(count, 1), np.nan)


def _known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
