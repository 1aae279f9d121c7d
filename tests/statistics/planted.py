"""Populations whose truth is known because it was put there."""

import numpy as np

from tests.reference.naive import naive_fit

__all__ = ["fit_of", "planted", "strong"]

SHAPE = (64, 64)


def strong(rng, n, shape=SHAPE):
    """Return n random maps of norm one."""
    maps = rng.standard_normal((n, *shape))
    return maps / np.linalg.norm(maps, axis=(1, 2), keepdims=True)


def planted(rng, share, n=40, directions=4, shape=SHAPE):
    """Return maps with a share of their energy in a few common directions."""
    basis, _ = np.linalg.qr(rng.standard_normal((np.prod(shape), directions)))
    weights = rng.standard_normal((n, directions))
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    common = (weights @ basis.T).reshape(n, *shape)
    return np.sqrt(share) * common + np.sqrt(1 - share) * strong(rng, n, shape)


def fit_of(*layers, **options):
    """Return the naive fit of updates, (n, out, in) a layer, from zero."""
    n = max(len(maps) for maps in layers)
    names = [f"layer.{number}" for number in range(len(layers))]
    models = {
        f"m{i:03d}": {
            name: maps[i]
            for name, maps in zip(names, layers, strict=True)
            if i < len(maps)
        }
        for i in range(n)
    }
    base = {
        name: np.zeros(maps.shape[1:])
        for name, maps in zip(names, layers, strict=True)
    }
    return naive_fit(models, **{"base": base} | options)
