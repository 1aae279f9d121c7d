"""Random numbers: a stream of its own for each layer and purpose."""

import hashlib

import numpy as np

from spectra.core.settings import OverlapSettings
from spectra.subspaces.result import LayerFit

__all__ = ["generator", "stream"]


def generator(seed: int, /, *names: str) -> np.random.Generator:
    """Return a stream of random numbers of its own for each seed and names."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "replace"))
    words = np.frombuffer(digest.digest(), dtype=">u4")
    return np.random.default_rng([seed, *words.tolist()])


def stream(
    layer: LayerFit, settings: OverlapSettings, /, *purpose: str
) -> np.random.Generator:
    """Return the random numbers that a layer has for one purpose.

    Name, shape and kind tell layers apart whatever others there are.
    """
    shape = "x".join(map(str, layer.shape))
    return generator(settings.seed, layer.name, shape, layer.kind, *purpose)
