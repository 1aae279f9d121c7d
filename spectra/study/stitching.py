"""Maps from one model's representations to another's, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.null import KEEPS, Highest, measured
from spectra.align.representations.stitching import (
    MAPS,
    Kind,
    Stitch,
    folds_of,
    stitch,
)
from spectra.core.errors import Quarantine, UsageError
from spectra.core.events import Observer, Progress
from spectra.core.provenance import version
from spectra.core.settings import as_json
from spectra.core.text import printable
from spectra.statistics.plain import number
from spectra.statistics.streams import generator
from spectra.store.atomic import replacing
from spectra.store.outputs import check_output
from spectra.store.tensorfile import Planned, write_tensors
from spectra.study.aligned import described
from spectra.study.alignment import require_draws, require_items
from spectra.study.represented import Represented, represented
from spectra.weights.bytes import FileSource
from spectra.weights.header import read_header
from spectra.weights.limits import Limits

__all__ = ["SCHEMA", "Stitching", "stitch_models"]

SCHEMA = "spectra-stitch/1"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stitching:
    """What is asked.

    Attributes
    ----------
    kind
        Names of `~spectra.align.representations.stitching.MAPS`; all where
        there is none.
    folds
        Into how many parts the items are divided.
    draws
        Permutations of the items.
    seed
        Of these, and of the folds.
    """

    kind: tuple[str, ...] = ()
    folds: int = 5
    draws: int = 99
    seed: int = 0


def stitch_models(
    a: str,
    b: str,
    asked: Stitching,
    /,
    *,
    out: Path | None = None,
    on_event: Observer | None = None,
) -> Document:
    """Return how well one model's representations map to another's.

    Parameters
    ----------
    a, b
        Files of features of the same items, or checkpoints.
    asked
        What is to be measured.
    out
        Where the best map is written, fitted on all items; None for nowhere.
    on_event
        Told of each evaluation.

    Raises
    ------
    UsageError
        When a map is unknown, a source cannot be used, there are too few
        items, folds or draws, or `out` is something else.
    StorageError
        When `out` cannot be written.
    """
    kinds = _named(asked.kind)
    require_draws(asked.draws)
    if out is not None:
        check_output(out, is_ours=_is_map, inputs=[a, b])
    with represented([a, b]) as (one, other):
        n = one.layers[0].n_items
        require_items(n)
        _require_folds(n, asked.folds)
        rng = generator(asked.seed, "folds")
        work = _Work(one, other, folds_of(n, asked.folds, rng))
        found = [
            _measured(work, kind, asked, n, on_event, kinds) for kind in kinds
        ]
        best = max(found, key=lambda each: each[1].value)
        rows = [_row(work, kind, highest, n) for kind, highest in found]
        if out is not None:
            _write(out, work, *best)
    return {
        "schema": SCHEMA,
        "version": version(),
        "settings": as_json(asked),
        "models": [described(each) for each in (one, other)],
        "n_items": n,
        "null": KEEPS,
        "maps": rows,
        "out": None if out is None else str(out),
        "text": _conclusion(one, other, max(rows, key=lambda r: r["r2"])),
    }


def _named(names: Sequence[str]) -> list[Kind]:
    for name in names:
        if name not in {kind.name for kind in MAPS}:
            raise UsageError(
                "E_METRIC",
                f"there is no map {printable(name, 40)!r}",
                advice=f"use {', '.join(kind.name for kind in MAPS)}",
            )
    return [kind for kind in MAPS if not names or kind.name in names]


def _require_folds(n: int, folds: int) -> None:
    if not 2 <= folds <= n // 2:
        raise UsageError(
            "E_ALIGN",
            f"{n} items cannot be judged in {folds} folds",
            advice=f"use 2 to {n // 2}",
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """Two models, and which of their items are judged together."""

    a: Represented
    b: Represented
    folds: Sequence[NDArray[np.intp]]

    def places(self) -> list[tuple[int, int]]:
        """Return all pairs of layers."""
        return list(
            product(range(len(self.a.layers)), range(len(self.b.layers)))
        )

    def stitch(self, kind: Kind, place: tuple[int, int]) -> Stitch:
        """Return a kind of map between two layers."""
        X = self.a.layers[place[0]].read().astype(np.float64)
        Y = self.b.layers[place[1]].read().astype(np.float64)
        return stitch(kind, X, Y, self.folds)


def _measured(
    work: _Work,
    kind: Kind,
    asked: Stitching,
    n: int,
    on_event: Observer | None,
    kinds: Sequence[Kind],
) -> tuple[Kind, Highest]:
    places = work.places()
    each = len(places) * (1 + asked.draws)
    done = kinds.index(kind) * each

    def told() -> None:
        nonlocal done
        done += 1
        if on_event is not None:
            on_event(Progress("stitch", done, each * len(kinds), kind.name))

    highest = reduce(
        Highest.joined,
        (
            measured(
                work.stitch(kind, place).explained,
                place,
                n,
                draws=asked.draws,
                seed=asked.seed,
                told=told,
            )
            for place in places
        ),
    )
    if not highest.is_defined:
        raise UsageError(
            "E_FEATURES",
            f"{printable(work.b.id)} has a layer with the same row for all"
            " items",
            advice="nothing can be mapped to that",
        )
    return kind, highest


def _row(work: _Work, kind: Kind, highest: Highest, n: int) -> Document:
    i, j = highest.place
    found, chance = work.stitch(kind, (i, j)).found_again()
    return {
        "a": work.a.id,
        "b": work.b.id,
        "kind": kind.name,
        "cite": kind.cite,
        "r2": number(highest.value),
        "null_mean": number(highest.null_mean),
        "null_high": number(highest.null_high),
        "p": highest.p,
        "found_again": found,
        "chance": chance,
        "n_items": n,
        "coverage": n / max(work.a.n_rows, work.b.n_rows),
        "layer_a": work.a.layers[i].name,
        "layer_b": work.b.layers[j].name,
    }


def _write(out: Path, work: _Work, kind: Kind, highest: Highest) -> None:
    """Write the best map, fitted on all items, as a torch Linear has it."""
    i, j = highest.place
    X, Y = work.a.layers[i].read(), work.b.layers[j].read()
    found = kind.prepare(X.astype(np.float64))(Y.astype(np.float64))
    tensors = {
        "weight": np.ascontiguousarray(found.W.T, np.float32),
        "bias": found.b.astype(np.float32),
    }
    with replacing(out) as path, path.open("wb") as file:
        write_tensors(
            file,
            [Planned(name, "F32", x.shape) for name, x in tensors.items()],
            tensors.items(),
            metadata={
                "format": "pt",
                "schema": SCHEMA,
                "kind": kind.name,
                "a": work.a.id,
                "layer_a": work.a.layers[i].name,
                "b": work.b.id,
                "layer_b": work.b.layers[j].name,
            },
        )


def _is_map(path: Path) -> bool:
    try:
        with FileSource(path) as source:
            header = read_header(source, file=str(path), limits=Limits())
    except Quarantine:
        return False
    return header.metadata.get("schema") == SCHEMA


def _conclusion(a: Represented, b: Represented, best: Document) -> str:
    return (
        f"a map ({best['kind']}) from {printable(a.id)} explains"
        f" {max(0.0, best['r2']):.1%} of held-out {printable(b.id)}"
        f" (p = {best['p']:.2g}) and finds {best['found_again']:.1%} of items"
        f" again, by chance {best['chance']:.1%}"
    )
