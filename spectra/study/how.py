"""How layers are computed: device, memory, and what their bits hang on."""

import platform
import re
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from spectra.backend.device import open_device
from spectra.backend.memory import Budget
from spectra.core.errors import UsageError
from spectra.core.places import cache_folder
from spectra.core.provenance import versions
from spectra.core.settings import FitSettings
from spectra.subspaces.products import Pass
from spectra.weights.bytes import Opener

__all__ = ["environment_of", "how_of"]

_OUR_BLAS = re.compile("numpy|scipy")
"""In the paths of libraries that come with the packages we compute with."""

_PRECISIONS = {"f32": np.float32, "f64": np.float64}


def environment_of(device: str, /) -> dict[str, Any]:
    """Return what the last bits of a fit hang on, here.

    Parameters
    ----------
    device
        As it was asked for; the one that was opened is told.
    """
    pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
    # Others may have been loaded by whoever imported us.
    ours = [p for p in pools if _OUR_BLAS.search(p["filepath"])]
    blas = sorted(
        f"{pool['internal_api']} {pool['version']}"
        f" {pool.get('architecture', '')}".strip()
        for pool in ours or pools
    )
    return {
        "versions": versions(),
        "machine": platform.machine(),
        "device": open_device(device).name,
        "blas": blas,
    }


def how_of(settings: FitSettings, /, *, workers: int, opener: Opener) -> Pass:
    """Return how each of `workers` computes its layers.

    Parameters
    ----------
    settings
        What was asked for.
    workers
        Who share the memory.
    opener
        Opens the files of checkpoints.

    Raises
    ------
    UsageError
        When there is no such device or precision.
    """
    if settings.precision not in _PRECISIONS:
        raise UsageError(
            "E_PRECISION",
            f"there is no precision {settings.precision!r}",
            advice="use f32 or f64",
        )
    device = open_device(settings.device)
    device.runtime.limit(settings.memory)
    return Pass(
        rank=settings.rank,
        device=device,
        dtype=_PRECISIONS[settings.precision],
        budget=Budget.of_process(settings.memory, workers=workers),
        save=settings.save_directions,
        spill=cache_folder() / "spill",
        opener=opener,
        recipes=settings.recipe,
        metrics=settings.metrics,
    )
