"""Units of two models that answer to the same items alike, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.null import KEEPS, order_of
from spectra.align.representations.units import (
    Mutual,
    Units,
    best_correlation,
    mutual,
    units,
)
from spectra.backend.threads import cores, in_order
from spectra.core.events import Observer, Progress
from spectra.core.provenance import version
from spectra.core.settings import as_json
from spectra.core.text import printable
from spectra.statistics.plain import number
from spectra.study.aligned import described
from spectra.study.alignment import require_draws, require_items
from spectra.study.represented import Represented, represented

__all__ = ["LEVEL", "SCHEMA", "UnitsAsked", "match_units"]

SCHEMA = "spectra-units/1"

LEVEL = 0.05
"""Pairs of units of no higher p are told one by one."""

Document = dict[str, Any]
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsAsked:
    """What is asked.

    Attributes
    ----------
    draws
        Permutations of the items.
    seed
        Of these.
    """

    draws: int = 99
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two layers, and their units that are each other's nearest."""

    i: int
    j: int
    found: Mutual
    p: Vector


def match_units(
    a: str,
    b: str,
    asked: UnitsAsked,
    /,
    *,
    on_event: Observer | None = None,
) -> Document:
    """Return which units of two models are each other's nearest.

    Parameters
    ----------
    a, b
        Files of features of the same items, or checkpoints.
    asked
        What is to be measured.
    on_event
        Told of each permutation of a pair of layers.

    Raises
    ------
    UsageError
        When a source cannot be used, or there are too few items or draws.
    """
    require_draws(asked.draws)
    with represented([a, b]) as (one, other):
        n = one.layers[0].n_items
        require_items(n)
        pairs = _matched(one, other, n, asked, on_event)
        layers = [_layers(one, other, pair) for pair in pairs]
        rosetta = [row for pair in pairs for row in _rosetta(one, other, pair)]
        models = [described(each) for each in (one, other)]
    rosetta.sort(key=lambda row: -row["r"])
    return {
        "schema": SCHEMA,
        "version": version(),
        "settings": as_json(asked),
        "models": models,
        "n_items": n,
        "null": KEEPS,
        "level": LEVEL,
        "layers": layers,
        "units": rosetta,
        "text": _conclusion(one, other, layers, n),
    }


def _matched(
    one: Represented,
    other: Represented,
    n: int,
    asked: UnitsAsked,
    on_event: Observer | None,
) -> list[_Pair]:
    """Return all pairs of layers, each pair of units with its p.

    A draw is the highest correlation of any units of any two layers, so that
    a p allows for all of them.
    """
    places = list(product(range(len(one.layers)), range(len(other.layers))))
    total, done = len(places) * asked.draws, 0
    highest = np.full(asked.draws, -np.inf)
    found = []
    for i, j in places:
        A, B = units(one.layers[i].read()), units(other.layers[j].read())
        found.append((i, j, mutual(A, B)))
        work = partial(_drawn, A, B, n, asked.seed)
        subject = f"{one.layers[i].name}, {other.layers[j].name}"
        draws = in_order(work, range(1, asked.draws + 1), workers=cores())
        for place, (_, value) in enumerate(draws):
            highest[place] = max(highest[place], value)
            done += 1
            if on_event is not None:
                on_event(Progress("units", done, total, subject))
    return [_Pair(i, j, each, _p(each.r, highest)) for i, j, each in found]


def _drawn(A: Units, B: Units, n: int, seed: int, draw: int) -> float:
    return best_correlation(A, B, order_of(seed, n, draw))


def _p(r: Vector, highest: Vector) -> Vector:
    reached = np.count_nonzero(highest >= r[:, None], axis=1)
    p: Vector = (1 + reached) / (1 + len(highest))
    return p


def _layers(one: Represented, other: Represented, pair: _Pair) -> Document:
    a, b = one.layers[pair.i], other.layers[pair.j]
    count = int(np.count_nonzero(pair.p <= LEVEL))
    return {
        "layer_a": a.name,
        "layer_b": b.name,
        "width_a": a.width,
        "width_b": b.width,
        "n_mutual": len(pair.found.r),
        "n_rosetta": count,
        "share": count / min(a.width, b.width),
        "highest": number(pair.found.r[0]) if len(pair.found.r) else None,
    }


def _rosetta(
    one: Represented, other: Represented, pair: _Pair
) -> list[Document]:
    a, b = one.layers[pair.i].name, other.layers[pair.j].name
    rows = zip(pair.found.a, pair.found.b, pair.found.r, pair.p, strict=True)
    return [
        {
            "layer_a": a, "unit_a": int(u), "layer_b": b, "unit_b": int(v),
            "r": number(r), "p": float(p),
        }
        for u, v, r, p in rows
        if p <= LEVEL
    ]  # fmt: skip


def _conclusion(
    one: Represented, other: Represented, layers: Sequence[Document], n: int
) -> str:
    best = max(layers, key=lambda row: row["n_rosetta"])
    if best["n_rosetta"] == 0:
        return (
            f"{printable(one.id)} and {printable(other.id)}: no two units are"
            f" more alike than permuted items make them, over {n} items"
        )
    a = _named(one, best["layer_a"])
    b = _named(other, best["layer_b"])
    fewest = min(best["width_a"], best["width_b"])
    return (
        f"{best['n_rosetta']} units of {a} have their like in {b}, of"
        f" {fewest} that could, over {n} items"
    )


def _named(model: Represented, layer: str) -> str:
    """Return what a layer is called, of a model that may have no other."""
    if len(model.layers) == 1:
        return printable(model.id)
    return f"layer {printable(layer)} of {printable(model.id)}"
