"""Populations whose truth is known because it was put there."""

import numpy as np

from spectra.subspaces.result import LayerFit, Member, PopulationFit, SideFit
from tests.reference.naive import naive_fit

__all__ = ["axis_fit", "factors", "fit_of", "planted", "runs", "strong"]

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


def runs(rng, n, copies, moved, shape=SHAPE):
    """Return n maps, each `copies` times, every copy moved by itself."""
    first = np.repeat(strong(rng, n, shape), copies, axis=0)
    return first + moved * strong(rng, len(first), shape)


def factors(rng, n, *, one_start, rank=4, moved=0.5, shape=SHAPE):
    """Return the updates B A of n adapters and their A, stacked.

    The first `one_start` began with one A. Training moved each A by `moved`
    of its length.
    """
    A = rng.standard_normal((n, rank, shape[1]))
    A[:one_start] = A[0]
    A += moved * rng.standard_normal(A.shape)
    B = rng.standard_normal((n, shape[0], rank))
    return B @ A, A


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


def axis_fit(maps, *, kind="difference", A=None):
    """Return the fit of one layer that knows the model axis alone.

    It takes a tenth of the time of a naive fit; its sides are empty.
    """
    _, kept, twins = np.unique(
        maps.reshape(len(maps), -1), axis=0, return_index=True,
        return_inverse=True,
    )  # fmt: skip
    order = np.sort(kept)
    x = maps[order].reshape(len(order), -1)
    reference = x[0] if kind == "dense" else np.zeros_like(x[0])
    n, y = len(x), x - reference
    nothing = SideFit(np.zeros(1), 0.0, np.zeros(1), np.zeros((n, n)))
    starts = None if A is None else A[order].reshape(n, -1)
    layer = LayerFit(
        name="layer.0",
        architecture="test",
        shape=maps.shape[1:],
        kind=kind,
        members=tuple(order.tolist()),
        duplicates=tuple(
            (i, int(kept[twin]))
            for i, twin in enumerate(twins.ravel())
            if i != kept[twin]
        ),
        inner=y @ y.T,
        h=y @ reference,
        reference_energy=float(reference @ reference),
        rounding=np.zeros(n),
        resolution=n * 2.2e-16,
        singular_values=np.zeros((n, 1)),
        ranks=np.zeros(n, dtype=int),
        output=nothing,
        input=nothing,
        initial=None if starts is None else starts @ starts.T,
    )
    models = tuple(
        Member(f"m{i:03d}", None, f"/m{i:03d}", "test", None, None, 0, "")
        for i in range(len(maps))
    )
    return PopulationFit(
        models=models, layers=(layer,), quarantine=(), n_scanned=len(maps),
        started_from_zero=False, settings={}, environment={},
    )  # fmt: skip
