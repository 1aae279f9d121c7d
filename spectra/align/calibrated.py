"""How alike networks are: as they stand, aligned, and by chance.

Alignment alone makes networks alike: it looks for the order of units that
does. So aligned numbers stand beside those of networks drawn from a null,
each aligned to the same reference. The reference is in no number of the
others among themselves: they were all turned towards it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.permutation import (
    Matching,
    Network,
    NetworkNull,
    match_weights,
    permuted,
)
from spectra.linalg.solvers import eigvalsh
from spectra.statistics.measures import explained
from spectra.statistics.model_axis.effect import LEVELS, eligible
from spectra.statistics.model_axis.held_out import hold_out
from spectra.statistics.plain import number, with_reason
from spectra.statistics.streams import generator
from spectra.statistics.vectors import centred

__all__ = [
    "Calibrated",
    "align",
    "by_chance",
    "conclusion",
    "grams",
    "measures_document",
]

Document = dict[str, Any]
Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

_TIE = 1e-12
"""Values closer than this are rounding of one number."""


def grams(networks: Sequence[Network], /) -> Matrix:
    """Return the inner products of networks, (layers, n, n)."""
    rows = [
        np.stack([W.reshape(-1) for W in maps])
        for maps in zip(*networks, strict=True)
    ]
    return np.stack([X @ X.T for X in rows])


def align(
    networks: Sequence[Network], /
) -> tuple[list[Network], list[Matching]]:
    """Return all networks with their units in the first one's order, and how.

    The first one stays as it is and has no matching.
    """
    reference, *others = networks
    found = [match_weights(reference, network) for network in others]
    moved = [
        permuted(network, matching.orders)
        for network, matching in zip(others, found, strict=True)
    ]
    return [reference, *moved], found


def by_chance(
    null: NetworkNull,
    networks: Mapping[str, Network],
    /,
    *,
    seed: int,
    stream: str,
) -> Matrix:
    """Return `grams` of one draw for each network, aligned to the first one.

    Parameters
    ----------
    null
        How to draw.
    networks
        By id; the first one stays as it is.
    seed, stream
        Of this draw.
    """
    (_, reference), *others = networks.items()
    drawn = [
        null.draw(network, generator(seed, null.name, stream, name))
        for name, network in others
    ]
    return grams(align([reference, *drawn])[0])


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Inner products of networks, layer by layer, the reference first.

    Attributes
    ----------
    unaligned, aligned
        (layers, n, n).
    drawn
        By the name of a null, (draws, layers, n, n).
    """

    unaligned: Matrix
    aligned: Matrix
    drawn: Mapping[str, Matrix]

    @classmethod
    def of_all(cls, parts: Sequence["Calibrated"], /) -> "Calibrated":
        """Return the layers of several chains as those of one network."""
        return cls(
            np.concatenate([part.unaligned for part in parts]),
            np.concatenate([part.aligned for part in parts]),
            {
                name: np.concatenate([part.drawn[name] for part in parts], 1)
                for name in parts[0].drawn
            },
        )

    def layer(self, place: int, /) -> "Calibrated":
        """Return one layer alone."""
        return self._each(lambda layers: layers[..., [place], :, :])

    def whole(self) -> "Calibrated":
        """Return all layers together, as one vector a network."""
        return self._each(lambda layers: layers.sum(axis=-3, keepdims=True))

    def _each(self, of: Callable[[Matrix], Matrix]) -> "Calibrated":
        drawn = {name: of(layers) for name, layers in self.drawn.items()}
        return Calibrated(of(self.unaligned), of(self.aligned), drawn)


def _measures(gram: Matrix) -> dict[str, Vector]:
    """Return every measure of n networks, NaN where it does not exist."""
    n = len(gram)
    lengths = np.sqrt(np.diagonal(gram))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = gram / np.outer(lengths, lengths)
    pairs = cosines[1:, 1:][np.triu_indices(n - 1, 1)]
    evr, effect = _axis(gram[1:, 1:])
    return {
        "cosine": np.array([pairs.mean() if pairs.size else np.nan]),
        "cosine_to_reference": cosines[:1, 1:].mean(axis=1),
        "evr": evr,
        "effect": effect,
    }


def _axis(gram: Matrix) -> tuple[Vector, Vector]:
    """Return EVR and held-out effect of the model axis, by `LEVELS`."""
    n, levels = len(gram), eligible(len(gram))
    evr, effect = np.full((2, len(LEVELS)), np.nan)
    K = centred(gram)
    floor = n * np.finfo(float).eps * float(np.trace(gram))
    if not np.trace(K) > floor:
        return evr, effect
    eigenvalues = np.maximum(0.0, eigvalsh(K)[:0:-1])
    evr = explained(eigenvalues, LEVELS, total=float(np.trace(K)))
    sums = hold_out(K, np.diagonal(gram), range(n), levels=levels, floor=floor)
    if sums is not None and levels:
        gains = (sums.captured - sums.random).sum(axis=0)
        effect[: len(levels)] = gains / sums.deviation.sum()
    return evr, effect


_SCALARS = {
    "cosine": "one network alone beside the reference, or one is zero",
    "cosine_to_reference": "a network is zero",
}
_BY_LEVEL = {
    "evr": "too few networks beside the reference, or they do not differ",
    "effect": "too few networks beside the reference, or they do not differ",
}


def measures_document(found: Calibrated, /) -> Document:
    """Return the measures of one layer, each beside its nulls.

    Parameters
    ----------
    found
        Of one layer.

    Returns
    -------
    dict
        `cosine`, the mean over pairs of the others; `cosine_to_reference`,
        their mean cosine with the reference; `evr` and `effect` (captured
        less captured at random, each network left out once) by level, of the
        others. A row has `unaligned`, `aligned` and by `null` the draws'
        `mean`, the `high`est, and p = (1 + draws that reach the aligned
        value) / (1 + draws).
    """
    unaligned, aligned = map(_measures, (found.unaligned[0], found.aligned[0]))
    drawn = {
        name: [_measures(gram) for gram in layers[:, 0]]
        for name, layers in found.drawn.items()
    }

    def row(key: str, i: int) -> Document | None:
        if np.isnan([unaligned[key][i], aligned[key][i]]).any():
            return None
        nulls = {
            name: _beside(aligned[key][i], np.array([m[key][i] for m in all_]))
            for name, all_ in drawn.items()
        }
        return {
            "unaligned": float(unaligned[key][i]),
            "aligned": float(aligned[key][i]),
            "null": nulls,
        }

    document: Document = {}
    for key, reason in _SCALARS.items():
        document |= with_reason(key, row(key, 0), reason)
    for key, reason in _BY_LEVEL.items():
        rows = {str(k): row(key, i) for i, k in enumerate(LEVELS)}
        document |= with_reason(key, rows, reason)
    return document


def _beside(observed: float, drawn: Vector) -> Document:
    above = int(np.count_nonzero(drawn >= observed - _TIE))
    return {
        "mean": number(drawn.mean()),
        "high": number(drawn.max()),
        "p": (1 + above) / (1 + len(drawn)),
    }


_ALPHA = 0.05

_EXPLAINED = {
    "entries": "no more alike than the same alignment makes scattered weights",
    "rotated": "more alike than the same alignment makes scattered weights,"
    " but no more than it makes random mixtures of the units",
}
"""What is said where a null reaches the aligned cosine, the weaker first."""

_BEYOND = (
    "more alike, unit by unit, than the same alignment makes scattered"
    " weights, or random mixtures of the units"
)


def conclusion(network: Document, reference: str, n_others: int, /) -> str:
    """Return what was found, in one sentence.

    Parameters
    ----------
    network
        `measures_document` of all layers together.
    reference
        Its id.
    n_others
        How many networks were compared, the reference not counted.
    """
    among = network["cosine"]
    row = among or network["cosine_to_reference"]
    if row is None:
        return "A network is zero: it has no cosine with another."
    who = (
        f"{n_others} networks, aligned to {reference}, have a mean cosine of"
        f" {row['aligned']:.3f} with one another"
        if among
        else f"{n_others} network, aligned to {reference}, has a cosine of"
        f" {row['aligned']:.3f} with it"
    )
    nulls = row["null"]
    entries, rotated = nulls["entries"], nulls["rotated"]
    explained_by = [
        text for name, text in _EXPLAINED.items() if nulls[name]["p"] > _ALPHA
    ]
    return (
        f"{who}, {row['unaligned']:.3f} as they stand; weights scattered"
        f" over the units reach {entries['mean']:.3f} (p {entries['p']:.3f}),"
        f" random mixtures of the units {rotated['mean']:.3f}"
        f" (p {rotated['p']:.3f}):"
        f" {explained_by[0] if explained_by else _BEYOND}."
    )
