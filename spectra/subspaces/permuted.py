"""The spectrum of a layer, and that of the same entries in another order."""

import math

import numpy as np

from spectra.core.catalog import DenseSource, LayerKey, LayerSource
from spectra.linalg.spectrum import Spectrum, of_gram, of_matrix
from spectra.subspaces.single import (
    PIECE,
    is_exact,
    layer_spectrum,
    nbytes_of,
    pieces_of,
    width_of,
)
from spectra.weights.stream import TensorReader

__all__ = ["permuted_nbytes", "with_permuted"]


def with_permuted(
    key: LayerKey,
    source: LayerSource,
    tensors: TensorReader,
    rng: np.random.Generator,
    /,
    *,
    base: DenseSource | None = None,
) -> tuple[Spectrum, Spectrum]:
    """Return a layer's spectrum, and that of its entries in random order.

    Parameters
    ----------
    key, source, tensors, base
        As of `~spectra.subspaces.single.layer_spectrum`, whose value is the
        first. The entries are those of what it is of: of an adapter those of
        the product.
    rng
        Draws the order.

    Raises
    ------
    Quarantine
        When its numbers cannot be used, or the file has changed.

    Notes
    -----
    The entries of an update of few directions, in another order, make a matrix
    of all directions: it is decomposed as full weights of that shape are. What
    has no order may lie with its lesser side as columns.
    """
    entries = np.empty(math.prod(key.shape), f"f{width_of(source)}")
    own = layer_spectrum(key, source, tensors, base=base, keep=entries)
    rng.shuffle(entries)
    X = entries.reshape(-1, min(key.shape))
    if is_exact(key, source):
        return own, of_matrix(X.astype(np.float64, copy=False))
    return own, of_gram(pieces_of(X), X.shape[1])


def permuted_nbytes(
    key: LayerKey, source: LayerSource, /, *, base: DenseSource | None = None
) -> int:
    """Return at most what `with_permuted` needs, in bytes."""
    p, q = sorted(key.shape)
    by_gram = 3 * 8 * PIECE + 4 * 8 * p * p
    needs = 6 * 8 * p * q if is_exact(key, source) else by_gram
    own = nbytes_of(key, source, base=base)
    return p * q * width_of(source) + max(own, needs)
